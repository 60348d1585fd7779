"""Bulk: what a session still has to read of it, page by page, and how far one that has a name is.

A session's *backlog* is its messages of the priority `bulk` that wait for their turn. There may be a hundred thousand of
them, so nobody asks for all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from wad.models import (
    WAITING,
    Bulk,
    BulkCounts,
    MessageId,
    MessageState,
    OutboundMessage,
    Pending,
    SessionId,
)
from wad.store import records
from wad.store.base import Delete, Query, Row, Scalar, Where
from wad.store.messages import MessageStore
from wad.store.records import ms
from wad.store.records.values import at


class BulkStore(MessageStore):
    """The backlog of sessions, and bulks by their names."""

    # --- what a session has to read

    async def backlog_size(self, session_id: str) -> int:
        counts = await self._count("messages", _backlog(session_id), by="sessionId")
        return counts.get(session_id, 0)

    async def backlog_page(self, session_id: str, now: datetime, limit: int) -> list[Pending]:
        """The first of the backlog that may go now, at most *limit*: those in their order, then those whose time came.

        Fewer are all that there are.
        """
        limit += len(self._doubts)  # which are hidden, and so would make a page too short
        found = await self._pending(
            Query(table="messages", where={**_backlog(session_id), "dueAt": None}, order="seq", limit=limit)
        )
        if len(found) < limit:
            due = Query(
                table="messages",
                where=_backlog(session_id),
                order="dueAt",
                before=ms(now) + 1,
                limit=limit - len(found),
            )
            found += await self._pending(due)
        return found

    async def backlog_due(self, session_id: str, now: datetime) -> datetime | None:
        """When the next of the backlog has its turn, of those that have to wait for a time."""
        query = Query(
            table="messages",
            where=_backlog(session_id),
            order="dueAt",
            after=ms(now),
            limit=1,
            columns=("dueAt",),
        )
        rows = await self._find(query)
        return at(rows[0]["dueAt"]) if rows else None

    async def backlog_after(self, session_id: str, seq: int, limit: int) -> list[Pending]:
        """The backlog by `seq`, whenever its turn is; *seq* is that of the last one seen."""
        where: Where = {"open": 1, **_backlog(session_id)}
        return await self._pending(Query(table="messages", where=where, order="seq", after=seq, limit=limit))

    async def backlog_overdue(self, session_id: str, now: datetime, limit: int) -> list[MessageId]:
        """Those of the backlog that are past their `expiresAt`."""
        query = Query(
            table="messages",
            where=_backlog(session_id),
            order="expiresAt",
            before=ms(now) + 1,
            limit=limit,
            columns=("messageId", "rev"),
        )
        rows = await self._find(query)
        return [MessageId(row["messageId"]) for row in rows if row["rev"] not in self._doubts]

    # --- bulks by their names

    async def bulks(
        self, *, shop_ids: Collection[str] | None = None, after: int | None = None, limit: int = 50
    ) -> list[Bulk]:
        """The newest first; *after* is the `seq` of the last one seen."""
        rows: list[Row] = []
        for shop in _shops(shop_ids):
            rows += await self._find(
                Query(table="bulks", where=shop, order="seq", descending=True, before=after, limit=limit)
            )
        rows.sort(key=lambda row: int(row["seq"]), reverse=True)
        return [records.bulk_of(row) for row in rows[:limit]]

    async def bulk(self, bulk_id: str, *, shop_ids: Collection[str] | None = None) -> BulkCounts | None:
        """How far it is, as far as it is of these shops; None where it has no message there."""
        states: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        dead = 0
        dues: list[int] = []
        begins: list[int] = []
        for shop in _shops(shop_ids):
            where: Where = {"bulkId": bulk_id, **shop}
            states.update(await self._count("messages", where, by="state"))
            dead += (await self._count("messages", {**where, "dead": 1}, by="dead")).get(1, 0)
            waits = {**where, "state": tuple(state.value for state in WAITING)}
            waiting.update(await self._count("messages", waits, by="sessionId"))
            if states[MessageState.SCHEDULED.value]:
                last = Query(
                    table="messages",
                    where=waits,
                    minimum={"dueAt": 0},
                    order="dueAt",
                    descending=True,
                    limit=1,
                    columns=("dueAt",),
                )
                dues += [row["dueAt"] for row in await self._find(last)]
            begins += [row["createdAt"] for row in await self._find(Query(table="bulks", where=where))]
        if not states:
            return None
        return BulkCounts(
            states={state: states[state.value] for state in MessageState},
            dead=dead,
            waiting={SessionId(session_id): count for session_id, count in waiting.items()},
            last_due=at(max(dues)) if dues else None,
            began_at=at(min(begins)) if begins else None,
        )

    async def bulk_waiting(
        self, bulk_id: str, session_id: str, state: MessageState, *, after: int, limit: int
    ) -> list[OutboundMessage]:
        """Its messages in that session and state, by `seq`; *after* is that of the last one seen."""
        where: Where = {"bulkId": bulk_id, "state": state.value, "sessionId": session_id}
        query = Query(table="messages", where=where, order="seq", after=after, limit=limit)
        return await self._messages_of(await self._find(query))

    async def purge_bulks(self, until: datetime) -> None:
        """Forget the names, given before *until*, of bulks that have no message any more."""
        for row in await self._find(Query(table="bulks", order="createdAt", before=ms(until))):
            where: Where = {"bulkId": row["bulkId"], "shopId": row["shopId"]}
            query = Query(table="messages", where=where, limit=1, columns=("messageId",))
            if not await self._find(query):
                await self._write([Delete("bulks", {"id": row["id"]})])


def _backlog(session_id: str) -> dict[str, Scalar]:
    return {"backlog": 1, "sessionId": session_id}


def _shops(shop_ids: Collection[str] | None) -> list[dict[str, str]]:
    """What to ask for, one by one: an index leads to each shop's."""
    return [{}] if shop_ids is None else [{"shopId": shop} for shop in sorted(set(shop_ids))]
