"""Media in the store: what their ids stand for, and which of them are still to be fetched."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wad.models import Media, Pending, SessionId
from wad.store import records
from wad.store.base import Insert, Query, Update
from wad.store.core import Core, check_revs


class MediaStore(Core):
    """Keeps what media ids stand for, and moves what is fetched."""

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

    async def save_media(self, old: Media, new: Media) -> bool:
        """Write *new* where the row is still *old*."""
        check_revs(old, new)
        await self._need_keys([old.session_id])
        changes = records.media_changes(new, self._vault)
        [saved] = await self._write([Update("media", old.media_id, old.rev, changes)])
        return saved is True

    async def open_media(self, session_id: SessionId) -> list[Pending]:
        """What is still to be fetched."""
        query = Query(
            table="media", where={"open": 1, "sessionId": session_id}, columns=("mediaId", "request")
        )
        rows = await self._find(query)
        return [records.media_pending(row) for row in rows]

    async def known_media(self, media_ids: Collection[str]) -> set[str]:
        """Those of *media_ids* that have a row."""
        rows = await self._find_all(Query(table="media", columns=("mediaId",)), "mediaId", media_ids)
        return {row["mediaId"] for row in rows}
