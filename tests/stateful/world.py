"""A provider that answers when a step says so, and what it saw."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
import trio

from tests.house import now
from tests.simulated import CAPABILITIES, SimulatedConnection, SimulatedProvider, own_id
from wad.models import OutboundMessage, Session
from wad.providers.base import Accepted, Link


class Flight:
    """A send that has no answer yet."""

    def __init__(self, message: OutboundMessage) -> None:
        self.message = message
        self.answered = trio.Event()
        self.error: Exception | None = None
        self.provider_id: str | None = None  # once the provider has taken it


class HeldProvider(SimulatedProvider):
    """Its sends stay in the air until `answer`. What is in the air when wad dies arrives as `arrives` says."""

    def __init__(self, name: str = "simulated", *, settlement: str = "callback") -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.capabilities = msgspec.structs.replace(CAPABILITIES, settlement=settlement)
        self.in_air: list[Flight] = []
        self.took: list[tuple[datetime, str, OutboundMessage]] = []
        self.arrives = False
        self.holds = True
        self.begins: Callable[[OutboundMessage], None] = lambda message: None
        self.taken: Callable[[OutboundMessage, str], None] = lambda message, provider_id: None

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[SimulatedConnection]:
        yield HeldConnection(self, session, link)

    def take(self, flight: Flight) -> str:
        """The message is on the provider's side now, whatever wad hears of it."""
        resends = self.capabilities.settlement == "resend"
        provider_id = own_id(flight.message) if resends else f"{self.name}-{len(self.took)}"
        self.took.append((now(), provider_id, flight.message))
        flight.provider_id = provider_id
        self.taken(flight.message, provider_id)
        return provider_id

    def answer(self, flight: Flight, *, taken: bool, error: Exception | None = None) -> None:
        if taken:
            self.take(flight)
        flight.error = error
        self.in_air.remove(flight)
        flight.answered.set()


class HeldConnection(SimulatedConnection):
    _world: HeldProvider

    async def send(self, message: OutboundMessage) -> Accepted:
        world = self._world
        flight = Flight(message)
        world.in_air.append(flight)
        world.begins(message)
        if not world.holds:
            world.answer(flight, taken=True)
        try:
            await flight.answered.wait()
        except trio.Cancelled:
            if flight in world.in_air:
                world.in_air.remove(flight)
                if world.arrives:
                    world.take(flight)
            raise
        if flight.error is not None:
            raise flight.error
        assert flight.provider_id is not None
        return Accepted(flight.provider_id)

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        """A list shows a text and a recipient, and nothing that tells two sends of the same text apart."""
        await trio.lowlevel.checkpoint()
        return [
            Accepted(provider_id)
            for at, provider_id, taken in self._world.took
            if at >= since
            and (taken.session_id, taken.chat, taken.content)
            == (message.session_id, message.chat, message.content)
        ]
