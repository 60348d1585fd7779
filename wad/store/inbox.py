"""Inbox items in the store: what the flow is still to be asked, and what it answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from wad.errors import StoreUnavailable
from wad.models import InboundMessage, InboxItem, Pending, new_rev
from wad.secrets import Vault
from wad.store import records
from wad.store.base import Delete, Engine, Insert, Query, Result, Row, Update, Where
from wad.store.core import Core, check_revs
from wad.store.doubts import MAX_DOUBTS

#: How many of a person's messages are looked through for one that was not written to a group.
_LOOKED_THROUGH: Final = 20


class InboxStore(Core):
    """Adds events once each, and moves them."""

    def __init__(self, engine: Engine, vault: Vault, *, reached: trio.Event | None = None) -> None:
        super().__init__(engine, vault, reached=reached)
        #: What would erase the rows whose insert failed, by session and dedupe key: they may be there.
        self._lost: dict[tuple[str, str], list[Delete]] = {}

    async def add_inbox(self, items: Sequence[InboxItem]) -> list[bool]:
        """Store *items*; for each, whether it is new. One of the same session and dedupe key is not.

        After StoreUnavailable a row may be there though nobody was told. When its provider sends it again, it
        is the new one that stands, and new it is; if nobody does, the old one is in `open_inbox`.
        """
        await self._need_keys(item.session_id for item in items)
        rows = [records.inbox_row(_with_rev(item), self._vault) for item in items]
        fresh = [False] * len(rows)
        missing = list(range(len(rows)))
        while missing:
            taken = await self._insert_inbox([rows[at] for at in missing])
            for at, index in zip(missing, taken, strict=True):
                fresh[at] = index is None
            missing = [at for at in missing if not fresh[at] and await self._is_lost(rows[at])]
        if self._lost:
            for row in rows:
                self._lost.pop(_key(row), None)
        return fresh

    async def _insert_inbox(self, rows: Sequence[Row]) -> list[Result]:
        lost = [erasure for row in rows for erasure in self._lost.get(_key(row), ())] if self._lost else []
        try:
            results = await self._write([*lost, *(Insert("inbox", row) for row in rows)])
        except StoreUnavailable:
            for row in rows:
                where = {"messageId": row["messageId"], "rev": row["rev"]}
                self._lost.setdefault(_key(row), []).append(Delete("inbox", where))
            while len(self._lost) > MAX_DOUBTS:
                self._lost.pop(next(iter(self._lost)))
            raise
        return results[len(lost) :]

    async def _is_lost(self, row: Row) -> bool:
        """Whether what is in the way of *row* is one whose insert failed, and that arrived after its erasure.

        A server that stood still may work off its socket buffer late; and an insert may fail while this one waits.
        """
        lost = self._lost.get(_key(row))
        if not lost:
            return False
        where = {"sessionId": row["sessionId"], "dedupeKey": row["dedupeKey"]}
        standing = await self._find(Query(table="inbox", where=where, columns=("messageId", "rev")))
        return any(erasure.where in standing for erasure in lost)

    async def inbox_item(self, message_id: str) -> InboxItem | None:
        return await self._one_inbox({"messageId": message_id})

    async def inbox_by_dedupe(self, session_id: str, dedupe_key: str) -> InboxItem | None:
        return await self._one_inbox({"sessionId": session_id, "dedupeKey": dedupe_key})

    async def last_inbound(
        self, session_id: str, *, phone: str | None = None, user_id: str | None = None
    ) -> InboxItem | None:
        """The newest message that this person wrote to the session, not in a group. By either name of theirs."""
        found: list[InboxItem] = []
        for column, name in (("userId", user_id), ("phone", phone)):
            if name is None:
                continue
            where = {"sessionId": session_id, column: name}
            rows = await self._find(
                Query(table="inbox", where=where, order="seq", descending=True, limit=_LOOKED_THROUGH)
            )
            found += await self._inbox_of(rows)
        direct = (
            item
            for item in found
            if isinstance(item.event, InboundMessage) and item.event.chat_kind == "person"
        )
        return max(direct, key=lambda item: item.seq, default=None)

    async def save_inbox(self, old: InboxItem, new: InboxItem) -> bool:
        """Write *new* where the row is still *old*. The event itself is never rewritten."""
        check_revs(old, new)
        await self._need_keys([old.session_id])
        changes = records.inbox_changes(old, new, self._vault)
        [saved] = await self._write([Update("inbox", old.message_id, old.rev, changes)])
        return saved is True

    async def open_inbox(self, session_id: str) -> list[Pending]:
        """What is still to be answered, or whose answer is still to be queued; by `seq`."""
        rows = await self._find(
            Query(
                table="inbox",
                where={"open": 1, "sessionId": session_id},
                order="seq",
                columns=records.PENDING_COLUMNS,
            )
        )
        return [records.pending_of(row) for row in rows]

    async def _one_inbox(self, where: Where) -> InboxItem | None:
        found = await self._inbox_of(await self._find(Query(table="inbox", where=where)))
        return found[0] if found else None

    async def _inbox_of(self, rows: Sequence[Row]) -> list[InboxItem]:
        await self._learn_keys(row["sessionId"] for row in rows)
        return [records.inbox_of(row, self._vault) for row in rows]


def _key(row: Row) -> tuple[str, str]:
    return row["sessionId"], row["dedupeKey"]


def _with_rev(item: InboxItem) -> InboxItem:
    return item if item.rev else msgspec.structs.replace(item, rev=new_rev())
