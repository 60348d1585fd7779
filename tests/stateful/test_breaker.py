"""The breaker against all that it was told: it opens, tries and closes exactly when a reading of the whole story says so.

The reference keeps no window, no generations and no counters. It has every call since the state began, in exact numbers,
and counts anew each time it is asked. What is drawn by chance, how long it stays open, it reads off the breaker, and
holds it against the bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, inf
from random import Random
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stateful.playing import budget
from wad.actors.breaker import Breaker, BreakerState, Permit

CLOSED, OPEN, HALF_OPEN, ISOLATED = BreakerState
# What its docstrings promise, in words of our own: were they taken from there, a change would go unseen.
WINDOW: Final = 60
GRAIN: Final = 5  # a call counts until the bucket that it fell into is a window old
MIN_CALLS: Final = 10
TRIALS: Final = 3
TRIAL_TIME: Final = 30
SLOW: Final = 10
OPEN_TIMES: Final = (15, 30, 60, 120, 240, 300)  # in a row; the last one from then on
JITTER: Final = Fraction(1, 5)
#: What becomes of those trials that are out.
ENDS: Final = (
    ("well",) * TRIALS,
    ("slowly",) * TRIALS,
    ("slowly", "slowly", "well"),
    ("well",),
    ("given back",),
    ("well", "given back"),
)
#: Times are floats in there: those that are drawn here, floats can tell exactly; the others, nearly.
_TICK: Final = Fraction(1, 1024)
_CLOSE: Final = Fraction(1, 10**6)


@dataclass(eq=False)
class Call:
    """One that was let go."""

    permit: Permit
    since: int  # in which of the states that there were
    at: Fraction
    ended: Fraction | None = None
    ok: bool = True
    slow: bool = False
    given_back: bool = False


@dataclass
class Account:
    """Of one provider, as somebody with a pencil keeps it."""

    state: BreakerState = CLOSED
    since: int = 0
    until: Fraction | None = None  # open
    opened: int = 0  # times in a row
    calls: list[Call] = field(default_factory=list)

    def be(self, state: BreakerState) -> None:
        self.state, self.since, self.until = state, self.since + 1, None
        if state is CLOSED:
            self.opened = 0

    @property
    def its(self) -> list[Call]:
        """The calls of this state that say something, or will."""
        return [call for call in self.calls if call.since == self.since and not call.given_back]

    @property
    def out(self) -> list[Call]:
        return [call for call in self.its if call.ended is None]

    def is_bad(self, now: Fraction) -> bool:
        recent = [
            call for call in self.its if call.ended is not None and call.ended // GRAIN * GRAIN + WINDOW > now
        ]
        failed = sum(not call.ok for call in recent)
        slow = sum(call.slow for call in recent)
        return len(recent) >= MIN_CALLS and (2 * failed >= len(recent) or 10 * slow >= 8 * len(recent))

    def hangs_at(self) -> Fraction | None:
        """When trials are over that have no result: some time after the last one went out."""
        asked = [call.at for call in self.calls if call.since == self.since]
        return max(asked) + TRIAL_TIME if asked and self.state is HALF_OPEN else None

    def open_times(self) -> tuple[Fraction, Fraction]:
        base = OPEN_TIMES[min(self.opened, len(OPEN_TIMES) - 1)]
        return base * (1 - JITTER) - _CLOSE, base * (1 + JITTER) + _CLOSE


class BreakerMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.breaker = Breaker(random=Random(seed))
        self.now = Fraction(1000)
        self.account = Account()

    # --- what time brings ---------------------------------------------------------------------------

    @rule(eighths=st.one_of(st.integers(0, 80), st.integers(0, 480)))
    def time_passes(self, eighths: int) -> None:
        self._pass(self.now + Fraction(eighths, 8))

    @precondition(lambda self: self.account.until is not None)
    @rule()
    def its_wait_passes(self) -> None:
        self._wait_passes()

    def _wait_passes(self) -> None:
        """A moment before, it may not be asked; then it may."""
        assert self.account.until is not None
        tick = ceil(self.account.until / _TICK)
        self._pass(max(self.now, (tick - 1) * _TICK))
        assert self.breaker.permit(float(self.now)) is None
        self._pass(tick * _TICK)
        assert self.breaker.wait(float(self.now)) == 0

    @precondition(lambda self: self.account.hangs_at() is not None)
    @rule(is_over=st.booleans())
    def its_trials_hang(self, is_over: bool) -> None:
        """To the moment when they are given up, or to the one before it."""
        due = self.account.hangs_at()
        assert due is not None
        self._pass(max(self.now, due if is_over else due - _TICK))

    def _pass(self, to: Fraction) -> None:
        """Step by step, so that what is drawn by chance is seen while it is in force; and no sooner than it must be."""
        account = self.account
        while True:
            due = account.until if account.state is OPEN else account.hangs_at()
            if due is None or due > to:
                break
            if account.state is OPEN:
                account.be(HALF_OPEN)
            elif account.out:
                self.now = max(self.now, min(to, due + floor(account.open_times()[0])))
                self._opens(due)
            elif account.its:
                account.be(CLOSED)
            else:
                break  # every trial was given back: nothing is known
        self.now = max(self.now, to)

    def _opens(self, at: Fraction) -> None:
        """The breaker says until when, and that is between the bounds."""
        account = self.account
        least, most = account.open_times()
        wait = Fraction(self.breaker.wait(float(self.now)))
        assert self.breaker.state(float(self.now)) is OPEN
        seconds = self.now + wait - at
        assert least <= seconds <= most, f"open for {float(seconds)}, time {account.opened + 1} in a row"
        opened = account.opened + 1
        account.be(OPEN)
        account.opened = opened
        account.until = self.now + wait

    # --- calls --------------------------------------------------------------------------------------

    @rule(times=st.integers(1, 4))
    def ask(self, times: int) -> None:
        for _ in range(times):
            self._ask()

    def _ask(self) -> Call | None:
        account, now = self.account, float(self.now)
        may = account.state is CLOSED or (account.state is HALF_OPEN and len(account.its) < TRIALS)
        assert (self.breaker.wait(now) == 0) == may
        permit = self.breaker.permit(now)
        assert (permit is not None) == may, f"{account.state}, and {'' if permit else 'not '}let go"
        if permit is None:
            return None
        call = Call(permit, account.since, self.now)
        account.calls.append(call)
        return call

    @rule(times=st.integers(1, 12), ok=st.booleans(), slow=st.booleans())
    def calls_in_a_row(self, times: int, ok: bool, slow: bool) -> None:
        for _ in range(times):
            if (call := self._ask()) is not None:
                self._record(call, ok=ok, slow=slow)

    def _fail(self) -> None:
        call = self._ask()
        assert call is not None
        self._record(call, ok=False, slow=False)

    @precondition(lambda self: any(self._unfinished()))
    @rule(data=st.data(), ok=st.booleans(), slow=st.booleans())
    def a_call_ends(self, data: st.DataObject, ok: bool, slow: bool) -> None:
        """However late, and of whichever state."""
        self._record(data.draw(st.sampled_from(self._unfinished())), ok=ok, slow=slow)

    @precondition(lambda self: any(self._unfinished()))
    @rule(data=st.data())
    def a_call_is_given_up(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self._unfinished()))
        self.breaker.release(call.permit)
        call.given_back = True

    @precondition(lambda self: any(call.ended is not None for call in self.account.calls))
    @rule(data=st.data())
    def one_that_has_ended_is_given_up(self, data: st.DataObject) -> None:
        """As a `finally` does: it changes nothing."""
        ended = [call for call in self.account.calls if call.ended is not None]
        self.breaker.release(data.draw(st.sampled_from(ended)).permit)

    def _unfinished(self) -> list[Call]:
        return [call for call in self.account.calls if call.ended is None and not call.given_back]

    def _record(self, call: Call, *, ok: bool, slow: bool) -> None:
        account = self.account
        seconds = SLOW if slow else SLOW - 0.001
        self.breaker.record(call.permit, ok=ok, seconds=seconds, now=float(self.now))
        call.ended, call.ok, call.slow = self.now, ok, slow
        if call.since != account.since:
            return
        its = account.its
        if account.state is CLOSED:
            if account.is_bad(self.now):
                self._opens(self.now)
        elif not ok:
            self._opens(self.now)
        elif len(its) == TRIALS and not account.out:
            if all(each.slow for each in its):
                self._opens(self.now)
            else:
                account.be(CLOSED)

    # --- what takes many steps ----------------------------------------------------------------------

    @precondition(lambda self: self.account.state in (CLOSED, OPEN))
    @rule(times=st.sampled_from([0, 0, 0, 1, 7]), trials=st.integers(0, TRIALS))
    def an_outage(self, times: int, trials: int) -> None:
        """It opens, fails so often when it is tried, and is on trial then."""
        while self.account.state is CLOSED:
            self._fail()
        for _ in range(times):
            self._wait_passes()
            self._fail()
        self._wait_passes()
        for _ in range(trials):
            self._ask()

    @precondition(lambda self: self.account.state is HALF_OPEN)
    @rule(ends=st.sampled_from(ENDS))
    def trials_end(self, ends: tuple[str, ...]) -> None:
        for end, call in zip(ends, self.account.out, strict=False):
            if end == "given back":
                self.breaker.release(call.permit)
                call.given_back = True
            else:
                self._record(call, ok=True, slow=end == "slowly")

    # --- a person -----------------------------------------------------------------------------------

    @rule(isolates=st.booleans())
    def a_person_decides(self, isolates: bool) -> None:
        if isolates:
            self.breaker.isolate()
        else:
            self.breaker.close()
        self.account.be(ISOLATED if isolates else CLOSED)

    # --- what must be true --------------------------------------------------------------------------

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "breaker"):
            return
        account, now = self.account, float(self.now)
        assert self.breaker.state(now) is account.state
        wait = self.breaker.wait(now)
        match account.state:
            case BreakerState.CLOSED:
                assert wait == 0
            case BreakerState.OPEN:
                assert account.until is not None
                assert abs(self.now + Fraction(wait) - account.until) <= _CLOSE
            case BreakerState.HALF_OPEN:
                assert 0 <= wait <= 1
            case BreakerState.ISOLATED:
                assert wait == inf


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = budget(100)
