"""Messages that Baileys tells of, in wad's words, and edits and deletions of them.

The person behind a LID is looked up beforehand (`lids_of`) and handed in: nothing here waits. Nothing here raises for what
a customer may write: what has no place among wad's words is kept as a `provider.event`, or left where it is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from wad.models import (
    AccountEvent,
    ChatId,
    Inbound,
    InboundMessage,
    Person,
)
from wad.providers.baileys.files import whole
from wad.providers.baileys.jids import (
    GROUP,
    LID,
    NUMBER,
    Key,
    bare,
    chat_of,
    is_group,
    server_of,
)
from wad.providers.baileys.people import Known
from wad.providers.baileys.reading import Opened, content_of, opened, person_of

#: Protocol messages that are about a message of a person's; the others are between devices. By name and by number.
_REVOKE: Final = ("REVOKE", 0)
_EDIT: Final = ("MESSAGE_EDIT", 14)

#: Not messages, but of use to somebody: kept as events.
_NOTED: Final = {
    "pollUpdateMessage": "poll.vote",  # one that cannot be opened: in somebody else's poll, or from before a pairing
    "pinInChatMessage": "message.pinned",
    "keepInChatMessage": "message.kept",
    "eventMessage": "event.created",
    "encEventResponseMessage": "event.answered",
    "callLogMesssage": "call",
    "bcallMessage": "call",
    "scheduledCallCreationMessage": "call.scheduled",
    "groupInviteMessage": "group.invitation",
    "albumMessage": "album",
}
#: Whoever could not decrypt a message is told by a stub; the message follows under the same id.
_CIPHERTEXT: Final = ("CIPHERTEXT", 2)

#: Kept out of what is stored as it came: keys, and pictures in pictures.
_UNTOLD: Final = frozenset(
    {
        "mediaKey",
        "messageSecret",
        "jpegThumbnail",
        "thumbnailDirectPath",
        "thumbnailSha256",
        "thumbnailEncSha256",
        "senderKeyDistributionMessage",
        "deviceListMetadata",
        "scansSidecar",
        "streamingSidecar",
        "waveform",
        "userReceipt",
    }
)
_DEEPEST: Final = 32

# --- messages -------------------------------------------------------------------------------------


class _Place(msgspec.Struct, frozen=True):
    """Where a message stands: its key, its chat, and who wrote it."""

    key: Key
    chat: ChatId
    kind: Literal["person", "group"]
    author: Person
    at: datetime | None

    @property
    def data(self) -> dict[str, Any]:
        data = {
            "providerMessageId": self.key.name,
            "chat": {"id": self.chat, "kind": self.kind},
            "sentAt": None if self.at is None else self.at.isoformat().replace("+00:00", "Z"),
        }
        return data if self.key.from_me else data | {"from": msgspec.to_builtins(self.author)}


def event_of(message: Mapping[str, Any], known: Known) -> Inbound | None:
    """*message* (a WAMessage) in wad's words; None where it is nobody's: another channel, a stub, the protocol's own."""
    place = _place(message, known)
    if place is None:
        return None
    inside = opened(message.get("message"))
    if inside is None:
        return _without_content(message, place)
    if inside.field == "protocolMessage":
        return _about_another(inside.part, place, known)
    if inside.field == "pollUpdateMessage" and isinstance(message.get("chosen"), list):
        return _vote(message, _object(inside.part), place, known)
    if inside.field in _NOTED:
        return _noted(_NOTED[inside.field], place, {"content": told({inside.field: inside.part})})
    content = content_of(inside, place.key)
    if place.key.from_me:
        return _sent_elsewhere(content, place)
    return InboundMessage(
        provider_message_id=place.key.name,
        chat=place.chat,
        chat_kind=place.kind,
        sender=place.author,
        content=content,
        context=_context(inside, place, known),
        sent_at=place.at,
        raw=told(message),
    )


def _vote(
    message: Mapping[str, Any], part: Mapping[str, Any], place: _Place, known: Known
) -> InboundMessage | None:
    """What somebody chose in a poll of ours: each vote takes the place of the voter's last one, and none is none."""
    poll = Key.of(_object(part.get("pollCreationMessageKey")))
    if poll is None or place.key.from_me:
        return None
    chosen = [known.options.get(each, each) for each in message["chosen"]]
    return InboundMessage(
        provider_message_id=place.key.name,
        chat=place.chat,
        chat_kind=place.kind,
        sender=place.author,
        content={"type": "poll_vote", "poll_vote": {"options": chosen}},
        context={"providerMessageId": poll.name},
        sent_at=place.at,
        raw=told(message),
    )


def _place(message: Mapping[str, Any], known: Known) -> _Place | None:
    wire = _object(message.get("key"))
    key = Key.of(wire)
    if key is None:
        return None
    server = server_of(key.chat)
    if server == "broadcast" and not key.chat.startswith("status@") and key.participant is not None:
        pass  # one of a list that somebody writes to: a message to us
    elif server not in (NUMBER, LID, GROUP):
        return None  # a status, a newsletter, Meta's assistant
    group = is_group(key.chat)
    author = key.participant if key.participant is not None else key.chat
    other = wire.get("participantAlt") if group else wire.get("remoteJidAlt")
    phone = known.phone(author, other)
    who = Person(
        phone=phone,
        name=None if key.from_me else _text(message.get("pushName")),
        username=_text(wire.get("participantUsername") if group else wire.get("remoteJidUsername")),
        jid=author,
    )
    chat = chat_of(key.chat if group else author, phone)
    return _Place(key, chat, "group" if group else "person", who, time_of(message.get("messageTimestamp")))


