"""The event stream in the store, for listeners who resume."""

from __future__ import annotations

from collections.abc import Sequence

from wad.models import StoredEvent
from wad.store import records
from wad.store.base import Insert, Query
from wad.store.core import Core


class EventStore(Core):
    """Appends events and reads on from one."""

    async def add_events(self, events: Sequence[StoredEvent]) -> None:
        await self._learn_keys([""])
        await self._write([Insert("events", records.event_row(event, self._vault)) for event in events])

    async def events_after(self, seq: int, *, limit: int = 500) -> list[StoredEvent]:
        rows = await self._find(Query(table="events", after=seq, limit=limit))
        await self._learn_keys([""])
        return [event for row in rows if (event := records.event_of(row, self._vault)) is not None]

    async def last_event_seq(self) -> int:
        rows = await self._find(Query(table="events", descending=True, limit=1, columns=("seq",)))
        return int(rows[0]["seq"]) if rows else 0
