"""Who asks: bearer tokens, the shops they may see, and how often they, or strangers, may ask.

A token is kept as its SHA-256 and compared in constant time. Whoever guesses is slowed down by address;
a token that is right always passes, or one stranger behind a proxy could shut everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from wad.config.model import ApiToken
from wad.errors import Forbidden, NotFound, TooManyRequests, Unauthorized
from wad.models import ShopId

#: Wrong tokens from one address in a minute, before it is asked to wait.
FAILURES: Final = 10
FAILURE_PERIOD: Final = 60.0
#: Addresses remembered; the longest silent one is forgotten first.
_ADDRESSES: Final = 10_000
_PREFIX: Final = 16


class Principal(msgspec.Struct, frozen=True):
    """Whose token came. `shops` None: an admin, who sees every shop and what belongs to none."""

    name: str
    shops: frozenset[ShopId] | None = None

    @property
    def is_admin(self) -> bool:
        return self.shops is None

    def sees(self, shop_id: ShopId | None) -> bool:
        return self.shops is None or shop_id in self.shops

    def require_sight(self, shop_id: ShopId | None, what: str) -> None:
        """404, never 403: a shop learns nothing of another's, not even that it is there."""
        if not self.sees(shop_id):
            raise NotFound(what)

    def require_admin(self, what: str) -> None:
        if self.shops is not None:
            raise Forbidden(f"{what} takes an admin's token")


class Bucket:
    """A token bucket: *rate* a second, *burst* at once."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def take(self, now: float) -> float:
        """0 where there was one to take, else the seconds until there is."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level >= 1:
            self._level -= 1
            return 0
        return (1 - self._level) / self._rate


class Gate:
    """Turns an Authorization header into a Principal, or refuses it."""

    def __init__(
        self, tokens: Sequence[ApiToken], *, rate: float, burst: float, clock: Callable[[], float]
    ) -> None:
        """*rate* and *burst* are those of one shop's token: an admin is not limited."""
        self._clock = clock
        self._rate, self._burst = rate, burst
        self.admit_only(tokens)
        self._buckets: dict[str, Bucket] = {}
        self._strangers: OrderedDict[str, Bucket] = OrderedDict()

    def admit_only(self, tokens: Sequence[ApiToken]) -> None:
        """These tokens from now on."""
        known: dict[bytes, tuple[bytes, Principal]] = {}  # by the first bytes of their digest
        for token in tokens:
            shops = None if token.scope == "admin" else frozenset(token.shops)
            digest = _digest(token.token.get_secret_value())
            known[digest[:_PREFIX]] = digest, Principal(token.name, shops)
        self._known = known

    def knows(self, principal: Principal) -> bool:
        """Whether a token still lets *principal* in, to see just that."""
        return any(known == principal for _, known in self._known.values())

    def admit(self, authorization: str | None, address: str) -> Principal:
        """Raises Unauthorized, or TooManyRequests for a stranger who guesses or a shop that hurries."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("a token is needed: Authorization: Bearer <token>")
        principal = self._find(token.strip())
        if principal is None:
            self._count_failure(address)
            raise Unauthorized("the token is not known")
        if principal.shops is not None:
            self._count_request(principal.name)
        return principal

    def _find(self, token: str) -> Principal | None:
        digest = _digest(token)
        known, principal = self._known.get(digest[:_PREFIX], (b"", None))
        return principal if hmac.compare_digest(known, digest) else None

    def _count_request(self, name: str) -> None:
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self._rate, self._burst, now)
        if wait := bucket.take(now):
            raise TooManyRequests(f"the token may make {self._rate:g} requests a second", retry_after=wait)

    def _count_failure(self, address: str) -> None:
        now = self._clock()
        bucket = self._strangers.pop(address, None) or Bucket(FAILURES / FAILURE_PERIOD, FAILURES, now)
        self._strangers[address] = bucket
        if len(self._strangers) > _ADDRESSES:
            self._strangers.popitem(last=False)
        if wait := bucket.take(now):
            raise TooManyRequests("too many wrong tokens came from this address", retry_after=wait)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
