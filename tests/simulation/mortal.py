"""A store and a provider that outlive the process between them, which dies in the middle of anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from random import Random
from typing import Any

import msgspec
import trio

from tests.house import now
from tests.simulated import CAPABILITIES, SimulatedConnection, SimulatedProvider, own_id, refusal
from wad.errors import ProviderError, Scope, Verdict
from wad.models import InboundMessage, OutboundMessage, Session
from wad.providers.base import Accepted, Link, MediaContent, Proof
from wad.store.base import Query, Result, Row, Update, Write
from wad.store.memory import MemoryEngine


class Life:
    """One run of the process. It is over when its `fuse` has burnt down, or when `kill` is called."""

    def __init__(self, chance: Random, died: Callable[[], None]) -> None:
        self._chance = chance
        self._died = died
        self.scope = trio.CancelScope()
        self.fuse: int | None = None  # calls of the store that are left to it

    @property
    def over(self) -> bool:
        return self.scope.cancel_called

    def kill(self) -> None:
        if not self.over:
            self.scope.cancel()
            self._died()

    def touched(self) -> bool:
        """A call of the store: whether it is still carried out. The last one may be, or not, and nobody hears."""
        if self.over:
            return False
        if self.fuse is None:
            return True
        self.fuse -= 1
        if self.fuse > 0:
            return True
        self.kill()
        return self._chance.random() < 0.5


class MortalEngine(MemoryEngine):
    """The memory engine as one life sees it: what the dead write is not written."""

    def __init__(self, shared: MemoryEngine, life: Life) -> None:
        super().__init__()
        self._tables = shared._tables
        self._shared = shared
        self._life = life

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        if not self._life.touched():
            await trio.lowlevel.checkpoint()  # which ends it, unless it is shielded
            return [True if isinstance(write, Update) else None for write in writes]
        self.fault = self._shared.fault
        return await super().write(writes)

    async def find(self, query: Query) -> list[Row]:
        self.fault = None if self._life.over else self._shared.fault
        return await super().find(query)

    async def count(self, table: str, where: Mapping[str, Any], by: str) -> dict[Any, int]:
        self.fault = None if self._life.over else self._shared.fault
        return await super().count(table, where, by)


def content_of(provider_media_id: str) -> bytes:
    """The picture that the provider calls so."""
    return b"\x89PNG\r\n\x1a\n" + provider_media_id.encode() * 100


class World(SimulatedProvider):
    """A provider whose answers are drawn. `ledger` has what went over the wire; `trouble` is how often it fails."""

    def __init__(self, chance: Random, *, settlement: str) -> None:
        super().__init__()
        self.capabilities = msgspec.structs.replace(
            CAPABILITIES, settlement=settlement, inbound_history=settlement == "list"
        )
        self.listed: list[tuple[datetime, str, OutboundMessage]] = []  # what it took, with its ids
        self.came_in: list[tuple[datetime, str, InboundMessage]] = []  # by session
        self.chance = chance
        self.trouble = 0.0
        self.life: Life | None = None
        self.taken: Callable[[OutboundMessage, str], None] = lambda message, provider_id: None
        self._flying: list[OutboundMessage] = []

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[SimulatedConnection]:
        assert self.life is not None
        yield MortalConnection(self, session, link, self.life)

    def take(self, message: OutboundMessage) -> str:
        """The message is on the provider's side now, whatever wad hears of it."""
        self.ledger.append(message)
        resends = self.capabilities.settlement == "resend"
        provider_id = own_id(message) if resends else f"p-{len(self.ledger)}"
        self.listed.append((now(), provider_id, message))
        self.taken(message, provider_id)
        return provider_id

    def died(self) -> None:
        """What was in the air when the process died arrived, or did not."""
        for message in self._flying:
            if self.chance.random() < 0.5:
                self.take(message)
        self._flying.clear()

    @asynccontextmanager
    async def flying(self, message: OutboundMessage) -> AsyncIterator[None]:
        self._flying.append(message)
        try:
            yield
        except trio.Cancelled:
            if message in self._flying and self.chance.random() < 0.5:
                self.take(message)
            raise
        finally:
            if message in self._flying:
                self._flying.remove(message)


