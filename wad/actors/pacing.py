"""How fast a session sends: a limiter for each of its numbers, and the pauses that it shares with others of its account.

A rate is of a number: the session's own setting, else what the provider tells of the number with each proof, else the
configuration's; one that was configured stands, whatever the provider tells. A refusal for speed is carried to what it
is of: the number, the number and one recipient, the number's marketing, or everybody who sends for the account or the
app. Nothing here waits: it says for how long, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from wad.actors.limiter import Limiter
from wad.actors.services import Pace, Services
from wad.errors import ProviderError, Scope
from wad.models import OutboundMessage, Priority, Session, number_in
from wad.providers.base import ProviderKind

#: Seconds, where the provider does not say for how long.
_PAUSE: Final = 60.0
MARKETING_PAUSE: Final = 3600.0
#: What sessions share, and the word for waiting for it (`Waiting.reason`).
_SHARED: Final = {Scope.ACCOUNT: "paused", Scope.APP: "app_paused"}
#: The words for what holds some messages of a number, and not all of them.
OF_ONE_MESSAGE: Final = frozenset({"pair_rate", "pair_delayed", "marketing_paused"})


def is_marketing(message: OutboundMessage) -> bool:
    """Meta does not say which category a template has when it is sent; what goes out in bulk is marketing."""
    return message.type == "template" and message.priority is Priority.BULK


class Pacing:
    """One session's. "" is the number of a session that has but one, or that of a message for which none is chosen yet."""

    __slots__ = ("_kind", "_numbers", "_one", "_provider", "_services", "_session", "_shares", "_told")

    def __init__(
        self, services: Services, session: Callable[[], Session], kind: Callable[[], ProviderKind]
    ) -> None:
        self._services = services
        self._session = session
        self._kind = kind
        self._begin()

    def _begin(self) -> None:
        self._provider = self._session().provider
        self._told: Mapping[str, float] = {}
        self._shares: Mapping[Scope, str] | None = None  # None: not asked yet
        self._one = self._limiter("")
        self._numbers: dict[str, Limiter] = {}  # made as they are met

    # --- asking -------------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """Messages a second that the session sends at most, by all its numbers together, as slowed as they are."""
        return sum(self.rates.values()) or self._one.rate

    @property
    def rates(self) -> dict[str, float]:
        """The same of each number; empty where the session has but one."""
        known = {*self._told, *self._numbers} - {""}
        return {
            number: self._numbers[number].rate if number in self._numbers else self._rate_of(number)
            for number in sorted(known)
        }

    def wait(self, now: float) -> float:
        """Seconds until the account may send anything at all."""
        pauses = self._services.pauses
        return pauses.wait(self._names().values(), now) if pauses else 0.0

    def wait_of(self, now: float, number: str, *, ahead: int = 0) -> float:
        """Seconds until *number* may send anything after *ahead* others, the account aside."""
        return self.of(number).wait(now, ahead=ahead)

    def soonest(self, now: float) -> float:
        """Seconds until some number may send."""
        each = [self.wait_of(now, number) for number in self.rates] or [self._one.wait(now)]
        return max(self.wait(now), min(each))

    def reserve(self, message: OutboundMessage, now: float) -> tuple[float, str | None]:
        """0.0, and the turn is taken; else the seconds until it may be there, and what for (`longest`)."""
        wait, why = self.longest(message, now)
        if wait <= 0:
            self.of(number_in(message.lane)).take(message.chat, now, group=message.to.group_id is not None)
        return wait, why

    def longest(self, message: OutboundMessage, now: float) -> tuple[float, str | None]:
        """The seconds that *message* would have to wait for its turn now, and a short, public word for what."""
        wait, why = self.of(number_in(message.lane)).longest(
            message.chat, now, group=message.to.group_id is not None, marketing=is_marketing(message)
        )
        for scope, name in self._names().items() if self._services.pauses else ():
            if (pause := self._services.pauses.wait([name], now)) > wait:
                wait, why = pause, _SHARED[scope]
        return wait, why

    # --- hearing ------------------------------------------------------------------------------------

    def heard(self, number: str, now: float) -> None:
        """A customer's message came in to *number*: providers count both directions together."""
        self.of(number).spend(now)

    def accepted(self, message: OutboundMessage, now: float) -> None:
        self.of(number_in(message.lane)).sent(message.chat, now)

    def throttled(self, message: OutboundMessage, error: ProviderError, now: float) -> bool:
        """*message* was refused for speed. True where its number's marketing is paused by it, and was not before."""
        limiter = self.of(number_in(message.lane))
        match error.scope:
            case Scope.NUMBER:
                limiter.slow(now, retry_after=error.retry_after)
            case Scope.PAIR | Scope.GROUP:
                limiter.delay_pair(message.chat, now, retry_after=error.retry_after)
            case Scope.MARKETING:
                return limiter.pause_marketing(now + (error.retry_after or MARKETING_PAUSE), now)
            case Scope.ACCOUNT | Scope.APP:
                until = now + (error.retry_after or _PAUSE)
                self._services.pauses.pause(self._names()[error.scope], until, now)
        return False

    def told(self, rates: Mapping[str, float], now: float) -> None:
        """The provider has proven the account, and told the rates of its numbers."""
        self._told = rates
        self.retune(now)

    def retune(self, now: float) -> None:
        """The settings, the provider or what it tells are others: go on with what holds now."""
        if self._session().provider != self._provider:
            self._begin()
            return
        self._shares = None
        burst = self._session().settings.burst or self._pace.burst
        for number, limiter in {"": self._one, **self._numbers}.items():
            limiter.retune(now, rate=self._rate_of(number), burst=burst)

    # --- inside -------------------------------------------------------------------------------------

    def of(self, number: str) -> Limiter:
        if not number:
            return self._one
        if number not in self._numbers:
            self._numbers[number] = self._limiter(number)
        return self._numbers[number]

    @property
    def _pace(self) -> Pace:
        return self._services.pace(self._session().provider)

    def _limiter(self, number: str) -> Limiter:
        pace = self._pace
        return Limiter(
            rate=self._rate_of(number),
            burst=self._session().settings.burst or pace.burst,
            pair_interval=pace.pair_interval,
            pair_burst=pace.pair_burst,
        )

    def _rate_of(self, number: str) -> float:
        pace = self._pace
        told = None if pace.is_set else self._told.get(number)
        return self._session().settings.rate or told or pace.rate

    def _names(self) -> Mapping[Scope, str]:
        """What the session shares its pauses by; where its kind knows no other, it waits alone."""
        if self._shares is None:
            session = self._session()
            shared = self._kind().shared(session)
            self._shares = {scope: shared.get(scope) or f"session {session.session_id}" for scope in _SHARED}
        return self._shares
