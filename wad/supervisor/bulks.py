"""Bulks that their callers named: how far one is, when the last of it will have left, and stopping what still waits."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import msgspec
import trio

from wad.actors.services import Services
from wad.errors import NotFound
from wad.models import WAITING, BulkCounts, MessageState, OutboundMessage, SessionId
from wad.supervisor.actors import Actors

#: Messages of one commit.
_PAGE: Final = 500


class Progress(msgspec.Struct, frozen=True):
    counts: BulkCounts
    #: When the last of it leaves, if everything goes on as it does now; None where nothing waits, or nobody can tell.
    last_leaves_at: datetime | None


class Bulks:
    """Every bulk, as far as it is of the shops that are asked for (None: of all)."""

    def __init__(self, services: Services, actors: Actors) -> None:
        self._services = services
        self._actors = actors

    async def progress(self, bulk_id: str, shop_ids: Collection[str] | None) -> Progress:
        """Raises NotFound."""
        counts = await self._counts(bulk_id, shop_ids)
        return Progress(counts, self._last_leaves_at(counts))

    async def cancel(
        self, bulk_id: str, shop_ids: Collection[str] | None, *, within: float
    ) -> tuple[int, Progress]:
        """Cancel what waits and surely did not go out, the next ones first; how many, and what is left then.

        No page is begun after *within* seconds. Raises NotFound.
        """
        until = trio.current_time() + within
        counts = await self._counts(bulk_id, shop_ids)
        cancelled = 0
        for session_id in counts.waiting:
            for state in WAITING:
                after = 0
                while trio.current_time() < until and (
                    page := await self._services.store.bulk_waiting(
                        bulk_id, session_id, state, after=after, limit=_PAGE
                    )
                ):
                    after = page[-1].seq
                    ours = [each for each in page if shop_ids is None or each.shop_id in shop_ids]
                    cancelled += await self._cancel(session_id, ours)
        return cancelled, await self.progress(bulk_id, shop_ids)

    async def _counts(self, bulk_id: str, shop_ids: Collection[str] | None) -> BulkCounts:
        counts = await self._services.store.bulk(bulk_id, shop_ids=shop_ids)
        if counts is None:
            raise NotFound(f"there is no bulk {bulk_id!r}")
        return counts

    async def _cancel(self, session_id: SessionId, messages: list[OutboundMessage]) -> int:
        now = self._services.now()
        moves = [
            (message, message.moved(MessageState.CANCELLED, now, due_at=None))
            for message in messages
            if not message.may_have_gone_out
        ]
        # What is written is told as well, even if the caller hangs up meanwhile.
        with trio.CancelScope(shield=True):
            saved = await self._services.store.save_messages(moves)
            outbox = self._actors.get(session_id).outbox if session_id in self._actors else None
            for (old, new), won in zip(moves, saved, strict=True):
                if won and outbox is not None:
                    outbox.forget(new.message_id)
                    outbox.moves.made(old, new)
        return sum(saved)

    def _last_leaves_at(self, counts: BulkCounts) -> datetime | None:
        """As if all that waits in its sessions went first: what came later may overtake it, and so may retries."""
        latest = 0.0
        for session_id in counts.waiting:
            seconds = self._actors.get(session_id).outbox.empty_in() if session_id in self._actors else None
            if seconds is None:
                return None
            latest = max(latest, seconds)
        if not counts.waiting:
            return None
        leaves = self._services.now() + timedelta(seconds=latest)
        return leaves if counts.last_due is None else max(leaves, counts.last_due)
