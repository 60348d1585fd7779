"""The limiter: never faster than allowed, never slower for good, and no memory of pairs that are square."""

from __future__ import annotations

import copy
import sys
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wad.actors.limiter import PAIR_BURST, PAIR_INTERVAL, SLOW_TIME, Limiter
from wad.models import ChatId

ANA = ChatId("+5215511111111")
EVA = ChatId("+5215522222222")


def chat(n: int) -> ChatId:
    return ChatId(f"+52155{n:08}")


def taken(limiter: Limiter, now: float, *, limit: int = 10_000) -> int:
    """How many messages, each to somebody else, may go at *now*."""
    n = 0
    while n < limit and limiter.reserve(chat(n), now) == 0.0:
        n += 1
    return n


# --- the number -----------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_then_the_rate_holds():
    limiter = Limiter(rate=10, burst=5)
    assert taken(limiter, 100.0) == 5
    assert limiter.reserve(ANA, 100.0) == pytest.approx(0.1)
    assert taken(limiter, 100.3) == 3
    assert taken(limiter, 1000.0) == 5


def test_a_refusal_takes_nothing():
    """However often one asks too early, the turn comes at the same time."""
    limiter = Limiter(rate=1, burst=1)
    assert limiter.reserve(ANA, 0.0) == 0.0
    for n in range(1, 8):
        assert limiter.reserve(EVA, n / 8) == 1 - n / 8
    assert limiter.reserve(EVA, 1.0) == 0.0


def test_wait_tells_of_the_number_alone_and_takes_nothing():
    limiter = Limiter(rate=1, burst=PAIR_BURST + 1)
    for _ in range(PAIR_BURST):
        assert limiter.reserve(ANA, 0.0) == 0.0
    assert limiter.reserve(ANA, 0.0) == PAIR_INTERVAL
    assert limiter.wait(0.0) == 0.0
    assert limiter.reserve(EVA, 0.0) == 0.0
    assert limiter.wait(0.0) == 1.0


# --- pairs ----------------------------------------------------------------------------------------


def test_45_may_go_ahead_to_one_chat_and_then_one_in_six_seconds():
    """The burst is repaid by the pace: after 45 at once, nobody else is held up, and ten more take a minute."""
    limiter = Limiter(rate=1000, burst=1000)
    assert [limiter.reserve(ANA, 0.0) for _ in range(PAIR_BURST)] == [0.0] * PAIR_BURST
    assert limiter.reserve(ANA, 0.0) == 6.0
    assert limiter.why(ANA, 0.0) == "pair_rate"
    assert limiter.reserve(EVA, 0.0) == 0.0
    assert limiter.reserve(ANA, 5.5) == 0.5
    for n in range(1, 11):
        assert limiter.reserve(ANA, 6.0 * n) == 0.0
        assert limiter.reserve(ANA, 6.0 * n) == 6.0
    assert [limiter.reserve(ANA, 60.0 + 45 * 6.0) for _ in range(PAIR_BURST + 1)] == [0.0] * PAIR_BURST + [
        6.0
    ]


def test_groups_and_providers_without_pairs_have_no_pair_limit():
    limiter = Limiter(rate=1000, burst=1000)
    assert [limiter.reserve(ANA, 0.0, group=True) for _ in range(200)] == [0.0] * 200
    assert limiter._pairs is None
    limiter = Limiter(rate=1000, burst=1000, pair_interval=None)
    assert [limiter.reserve(ANA, 0.0) for _ in range(200)] == [0.0] * 200


def test_pairs_that_are_square_are_forgotten():
    """A million recipients, one each: what is kept is what a pair's interval holds, not the million."""
    limiter = Limiter(rate=100, burst=100)
    for n in range(100_000):
        assert limiter.reserve(chat(n), n / 100) == 0.0
    assert limiter._pairs is not None
    assert len(limiter._pairs) <= 2 * 100 * PAIR_INTERVAL + 1


