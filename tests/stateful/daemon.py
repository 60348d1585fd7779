"""One wad after the other over a disk that outlives them, at rest between two steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import outcome
import trio

from tests.house import now
from tests.simulated import SimulatedProvider
from tests.stateful.disk import Disk, Fuse, LifesEngine
from tests.stateful.portal import Portal
from wad.actors.services import Limits, Services
from wad.errors import WadError
from wad.events import Events
from wad.flow.delivery import FlowDefaults, Flows
from wad.providers.base import ProviderKind
from wad.secrets import Vault
from wad.store.spool import Spool
from wad.store.store import Retention, Store
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sessions import Sessions, open_sessions

MASTER = b"m" * 32
#: Seconds that a daemon which is told to stop waits for what is in the air.
GRACE = 5.0


class Ask:
    """What somebody asked wad for: done, failed, or still without an answer, as it is if wad died over it."""

    def __init__(self) -> None:
        self.outcome: outcome.Outcome[Any] | None = None

    @property
    def is_answered(self) -> bool:
        return self.outcome is not None

    def answer(self) -> Any:
        """What was answered. Raises what was refused."""
        assert self.outcome is not None, "nobody has answered"
        return self.outcome.unwrap()


class Life:
    """One run of the process."""

    def __init__(self, disk: Disk) -> None:
        self.scope = trio.CancelScope()
        self.engine = LifesEngine(disk, self.scope.cancel)
        self.store = Store(self.engine, Vault(MASTER))
        self.sessions: Sessions | None = None  # once it has restored them
        self.asks: trio.Nursery | None = None
        self.told_to_stop = trio.Event()
        self.ended = trio.Event()
        self.crash: BaseException | None = None


class Daemon:
    """`limits`, `flows` and the kinds are those of every life."""

    def __init__(
        self,
        portal: Portal,
        disk: Disk,
        *kinds: SimulatedProvider,
        limits: Limits,
        flows: Flows | None = None,
        open_spool: Callable[[AsyncExitStack], Awaitable[Spool]] | None = None,
    ) -> None:
        self.portal = portal
        self.disk = disk
        self.life: Life | None = None
        self._kinds: dict[str, ProviderKind] = {kind.name: kind for kind in kinds}
        self._limits = limits
        self._flows = flows or Flows(FlowDefaults())
        self._open_spool = open_spool

    # --- its lives ----------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        if self.life is not None and self.life.crash is not None:
            raise AssertionError("wad itself crashed") from self.life.crash
        return self.life is not None and not self.life.engine.dead and self.life.sessions is not None

    @property
    def sessions(self) -> Sessions:
        assert self.life is not None
        assert self.life.sessions is not None
        return self.life.sessions

    @property
    def store(self) -> Store:
        """As the living wad sees it."""
        assert self.life is not None
        return self.life.store

    def start(self) -> None:
        assert self.life is None

        async def start() -> None:
            self.life = Life(self.disk)
            self.portal.nursery.start_soon(self._live, self.life)

        self.portal(start)

    def kill(self) -> None:
        """At once, and with it whatever was in hand."""
        if self.life is not None:
            life, self.life = self.life, None
            self.portal(self._killed, life)

    async def _killed(self, life: Life) -> None:
        life.engine.dead = True
        life.scope.cancel()
        await life.ended.wait()

    def stop(self) -> None:
        """As SIGTERM does: what is in the air may finish, for a while."""
        life, self.life = self.life, None
        assert life is not None

        async def tell() -> None:
            life.told_to_stop.set()

        self.portal(tell)
        self.portal.time_passes(GRACE)
        self.portal.time_passes(60)  # what records a result is shielded, for a bounded time
        self.portal(life.ended.wait)

    def die_in(self, writes: int, *, last_is_written: bool) -> None:
        assert self.life is not None
        self.life.engine.fuse = Fuse(writes, last_is_written)

    def survives(self) -> None:
        """Whatever `die_in` said."""
        if self.life is not None:
            self.life.engine.fuse = None

    async def _live(self, life: Life) -> None:
        events = Events()
        try:
            with life.scope:
                async with AsyncExitStack() as stack:
                    spool = None if self._open_spool is None else await self._open_spool(stack)
                    services = Services(
                        store=life.store,
                        patient=life.store.patient(),
                        spool=spool,
                        events=events,
                        flows=self._flows,
                        limits=self._limits,
                        now=now,
                        random=Random(1),
                        connecting=trio.CapacityLimiter(5),
                    )
                    sessions = await stack.enter_async_context(
                        open_sessions(
                            services,
                            self._kinds,
                            RestartPolicy(random=Random(1)),
                            check_url=lambda url: None,
                            grace=GRACE,
                        )
                    )
                    await sessions.restore()
                    async with trio.open_nursery() as life.asks:
                        life.asks.start_soon(sessions.look_after, Retention())
                        life.sessions = sessions
                        await life.told_to_stop.wait()
                        life.asks.cancel_scope.cancel()
        except* Exception as crash:  # noqa: BLE001  it is told by whoever looks next
            life.crash = crash
        finally:
            life.ended.set()

    # --- what is asked of it ------------------------------------------------------------------------

    def ask(self, work: Callable[[Sessions], Awaitable[Any]]) -> Ask:
        """Ask for *work*, and return once all is at rest: with the answer, or while it is waited for."""
        ask = Ask()

        async def asked(life: Life, sessions: Sessions) -> None:
            found: outcome.Outcome[Any]
            try:
                found = outcome.Value(await work(sessions))
            except WadError as error:
                found = outcome.Error(error)
            if not life.engine.dead:
                ask.outcome = found

        async def start() -> None:
            life = self.life
            assert life is not None
            assert life.asks is not None
            life.asks.start_soon(asked, life, self.sessions)

        self.portal(start)
        return ask

    def read(self, work: Callable[[Store], Awaitable[Any]]) -> Any:
        """What the living wad reads in its store."""
        return self.portal(work, self.store)
