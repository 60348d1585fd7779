"""WhatsApp Web's harness: a real bridge with the real library, and a simulated WhatsApp, both kept from row to row."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.conformance.baileys_world import BaileysWorld, does, fault, marks, refused, say, say_file, tell
from tests.providers.baileys.town import ANA, LEO, SHOP, open_town
from wad.conformance import Beyond, Doubt, Heard, Lasting, Refusal, Said, SocketHarness, Told
from wad.conformance.world import Script
from wad.errors import Verdict
from wad.models import (
    Address,
    Content,
    Credentials,
    MessageState,
    Session,
    SessionId,
    utc_now,
)
from wad.providers.baileys.content import FILES
from wad.providers.baileys.kind import Baileys
from wad.providers.place import Place
from wad.providers.pools import Pools

#: What stands for a file, and for a message that came in, until there is one.
_FILE, _MESSAGE = "a file", "a message"


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
        phone = {"phone": "+5215598765432", "type": "CELL", "waId": "5215598765432"}
        return {
            "a text": Said(say({"text": "hola"}), {"type": "text", "text": {"body": "hola"}}),
            "a picture": Said(
                say_file("image", caption="mira"),
                {"type": "image", "image": {"mimeType": "image/jpeg", "caption": "mira"}},
            ),
            "a video": Said(say_file("video"), {"type": "video", "video": {"mimeType": "video/mp4"}}),
            "a voice note": Said(
                say_file("audio", ptt=True),
                {"type": "audio", "audio": {"mimeType": "audio/ogg; codecs=opus", "voice": True}},
            ),
            "a document": Said(
                say_file("document", fileName="f.pdf", mimetype="application/pdf"),
                {"type": "document", "document": {"mimeType": "application/pdf", "filename": "f.pdf"}},
            ),
            "a sticker": Said(
                say_file("sticker"),
                {"type": "sticker", "sticker": {"mimeType": "image/webp", "animated": False}},
            ),
            "a card": Said(
                say({"contact": {"name": "Eva", "phone": "5215598765432"}}),
                {"type": "contacts", "contacts": [{"name": {"formattedName": "Eva"}, "phones": [phone]}]},
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
