"""The harness of a socket without a network (tests/simulated.py): a small one, which starts anew with every row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final, Literal

import trio

from tests.simulated import (
    PHONE,
    Behaviour,
    SocketConnection,
    SocketProvider,
    failing,
    lost_answer,
    own_id,
    refusal,
)
from wad.conformance import Doubt, Heard, Refusal, Said, SocketHarness, SocketWorld, Told
from wad.conformance.world import Cause, Script, says
from wad.errors import FieldError, ProviderError, StoreUnavailable, Verdict
from wad.models import (
    Address,
    Content,
    Credentials,
    Failure,
    Inbound,
    InboundMessage,
    MessageState,
    OutboundMessage,
    Person,
    Session,
    SessionId,
    StatusUpdate,
    utc_now,
)
from wad.providers.base import Accepted, Link, Proof

ANA: Final = "+5215512345678"


class Socket(SocketProvider):
    """All of the contract, of which the actors' tests need less."""

    name = "simulated"

    def __init__(self) -> None:
        super().__init__()
        self.contacts = 0

    def __repr__(self) -> str:
        return "<Socket>"

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return [FieldError(f"/credentials/{name}", "is not a credential") for name in credentials]

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[Line]:
        connection = self.sockets[session.session_id] = Line(self, session, link)
        try:
            yield connection
        finally:
            del self.sockets[session.session_id]


class Line(SocketConnection):
    """One session's. It tells of its calls."""

    async def connect(self) -> Proof | None:
        self._kind.contacts += 1
        with self._called("connect"):
            return await super().connect()

    async def send(self, message: OutboundMessage) -> Accepted:
        with self._called("send"):
            return await super().send(message)

    @property
    def _kind(self) -> Socket:
        assert isinstance(self._world, Socket)
        return self._world

    @contextmanager
    def _called(self, operation: str) -> Iterator[None]:
        result = "cancelled"
        try:
            yield
            result = "ok"
        except ProviderError as error:
            result = error.code
            raise
        finally:
            self.link.called(operation, result, 0.0)


