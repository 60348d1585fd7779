"""A provider without a network: it keeps a ledger, and fails as it is told.

Not a mock: it fulfils the whole contract of `wad.providers.base`, so that actors run against it as they run
against Meta, under a mock clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import trio

from wad.errors import FieldError, NotSupported, ProviderError, Verdict
from wad.models import Address, Content, OutboundMessage, Session
from wad.providers.base import Accepted, Capabilities, Group, GroupMember, Link, MediaContent, Proof

#: What one send does in place of being accepted at once. It may raise.
Behaviour = Callable[[OutboundMessage], Awaitable[None]]

CAPABILITIES = Capabilities(
    content_types=frozenset({"text", "image", "reaction"}),
    groups=True,
    reply_context=True,
    read_receipts=True,
    media_upload=True,
    user_ids=True,
)


def refusal(verdict: Verdict, code: str = "scripted", **more: object) -> ProviderError:
    return ProviderError(verdict, f"scripted {verdict.name.lower()}", code=code, **more)  # type: ignore[arg-type]


class SimulatedProvider:
    """The kind, and the world behind it. `ledger` holds every message that reached it, in order."""

    name = "simulated"
    capabilities = CAPABILITIES
    webhooks = None

    def __init__(self) -> None:
        self.ledger: list[OutboundMessage] = []
        self.script: dict[str, list[Behaviour]] = defaultdict(list)  # by recipient; "*" for anybody
        self.connects: dict[str, list[Exception]] = defaultdict(list)  # by session: what connect raises next
        self.opened: list[str] = []
        self.latency = 0.0
        self.next_id: str | None = None  # the id that the next accepted message gets
        self.read: list[str] = []
        self.in_flight: defaultdict[str, int] = defaultdict(int)
        self.most_in_flight: defaultdict[str, int] = defaultdict(int)

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return [] if "key" in credentials else [FieldError("/credentials/key", "is required")]

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        if content["type"] not in self.capabilities.content_types:
            raise NotSupported(self.name, content["type"])
        return []

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        return credentials.get("key")

    def webhook_secret(self, session: Session | None) -> str | None:
        return None

    def verify_token(self, session: Session | None) -> str | None:
        return None

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[SimulatedConnection]:
        self.opened.append(session.session_id)
        yield SimulatedConnection(self, session, link)

    def bodies(self, to: str | None = None) -> list[str]:
        """The texts that arrived, for one recipient or for all."""
        return [m.content["text"]["body"] for m in self.ledger if to in (None, m.chat)]


class SimulatedConnection:
    def __init__(self, world: SimulatedProvider, session: Session, link: Link) -> None:
        self._world = world
        self._session = session
        self._link = link

    async def connect(self) -> Proof:
        await trio.sleep(self._world.latency)
        scripted = self._world.connects[self._session.session_id]
        if scripted:
            raise scripted.pop(0)
        return Proof(phone_number="+5215500000001", data={"name": "Shop"})

    async def disconnect(self) -> None:
        await trio.lowlevel.checkpoint()

    async def logout(self) -> None:
        raise NotSupported(self._world.name, "pairing")

    async def pairing_code(self, phone_number: str) -> str:
        raise NotSupported(self._world.name, "pairing")

    async def send(self, message: OutboundMessage) -> Accepted:
        world, chat = self._world, message.chat
        world.in_flight[chat] += 1
        world.most_in_flight[chat] = max(world.most_in_flight[chat], world.in_flight[chat])
        try:
            for whom in (chat, "*"):
                if world.script[whom]:
                    await world.script[whom].pop(0)(message)
                    break
            await trio.sleep(world.latency)
            world.ledger.append(message)
            chosen, world.next_id = world.next_id, None
            return Accepted(chosen or f"p-{len(world.ledger)}-{message.message_id[-6:]}")
        finally:
            world.in_flight[chat] -= 1

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        self._world.read.append(provider_message_id)

    async def groups(self) -> list[Group]:
        return [Group("g-1", subject="Friends")]

    async def group(self, group_id: str) -> Group:
        if group_id != "g-1":
            raise refusal(Verdict.REJECTED, "group_unknown")
        return Group(
            "g-1", subject="Friends", participants=1, members=(GroupMember("p-1", "+5215500000002"),)
        )

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        return f"up-{len(data)}"

    @asynccontextmanager
    async def download(self, provider_media_id: str) -> AsyncIterator[MediaContent]:
        async def chunks() -> AsyncIterator[bytes]:
            yield provider_media_id.encode()

        yield MediaContent("text/plain", None, None, chunks())


def failing(error: Exception) -> Behaviour:
    """The send fails with *error*; nothing reaches the ledger."""

    async def behave(message: OutboundMessage) -> None:
        raise error

    return behave


def lost_answer(world: SimulatedProvider) -> Behaviour:
    """The provider takes the message, and its answer never arrives."""

    async def behave(message: OutboundMessage) -> None:
        world.ledger.append(message)
        raise refusal(Verdict.UNKNOWN, "timeout", health=True)

    return behave


async def hang(message: OutboundMessage) -> None:
    await trio.sleep_forever()
