"""The WhatsApp Web side of the sandbox: the emulator, the record of what it did, and the phones that one can hold."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio

from wad.sandbox.feed import Feed
from wad.sandbox.ids import digits_of
from wad.sandbox.ledger import Ledger
from wad.sandbox.web.emulator import Emulator, NotRunning, WebConfig
from wad.sandbox.web.mirror import Mirror

#: The phone of a business whose number is to be linked, and two people who write to it. As with the Cloud API.
_READY_PHONE: Final = ("+5215550100200", "Tienda Web")
_READY_CONTACTS: Final = (("+5215512345678", "Ana Torres"), ("+5215587654321", "Luis Ortega"))


class Web:
    """Make it with the sandbox; `run` must be running for anything to work."""

    def __init__(self, config: WebConfig, *, ledger: Ledger, feed: Feed, now: Callable[[], float]) -> None:
        self._ledger = ledger
        self._feed = feed
        self._now = now
        self.emulator = Emulator(config, on_event=self._hear, on_change=self._changed)
        self.mirror = Mirror(self.emulator.call, ledger=ledger, feed=feed, now=now)
        self.phones: dict[str, str] = {}  # those one holds: digits → name
        self.contacts: dict[str, str] = {}  # everybody else one can be
        phone, name = _READY_PHONE
        self.phones[digits_of(phone)] = name
        for phone, name in _READY_CONTACTS:
            self.contacts[digits_of(phone)] = name

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.emulator.run(task_status=task_status)

    @property
    def running(self) -> bool:
        return self.emulator.missing is None

    def described(self) -> dict[str, Any]:
        """What a gateway has to know, and why it is not there where it is not."""
        access = self.emulator.access if self.running else None
        return {
            "running": self.running,
            "missing": self.emulator.missing,
            "webSocketUrl": access and access.web_socket_url,
            "noiseRootKey": access and access.noise_root_key,
            "extraCa": access and access.extra_ca,
            "mediaUrl": access and access.media_url,
        }

    async def state(self) -> dict[str, Any]:
        """Phones with their clients, people, groups."""
        told = await self.emulator.call("state")
        accounts = {each["phone"]: each for each in told["accounts"]}
        for phone, account in accounts.items():
            self.hold(phone, account["name"])
        return {
            "phones": [
                {"phone": phone, "name": name, "ban": None, "faults": [], "clients": []}
                | accounts.get(phone, {})
                | {"name": name}
                for phone, name in self.phones.items()
            ],
            "contacts": [{"phone": phone, "name": name} for phone, name in self.contacts.items()],
            "groups": told["groups"],
        }

    def hold(self, phone: str, name: str | None = None) -> str:
        """Hold a phone, which nobody else is then; its digits."""
        digits = digits_of(phone)
        known = self.contacts.pop(digits, None) or self.phones.get(digits)
        self.phones[digits] = name or known or f"Phone {digits[-4:]}"
        return digits

    def meet(self, phone: str, name: str | None = None) -> str:
        """Somebody one can be, unless one holds their phone; their digits."""
        digits = digits_of(phone)
        people = self.phones if digits in self.phones else self.contacts
        people[digits] = name or people.get(digits) or f"Contact {digits[-4:]}"
        return digits

    def name_of(self, digits: str) -> str | None:
        return self.phones.get(digits) or self.contacts.get(digits)

    def keep_file(self, data: bytes) -> Path:
        """A file for the emulator to send, which takes files by their path. The same bytes are the same file."""
        self.emulator.files.mkdir(parents=True, exist_ok=True)
        path = self.emulator.files / hashlib.sha256(data).hexdigest()[:32]
        if not path.exists():  # the emulator may be reading it: written anew, it would be empty for a moment
            path.write_bytes(data)
        return path

    async def media(self, phone: str, message_id: str) -> tuple[str, bytes]:
        """The type and the plain file of a message that *phone* has."""
        path = self.emulator.directory / f"media-{secrets.token_hex(8)}"
        try:
            await self.emulator.call("media", {"phone": phone, "id": message_id, "path": str(path)})
            return self.mirror.type_of_media(message_id), path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    # --- what happens -----------------------------------------------------------------------------

    async def _changed(self) -> None:
        """The emulator has come or gone."""
        if self.running:
            self.mirror.forget()
            with suppress(NotRunning):  # ended again: that is told as well
                for phone, name in [*self.phones.items(), *self.contacts.items()]:
                    await self.emulator.call("settings", {"phone": phone, "name": name})
        self._record({"event": "started" if self.running else "ended", "detail": self.emulator.missing})

    async def _hear(self, event: str, args: dict[str, Any]) -> None:
        match event:
            case "ledger":
                await self.look()
            case "receipt":
                return  # the record has it
            case "message":
                if args["to"] not in self.phones:
                    self.meet(args["to"])
            case "linked":
                self.hold(args["phone"])
                self._record({"event": event, **args})
            case _:
                self._record({"event": event, **args})

    def _record(self, entry: dict[str, Any]) -> None:
        self._ledger.write("link", self._now(), entry)
        if self._feed.watched:
            self._feed.tell({**entry, "event": "web", "what": entry["event"]})

    async def look(self) -> None:
        """Have the record as it is now."""
        if self.running:
            with suppress(NotRunning):  # it has just ended, which `_changed` tells
                await self.mirror.look()