class World(SocketWorld):
    """A session, and the simulated WhatsApp behind it."""

    group = Address(group_id="g-1")
    phone = PHONE.phone_number or ""
    secrets = ("paired",)

    def __init__(self, kind: Socket, session_id: str, connection: Line, heard: Heard) -> None:
        self.kind = kind
        self.connection = connection
        self.heard = heard
        self._session_id = session_id

    async def plan(self, *scripts: Script) -> None:
        for script in scripts:
            await script(self)

    async def deliver(self, message: OutboundMessage) -> Accepted:
        accepted = await self.connection.send(message)
        assert accepted.provider_message_id == own_id(self.kind.ledger[-1])
        return accepted

    async def taken(self) -> list[OutboundMessage]:
        await trio.lowlevel.checkpoint()
        return self.kind.ledger

    async def hear(self, cause: Cause, state: MessageState | None = None) -> Inbound:
        before = len(self.heard.events)
        await cause(self)  # type: ignore[operator]
        (event,) = self.heard.events[before:]
        assert says(event, state)
        return event

    async def contacts(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.kind.contacts

    async def noticed(self, provider_message_id: str, mark: Literal["read", "typing"]) -> None:
        assert provider_message_id in self.kind.read

    async def shown(self, accepted: Accepted) -> int:
        return len(
            {own_id(each) for each in self.kind.ledger if own_id(each) == accepted.provider_message_id}
        )

    async def scan(self, qr: str) -> None:
        await self.kind.scan(self._session_id)

    async def enter(self, code: str) -> None:
        await self.kind.scan(self._session_id)

    async def linked(self) -> bool:
        return self._session_id not in self.kind.logouts

    async def tell(self, event: Inbound) -> None:
        """What is not stored is told again, as long as somebody listens."""
        while self._session_id in self.kind.sockets:
            try:
                await self.heard.received([event])
            except StoreUnavailable:
                continue
            return


def does(behaviour: Behaviour) -> Script:
    """The next send goes so."""

    async def script(w: World) -> None:
        w.kind.script["*"] = [behaviour]

    return script


def refuses(verdict: Verdict, code: str) -> Script:
    return does(failing(refusal(verdict, code, provider_code="1")))


def connects(*errors: ProviderError) -> Script:
    """The next connect fails so, or does not."""

    async def script(w: World) -> None:
        w.kind.connects["shop"] = list(errors)

    return script


def drops(error: ProviderError) -> Script:
    async def script(w: World) -> None:
        w.kind.drop("shop", error)

    return script


def tells(event: Inbound) -> Script:
    async def script(w: World) -> None:
        await w.tell(event)

    return script


def message(provider_message_id: str, content: Content) -> InboundMessage:
    sender = Person(phone=ANA)
    return InboundMessage(
        provider_message_id=provider_message_id, chat=Address(phone=ANA).chat, sender=sender, content=content
    )


def status(provider_message_id: str, state: MessageState, error: Failure | None = None) -> Script:
    return tells(
        StatusUpdate(provider_message_id=provider_message_id, state=state, at=utc_now(), error=error)
    )


class SimulatedHarness(SocketHarness):
    name = "simulated"
    required = frozenset()
    contents: Mapping[str, Content] = {
        "text": {"type": "text", "text": {"body": "Hola"}},
        "image": {"type": "image", "image": {"mediaId": "up-1"}},
        "reaction": {"type": "reaction", "reaction": {"messageId": "id-0", "emoji": "👍"}},
    }

    def session(self) -> Session:
        return _session("shop")

    @asynccontextmanager
    async def world(self, *, seconds: float = 5.0) -> AsyncIterator[World]:
        async with _opened(Socket(), "shop") as w:
            await w.connection.connect()
            await w.scan("")
            w.heard.forget()
            w.kind.contacts = 0
            yield w

    @asynccontextmanager
    async def unpaired(self) -> AsyncIterator[World]:
        async with _opened(Socket(), f"of-{next(_NUMBERS)}") as w:
            yield w

    # --- sending

    def throttles(self) -> Script:
        return refuses(Verdict.THROTTLED, "number_throttled")

    def rejects(self) -> Script:
        return refuses(Verdict.REJECTED, "invalid_content")

    def proves(self) -> Script:
        return connects()

    def refuses_credentials(self) -> Script:
        return connects(refusal(Verdict.NEEDS_PERSON, "blocked"))

    def has_a_bad_day(self) -> Script:
        return connects(refusal(Verdict.NOT_SENT, "connection_lost"))

    def doubts(self) -> Mapping[str, Doubt]:
        async def script(w: World) -> None:
            w.kind.script["*"] = [lost_answer(w.kind)]

        return {"its answer is lost": Doubt(script)}

    def stalls(self) -> Mapping[str, Script]:
        async def script(w: World) -> None:
            async def behave(message: OutboundMessage) -> None:
                w.kind.ledger.append(message)
                await trio.sleep_forever()

            w.kind.script["*"] = [behave]

        return {"before the answer": script}

    def closes(self) -> Mapping[str, Refusal]:
        later, person = Verdict.NOT_SENT, Verdict.NEEDS_PERSON
        return {
            "cut": Refusal(drops(refusal(later, "connection_closed")), later, "connection_closed"),
            "replaced": Refusal(drops(refusal(person, "replaced")), person, "replaced"),
        }

    # --- what comes in

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> Script:
        return tells(message(provider_message_id, {"type": "text", "text": {"body": "hola"}}))

    def status(self, provider_message_id: str, message_id: str) -> Script:
        return status(provider_message_id, MessageState.DELIVERED)

    def said(self) -> Mapping[str, Said]:
        place: Content = {"type": "location", "location": {"latitude": 19.4, "longitude": -99.1}}
        return {"a place": Said(tells(message("id-1", place)), place)}

    def told(self) -> Mapping[str, Told]:
        failed = Failure("provider_rejected", "No")
        return {
            "read": Told(status("id-1", MessageState.READ), MessageState.READ),
            "failed": Told(status("id-1", MessageState.FAILED, failed), MessageState.FAILED),
        }

    def quoted(self, taken: Any) -> str | None:
        assert isinstance(taken, OutboundMessage)
        return taken.quotes


_NUMBERS: Final = count(1)


def _session(session_id: str) -> Session:
    now = utc_now()
    return Session(
        session_id=SessionId(session_id),
        provider="simulated",
        credentials=Credentials(),
        created_at=now,
        updated_at=now,
    )


@asynccontextmanager
async def _opened(kind: Socket, session_id: str) -> AsyncIterator[World]:
    heard = Heard()
    async with kind.open(_session(session_id), heard) as connection:
        yield World(kind, session_id, connection, heard)
