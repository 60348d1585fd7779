"""Who goes next: one item in flight a chat, replies before the rest, and a delayed head holds its lane.

Replies go before normal items, and those before bulk; but whoever was passed over `PATIENCE` times in a row goes next,
so that nobody waits for ever behind a stream of the others. A session's numbers each have their own queues, for each
has a rate of its own: where several may go, they take turns, and one that may not holds no other.

A synchronous structure over `Pending` items; outbox and inbox each have one. Times are `trio.current_time()`.
Every operation costs O(log n), whatever the number of lanes that have to wait, and a few words for each number.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from math import inf
from typing import Final

import trio

from wad.models import ChatId, MessageId, MessageState, Pending, Priority

#: How often in a row an item that could go is passed over by those of other priorities.
PATIENCE: Final = 9
#: What was removed is let go of when it is so much, and more than what is there.
_GONE: Final = 64
#: The order within a lane and a priority. The serial tells an item that left, and whose turn is still here, from itself
#: after it came back.
_Turn = tuple[int, int, Pending]


class _Lane:
    __slots__ = ("busy", "held_until", "number", "turns")

    def __init__(self, number: str) -> None:
        self.number = number
        self.turns: dict[Priority, list[_Turn]] = {}  # none that is empty
        self.busy = False
        self.held_until = -inf


class _Heads:
    """The lanes of one number that have something, by the priority and the seq of what they have. Checked when taken."""

    __slots__ = ("lanes", "passed")

    def __init__(self) -> None:
        self.lanes: dict[Priority, list[tuple[int, ChatId]]] = {}
        self.passed: dict[Priority, int] = {}  # how often in a row another priority went, while it could have

    def choose(self, able: list[Priority]) -> Priority:
        """Whose turn it is of *able*, the highest first; the others are passed over."""
        impatient = [priority for priority in able[1:] if self.passed.get(priority, 0) >= PATIENCE]
        chosen = max(impatient, key=lambda priority: self.passed[priority], default=able[0])
        for priority in able:
            self.passed[priority] = 0 if priority is chosen else self.passed.get(priority, 0) + 1
        return chosen


def _always(_number: str) -> float:
    return 0.0


class Lanes:
    """The open items of one session. Adding one twice changes nothing."""

    __slots__ = (
        "_gone",
        "_heads",
        "_known",
        "_lanes",
        "_later",
        "_serial",
        "_waiting_bulk",
        "bulk",
        "doubtful",
    )

    def __init__(self) -> None:
        self._known: dict[MessageId, Pending] = {}
        self._lanes: dict[ChatId, _Lane] = {}
        self._heads: dict[str, _Heads] = {}  # by number, the one whose turn is next first
        self._later: list[tuple[float, int, ChatId, Pending | None]] = []  # None: the lane's hold ends
        self._serial = 0
        self._gone = 0  # items that were removed, whose turn or time is still here
        self.bulk = 0  # items of the priority `bulk`
        self._waiting_bulk = 0  # those of them that wait for a time, beside their lanes
        self.doubtful = 0  # items of other priorities that came as `unknown`

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, message_id: MessageId) -> bool:
        return message_id in self._known

    def __repr__(self) -> str:
        return f"<Lanes {len(self._known)} items in {len(self._lanes)} lanes>"

    @property
    def bulk_ready(self) -> int:
        """Items of the priority `bulk` that wait for no time of their own, those in flight included."""
        return self.bulk - self._waiting_bulk

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
        for _, turns in sorted(lane.turns.items()) if lane is not None else ():
            if stay := list(filter(self._has_turn, turns)):
                return min(stay)[-1].message_id
        return None

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
        self._count(item, 1)
        if due == -inf:
            self._enter(item)
        elif hold:
            self._hold(item, due)
        else:
            self._push_later(due, item.chat, item)

    def take(self, now: float, wait: Callable[[str], float] = _always) -> Pending | None:
        """The next item that may go; its lane is busy until `done` or `again`.

        *wait* says how many seconds a number of the session has to wait ("": the session has but one).
        """
        self._wake(now)
        for number, heads in list(self._heads.items()):
            if wait(number) > 0:
                continue
            able = [priority for priority in Priority if self._head(heads, priority, now) is not None]
            if not able:
                del self._heads[number]
                continue
            priority = heads.choose(able)
            _, chat = heapq.heappop(heads.lanes[priority])
            self._heads[number] = self._heads.pop(number)  # the others first, next time
            lane = self._lanes[chat]
            lane.busy = True
            return self._pop(lane, priority)
        return None

    def wake_at(self, now: float, wait: Callable[[str], float] = _always) -> float:
        """When `take` may next have something that it does not have now; inf if only `add` can bring it."""
        closed = (now + seconds for number in self._heads if (seconds := wait(number)) > 0)
        return min(self._later[0][0] if self._later else inf, *closed, inf)

    def done(self, item: Pending) -> None:
        """*item* is over; the next of its lane may go."""
        self._forget(item.message_id)
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
        """Forget an item that waits (cancelled, or settled by someone else). Amortized O(log n)."""
        if self._forget(message_id):
            self._gone += 1
            if self._gone > max(_GONE, len(self._known)):
                self._let_go()

    # --- inside -------------------------------------------------------------------------------------

    def _forget(self, message_id: MessageId) -> bool:
        if (item := self._known.pop(message_id, None)) is None:
            return False
        self._count(item, -1)
        return True

    def _let_go(self) -> None:
        """Let go of what was removed. Its turn would find it, or its time: months from now, where nothing is taken."""
        self._gone = 0
        self._later = [each for each in self._later if each[-1] is None or self._is_here(each[-1])]
        heapq.heapify(self._later)
        waiting = [item for *_, item in self._later if item is not None]
        self._waiting_bulk = sum(item.priority is Priority.BULK for item in waiting)
        for heads in self._heads.values():
            heads.lanes.clear()
        for chat, lane in list(self._lanes.items()):
            here = {each: list(filter(self._has_turn, turns)) for each, turns in lane.turns.items()}
            lane.turns = {each: turns for each, turns in here.items() if turns}
            for turns in lane.turns.values():
                heapq.heapify(turns)
            self._offer(chat, lane, *lane.turns)

    def _is_here(self, item: Pending) -> bool:
        return self._known.get(item.message_id) is item

    def _has_turn(self, turn: _Turn) -> bool:
        return self._is_here(turn[-1])

    def _head(self, heads: _Heads, priority: Priority, now: float) -> ChatId | None:
        """The lane whose item of this priority is the next of *heads*; what is no longer true of others is let go of."""
        queue = heads.lanes.get(priority)
        while queue:
            seq, chat = queue[0]
            lane = self._lanes.get(chat)
            turns = lane.turns.get(priority) if lane is not None else None
            if lane is None or lane.busy or lane.held_until > now or not turns or turns[0][0] != seq:
                heapq.heappop(queue)  # an older sight of this lane; a newer one stands in there, or will
                continue
            if self._has_turn(turns[0]):
                return chat
            heapq.heappop(queue)  # it was removed while it waited
            self._pop(lane, priority)
            self._offer(chat, lane, priority)
        return None

    @staticmethod
    def _pop(lane: _Lane, priority: Priority) -> Pending:
        item = heapq.heappop(lane.turns[priority])[-1]
        if not lane.turns[priority]:
            del lane.turns[priority]
        return item

    def _count(self, item: Pending, by: int) -> None:
        if item.priority is Priority.BULK:
            self.bulk += by
        elif item.state == MessageState.UNKNOWN:
            self.doubtful += by

    def _enter(self, item: Pending) -> _Lane:
        lane = self._lanes.get(item.chat)
        if lane is None:
            lane = self._lanes[item.chat] = _Lane(item.number)
        self._serial += 1
        heapq.heappush(lane.turns.setdefault(item.priority, []), (item.seq, self._serial, item))
        self._offer(item.chat, lane, item.priority)
        return lane

    def _hold(self, item: Pending, due: float) -> None:
        self._enter(item).held_until = due
        self._push_later(due, item.chat, None)

    def _release(self, chat: ChatId) -> None:
        lane = self._lanes[chat]
        lane.busy = False
        self._offer(chat, lane, *lane.turns)

    def _offer(self, chat: ChatId, lane: _Lane, *priorities: Priority) -> None:
        """Have the lane's items of *priorities* taken when their turn comes; forget a lane that has nothing."""
        if lane.busy:
            return
        if not lane.turns:
            del self._lanes[chat]
            return
        if (heads := self._heads.get(lane.number)) is None:
            heads = self._heads[lane.number] = _Heads()
        for priority in priorities:
            if turns := lane.turns.get(priority):
                heapq.heappush(heads.lanes.setdefault(priority, []), (turns[0][0], chat))

    def _push_later(self, due: float, chat: ChatId, item: Pending | None) -> None:
        self._serial += 1
        if item is not None and item.priority is Priority.BULK:
            self._waiting_bulk += 1
        heapq.heappush(self._later, (due, self._serial, chat, item))

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, chat, item = heapq.heappop(self._later)
            if item is not None:
                if item.priority is Priority.BULK:
                    self._waiting_bulk -= 1
                if self._is_here(item):
                    self._enter(item)
            elif (lane := self._lanes.get(chat)) is not None:
                self._offer(chat, lane, *lane.turns)


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
        "_taken",
        "_wait",
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
        wait: Callable[[float, str], float] = lambda _now, _number: 0.0,
        taken: Callable[[Pending], None] = lambda _item: None,
    ) -> None:
        """*gate* says for how many seconds nothing at all may go (0: go on, inf: until woken); *wait*, of one number.

        *taken* hears of each item before another one is taken; `work` begins later.
        """
        self._lanes = lanes
        self._work = work
        self._concurrency = concurrency
        self._gate = gate
        self._wait = wait
        self._taken = taken
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
            wait = partial(self._wait, now)
            if pause <= 0 and not full and (item := self._lanes.take(now, wait)) is not None:
                self._in_hand += 1
                self._taken(item)
                nursery.start_soon(self._one, item)
                continue
            until = now + pause if pause > 0 else inf if full else self._lanes.wake_at(now, wait)
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
