"""A session's sends: intent on disk, then the wire, then what became of it.

    queued ──claim──▶ sending ──┬─ accepted             the provider took it
                                ├─ queued, not before T it surely did not go out (`retry`)
                                ├─ failed               it was refused for good        (a dead letter)
                                └─ unknown              it may have gone out: proof is awaited (`doubt`)

`sending` is durable before a byte leaves, one message at a time, so that after a crash exactly those are in
doubt. Nothing here decides what a provider's answer means: the provider's `Verdict` does. What follows from it is
decided by `Retry` and `Doubt`; `Moves` writes and tells it; `Lanes` knows whose turn it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import inf

import trio

from wad.actors.backlog import Backlog
from wad.actors.breaker import Breaker, BreakerState, Permit
from wad.actors.doubt import Doubt
from wad.actors.lanes import Lanes, Workers
from wad.actors.moves import Moves
from wad.actors.pacing import OF_ONE_MESSAGE, Pacing
from wad.actors.retry import HOLD, Retry, may_hold
from wad.actors.services import Services
from wad.actors.takeover import taken_over
from wad.errors import ProviderError, Verdict
from wad.events import BreakerChanged, OutboxLoaded, Throttled
from wad.failpoints import reach
from wad.models import (
    UNREADABLE,
    ChatId,
    Failure,
    MessageId,
    MessageState,
    OutboundMessage,
    Pending,
    Priority,
    Session,
    given_up,
    number_in,
)
from wad.providers.base import Accepted, Connection, ProviderKind

#: Messages whose body is kept in memory between their 202 and their turn; the others are read again.
BODIES = 256


class Outbox:
    """The sends of one session. It outlives restarts; `open` gives it the connection of this run."""

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        *,
        on_needs_person: Callable[[ProviderError], None],
        on_accepted: Callable[[OutboundMessage], Awaitable[None]],
        on_marketing_paused: Callable[[OutboundMessage, ProviderError], None],
        tell: Callable[[Sequence[OutboundMessage]], Awaitable[None]],
        kind: Callable[[], ProviderKind],
    ) -> None:
        """*tell* stores a step for the flow, where the flow wants to hear of it.

        *kind* is that of the session's provider, which may be another one after a change of provider.
        """
        self._services = services
        self._session = session
        self._kind = kind
        self._on_needs_person = on_needs_person
        self._on_accepted = on_accepted
        self._on_marketing_paused = on_marketing_paused
        self.pacing = Pacing(services, session, kind)
        self.breaker = Breaker(random=services.random)
        if session().settings.isolated:
            self.breaker.isolate()
        self._breaker_was = self.breaker.state(trio.current_time())
        self.lanes = Lanes()
        self.backlog = Backlog(services, session, self.lanes, self._take)
        self.moves = Moves(services, tell, self.backlog.moved)
        self._retry = Retry(services, session)
        self._doubt = Doubt(services, session, kind, self._retry)
        self._workers = Workers(
            self.lanes,
            self._work,
            concurrency=services.limits.send_concurrency,
            gate=self._gate,
            wait=self._wait_of,
            taken=self._taken,
        )
        #: Those that were taken and have no turn yet, with their numbers: a turn that they may have is nobody else's.
        self._deciding: dict[MessageId, str] = {}
        self._bodies: dict[MessageId, OutboundMessage] = {}
        self._doubtful: set[MessageId] = set()
        #: Messages being written to the store right now, by whether they are bulk: they count for the queue's bound.
        self.arriving: Counter[bool] = Counter()
        self._all_arrived: trio.Event | None = None
        self._connection: Connection | None = None
        self._nursery: trio.Nursery | None = None
        self._ready = False  # whether the session may send now

    # --- the actor's side ---------------------------------------------------------------------------

    def open(self, connection: Connection, nursery: trio.Nursery) -> None:
        self._connection = connection
        self._nursery = nursery
        self.backlog.open(nursery)
        self._workers.start()

    def close(self) -> None:
        """The run is over. The next one takes up what the store holds (`load`)."""
        self._connection = self._nursery = None
        self._ready = False
        self.backlog.close()
        self.lanes.clear()
        self._bodies.clear()
        self._doubtful.clear()

    def waiting(self, *, bulk: bool) -> int:
        """Messages that wait for their turn, scheduled ones included; those waiting for proof are not."""
        if bulk:
            return max(0, self.backlog.size)  # below 0 only while it is counted anew
        return len(self.lanes) - self.lanes.bulk - self.lanes.doubtful

    def room(self, *, bulk: bool) -> int:
        """How many more may wait."""
        limits = self._services.limits
        most = limits.bulk_per_session if bulk else limits.queue_per_session
        return most - self.waiting(bulk=bulk) - self.arriving[bulk]

    @contextmanager
    def arrivals(self, count: int, *, bulk: bool) -> Iterator[None]:
        """Inside, *count* messages are being written to the store."""
        self.arriving[bulk] += count
        try:
            yield
        finally:
            self.arriving[bulk] -= count
            if self._all_arrived is not None and not self.arriving.total():
                self._all_arrived.set()

    async def all_arrived(self) -> None:
        """Return once nothing is being written any more. For who lets nothing more begin."""
        if self.arriving.total():
            self._all_arrived = trio.Event()
            await self._all_arrived.wait()

    @property
    def depth(self) -> int:
        """All messages that wait for their turn."""
        return self.waiting(bulk=False) + self.waiting(bulk=True)

    def empty_in(self) -> float | None:
        """Seconds until all that waits has left, at the rate in force; None where nobody can tell."""
        now = trio.current_time()
        if not self._ready or self.breaker.state(now) is not BreakerState.CLOSED:
            return None
        return self.pacing.soonest(now) + self.depth / self.pacing.rate

    @property
    def unproven(self) -> int:
        """Messages that wait for proof."""
        return len(self._doubtful)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing open at all, in memory or on disk."""
        return not len(self.lanes) and self.backlog.size <= 0

    def oldest_seconds(self, *, bulk: bool = True) -> float:
        """How long the oldest queued message has waited, *bulk* or not; 0 where none does. O(n)."""
        oldest = min(
            (
                item.created_at
                for item in self.lanes.items()
                if item.state == MessageState.QUEUED and (bulk or item.priority is not Priority.BULK)
            ),
            default=None,
        )
        return max(0.0, (self._services.now() - oldest).total_seconds()) if oldest else 0.0

    async def load(self) -> None:
        """Take up what the store holds. What an earlier run left in `sending` is in doubt: nobody saw its end."""
        for item in await self._services.patient.open_messages(self._session().session_id):
            if item.message_id in self.lanes:
                continue
            if item.state == MessageState.SENDING:
                await self._in_doubt_since(item.message_id)
            else:
                self._add(item)
        await self.backlog.load()
        self._workers.wake(self._nursery)
        if not self.is_idle:
            self._services.events.publish(OutboxLoaded(self._session().session_id))

    def allow(self, ready: bool) -> None:
        """Whether messages may leave. Those in hand finish either way."""
        self._ready = ready
        self._workers.wake(self._nursery)

    @property
    def may_send(self) -> bool:
        """What `allow` said last."""
        return self._ready

    async def drain(self) -> None:
        """Claim nothing new, and return once what is in hand has its result on disk."""
        self.backlog.stop()
        await self._workers.stop()

    def retune(self) -> None:
        """Go on with the rates that hold now."""
        self.pacing.retune(trio.current_time())
        self._workers.wake(self._nursery)

    def isolate(self) -> None:
        """Claim nothing until `close_breaker`. What is in the air finishes."""
        self.breaker.isolate()
        self._watch_breaker(trio.current_time())

    def close_breaker(self) -> None:
        """Claim again, and forget what spoke against the provider."""
        self.breaker.close()
        self._watch_breaker(trio.current_time())
        self._workers.wake(self._nursery)

    def another_account(self) -> None:
        """What spoke against the one that the session had says nothing of the one that it has now."""
        if not self._session().settings.isolated:
            self.close_breaker()

    def resume(self) -> None:
        """Claim again, after a `drain`, as soon as the session may send."""
        if self._nursery is not None:
            self.backlog.open(self._nursery)
        self._workers.start()
        self._workers.wake(self._nursery)

    async def expire_overdue(self) -> None:
        """End what waited too long while the session may not send; else each one's turn sees to it."""
        if self._ready:
            return
        store, session_id, now = self._services.patient, self._session().session_id, self._services.now()
        waiting = [item.message_id for item in self.lanes.items()]
        for start in range(0, len(waiting), BODIES):
            await self._expire(waiting[start : start + BODIES], now)
        while overdue := await store.backlog_overdue(session_id, now, BODIES):
            if not await self._expire(overdue, now):
                break

    async def _expire(self, ids: Sequence[MessageId], now: datetime) -> int:
        """End those of *ids* that waited too long; how many did."""
        found = await self._services.patient.messages(ids)
        ends = [
            (message, over)
            for message in found.values()
            if (over := self._doubt.overdue(message, now)) is not None
        ]
        ended = await self.moves.record_all(ends)
        for message in ended:
            self.forget(message.message_id)
        return len(ended)

    # --- the callers' side --------------------------------------------------------------------------

    def arrived(self, message: OutboundMessage) -> None:
        """*message*, which is new to the session, is on disk and open: send it when its turn comes.

        Or it may be: then it is due when that is known, and dropped where it is not.
        """
        self.backlog.arrived(message)
        self.offer(message)

    def offer(self, message: OutboundMessage) -> None:
        """As `arrived`, for one that has been the session's."""
        if message.message_id in self.lanes or self.backlog.keeps(message):
            return
        if message.state is MessageState.QUEUED:
            self._keep(message)
        self._add(
            Pending(
                message.message_id,
                message.lane,
                message.seq,
                message.created_at,
                message.priority,
                message.state,
                message.due_at,
                may_move=message.chosen is not None,
            )
        )
        self._workers.wake(self._nursery)

    def _take(self, items: Iterable[Pending]) -> None:
        for item in items:
            self._add(item)
        self._workers.wake(self._nursery)

    def _keep(self, message: OutboundMessage) -> None:
        if len(self._bodies) < BODIES:
            self._bodies[message.message_id] = message

    def _add(self, item: Pending) -> None:
        if item.state == MessageState.UNKNOWN:
            self._doubtful.add(item.message_id)
        until = item.due_at or self._services.now()
        retried = item.state == MessageState.QUEUED and until - item.created_at < HOLD
        self.lanes.add(item, due=self._due(self._doubt.first_look(item)), hold=retried)

    def withdraw(self, lane: ChatId | None = None) -> list[MessageId]:
        """Let go of what may move to another session: of *lane*, or of every lane that has nothing in hand.

        Nothing of it is sent from then on. Whoever withdraws offers again what stays.
        """
        going = [
            item
            for item in self.lanes.waiting()
            if lane in (None, item.chat) and item.may_move and item.message_id not in self._doubtful
        ]
        for item in going:
            self.forget(item.message_id)
        return [item.message_id for item in sorted(going, key=lambda item: item.seq)]

    def forget(self, message_id: MessageId) -> None:
        """The message was cancelled, or settled by a status."""
        self.lanes.remove(message_id)
        self._bodies.pop(message_id, None)
        self._doubtful.discard(message_id)
        self.backlog.look()

    # --- one message --------------------------------------------------------------------------------

    def _gate(self, now: float) -> float:
        if not self._ready:
            return inf
        self._watch_breaker(now)
        return max(self.breaker.wait(now), self.pacing.wait(now))

    def _wait_of(self, now: float, number: str) -> float:
        """Not one more is taken than there are turns: whoever came first among more of them would be left to chance."""
        ahead = sum(1 for each in self._deciding.values() if each == number)
        return self.pacing.wait_of(now, number, ahead=ahead)

    def _taken(self, item: Pending) -> None:
        self._deciding[item.message_id] = number_in(item.chat)

    def _watch_breaker(self, now: float) -> None:
        """Tell when the breaker is in another state than when we last looked."""
        before, self._breaker_was = self._breaker_was, self.breaker.state(now)
        if before is not self._breaker_was:
            session = self._session()
            self._services.events.publish(
                BreakerChanged(session.session_id, session.provider, before, self._breaker_was)
            )

    async def _work(self, item: Pending) -> None:
        try:
            await self._deliver(item)
        finally:
            self._deciding.pop(item.message_id, None)
        self.backlog.look()

    async def _deliver(self, item: Pending) -> None:
        message = self._bodies.pop(item.message_id, None)
        if message is None:
            message = await self._services.patient.message(item.message_id)
        self._doubtful.discard(item.message_id)
        if message is None or not message.is_open or message.session_id != self._session().session_id:
            self.lanes.done(item)  # it ended, or moved to another session, while it waited
            return
        match message.state:
            case MessageState.UNKNOWN:
                self._deciding.pop(item.message_id, None)  # it takes no turn, and may take its time
                await self._settle(item, message)
            case MessageState.SENDING:  # only after a crash in between: the result was never recorded
                self.lanes.done(item)
                await self._in_doubt_since(message.message_id)
            case MessageState.QUEUED | MessageState.SCHEDULED if message.type == UNREADABLE:
                why = Failure("unreadable", "what the store holds of it cannot be read", None, False)
                now = self._services.now()
                await self._leave(item, message, given_up(message, MessageState.FAILED, now, error=why))
            case MessageState.QUEUED | MessageState.SCHEDULED:
                await self._attempt(item, message)
            case state:
                raise AssertionError(f"an open message cannot be {state}")

    def _is_ours(self, message: OutboundMessage) -> bool:
        """Whether *message* is the provider's that the session has now."""
        return message.provider == self._session().provider

    async def take_over(self) -> None:
        """Have what waits go by the provider that the session has now, as far as that one can.

        What waits on disk alone is taken over at its turn, as is what comes here too late.
        """
        waiting = [item.message_id for item in self.lanes.items() if item.message_id not in self._doubtful]
        for start in range(0, len(waiting), BODIES):
            found = await self._services.patient.messages(waiting[start : start + BODIES])
            for message in found.values():
                waits = message.state in (MessageState.QUEUED, MessageState.SCHEDULED)
                if waits and message.is_open and not self._is_ours(message):
                    await self._take_over(message)

    async def _take_over(self, message: OutboundMessage) -> OutboundMessage | None:
        """*message*, which was another provider's, as it stands now; None where it ended."""
        taken = taken_over(message, self._session(), self._kind(), self._services.now())
        self._bodies.pop(message.message_id, None)
        stands = await self.moves.record(message, taken)
        if stands is not None and stands.is_open:
            return stands
        self.forget(message.message_id)
        return None

    async def _attempt(self, item: Pending, message: OutboundMessage) -> None:
        if not self._is_ours(message):
            if (taken := await self._take_over(message)) is None:
                self.lanes.done(item)
                return
            # Somebody else may have moved it meanwhile.
            if taken.state is not message.state or not self._is_ours(taken):
                self.lanes.again(item, trio.current_time(), hold=True)
                return
            message = taken
        now = self._services.now()
        if message.expires_at <= now:
            await self._leave(item, message, self._doubt.expired(message, now))
            return
        clock = trio.current_time()
        why = None
        pause = self.breaker.wait(clock)
        if pause <= 0:
            pause, why = self.pacing.reserve(message, clock)
            self._deciding.pop(item.message_id, None)
        permit = self.breaker.permit(clock) if pause <= 0 else None
        if permit is None:
            self._keep(message)
            # What holds others too, the gate and the number's own wait see to; the lane need not know until when. And that
            # marketing has to wait is no reason for an answer to the same person to wait.
            until = clock + pause if why in OF_ONE_MESSAGE else clock
            self.lanes.again(item, until, hold=why != "marketing_paused")
            return
        sending = message.moved(
            MessageState.SENDING, now, attempts=message.attempts + 1, epoch=self._session().epoch, due_at=None
        )
        try:
            claimed = await self._services.patient.save_message(message, sending)
        except BaseException:
            self.breaker.release(permit)
            raise
        if not claimed:  # cancelled, or settled, since we read it
            self.breaker.release(permit)
            self.lanes.again(item, clock, hold=True)
            return
        self.moves.made(message, sending)
        reach("send.claimed")
        await self._send(item, sending, permit)

    async def _send(self, item: Pending, sending: OutboundMessage, permit: Permit) -> None:
        assert self._connection is not None
        started = trio.current_time()
        try:
            accepted = await self._connection.send(sending)
            reach("send.answered")
        except ProviderError as error:
            now = trio.current_time()
            self.breaker.record(permit, ok=not error.health, seconds=now - started, now=now)
            await self._refused(item, sending, error)
        except trio.Cancelled:
            self.breaker.release(permit)
            doubtful = self._doubt.after(sending, "wad stopped before the provider answered")
            await self._leave(item, sending, doubtful)
            raise
        except Exception:  # a bug in the provider: this one is in doubt, and the actor crashes
            self.breaker.release(permit)
            doubtful = self._doubt.after(sending, "the provider's code crashed while it was being sent")
            await self._leave(item, sending, doubtful)
            raise
        else:
            now = trio.current_time()
            self.breaker.record(permit, ok=True, seconds=now - started, now=now)
            self.pacing.accepted(sending, now)
            await self._took(item, sending, accepted)

    async def _took(self, item: Pending, sending: OutboundMessage, accepted: Accepted) -> None:
        done = sending.moved(
            MessageState.ACCEPTED,
            self._services.now(),
            note=accepted.note,
            provider_message_id=accepted.provider_message_id,
            due_at=None,
        )
        stands = await self.moves.record(sending, done)
        self.lanes.done(item)
        if stands is not None:
            await self._on_accepted(stands)

    async def _refused(self, item: Pending, sending: OutboundMessage, error: ProviderError) -> None:
        now = self._services.now()
        match error.verdict:
            case Verdict.UNKNOWN:
                after = self._doubt.after(sending, None, error)
            case Verdict.REJECTED:
                after = given_up(sending, MessageState.FAILED, now, error=Failure.of(error))
            case Verdict.NEEDS_PERSON:
                # The account's trouble, not this message's: it keeps its place, and its attempt is not counted.
                self._on_needs_person(error)
                after = sending.moved(
                    MessageState.QUEUED, now, error=Failure.of(error), attempts=sending.attempts - 1
                )
            case Verdict.NOT_SENT | Verdict.THROTTLED:
                if error.verdict is Verdict.THROTTLED:
                    self._throttle(sending, error, trio.current_time())
                after = self._retry.after(sending, error)
        await self._leave(item, sending, after)

    def _throttle(self, message: OutboundMessage, error: ProviderError, clock: float) -> None:
        self._services.events.publish(
            Throttled(message.provider, error.scope.name.lower(), message.session_id)
        )
        if self.pacing.throttled(message, error, clock):
            self._on_marketing_paused(message, error)

    async def _settle(self, item: Pending, message: OutboundMessage) -> None:
        assert self._connection is not None
        found = await self._doubt.settle(self._connection, message)
        if isinstance(found, Accepted):
            await self._took(item, message, found)
        elif found is None:
            self._doubtful.add(item.message_id)
            self.lanes.again(item, self._due(message.due_at), hold=False)
        else:
            await self._leave(item, message, found)

    async def _in_doubt_since(self, message_id: MessageId) -> None:
        """A run that is over left *message_id* in `sending`."""
        sending = await self._services.patient.message(message_id)
        if sending is None or sending.state is not MessageState.SENDING:
            return
        doubtful = self._doubt.after(sending, "wad ended before the provider's answer was recorded")
        if await self.moves.record(sending, doubtful) is doubtful and doubtful.is_open:
            self.offer(doubtful)

    async def _leave(self, item: Pending, old: OutboundMessage, new: OutboundMessage) -> None:
        """*item*, which was in hand as *old*, is *new*: it is tried again in its place, or its lane goes on without it."""
        stands = await self.moves.record(old, new)
        if new.state is MessageState.QUEUED:
            self.lanes.again(item, self._due(new.due_at), hold=may_hold(new))
            return
        self.lanes.done(item)
        if stands is new and new.is_open:
            self.offer(new)  # taken again when the window for proof ends

    def _due(self, due_at: datetime | None) -> float:
        """*due_at* on the trio clock; -inf where there is nothing to wait for."""
        if due_at is None:
            return -inf
        seconds = (due_at - self._services.now()).total_seconds()
        return trio.current_time() + seconds if seconds > 0 else -inf
