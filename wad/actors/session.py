"""One WhatsApp session: the only task that touches its provider, limiter and breaker.

The object outlives its runs. `run` is one life: it opens the connection, takes up what the store holds, makes
the world match the desired state, and serves its mailbox until it crashes or is cancelled. Idle, it is a
single sleeping task: sends and deliveries start tasks of their own while they have work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import trio

from wad.actors.document import Document
from wad.actors.inbox import Inbox, flow_events_of
from wad.actors.keys import SessionKeys
from wad.actors.losses import WINDOW, Losses
from wad.actors.mailbox import Envelope, Mailbox
from wad.actors.outbox import Outbox
from wad.actors.requests import Call, Connect, Disconnect, Logout, Probe, Reopen
from wad.actors.services import Services
from wad.actors.statuses import Statuses
from wad.errors import ProviderError
from wad.events import ProviderCalled, ReconnectLoop, SessionStateChanged
from wad.models import (
    NEEDING_PERSON,
    Content,
    DesiredState,
    FlowEvent,
    Inbound,
    InboundMessage,
    InboxItem,
    OutboundMessage,
    QueueStatus,
    Reason,
    Session,
    SessionState,
    Status,
    StatusUpdate,
    new_rev,
)
from wad.providers.base import Connection, Pairing, Proof, ProviderKind

#: Seconds between a change of state and its writing: what passes by, such as `connecting`, is not worth a write.
SAVE_AFTER = 0.5
#: Longer than any one send may take (a whole attempt has 35 s).
SEND_TIMEOUT = 40.0
#: Seconds that a logout may take: a round trip, and a slow one.
LOGOUT_TIMEOUT = 15.0
_UNTOLD = "WhatsApp could not be told, so the phone may list the device still; remove it there"


class SessionActor:
    """A session and its life. `submit` and `receive` may be called by anybody: they go through the store."""

    __slots__ = (
        "_changed",
        "_connect_scope",
        "_connection",
        "_document",
        "_keys",
        "_losses",
        "_nursery",
        "_proof_at",
        "_queue_replies",
        "_reopening",
        "_revived",
        "_runs",
        "_saving",
        "_services",
        "ended",
        "inbox",
        "kind",
        "last_ack_at",
        "last_inbound_at",
        "last_outbound_at",
        "last_seen",
        "mailbox",
        "next_retry_at",
        "outbox",
        "qr_expires_at",
        "restarts",
        "since",
        "statuses",
    )

    def __init__(
        self,
        session: Session,
        kind: ProviderKind,
        services: Services,
        *,
        queue_replies: Callable[[SessionActor, InboxItem, Sequence[Content]], Awaitable[None]],
    ) -> None:
        self._document = Document(services, session)
        self.kind = kind
        self.mailbox = Mailbox()
        self.restarts = 0
        self.ended: trio.Event | None = None  # made by whoever waits for it to live no more
        self._revived: trio.Event | None = None  # set to end the rest of a failed session
        self.since = session.updated_at
        self.next_retry_at: datetime | None = None
        self.qr_expires_at: datetime | None = None
        self.last_seen: datetime | None = None
        self.last_inbound_at: datetime | None = None
        self.last_outbound_at: datetime | None = None
        self.last_ack_at: datetime | None = None
        self._services = services
        self._queue_replies = queue_replies
        self._runs = 0
        self._nursery: trio.Nursery | None = None
        self._connection: Connection | None = None
        self._changed: trio.Event | None = None
        self._connect_scope: trio.CancelScope | None = None
        self._reopening = False
        self._proof_at: float | None = None
        self._saving = False
        self._keys: SessionKeys | None = None  # made when first asked for: most providers have none
        self._losses = Losses()
        self.inbox = Inbox(
            services,
            self._current,
            queue_replies=lambda item, replies: self._queue_replies(self, item, replies),
            on_gone=self._disable_flow,
        )
        self.outbox = Outbox(
            services,
            self._current,
            on_needs_person=self._needs_person,
            on_accepted=self._accepted,
            tell=self._tell,
            resends=lambda: self.kind.capabilities.settlement == "resend",
        )
        self.statuses = Statuses(services, self._current, self.outbox, tell=self._tell)

    def __repr__(self) -> str:
        return f"<SessionActor {self.session.session_id} {self.session.provider} {self.session.state}>"

    @property
    def session(self) -> Session:
        return self._document.session

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
            last_seen=self.last_seen or session.last_seen,
            qr_code=session.qr_code,
            qr_expires_at=self.qr_expires_at,
            since=self.since,
            link="linked" if session.state in (SessionState.CONNECTED, SessionState.DEGRADED) else None,
            last_inbound_at=self.last_inbound_at,
            last_outbound_at=self.last_outbound_at,
            last_ack_at=self.last_ack_at,
            restarts=self.restarts,
            next_retry_at=self.next_retry_at,
            breaker=self.outbox.breaker.state(now),
            queue=QueueStatus(self.outbox.depth, round(self.outbox.oldest_seconds(), 1)),
            node=self._services.node,
        )

    @property
    def proof_age(self) -> float:
        """Seconds since the account last gave a sign of life; inf where it never did in this process."""
        return float("inf") if self._proof_at is None else trio.current_time() - self._proof_at

    @property
    def is_proven(self) -> bool:
        """Whether its provider has ever told it, for these credentials, that the account is its own."""
        return bool(self.session.connection_data)

    def state(self, now: float) -> tuple[SessionState, Reason | None]:
        """The state, with what memory knows better than the last write: stale proof, an open breaker."""
        session = self.session
        if session.state is not SessionState.CONNECTED:
            return session.state, session.reason
        if (breaker := self.outbox.breaker.state(now)) in ("open", "isolated"):
            return SessionState.DEGRADED, Reason(
                f"breaker_{breaker}", "sends are held: too many calls to the provider failed"
            )
        if self.proof_age > self._services.limits.proof_ttl:
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
        async with self.kind.open(self.session, self) as connection, trio.open_nursery() as sends:
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._connection = connection
                    self.outbox.open(connection, sends)
                    self.inbox.open(nursery)
                    if load:
                        await self._load()
                    if self.session.desired_state is DesiredState.CONNECTED:
                        if connect and not self.stays:
                            self._start_connecting()
                    elif self.session.state not in (SessionState.CREATED, SessionState.LOGGED_OUT):
                        self._set(SessionState.DISCONNECTED, None)
                    await self.mailbox.serve(self._handle)
            finally:
                with trio.move_on_after(SEND_TIMEOUT):
                    await self.outbox.drain()
                sends.cancel_scope.cancel()

    def _closed(self) -> None:
        self._nursery = self._connection = None
        self.outbox.close()
        self.inbox.close()

    async def _load(self) -> None:
        await self.statuses.load()
        await self.outbox.load()
        await self.inbox.load()

    @property
    def busy(self) -> bool:
        """Whether it has anything open at all."""
        return len(self.outbox.lanes) > 0 or len(self.inbox.lanes) > 0

    @property
    def is_saving(self) -> bool:
        """Whether its state is still to be written."""
        return self._saving

    async def drain(self) -> None:
        """Take up nothing new; return once what is in hand has its result on disk, and the state is there too."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbox.drain)
            nursery.start_soon(self.inbox.drain)
            nursery.start_soon(self._save_now)  # whatever hangs
        await self._save_now()

    async def _handle(self, envelope: Envelope) -> None:
        assert self._nursery is not None
        assert self._connection is not None
        match envelope.request:
            case Call(work=work):
                self._nursery.start_soon(envelope.settle, partial(work, self._connection))
            case Connect():
                await envelope.settle(self._connect_now)
            case Probe():
                await envelope.settle(self._probe)
            case Disconnect():
                await envelope.settle(self._disconnect)
            case Logout():
                await envelope.settle(self._logout)
            case Reopen():
                await envelope.settle(self._reopen)
            case other:
                raise AssertionError(f"an actor cannot be asked for {other!r}")

    async def _reopen(self) -> None:
        await self.drain()
        self._reopening = True
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    # --- connecting ---------------------------------------------------------------------------------

    async def _connect_now(self) -> None:
        """Try at once, whatever backoff was being waited for. A session that is connected stays so meanwhile."""
        if self.session.state is SessionState.PAIRING and self._connect_scope is None:
            return  # it waits for its phone already
        self._stop_connecting()
        self._start_connecting(quietly=self.session.state is SessionState.CONNECTED)

    async def _probe(self) -> None:
        if (
            self._connect_scope is None
            and self.session.desired_state is DesiredState.CONNECTED
            and self.session.state is not SessionState.PAIRING
            and not self.stays
        ):
            self._start_connecting(quietly=True)

    async def _disconnect(self) -> None:
        await self._hold()
        assert self._connection is not None
        await self._connection.disconnect()
        self._set(SessionState.DISCONNECTED, None)

    async def _logout(self) -> None:
        """Unpair. Where the other side cannot be told, the keys go all the same, and the reason says so."""
        await self._hold()
        assert self._connection is not None
        detail = "logged out as asked"
        with trio.move_on_after(LOGOUT_TIMEOUT) as scope:
            try:
                await self._connection.logout()
            except ProviderError as error:
                detail = f"{_UNTOLD}: {error.detail}"
        if scope.cancelled_caught:
            detail = f"{_UNTOLD}: no answer within {LOGOUT_TIMEOUT:.0f} s"
        await self._connection.disconnect()
        await self.forget_pairing(detail)

    async def forget_pairing(self, detail: str) -> None:
        """Remove the keys, and be `logged_out`: the next `connect` pairs anew."""
        await self.keys.clear()
        await self.kind.forget(self.session.session_id)
        self._document.put(connection_data={})
        self._set(SessionState.LOGGED_OUT, Reason("logged_out", detail, needs_person=True))

    async def _hold(self) -> None:
        """Send nothing more, and return once what is in hand has its result on disk."""
        self._stop_connecting()
        self.outbox.allow(False)
        await self.outbox.drain()
        self.outbox.resume()

    def _start_connecting(
        self, *, quietly: bool = False, after: float = 0.0, why: Reason | None = None
    ) -> None:
        assert self._nursery is not None
        scope = self._connect_scope = trio.CancelScope()
        if not quietly:
            self._set(SessionState.CONNECTING, why)
        self._nursery.start_soon(self._connect, scope, after)

    def _stop_connecting(self) -> None:
        if self._connect_scope is not None:
            self._connect_scope.cancel()
            self._connect_scope = self.next_retry_at = None

    async def _connect(self, scope: trio.CancelScope, after: float) -> None:
        """Ask the provider for proof until it gives some, waits for a phone, or says that a person is needed."""
        first, most = self._services.limits.connect_backoff
        pause = first
        with scope:
            if after:
                await self._pause(after)
            while not await self._settled():
                await self._pause(pause)
                pause = min(pause * 2, most)
            self.next_retry_at = None
        if self._connect_scope is scope:
            self._connect_scope = None

    async def _pause(self, seconds: float) -> None:
        seconds *= self._services.random.uniform(0.5, 1.0)
        self.next_retry_at = self._services.now() + timedelta(seconds=seconds)
        await trio.sleep(seconds)

    async def _settled(self) -> bool:
        """One try; whether there is nothing more to try. How many sessions of the process try at once is bounded."""
        assert self._connection is not None
        try:
            async with self._services.connecting:
                proof = await self._connection.connect()
        except ProviderError as error:
            if error.needs_person:
                self._needs_person(error)
                return True
            was_up = self.session.state in (SessionState.CONNECTED, SessionState.DEGRADED)
            self._set(
                SessionState.DEGRADED if was_up else SessionState.CONNECTING,
                Reason(error.code, error.detail),
            )
            return False
        if proof is not None:
            self.proven(proof)
        elif self.session.state in (SessionState.CONNECTING, SessionState.CONNECTED, SessionState.DEGRADED):
            self.pairing(Pairing(None, None))  # the connection has not told what to show yet
        return True

    @property
    def stays(self) -> bool:
        """Whether it waits for being told to connect: trying by itself would not help, or would do harm."""
        return self.session.reason is not None and self.session.reason.stays

    def _needs_person(self, error: ProviderError) -> None:
        state = NEEDING_PERSON.get(error.code, SessionState.BAD_CREDENTIALS)
        self.outbox.allow(False)
        self._set(state, Reason(error.code, error.detail, needs_person=True))

    def crashed(self, error: BaseException, restart_in: float | None) -> None:
        """This life is over. Until the next one proves itself nobody is told that the session is connected."""
        self.restarts += 1
        if self.stays:
            return  # the next life does not try either
        if restart_in is not None and self.session.desired_state is DesiredState.CONNECTED:
            self.next_retry_at = self._services.now() + timedelta(seconds=restart_in)
            self._set(SessionState.CONNECTING, Reason("crashed", f"restarts after a crash: {error!r}"))

    async def rest(self, reason: Reason, seconds: float) -> None:
        """Be `failed` for *seconds*, or until `revive`: the supervisor gave up on restarting for now."""
        self._revived = revived = trio.Event()
        try:
            self._set(SessionState.FAILED, reason)
            self.next_retry_at = self._services.now() + timedelta(seconds=seconds)
            await self.change(store_patiently=True)
            with trio.move_on_after(seconds):
                await revived.wait()
        finally:
            self._revived = None

    @property
    def is_resting(self) -> bool:
        """Whether it has no life now, and its mailbox is closed: what it was asked to do, its next life does."""
        return self._revived is not None

    def revive(self) -> None:
        if self._revived is not None:
            self._revived.set()

    def unproven(self) -> None:
        """Its credentials are others now: what the old ones proved counts no more."""
        self.outbox.allow(False)
        if self.session.desired_state is DesiredState.CONNECTED:
            self._set(SessionState.CONNECTING, None)

    def retune(self) -> None:
        """Take up the limits of changed settings."""
        settings, pace = self.session.settings, self._services.pace(self.session.provider)
        self.outbox.limiter.retune(
            trio.current_time(), rate=settings.rate or pace.rate, burst=settings.burst or pace.burst
        )

    # --- what a connection tells (providers.base.Link) ----------------------------------------------

    def called(self, operation: str, result: str, seconds: float) -> None:
        self._services.events.publish(ProviderCalled(self.session.provider, operation, result, seconds))

    @property
    def keys(self) -> SessionKeys:
        if self._keys is None:
            self._keys = SessionKeys(self._services, self.session.session_id)
        return self._keys

    def alive(self) -> None:
        """The account gave a sign of life. Written with the next change: a write for each would be a waste."""
        self._proof_at = trio.current_time()
        self.last_seen = self._services.now()

    def proven(self, proof: Proof) -> None:
        if self.session.desired_state is not DesiredState.CONNECTED:
            return  # told to disconnect meanwhile: this is about to be let go of
        self.alive()
        self._document.put(
            phone_number=proof.phone_number or self.session.phone_number, connection_data=proof.data
        )
        self._set(SessionState.CONNECTED, None)
        self.outbox.allow(True)

    def pairing(self, pairing: Pairing) -> None:
        if self.session.desired_state is not DesiredState.CONNECTED:
            return
        self.outbox.allow(False)
        self._set(SessionState.PAIRING, None, pairing)

    def lost(self, error: ProviderError) -> None:
        if self._nursery is None or self.session.desired_state is not DesiredState.CONNECTED:
            return
        if self.session.reason is not None and self.session.reason.needs_person:
            return  # it stands already
        self.outbox.allow(False)
        if error.needs_person:
            self._stop_connecting()
            self._needs_person(error)
            return
        self._losses.add(trio.current_time())
        why = Reason(error.code, error.detail)
        if self._losses.is_loop:
            why = Reason(
                "reconnect_loop",
                f"lost {self._losses.count} times in {WINDOW / 60:.0f} minutes, last by {error.code}: {error.detail}",
            )
        self._stop_connecting()  # a probe that is under way may have its proof from before
        self._start_connecting(after=self._losses.pause, why=why)
        if self._losses.is_news():
            self._services.events.publish(ReconnectLoop(self.status(), self._losses.count, WINDOW))
            self._nursery.start_soon(self._tell_loop)

    async def _tell_loop(self) -> None:
        data = msgspec.to_builtins(self.status()) | {"losses": self._losses.count, "periodSeconds": WINDOW}
        await self.inbox.tell(
            [FlowEvent(type="session.reconnect_loop", dedupe_key=f"l:{new_rev()}", data=data)]
        )

    async def sent_content(self, provider_message_id: str) -> Content | None:
        found = await self._services.patient.messages_by_provider_id(
            self.session.session_id, [provider_message_id]
        )
        message = found.get(provider_message_id)
        return None if message is None else message.content

    async def received_content(self, provider_message_id: str) -> Content | None:
        item = await self._services.patient.inbox_by_dedupe(
            self.session.session_id, f"m:{provider_message_id}"
        )
        return item.event.content if item is not None and isinstance(item.event, InboundMessage) else None

    async def received(self, events: Sequence[Inbound]) -> None:
        """Store what came in, whoever carried it. On return it is on disk. Raises StoreUnavailable."""
        if not events:
            return
        now = self._services.now()
        self.alive()
        statuses = [event for event in events if isinstance(event, StatusUpdate)]
        others = [event for event in events if not isinstance(event, StatusUpdate)]
        for event in others:
            if isinstance(event, InboundMessage):
                self.last_inbound_at = now
                self.outbox.limiter.spend(trio.current_time())
        if statuses:
            self.last_ack_at = now
            await self.statuses.receive(statuses)
        if others:
            await self.inbox.receive(others)

    # --- hooks of the parts -------------------------------------------------------------------------

    async def _accepted(self, message: OutboundMessage) -> None:
        self.alive()
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
        self._set(self.session.state, Reason("flow_gone", "the flow answered 410 Gone and is disabled"))

    # --- the stored document ------------------------------------------------------------------------

    def _set(self, state: SessionState, reason: Reason | None, pairing: Pairing | None = None) -> None:
        """Be in *state* because of *reason*: at once in memory, soon on disk."""
        before = self.session
        qr, self.qr_expires_at = (pairing.qr, pairing.expires_at) if pairing is not None else (None, None)
        if (before.state, before.reason, before.qr_code) == (state, reason, qr):
            return
        if before.state is not state:
            self.since = self._services.now()
        self._document.put(
            state=state, reason=reason, is_connected=state is SessionState.CONNECTED, qr_code=qr
        )
        self._services.events.publish(SessionStateChanged(self.status(), before.state))
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        self._save_soon()

    async def change_of_state(self) -> None:
        """Return when the state, or its reason, is another one."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    async def first_try(self) -> None:
        """Connect, and return once the provider has answered for the first time, whatever it said."""
        await self.mailbox.ask(Connect())
        while self.session.state is SessionState.CONNECTING and self.session.reason is None:
            await self.change_of_state()

    def _save_soon(self) -> None:
        if self._document.is_stored:
            return
        if not self._saving and self._nursery is not None:
            self._saving = True
            self._nursery.start_soon(self._save)

    async def _save(self) -> None:
        try:
            await trio.sleep(SAVE_AFTER)
            while not self._document.is_stored:
                await self._save_now()
        finally:
            self._saving = False

    async def _save_now(self) -> None:
        """Write the state, if it is still to be written, and what the flow wants to hear of it."""
        if not self._saving or self._document.is_stored:
            return
        before = self._document.stored
        after = await self.change(store_patiently=True)
        await self.inbox.tell(list(self._changes_for_flow(before, after)))

    def _changes_for_flow(self, before: Session, after: Session) -> Iterator[FlowEvent]:
        if (before.state, before.reason) != (after.state, after.reason):
            status = msgspec.to_builtins(self.status())
            yield FlowEvent(type="session.state", dedupe_key=f"s:{after.rev}", data=status)
        if after.qr_code is not None and after.qr_code != before.qr_code:
            data = {
                "sessionId": after.session_id,
                "qr": after.qr_code,
                "expiresAt": msgspec.to_builtins(self.qr_expires_at),
            }
            yield FlowEvent(type="session.qr", dedupe_key=f"q:{after.rev}", data=data)

    async def change(self, *, store_patiently: bool = False, **changes: Any) -> Session:
        """Write *changes* to the session's document. Raises StoreUnavailable, but for *store_patiently*."""
        if self.last_seen is not None:
            changes.setdefault("last_seen", self.last_seen)
        return await self._document.write(patiently=store_patiently, **changes)
