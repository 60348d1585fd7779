"""wad's messages as Baileys' AnyMessageContent, and what WhatsApp Web takes.

Files are handed over by path: the bridge encrypts and uploads them. Nothing in here touches network or disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from wad.errors import FieldError
from wad.models import Address, Content, MessageId
from wad.providers.baileys.jids import Key, jid_of_phone
from wad.providers.baileys.vcards import vcard
from wad.providers.base import Capabilities

FILES: Final = ("image", "audio", "video", "document", "sticker")
_PLAIN: Final = ("text", "location", "contacts", "reaction", "poll")

CAPABILITIES: Final = Capabilities(
    content_types=frozenset((*FILES, *_PLAIN)),
    groups=True,
    reply_context=True,
    read_receipts=True,
    typing=True,
    media_upload=True,
    pairing=True,
    settlement="resend",
)

#: What Baileys says where a file does not tell its own type. A voice note has to be Opus.
_MIME: Final = {
    "image": "image/jpeg",
    "audio": "audio/mp4",
    "video": "video/mp4",
    "document": "application/octet-stream",
    "sticker": "image/webp",
}
_VOICE: Final = "audio/ogg; codecs=opus"


class File(msgspec.Struct, frozen=True):
    """A file on this machine's disk, and what is known of it."""

    path: Path
    mime_type: str | None = None
    filename: str | None = None


def message_id_of(message_id: MessageId) -> str:
    """WhatsApp's id for our message: always the same one, so that WhatsApp knows a repetition for what it is.

    Its form is the one Baileys gives its own. 66 random bits of ours are left: two alike in one session take some 2^33
    messages.
    """
    digits = message_id.removeprefix("msg_")
    if re.fullmatch(r"[0-9a-f]{18,}", digits) is None:
        digits = hashlib.sha256(message_id.encode()).hexdigest()
    return f"3EB0{digits[:18].upper()}"


def wire(content: Content, *, chat: str, file: File | None = None) -> dict[str, Any]:
    """*content* as `sendMessage` takes it, for *chat*. *file* is what its `link` or `mediaId` stands for."""
    kind = content["type"]
    part = content[kind]
    match kind:
        case "text":
            # `linkPreview: null`: or Baileys would fetch the page of any URL in the text.
            made = {"text": part["body"], "linkPreview": None}
            if mentions := part.get("mentions"):
                made["mentions"] = [
                    mention if "@" in mention else jid_of_phone(mention) for mention in mentions
                ]
            return made
        case "image" | "audio" | "video" | "document" | "sticker":
            assert file is not None
            return _of_file(kind, part, file)
        case "location":
            place = {"degreesLatitude": part["latitude"], "degreesLongitude": part["longitude"]}
            return {"location": place | {name: part[name] for name in ("name", "address") if name in part}}
        case "contacts":
            names = [one["name"]["formattedName"] for one in part]
            cards = [
                {"displayName": name, "vcard": vcard(one)} for name, one in zip(names, part, strict=True)
            ]
            title = names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"
            return {"contacts": {"displayName": title, "contacts": cards}}
        case "reaction":
            return {"react": {"text": part["emoji"], "key": Key.named(part["messageId"], chat).wire}}
        case "poll":
            poll = {"name": part["name"], "values": part["options"]}
            return {"poll": poll | {"selectableCount": part.get("selectableCount", 1)}}
        case _:
            raise AssertionError(f"check_send lets no {kind} through")


def _of_file(kind: str, part: dict[str, Any], file: File) -> dict[str, Any]:
    # Absolute, since the data directory is `var` by default, and the bridge takes no other path for a file.
    url = str(file.path.absolute())
    made: dict[str, Any] = {kind: {"url": url}, "mimetype": file.mime_type or _MIME[kind]}
    if "caption" in part:
        made["caption"] = part["caption"]
    if kind == "audio" and part.get("voice"):
        # Phones play a voice note by what it says it is: a recorder's `audio/ogg` lacks the codec's name.
        made |= {"ptt": True, "mimetype": _VOICE if "ogg" in made["mimetype"] else made["mimetype"]}
    if kind == "document":
        made["fileName"] = part.get("filename") or file.filename or "file"
    return made


