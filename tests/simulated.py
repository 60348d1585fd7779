"""Providers without a network: they keep a ledger, and fail as they are told.

`SimulatedProvider` is one over HTTP; `SocketProvider` pairs with a phone and keeps a connection, as WhatsApp Web does.

Not a mock: it fulfils the whole contract of `wad.providers.base`, so that actors run against it as they run
against Meta, under a mock clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime

import msgspec
import trio

from wad.errors import FieldError, NotSupported, ProviderError, Scope, Verdict
from wad.models import Address, Content, Inbound, InboundMessage, OutboundMessage, Session, SessionId
from wad.providers.base import (
    Accepted,
    Capabilities,
    Connection,
    Group,
    GroupMember,
    Link,
    MediaContent,
    Pairing,
    Proof,
)

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
        self.forgotten: list[str] = []
        self.shares: dict[Scope, str] = {}  # what every session of it shares
        self.rates: dict[str, float] = {}  # what it tells of its numbers
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

    def shared(self, session: Session) -> Mapping[Scope, str]:
        return self.shares

    def webhook_secret(self, session: Session | None) -> str | None:
        return None

    def verify_token(self, session: Session | None) -> str | None:
        return None

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[SimulatedConnection]:
        self.opened.append(session.session_id)
        yield SimulatedConnection(self, session, link)

    async def forget(self, session_id: SessionId) -> None:
        self.forgotten.append(session_id)

    def bodies(self, to: str | None = None) -> list[str]:
        """The texts that arrived, for one recipient or for all."""
        return [m.content["text"]["body"] for m in self.ledger if to in (None, m.chat)]


class SimulatedConnection(Connection):
    def __init__(self, world: SimulatedProvider, session: Session, link: Link) -> None:
        self._world = world
        self._session = session
        self._link = link

    async def connect(self) -> Proof:
        await trio.sleep(self._world.latency)
        scripted = self._world.connects[self._session.session_id]
        if scripted:
            raise scripted.pop(0)
        return Proof(phone_number="+5215500000001", data={"name": "Shop"}, rates=self._world.rates)

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
            return Accepted(chosen or self._id_of(message))
        finally:
            world.in_flight[chat] -= 1

    def _id_of(self, message: OutboundMessage) -> str:
        return f"p-{len(self._world.ledger)}-{message.message_id[-6:]}"

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


# --- one that keeps a list ------------------------------------------------------------------------


class ListingProvider(SimulatedProvider):
    """The kind that lists what it took and what customers wrote, as Twilio does.

    What is in `ledger` it shows from the second `shows_from` on; `others` are sends that were not ours.
    """

    capabilities = msgspec.structs.replace(CAPABILITIES, inbound_history=True, settlement="list")

    def __init__(self) -> None:
        super().__init__()
        self.shows_from = 0.0
        self.others: list[str] = []  # ids that the list shows besides, of messages that look like any of ours
        self.inbound: list[tuple[datetime, InboundMessage]] = []
        self.looks: list[datetime] = []  # since when it was asked for a message
        self.reads: list[datetime] = []  # since when it was asked for what came in
        self.list_fails: list[Exception] = []  # what asking for either raises next

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[ListingConnection]:
        self.opened.append(session.session_id)
        yield ListingConnection(self, session, link)


class ListingConnection(SimulatedConnection):
    _world: ListingProvider

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        world = self._world
        world.looks.append(since)
        if world.list_fails:
            raise world.list_fails.pop(0)
        shown = [
            f"p-{at + 1}-{taken.message_id[-6:]}"
            for at, taken in enumerate(world.ledger)
            if (taken.chat, taken.content) == (message.chat, message.content)
            and trio.current_time() >= world.shows_from
        ]
        return [Accepted(one, "found in the list") for one in (*shown, *world.others)]

    async def missed(self, since: datetime) -> AsyncGenerator[Sequence[Inbound], None]:
        world = self._world
        world.reads.append(since)
        if world.list_fails:
            raise world.list_fails.pop(0)
        yield [message for at, message in world.inbound if at >= since]


# --- one that keeps a socket ------------------------------------------------------------------------


#: When every QR of this world expires.
QR_EXPIRES = datetime(2026, 11, 24, 9, tzinfo=UTC)


def own_id(message: OutboundMessage) -> str:
    """The provider's id of a message is made of ours: the same in every attempt."""
    return f"3EB0{message.message_id.removeprefix('msg_')[:18].upper()}"


class SocketProvider(SimulatedProvider):
    """The kind that pairs and keeps a socket, and the WhatsApp behind it.

    `ledger` has every attempt that arrived, `seen` what a recipient sees: each id once.
    """

    capabilities = msgspec.structs.replace(CAPABILITIES, pairing=True, settlement="resend")

    def __init__(self) -> None:
        super().__init__()
        self.sockets: dict[str, SocketConnection] = {}  # of the sessions that live, by id
        self.logouts: list[str] = []
        self.deaf = False  # whoever logs out gets no answer
        self.runs: list[str] = []  # "entered" and "left", as `running` was

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.runs.append("entered")
        yield
        self.runs.append("left")

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return []

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[SocketConnection]:
        self.opened.append(session.session_id)
        connection = self.sockets[session.session_id] = SocketConnection(self, session, link)
        try:
            yield connection
        finally:
            connection.is_open = False
            del self.sockets[session.session_id]

    @property
    def seen(self) -> list[str]:
        return list({own_id(message): message.content["text"]["body"] for message in self.ledger}.values())

    # --- what a phone, or the network, does

    def show(self, session_id: str, qr: str) -> None:
        """The QR is another one now."""
        self.sockets[session_id].link.pairing(Pairing(qr, QR_EXPIRES))

    async def scan(self, session_id: str) -> None:
        """A phone has paired the session."""
        connection = self.sockets[session_id]
        await connection.link.keys.set({"creds": {"creds": "paired"}})
        connection.is_open = True
        connection.link.proven(PHONE)

    def drop(self, session_id: str, error: ProviderError) -> None:
        connection = self.sockets[session_id]
        connection.is_open = False
        connection.link.lost(error)


PHONE = Proof(phone_number="+5215500000009", data={"name": "Tienda"})


class SocketConnection(SimulatedConnection):
    def __init__(self, world: SocketProvider, session: Session, link: Link) -> None:
        super().__init__(world, session, link)
        self._socket_world = world
        self.link = link
        self.is_open = False

    async def connect(self) -> Proof | None:
        await trio.sleep(self._world.latency)
        scripted = self._world.connects[self._session.session_id]
        if scripted:
            raise scripted.pop(0)
        if not await self.link.keys.get("creds", ["creds"]):
            self.link.pairing(Pairing("qr-1", QR_EXPIRES))
            return None
        self.is_open = True
        return PHONE

    async def disconnect(self) -> None:
        self.is_open = False
        await trio.lowlevel.checkpoint()

    async def logout(self) -> None:
        if self._socket_world.deaf:
            await trio.sleep_forever()
        if not self.is_open:
            raise refusal(Verdict.NOT_SENT, "not_connected")
        self._socket_world.logouts.append(self._session.session_id)

    async def pairing_code(self, phone_number: str) -> str:
        return f"CODE{phone_number[-4:]}"

    async def send(self, message: OutboundMessage) -> Accepted:
        if not self.is_open:
            raise refusal(Verdict.NOT_SENT, "not_connected")
        return await super().send(message)

    def _id_of(self, message: OutboundMessage) -> str:
        return own_id(message)


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