def test_a_refused_pair_waits_four_times_longer_each_time_until_one_succeeds():
    """131056: 4^n s. The burst is gone as well, whatever we had counted."""
    limiter = Limiter(pair_interval=1.0)
    waits = []
    now = 0.0
    for _ in range(7):
        limiter.delay_pair(ANA, now)
        waits.append(limiter.reserve(ANA, now))
        now += waits[-1]
        assert limiter.reserve(ANA, now) == 0.0
    assert waits == [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 1024.0]
    limiter.sent(ANA, now)
    limiter.delay_pair(ANA, now)
    assert limiter.reserve(ANA, now) == 1.0


def test_a_refused_pair_has_no_burst_left():
    limiter = Limiter()
    limiter.delay_pair(ANA, 0.0)
    assert limiter.why(ANA, 0.0) == "pair_rate"
    assert limiter.reserve(ANA, 0.0) == 6.0
    assert limiter.reserve(ANA, 6.0) == 0.0
    assert limiter.reserve(ANA, 6.0) == 6.0


def test_a_delay_is_of_its_pair_alone_and_takes_the_providers_word_for_longer_ones():
    limiter = Limiter()
    limiter.delay_pair(ANA, 0.0, retry_after=30.0)
    assert limiter.reserve(EVA, 0.0) == 0.0
    assert limiter.reserve(ANA, 0.0) == 30.0
    assert limiter.why(ANA, 0.0) == "pair_delayed"
    assert limiter.why(EVA, 0.0) is None


def test_a_groups_own_limit_delays_it():
    limiter = Limiter()
    limiter.delay_pair(ANA, 0.0)
    assert limiter.reserve(ANA, 0.0, group=True) == 1.0
    assert limiter.reserve(ANA, 1.0, group=True) == 0.0
    assert limiter.reserve(ANA, 1.0, group=True) == 0.0


def test_delays_nobody_settled_are_forgotten_in_time():
    """Ten thousand refused pairs over a week: an hour's worth is kept."""
    limiter = Limiter()
    for n in range(10_000):
        limiter.delay_pair(chat(n), n * 60.0)
    assert limiter._delays is not None
    assert len(limiter._delays) <= 63
    assert limiter._pairs is not None
    assert len(limiter._pairs) <= 32


# --- pauses ---------------------------------------------------------------------------------------


def test_a_pause_holds_everything_and_a_shorter_one_does_not_end_it():
    limiter = Limiter()
    limiter.pause(60.0)
    limiter.pause(30.0)
    assert limiter.wait(0.0) == 60.0
    assert limiter.reserve(ANA, 20.0) == 40.0
    assert limiter.why(ANA, 20.0) == "number_paused"
    assert limiter.reserve(ANA, 60.0) == 0.0


def test_a_marketing_pause_holds_marketing_alone():
    limiter = Limiter()
    assert limiter.pause_marketing(60.0, 0.0)
    assert not limiter.pause_marketing(30.0, 0.0)  # it is paused already
    assert limiter.reserve(ANA, 0.0) == 0.0
    assert limiter.reserve(ANA, 0.0, marketing=True) == 60.0
    assert limiter.why(ANA, 0.0, marketing=True) == "marketing_paused"
    assert limiter.reserve(ANA, 60.0, marketing=True) == 0.0


def test_a_number_that_is_too_fast_halves_its_rate_and_recovers():
    limiter = Limiter(rate=80, burst=8)
    limiter.slow(0.0)
    assert limiter.reserve(ANA, 0.0) == 1 / 40
    assert limiter.why(ANA, 0.0) == "slowed"
    limiter.slow(0.5)  # of the same moment: said before it could have helped
    assert limiter.reserve(ANA, 0.5) == 0.0
    limiter.slow(1.0)
    assert limiter.reserve(ANA, 1.0) == 1 / 20
    now = 1.0 + SLOW_TIME
    assert taken(limiter, now) == 8
    assert limiter.reserve(ANA, now) == pytest.approx(1 / 40)
    now += SLOW_TIME
    assert taken(limiter, now) == 8
    assert limiter.reserve(ANA, now) == pytest.approx(1 / 80)
    assert limiter.why(ANA, now) == "rate"


def test_time_slowed_earns_at_the_slow_rate_even_if_nobody_looked():
    """30 s at half the rate and one at the whole, asked for only at the end."""
    limiter = Limiter(rate=80, burst=5000)
    limiter.slow(0.0)
    assert taken(limiter, SLOW_TIME + 1) == 40 * 30 + 80


