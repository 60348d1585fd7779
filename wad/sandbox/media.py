"""Media on the network: which files WhatsApp takes, how long an id lives, and the five-minute URLs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from wad.sandbox.errors import GraphError, invalid

_MB: Final = 1024 * 1024
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"

#: message type → (mime types, largest file)
KINDS: Final[dict[str, tuple[frozenset[str], int]]] = {
    "image": (frozenset({"image/jpeg", "image/png"}), 5 * _MB),
    "video": (frozenset({"video/mp4", "video/3gpp"}), 16 * _MB),
    "audio": (frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"}), 16 * _MB),
    "sticker": (frozenset({"image/webp"}), 500 * 1024),
    "document": (
        frozenset(
            {
                "text/plain",
                "application/pdf",
                "application/msword",
                "application/vnd.ms-excel",
                "application/vnd.ms-powerpoint",
                f"{_OFFICE}.wordprocessingml.document",
                f"{_OFFICE}.spreadsheetml.sheet",
                f"{_OFFICE}.presentationml.presentation",
            }
        ),
        100 * _MB,
    ),
}

LARGEST: Final = 100 * _MB
UPLOADED_LIVES: Final = 30 * 86400.0
RECEIVED_LIVES: Final = 7 * 86400.0
URL_LIVES: Final = 300.0

_MAGIC: Final = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/webp": b"RIFF",
    "application/pdf": b"%PDF-",
}


@dataclass(slots=True, frozen=True)
class Media:
    media_id: str
    phone_number_id: str
    mime_type: str
    data: bytes
    expires: float
    filename: str | None = None
    received: bool = False  # it came from a customer

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    @property
    def sha256_base64(self) -> str:
        """As webhooks carry it."""
        return base64.b64encode(self.sha256).decode()

    @property
    def sha256_hex(self) -> str:
        """As `GET /{MEDIA_ID}` answers it."""
        return self.sha256.hex()


def bare(mime_type: str) -> str:
    return mime_type.partition(";")[0].strip().lower()


def kind_of(mime_type: str) -> str | None:
    return next((kind for kind, (types, _) in KINDS.items() if bare(mime_type) in types), None)


def check_upload(mime_type: str, data: bytes, *, sniff: bool) -> None:
    """Refuse what Meta refuses at upload."""
    kind = kind_of(mime_type)
    if kind is None:
        allowed = ", ".join(sorted(mime for types, _ in KINDS.values() for mime in types))
        raise invalid(
            f"Param file must be a file with one of the following types: {allowed}."
            f" Received file of type '{bare(mime_type)}'."
        )
    if not data:
        raise invalid("Param file must not be empty.")
    if len(data) > KINDS[kind][1]:
        raise GraphError(
            131053, f"Media file size too big. Max file size we currently support: {KINDS[kind][1]} bytes."
        )
    magic = _MAGIC.get(bare(mime_type))
    if sniff and magic is not None and not data.startswith(magic):
        raise GraphError(131053, f"The file is not of type {bare(mime_type)}.")


def fits(media: Media, kind: str) -> bool:
    types, largest = KINDS[kind]
    return bare(media.mime_type) in types and len(media.data) <= largest


def url_hash(secret: bytes, media_id: str, expires: int) -> str:
    return hmac.new(secret, f"{media_id}.{expires}".encode(), "sha256").hexdigest()[:32]
