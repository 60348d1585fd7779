"""Statuses in the store that came before their message was known."""

from __future__ import annotations

from collections.abc import Sequence

from wad.models import SessionId, StatusUpdate, utc_now
from wad.store import records
from wad.store.base import Delete, Insert, Query
from wad.store.core import Core


class ParkedStore(Core):
    """Keeps statuses by the provider's id of their message, until somebody takes them away."""

    async def park(self, session_id: str, statuses: Sequence[StatusUpdate]) -> None:
        await self._need_keys([session_id])
        now = utc_now()
        await self._write(
            [
                Insert("parked", records.parked_row(SessionId(session_id), status, now, self._vault))
                for status in statuses
            ]
        )

    async def parked(self, session_id: str) -> set[str]:
        """The provider's ids of the messages whose statuses wait."""
        return set(await self._count("parked", {"sessionId": session_id}, by="providerMessageId"))

    async def parked_statuses(self, session_id: str, provider_message_id: str) -> list[StatusUpdate]:
        """Those of one message, in the order of their parking."""
        where = {"sessionId": session_id, "providerMessageId": provider_message_id}
        rows = await self._find(Query(table="parked", where=where, order="createdAt"))
        await self._learn_keys([session_id])
        return [status for row in rows if (status := records.parked_of(row, self._vault)) is not None]

    async def unpark(self, session_id: str, provider_message_id: str) -> None:
        """Forget them: they are applied."""
        await self._write(
            [Delete("parked", {"sessionId": session_id, "providerMessageId": provider_message_id})]
        )
