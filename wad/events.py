"""What happened, as typed facts. The core publishes them; log, metrics, the event stream and the flow subscribe.

Publishing is synchronous and never fails its publisher: a subscriber that raises is reported by the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from wad.models import InboxItem, Media, Number, OutboundMessage, Session, SessionId, Status

log = logging.getLogger("wad.events")


class SessionCreated(msgspec.Struct, frozen=True):
    session: Session


class SessionDeleted(msgspec.Struct, frozen=True):
    session_id: SessionId
    provider: str


class SessionStateChanged(msgspec.Struct, frozen=True):
    """A session's public state, or the reason for it, is another one now."""

    status: Status
    previous: str


class ReconnectLoop(msgspec.Struct, frozen=True):
    """A session's connection was lost too often lately: `losses` times within `period` seconds."""

    status: Status
    losses: int
    period: float


class ActorCrashed(msgspec.Struct, frozen=True):
    """An actor ended with an exception that nobody expected. `restart_in` is None when it is given up."""

    session_id: SessionId
    provider: str
    error: BaseException
    restarts: int
    restart_in: float | None


class MessageQueued(msgspec.Struct, frozen=True):
    """A 202: the message is on disk."""

    message: OutboundMessage


class Balanced(msgspec.Struct, frozen=True):
    """wad chose the session of a message, by `policy` and because of `why`: words of `wad.supervisor.balancer`."""

    message: OutboundMessage
    policy: str
    why: str


class FailedOver(msgspec.Struct, frozen=True):
    """Messages that a session could not send went to others of its shop: `moved` of them, and `left` stayed."""

    session_id: SessionId
    provider: str
    why: str
    moved: int
    left: int


class OutboxLoaded(msgspec.Struct, frozen=True):
    """A session has taken up the messages that an earlier life of it left."""

    session_id: SessionId


class MessageMoved(msgspec.Struct, frozen=True):
    """An outbound message is in another state, and that is on disk."""

    message: OutboundMessage


class MessageReceived(msgspec.Struct, frozen=True):
    """A customer's message, or an account event, is on disk for the first time."""

    item: InboxItem


class InboundDuplicate(msgspec.Struct, frozen=True):
    provider: str


class WebhookAnswered(msgspec.Struct, frozen=True):
    """`result` is ok, bad_signature, malformed or unavailable."""

    provider: str
    result: str
    seconds: float


class ProviderCalled(msgspec.Struct, frozen=True):
    """One request to a provider. `result` is ok or the error's code."""

    provider: str
    operation: str
    result: str
    seconds: float


class Throttled(msgspec.Struct, frozen=True):
    provider: str
    scope: str
    session_id: SessionId


class MarketingPaused(msgspec.Struct, frozen=True):
    """A provider lets a session's number (its only one: None) send no marketing before `until`. `code` says why."""

    status: Status
    number: Number | None
    until: datetime
    code: str

    @property
    def data(self) -> dict[str, Any]:
        """As listeners and the flow are told: the status, `number`, `until` and `code`."""
        number = self.number.name if self.number is not None else self.status.phone_number
        told = {"number": number, "until": self.until, "code": self.code}
        return msgspec.to_builtins(self.status) | msgspec.to_builtins(told)  # type: ignore[no-any-return]


class BreakerChanged(msgspec.Struct, frozen=True):
    session_id: SessionId
    provider: str
    previous: str
    state: str


class BreakerSet(msgspec.Struct, frozen=True):
    """A person, by the token named `by`, has isolated a session's breaker, or closed it: the `state` it has now."""

    status: Status
    state: str
    by: str


class FlowDelivered(msgspec.Struct, frozen=True):
    """One attempt to hand an item to its flow. `outcome` is answered, retry, dead, gone or rules."""

    item: InboxItem
    outcome: str
    seconds: float


class InboxDied(msgspec.Struct, frozen=True):
    """An inbound item gave up: a dead letter."""

    item: InboxItem


class MediaFetched(msgspec.Struct, frozen=True):
    """One try to fetch a customer's file. `result` is stored, retry or disk (both are tried again), or failed."""

    media: Media
    result: str
    seconds: float


class BridgeStarted(msgspec.Struct, frozen=True):
    """A process that carries sessions of WhatsApp Web runs. `restart`: in place of one that ended unasked."""

    bridge: str
    pid: int
    restart: bool


class BridgeEnded(msgspec.Struct, frozen=True):
    """It runs no more. `why` is for people; `expected`: we stopped it ourselves."""

    bridge: str
    pid: int
    why: str
    expected: bool


class RequestServed(msgspec.Struct, frozen=True):
    """One HTTP request is answered. `route` is the pattern that matched (`/api/whatsapp/send`), never the path."""

    route: str
    method: str
    status: int
    seconds: float


Fact: TypeAlias = (
    SessionCreated
    | SessionDeleted
    | SessionStateChanged
    | ActorCrashed
    | MessageQueued
    | Balanced
    | FailedOver
    | OutboxLoaded
    | MessageMoved
    | MessageReceived
    | InboundDuplicate
    | WebhookAnswered
    | ProviderCalled
    | Throttled
    | MarketingPaused
    | BreakerChanged
    | BreakerSet
    | FlowDelivered
    | InboxDied
    | MediaFetched
    | ReconnectLoop
    | BridgeStarted
    | BridgeEnded
    | RequestServed
)
Subscriber: TypeAlias = Callable[[Fact], None]


class Events:
    """The one stream of facts of a process."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.remove(subscriber)

    def publish(self, fact: Fact) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(fact)
            except Exception:
                log.exception("subscriber_failed", extra={"fact": type(fact).__name__})
