"""Media, and their rows."""

from __future__ import annotations

from typing import Final

import msgspec

from wad.models import Media
from wad.store.base import Row
from wad.store.records.values import ms, to_json

_media: Final = msgspec.json.Decoder(Media)


def media_row(media: Media) -> Row:
    return {
        "mediaId": media.media_id,
        "sessionId": media.session_id,
        "expiresAt": ms(media.expires_at),
        "request": to_json(media).decode(),
    }


def media_of(row: Row) -> Media:
    return _media.decode(row["request"])
