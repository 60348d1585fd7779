"""Events of the stream, and their rows: sealed under the system key, since an event may outlive its session."""

from __future__ import annotations

from wad.models import SessionId, ShopId, StoredEvent
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import at, json_object, ms, to_json, unreadable


def event_row(event: StoredEvent, vault: Vault) -> Row:
    return {
        "seq": event.seq,
        "sessionId": event.session_id,
        "shopId": event.shop_id,
        "type": event.type,
        "createdAt": ms(event.at),
        "body": vault.seal("", f"events.body/{event.seq}", to_json(event.data)),
    }


def event_of(row: Row, vault: Vault) -> StoredEvent | None:
    try:
        data = json_object.decode(vault.open("", f"events.body/{row['seq']}", row["body"]))
    except Unreadable as error:
        unreadable("event", str(row["seq"]), row["sessionId"] or "", error)
        return None
    return StoredEvent(
        seq=row["seq"],
        type=row["type"],
        at=at(row["createdAt"]),
        data=data,
        session_id=None if row["sessionId"] is None else SessionId(row["sessionId"]),
        shop_id=None if row["shopId"] is None else ShopId(row["shopId"]),
    )
