"""What a decrypted message holds, in wad's words: the content has the shape that Cloud API's inbound has.

It comes as JSON of WhatsApp's protos: an object with one field that counts, in wrappers that say how it is to be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from wad.models import Content
from wad.providers.baileys.files import HOLDS, received_id, sha256_of, whole
from wad.providers.baileys.jids import Key, bare, phone_of
from wad.providers.baileys.vcards import contact

#: Around the message proper, which is their `message`: disappearing, view once, a caption, a copy of what our phone sent...
_WRAPPERS: Final = frozenset(
    {
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
        "deviceSentMessage",
        "editedMessage",
        "lottieStickerMessage",
        "botInvokeMessage",
        "groupMentionedMessage",
        "associatedChildMessage",
    }
)
_VIEW_ONCE: Final = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
#: Beside the field that counts: keys of the group, and what belongs to the protocol.
_ASIDE: Final = frozenset(
    {"messageContextInfo", "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"}
)
_DEEPEST: Final = 8  # wrappers in wrappers; WhatsApp's own have three


class Opened(msgspec.Struct, frozen=True):
    """The field that counts, what it holds, and whether it may be seen only once."""

    field: str
    part: Any
    view_once: bool = False

    @property
    def context(self) -> Mapping[str, Any]:
        found = self.part.get("contextInfo") if isinstance(self.part, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def opened(message: Any) -> Opened | None:
    """What is in *message*; None where it holds nothing for people."""
    once = False
    for _ in range(_DEEPEST):
        if not isinstance(message, Mapping):
            return None
        field = next(
            (name for name, part in message.items() if part is not None and name not in _ASIDE), None
        )
        if field is None:
            return None
        if field not in _WRAPPERS:
            return Opened(field, message[field], once)
        once = once or field in _VIEW_ONCE
        inner = message[field]
        message = inner.get("message") if isinstance(inner, Mapping) else None
    return None


def content_of(message: Opened, key: Key) -> Content:
    """The content of *message*, whose key is *key*. What wad has no word for is `unsupported`, by its field's name."""
    read = _READERS.get(message.field)
    part = message.part if isinstance(message.part, Mapping) else {}
    if message.field == "conversation" and isinstance(message.part, str):
        return {"type": "text", "text": {"body": message.part}}
    if message.field in HOLDS:
        return _file(message.field, part, key)
    if read is not None and (content := read(part, key)) is not None:
        return content
    return {"type": "unsupported", "unsupported": {"type": message.field}}


def person_of(jid: Any) -> str | None:
    """A number where *jid* tells one, else the JID."""
    return (phone_of(jid) or bare(jid)) if isinstance(jid, str) and "@" in jid else None


def _texts(part: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The texts of *part* under wad's names: `ours=theirs`."""
    return {
        ours: part[theirs]
        for ours, theirs in names.items()
        if isinstance(part.get(theirs), str) and part[theirs]
    }


# --- each kind ------------------------------------------------------------------------------------


def _file(field: str, part: Mapping[str, Any], key: Key) -> Content:
    kind = HOLDS[field]
    file = _texts(part, mimeType="mimetype", caption="caption")
    if (media_id := received_id(key, field, part)) is not None:
        file["mediaId"] = media_id
    if (sha256 := sha256_of(part.get("fileSha256"))) is not None:
        file["sha256"] = sha256
    match kind:
        case "audio":
            file["voice"] = bool(part.get("ptt"))
        case "document":
            file |= _texts(part, filename="fileName")
        case "sticker":
            file["animated"] = bool(part.get("isAnimated"))
        case _:
            pass
    return {"type": kind, kind: file}


def _text(part: Mapping[str, Any], _key: Key) -> Content | None:
    body = part.get("text")
    if not isinstance(body, str):
        return None
    text: dict[str, Any] = {"body": body}
    context = part.get("contextInfo")
    mentioned = context.get("mentionedJid") if isinstance(context, Mapping) else None
    if isinstance(mentioned, list) and (people := [who for jid in mentioned if (who := person_of(jid))]):
        text["mentions"] = people
    return {"type": "text", "text": text}


def _place(part: Mapping[str, Any], _key: Key) -> Content | None:
    latitude, longitude = part.get("degreesLatitude"), part.get("degreesLongitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    place = {"latitude": latitude, "longitude": longitude}
    return {"type": "location", "location": place | _texts(part, name="name", address="address", url="url")}


def _live_place(part: Mapping[str, Any], key: Key) -> Content | None:
    content = _place(part, key)
    if content is not None:
        content["location"] |= {"live": True} | _texts(part, caption="caption")
    return content


def _contact(part: Mapping[str, Any], _key: Key) -> Content | None:
    return {"type": "contacts", "contacts": [_card(part)]}


def _contacts(part: Mapping[str, Any], _key: Key) -> Content | None:
    listed = part.get("contacts")
    cards = [_card(each) for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return {"type": "contacts", "contacts": cards} if cards else None


def _card(part: Mapping[str, Any]) -> dict[str, Any]:
    card, name = part.get("vcard"), part.get("displayName")
    return contact(card if isinstance(card, str) else "", name if isinstance(name, str) else None)


def _reaction(part: Mapping[str, Any], key: Key) -> Content | None:
    """Baileys has turned the key round already: `fromMe` is from our side. No text takes the reaction back."""
    target = Key.of({"remoteJid": key.chat} | dict(part.get("key") or {}))
    if target is None:
        return None
    if key.participant is None:  # between two: nobody is named
        target = Key(key.chat, target.id, target.from_me)
    emoji = part.get("text")
    reaction = {"messageId": target.name, "emoji": emoji if isinstance(emoji, str) else ""}
    return {"type": "reaction", "reaction": reaction}


def _poll(part: Mapping[str, Any], _key: Key) -> Content | None:
    listed = part.get("options")
    options = [
        each["optionName"]
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping) and isinstance(each.get("optionName"), str)
    ]
    poll = _texts(part, name="name") | {"options": options}
    return {
        "type": "poll",
        "poll": poll | {"selectableCount": whole(part.get("selectableOptionsCount")) or 0},
    }


def _button(part: Mapping[str, Any], _key: Key) -> Content | None:
    reply = _texts(part, id="selectedButtonId", title="selectedDisplayText")
    return {"type": "interactive", "interactive": {"type": "button_reply", "buttonReply": reply}}


def _row(part: Mapping[str, Any], _key: Key) -> Content | None:
    chosen = part.get("singleSelectReply")
    reply = _texts(part, title="title", description="description")
    reply |= _texts(chosen if isinstance(chosen, Mapping) else {}, id="selectedRowId")
    return {"type": "interactive", "interactive": {"type": "list_reply", "listReply": reply}}


def _quick_reply(part: Mapping[str, Any], _key: Key) -> Content | None:
    return {"type": "button", "button": _texts(part, payload="selectedId", text="selectedDisplayText")}


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Key], Content | None]]] = {
    "extendedTextMessage": _text,
    "locationMessage": _place,
    "liveLocationMessage": _live_place,
    "contactMessage": _contact,
    "contactsArrayMessage": _contacts,
    "reactionMessage": _reaction,
    "pollCreationMessage": _poll,
    "pollCreationMessageV2": _poll,
    "pollCreationMessageV3": _poll,
    "buttonsResponseMessage": _button,
    "listResponseMessage": _row,
    "templateButtonReplyMessage": _quick_reply,
}
