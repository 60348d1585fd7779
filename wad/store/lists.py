"""Lists over both directions, newest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, TypeAlias

from wad.models import InboxItem, MessageQuery, OutboundMessage
from wad.store import records
from wad.store.base import Query, Where
from wad.store.core import asked
from wad.store.inbox import InboxStore
from wad.store.messages import MessageStore
from wad.store.records import ms

AnyMessage: TypeAlias = OutboundMessage | InboxItem


class ListStore(MessageStore, InboxStore):
    """Messages as `GET /messages` shows them, and dead letters."""

    async def find_messages(self, query: MessageQuery) -> list[AnyMessage]:
        """Messages of both directions by `seq`, newest first."""
        tables: list[tuple[Literal["messages", "inbox"], Where]] = []
        common = asked(sessionId=query.session_id, state=query.state)
        if query.direction != "inbound" and query.sender is None:
            to = query.to
            whom = {} if to is None else {_address(to, "chat"): to}
            tables.append(("messages", asked(**common, bulkId=query.bulk_id, **whom)))
        if query.direction != "outbound" and query.to is None and query.bulk_id is None:
            who = query.sender
            where = asked(
                **common, kind=records.MESSAGE_KIND, **({} if who is None else {_address(who, "userId"): who})
            )
            tables.append(("inbox", where))
        minimum = {} if query.since is None else {"createdAt": ms(query.since)}
        return await self._newest(tables, query.shop_ids, query.after, query.limit, minimum)

    async def dead_letters(
        self,
        *,
        shop_ids: Collection[str] | None = None,
        direction: Literal["inbound", "outbound"] | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[AnyMessage]:
        tables: list[tuple[Literal["messages", "inbox"], Where]] = []
        if direction != "inbound":
            tables.append(("messages", {"dead": 1}))
        if direction != "outbound":
            tables.append(("inbox", {"dead": 1}))
        return await self._newest(tables, shop_ids, after, limit, {})

    async def _newest(
        self,
        tables: Sequence[tuple[Literal["messages", "inbox"], Where]],
        shop_ids: Collection[str] | None,
        before: int | None,
        limit: int,
        minimum: dict[str, int],
    ) -> list[AnyMessage]:
        """The newest *limit* of both tables and all shops: each asked by its index, then merged."""
        shops: Sequence[dict[str, str]] = (
            [{}] if shop_ids is None else [{"shopId": shop} for shop in sorted(set(shop_ids))]
        )
        found: list[AnyMessage] = []
        for table, where in tables:
            for shop in shops:
                rows = await self._find(
                    Query(
                        table=table,
                        where={**where, **shop},
                        minimum=minimum,
                        order="seq",
                        descending=True,
                        before=before,
                        limit=limit,
                    )
                )
                found += await (self._messages_of(rows) if table == "messages" else self._inbox_of(rows))
        found.sort(key=lambda one: one.seq, reverse=True)
        return found[:limit]

    async def count_dead_letters(self) -> dict[str, int]:
        return {
            direction: (await self._count(table, {"dead": 1}, by="dead")).get(1, 0)
            for direction, table in (("outbound", "messages"), ("inbound", "inbox"))
        }


def _address(value: str, otherwise: str) -> str:
    """The column that an address of a query is looked for in: phone numbers are digits."""
    return "phone" if value.lstrip("+").isdecimal() else otherwise