def _without_content(message: Mapping[str, Any], place: _Place) -> Inbound | None:
    if _object(message.get("key")).get("isViewOnce"):  # it is shown on phones only
        return InboundMessage(
            provider_message_id=place.key.name,
            chat=place.chat,
            chat_kind=place.kind,
            sender=place.author,
            content={"type": "unsupported", "unsupported": {"type": "viewOnce"}},
            sent_at=place.at,
            raw=told(message),
        )
    stub = message.get("messageStubType")
    if stub is None or stub in _CIPHERTEXT:
        return None
    parameters = message.get("messageStubParameters")
    return _noted(f"notice.{stub}", place, {"parameters": parameters if isinstance(parameters, list) else []})


def _about_another(part: Any, place: _Place, known: Known) -> Inbound | None:
    """A message that takes back, or rewrites, an earlier one. Its key says which, seen from its writer's side."""
    part = _object(part)
    wire = _object(part.get("key"))
    message_id = _text(wire.get("id"))
    if message_id is None:
        return None
    author = _text(wire.get("participant"))
    ours = place.key.from_me if author is None else bare(author) in known.me
    writer = bare(author) if author is not None else place.key.participant
    target = Key(place.key.chat, message_id, ours, None if place.kind == "person" else writer)
    data = place.data | {"providerMessageId": target.name}
    kind = part.get("type", 0)
    if kind in _REVOKE:
        return AccountEvent(type="message.deleted", dedupe_key=f"deleted:{target.name}", data=data)
    if kind not in _EDIT or (inside := opened(part.get("editedMessage"))) is None:
        return None
    content = _public(content_of(inside, place.key))
    data |= {"contentType": content["type"], content["type"]: content[content["type"]]}
    return AccountEvent(type="message.edited", dedupe_key=f"edited:{place.key.name}", data=data)


def _sent_elsewhere(content: dict[str, Any], place: _Place) -> AccountEvent:
    """What the number's owner wrote on a phone, or on another linked device."""
    content = _public(content)
    return _noted(
        "message.sent_elsewhere",
        place,
        {"contentType": content["type"], content["type"]: content[content["type"]]},
    )


def _noted(event: str, place: _Place, more: dict[str, Any]) -> AccountEvent:
    return AccountEvent(
        type="provider.event",
        dedupe_key=f"{event}:{place.key.name}",
        data={"event": event, **place.data, **more},
    )


def _public(content: dict[str, Any]) -> dict[str, Any]:
    """*content* without its file's id, which holds the file's key: events are shown as they are."""
    kind = content["type"]
    part = content[kind]
    if isinstance(part, dict) and "mediaId" in part:
        return {**content, kind: {name: value for name, value in part.items() if name != "mediaId"}}
    return content


def _context(inside: Opened, place: _Place, known: Known) -> dict[str, Any] | None:
    """What the message refers to: the one it quotes, and that it was forwarded."""
    context = inside.context
    found: dict[str, Any] = {}
    quoted = _text(context.get("stanzaId"))
    if quoted is not None:
        author = _text(context.get("participant"))
        ours = author is not None and bare(author) in known.me
        writer = bare(author) if author is not None and place.kind == "group" else None
        found["providerMessageId"] = Key(place.key.chat, quoted, ours, writer).name
        if author is not None:
            found["from"] = known.phone(author) or person_of(author)
    if context.get("isForwarded"):
        found["forwarded"] = True
        if (whole(context.get("forwardingScore")) or 0) >= 5:  # WhatsApp's "forwarded many times"
            found["frequentlyForwarded"] = True
    if inside.view_once:
        found["viewOnce"] = True
    return found or None


# --- reading --------------------------------------------------------------------------------------


def told(value: Any, depth: int = 0) -> Any:
    """*value* as it is stored: without keys and pictures, and not deeper than any reader goes."""
    if isinstance(value, Mapping):
        if depth >= _DEEPEST:
            return {}
        return {name: told(part, depth + 1) for name, part in value.items() if name not in _UNTOLD}
    if isinstance(value, list):
        return [told(part, depth + 1) for part in value] if depth < _DEEPEST else []
    return value


def storable(event: Inbound | None) -> Inbound | None:
    """*event*, if it can be written down. Raises UnicodeEncodeError for half of an emoji, which can be sent."""
    if event is not None:
        msgspec.json.encode(event)
    return event


def mended(value: Any) -> Any:
    """*value* with a `?` in place of what is no character."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {mended(name): mended(part) for name, part in value.items()}
    return [mended(part) for part in value] if isinstance(value, list) else value


def time_of(value: Any) -> datetime | None:
    """Seconds since 1970."""
    seconds = whole(value)
    try:
        return None if not seconds else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