def test_slowing_has_a_floor():
    limiter = Limiter(rate=80, burst=8)
    for n in range(20):
        limiter.slow(n * 2.0)
    assert limiter.wait(38.0) == 1 / 5


def test_slow_obeys_retry_after():
    limiter = Limiter()
    limiter.slow(0.0, retry_after=12.0)
    assert limiter.reserve(ANA, 0.0) == 12.0


# --- inbound --------------------------------------------------------------------------------------


def test_inbound_messages_count_too():
    """Meta's throughput is of both directions together."""
    limiter = Limiter(rate=10, burst=10)
    for _ in range(4):
        limiter.spend(0.0)
    assert taken(limiter, 0.0) == 6


@given(flood=st.integers(1, 200), every=st.sampled_from([0.01, 0.05, 0.3]), burst=st.integers(1, 80))
def test_a_flood_from_customers_leaves_half_of_the_rate_to_us(flood, every, burst):
    """No starvation: however many come in, whoever asks when he was told to gets half the rate, less a burst."""
    limiter = Limiter(rate=80, burst=burst, pair_interval=None)
    sent = 0
    arrival = ask = 0.0
    while ask < 5.0:
        while arrival <= ask:
            for _ in range(flood):
                limiter.spend(arrival)
            arrival += every
        wait = limiter.reserve(ANA, ask)
        sent += wait == 0.0
        ask += wait
    assert sent >= 40 * 5 - burst - 1


# --- settings, size, words ------------------------------------------------------------------------


def test_new_numbers_hold_from_now_on():
    limiter = Limiter(rate=80, burst=80)
    limiter.retune(0.0, rate=1000, burst=2)
    assert taken(limiter, 0.0) == 2
    assert limiter.wait(0.0) == pytest.approx(0.001)


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"rate": -1}, {"burst": 0}, {"pair_interval": 0}, {"pair_burst": 0}], ids=str
)
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        Limiter(**wrong)


def test_an_unused_one_is_tiny():
    """10,000 sessions have one each: no tables until they are needed."""
    limiter = Limiter()
    own = sum(sys.getsizeof(getattr(limiter, name)) for name in Limiter.__slots__)
    assert sys.getsizeof(limiter) + own < 700
    assert limiter._pairs is None
    assert limiter._delays is None


def test_its_repr_is_for_an_operator():
    limiter = Limiter(rate=80, burst=8)
    assert repr(limiter) == "<Limiter 80/s, 8.0 of 8 left, 0 pairs>"
    limiter.reserve(ANA, 10.0)
    limiter.slow(10.0)
    limiter.pause(70.0)
    assert repr(limiter) == "<Limiter 80/s, 0.0 of 8 left, slowed to 40/s, paused until 70.0, 1 pairs>"


# --- whatever happens -----------------------------------------------------------------------------


def most_in_any_window(sent: list[float], rate: float) -> float:
    """Over all windows from one send to another: the sends in it, less what *rate* gives for its length."""
    most = lowest = 0.0
    for n, at in enumerate(sent):
        lowest = min(lowest, n - rate * (at - sent[0]))
        most = max(most, n - rate * (at - sent[0]) - lowest + 1)
    return most


def test_the_windows_are_counted_right():
    """The oracle itself, by hand: three at 0, two at 10, at one in 5 s."""
    assert most_in_any_window([], 1.0) == 0.0
    assert most_in_any_window([0.0, 0.0, 0.0, 10.0, 10.0], 0.2) == 3.0
    assert most_in_any_window([0.0, 100.0, 100.0], 1.0) == 2.0


@given(
    rate=st.sampled_from([0.5, 1.0, 20.0, 80.0, 1000.0]),
    burst=st.integers(1, 100),
    start=st.floats(0, 1e6),
    steps=st.lists(
        st.tuples(st.one_of(st.just(0.0), st.floats(0, 0.1), st.floats(0, 60)), st.integers(1, 60)),
        max_size=30,
    ),
)
def test_no_window_ever_holds_more_than_burst_and_rate_allow(rate, burst, start, steps):
    """In any window of t seconds, at most burst + rate * t messages leave."""
    limiter = Limiter(rate=rate, burst=burst, pair_interval=None)
    now = start
    sent: list[float] = []
    for pause, wanted in steps:
        now += pause
        sent += [now] * taken(limiter, now, limit=wanted)
    assert most_in_any_window(sent, rate) <= burst + 1e-3


