"""Media, and their rows. The provider's id is sealed: of WhatsApp Web's it is the key that opens the file.

The file itself, where wad has it, is no row: `wad.store.files`.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from wad.models import ChatId, Media, MediaState, MessageId, Pending
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import flag, ms, to_json, unreadable

_media: Final = msgspec.json.Decoder(Media)

#: Before a sealed id, in base64. Older rows hold it as it is; no provider's id begins so.
_SEALED: Final = "sealed:"


def media_row(media: Media, vault: Vault) -> Row:
    return {"mediaId": media.media_id, "sessionId": media.session_id, **media_changes(media, vault)}


def media_changes(media: Media, vault: Vault) -> Row:
    """All but what names it."""
    sealed = vault.seal(media.session_id, _field(media.media_id), media.provider_media_id.encode())
    hidden = _SEALED + base64.b64encode(sealed).decode()
    return {
        "open": flag(media.state is MediaState.WAITING),
        "expiresAt": ms(media.expires_at),
        "request": to_json(msgspec.structs.replace(media, provider_media_id=hidden)).decode(),
        "rev": media.rev,
    }


def media_of(row: Row, vault: Vault) -> Media | None:
    """None where its id does not open: nobody can fetch that file any more."""
    media = _media.decode(row["request"])
    if not media.provider_media_id.startswith(_SEALED):
        return media
    try:
        sealed = base64.b64decode(media.provider_media_id.removeprefix(_SEALED))
        opened = vault.open(media.session_id, _field(media.media_id), sealed)
    except Unreadable as error:
        unreadable("media", media.media_id, media.session_id, error)
        return None
    return msgspec.structs.replace(media, provider_media_id=opened.decode())


def media_pending(row: Row) -> Pending:
    """What fetching it is scheduled by: each by itself, the oldest first. What is sealed stays so."""
    media = _media.decode(row["request"])
    return Pending(
        MessageId(media.media_id),
        ChatId(media.media_id),
        ms(media.created_at),
        media.created_at,
        due_at=media.due_at,
    )


def _field(media_id: str) -> str:
    return f"media.provider_media_id/{media_id}"
