"""Whether a session is connected: asking its provider for proof, waiting for a phone, and what is lost.

`connected` is claimed only on proof, and proof grows old. A connection that fails, or is lost, is tried again by
itself, a little later each time; what waits for a person is not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf

import msgspec
import trio

from wad.actors.document import Document
from wad.actors.history import History
from wad.actors.inbox import Inbox
from wad.actors.losses import WINDOW, Losses
from wad.actors.outbox import Outbox
from wad.actors.services import Services
from wad.errors import ProviderError
from wad.events import ReconnectLoop
from wad.models import NEEDING_PERSON, DesiredState, FlowEvent, Reason, SessionState, Status, new_rev
from wad.providers.base import Connection, Pairing, Proof


class Connecting:
    """One session's tries, proofs and losses. It outlives runs; `open` gives it the connection of this one."""

    __slots__ = (
        "_connection",
        "_document",
        "_history",
        "_inbox",
        "_losses",
        "_nursery",
        "_on_connected",
        "_outbox",
        "_proof_at",
        "_scope",
        "_services",
        "_status",
        "next_retry_at",
    )

    def __init__(
        self,
        services: Services,
        document: Document,
        outbox: Outbox,
        inbox: Inbox,
        *,
        status: Callable[[], Status],
        on_connected: Callable[[], None],
    ) -> None:
        self.next_retry_at: datetime | None = None
        self._services = services
        self._document = document
        self._outbox = outbox
        self._inbox = inbox
        self._status = status
        self._on_connected = on_connected
        self._losses = Losses()
        self._proof_at: float | None = None
        self._scope: trio.CancelScope | None = None  # of the tries that are under way
        self._connection: Connection | None = None
        self._nursery: trio.Nursery | None = None
        self._history: History | None = None

    def open(self, connection: Connection, nursery: trio.Nursery, history: History | None) -> None:
        """*history*: where the provider knows what came in while nobody listened."""
        self._connection = connection
        self._nursery = nursery
        self._history = history

    def close(self) -> None:
        if self._history is not None:
            self._history.away()
        self._connection = self._nursery = self._history = None

    @property
    def proof_age(self) -> float:
        """Seconds since the account last gave a sign of life; inf where it never did in this process."""
        return inf if self._proof_at is None else trio.current_time() - self._proof_at

    @property
    def stays(self) -> bool:
        """Whether it waits for being told to connect: trying by itself would not help, or would do harm."""
        reason = self._document.session.reason
        return reason is not None and reason.stays

    @property
    def _is_wanted(self) -> bool:
        return self._document.session.desired_state is DesiredState.CONNECTED

    # --- what the actor asks for --------------------------------------------------------------------

    async def at_once(self) -> None:
        """Try now, whatever backoff was being waited for. A session that is connected stays so meanwhile."""
        state = self._document.session.state
        if state is SessionState.PAIRING and self._scope is None:
            return  # it waits for its phone already
        self.stop()
        self.start(quietly=state is SessionState.CONNECTED)

    async def probe(self) -> None:
        """Prove the account again, without a change of state meanwhile."""
        pairing = self._document.session.state is SessionState.PAIRING
        if self._scope is None and self._is_wanted and not pairing and not self.stays:
            self.start(quietly=True)

    def start(self, *, quietly: bool = False, after: float = 0.0, why: Reason | None = None) -> None:
        assert self._nursery is not None
        scope = self._scope = trio.CancelScope()
        if not quietly:
            self._document.be(SessionState.CONNECTING, why)
        self._nursery.start_soon(self._connect, scope, after)

    def stop(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            self._scope = self.next_retry_at = None

    def needs_person(self, error: ProviderError) -> None:
        state = NEEDING_PERSON.get(error.code, SessionState.BAD_CREDENTIALS)
        if self._history is not None:
            self._history.away()
        self._outbox.allow(False)
        self._document.be(state, Reason(error.code, error.detail, needs_person=True))

    def unproven(self) -> None:
        """Its credentials are others now: what the old ones proved counts no more."""
        self._outbox.allow(False)
        self._outbox.another_account()
        if self._is_wanted:
            self._document.be(SessionState.CONNECTING, None)

    # --- tries --------------------------------------------------------------------------------------

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
        if self._scope is scope:
            self._scope = None

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
                self.needs_person(error)
                return True
            was_up = self._document.session.state in (SessionState.CONNECTED, SessionState.DEGRADED)
            self._document.be(
                SessionState.DEGRADED if was_up else SessionState.CONNECTING,
                Reason(error.code, error.detail),
            )
            return False
        if proof is not None:
            self.proven(proof)
            if self._history is not None and self._nursery is not None:
                self._nursery.start_soon(self._history.catch_up, self._connection)
        elif self._document.session.state in (
            SessionState.CONNECTING,
            SessionState.CONNECTED,
            SessionState.DEGRADED,
        ):
            self.pairing(Pairing(None, None))  # the connection has not told what to show yet
        return True

    def refused(self) -> None:
        """What came in could not be kept, and the provider may not bring it again."""
        if self._history is not None and self._nursery is not None and self._connection is not None:
            self._nursery.start_soon(self._history.catch_up_soon, self._connection)

    # --- what the connection tells ------------------------------------------------------------------

    def alive(self) -> None:
        self._proof_at = trio.current_time()
        self._document.last_seen = self._services.now()

    def proven(self, proof: Proof) -> None:
        if not self._is_wanted:
            return  # told to disconnect meanwhile: this is about to be let go of
        self.alive()
        phone_number = proof.phone_number or self._document.session.phone_number
        self._document.put(phone_number=phone_number, connection_data=proof.data)
        self._outbox.pacing.told(proof.rates, trio.current_time())
        self._document.be(SessionState.CONNECTED, None)
        self._outbox.allow(True)
        self._on_connected()

    def pairing(self, pairing: Pairing) -> None:
        if not self._is_wanted:
            return
        self._outbox.allow(False)
        self._document.be(SessionState.PAIRING, None, pairing)

    def lost(self, error: ProviderError) -> None:
        if self._nursery is None or not self._is_wanted:
            return
        reason = self._document.session.reason
        if reason is not None and reason.needs_person:
            return  # it stands already
        self._outbox.allow(False)
        if error.needs_person:
            self.stop()
            self.needs_person(error)
            return
        self._losses.add(trio.current_time())
        why = Reason(error.code, error.detail)
        if self._losses.is_loop:
            why = Reason(
                "reconnect_loop",
                f"lost {self._losses.count} times in {WINDOW / 60:.0f} minutes, last by {error.code}: {error.detail}",
            )
        self.stop()  # a probe that is under way may have its proof from before
        self.start(after=self._losses.pause, why=why)
        if self._losses.is_news():
            self._services.events.publish(ReconnectLoop(self._status(), self._losses.count, WINDOW))
            self._nursery.start_soon(self._tell_loop)

    async def _tell_loop(self) -> None:
        data = msgspec.to_builtins(self._status()) | {"losses": self._losses.count, "periodSeconds": WINDOW}
        await self._inbox.tell(
            [FlowEvent(type="session.reconnect_loop", dedupe_key=f"l:{new_rev()}", data=data)]
        )
