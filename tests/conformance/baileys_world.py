"""WhatsApp Web's world: a session of a real bridge, the phone that it belongs to, and the simulated WhatsApp of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import trio

from tests.providers.baileys.town import ANA, Town
from wad.conformance import Heard, SocketWorld
from wad.conformance.world import Cause, Script, says, until
from wad.errors import ProviderError
from wad.models import Address, Content, Inbound, MessageState, OutboundMessage
from wad.providers.baileys.content import FILES, message_id_of
from wad.providers.baileys.kind import Baileys
from wad.providers.base import Accepted, Connection

_PHOTO: Final = b"\xff\xd8\xff\xe0 a photo"
_TYPES: Final = {
    "image": "image/jpeg",
    "audio": "audio/ogg",
    "video": "video/mp4",
    "document": "application/pdf",
    "sticker": "image/webp",
}


class BaileysWorld(SocketWorld):
    """A session, its phone, and the WhatsApp that both are at."""

    def __init__(
        self, town: Town, kind: Baileys, connection: Connection, heard: Heard, *, phone: str, group: str
    ) -> None:
        self.town = town
        self.kind = kind
        self.connection = connection
        self.heard = heard
        self.person = Address(phone=f"+{ANA}")
        self.group = Address(group_id=group)
        self._phone = phone
        self._made: set[str] = set()  # WhatsApp's ids of the row's messages
        self._planned = False

    async def begin(self) -> None:
        """Connected, whatever the row before did; and with nothing heard."""
        await tell(self, "ban", kind="none")
        await tell(self, "fault", kind="none")
        if self._planned or self.heard.losses:
            await self.connection.disconnect()
        if await self.connection.connect() is None:
            await self.scan(self.heard.pairings[-1].qr or "")
            await self.heard.until(lambda: self.heard.proofs)
        self.heard.forget()
        self.town.presences.clear()
        self._made.clear()
        self._planned = False

    @property
    def secrets(self) -> Sequence[str]:
        """The private halves of what identifies the device, and what its pairing is signed with."""
        creds = json.loads(self.heard.keys.held["creds", "creds"])
        pairs = (creds["noiseKey"], creds["signedIdentityKey"], creds["signedPreKey"]["keyPair"])
        return (*(pair["private"]["data"] for pair in pairs), creds["advSecretKey"])

    def message(self, *args: Any, **more: Any) -> OutboundMessage:
        made = super().message(*args, **more)
        self._made.add(message_id_of(made.message_id))
        return made

    async def plan(self, *scripts: Script) -> None:
        self._planned = True
        for script in scripts:
            await script(self)

    async def deliver(self, message: OutboundMessage) -> Accepted:
        accepted = await self.connection.send(message)
        self.heard.messages[accepted.provider_message_id] = message

        async def read() -> bool:
            entry = await self._entry("out", accepted.provider_message_id)
            return entry is not None and any(each["content"] for each in entry["recipients"].values())

        await until(read)
        return accepted

    async def taken(self) -> list[dict[str, Any]]:
        sent = [
            each for each in await self._ledger() if each["direction"] == "out" and each["id"] in self._made
        ]
        return [entry for entry in sent for _ in range(entry["sent"])]

    async def hear(self, cause: Cause, state: MessageState | None = None) -> Inbound:
        assert not isinstance(cause, Mapping)
        before = len(self.heard.events)
        said = await cause(self)  # type: ignore[operator]

        def found() -> list[Inbound]:
            """A status may have come before anybody waited for it."""
            told = self.heard.events[before if state is None else 0 :]
            return [event for event in told if _name(event).endswith(said) and says(event, state)]

        await self.heard.until(found)
        return found()[-1]

    async def contacts(self) -> int:
        return int((await self.town.whatsapp.call("state"))["connections"])

    async def ready(self, content: Content) -> Content:
        kind = content["type"]
        if kind in FILES:
            media_id = await self.connection.upload(_PHOTO, mime_type=_TYPES[kind], filename="f")
            return {"type": kind, kind: {**content[kind], "mediaId": media_id}}
        if kind == "reaction":
            said = _name(await self.hear(say({"text": "hola"})))
            return {"type": kind, kind: {**content[kind], "messageId": said}}
        return content

    async def noticed(self, provider_message_id: str, mark: Literal["read", "typing"]) -> None:
        async def seen() -> bool:
            if mark == "typing":
                return any(each["state"] == "composing" for each in self.town.presences)
            entry = await self._entry("in", provider_message_id.rpartition("/")[2])
            return entry is not None and entry["read"] is not None

        await until(seen)

    async def shown(self, accepted: Accepted) -> int:
        entry = await self._entry("out", accepted.provider_message_id)
        assert entry is not None
        return int(entry["recipients"][ANA]["shown"])

    async def _entry(self, direction: str, message_id: str) -> dict[str, Any] | None:
        found = (
            each
            for each in await self._ledger()
            if (each["direction"], each["id"]) == (direction, message_id)
        )
        return next(found, None)

    async def _ledger(self) -> list[dict[str, Any]]:
        entries = (await self.town.whatsapp.call("ledger"))["entries"]
        return [each for each in entries if each["account"] == self._phone]

    # --- the phone

    @property
    def phone(self) -> str:
        return f"+{self._phone}"

    async def scan(self, qr: str) -> None:
        await tell(self, "scan", qr=qr)

    async def enter(self, code: str) -> None:
        await tell(self, "enter_code", code=code)

    async def linked(self) -> bool:
        accounts = (await self.town.whatsapp.call("state"))["accounts"]
        return any(each["clients"] for each in accounts if each["phone"] == self._phone)


def _name(event: Inbound) -> str:
    return getattr(event, "provider_message_id", "")


async def tell(w: BaileysWorld, call: str, **args: Any) -> Any:
    """Ask the emulator for something that is about the session's phone."""
    return await w.town.whatsapp.call(call, {"phone": w.phone, **args})


def does(call: str, **args: Any) -> Script:
    async def script(w: BaileysWorld) -> None:
        await tell(w, call, **args)

    return script


def fault(kind: str, **args: Any) -> Script:
    return does("fault", kind=kind, **args)


def say(content: dict[str, Any], *, sender: str = ANA, **more: Any) -> Script:
    """Somebody writes to the session's phone."""

    async def script(w: BaileysWorld) -> str:
        args = {"from": sender, "to": w.phone, "content": content, **more}
        return str((await w.town.whatsapp.call("say", args))["id"])

    return script


def say_file(kind: str, **more: Any) -> Script:
    async def script(w: BaileysWorld) -> str:
        path = trio.Path(w.town.directory / "photo")
        await path.write_bytes(_PHOTO)
        return str(await say({kind: {"file": str(path), **more}})(w))

    return script


def marks(type_: str, content: Content | None = None) -> Script:
    """A message of ours, and what its recipient then does with it."""

    async def script(w: BaileysWorld) -> str:
        sent = w.message() if content is None else w.message(await w.ready(content))
        accepted = await w.deliver(sent)
        args = {"by": ANA, "to": w.phone, "ids": [accepted.provider_message_id], "type": type_}
        await w.town.whatsapp.call("read", args)
        return accepted.provider_message_id

    return script


async def refused(w: BaileysWorld) -> str:
    sent = w.message()
    await w.plan(fault("error", code=463))
    try:
        await w.connection.send(sent)
    except ProviderError:
        return message_id_of(sent.message_id)
    raise AssertionError("it was taken")
