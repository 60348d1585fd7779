"""What every actor of a process shares: the store, the facts, the clock, the flow, the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final

import trio

from wad.actors.limiter import RATE
from wad.actors.pauses import Pauses
from wad.events import Events
from wad.flow.delivery import Flows
from wad.models import utc_now
from wad.store.files import Files
from wad.store.spool import Spool
from wad.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one session may hold and do at once."""

    queue_per_session: int = 10_000  # messages that wait, but for bulk
    bulk_per_session: int = 100_000
    bulk_page: int = 1000  # messages of bulk in memory, of those that may go
    send_concurrency: int = 32  # chats of one session with a send in the air
    inbox_concurrency: int = 16  # chats of one session whose flow is being asked
    message_ttl: timedelta = timedelta(hours=24)  # when `expiresAt` is unset
    max_attempts: int = 50
    settle_window: timedelta = timedelta(minutes=10)  # how long `unknown` waits for proof
    flow_window: timedelta = timedelta(hours=24)  # WhatsApp's window for free answers: later is too late
    fetch: bool = True  # whether what customers send is fetched and kept, where there is a place for it
    file_size: int = 100 * 2**20  # the largest that is: WhatsApp's own bound
    file_ttl: timedelta = timedelta(days=30)  # how long it is kept
    proof_ttl: float = 1800.0  # seconds after which `connected` without a sign of life is `degraded`
    connect_backoff: tuple[float, float] = (1.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one session may send, where its settings say nothing. The defaults are Meta's."""

    rate: float = RATE  # messages a second
    burst: int = 10
    pair_interval: float | None = (
        6.0  # one message in 6 s to one recipient, 45 ahead of time; None: no such limit
    )
    pair_burst: int = 45
    is_set: bool = False  # the rate was configured: it stands, whatever the provider tells of a number


_DEFAULT_PACE: Final = Pace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    store: Store  # raises StoreUnavailable: for calls somebody waits for
    patient: Store  # waits an outage out: for an actor's own work
    events: Events
    flows: Flows
    limits: Limits = Limits()
    paces: Mapping[str, Pace] = field(default_factory=dict)  # by provider
    spool: Spool | None = (
        None  # where webhooks wait while the store is away; None: the store is that disk itself
    )
    files: Files | None = None  # where customers' files are kept; None: with their provider alone
    node: str = "local"
    now: Callable[[], datetime] = utc_now
    random: Random = field(default_factory=Random)
    pauses: Pauses = field(default_factory=Pauses)
    connecting: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(50))
    fetching: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(8))

    @property
    def fetches(self) -> bool:
        """Whether what customers send is fetched at all."""
        return self.files is not None and self.limits.fetch

    def pace(self, provider: str) -> Pace:
        return self.paces.get(provider, _DEFAULT_PACE)
