"""Media ids: what wad calls a file of WhatsApp Web, which keeps none by an id.

A file that somebody sent lies encrypted on WhatsApp's servers, and the message holds its place and its key. So its id is
those, packed: a secret, for whoever has it can read the file. A file that a shop uploads lies in a directory of ours
until it is sent or too old; its id says so, and what it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from wad.providers.baileys.jids import Key

#: Fields of a message that hold a file -> wad's type of content. `ptv` is a round video note.
HOLDS: Final = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
}
#: What fetching and decrypting needs, and what names the file.
_NEEDED: Final = (
    "url",
    "directPath",
    "mediaKey",
    "mimetype",
    "fileEncSha256",
    "fileSha256",
    "fileLength",
    "mediaKeyTimestamp",
    "fileName",
)
_RECEIVED: Final = "wa:"
_UPLOADED: Final = "up:"


class Received(msgspec.Struct, frozen=True):
    """A file in a message: enough of the message for Baileys to fetch it, or to ask the phone for it again."""

    key: dict[str, Any]
    message: dict[str, dict[str, Any]]

    def __repr__(self) -> str:
        return "Received(***)"

    @property
    def mime_type(self) -> str:
        held = next(iter(self.message.values()), {})
        mime_type = held.get("mimetype")
        return mime_type if isinstance(mime_type, str) and mime_type else "application/octet-stream"

    @property
    def filename(self) -> str | None:
        name = next(iter(self.message.values()), {}).get("fileName")
        return name if isinstance(name, str) and name else None

    @property
    def size(self) -> int | None:
        """As its sender says."""
        return whole(next(iter(self.message.values()), {}).get("fileLength"))


class Uploaded(msgspec.Struct, frozen=True):
    name: str  # of the file in our directory
    mime_type: str
    filename: str | None


def received_id(key: Key, field: str, part: Mapping[str, Any]) -> str | None:
    """The id of the file in *part*; None where it has no key (a placeholder, a newsletter's)."""
    if not part.get("mediaKey") or not (part.get("url") or part.get("directPath")):
        return None
    needed = {name: part[name] for name in _NEEDED if part.get(name) is not None}
    packed = msgspec.json.encode(Received(key.wire, {field: needed}))
    return _RECEIVED + base64.urlsafe_b64encode(packed).decode()


def uploaded_id(file: Uploaded) -> str:
    return f"{_UPLOADED}{file.name};{quote(file.mime_type)};{quote(file.filename or '')}"


def of_id(media_id: str) -> Received | Uploaded | None:
    """What *media_id* stands for; None where it is none of ours. Callers may write anything."""
    if media_id.startswith(_UPLOADED):
        match media_id.removeprefix(_UPLOADED).split(";"):
            case [name, mime_type, filename] if len(name) == 32 and name.isalnum():
                return Uploaded(name, unquote(mime_type), unquote(filename) or None)
    elif media_id.startswith(_RECEIVED):
        try:
            packed = base64.urlsafe_b64decode(media_id.removeprefix(_RECEIVED))
            return msgspec.json.decode(packed, type=Received)
        except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
            return None
    return None


def sha256_of(value: Any) -> str | None:
    """A hash as hex: it comes as base64, or as BufferJSON has it."""
    if isinstance(value, Mapping):
        value = value.get("data")
    try:
        return base64.b64decode(value, validate=True).hex() or None
    except (TypeError, ValueError):
        return None


def whole(value: Any) -> int | None:
    """A number of a proto: a 64-bit one comes as a string, or in two halves."""
    if isinstance(value, Mapping):
        low, high = value.get("low"), value.get("high")
        return (high << 32) + (low & 0xFFFF_FFFF) if isinstance(low, int) and isinstance(high, int) else None
    if isinstance(value, str):
        return (
            int(value) if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20 else None
        )
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else None
