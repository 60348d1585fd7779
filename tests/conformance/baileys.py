"""WhatsApp Web's harness: a real bridge with the real library, and a simulated WhatsApp, both kept from row to row."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import trio

from tests.providers.baileys.town import ANA, LEO, SHOP, Town, open_town
from wad.conformance import Beyond, Doubt, Heard, Lasting, Refusal, Said, SocketHarness, SocketWorld, Told
from wad.conformance.world import Cause, Script, says, until
from wad.errors import ProviderError, Verdict
from wad.models import (
    Address,
    Content,
    Credentials,
    Inbound,
    MessageState,
    OutboundMessage,
    Session,
    SessionId,
    utc_now,
)
from wad.providers.baileys.content import FILES, message_id_of
from wad.providers.baileys.kind import Baileys
from wad.providers.base import Accepted, Connection
from wad.providers.place import Place
from wad.providers.pools import Pools

#: What stands for a file, and for a message that came in, until there is one.
_FILE, _MESSAGE = "a file", "a message"
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


class BaileysHarness(SocketHarness):
    name = "baileys"
    required = frozenset()
    contents: Mapping[str, Content] = {
        "text": {"type": "text", "text": {"body": "Hola"}},
        "mention": {"type": "text", "text": {"body": f"Hola @{LEO}", "mentions": [f"+{LEO}"]}},
        "image": {"type": "image", "image": {"mediaId": _FILE, "caption": "mira"}},
        "audio": {"type": "audio", "audio": {"mediaId": _FILE}},
        "voice": {"type": "audio", "audio": {"mediaId": _FILE, "voice": True}},
        "video": {"type": "video", "video": {"mediaId": _FILE}},
        "document": {"type": "document", "document": {"mediaId": _FILE, "caption": "ten"}},
        "sticker": {"type": "sticker", "sticker": {"mediaId": _FILE}},
        "location": {"type": "location", "location": {"latitude": 19.4, "longitude": -99.1}},
        "contacts": {"type": "contacts", "contacts": [{"name": {"formattedName": "Eva"}}]},
        "reaction": {"type": "reaction", "reaction": {"messageId": _MESSAGE, "emoji": "👍"}},
        "poll": {"type": "poll", "poll": {"name": "¿Cuándo?", "options": ["hoy", "mañana"]}},
    }

    def __init__(self) -> None:
        self._lasting = Lasting(_opened)
        self._phones = count(15550000101)

    def run(self, row: Callable[[], Awaitable[None]], **how: Any) -> None:
        self._lasting.run(row, **how)

    def close(self) -> None:
        self._lasting.close()

    def session(self) -> Session:
        return _session("shop")

    @asynccontextmanager
    async def world(self, *, seconds: float = 5.0) -> AsyncIterator[BaileysWorld]:
        await self._lasting.value.begin()
        yield self._lasting.value

    @asynccontextmanager
    async def unpaired(self) -> AsyncIterator[BaileysWorld]:
        shared, phone, heard = self._lasting.value, str(next(self._phones)), Heard()
        async with shared.kind.open(_session(f"of-{phone}"), heard) as connection:
            group = shared.group.group_id or ""
            yield BaileysWorld(shared.town, shared.kind, connection, heard, phone=phone, group=group)

    # --- sending

    def throttles(self) -> Script:
        return fault("error", code=429)

    def rejects(self) -> Script:
        return fault("error", code=463)

    def proves(self) -> Script:
        return does("ban", kind="none")

    def refuses_credentials(self) -> Script:
        return does("ban", kind="blocked")

    def has_a_bad_day(self) -> Script:
        async def script(w: BaileysWorld) -> None:
            await tell(w, "ban", kind="none")
            await tell(w, "fault", kind="login", code=503)

        return script

    def doubts(self) -> Mapping[str, Doubt]:
        return {
            "breaks after it was delivered": Doubt(fault("drop_after")),
            "breaks before anything was": Doubt(fault("drop_before")),
        }

    def stalls(self) -> Mapping[str, Script]:
        return {"delivered, not acknowledged": fault("no_ack"), "neither": fault("lost")}

    def refusals(self) -> Mapping[str, Refusal]:
        answers = {
            "a lock on new chats": (463, Verdict.REJECTED, "reachout_locked"),
            "stale devices": (479, Verdict.NOT_SENT, "device_list_stale"),
            "too fast": (429, Verdict.THROTTLED, "number_throttled"),
            "unavailable": (503, Verdict.NOT_SENT, "provider_unavailable"),
            "an error of no known code": (421, Verdict.REJECTED, "provider_rejected"),
        }
        return {
            label: Refusal(fault("error", code=error), verdict, code)
            for label, (error, verdict, code) in answers.items()
        }

    def beyond(self) -> Mapping[str, Beyond]:
        return BEYOND

    def closes(self) -> Mapping[str, Refusal]:
        later, person = Verdict.NOT_SENT, Verdict.NEEDS_PERSON
        return {
            "cut": Refusal(does("drop"), later, "connection_closed"),
            "503": Refusal(does("drop", code=503), later, "provider_unavailable"),
            "500": Refusal(does("drop", code=500), later, "provider_failed"),
            "replaced": Refusal(does("replace"), person, "replaced"),
            "unlinked": Refusal(does("unlink"), person, "logged_out"),
            "blocked": Refusal(does("ban", kind="blocked"), person, "blocked"),
            "banned": Refusal(does("ban", kind="banned"), person, "banned"),
            "banned for a while": Refusal(does("ban", kind="temporary"), person, "temporarily_banned"),
            "outdated": Refusal(does("ban", kind="outdated"), person, "client_outdated"),
        }

    # --- what comes in

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> Script:
        return say(
            {"text": "hola"},
            sender=LEO if hidden else ANA,
            addressing="lid" if hidden else "pn",
            id=provider_message_id,
        )

    def status(self, provider_message_id: str, message_id: str) -> Script:
        async def script(_: BaileysWorld) -> str:
            return provider_message_id  # its recipient's phone says so by itself

        return script

    def said(self) -> Mapping[str, Said]:
        place = {"latitude": 19.5, "longitude": -99.25}
        poll = {"name": "¿Cuándo?", "options": ["hoy", "mañana"]}
        return {
            "a text": Said(say({"text": "hola"}), {"type": "text", "text": {"body": "hola"}}),
            "a picture": Said(
                say_file("image", caption="mira"),
                {"type": "image", "image": {"mimeType": "image/jpeg", "caption": "mira"}},
            ),
            "a place": Said(say({"location": place}), {"type": "location", "location": place}),
            "a poll": Said(say({"poll": poll}), {"type": "poll", "poll": poll | {"selectableCount": 1}}),
        }

    def told(self) -> Mapping[str, Told]:
        return {
            "read": Told(marks("read"), MessageState.READ),
            "played": Told(marks("played", self.contents["voice"]), MessageState.PLAYED),
            "failed": Told(refused, MessageState.FAILED),
        }

    def plain(self, content: Content) -> Content:
        kind = content["type"]
        if kind not in FILES:
            return content
        kept = {
            name: part for name, part in content[kind].items() if name not in ("mediaId", "sha256", "size")
        }
        return {"type": kind, kind: kept}

    def quoted(self, taken: Any) -> str | None:
        found = taken["recipients"][ANA]["content"].get("reply")
        return None if found is None else f"{ANA}@s.whatsapp.net/{found}"


def _session(session_id: str) -> Session:
    now = utc_now()
    return Session(
        session_id=SessionId(session_id),
        provider="baileys",
        credentials=Credentials(),
        created_at=now,
        updated_at=now,
    )


@asynccontextmanager
async def _opened() -> AsyncIterator[BaileysWorld]:
    """One WhatsApp, one bridge and one session, which the first row pairs."""
    with tempfile.TemporaryDirectory(prefix="wad-conformance-") as name:
        directory, heard = Path(name), Heard()
        async with open_town(directory) as town, Pools() as pools:
            kind = Baileys(town.config, Place(pools=pools, data_dir=directory / "var"))
            people = {"subject": "Vecinos", "participants": [ANA, LEO, SHOP]}
            group = await town.whatsapp.call("group_create", people)
            async with kind.running(), kind.open(_session("shop"), heard) as connection:
                yield BaileysWorld(town, kind, connection, heard, phone=SHOP, group=group["id"])


def _text(body: str) -> Content:
    return {"type": "text", "text": {"body": body}}


def _poll(*options: str, **more: Any) -> Content:
    return {"type": "poll", "poll": {"name": "x", "options": list(options), **more}}


BEYOND: Final[Mapping[str, Beyond]] = {
    "a text too long": Beyond(_text("x" * 65_537), "/text/body"),
    "a caption too long": Beyond(
        {"type": "image", "image": {"link": "https://x", "caption": "x" * 1025}}, "/image/caption"
    ),
    "options too many": Beyond(_poll(*map(str, range(13))), "/poll/options"),
    "options alike": Beyond(_poll("a", "a"), "/poll/options/1"),
    "answers too many": Beyond(_poll("a", "b", selectableCount=3), "/poll/selectableCount"),
    "a group that is none": Beyond(_text("x"), "/groupId", Address(group_id="ABC")),
}
