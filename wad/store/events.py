"""The event stream in the store, for listeners who resume; and the media that providers keep for us."""

from __future__ import annotations

from collections.abc import Sequence

from wad.models import Media, StoredEvent
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


class MediaStore(Core):
    """Keeps what media ids stand for."""

    async def add_media(self, media: Sequence[Media]) -> None:
        """A file that is known already stays as it is."""
        await self._need_keys(one.session_id for one in media)
        await self._write([Insert("media", records.media_row(one, self._vault)) for one in media])

    async def media(self, media_id: str) -> Media | None:
        rows = await self._find(Query(table="media", where={"mediaId": media_id}))
        if not rows:
            return None
        await self._learn_keys([rows[0]["sessionId"]])
        return records.media_of(rows[0], self._vault)
