"""A circuit breaker: it stops asking a provider that is down, and finds out gently when it is up again.

    closed ──too many failures, or too slow──▶ open ──its time is over──▶ half open ──3 trials went well──▶ closed
                                                ▲                            │
                                                └──one failed, or hangs──────┘     isolated: open until `close()`

A synchronous object: it takes the time as an argument, decides, and never waits. What counts as a failure is
the caller's word; a breaker should hear of the provider's health (connect, TLS, timeouts, 5xx), and not of
messages that were refused, nor of rate limits, which are the limiter's.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from math import inf
from random import Random
from typing import Final

#: Calls count for as long as this, in buckets, so that a busy minute costs twelve rows and not 5,000.
WINDOW: Final = 60.0
_BUCKET: Final = 5.0
#: Fewer calls than this say nothing: two failures in a quiet night are no outage.
MIN_CALLS: Final = 10
FAILED_RATE: Final = 0.5
SLOW: Final = 10.0  # seconds; half of the 20 s after which a read is given up
SLOW_RATE: Final = 0.8
OPEN: Final = 15.0  # doubles each time in a row...
OPEN_MAX: Final = 300.0
JITTER: Final = 0.2  # ...and sessions that broke together do not come back together
TRIALS: Final = 3
#: A trial that has no result after this long is one that failed. Without it, one hang is half open for ever.
TRIAL_TIME: Final = 30.0
#: How soon to ask again while all trials are out: one of them usually answers within a second.
_ASK_AGAIN: Final = 1.0


class BreakerState(StrEnum):
    CLOSED = "closed"  # calls go through, and are counted
    OPEN = "open"  # none goes through until its time is over
    HALF_OPEN = "half_open"  # a few go through, on trial
    ISOLATED = "isolated"  # none goes through until a person says so


class Permit:
    """Leave for one call. It must come back, by `record` or by `release`."""

    __slots__ = ("_generation", "_used")

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._used = False


class _Window:
    """How many calls of the last minute there were, how many failed, and how many were slow."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()  # [number of the bucket, calls, failed, slow]

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        number = int(now // _BUCKET)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += 1
        bucket[2] += failed
        bucket[3] += slow
        # A bucket goes as a whole, with its oldest call: a call counts for 55 to 60 seconds.
        while self._buckets[0][0] * _BUCKET + WINDOW <= now:
            self._buckets.popleft()

    def is_bad(self) -> bool:
        calls = sum(bucket[1] for bucket in self._buckets)
        failed = sum(bucket[2] for bucket in self._buckets)
        slow = sum(bucket[3] for bucket in self._buckets)
        return calls >= MIN_CALLS and (failed >= FAILED_RATE * calls or slow >= SLOW_RATE * calls)

    def __repr__(self) -> str:
        return f"{sum(b[2] for b in self._buckets)} of {sum(b[1] for b in self._buckets)} failed"


class Breaker:
    """One a session, which is an account of its provider. Unused it holds a few words: 10,000 sessions have one each.

    Sessions do not share one, though some belong to one larger account of the provider's (a business, a Twilio
    account): the trouble of one number would hold the others, and a shop that isolates its own would stop another's.
    What it costs is that each finds an outage out by calls of its own.
    """

    __slots__ = (
        "_generation",
        "_given",
        "_opened",
        "_out",
        "_random",
        "_slow",
        "_state",
        "_until",
        "_window",
    )

    def __init__(self, *, random: Random) -> None:
        self._random = random
        self._state = BreakerState.CLOSED
        self._generation = 0  # grows with each change of state; a permit is good in its own only
        self._window: _Window | None = None  # while closed, from the first call on
        self._opened = 0  # times in a row
        self._until = inf  # open: when trials begin; half open: when the one that is out has hung
        self._given = 0  # half open: trials that went out,
        self._out = 0  # ...that have no result yet,
        self._slow = 0  # ...and that went well, but slowly

    def __repr__(self) -> str:
        match self._state:
            case BreakerState.CLOSED:
                detail = f": {self._window}" if self._window else ""
            case BreakerState.OPEN:
                detail = f" until {self._until:.1f}, time {self._opened} in a row"
            case BreakerState.HALF_OPEN:
                detail = f": {self._given} of {TRIALS} trials, {self._out} without a result yet"
            case BreakerState.ISOLATED:
                detail = ""
        return f"<Breaker {self._state}{detail}>"

    def state(self, now: float) -> BreakerState:
        self._pass_time(now)
        return self._state

    def permit(self, now: float) -> Permit | None:
        """Leave for one call, or None: then `wait` says when asking again is worth it."""
        self._pass_time(now)
        match self._state:
            case BreakerState.CLOSED:
                return Permit(self._generation)
            case BreakerState.HALF_OPEN if self._given < TRIALS:
                self._given += 1
                self._out += 1
                self._until = now + TRIAL_TIME
                return Permit(self._generation)
            case _:
                return None

    def wait(self, now: float) -> float:
        """Seconds until asking for a permit is worth it: 0 where it is now, inf where only a person helps."""
        self._pass_time(now)
        match self._state:
            case BreakerState.CLOSED:
                return 0.0
            case BreakerState.OPEN:
                return self._until - now
            case BreakerState.HALF_OPEN:
                return 0.0 if self._given < TRIALS else min(_ASK_AGAIN, self._until - now)
            case BreakerState.ISOLATED:
                return inf

    def record(self, permit: Permit, *, ok: bool, seconds: float, now: float) -> None:
        """The call of *permit* took *seconds* and is over. If the state has changed since, it counts nothing."""
        if permit._used:  # noqa: SLF001  a permit is this module's own
            raise RuntimeError("this permit has its result already")
        self._pass_time(now)
        if not self._use(permit):
            return
        if self._state is BreakerState.CLOSED:
            if self._window is None:
                self._window = _Window()
            self._window.add(now, failed=not ok, slow=seconds >= SLOW)
            if self._window.is_bad():
                self._open(now)
            return
        self._out -= 1
        self._slow += seconds >= SLOW
        if not ok:
            self._open(now)
        elif self._given == TRIALS and self._out == 0:
            if self._slow >= SLOW_RATE * TRIALS:
                self._open(now)
            else:
                self.close()

    def release(self, permit: Permit) -> None:
        """We gave the call up ourselves: it says nothing. Harmless after `record`, so it may stand in a `finally`."""
        if self._use(permit) and self._state is BreakerState.HALF_OPEN:
            self._out -= 1
            self._given -= 1

    def isolate(self) -> None:
        """Let nothing through until `close()`. By hand only."""
        self._change(BreakerState.ISOLATED)

    def close(self) -> None:
        """Let everything through, and forget what was."""
        self._change(BreakerState.CLOSED)
        self._opened = 0

    def _use(self, permit: Permit) -> bool:
        """Whether *permit* still counts; it does not a second time."""
        counts = not permit._used and permit._generation == self._generation  # noqa: SLF001
        permit._used = True  # noqa: SLF001
        return counts

    def _open(self, at: float) -> None:
        self._change(BreakerState.OPEN)
        seconds = min(OPEN * 2.0 ** min(self._opened, 10), OPEN_MAX)
        self._until = at + seconds * self._random.uniform(1 - JITTER, 1 + JITTER)
        self._opened += 1

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._window = None
        self._until = inf
        self._given = self._out = self._slow = 0

    def _pass_time(self, now: float) -> None:
        """Make the changes that time alone brings, at the times when they were due."""
        while now >= (due := self._until):
            if self._state is BreakerState.OPEN:
                self._change(BreakerState.HALF_OPEN)
            elif self._out:  # a trial hangs
                self._open(due)
            elif self._given:  # what there was to send went well; there was not more of it
                self.close()
            else:  # every trial was given back
                self._until = inf
