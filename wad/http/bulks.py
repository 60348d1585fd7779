"""Bulks over HTTP: which there are, how far one is, and stopping what still waits of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from wad.http.api import Api
from wad.http.operations import Answer, Exchange
from wad.http.schemas import BulkListQuery, BulkQuery, after_seq, seq_after
from wad.models import Bulk, ShopId
from wad.supervisor.bulks import Progress

#: A part of `http.response_timeout`, after which a cancellation begins no page more: the rest is for the last one.
_PART: Final = 0.5


class BulkEntry(msgspec.Struct, frozen=True, rename="camel"):
    bulk_id: str
    shop_id: str | None
    began_at: datetime


class BulkList(msgspec.Struct, frozen=True):
    items: list[BulkEntry]
    next: str | None


class BulkProgress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a bulk is. `counts` has every state; `dead` are the dead letters among them.

    `lastLeavesAt` is an estimate, at the rate in force; null where nothing waits, or where nobody can tell.
    """

    bulk_id: str
    began_at: datetime | None
    total: int
    counts: dict[str, int]
    dead: int
    last_leaves_at: datetime | None


class BulkCancelled(msgspec.Struct, frozen=True):
    """How many were cancelled now, and how far the bulk is then."""

    cancelled: int
    bulk: BulkProgress


async def find(api: Api, exchange: Exchange) -> Answer:
    query: BulkListQuery = exchange.query
    found = await api.store.bulks(
        shop_ids=_shops(exchange, query.shop_id),
        after=seq_after(query.cursor) if query.cursor is not None else None,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    return Answer(
        BulkList(
            [_entry(bulk) for bulk in page], after_seq(page[-1].seq) if len(found) > query.limit else None
        )
    )


async def read(api: Api, exchange: Exchange) -> Answer:
    query: BulkQuery = exchange.query
    bulk_id = exchange.path["bulkId"]
    progress = await api.sessions.bulks.progress(bulk_id, _shops(exchange, query.shop_id))
    return Answer(_view(bulk_id, progress))


async def cancel(api: Api, exchange: Exchange) -> Answer:
    """Those that were not cancelled in time are told, and a repetition goes on with them."""
    query: BulkQuery = exchange.query
    bulk_id = exchange.path["bulkId"]
    cancelled, progress = await api.sessions.bulks.cancel(
        bulk_id, _shops(exchange, query.shop_id), within=api.config.http.response_timeout * _PART
    )
    return Answer(BulkCancelled(cancelled, _view(bulk_id, progress)))


def _shops(exchange: Exchange, asked: str | None) -> frozenset[str] | None:
    """The shops that are asked for, as far as the caller may see them."""
    if asked is None:
        return exchange.principal.shops
    exchange.principal.require_sight(ShopId(asked), f"there is no bulk of shop {asked!r}")
    return frozenset({asked})


def _entry(bulk: Bulk) -> BulkEntry:
    return BulkEntry(bulk.bulk_id, bulk.shop_id, bulk.began_at)


def _view(bulk_id: str, progress: Progress) -> BulkProgress:
    counts = progress.counts
    return BulkProgress(
        bulk_id=bulk_id,
        began_at=counts.began_at,
        total=sum(counts.states.values()),
        counts={state.value: count for state, count in counts.states.items()},
        dead=counts.dead,
        last_leaves_at=progress.last_leaves_at,
    )
