"""One WhatsApp session: the only task that touches its provider, limiter and breaker.

The object outlives its runs. `run` is one life: it opens the connection, takes up what the store holds, makes
the world match the desired state, and serves its mailbox until it crashes or is cancelled. Idle, it is a
single sleeping task: sends and deliveries start tasks of their own while they have work.

What an actor does is done by its parts: `Document` (its state, in memory and stored), `Connecting`, `Outbox`,
`Statuses`, `Inbox`, `Fetching`; a `Parting` is made where it is to let go of its provider. The actor puts them together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec
import trio

from wad.actors.breaker import BreakerState
from wad.actors.connecting import Connecting
from wad.actors.document import Document
from wad.actors.fetching import Fetching
from wad.actors.history import History
from wad.actors.inbox import Inbox, flow_events_of
from wad.actors.keys import SessionKeys
from wad.actors.link import SessionLink
from wad.actors.mailbox import Envelope, Mailbox
from wad.actors.outbox import Outbox
from wad.actors.pacing import MARKETING_PAUSE
from wad.actors.parting import Parting
from wad.actors.requests import Call, ChangeProvider, Connect, Disconnect, Logout, Probe, Reopen
from wad.actors.services import Services
from wad.actors.statuses import Statuses
from wad.errors import ProviderError, StoreUnavailable
from wad.events import MarketingPaused
from wad.models import (
    Content,
    DesiredState,
    FlowEvent,
    Inbound,
    InboundMessage,
    InboxItem,
    Media,
    OutboundMessage,
    QueueStatus,
    Reason,
    Session,
    SessionId,
    SessionState,
    Status,
    StatusUpdate,
    new_rev,
)
from wad.providers.base import Connection, ProviderKind

#: Longer than any one send may take (a whole attempt has 35 s).
SEND_TIMEOUT = 40.0
_BREAKER_OPEN: Final = Reason("breaker_open", "sends are held: too many calls to the provider failed")
_ISOLATED: Final = Reason(
    "breaker_isolated", "sends are held until somebody closes the breaker", needs_person=True
)


class SessionActor:
    """A session and its life. `submit` and `receive` may be called by anybody: they go through the store."""

    __slots__ = (
        "_changing",
        "_fetching",
        "_history",
        "_keys",
        "_nursery",
        "_queue_replies",
        "_reopening",
        "_revived",
        "_runs",
        "_services",
        "connecting",
        "connection",
        "document",
        "ended",
        "forget_at",
        "inbox",
        "kind",
        "last_ack_at",
        "last_inbound_at",
        "last_outbound_at",
        "mailbox",
        "outbox",
        "restarts",
        "statuses",
    )

    def __init__(
        self,
        session: Session,
        kind: ProviderKind,
        services: Services,
        *,
        queue_replies: Callable[[SessionActor, InboxItem, Sequence[Content]], Awaitable[None]],
        forget: Callable[[str, SessionId], Awaitable[None]],
    ) -> None:
        """*forget* has the provider of that name remove what it keeps of the session outside of the store."""
        self.document = Document(services, session, status=self.status, tell=self._tell_flow)
        self.kind = kind
        self.mailbox = Mailbox()
        self.restarts = 0
        self.ended: trio.Event | None = None  # made by whoever waits for it to live no more
        self._changing: trio.Lock | None = None  # made when first asked for: few sessions are ever changed
        self._revived: trio.Event | None = None  # set to end the rest of a failed session
        self.last_inbound_at: datetime | None = None
        self.last_outbound_at: datetime | None = None
        self.last_ack_at: datetime | None = None
        self._services = services
        self._queue_replies = queue_replies
        self.forget_at = forget
        self._runs = 0
        self._nursery: trio.Nursery | None = None
        self.connection: Connection | None = None
        self._reopening = False
        self._keys: SessionKeys | None = None  # made when first asked for: most providers have none
        self._fetching: Fetching | None = None  # made with the first file
        self._history: History | None = None
        current = self._current  # one for all: ten thousand sessions have one each
        self.inbox = Inbox(
            services,
            current,
            queue_replies=self._queue,
            on_gone=self._disable_flow,
            on_files=self._fetch,
        )
        self.outbox = Outbox(
            services,
            current,
            on_needs_person=self._needs_person,
            on_accepted=self._accepted,
            on_marketing_paused=self._marketing_paused,
            tell=self._tell,
            kind=self._its_kind,
        )
        self.statuses = Statuses(services, current, self.outbox, tell=self._tell)
        self.connecting = Connecting(
            services,
            self.document,
            self.outbox,
            self.inbox,
            status=self.status,
            on_connected=self._connected,
        )
        self._history_of()  # before any webhook can arrive

    def __repr__(self) -> str:
        return f"<SessionActor {self.session.session_id} {self.session.provider} {self.session.state}>"

    @property
    def session(self) -> Session:
        return self.document.session

    # --- the snapshot: from memory, no I/O ----------------------------------------------------------

    def status(self) -> Status:
        session = self.session
        now = trio.current_time()
        state, reason = self.state(now)
        return Status(
            session_id=session.session_id,
            shop_id=session.shop_id,
            provider=session.provider,
            phone_number=session.phone_number,
            desired_state=session.desired_state,
            state=state,
            is_connected=state is SessionState.CONNECTED,
            reason=reason,
            last_seen=self.document.last_seen or session.last_seen,
            qr_code=session.qr_code,
            qr_expires_at=self.document.qr_expires_at,
            since=self.document.since,
            link="linked" if session.state in (SessionState.CONNECTED, SessionState.DEGRADED) else None,
            last_inbound_at=self.last_inbound_at,
            last_outbound_at=self.last_outbound_at,
            last_ack_at=self.last_ack_at,
            restarts=self.restarts,
            next_retry_at=self.connecting.next_retry_at,
            breaker=self.outbox.breaker.state(now),
            rate=self.outbox.pacing.rate,
            rates=self.outbox.pacing.rates,
            queue=QueueStatus(self.outbox.depth, round(self.outbox.oldest_seconds(), 1)),
            node=self._services.node,
            drained=session.settings.drained,
        )

    @property
    def is_proven(self) -> bool:
        """Whether its provider has ever told it, for these credentials, that the account is its own."""
        return bool(self.session.connection_data)

    def state(self, now: float) -> tuple[SessionState, Reason | None]:
        """The state, with what memory knows better than the last write: stale proof, an open breaker."""
        session = self.session
        if session.state is not SessionState.CONNECTED:
            return session.state, session.reason
        match self.outbox.breaker.state(now):
            case BreakerState.OPEN:
                return SessionState.DEGRADED, _BREAKER_OPEN
            case BreakerState.ISOLATED:
                return SessionState.DEGRADED, _ISOLATED
            case BreakerState.CLOSED | BreakerState.HALF_OPEN:
                pass
        if self.connecting.proof_age > self._services.limits.proof_ttl:
            return SessionState.DEGRADED, Reason(
                "proof_stale", f"the account gave no sign of life for {self._services.limits.proof_ttl:.0f} s"
            )
        return session.state, session.reason

    def _current(self) -> Session:
        return self.session

    # --- one life -----------------------------------------------------------------------------------

    async def run(self, *, restored: bool, has_work: bool) -> None:
        """Live until cancelled. Whatever is raised is a crash.

        *has_work*: whether the store may hold open rows. Only a restore that looked can say no. *restored*: in
        its first life it waits to be told when to connect, for ten thousand may be restored at once.
        """
        load = has_work or self._runs > 0
        waits = restored and self._runs == 0
        self._runs += 1
        try:
            while True:
                self._reopening = False
                await self._live(load=load, connect=not waits)
                if not self._reopening:
                    return
                self._closed()
                load, waits = True, False
        finally:
            self._closed()

    async def _live(self, *, load: bool, connect: bool) -> None:
        """Serve the mailbox over one connection. Sends have a nursery of their own, around the other's.

        So a crash of anything else lets the sends in hand finish, which would be in doubt if it cancelled them.
        """
        async with (
            self.kind.open(self.session, SessionLink(self, self._services)) as connection,
            trio.open_nursery() as sends,
        ):
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self.connection = connection
                    self.document.open(nursery)
                    self.connecting.open(connection, nursery, self._history_of())
                    self.outbox.open(connection, sends)
                    self.inbox.open(nursery)
                    if self._fetching is not None:
                        self._fetching.open(connection, nursery)
                    try:
                        if load:
                            await self._load()
                        await Parting(self).settle_formers()
                        if self.session.desired_state is DesiredState.CONNECTED:
                            if connect and not self.connecting.stays:
                                self.connecting.start()
                        elif self.session.state not in (SessionState.CREATED, SessionState.LOGGED_OUT):
                            self.document.be(SessionState.DISCONNECTED, None)
                        await self.mailbox.serve(self._handle)
                    finally:
                        self._without_nursery()  # which ends now, while the sends in hand may take a while
            finally:
                with trio.move_on_after(SEND_TIMEOUT):
                    await self.outbox.drain()
                sends.cancel_scope.cancel()

    def _closed(self) -> None:
        self._without_nursery()
        self.connection = None
        self.outbox.close()

    def _without_nursery(self) -> None:
        """Start nothing more. What comes in is stored, and the next run takes it up."""
        self._nursery = None
        self.document.close()
        self.connecting.close()
        self.inbox.close()
        if self._fetching is not None:
            self._fetching.close()

    async def _load(self) -> None:
        await self.statuses.load()
        await self.outbox.load()
        await self.inbox.load()
        if waiting := await self._services.patient.open_media(self.session.session_id):
            self.fetching.load(waiting)

    @property
    def keys(self) -> SessionKeys:
        if self._keys is None:
            self._keys = SessionKeys(self._services, self.session.session_id)
        return self._keys

    @property
    def busy(self) -> bool:
        """Whether it has anything open at all."""
        return not self.outbox.is_idle or len(self.inbox.lanes) > 0 or self.files_waiting > 0

    @property
    def files_waiting(self) -> int:
        """Files of customers that are still to be fetched."""
        return len(self._fetching.lanes) if self._fetching is not None else 0

    @property
    def fetching(self) -> Fetching:
        if self._fetching is None:
            self._fetching = Fetching(self._services, self._current, self._its_kind)
            if self._nursery is not None and self.connection is not None:
                self._fetching.open(self.connection, self._nursery)
        return self._fetching

    @property
    def is_saving(self) -> bool:
        """Whether its state is still to be written."""
        return self.document.is_saving

    async def drain(self) -> None:
        """Take up nothing new; return once what is in hand has its result on disk, and the state is there too."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbox.drain)
            nursery.start_soon(self.inbox.drain)
            nursery.start_soon(self.document.save_now)  # whatever hangs
        await self.document.save_now()

    async def _handle(self, envelope: Envelope) -> None:
        assert self._nursery is not None
        assert self.connection is not None
        match envelope.request:
            case Call(work=work):
                self._nursery.start_soon(envelope.settle, partial(work, self.connection))
            case Connect():
                await envelope.settle(self.connecting.at_once)
            case Probe():
                await envelope.settle(self.connecting.probe)
            case Disconnect():
                await envelope.settle(Parting(self).disconnect)
            case Logout():
                await envelope.settle(Parting(self).logout)
            case Reopen():
                await envelope.settle(self.reopen)
            case ChangeProvider(write=write):
                await envelope.settle(partial(Parting(self).change_provider, write))
            case other:
                raise AssertionError(f"an actor cannot be asked for {other!r}")

    async def reopen(self) -> None:
        """Begin another life, once what is in hand has its result on disk."""
        await self.drain()
        self._reopening = True
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def crashed(self, error: BaseException, restart_in: float | None) -> None:
        """This life is over. Until the next one proves itself nobody is told that the session is connected."""
        self.restarts += 1
        if self.connecting.stays:
            return  # the next life does not try either
        if restart_in is not None and self.session.desired_state is DesiredState.CONNECTED:
            self.connecting.next_retry_at = self._services.now() + timedelta(seconds=restart_in)
            self.document.be(SessionState.CONNECTING, Reason("crashed", f"restarts after a crash: {error!r}"))

    async def rest(self, reason: Reason, seconds: float) -> None:
        """Be `failed` for *seconds*, or until `revive`: the supervisor gave up on restarting for now."""
        self._revived = revived = trio.Event()
        try:
            self.document.be(SessionState.FAILED, reason)
            self.connecting.next_retry_at = self._services.now() + timedelta(seconds=seconds)
            await self.change(store_patiently=True)
            with trio.move_on_after(seconds):
                await revived.wait()
            async with self.changing:
                pass
        finally:
            self._revived = None

    @property
    def is_leaving(self) -> bool:
        """Whether it is about to live no more: nothing new may begin."""
        return self.ended is not None

    @property
    def is_resting(self) -> bool:
        """Whether it has no life now, and its mailbox is closed: what it was asked to do, its next life does."""
        return self._revived is not None

    @property
    def changing(self) -> trio.Lock:
        """Held by whoever changes what it is, one at a time; and while it is held, a rest does not end."""
        if self._changing is None:
            self._changing = trio.Lock()
        return self._changing

    def revive(self) -> None:
        if self._revived is not None:
            self._revived.set()

    def retune(self) -> None:
        """Take up the limits of changed settings."""
        self.outbox.retune()

    # --- what comes in ------------------------------------------------------------------------------

    async def received(self, events: Sequence[Inbound]) -> None:
        """Store what came in, whoever carried it. On return it is on disk. Raises StoreUnavailable."""
        if events:
            await self.received_by(self.session.provider, events)

    async def received_by(self, provider: str, events: Sequence[Inbound]) -> None:
        """As `received`, of *provider*, which the session may have left."""
        self.heard(provider, events)
        await self.take_in(provider, events)

    def heard(self, provider: str, events: Sequence[Inbound]) -> None:
        """Know that *events* came, stored or not. Of a provider that it has left they prove nothing."""
        now = self._services.now()
        if events and provider == self.session.provider:
            self.connecting.alive()
        for event in events:
            match event:
                case StatusUpdate():
                    self.last_ack_at = now
                case InboundMessage():
                    self.last_inbound_at = now
                    number = event.number.id if event.number is not None else ""
                    self.outbox.pacing.heard(number, trio.current_time())

    async def take_in(self, provider: str, events: Sequence[Inbound]) -> None:
        """Store *events* of *provider*. On return they are on disk. Raises StoreUnavailable."""
        statuses = [event for event in events if isinstance(event, StatusUpdate)]
        others = [event for event in events if not isinstance(event, StatusUpdate)]
        try:
            if statuses:
                await self.statuses.receive(statuses)
            if others:
                await self.inbox.receive(others, provider=provider)
        except StoreUnavailable:
            self.connecting.refused()
            raise

    # --- hooks of the parts -------------------------------------------------------------------------

    def _its_kind(self) -> ProviderKind:
        return self.kind

    def _history_of(self) -> History | None:
        """What its provider still knows of what was missed. It is of this life's provider, and outlives the life."""
        if not self.kind.capabilities.inbound_history:
            self._history = None
        elif self._history is None:
            self._history = History(self._services, self._current, self.received)
        return self._history

    def _marketing_paused(self, message: OutboundMessage, error: ProviderError) -> None:
        until = self._services.now() + timedelta(seconds=error.retry_after or MARKETING_PAUSE)
        paused = MarketingPaused(self.status(), message.number, until, error.code)
        self._services.events.publish(paused)
        if self._nursery is not None:
            data = paused.data
            self._nursery.start_soon(
                self.inbox.tell,
                [FlowEvent(type="session.marketing_paused", dedupe_key=f"k:{new_rev()}", data=data)],
            )

    def _needs_person(self, error: ProviderError) -> None:
        self.connecting.needs_person(error)

    async def _queue(self, item: InboxItem, replies: Sequence[Content]) -> None:
        await self._queue_replies(self, item, replies)

    def _fetch(self, media: Sequence[Media]) -> None:
        if media:
            self.fetching.offer(media)

    def _connected(self) -> None:
        if self._fetching is not None:
            self._fetching.wake()

    async def _tell_flow(self, events: Sequence[FlowEvent]) -> None:
        await self.inbox.tell(events)

    async def _accepted(self, message: OutboundMessage) -> None:
        self.connecting.alive()
        self.last_outbound_at = message.updated_at
        await self.statuses.accepted(message)

    async def _tell(self, messages: Sequence[OutboundMessage]) -> None:
        """Store what became of *messages* for the flow, where it asked for that."""
        flows = self._services.flows
        if flows.wants(self.session, "message.status") or flows.wants(self.session, "message.dead_letter"):
            await self.inbox.tell([event for message in messages for event in flow_events_of(message)])

    async def _disable_flow(self) -> None:
        await self.change(
            store_patiently=True,
            settings=msgspec.structs.replace(self.session.settings, flow_disabled=True),
        )
        self.document.be(
            self.session.state, Reason("flow_gone", "the flow answered 410 Gone and is disabled")
        )

    # --- what others wait for, and change -----------------------------------------------------------

    def be(self, state: SessionState) -> None:
        """Be in *state*, as somebody wanted: there is no other reason."""
        self.document.be(state, None)

    async def change_of_state(self) -> None:
        """Return when the state, or its reason, is another one."""
        await self.document.change_of_state()

    async def isolate(self) -> None:
        """Hold its sends, in the lives to come as well, until `close_breaker`. Raises StoreUnavailable."""
        await self._set_isolated(True)
        self.outbox.isolate()

    async def close_breaker(self) -> None:
        """Let its sends go, whatever opened its breaker. Raises StoreUnavailable."""
        await self._set_isolated(False)
        self.outbox.close_breaker()

    async def _set_isolated(self, isolated: bool) -> None:
        settings = self.session.settings
        if settings.isolated != isolated:
            await self.change(settings=msgspec.structs.replace(settings, isolated=isolated))

    async def first_try(self) -> None:
        """Connect, and return once the provider has answered for the first time, whatever it said."""
        await self.mailbox.ask(Connect())
        while self.session.state is SessionState.CONNECTING and self.session.reason is None:
            await self.change_of_state()

    async def change(self, *, store_patiently: bool = False, **changes: Any) -> Session:
        """Write *changes* to the session's document. Raises StoreUnavailable, but for *store_patiently*."""
        return await self.document.write(patiently=store_patiently, **changes)