@given(
    start=st.floats(0, 1e7),
    steps=st.lists(
        st.tuples(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 400)), st.integers(1, 50))
    ),
)
def test_no_window_of_a_pair_ever_holds_more_than_45_and_one_in_six_seconds(start, steps):
    limiter = Limiter(rate=1e6, burst=10_000)
    now = start
    sent: list[float] = []
    for pause, wanted in steps:
        now += pause
        sent += [now for _ in range(wanted) if limiter.reserve(ANA, now) == 0.0]
    assert most_in_any_window(sent, 1 / PAIR_INTERVAL) <= PAIR_BURST + 1e-3


class Life(RuleBasedStateMachine):
    """Any sequence of sends, refusals, floods and pauses, against the promises."""

    chats = st.integers(0, 3).map(chat)

    @initialize(rate=st.sampled_from([1.0, 80.0, 1000.0]), burst=st.integers(1, 90))
    def begin(self, rate, burst):
        self.limiter = Limiter(rate=rate, burst=burst)
        self.now = 5000.0
        self.paused_until = -inf
        self.marketing_until = -inf

    @rule(seconds=st.one_of(st.floats(0, 1), st.floats(0, 500)))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(chat=chats, marketing=st.booleans(), group=st.booleans())
    def send(self, chat, marketing, group):
        why = self.limiter.why(chat, self.now, group=group, marketing=marketing)
        wait = self.limiter.reserve(chat, self.now, group=group, marketing=marketing)
        assert (wait == 0.0) == (why is None)
        assert wait >= self.limiter.wait(self.now) or wait == 0.0
        if wait == 0.0:
            assert self.now >= self.paused_until - 1e-6
            assert not marketing or self.now >= self.marketing_until - 1e-6

    @rule(chat=chats, marketing=st.booleans(), group=st.booleans(), part=st.floats(0, 1))
    def wait_and_send(self, chat, marketing, group, part):
        """Monotone: waiting part of the time leaves no more than the rest, and all of it is enough."""
        wait = self.limiter.reserve(chat, self.now, group=group, marketing=marketing)
        if wait > 0:
            started = self.now
            self.now = started + wait * part
            assert self.limiter.wait(self.now) <= wait * (1 - part) + 1e-5
            self.now = started + wait
            assert self.limiter.reserve(chat, self.now, group=group, marketing=marketing) == 0.0

    @rule(chat=chats)
    def accepted(self, chat):
        self.limiter.sent(chat, self.now)

    @rule(chat=chats, retry_after=st.none() | st.floats(0, 100))
    def pair_refused(self, chat, retry_after):
        self.limiter.delay_pair(chat, self.now, retry_after=retry_after)
        assert self.limiter.reserve(chat, self.now) >= 1.0

    @rule(retry_after=st.none() | st.floats(0, 100))
    def number_refused(self, retry_after):
        self.limiter.slow(self.now, retry_after=retry_after)
        if retry_after is not None:
            self.paused_until = max(self.paused_until, self.now + retry_after)

    @rule(n=st.integers(1, 200))
    def customers_write(self, n):
        for _ in range(n):
            self.limiter.spend(self.now)

    @rule(seconds=st.floats(0, 100))
    def pause(self, seconds):
        self.limiter.pause(self.now + seconds)
        self.paused_until = max(self.paused_until, self.now + seconds)

    @rule(seconds=st.floats(0, 100))
    def pause_marketing(self, seconds):
        self.limiter.pause_marketing(self.now + seconds, self.now)
        self.marketing_until = max(self.marketing_until, self.now + seconds)

    @rule(rate=st.sampled_from([1.0, 20.0, 1000.0]), burst=st.integers(1, 90))
    def retune(self, rate, burst):
        self.limiter.retune(self.now, rate=rate, burst=burst)

    @invariant()
    def nobody_starves(self):
        """Left alone for as long as the longest delay there can be, everybody may send."""
        later = copy.copy(self.limiter)
        for n in range(4):
            assert later.why(chat(n), self.now + 2000.0, marketing=True) is None


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
