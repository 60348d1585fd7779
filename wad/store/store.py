"""The store as the rest of wad sees it: sessions, messages, inbox, events; records in, records out.

Every write is durable when its call returns. `save_*` are compare-and-sets: they write only where the row is
still the old record, and say whether they did. Everything raises StoreUnavailable when the store does not
answer in time, but for the `patient()` view, which waits. A call that is cancelled may have written.
"""

from __future__ import annotations

from wad.models import SessionId
from wad.store.base import Query
from wad.store.bulks import BulkStore
from wad.store.conversations import ConversationStore
from wad.store.keeping import KeepingStore, Retention
from wad.store.keys import KeyStore
from wad.store.lists import ListStore
from wad.store.media import MediaStore
from wad.store.parked import ParkedStore
from wad.store.sessions import SessionStore

__all__ = ["Retention", "Store"]


class Store(
    SessionStore, KeyStore, BulkStore, ListStore, ConversationStore, ParkedStore, MediaStore, KeepingStore
):
    """All of it over one engine. Made by `wad.store.open.open_store`, or directly over a prepared engine."""

    async def newest_seq(self) -> int:
        """The highest `seq` there is; 0 where there is nothing."""
        newest = [0]
        for table in ("messages", "inbox", "events"):
            query = Query(table=table, order="seq", descending=True, limit=1, columns=("seq",))
            newest += [int(row["seq"]) for row in await self._find(query)]
        return max(newest)

    async def sessions_with_work(self) -> set[SessionId]:
        """Those with open messages, open inbox rows, parked statuses or files that are to be fetched."""
        found: set[SessionId] = set()
        is_open = {"open": 1}
        for table, where in (("messages", is_open), ("inbox", is_open), ("media", is_open), ("parked", {})):
            found.update(await self._count(table, where, by="sessionId"))
        return found
