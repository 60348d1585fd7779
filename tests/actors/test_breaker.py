"""The circuit breaker: when it opens, how it comes back, and what never goes through."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wad.actors.breaker import (
    JITTER,
    MIN_CALLS,
    OPEN,
    OPEN_MAX,
    SLOW,
    TRIAL_TIME,
    TRIALS,
    WINDOW,
    Breaker,
    BreakerState,
    Permit,
)


class Middle(Random):
    """A random source without chance: the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def new_breaker() -> Breaker:
    return Breaker(random=Middle())


def call(breaker: Breaker, now: float, *, ok: bool = True, seconds: float = 0.1) -> None:
    permit = breaker.permit(now)
    assert permit is not None
    breaker.record(permit, ok=ok, seconds=seconds, now=now)


def opened(now: float = 0.0) -> Breaker:
    breaker = new_breaker()
    for _ in range(MIN_CALLS):
        call(breaker, now, ok=False)
    assert breaker.state(now) is BreakerState.OPEN
    return breaker


# --- opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ok", "failed", "slow", "state"),
    [
        pytest.param(0, 9, 0, "closed", id="nine calls say nothing, even if all fail"),
        pytest.param(0, 10, 0, "open", id="ten calls, all failed"),
        pytest.param(5, 5, 0, "open", id="just half failed"),
        pytest.param(6, 5, 0, "closed", id="under half failed"),
        pytest.param(2, 0, 8, "open", id="eight in ten were slow"),
        pytest.param(3, 0, 8, "closed", id="under eight in ten were slow"),
        pytest.param(1000, 0, 0, "closed", id="nothing is wrong"),
    ],
)
def test_it_opens_by_the_rate_of_failures_or_of_slow_calls(ok, failed, slow, state):
    """At least 10 calls in the window, of which 50 % failed, or 80 % took 10 s or more."""
    breaker = new_breaker()
    for _ in range(ok):
        call(breaker, 0.0)
    for _ in range(slow):
        call(breaker, 0.0, seconds=SLOW)
    for _ in range(failed):
        call(breaker, 0.0, ok=False)
    assert breaker.state(0.0) == state


def test_calls_older_than_the_window_do_not_count():
    """Nine failures, and a tenth a minute later, are one failure."""
    breaker = new_breaker()
    for _ in range(MIN_CALLS - 1):
        call(breaker, 0.0, ok=False)
    call(breaker, WINDOW, ok=False)
    assert breaker.state(WINDOW) is BreakerState.CLOSED


def test_calls_within_the_window_count_together():
    """The same ten failures, spread over 54 seconds, open it."""
    breaker = new_breaker()
    for n in range(MIN_CALLS):
        call(breaker, n * 6.0, ok=False)
    assert breaker.state(54.0) is BreakerState.OPEN


def test_a_day_of_calls_is_a_dozen_rows():
    """The window keeps counts by the bucket, not a list of calls."""
    breaker = new_breaker()
    for n in range(20_000):
        call(breaker, n * 4.32)
    assert breaker._window is not None
    assert len(breaker._window._buckets) <= 13


# --- open -----------------------------------------------------------------------------------------


def test_an_open_one_lets_nothing_through_and_says_how_long():
    breaker = opened(100.0)
    assert breaker.permit(100.0) is None
    assert breaker.wait(100.0) == OPEN
    assert breaker.permit(100.0 + OPEN - 0.001) is None
    assert breaker.wait(100.0 + OPEN) == 0.0
    assert breaker.permit(100.0 + OPEN) is not None


def test_it_stays_open_longer_each_time_in_a_row():
    """15 s, doubling, and 300 s at most."""
    breaker = opened(0.0)
    now = 0.0
    waits = []
    for _ in range(7):
        waits.append(breaker.wait(now))
        now += waits[-1]
        call(breaker, now, ok=False)
    assert waits == [15.0, 30.0, 60.0, 120.0, 240.0, OPEN_MAX, OPEN_MAX]


def test_once_closed_it_starts_from_the_shortest_time_again():
    breaker = opened(0.0)
    call(breaker, 15.0, ok=False)
    assert breaker.wait(15.0) == 30.0
    for _ in range(TRIALS):
        call(breaker, 45.0)
    assert breaker.state(45.0) is BreakerState.CLOSED
    for _ in range(MIN_CALLS):
        call(breaker, 46.0, ok=False)
    assert breaker.wait(46.0) == OPEN


@given(seed=st.integers(), times=st.integers(0, 12))
def test_the_jitter_stays_within_a_fifth(seed, times):
    """Each open time is within ±20 % of its base."""
    breaker = Breaker(random=Random(seed))
    for _ in range(MIN_CALLS):
        call(breaker, 0.0, ok=False)
    now = 0.0
    for _ in range(times):
        now += breaker.wait(now)
        call(breaker, now, ok=False)
    base = min(OPEN * 2**times, OPEN_MAX)
    assert base * (1 - JITTER) - 1e-6 <= breaker.wait(now) <= base * (1 + JITTER) + 1e-6


# --- half open ------------------------------------------------------------------------------------


