"""Statuses that came before their message, and their rows."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from wad.models import SessionId, StatusUpdate
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import ms, to_json, unreadable

_status: Final = msgspec.json.Decoder(StatusUpdate)


def parked_row(session_id: SessionId, status: StatusUpdate, now: datetime, vault: Vault) -> Row:
    """Keyed by what it says, so that the same status parked twice is one row."""
    key = f"{session_id}/{status.provider_message_id}/{status.state.value}"
    return {
        "id": key,
        "sessionId": session_id,
        "providerMessageId": status.provider_message_id,
        "createdAt": ms(now),
        "body": vault.seal(session_id, f"parked.body/{key}", to_json(status)),
    }


def parked_of(row: Row, vault: Vault) -> StatusUpdate | None:
    try:
        return _status.decode(vault.open(row["sessionId"], f"parked.body/{row['id']}", row["body"]))
    except Unreadable as error:
        unreadable("parked", row["id"], row["sessionId"], error)
        return None
