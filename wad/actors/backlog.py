"""The bulk that waits in a session: a page of it in memory, which goes next, and the rest on disk, however much that is.

    on disk ──page──▶ lanes ──▶ sent        the next page is read when half of the last one has left

The rows say what waits and since when, and each page is what may go first by then. So what moves on disk alone (it is
cancelled, expires, goes to another session) need not be known here, but for the count; and a restart finds what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from math import inf
from typing import Final

import trio

from wad.actors.lanes import Lanes
from wad.actors.services import Services
from wad.models import OutboundMessage, Pending, Session

#: Pages that may be in memory at once: of messages that wait there for another try, or for proof.
_MOST_PAGES: Final = 10


class Backlog:
    """One session's. Nothing runs for it while nothing waits on disk."""

    __slots__ = (
        "_due",
        "_lanes",
        "_more",
        "_nursery",
        "_page",
        "_reads",
        "_runs",
        "_services",
        "_session",
        "_take",
        "_wake",
        "size",
    )

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        lanes: Lanes,
        take: Callable[[Iterable[Pending]], None],
    ) -> None:
        """*take* puts what was read into the lanes."""
        self._services = services
        self._session = session
        self._lanes = lanes
        self._take = take
        self._page = services.limits.bulk_page
        self._nursery: trio.Nursery | None = None
        self._wake: trio.Event | None = None
        self._runs = self._reads = False
        self.size = 0  # of all that waits, in memory or not
        self._more = True  # whether there may be some on disk, and not in memory, that may go now
        self._due = inf  # when the next on disk may go, of those that have to wait for a time

    # --- the actor's side ---------------------------------------------------------------------------

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        if self.size:
            self.look()

    def stop(self) -> None:
        """Begin to read no more, until it is opened again: nothing is sent, and *nursery* may be about to end."""
        self._nursery = None

    def close(self) -> None:
        self._nursery = None
        self.size, self._more, self._due, self._reads = 0, True, inf, False

    async def load(self) -> None:
        """Know how much waits, and begin to read it."""
        self.size = await self._services.patient.backlog_size(self._session().session_id)
        if self.size:
            self.look()

    # --- what is told -------------------------------------------------------------------------------

    def arrived(self, message: OutboundMessage) -> None:
        """*message* is new to the session."""
        self.size += self._counts(message)

    def moved(self, old: OutboundMessage, new: OutboundMessage) -> None:
        """*old* is *new* on disk."""
        self.size += self._counts(new) - self._counts(old)

    def keeps(self, message: OutboundMessage) -> bool:
        """Whether *message*, which may be taken up, is better left on disk until its turn comes."""
        if not message.in_backlog:
            return False
        if message.due_at is not None and (due := self._at(message.due_at)) > trio.current_time():
            if due < self._due:
                self._due = due
                self._look_again()
        elif self._more or self._reads or self._lanes.bulk_ready >= self._page:
            self._more = True
            self.look()
        else:
            return False
        return True

    def look(self) -> None:
        """Some of what is in memory may have left it: read on, if it is time to."""
        if self._wake is None or self._is_time():
            self._look_again()
        if not (self._more or self._reads or self._due < inf or self._lanes.bulk):
            self.size = 0  # what was counted twice, arriving while all of it was counted

    def _look_again(self) -> None:
        if self._wake is not None:
            self._wake.set()
        elif not self._runs and self._nursery is not None and (self._more or self._due < inf):
            self._runs = True
            self._nursery.start_soon(self._run)

    # --- reading ------------------------------------------------------------------------------------

    def _is_time(self) -> bool:
        waits = self._more or self._due <= trio.current_time()
        is_low = self._lanes.bulk_ready <= self._page // 2 and self._lanes.bulk < self._page * _MOST_PAGES
        return waits and is_low

    async def _run(self) -> None:
        """Read until nothing is left on disk alone."""
        try:
            while self._more or self._due < inf:
                if self._is_time():
                    await self._read()
                    self.look()
                    continue
                self._wake = trio.Event()
                waits_for_room = self._more or self._due <= trio.current_time()
                with trio.move_on_at(inf if waits_for_room else self._due):
                    await self._wake.wait()
                self._wake = None
        finally:
            self._runs, self._wake = False, None

    async def _read(self) -> None:
        """The next page. What comes meanwhile is left for the one after it."""
        self._more, self._due, self._reads = False, inf, True
        store, session_id, now = self._services.patient, self._session().session_id, self._services.now()
        most = self._lanes.bulk + self._page  # what is in memory may be among them
        found = await store.backlog_page(session_id, now, most)
        due = await store.backlog_due(session_id, now)
        self._take(item for item in found if item.message_id not in self._lanes)
        self._reads = False
        self._more = self._more or len(found) >= most
        if due is not None:
            self._due = min(self._due, self._at(due))

    def _at(self, moment: datetime) -> float:
        """On the trio clock."""
        return trio.current_time() + (moment - self._services.now()).total_seconds()

    def _counts(self, message: OutboundMessage) -> int:
        return int(message.in_backlog and message.session_id == self._session().session_id)
