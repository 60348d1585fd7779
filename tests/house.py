"""The whole inside of wad over the memory store and a simulated provider, on a mock clock."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import trio

from tests.simulated import SimulatedProvider, SocketProvider
from wad.actors.services import Limits, Pace, Services
from wad.events import Events, Fact
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import Address, Content, Credentials, Session, SessionId, Settings
from wad.providers.base import ProviderKind
from wad.secrets import Vault
from wad.store.files import Files
from wad.store.memory import MemoryEngine
from wad.store.spool import Spool
from wad.store.store import Store
from wad.supervisor.placing import Policies
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sending import Draft
from wad.supervisor.sessions import NewSession, Sessions, open_sessions

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


def now() -> datetime:
    """The wall clock of a mock world."""
    return START + timedelta(seconds=trio.current_time())


@dataclass
class House:
    """What outlives a restart of the daemon: the store, and the provider's world."""

    world: SimulatedProvider = field(default_factory=SimulatedProvider)
    others: tuple[ProviderKind, ...] = ()  # more kinds, under names of their own
    limits: Limits = field(default_factory=Limits)
    policy: RestartPolicy = field(default_factory=lambda: RestartPolicy(random=Random(1)))
    policies: Policies = field(default_factory=Policies)  # how shops share their work
    flows: Flows = field(default_factory=lambda: Flows(FlowDefaults()))
    facts: list[Fact] = field(default_factory=list)
    seed: int = 1
    spool: Spool | None = None
    connecting: int = 50  # sessions that may be connecting at once
    paces: dict[str, Pace] = field(default_factory=dict)  # by provider

    def __post_init__(self) -> None:
        self._engine = MemoryEngine()
        self._master = os.urandom(32)

    def store(self) -> Store:
        return Store(self._engine, Vault(self._master))

    def files(self, vault: Vault) -> Files | None:
        """Where customers' files are kept; None: with their provider alone."""
        return None

    @asynccontextmanager
    async def run(self, *, grace: float = 35.0) -> AsyncIterator[Sessions]:
        """One life of the daemon; `die` ends it, wherever it is."""
        vault = Vault(self._master)
        store = Store(self._engine, vault)
        if (files := self.files(vault)) is not None:
            await files.load()
        events = Events()
        events.subscribe(self.facts.append)
        services = Services(
            store=store,
            patient=store.patient(),
            spool=self.spool,
            files=files,
            events=events,
            flows=self.flows,
            limits=self.limits,
            paces=self.paces,
            now=now,
            random=Random(self.seed),
            connecting=trio.CapacityLimiter(self.connecting),
        )

        kinds: dict[str, ProviderKind] = {kind.name: kind for kind in (self.world, *self.others)}
        self._life = trio.CancelScope()
        with self._life:
            async with AsyncExitStack() as stack:
                for kind in kinds.values():
                    await stack.enter_async_context(kind.running())
                sessions = await stack.enter_async_context(
                    open_sessions(
                        services,
                        kinds,
                        self.policy,
                        check_url=lambda url: None,
                        policies=self.policies,
                        grace=grace,
                    )
                )
                await sessions.restore()
                yield sessions

    def die(self) -> None:
        """Nothing of this life comes to its end: neither the daemon's work nor the block of `run`."""
        self._life.cancel()

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


async def shop(sessions: Sessions, session_id: str = "shop", **settings: Any) -> Session:
    """A connected session."""
    session = await sessions.create(
        NewSession(
            provider="simulated",
            session_id=SessionId(session_id),
            credentials=Credentials(key=session_id),
            settings=Settings(**settings),
        )
    )
    await sessions.connect(session.session_id, wait=60)
    return session


async def paired(house: House, sessions: Sessions, session_id: str = "shop") -> Session:
    """A session of the `SocketProvider` that a phone has paired."""
    assert isinstance(house.world, SocketProvider)
    session = await shop(sessions, session_id)
    await house.world.scan(session_id)
    return session


def text(body: str) -> Content:
    return {"type": "text", "text": {"body": body}}


def draft(body: str = "hola", to: str = "+5215512345678", session_id: str = "shop", **more: Any) -> Draft:
    return Draft(session_id=SessionId(session_id), to=Address(phone=to), content=text(body), **more)
