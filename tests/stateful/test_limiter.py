"""The limiter against all that it let go: in no stretch of time more than a burst and what the rate earns in it.

The reference keeps no tokens. It remembers every turn that was taken, in exact numbers, and looks at each stretch that
ends now.
"""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.stateful.playing import budget
from wad.actors.limiter import SLOW_TIME, Limiter
from wad.models import ChatId

CHATS: Final = [ChatId(f"+5215500000{n}") for n in range(3)]
_SLOWEST: Final = Fraction(1, 16)
_CLOSE: Final = Fraction(1, 10**5)


class Number:
    """What a number may do by Meta's rules, counted anew each time it is asked."""

    def __init__(self, rate: Fraction, burst: int, pair_interval: Fraction, pair_burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.pair_interval, self.pair_burst = pair_interval, pair_burst
        self.turns: list[Fraction] = []  # when a turn was taken, whoever took it
        self.starts: list[tuple[Fraction, int, int]] = [
            (Fraction(0), burst, 0)
        ]  # from when, with how much ahead, after which turn
        self.pairs: dict[ChatId, list[Fraction]] = {chat: [] for chat in CHATS}
        self.factors: list[tuple[Fraction, Fraction]] = [
            (Fraction(0), Fraction(1))
        ]  # from when the rate is slowed by what
        self.slowed = Fraction(-1000)
        self.paused = Fraction(0)
        self.delayed: dict[ChatId, Fraction] = {}
        self.delays: dict[ChatId, int] = {}

    def earned(self, since: Fraction, until: Fraction) -> Fraction:
        total = Fraction(0)
        ends = [*(at for at, _ in self.factors[1:]), until]
        for (at, factor), end in zip(self.factors, ends, strict=True):
            total += max(Fraction(0), min(end, until) - max(at, since)) * factor * self.rate
        return total

    def left(self, now: Fraction) -> Fraction:
        """The turns that are there: the fewest that any stretch which ends now leaves."""
        starts = [*self.starts, *((at, self.burst, n) for n, at in enumerate(self.turns))]
        return min(ahead + self.earned(at, now) - (len(self.turns) - n) for at, ahead, n in starts)

    def left_of(self, chat: ChatId, now: Fraction) -> Fraction:
        its = self.pairs[chat]
        stretches = [
            self.pair_burst + (now - at) / self.pair_interval - (len(its) - n) for n, at in enumerate(its)
        ]
        return min(stretches, default=Fraction(self.pair_burst))

    def may_send(self, chat: ChatId, now: Fraction) -> bool | None:
        """None: within what floats cannot tell."""
        parts = [
            self.left(now) - 1,
            self.left_of(chat, now) - 1,
            now - self.paused,
            now - self.delayed.get(chat, Fraction(0)),
        ]
        if any(abs(part) <= _CLOSE for part in parts):
            return None
        return all(part > 0 for part in parts)

    def slow(self, now: Fraction) -> None:
        if now - self.slowed < 1:
            return
        self.slowed = now
        self.starts.append((now, min(0, int(self.left(now) // 1)), len(self.turns)))
        factor = max(self.factor(now) / 2, _SLOWEST)
        self.factors = [each for each in self.factors if each[0] <= now] + [(now, factor)]
        at = now
        while factor < 1:
            at, factor = at + Fraction(SLOW_TIME), factor * 2
            self.factors.append((at, factor))

    def factor(self, now: Fraction) -> Fraction:
        return [factor for at, factor in self.factors if at <= now][-1]


class LimiterMachine(RuleBasedStateMachine):
    @initialize(rate=st.sampled_from([1, 20, 80]), burst=st.integers(1, 12), pair_burst=st.integers(1, 6))
    def begin(self, rate: int, burst: int, pair_burst: int) -> None:
        self.now = Fraction(0)
        self.number = Number(Fraction(rate), burst, Fraction(6), pair_burst)
        self.limiter = Limiter(rate=rate, burst=burst, pair_interval=6.0, pair_burst=pair_burst)

    @rule(eighths=st.one_of(st.integers(0, 8), st.integers(0, 800)))
    def time_passes(self, eighths: int) -> None:
        self.now += Fraction(eighths, 8)

    @rule(chat=st.sampled_from(CHATS), times=st.integers(1, 15))
    def send(self, chat: ChatId, times: int) -> None:
        for _ in range(times):
            expected = self.number.may_send(chat, self.now)
            wait = self.limiter.reserve(chat, float(self.now))
            assert expected in (None, wait == 0.0), (
                f"wait {wait}, and it {'may' if expected else 'may not'} go"
            )
            if wait == 0.0:
                self._took(chat)

    @rule(chat=st.sampled_from(CHATS))
    def wait_as_told_and_send(self, chat: ChatId) -> None:
        """Nobody waits in vain: after the time that was told it goes."""
        wait = self.limiter.reserve(chat, float(self.now))
        if wait > 0:
            self.now += Fraction(wait).limit_denominator(10**9) + Fraction(1, 10**6)
            assert self.limiter.reserve(chat, float(self.now)) == 0.0
        self._took(chat)

    def _took(self, chat: ChatId) -> None:
        self.number.turns.append(self.now)
        self.number.pairs[chat].append(self.now)

    @rule(retry_after=st.none() | st.integers(1, 60))
    def the_number_is_refused(self, retry_after: int | None) -> None:
        self.limiter.slow(float(self.now), retry_after=retry_after)
        self.number.slow(self.now)
        if retry_after is not None:
            self.number.paused = max(self.number.paused, self.now + retry_after)

    @rule(seconds=st.integers(1, 60))
    def the_account_is_paused(self, seconds: int) -> None:
        self.limiter.pause(float(self.now + seconds))
        self.number.paused = max(self.number.paused, self.now + seconds)

    @precondition(lambda self: self.number.factor(self.now) == 1 and self.number.paused < self.now)
    @rule(flood=st.integers(1, 60))
    def customers_write(self, flood: int) -> None:
        """A flood of theirs takes half of a burst at most, and one."""
        before = min(self.number.left(self.now), Fraction(self.number.burst))
        for _ in range(flood):
            self.limiter.spend(float(self.now))
        taken = round(before - self._left(before % 1))
        assert 0 <= taken <= self.number.burst // 2 + 1, f"they took {taken} of {float(before):.1f}"
        self.number.turns += [self.now] * taken

    def _left(self, part: Fraction) -> Fraction:
        """The turns that are there, or owed, as anybody can see them; *part* of one is not seen."""
        if (wait := self.limiter.wait(float(self.now))) > 0:
            return 1 - Fraction(wait) * self.number.rate
        other, strangers = copy.deepcopy(self.limiter), 0
        while other.reserve(ChatId(f"stranger {strangers}"), float(self.now)) == 0.0:
            strangers += 1
        return strangers + part


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = budget(100)
