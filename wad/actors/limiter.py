"""When a number may send: its rate, each recipient's own limit, and the pauses that the provider asked for.

A synchronous object: it takes the time as an argument, decides, and never waits. `reserve` takes a turn or says
how long to wait; nothing is queued here, so nothing is held by a caller that goes away.

The rate is a token bucket. The limit of a pair (this number, one recipient) is one too: one message in 6 s, and up
to 45 ahead of time, which are repaid by the pace. Meta's page also says that after a burst one should be silent
until all of it is repaid; a bot that answers twice in ten seconds would then stall in every conversation, so this
is left to error 131056, which `delay_pair` obeys.
"""

from __future__ import annotations

from math import inf
from typing import Final

from wad.models import ChatId

#: Meta's throughput of a number, messages a second; coexistence numbers have 20, upgraded ones 1,000.
RATE: Final = 80.0
BURST: Final = 80
#: Meta's pair limit: seconds between two messages to one recipient, and how many may go ahead of time.
PAIR_INTERVAL: Final = 6.0
PAIR_BURST: Final = 45
#: Meta's rule for 131056 is to wait 4^n s, n = 0, 1, 2...; past 17 minutes, more waiting repays nothing.
_DELAY_MAX: Final = 4.0**5
#: How long the count of a pair's delays is remembered when no send to it succeeds.
_DELAY_MEMORY: Final = 3600.0
#: After 130429 a number goes at half its rate, or at half of that if it comes again; each doubles back after this.
SLOW_TIME: Final = 30.0
_SLOWEST: Final = 1 / 16
#: Sends in flight together are refused together: they say it once.
_SLOW_ONCE: Final = 1.0
#: Pairs are looked through for repaid ones when there are so many, or twice as many as the last time.
_SWEEP: Final = 16
#: Times are floats: a millionth of a turn, or of a second, is not worth waiting for.
_CLOSE: Final = 1e-6


def _left(until: float, now: float) -> float:
    return until - now if until - now > _CLOSE else 0.0


