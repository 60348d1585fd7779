"""The demo's second conversation, over WhatsApp Web: a phone scans the session's QR code, somebody writes, a rule answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import httpx

from wad.cli.demo.asking import answer_of, checked, until, words
from wad.cli.stop import Stop

SESSION: Final = "demo-phone"
PHONE: Final = "5215550100200"
CONTACT: Final = "5215587654321"
_QUESTION: Final = "¿A qué hora abren?"
#: What a session can be in before anybody has asked it to pair.
_AT_REST: Final = ("created", "disconnected", "logged_out", "failed")


class PhoneStory:
    """Told against the same two APIs as the story of the Cloud API."""

    def __init__(
        self, daemon: httpx.AsyncClient, sandbox: httpx.AsyncClient, tell: Callable[[str, str], None]
    ) -> None:
        self._daemon = daemon
        self._sandbox = sandbox
        self._tell = tell
        self._scanned: str | None = None

    async def play(self) -> None:
        await self._create()
        await until("a linked phone", self._link)
        self._tell("phone", f"+{PHONE} has scanned the code of {SESSION}, which is connected")
        await self._be_answered()

    async def _create(self) -> None:
        body = {"sessionId": SESSION, "provider": "baileys", "shopId": "demo", "credentials": {}}
        answer = await self._daemon.post("/sessions", json=body)
        again = answer.status_code == 409 and answer.json().get("code") == "session_exists"
        if not again:
            checked(answer)
        self._tell(
            "session", f"{SESSION} {'is there from last time' if again else 'created'}, over WhatsApp Web"
        )

    async def _link(self) -> bool | None:
        """Do what is next. The simulated phone of last time is gone, and so is its session's place in it."""
        status = checked(await self._daemon.get(f"/sessions/{SESSION}/status"))
        code = status["qrCode"]
        match status["state"]:
            case "connected":
                return True
            case state if state in _AT_REST:
                reason = status["reason"] or {}
                if reason.get("needsPerson") and state == "failed":
                    raise Stop(os.EX_SOFTWARE, f"{SESSION} is failed: {reason['detail']}")
                checked(await self._daemon.post(f"/sessions/{SESSION}/connect"))
            case "pairing" if code not in (None, self._scanned):
                self._scanned = code
                checked(await self._sandbox.post("/_sandbox/web/scan", json={"phone": PHONE, "qr": code}))
        return None

    async def _be_answered(self) -> None:
        name = await self._name()
        said = {"from": CONTACT, "to": PHONE, "text": _QUESTION}
        question = checked(await self._sandbox.post("/_sandbox/web/say", json=said))
        self._tell("<- phone", f"{name} writes: {_QUESTION}")
        answer = await until("the rule's answer", lambda: self._answer_to(question["id"]))
        self._tell("phone ->", f"{name}: {words(answer)}")

    async def _name(self) -> str:
        people = checked(await self._sandbox.get("/_sandbox/web"))["contacts"]
        return next(str(each["name"]) for each in people if each["phone"] == CONTACT)

    async def _answer_to(self, message_id: str) -> dict[str, Any] | None:
        """What the contact's phone could read after their question: the network's word, not the daemon's."""
        query = {"phone": PHONE, "chat": CONTACT}
        messages = checked(await self._sandbox.get("/_sandbox/web/chat", params=query))["messages"]
        own = next((at for at, each in enumerate(messages) if each["id"] == message_id), len(messages))
        return next(filter(None, (answer_of(each, CONTACT) for each in messages[own:])), None)
