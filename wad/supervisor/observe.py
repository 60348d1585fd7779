"""What a scrape of the metrics sees: counted from the actors' memory; only dead letters are asked of the store."""

from __future__ import annotations

from collections import Counter
from typing import Final

import trio

from wad.errors import StoreUnavailable
from wad.gauges import Gauges
from wad.store.store import Store
from wad.supervisor.sessions import Sessions

#: Seconds between looks at the store: as often as Prometheus scrapes by default.
LOOK_EVERY: Final = 15.0


class Observer:
    """Makes the gauges. `run` keeps what the store knows fresh."""

    def __init__(self, sessions: Sessions, store: Store) -> None:
        self._sessions = sessions
        self._store = store
        self._dead_letters: dict[str, int] = {}
        self._store_up = True

    def gauges(self) -> Gauges:
        """O(sessions and what they have open); no I/O."""
        states: Counter[tuple[str, ...]] = Counter()
        breakers: Counter[tuple[str, ...]] = Counter()
        depth: Counter[str] = Counter()
        bulk: Counter[str] = Counter()
        oldest: dict[str, float] = {}
        inbox_depth = unknown = media_waiting = 0
        inbox_oldest = 0.0
        now = trio.current_time()
        for actor in self._sessions.actors:
            provider = actor.session.provider
            states[provider, actor.state(now)[0]] += 1
            breakers[provider, actor.outbox.breaker.state(now)] += 1
            if actor.busy:
                depth[provider] += actor.outbox.depth + actor.outbox.unproven
                bulk[provider] += actor.outbox.waiting(bulk=True)
                oldest[provider] = max(oldest.get(provider, 0.0), actor.outbox.oldest_seconds(bulk=False))
                unknown += actor.outbox.unproven
                media_waiting += actor.files_waiting
                inbox_depth += len(actor.inbox.lanes)
                inbox_oldest = max(inbox_oldest, actor.inbox.oldest_seconds())
        spool_depth, spool_oldest = self._sessions.spooled
        return Gauges(
            sessions=states,
            breakers=breakers,
            outbox_depth=depth,
            outbox_oldest=oldest,
            bulk_depth=bulk,
            inbox_depth=inbox_depth,
            inbox_oldest=inbox_oldest,
            unknown_messages=unknown,
            dead_letters=self._dead_letters,
            store_up=self._store_up,
            spool_depth=spool_depth,
            spool_oldest=spool_oldest,
            media_waiting=media_waiting,
            media_bytes=self._sessions.media_bytes,
        )

    async def run(self) -> None:
        while True:
            try:
                self._dead_letters = await self._store.count_dead_letters()
                await self._store.ping()
                self._store_up = True
            except StoreUnavailable:  # said by wad_store_up, by /readyz, and by the store's own log
                self._store_up = False
            await trio.sleep(LOOK_EVERY)
