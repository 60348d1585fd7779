"""What every record's columns are made of: milliseconds, flags, JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from wad.secrets import Unreadable

log = logging.getLogger("wad.store")

to_json: Final = msgspec.json.Encoder().encode
#: A JSON object of whatever is in it.
json_object: Final = msgspec.json.Decoder(dict[str, Any])

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def maybe_ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def at(value: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=value)


def maybe_at(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(milliseconds=value)


def flag(value: bool) -> int | None:
    """1 or null: partial indexes hold the ones alone."""
    return 1 if value else None


def unreadable(what: str, key: str, session_id: str, error: Unreadable) -> None:
    """Tell of a row whose seal does not open."""
    log.error(
        "unreadable_row", extra={"row": what, "key": key, "session_id": session_id, "detail": str(error)}
    )
