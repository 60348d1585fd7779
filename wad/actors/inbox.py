"""What customers write: stored before anybody is told that it arrived, then answered once, in order per chat.

    received ──flow answers──▶ answered ──its replies are queued──▶ done
        │  ▲                   (the answer is on disk: asking again could answer differently)
        │  └── the flow is down: later, with backoff
        └────── gave up, or refused: dead (a dead letter)

The flow may be asked more than once; what it said first is what counts. A reply's id is made from the inbound
message's, so queueing it twice is queueing it once.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any

import msgspec
import trio

from wad.actors.lanes import Lanes, Workers
from wad.actors.services import Services
from wad.errors import FieldError, InvalidRequest, NotSupported, WadError
from wad.events import FlowDelivered, InboundDuplicate, InboxDied, MessageReceived
from wad.failpoints import reach
from wad.flow.client import Answered, Gone, Refused, Retry, retry_after
from wad.models import (
    AccountEvent,
    Address,
    Content,
    Failure,
    FlowEvent,
    InboundMessage,
    InboxItem,
    InboxState,
    Media,
    MediaState,
    MessageId,
    OutboundMessage,
    Pending,
    Session,
    new_message_id,
    new_rev,
    next_seq,
)

#: Tries for an answer that is wrong in itself (a 4xx, a body we do not understand).
REFUSALS = 5
#: Meta keeps a received file for 7 days.
MEDIA_TTL = timedelta(days=7)
#: Items kept in memory between their storing and their turn; the others are read again.
BODIES = 256
_MEDIA_TYPES = ("image", "audio", "video", "document", "sticker")


class Inbox:
    """The inbound side of one session."""

    __slots__ = (
        "_bodies",
        "_nursery",
        "_on_files",
        "_on_gone",
        "_queue_replies",
        "_services",
        "_session",
        "_workers",
        "lanes",
    )

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        *,
        queue_replies: Callable[[InboxItem, Sequence[Content]], Awaitable[None]],
        on_gone: Callable[[], Awaitable[None]],
        on_files: Callable[[Sequence[Media]], None],
    ) -> None:
        """*on_files* hears of files that are on disk as to be fetched."""
        self._services = services
        self._session = session
        self._queue_replies = queue_replies
        self._on_gone = on_gone
        self._on_files = on_files
        self.lanes = Lanes()
        self._workers = Workers(self.lanes, self._deliver, concurrency=services.limits.inbox_concurrency)
        self._bodies: dict[MessageId, InboxItem] = {}
        self._nursery: trio.Nursery | None = None

    # --- the actor's side ---------------------------------------------------------------------------

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._workers.start()

    def close(self) -> None:
        self._nursery = None
        self.lanes.clear()
        self._bodies.clear()

    async def load(self) -> None:
        for item in await self._services.patient.open_inbox(self._session().session_id):
            self.lanes.add(item, due=self._due(item.due_at), hold=True)
        self._workers.wake(self._nursery)

    async def drain(self) -> None:
        await self._workers.stop()

    def oldest_seconds(self) -> float:
        """How long the oldest undelivered item has waited. O(n)."""
        oldest = min((item.created_at for item in self.lanes.items()), default=None)
        return max(0.0, (self._services.now() - oldest).total_seconds()) if oldest else 0.0

    # --- the callers' side --------------------------------------------------------------------------

    async def receive(
        self, events: Sequence[InboundMessage | AccountEvent], *, provider: str | None = None
    ) -> int:
        """Store *events*; on return they are on disk. How many were new. Raises StoreUnavailable.

        *provider*: that they came by, where that is not the session's any more.
        """
        media: list[Media] = []
        carrier = provider or self._session().provider
        items = [self._item(self._with_own_media(event, carrier, media), carrier) for event in events]
        # The rows are written even if whoever carried them hangs up meanwhile; cancelled here, nobody would take them up.
        with trio.CancelScope(shield=True):
            if media:
                await self._services.store.add_media(media)
                self._on_files([one for one in media if one.state is MediaState.WAITING])
            fresh = await self._services.store.add_inbox(items)
            reach("inbound.stored")
        for item, new in zip(items, fresh, strict=True):
            if new:
                self._services.events.publish(MessageReceived(item))
                self._offer(item)
            else:
                self._services.events.publish(InboundDuplicate(item.provider))
        return sum(fresh)

    async def tell(self, events: Sequence[FlowEvent]) -> None:
        """Store facts of wad's own for the flow, where it asked for them. Twice is once."""
        wanted = [event for event in events if self._services.flows.wants(self._session(), event.type)]
        if not wanted:
            return
        items = [self._item(event) for event in wanted]
        for item, new in zip(items, await self._services.patient.add_inbox(items), strict=True):
            if new:
                self._offer(item)

    def retry(self, item: InboxItem) -> None:
        """A person asked for a dead letter to be delivered again; that is on disk, or known when *item* is due."""
        self._offer(item)

    def _item(
        self, event: InboundMessage | AccountEvent | FlowEvent, provider: str | None = None
    ) -> InboxItem:
        session = self._session()
        flows = self._services.flows
        now = self._services.now()
        kind = "message.received" if isinstance(event, InboundMessage) else event.type
        return InboxItem(
            message_id=new_message_id(),
            session_id=session.session_id,
            provider=provider or session.provider,
            shop_id=session.shop_id,
            event=event,
            seq=next_seq(),
            received_at=now,
            expires_at=now + self._services.limits.flow_window,
            state=InboxState.RECEIVED if flows.wants(session, kind) else InboxState.DONE,
            rev=new_rev(),
        )

    def _offer(self, item: InboxItem) -> None:
        if item.state in (InboxState.RECEIVED, InboxState.ANSWERED) and item.message_id not in self.lanes:
            if len(self._bodies) < BODIES and item.due_at is None:
                self._bodies[item.message_id] = item
            self.lanes.add(
                Pending(item.message_id, item.chat, item.seq, item.received_at), due=self._due(item.due_at)
            )
            self._workers.wake(self._nursery)

    def _with_own_media(
        self, event: InboundMessage | AccountEvent, provider: str, media: list[Media]
    ) -> InboundMessage | AccountEvent:
        """*event* with wad's id in place of the provider's for its file. The same file has the same id."""
        if not isinstance(event, InboundMessage) or event.content["type"] not in _MEDIA_TYPES:
            return event
        kind = event.content["type"]
        file: dict[str, Any] = event.content.get(kind) or {}
        if not isinstance(file.get("mediaId"), str):
            return event
        now = self._services.now()
        session_id = self._session().session_id
        fetches = self._services.fetches
        own = Media(
            media_id=received_media_id(session_id, file["mediaId"]),
            session_id=session_id,
            provider=provider,
            provider_media_id=file["mediaId"],
            mime_type=str(file.get("mimeType", "application/octet-stream")),
            sha256=file.get("sha256"),
            filename=file.get("filename"),
            number=event.number,
            created_at=now,
            expires_at=now + (self._services.limits.file_ttl if fetches else MEDIA_TTL),
            state=MediaState.WAITING if fetches else MediaState.REMOTE,
            rev=new_rev(),
        )
        media.append(own)
        content = {**event.content, kind: {**file, "mediaId": own.media_id}}
        return msgspec.structs.replace(event, content=content)

    # --- one item -----------------------------------------------------------------------------------

    async def _deliver(self, pending: Pending) -> None:
        store = self._services.patient
        item = self._bodies.pop(pending.message_id, None) or await store.inbox_item(pending.message_id)
        if item is None or item.state in (InboxState.DONE, InboxState.DEAD):
            self.lanes.done(pending)
            return
        try:
            if item.state is InboxState.RECEIVED:
                answered = await self._ask(pending, item)
                if answered is None:
                    return
                item = answered
            await self._queue(pending, item)
        except Exception as error:  # a bug: the actor crashes, but not again over the same item
            await self._die(pending, item, Failure("internal", f"wad crashed on it: {type(error).__name__}"))
            raise

    async def _ask(self, pending: Pending, item: InboxItem) -> InboxItem | None:
        """Ask the flow. The item with its answer on disk, or None where that is all for now."""
        started = trio.current_time()
        outcome = await self._services.flows.deliver(self._session(), item)
        reach("flow.answered")
        seconds = trio.current_time() - started
        answered_by = "rules" if self._services.flows.by_rules(self._session()) else "answered"
        match outcome:
            case Answered(replies=[]):
                await self._end(
                    pending, item, item.moved(InboxState.DONE, attempts=item.attempts + 1, error=None)
                )
                self._tell_delivery(item, answered_by, seconds)
            case Answered(replies=replies):
                answered = item.moved(
                    InboxState.ANSWERED, answer=replies, attempts=item.attempts + 1, due_at=None, error=None
                )
                self._tell_delivery(item, answered_by, seconds)
                if await self._services.patient.save_inbox(item, answered):
                    return answered
                self.lanes.again(
                    pending, trio.current_time(), hold=True
                )  # somebody else moved it: look again
            case Gone(error=error):
                self._tell_delivery(item, "gone", seconds)
                await self._on_gone()
                await self._die(pending, item, error)
            case Refused(error=error) if item.attempts + 1 >= REFUSALS:
                self._tell_delivery(item, "dead", seconds)
                await self._die(pending, item, error)
            case Refused() | Retry():
                self._tell_delivery(item, "retry", seconds)
                await self._later(pending, item, outcome)
        return None

    async def _later(self, pending: Pending, item: InboxItem, outcome: Refused | Retry) -> None:
        pause = retry_after(item.attempts + 1, outcome, random=self._services.random)
        now = self._services.now()
        due_at = now + timedelta(seconds=pause)
        if due_at > item.expires_at:
            await self._die(pending, item, outcome.error)
            return
        later = item.moved(
            InboxState.RECEIVED, attempts=item.attempts + 1, due_at=due_at, error=outcome.error
        )
        await self._services.patient.save_inbox(item, later)
        self.lanes.again(pending, trio.current_time() + pause, hold=True)

    async def _queue(self, pending: Pending, item: InboxItem) -> None:
        try:
            reach("flow.kept")
            await self._queue_replies(item, item.answer or [])
            reach("flow.queued")
        except (InvalidRequest, NotSupported) as error:
            await self._die(pending, item, Failure("invalid_reply", _explain(error)))
            return
        await self._end(pending, item, item.moved(InboxState.DONE, due_at=None))

    async def _end(self, pending: Pending, item: InboxItem, new: InboxItem) -> None:
        await self._services.patient.save_inbox(item, new)
        self.lanes.done(pending)

    async def _die(self, pending: Pending, item: InboxItem, error: Failure) -> None:
        dead = item.moved(InboxState.DEAD, attempts=item.attempts + 1, error=error, due_at=None)
        await self._end(pending, item, dead)
        self._services.events.publish(InboxDied(dead))

    def _tell_delivery(self, item: InboxItem, outcome: str, seconds: float) -> None:
        self._services.events.publish(FlowDelivered(item, outcome, seconds))

    def _due(self, due_at: datetime | None) -> float:
        if due_at is None:
            return -inf
        seconds = (due_at - self._services.now()).total_seconds()
        return trio.current_time() + seconds if seconds > 0 else -inf