def half_open() -> tuple[Breaker, list[Permit]]:
    """A breaker at 15.0, all trials out."""
    breaker = opened(0.0)
    permits = [permit for _ in range(10) if (permit := breaker.permit(OPEN)) is not None]
    return breaker, permits


def test_three_trials_go_out_and_no_more():
    breaker, permits = half_open()
    assert len(permits) == TRIALS
    assert breaker.state(OPEN) is BreakerState.HALF_OPEN
    assert 0 < breaker.wait(OPEN) <= 1.0


def test_three_good_trials_close_it():
    breaker, permits = half_open()
    for permit in permits:
        assert breaker.state(16.0) is BreakerState.HALF_OPEN
        breaker.record(permit, ok=True, seconds=0.1, now=16.0)
    assert breaker.state(16.0) is BreakerState.CLOSED


def test_one_failed_trial_opens_it_and_the_others_come_too_late():
    """Results of a past generation are ignored: they neither close it nor count later."""
    breaker, permits = half_open()
    breaker.record(permits[0], ok=False, seconds=0.1, now=16.0)
    assert breaker.state(16.0) is BreakerState.OPEN
    for permit in permits[1:]:
        breaker.record(permit, ok=True, seconds=0.1, now=17.0)
    assert breaker.wait(17.0) == 2 * OPEN - 1.0


def test_trials_that_are_all_slow_open_it_and_two_of_three_do_not():
    breaker, permits = half_open()
    for permit in permits:
        breaker.record(permit, ok=True, seconds=SLOW, now=26.0)
    assert breaker.state(26.0) is BreakerState.OPEN
    breaker, permits = half_open()
    for permit, seconds in zip(permits, (SLOW, SLOW, 1.0), strict=True):
        breaker.record(permit, ok=True, seconds=seconds, now=26.0)
    assert breaker.state(26.0) is BreakerState.CLOSED


def test_a_trial_that_hangs_opens_it():
    """Half open lasts no longer than its trials may: 30 s from the last one that went out."""
    breaker, permits = half_open()
    breaker.record(permits[0], ok=True, seconds=0.1, now=16.0)
    breaker.record(permits[1], ok=True, seconds=0.1, now=16.0)
    assert breaker.state(OPEN + TRIAL_TIME - 0.001) is BreakerState.HALF_OPEN
    assert breaker.state(OPEN + TRIAL_TIME) is BreakerState.OPEN
    breaker.record(permits[2], ok=True, seconds=31.0, now=OPEN + TRIAL_TIME + 1)
    assert breaker.state(OPEN + TRIAL_TIME + 1) is BreakerState.OPEN


def test_the_open_time_after_a_hang_counts_from_the_hang():
    """Nobody asked for an hour: it does not start to be open only then."""
    breaker, _ = half_open()
    assert breaker.state(OPEN + TRIAL_TIME + 2 * OPEN - 0.001) is BreakerState.OPEN
    breaker, _ = half_open()
    assert breaker.state(3600.0) is BreakerState.HALF_OPEN


def test_a_quiet_account_is_not_punished_for_having_little_to_send():
    """One good trial, and nothing more to send for half a minute, closes it."""
    breaker = opened(0.0)
    call(breaker, OPEN)
    assert breaker.state(OPEN + TRIAL_TIME - 0.001) is BreakerState.HALF_OPEN
    assert breaker.state(OPEN + TRIAL_TIME) is BreakerState.CLOSED


def test_a_released_trial_can_be_given_again():
    """Our own cancellation says nothing of the provider."""
    breaker, permits = half_open()
    assert breaker.permit(16.0) is None
    breaker.release(permits[0])
    again = breaker.permit(16.0)
    assert again is not None
    for permit in (again, *permits[1:]):
        breaker.record(permit, ok=True, seconds=0.1, now=17.0)
    assert breaker.state(17.0) is BreakerState.CLOSED


def test_with_every_trial_released_it_waits_for_the_next():
    breaker, permits = half_open()
    for permit in permits:
        breaker.release(permit)
    assert breaker.state(3600.0) is BreakerState.HALF_OPEN
    assert breaker.wait(3600.0) == 0.0


# --- permits --------------------------------------------------------------------------------------


def test_a_released_call_counts_nothing():
    breaker = new_breaker()
    for _ in range(1000):
        permit = breaker.permit(0.0)
        assert permit is not None
        breaker.release(permit)
    assert repr(breaker) == "<Breaker closed>"


def test_releasing_after_the_result_is_harmless():
    """So that `release` may stand in a `finally`."""
    breaker, permits = half_open()
    breaker.record(permits[0], ok=True, seconds=0.1, now=16.0)
    breaker.release(permits[0])
    assert breaker.permit(16.0) is None


def test_a_second_result_for_one_permit_is_a_bug_and_says_so():
    breaker = new_breaker()
    permit = breaker.permit(0.0)
    assert permit is not None
    breaker.record(permit, ok=True, seconds=0.1, now=0.0)
    with pytest.raises(RuntimeError, match="has its result"):
        breaker.record(permit, ok=False, seconds=0.1, now=0.0)


