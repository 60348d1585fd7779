"""The demo's conversation: every step is a request that the user could make as well, and is told when it is true."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import httpx

from wad.cli.demo.asking import checked, until, words
from wad.cli.stop import Stop

SESSION: Final = "demo-shop"
CUSTOMER: Final = "+5215512345678"


class Story:
    """Tells the conversation against the API of the daemon and the control API of the sandbox."""

    def __init__(
        self,
        daemon: httpx.AsyncClient,
        sandbox: httpx.AsyncClient,
        number: dict[str, Any],
        tell: Callable[[str, str], None],
    ) -> None:
        """*daemon* has `/api/whatsapp` as its base and the token; *tell* shows who and what."""
        self._daemon = daemon
        self._sandbox = sandbox
        self._number = number
        self._tell = tell

    async def play(self, callback_url: str) -> None:
        await self._create()
        await self._connect()
        await self._wire(callback_url)
        name = await self._customer()
        await self._write_first(name)
        await self._be_answered(name)

    async def _create(self) -> None:
        """The session, as a shop's own software would create it; the one of last time, if it is there."""
        body = {
            "sessionId": SESSION,
            "provider": "cloud_api",
            "shopId": "demo",
            "credentials": {
                "phoneNumberId": self._number["phoneNumberId"],
                "accessToken": self._number["accessTokens"][0],
            },
        }
        answer = await self._daemon.post("/sessions", json=body)
        again = answer.status_code == 409 and answer.json().get("code") == "session_exists"
        if not again:
            checked(answer)
        self._tell("session", f"{SESSION} {'is there from last time' if again else 'created'}")

    async def _connect(self) -> None:
        answer = await self._daemon.post(f"/sessions/{SESSION}/connect", headers={"Prefer": "wait=20"})
        status = checked(answer)
        if not status["isConnected"]:
            reason = status["reason"] or {}
            raise Stop(
                os.EX_SOFTWARE, f"{SESSION} is {status['state']}: {reason.get('detail', 'no reason given')}"
            )
        self._tell(
            "session",
            f"connected as {status['phoneNumber']}, proven by a request to the (simulated) Graph API",
        )

    async def _wire(self, callback_url: str) -> None:
        spec = {"phoneNumberId": self._number["phoneNumberId"], "callbackUrl": callback_url}
        checked(await self._sandbox.post("/_sandbox/numbers", json=spec))
        self._tell("webhook", f"WhatsApp delivers to {callback_url}, signed")

    async def _customer(self) -> str:
        state = checked(await self._sandbox.get("/_sandbox/state"))
        return next(str(each["name"]) for each in state["customers"] if each["phone"] == CUSTOMER)

    async def _write_first(self, name: str) -> None:
        """A business may write first with an approved template only; the sandbox is as strict as Meta."""
        template = {
            "name": "pedido_listo",
            "language": "es_MX",
            "components": [
                {
                    "type": "body",
                    "parameters": [
                        {"type": "text", "text": name.partition(" ")[0]},
                        {"type": "text", "text": "#1001"},
                    ],
                }
            ],
        }
        body = {"sessionId": SESSION, "to": CUSTOMER, "type": "template", "template": template}
        sent = checked(await self._daemon.post("/send", json=body))
        self._tell("shop ->", f"{name}: the template pedido_listo ({sent['status']}, on disk)")
        message = await until(
            f"delivery of {sent['messageId']}", lambda: self._reached(sent["messageId"], "delivered", "read")
        )
        self._tell("", f"{message['status']}")

    async def _reached(self, message_id: str, *states: str) -> dict[str, Any] | None:
        message = checked(await self._daemon.get(f"/messages/{message_id}"))
        if message["status"] in ("failed", "expired", "cancelled"):
            raise Stop(os.EX_SOFTWARE, f"{message_id} is {message['status']}: {message['error']}")
        return message if message["status"] in states else None

    async def _be_answered(self, name: str) -> None:
        said = {"from": {"phone": CUSTOMER}, "text": "hola"}
        inbound = checked(await self._sandbox.post("/_sandbox/inbound", json=said))
        self._tell("<- shop", f"{name} writes: hola")
        answer = await until("the rule's answer", lambda: self._answer_to(inbound))
        self._tell("shop ->", f"{name}: {words(answer['content'])}")
        await until("read", lambda: self._read(inbound, answer["wamid"]))
        self._tell("", "read: the customer has it on their phone")

    async def _answer_to(self, inbound: dict[str, Any]) -> dict[str, Any] | None:
        """What the customer's phone shows after their own message: the network's word, not the daemon's."""
        messages = await self._chat(inbound)
        own = next(at for at, message in enumerate(messages) if message["wamid"] == inbound["wamid"])
        answer = next((message for message in messages[own:] if message["direction"] == "out"), None)
        if answer is None:
            await self._not_dead(inbound["wamid"])
        return answer

    async def _not_dead(self, wamid: str) -> None:
        """Rules with a reply that WhatsApp would refuse make a dead letter: then waiting is in vain."""
        query: dict[str, str | int] = {"sessionId": SESSION, "direction": "inbound", "limit": 1}
        for message in checked(await self._daemon.get("/messages", params=query))["items"]:
            if message["providerMessageId"] == wamid and message["status"] == "dead":
                raise Stop(
                    os.EX_DATAERR,
                    f"the rule's answer cannot be sent: {message['error']['detail']}",
                    next_step="mend the demo's rules.yaml, or remove it to have the first one again",
                )

    async def _read(self, inbound: dict[str, Any], wamid: str) -> dict[str, Any] | None:
        messages = await self._chat(inbound)
        return next((each for each in messages if each["wamid"] == wamid and each["status"] == "read"), None)

    async def _chat(self, inbound: dict[str, Any]) -> list[dict[str, Any]]:
        chat = checked(await self._sandbox.get("/_sandbox/chat", params={"chat": inbound["userId"]}))
        messages: list[dict[str, Any]] = chat["messages"]
        return messages