def quoted(name: str, chat: str, content: Content | None) -> dict[str, Any]:
    """The message behind *name* as `quoted` takes it. The recipient's phone shows *content* above the reply."""
    return {"key": Key.named(name, chat).wire, "message": _shown(content)}


def _shown(content: Content | None) -> dict[str, Any]:
    """As much of *content* as a quotation shows; nothing is uploaded again for it."""
    if content is None:
        return {"conversation": ""}
    kind = content["type"]
    part = content.get(kind)
    match kind, part:
        case "text", {"body": str(body)}:
            return {"conversation": body}
        case (("image" | "video" | "document"), dict()):
            shown = {"caption": part.get("caption"), "fileName": part.get("filename")}
            return {f"{kind}Message": {key: value for key, value in shown.items() if isinstance(value, str)}}
        case (("audio" | "sticker"), _):
            return {f"{kind}Message": {}}
        case "location", {"latitude": latitude, "longitude": longitude}:
            return {"locationMessage": {"degreesLatitude": latitude, "degreesLongitude": longitude}}
        case "contacts", [{"name": {"formattedName": str(name)}}, *_]:
            return {"contactMessage": {"displayName": name}}
        case "poll", {"name": str(name), "options": list(options)}:
            return {
                "pollCreationMessage": {"name": name, "options": [{"optionName": each} for each in options]}
            }
        case _:
            return {"conversation": ""}


# --- what may be sent -----------------------------------------------------------------------------

#: The longest text that WhatsApp's clients send, in characters, and what their forms for captions and polls take.
MOST_TEXT: Final = 65_536
MOST_CAPTION: Final = 1024
MOST_CONTACTS: Final = 257
MOST_OPTIONS: Final = 12
MOST_QUESTION: Final = 255
MOST_OPTION: Final = 100
MOST_MENTIONS: Final = 1024  # as many people as a group may have

_GROUP_ID: Final = re.compile(r"[0-9]+(-[0-9]+)?@g\.us")
_NO_USER_ID: Final = "is not known to WhatsApp Web: a phone number or a JID is needed"


def check_send(to: Address, content: Content) -> list[FieldError]:
    kind = content["type"]
    return [*_check_address(to), *_check_content(kind, content[kind])]


def _check_address(to: Address) -> Iterator[FieldError]:
    if to.group_id is not None:
        if _GROUP_ID.fullmatch(to.group_id) is None:
            yield FieldError("/groupId", "must be the JID of a group, such as 120363041234567890@g.us")
    elif to.phone is None and to.jid is None:
        yield FieldError("/to/userId" if to.user_id else "/to", _NO_USER_ID)


def _check_content(kind: str, part: Any) -> Iterator[FieldError]:
    match kind:
        case "text":
            yield from _long("/text/body", part["body"], MOST_TEXT)
            yield from _many("/text/mentions", part.get("mentions", ()), MOST_MENTIONS)
        case "image" | "video" | "document":
            yield from _long(f"/{kind}/caption", part.get("caption", ""), MOST_CAPTION)
        case "contacts":
            yield from _many("/contacts", part, MOST_CONTACTS)
        case "poll":
            yield from _check_poll(part)
        case _:
            pass


def _check_poll(poll: dict[str, Any]) -> Iterator[FieldError]:
    options = poll["options"]
    yield from _long("/poll/name", poll["name"], MOST_QUESTION)
    yield from _many("/poll/options", options, MOST_OPTIONS)
    for index, option in enumerate(options):
        yield from _long(f"/poll/options/{index}", option, MOST_OPTION)
        if option in options[:index]:  # a vote names the option by its hash
            yield FieldError(f"/poll/options/{index}", "is the same as one before it")
    if poll.get("selectableCount", 1) > len(options):
        yield FieldError("/poll/selectableCount", f"may be {len(options)} at most: there are no more options")


def _long(where: str, text: str, most: int) -> Iterator[FieldError]:
    if len(text) > most:
        yield FieldError(where, f"may have {most} characters, not {len(text)}")


def _many(where: str, items: Any, most: int) -> Iterator[FieldError]:
    if len(items) > most:
        yield FieldError(where, f"may have {most} items, not {len(items)}")