def test_results_from_before_it_opened_do_not_count_after_it_closed():
    """Twenty slow failures of the outage arrive when all is well again: it stays closed."""
    breaker = new_breaker()
    late = [breaker.permit(0.0) for _ in range(20)]
    for _ in range(MIN_CALLS):
        call(breaker, 0.0, ok=False)
    for _ in range(TRIALS):
        call(breaker, OPEN)
    for permit in late:
        assert permit is not None
        breaker.record(permit, ok=False, seconds=20.0, now=20.0)
    assert breaker.state(20.0) is BreakerState.CLOSED
    assert repr(breaker) == "<Breaker closed>"


# --- by hand --------------------------------------------------------------------------------------


def test_an_isolated_one_stays_so_until_it_is_closed_by_hand():
    breaker = new_breaker()
    breaker.isolate()
    assert breaker.state(1e9) is BreakerState.ISOLATED
    assert breaker.permit(1e9) is None
    assert breaker.wait(1e9) == inf
    breaker.close()
    assert breaker.permit(1e9) is not None


def test_closing_by_hand_ends_an_open_time_at_once():
    breaker = opened(0.0)
    breaker.close()
    assert breaker.wait(0.0) == 0.0
    call(breaker, 0.0, ok=False)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_its_repr_is_for_an_operator():
    breaker = new_breaker()
    assert repr(breaker) == "<Breaker closed>"
    call(breaker, 0.0, ok=False)
    call(breaker, 0.0)
    assert repr(breaker) == "<Breaker closed: 1 of 2 failed>"
    assert repr(opened(0.0)) == "<Breaker open until 15.0, time 1 in a row>"
    breaker, _ = half_open()
    assert repr(breaker) == "<Breaker half_open: 3 of 3 trials, 3 without a result yet>"


# --- whatever happens -----------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Any sequence of calls, results, releases and waits, against the promises."""

    @initialize(seed=st.integers())
    def begin(self, seed):
        self.breaker = Breaker(random=Random(seed))
        self.now = 1000.0
        self.out: list[Permit] = []

    @rule(seconds=st.one_of(st.floats(0, 10), st.floats(0, 400)))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def ask(self):
        state = self.breaker.state(self.now)
        wait = self.breaker.wait(self.now)
        permit = self.breaker.permit(self.now)
        assert (permit is not None) == (wait == 0.0)
        match state:
            case BreakerState.OPEN | BreakerState.ISOLATED:
                assert permit is None
            case BreakerState.CLOSED:
                assert permit is not None
        if permit is not None:
            self.out.append(permit)

    @rule()
    def a_burst_of_failures(self):
        for _ in range(MIN_CALLS):
            permit = self.breaker.permit(self.now)
            if permit is not None:
                self.breaker.record(permit, ok=False, seconds=0.1, now=self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), ok=st.booleans(), seconds=st.floats(0, 30))
    def result(self, data, ok, seconds):
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.state(self.now)
        stale = permit._generation != self.breaker._generation
        self.breaker.record(permit, ok=ok, seconds=seconds, now=self.now)
        after = self.breaker.state(self.now)
        if stale:
            assert after is before
        if before is BreakerState.HALF_OPEN and not stale and not ok:
            assert after is BreakerState.OPEN

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def given_up(self, data):
        before = self.breaker.state(self.now)
        self.breaker.release(self.out.pop(data.draw(st.integers(0, len(self.out) - 1))))
        assert self.breaker.state(self.now) is before

    @rule()
    def isolated(self):
        self.breaker.isolate()

    @rule()
    def closed(self):
        self.breaker.close()
        assert self.breaker.wait(self.now) == 0.0

    @invariant()
    def half_open_trials_are_few(self):
        if self.breaker.state(self.now) is BreakerState.HALF_OPEN:
            good = [p for p in self.out if p._generation == self.breaker._generation]
            assert len(good) <= TRIALS

    @invariant()
    def nobody_starves(self):
        """Whatever the state, unless isolated: after the longest open time, a call may go."""
        wait = self.breaker.wait(self.now)
        if self.breaker.state(self.now) is not BreakerState.ISOLATED:
            assert 0 <= wait <= OPEN_MAX * (1 + JITTER)


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


@given(
    st.lists(st.tuples(st.floats(0, 20), st.booleans(), st.floats(0, 20)), min_size=MIN_CALLS, max_size=80),
)
def test_it_opens_exactly_when_a_plain_list_of_calls_says_so(calls):
    """The buckets decide as a list of (time, failed, slow) would, at the buckets' own grain."""
    breaker = new_breaker()
    now = 0.0
    listed: list[tuple[float, bool, bool]] = []
    for pause, ok, seconds in calls:
        now += pause
        call(breaker, now, ok=ok, seconds=seconds)
        listed.append((now, not ok, seconds >= SLOW))
        recent = [entry for entry in listed if entry[0] // 5 * 5 + WINDOW > now]
        failed = sum(entry[1] for entry in recent)
        slow = sum(entry[2] for entry in recent)
        bad = len(recent) >= MIN_CALLS and (failed * 2 >= len(recent) or slow * 10 >= 8 * len(recent))
        assert (breaker.state(now) is BreakerState.OPEN) == bad
        if bad:
            return
