"""Who goes next: one item in flight a chat, replies before the rest, and a delayed head holds its lane.

A synchronous structure over `Pending` items; outbox and inbox each have one. Times are `trio.current_time()`.
Every operation costs O(log n), whatever the number of lanes that have to wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Iterator
from math import inf

import trio

from wad.models import ChatId, MessageId, Pending

#: Priority and seq: the order within a lane and between the heads of lanes. The serial tells an item that left, and whose
#: turn is still here, from itself after it came back.
_Turn = tuple[int, int, int, Pending]


class _Lane:
    __slots__ = ("busy", "held_until", "items")

    def __init__(self) -> None:
        self.items: list[_Turn] = []
        self.busy = False
        self.held_until = -inf


class Lanes:
    """The open items of one session. Adding one twice changes nothing."""

    __slots__ = ("_known", "_lanes", "_later", "_ready", "_serial")

    def __init__(self) -> None:
        self._known: dict[MessageId, Pending] = {}
        self._lanes: dict[ChatId, _Lane] = {}
        self._ready: list[tuple[int, int, ChatId]] = []  # heads of lanes; checked when taken
        self._later: list[tuple[float, int, ChatId, Pending | None]] = []  # None: the lane's hold ends
        self._serial = 0

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, message_id: MessageId) -> bool:
        return message_id in self._known

    def __repr__(self) -> str:
        return f"<Lanes {len(self._known)} items in {len(self._lanes)} lanes>"

    def items(self) -> Iterable[Pending]:
        """Every item, in no order, those in flight included."""
        return self._known.values()

    def waiting(self) -> Iterator[Pending]:
        """Every item whose lane has nothing in hand. O(n)."""
        for item in self._known.values():
            lane = self._lanes.get(item.chat)
            if lane is None or not lane.busy:
                yield item

    def first(self, chat: ChatId) -> MessageId | None:
        """The item of this lane that is taken next, of those that are not taken. O(items of the lane)."""
        lane = self._lanes.get(chat)
        turns = [] if lane is None else [t for t in lane.items if self._known.get(t[-1].message_id) is t[-1]]
        return min(turns)[-1].message_id if turns else None

    def in_hand(self, chat: ChatId) -> bool:
        """Whether an item of this lane was taken, and is not over yet."""
        lane = self._lanes.get(chat)
        return lane is not None and lane.busy

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def add(self, item: Pending, *, due: float = -inf, hold: bool = False) -> None:
        """Queue *item*, not to be taken before *due*: beside its lane, or with *hold* at its place in there."""
        if item.message_id in self._known:
            return
        self._known[item.message_id] = item
        if due == -inf:
            self._enter(item)
        elif hold:
            self._hold(item, due)
        else:
            self._push_later(due, item.chat, item)

    def take(self, now: float) -> Pending | None:
        """The next item that may go; its lane is busy until `done` or `again`."""
        self._wake(now)
        while self._ready:
            priority, seq, chat = heapq.heappop(self._ready)
            lane = self._lanes.get(chat)
            if lane is None or lane.busy or lane.held_until > now or not lane.items:
                continue
            if lane.items[0][:2] != (priority, seq):
                continue  # an older sight of this lane; a newer one stands in the heap as well
            item = heapq.heappop(lane.items)[-1]
            if self._known.get(item.message_id) is not item:  # removed while it waited
                self._offer(chat, lane)
                continue
            lane.busy = True
            return item
        return None

    def done(self, item: Pending) -> None:
        """*item* is over; the next of its lane may go."""
        self._known.pop(item.message_id, None)
        self._release(item.chat)

    def again(self, item: Pending, due: float, *, hold: bool) -> None:
        """*item* must be tried again, not before *due*. With *hold* its lane waits, so that order is kept."""
        if item.message_id in self._known:
            if hold:
                self._hold(item, due)
            else:
                self._push_later(due, item.chat, item)
        self._release(item.chat)

    def remove(self, message_id: MessageId) -> None:
        """Forget an item that waits (cancelled, or settled by someone else)."""
        self._known.pop(message_id, None)

    def wake_at(self) -> float:
        """When `take` may next have something that it does not have now; inf if only `add` can bring it."""
        return self._later[0][0] if self._later else inf

    def _enter(self, item: Pending) -> _Lane:
        lane = self._lanes.get(item.chat)
        if lane is None:
            lane = self._lanes[item.chat] = _Lane()
        self._serial += 1
        heapq.heappush(lane.items, (item.priority, item.seq, self._serial, item))
        self._offer(item.chat, lane)
        return lane

    def _hold(self, item: Pending, due: float) -> None:
        self._enter(item).held_until = due
        self._push_later(due, item.chat, None)

    def _release(self, chat: ChatId) -> None:
        lane = self._lanes[chat]
        lane.busy = False
        self._offer(chat, lane)

    def _offer(self, chat: ChatId, lane: _Lane) -> None:
        if lane.items:
            if not lane.busy:
                priority, seq, *_ = lane.items[0]
                heapq.heappush(self._ready, (priority, seq, chat))
        elif not lane.busy:
            del self._lanes[chat]

    def _push_later(self, due: float, chat: ChatId, item: Pending | None) -> None:
        self._serial += 1
        heapq.heappush(self._later, (due, self._serial, chat, item))

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, chat, item = heapq.heappop(self._later)
            if item is not None:
                if self._known.get(item.message_id) is item:
                    self._enter(item)
            elif (lane := self._lanes.get(chat)) is not None:
                self._offer(chat, lane)


class Workers:
    """Runs a bounded number of a session's items side by side. It exists only while there is work.

    `work(item)` must end in `lanes.done` or `lanes.again`. If one raises, no more are taken, those in hand
    finish, and then the first exception goes on to the actor: one bad item does not make the others ambiguous.
    """

    __slots__ = (
        "_concurrency",
        "_crash",
        "_gate",
        "_in_hand",
        "_lanes",
        "_quiet",
        "_running",
        "_stopped",
        "_wake",
        "_work",
    )

    def __init__(
        self,
        lanes: Lanes,
        work: Callable[[Pending], Awaitable[None]],
        *,
        concurrency: int,
        gate: Callable[[float], float] = lambda _now: 0.0,
    ) -> None:
        """*gate* says for how many seconds nothing at all may go (0: go on, inf: until woken)."""
        self._lanes = lanes
        self._work = work
        self._concurrency = concurrency
        self._gate = gate
        self._in_hand = 0
        self._running = False
        self._stopped = False
        self._crash: Exception | None = None
        self._wake: trio.Event | None = None  # the loop waits for it
        self._quiet: trio.Event | None = None  # `stop` waits for it

    def wake(self, nursery: trio.Nursery | None) -> None:
        """There may be something to do. Starts the loop in *nursery* unless it runs (None: no actor now)."""
        if self._running:
            if self._wake is not None:
                self._wake.set()
        elif nursery is not None and not self._stopped and len(self._lanes):
            self._running = True
            nursery.start_soon(self._run)

    def start(self) -> None:
        """Allow work again, after a `stop` or a crash."""
        self._stopped = False
        self._crash = None

    async def stop(self) -> None:
        """Take nothing new, and return once what is in hand has finished."""
        self._stopped = True
        if self._wake is not None:
            self._wake.set()
        while self._in_hand:
            self._quiet = trio.Event()
            await self._quiet.wait()

    async def _run(self) -> None:
        try:
            while not self._stopped and len(self._lanes):  # again, if more came while the last ones finished
                async with trio.open_nursery() as nursery:
                    await self._take_turns(nursery)
                if self._crash is not None:
                    raise self._crash
        finally:
            self._running = False

    async def _take_turns(self, nursery: trio.Nursery) -> None:
        while not self._stopped and self._crash is None and len(self._lanes):
            now = trio.current_time()
            pause = self._gate(now)
            full = self._in_hand >= self._concurrency
            if pause <= 0 and not full and (item := self._lanes.take(now)) is not None:
                self._in_hand += 1
                nursery.start_soon(self._one, item)
                continue
            until = now + pause if pause > 0 else inf if full else self._lanes.wake_at()
            self._wake = trio.Event()
            with trio.move_on_at(until):
                await self._wake.wait()
            self._wake = None

    async def _one(self, item: Pending) -> None:
        try:
            await self._work(item)
        except Exception as crash:  # noqa: BLE001  kept, and raised once those in hand have finished
            self._crash = self._crash or crash
        finally:
            self._in_hand -= 1
            if self._wake is not None:
                self._wake.set()
            if self._quiet is not None:
                self._quiet.set()
