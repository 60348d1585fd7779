"""The names of bulks, and their rows: the name is the caller's word, and so is no secret."""

from __future__ import annotations

from wad.models import Bulk, OutboundMessage, ShopId
from wad.store.base import Row
from wad.store.records.values import at, ms


def bulk_row(message: OutboundMessage) -> Row:
    """The row of the bulk that *message* is a part of. The first one's stands."""
    return {
        "id": f"{message.shop_id or ''}/{message.bulk_id}",
        "bulkId": message.bulk_id,
        "shopId": message.shop_id,
        "seq": message.seq,
        "createdAt": ms(message.created_at),
    }


def bulk_of(row: Row) -> Bulk:
    return Bulk(
        bulk_id=row["bulkId"],
        shop_id=None if row["shopId"] is None else ShopId(row["shopId"]),
        seq=row["seq"],
        began_at=at(row["createdAt"]),
    )