class Limiter:
    """One of each number. Unused it holds a few words: 10,000 sessions have one each."""

    __slots__ = (
        "_at",
        "_burst",
        "_delays",
        "_factor",
        "_faster_at",
        "_inbound_paid",
        "_marketing_until",
        "_pair_burst",
        "_pair_interval",
        "_pairs",
        "_paused_until",
        "_rate",
        "_slowed_at",
        "_sweep",
        "_tokens",
    )

    def __init__(
        self,
        *,
        rate: float = RATE,
        burst: int = BURST,
        pair_interval: float | None = PAIR_INTERVAL,
        pair_burst: int = PAIR_BURST,
    ) -> None:
        """*pair_interval* None: the provider has no limit of pairs."""
        if rate <= 0 or burst < 1 or pair_burst < 1 or (pair_interval is not None and pair_interval <= 0):
            raise ValueError("rates and intervals are above 0, and bursts at least 1")
        self._rate = rate
        self._burst = burst
        self._pair_interval = pair_interval
        self._pair_burst = pair_burst
        self._tokens: float = burst
        self._at = -inf  # when `_tokens` was right
        self._factor = 1.0  # of the rate, while the number is slowed
        self._faster_at = inf  # when the factor doubles
        self._slowed_at = -inf
        self._paused_until = -inf
        self._marketing_until = -inf
        self._inbound_paid = -inf  # when the share of inbound messages is repaid
        self._pairs: dict[ChatId, float] | None = None  # when each is repaid
        self._delays: dict[ChatId, tuple[int, float]] | None = None  # how often in a row, and until when
        self._sweep = _SWEEP

    def __repr__(self) -> str:
        slowed = f", slowed to {self._rate * self._factor:g}/s" if self._factor < 1 else ""
        paused = f", paused until {self._paused_until:.1f}" if self._paused_until > self._at else ""
        pairs = len(self._pairs or ())
        return f"<Limiter {self._rate:g}/s, {self._tokens:.1f} of {self._burst} left{slowed}{paused}, {pairs} pairs>"

    # --- asking -------------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """Messages a second, as slowed as it was when last asked."""
        return self._rate * self._factor

    def reserve(self, chat: ChatId, now: float, *, group: bool = False, marketing: bool = False) -> float:
        """0.0, and the turn is taken; else the seconds until it may be there, and nothing is taken."""
        wait, _ = self.longest(chat, now, group=group, marketing=marketing)
        if wait <= 0:
            self.take(chat, now, group=group)
        return wait

    def take(self, chat: ChatId, now: float, *, group: bool = False) -> None:
        """Take the turn that `longest` said is there."""
        self._tokens = max(0.0, self._tokens - 1)
        if self._pair_interval is not None and not group:
            self._count_pair(chat, now)

    def wait(self, now: float, *, ahead: int = 0) -> float:
        """Seconds until this number may send anything at all, after *ahead* others. Takes nothing."""
        return max(seconds for seconds, _ in self._number(now, ahead))

    def why(self, chat: ChatId, now: float, *, group: bool = False, marketing: bool = False) -> str | None:
        """What `reserve` would wait for longest: a short, public word. None: for nothing."""
        _, reason = self.longest(chat, now, group=group, marketing=marketing)
        return reason

    # --- hearing ------------------------------------------------------------------------------------

    def spend(self, now: float) -> None:
        """A customer's message came in: Meta counts both directions together.

        It can use up at most half of the rate, so that a flood of them cannot keep us from answering.
        """
        self._earn_until(now)
        rate = self._rate * self._factor
        paid = max(self._inbound_paid, now)
        if paid - now <= self._burst / rate:
            self._inbound_paid = paid + 2 / rate
            self._tokens -= 1

    def sent(self, chat: ChatId, now: float) -> None:
        """A message to *chat* was accepted: its delays are over."""
        if self._delays is not None:
            self._delays.pop(chat, None)
            if not self._delays:
                self._delays = None

    def slow(self, now: float, *, retry_after: float | None = None) -> None:
        """The provider said that the number sends too fast (130429): halve its rate for a while."""
        self._earn_until(now)
        if now - self._slowed_at >= _SLOW_ONCE:
            self._slowed_at = now
            self._factor = max(self._factor / 2, _SLOWEST)
            self._faster_at = now + SLOW_TIME
            self._tokens = min(self._tokens, 0.0)
        if retry_after is not None:
            self.pause(now + retry_after)

    def delay_pair(self, chat: ChatId, now: float, *, retry_after: float | None = None) -> None:
        """The provider said that *chat* gets too much (131056, or a group's limit): 4^n s, until one is `sent`."""
        if self._delays is None:
            self._delays = {}
        elif len(self._delays) >= _SWEEP:
            self._delays = {
                chat: delay for chat, delay in self._delays.items() if delay[1] + _DELAY_MEMORY > now
            }
        times, _ = self._delays.get(chat, (0, now))
        delay = max(min(4.0**times, _DELAY_MAX), retry_after or 0.0)
        self._delays[chat] = (min(times + 1, 10), now + delay)
        if self._pair_interval is not None:  # whatever we thought was left of its burst is not
            self._owe(chat, now + self._pair_burst * self._pair_interval, now)

    def pause(self, until: float) -> None:
        """Send nothing before *until*. A shorter pause does not end a longer one."""
        self._paused_until = max(self._paused_until, until)

    def pause_marketing(self, until: float, now: float) -> bool:
        """Send no marketing before *until* (131048). Whether that is news: it was not paused before."""
        was_paused = self._marketing_until > now
        self._marketing_until = max(self._marketing_until, until)
        return not was_paused

    def retune(self, now: float, *, rate: float | None = None, burst: int | None = None) -> None:
        """Go on with other numbers: the settings changed, or the provider told the number's throughput."""
        self._earn_until(now)
        self._rate = rate or self._rate
        self._burst = burst or self._burst
        self._tokens = min(self._tokens, self._burst)

    # --- deciding -----------------------------------------------------------------------------------

    def longest(
        self, chat: ChatId, now: float, *, group: bool = False, marketing: bool = False
    ) -> tuple[float, str | None]:
        """The seconds that `reserve` would say, and what for (`why`). Takes nothing."""
        waits = self._number(now)
        if marketing:
            waits.append((_left(self._marketing_until, now), "marketing_paused"))
        if self._delays is not None and chat in self._delays:
            waits.append((_left(self._delays[chat][1], now), "pair_delayed"))
        if self._pairs is not None and self._pair_interval is not None and not group and chat in self._pairs:
            ahead = (self._pair_burst - 1) * self._pair_interval
            waits.append((_left(self._pairs[chat] - ahead, now), "pair_rate"))
        wait, reason = max(waits)
        return (wait, reason) if wait > 0 else (0.0, None)

    def _number(self, now: float, ahead: int = 0) -> list[tuple[float, str]]:
        """What the number itself has to wait for; 0 where it does not."""
        self._earn_until(now)
        missing = 1 + ahead - self._tokens
        seconds = missing / (self._rate * self._factor) if missing > _CLOSE else 0.0
        return [
            (_left(self._paused_until, now), "number_paused"),
            (seconds, "slowed" if self._factor < 1 else "rate"),
        ]

    def _earn_until(self, now: float) -> None:
        while self._faster_at <= now:
            self._earn(self._faster_at)
            self._factor = min(1.0, self._factor * 2)
            self._faster_at = self._faster_at + SLOW_TIME if self._factor < 1 else inf
        self._earn(now)

    def _earn(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate * self._factor)
            self._at = now

    def _count_pair(self, chat: ChatId, now: float) -> None:
        assert self._pair_interval is not None
        repaid = self._pairs.get(chat, now) if self._pairs is not None else now
        self._owe(chat, max(repaid, now) + self._pair_interval, now)

    def _owe(self, chat: ChatId, repaid: float, now: float) -> None:
        if self._pairs is None:
            self._pairs = {}
        elif chat not in self._pairs and len(self._pairs) >= self._sweep:
            self._pairs = {chat: at for chat, at in self._pairs.items() if at > now}
            self._sweep = max(_SWEEP, 2 * len(self._pairs))
        self._pairs[chat] = repaid