def reply_address(message: InboundMessage) -> Address:
    """Where an answer to *message* goes: its group, or the person who wrote it."""
    if message.chat_kind == "group":
        return Address(group_id=message.chat)
    return Address(phone=message.sender.phone, user_id=message.sender.user_id, jid=message.sender.jid)


def received_media_id(session_id: str, provider_media_id: str) -> str:
    return f"med_{uuid.uuid5(uuid.NAMESPACE_URL, f'wad:{session_id}/{provider_media_id}').hex}"


def flow_events_of(message: OutboundMessage) -> list[FlowEvent]:
    """The facts about *message*'s newest state that a flow may have asked for."""
    data = {
        "messageId": message.message_id,
        "sessionId": message.session_id,
        "shopId": message.shop_id,
        "provider": message.provider,
        "chat": message.chat,
        "status": message.state,
        "providerMessageId": message.provider_message_id,
        "reference": message.reference,
        "error": msgspec.to_builtins(message.error),
        "at": message.updated_at,
    }
    key = f"{message.message_id}:{message.state}:{message.attempts}"
    events = [FlowEvent(type="message.status", dedupe_key=f"e:{key}", data=data)]
    if message.dead:
        events.append(FlowEvent(type="message.dead_letter", dedupe_key=f"d:{key}", data=data))
    return events


def _explain(error: WadError) -> str:
    fields: list[FieldError] = getattr(error, "errors", [])
    return "; ".join([error.detail, *(f"{field.pointer}: {field.detail}" for field in fields)])
