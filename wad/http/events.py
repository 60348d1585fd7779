"""The event stream: wad's facts in public words, numbered, kept for resuming, and handed to whoever listens.

The stream informs; the truth is in `GET /messages` and `GET /sessions`. Events are numbered when they happen and
written in batches a moment later: a kill -9 can lose the last of them (fractions of a second; more while the store
is away, and beyond `BUFFER` the oldest go first). A listener that resumes then misses those, and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec
import trio

from wad.errors import StoreUnavailable, TooManyRequests
from wad.events import (
    Events,
    Fact,
    InboxDied,
    MarketingPaused,
    MessageMoved,
    MessageReceived,
    ReconnectLoop,
    SessionDeleted,
    SessionStateChanged,
)
from wad.flow.event import event_body
from wad.http.answers import message_view
from wad.http.auth import Principal
from wad.models import (
    AccountEvent,
    FlowEvent,
    InboundMessage,
    InboxItem,
    MessageState,
    OutboundMessage,
    SessionId,
    ShopId,
    Status,
    StoredEvent,
    next_seq,
    utc_now,
)
from wad.store.store import Store

log = logging.getLogger("wad.http")

EVENT_TYPES: Final = (
    "message.received",
    "message.status",
    "session.state",
    "session.qr",
    "session.reconnect_loop",
    "session.marketing_paused",
    "message.dead_letter",
    "message.edited",
    "message.deleted",
    "template.status",
    "account.update",
    "provider.event",
)
#: Events that wait to be written; a store that is away for longer costs the oldest.
BUFFER: Final = 10_000
BATCH: Final = 500
#: A moment's events are written together: one commit instead of many.
LINGER: Final = 0.1
#: Events that one listener may be behind before it is cut; it resumes by Last-Event-ID.
LISTENER_BUFFER: Final = 1_000
LISTENERS: Final = 100
#: Seconds of silence after which a comment goes out, so that proxies and dead peers are noticed.
HEARTBEAT: Final = 15.0
_LAST_WORDS: Final = 2.0  # seconds for what is left at shutdown

#: States of a message that its sender was told already by the answer to the request, or that last an instant.
_UNTOLD: Final = frozenset({MessageState.SCHEDULED, MessageState.QUEUED, MessageState.SENDING})
_encode: Final = msgspec.json.Encoder().encode


class Listener:
    """One client of the stream: what it may see, and what it has not been sent yet."""

    def __init__(self, principal: Principal, *, session_id: str | None, types: frozenset[str] | None) -> None:
        self.principal = principal
        self._session_id = session_id
        self._types = types
        self.lost = False
        self._send, self._receive = trio.open_memory_channel[StoredEvent](LISTENER_BUFFER)

    def wants(self, event: StoredEvent) -> bool:
        return (
            self.principal.sees(event.shop_id)
            and (self._session_id is None or event.session_id == self._session_id)
            and (self._types is None or event.type in self._types)
        )

    def offer(self, event: StoredEvent) -> None:
        """Never waits: who cannot keep up is cut, and nobody else notices."""
        if self.wants(event):
            try:
                self._send.send_nowait(event)
            except trio.WouldBlock:
                self.lost = True
                self._send.close()
            except trio.ClosedResourceError:
                self.lost = True

    def close(self) -> None:
        self._send.close()

    async def next(self) -> StoredEvent:
        """The next event; raises trio.EndOfChannel when the listener was cut or the stream is closed."""
        return await self._receive.receive()


class EventStream:
    """All listeners of this process, and the one task that writes events down."""

    def __init__(self, store: Store, events: Events, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._listeners: set[Listener] = set()
        self._unwritten: deque[StoredEvent] = deque()
        self._wake = trio.Event()
        self._closed = False
        self._qr: dict[SessionId, str] = {}
        events.subscribe(self._hear)

    def keep_only(self, welcome: Callable[[Principal], bool]) -> None:
        """Cut the listeners who are no more welcome."""
        for listener in self._listeners:
            if not welcome(listener.principal):
                listener.close()

    # --- in ---------------------------------------------------------------------------------------

    def _hear(self, fact: Fact) -> None:
        for type_, session_id, shop_id, data in self._public(fact):
            self._publish(StoredEvent(next_seq(), type_, self._now(), data, session_id, shop_id))

    def _publish(self, event: StoredEvent) -> None:
        if len(self._unwritten) >= BUFFER:
            self._unwritten.popleft()
        self._unwritten.append(event)
        self._wake.set()
        for listener in self._listeners:
            listener.offer(event)

    def _public(self, fact: Fact) -> Iterator[tuple[str, SessionId | None, ShopId | None, dict[str, Any]]]:
        """What the world is told of *fact*."""
        match fact:
            case MessageReceived(item=InboxItem(event=InboundMessage()) as item):
                yield "message.received", item.session_id, item.shop_id, received_data(item)
            case MessageReceived(item=InboxItem(event=AccountEvent(type=type_, data=data)) as item):
                yield type_, item.session_id, item.shop_id, _account_data(item, data)
            case MessageReceived(item=InboxItem(event=FlowEvent())):
                return  # one of ours, on its way to the flow
            case MessageMoved(message=message):
                if message.state not in _UNTOLD:
                    yield "message.status", message.session_id, message.shop_id, status_data(message)
                if message.dead:
                    yield "message.dead_letter", message.session_id, message.shop_id, message_view(message)
            case InboxDied(item=item):
                yield "message.dead_letter", item.session_id, item.shop_id, message_view(item)
            case SessionStateChanged(status=status, previous=previous):
                data = msgspec.to_builtins(status)
                fresh = self._fresh_qr(status)
                if not fresh or status.state != previous:  # else only the code is another one
                    yield "session.state", status.session_id, status.shop_id, data | {"previous": previous}
                if fresh:
                    data = {
                        "sessionId": status.session_id,
                        "qr": status.qr_code,
                        "expiresAt": data["qrExpiresAt"],
                    }
                    yield "session.qr", status.session_id, status.shop_id, data
            case SessionDeleted(session_id=session_id):
                self._qr.pop(session_id, None)
            case ReconnectLoop(status=status, losses=losses, period=period):
                data = msgspec.to_builtins(status) | {"losses": losses, "periodSeconds": period}
                yield "session.reconnect_loop", status.session_id, status.shop_id, data
            case MarketingPaused(status=status, data=data):
                yield "session.marketing_paused", status.session_id, status.shop_id, data
            case _:
                return

    def _fresh_qr(self, status: Status) -> bool:
        if status.qr_code is None:
            self._qr.pop(status.session_id, None)
            return False
        fresh = self._qr.get(status.session_id) != status.qr_code
        self._qr[status.session_id] = status.qr_code
        return fresh

    # --- out --------------------------------------------------------------------------------------

    def check_room(self) -> None:
        if len(self._listeners) >= LISTENERS:
            raise TooManyRequests(f"{LISTENERS} clients listen already", retry_after=5)

    @contextmanager
    def listener(
        self, principal: Principal, *, session_id: str | None, types: frozenset[str] | None
    ) -> Iterator[Listener]:
        """Heard of everything from now on. Where there is no room it is closed at once: ask `check_room` before."""
        listener = Listener(principal, session_id=session_id, types=types)
        if self._closed or len(self._listeners) >= LISTENERS:
            listener.close()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def since(self, seq: int, listener: Listener) -> AsyncIterator[StoredEvent]:
        """The stored events after *seq* that *listener* wants, then those not written yet.

        Ask only once the listener is listed: then what happens meanwhile reaches it the other way. What is not
        written yet is looked up before the store is: it may be written, and unlisted, while the store answers.
        """
        unwritten = list(self._unwritten)
        while page := await self._store.events_after(seq, limit=BATCH):
            for event in page:
                if listener.wants(event):
                    yield event
            seq = page[-1].seq
        for event in unwritten:
            if event.seq > seq and listener.wants(event):
                yield event

    def close(self) -> None:
        """End every listener's stream: the daemon is going, and a stream would never end by itself."""
        self._closed = True
        for listener in self._listeners:
            listener.close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write events down, in batches. What is left when this is cancelled is written if the store is quick."""
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await trio.sleep(LINGER)
                await self._write(self._store.patient())
        finally:
            with trio.move_on_after(_LAST_WORDS) as scope:
                scope.shield = True
                try:
                    await self._write(self._store)
                except StoreUnavailable:
                    log.warning("events_not_written", extra={"count": len(self._unwritten)})

    async def _write(self, store: Store) -> None:
        """Events stay listed until they are on disk, so that `since` never misses one in between."""
        while self._unwritten:
            batch = list(islice(self._unwritten, BATCH))
            await store.add_events(batch)
            last = batch[-1].seq
            while self._unwritten and self._unwritten[0].seq <= last:
                self._unwritten.popleft()


# --- what an event says ---------------------------------------------------------------------------


def received_data(item: InboxItem) -> dict[str, Any]:
    """What the flow gets, so that a listener and a flow read the same."""
    data: dict[str, Any] = msgspec.json.decode(event_body(item))["data"]
    return data


def status_data(message: OutboundMessage) -> dict[str, Any]:
    view = message_view(message)
    whose = (
        "messageId",
        "sessionId",
        "shopId",
        "provider",
        "to",
        "groupId",
        "status",
        "reference",
        "replyTo",
    )
    how = ("providerMessageId", "error", "maybeDuplicate", "attempts")
    return {key: view[key] for key in (*whose, *how)} | {"chat": message.chat, "at": view["updatedAt"]}


def _account_data(item: InboxItem, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "sessionId": item.session_id,
        "shopId": item.shop_id,
        "provider": item.provider,
        "receivedAt": msgspec.to_builtins(item.received_at),
        "data": data,
    }


def frame(event: StoredEvent) -> bytes:
    """One event as Server-Sent Events write it. JSON holds no bare line break, so `data` is one line."""
    body = _encode({"type": event.type, "timestamp": event.at, "data": event.data})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), body)