class MortalConnection(SimulatedConnection):
    def __init__(self, world: World, session: Session, link: Link, life: Life) -> None:
        super().__init__(world, session, link)
        self._all = world
        self._life = life

    async def connect(self) -> Proof:
        await self._pause(2.0)
        if self._all.chance.random() < self._all.trouble:
            raise self._draw(
                lambda: refusal(Verdict.NOT_SENT, "unreachable", health=True),
                lambda: refusal(Verdict.UNKNOWN, "timeout", health=True),
                lambda: refusal(Verdict.NEEDS_PERSON, "bad_token"),
                lambda: RuntimeError("a bug in connect"),
            )
        return Proof(phone_number="+5215500000001", data={"name": "Shop"})

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        """It shows a text and a recipient, and nothing that tells two sends of the same text apart."""
        await self._unreachable_at_times()
        return [
            Accepted(provider_id)
            for at, provider_id, taken in self._all.listed
            if at >= since
            and (taken.session_id, taken.chat, taken.content)
            == (message.session_id, message.chat, message.content)
        ]

    async def missed(self, since: datetime) -> AsyncIterator[Sequence[InboundMessage]]:
        await self._unreachable_at_times()
        for at, session_id, message in self._all.came_in:
            if at >= since and session_id == self._session.session_id:
                yield [message]

    async def _unreachable_at_times(self) -> None:
        await self._pause(1.0)
        if self._life.over or self._all.chance.random() < self._all.trouble:
            raise refusal(Verdict.NOT_SENT, "unreachable", health=True)

    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        await self._unreachable_at_times()
        async with aclosing(self._picture(content_of(provider_media_id))) as chunks:
            yield MediaContent("image/png", None, None, chunks)

    async def _picture(self, content: bytes) -> AsyncGenerator[bytes, None]:
        yield content[:100]
        await self._pause(5.0)
        if self._all.chance.random() < self._all.trouble:
            if self._all.chance.random() < 0.5:
                raise self._draw(
                    lambda: refusal(Verdict.NOT_SENT, "unreachable"),
                    lambda: refusal(Verdict.THROTTLED, "rate_limit", retry_after=7.0),
                    lambda: refusal(Verdict.NEEDS_PERSON, "bad_token"),
                )
            content = content[:-1] + b"x"
        yield content[100:]

    async def send(self, message: OutboundMessage) -> Accepted:
        if self._life.over:
            raise refusal(Verdict.NOT_SENT, "dead")
        chance = self._all.chance
        async with self._all.flying(message):
            await self._pause(1.5)
        if self._life.over:  # shielded from its own death: what was in the air is decided already
            raise refusal(Verdict.NOT_SENT, "dead")
        if chance.random() >= self._all.trouble:
            return Accepted(self._all.take(message))
        match chance.choice(("refused", "lost request", "lost answer", "bug before", "bug after")):
            case "refused":
                raise self._refused()
            case "lost request":
                await self._pause(30)
            case "lost answer":
                self._all.take(message)
                await self._pause(30)
            case "bug before":
                raise RuntimeError("a bug in send")
            case "bug after":
                self._all.take(message)
                raise RuntimeError("a bug in send, after the wire")
        raise refusal(Verdict.UNKNOWN, "timeout", health=True)

    def _refused(self) -> Exception:
        scope = self._all.chance.choice((Scope.NUMBER, Scope.PAIR, Scope.ACCOUNT))
        return self._draw(
            lambda: refusal(Verdict.NOT_SENT, "unreachable", health=True),
            lambda: refusal(Verdict.THROTTLED, "rate_limit", scope=scope, retry_after=7.0),
            lambda: refusal(Verdict.REJECTED, "bad_recipient"),
            lambda: refusal(Verdict.NEEDS_PERSON, "bad_token"),
        )

    def _draw(self, *errors: Callable[[], ProviderError | RuntimeError]) -> Exception:
        return self._all.chance.choice(errors)()

    async def _pause(self, most: float) -> None:
        await trio.sleep(self._all.chance.uniform(0, most))
