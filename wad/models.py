"""The words of wad: sessions, messages, inbound events, their states, and how a state may move.

Everything here is frozen and pure. Times are aware UTC datetimes; ids are distinct types.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, Literal, NewType, TypeAlias

import msgspec

from wad.errors import ProviderError

SessionId = NewType("SessionId", str)
ShopId = NewType("ShopId", str)
MessageId = NewType("MessageId", str)
ChatId = NewType("ChatId", str)

#: A message's content as the API takes it: `{"type": "text", "text": {"body": "Hola"}}`, camelCase.
Content: TypeAlias = dict[str, Any]


def utc_now() -> datetime:
    """To the millisecond, which is what the store keeps: a record read back equals the one written."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


_last_ns = 0


def next_seq() -> int:
    """A number that grows with every call and, across restarts, with the wall clock: nanoseconds since 1970."""
    global _last_ns  # noqa: PLW0603  one counter a process is the point
    _last_ns = max(time.time_ns(), _last_ns + 1)
    return _last_ns


def new_message_id() -> MessageId:
    return MessageId(f"msg_{uuid.uuid4().hex}")


_REPLIES: Final = uuid.UUID("6f1c6c0e-6f51-4b7e-9a35-0d6a3f3c2d11")


def reply_message_id(inbound: MessageId, index: int) -> MessageId:
    """The id of an inbound message's reply number *index*: the same however often the flow answers."""
    return MessageId(f"msg_{uuid.uuid5(_REPLIES, f'{inbound}/{index}').hex}")


def new_rev() -> int:
    """A tag no other write has: a compare-and-set that lost its answer recognises its own work by it."""
    return secrets.randbits(62)


# --- sessions -------------------------------------------------------------------------------------


class SessionState(StrEnum):
    CREATED = "created"  # stored, never wanted connected yet
    CONNECTING = "connecting"  # wanted connected, no proof yet
    PAIRING = "pairing"  # waits for its QR or code to be scanned
    CONNECTED = "connected"  # proven, and the proof is fresh
    DEGRADED = "degraded"  # was proven, but the proof is stale or the provider is failing
    DISCONNECTED = "disconnected"  # wanted so
    LOGGED_OUT = "logged_out"  # the other side unpaired it: needs a person
    BAD_CREDENTIALS = "bad_credentials"  # the provider refuses who we say we are: needs a person
    FAILED = "failed"  # crashed too often; tried again after a cooldown


#: States that waiting alone does not leave: sends are refused unless they ask to queue.
WAITING_FOR_PERSON: Final = frozenset(
    {SessionState.LOGGED_OUT, SessionState.BAD_CREDENTIALS, SessionState.FAILED}
)


class DesiredState(StrEnum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class Reason(msgspec.Struct, frozen=True, rename="camel"):
    """Why a session is in its state."""

    code: str
    detail: str
    needs_person: bool = False


class Credentials(dict[str, str]):
    """What a session proves itself with. Its repr tells which values are set, never what they are."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{key}=***' for key in sorted(self))})"

    __str__ = __repr__


class Settings(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A session's own word over the configuration's defaults. `None` means: as configured."""

    rate: float | None = None  # sends a second
    burst: int | None = None
    flow_url: str | None = None
    flow_secret: str | None = None
    base_url: str | None = None
    retry: dict[str, float] | None = None  # {"maxAttempts", "maxAge"}
    duplicates: Literal["at_most_once", "at_least_once"] = "at_most_once"
    flow_disabled: bool = False  # the flow answered 410 Gone

    def __repr__(self) -> str:
        return f"Settings(rate={self.rate}, burst={self.burst}, duplicates={self.duplicates!r})"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The stored session: what it is, what is wanted of it, what was last known of it."""

    session_id: SessionId
    provider: str
    credentials: Credentials
    shop_id: ShopId | None = None
    phone_number: str | None = None
    settings: Settings = Settings()
    desired_state: DesiredState = DesiredState.CONNECTED
    state: SessionState = SessionState.CREATED
    reason: Reason | None = None
    is_connected: bool = False
    last_seen: datetime | None = None
    qr_code: str | None = None
    connection_data: dict[str, Any] = {}  # what the provider told of the account; nothing secret
    created_at: datetime
    updated_at: datetime
    owner: str | None = None  # the node and boot whose actor may write, and the fence's number
    epoch: int = 0
    data_key: bytes = b""  # wrapped by the master key; see `wad.secrets`
    rev: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The snapshot of contract.md, section 2: what an actor publishes and `GET .../status` answers."""

    session_id: SessionId
    shop_id: ShopId | None
    provider: str
    phone_number: str | None
    desired_state: DesiredState
    state: SessionState
    is_connected: bool
    reason: Reason | None
    last_seen: datetime | None
    qr_code: str | None
    since: datetime
    link: str | None
    last_inbound_at: datetime | None
    last_outbound_at: datetime | None
    last_ack_at: datetime | None
    restarts: int
    next_retry_at: datetime | None
    breaker: str
    queue: QueueStatus
    node: str


class QueueStatus(msgspec.Struct, frozen=True, rename="camel"):
    depth: int
    oldest_seconds: float


# --- outbound messages ----------------------------------------------------------------------------


class MessageState(StrEnum):
    SCHEDULED = "scheduled"  # `sendAt` has not come
    QUEUED = "queued"  # surely not sent; will be
    SENDING = "sending"  # the intent is on disk; the wire may have been touched
    ACCEPTED = "accepted"  # the provider took it, and its id is stored
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # may or may not have gone out


#: How far along each state is. Statuses of a provider only ever raise it.
RANK: Final[dict[MessageState, int]] = {
    MessageState.SCHEDULED: 0,
    MessageState.QUEUED: 1,
    MessageState.SENDING: 2,
    MessageState.UNKNOWN: 3,
    MessageState.ACCEPTED: 4,
    MessageState.SENT: 5,
    MessageState.DELIVERED: 6,
    MessageState.READ: 7,
    MessageState.PLAYED: 8,
}

#: States an actor still has work with (an `unknown` one until it is a dead letter).
OPEN: Final = frozenset(
    {MessageState.SCHEDULED, MessageState.QUEUED, MessageState.SENDING, MessageState.UNKNOWN}
)


class Priority(IntEnum):
    """Lower goes first: replies before normal before bulk."""

    REPLY = 0
    NORMAL = 1
    BULK = 2


class Address(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Whom a message is for. At least one is set; `phone` is E.164 with its `+`."""

    phone: str | None = None
    user_id: str | None = None  # Meta's business-scoped user id
    group_id: str | None = None
    jid: str | None = None  # WhatsApp Web only

    @property
    def chat(self) -> ChatId:
        """The conversation: the unit of order, of the pair limit and of stickiness."""
        return ChatId(self.group_id or self.user_id or self.phone or self.jid or "")


class Failure(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why an attempt, or a message, failed."""

    code: str
    detail: str
    provider_code: str | None = None
    retryable: bool = False

    @classmethod
    def of(cls, error: ProviderError) -> Failure:
        return cls(error.code, error.detail, error.provider_code, error.retryable)


class Step(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line of a message's history."""

    state: MessageState
    at: datetime
    error: Failure | None = None
    note: str | None = None


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key. `scope` is the token's name, `fingerprint` the SHA-256 of the parsed body."""

    scope: str
    key: str
    fingerprint: str


_HISTORY: Final = 50  # steps kept; the oldest go first, but the very first stays


class OutboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way out. Everything above the line is fixed when it is accepted."""

    message_id: MessageId
    session_id: SessionId
    provider: str
    to: Address
    content: Content
    seq: int
    created_at: datetime
    expires_at: datetime
    shop_id: ShopId | None = None
    priority: Priority = Priority.NORMAL
    reference: str | None = None
    reply_to: MessageId | None = None  # wad's id of the message it quotes
    quotes: str | None = None  # the provider's id of the message it quotes
    send_at: datetime | None = None
    idempotency: Idempotency | None = None
    # ------------------------------------------------------------------
    state: MessageState = MessageState.QUEUED
    updated_at: datetime
    due_at: datetime | None = None  # not before; for `unknown`: when waiting for proof ends
    attempts: int = 0
    epoch: int = 0  # of the actor that wrote `sending`
    provider_message_id: str | None = None
    error: Failure | None = None
    maybe_duplicate: bool = False
    dead: bool = False  # a dead letter
    history: tuple[Step, ...] = ()
    rev: int = 0

    @property
    def chat(self) -> ChatId:
        return self.to.chat

    @property
    def type(self) -> str:
        return str(self.content["type"])

    @property
    def is_open(self) -> bool:
        return self.state in OPEN and not self.dead

    def moved(
        self,
        state: MessageState,
        at: datetime,
        *,
        error: Failure | None = None,
        note: str | None = None,
        **changes: Any,
    ) -> OutboundMessage:
        """The same message one step on. Whether the step is allowed is the caller's to know."""
        history = (*self.history, Step(state, at, error, note))
        if len(history) > _HISTORY:
            history = (history[0], *history[-_HISTORY + 1 :])
        return msgspec.structs.replace(
            self, state=state, updated_at=at, error=error, history=history, rev=new_rev(), **changes
        )


def with_status(message: OutboundMessage, status: StatusUpdate) -> OutboundMessage | None:
    """*message* after *status*, or `None` where the status changes nothing.

    Forward only. `failed` counts until the message is known to be delivered. A status proves that the
    provider had the message, so it also settles `sending`, `unknown` and what was given up as unknown.
    """
    new = status.state
    now = message.state
    provider_id = message.provider_message_id or status.provider_message_id
    if now in (MessageState.FAILED, MessageState.EXPIRED, MessageState.CANCELLED):
        return None
    if new is MessageState.FAILED:
        if RANK[now] >= RANK[MessageState.DELIVERED]:
            return None
        return message.moved(
            new, status.at, error=status.error, provider_message_id=provider_id, dead=True, due_at=None
        )
    if RANK[new] <= RANK[now]:
        return None
    return message.moved(new, status.at, provider_message_id=provider_id, dead=False, due_at=None)


# --- inbound --------------------------------------------------------------------------------------


class Person(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Who wrote. `phone` may be absent: Meta sends only a business-scoped `user_id` then."""

    phone: str | None = None
    user_id: str | None = None
    name: str | None = None
    username: str | None = None
    parent_user_id: str | None = None
    jid: str | None = None


class InboundMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="message"):
    """A message from a customer, in wad's words. `content` has the shape of an outbound one."""

    provider_message_id: str
    chat: ChatId
    chat_kind: Literal["person", "group"] = "person"
    sender: Person
    content: Content
    context: dict[str, Any] | None = None  # {"providerMessageId", "from", "forwarded", ...}
    sent_at: datetime | None = None  # the provider's clock: shown, never used for order
    raw: dict[str, Any] = {}  # what the provider said, so that nothing it says is lost

    @property
    def dedupe_key(self) -> str:
        return f"m:{self.provider_message_id}"


class StatusUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="status"):
    """What a provider says of a message of ours. `message_id` is our own id, where it travels with it."""

    provider_message_id: str
    state: MessageState  # sent, delivered, read, played or failed
    at: datetime
    message_id: MessageId | None = None
    error: Failure | None = None
    recipient: str | None = None
    raw: dict[str, Any] = {}


class AccountEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="account"):
    """Anything else a provider tells: template status, quality, bans, fields wad does not know yet."""

    type: str  # `template.status`, `account.update` or `provider.event`
    dedupe_key: str
    data: dict[str, Any]


Inbound: TypeAlias = InboundMessage | StatusUpdate | AccountEvent


class InboxState(StrEnum):
    RECEIVED = "received"  # stored; the flow has not answered yet
    ANSWERED = "answered"  # the flow's answer is stored; its replies may not all be queued yet
    DONE = "done"
    DEAD = "dead"  # gave up: a dead letter


class FlowEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="event"):
    """One of wad's own facts that the flow asked to hear (`flow.events`), delivered like a message."""

    type: str
    dedupe_key: str
    data: dict[str, Any]


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something stored for the flow service: a customer's message, or an event it asked for."""

    message_id: MessageId
    session_id: SessionId
    provider: str
    shop_id: ShopId | None = None
    event: InboundMessage | AccountEvent | FlowEvent
    seq: int
    received_at: datetime
    expires_at: datetime  # when its flow is no longer asked; a person's retry moves it
    # ------------------------------------------------------------------
    state: InboxState = InboxState.RECEIVED
    due_at: datetime | None = None
    attempts: int = 0
    answer: list[Content] | None = None  # the flow's replies, once they are known
    error: Failure | None = None
    rev: int = 0

    @property
    def chat(self) -> ChatId:
        """The lane it is delivered in. Events that belong to no conversation share one."""
        match self.event:
            case InboundMessage(chat=chat):
                return chat
            case AccountEvent():
                return ChatId("")
            case FlowEvent(data=data):
                return ChatId(str(data.get("chat", "")))

    @property
    def dedupe_key(self) -> str:
        return self.event.dedupe_key

    def moved(self, state: InboxState, **changes: Any) -> InboxItem:
        return msgspec.structs.replace(self, state=state, rev=new_rev(), **changes)


class Media(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that a provider keeps for us: uploaded by a shop, or received from a customer."""

    media_id: str
    session_id: SessionId
    provider_media_id: str
    mime_type: str
    created_at: datetime
    expires_at: datetime
    sha256: str | None = None
    size: int | None = None
    filename: str | None = None


class Pending(msgspec.Struct, frozen=True):
    """An open outbox or inbox row without its body: all that scheduling needs."""

    message_id: MessageId
    chat: ChatId
    seq: int
    created_at: datetime
    priority: Priority = Priority.NORMAL
    state: str = ""  # a MessageState or an InboxState
    due_at: datetime | None = None


class StoredEvent(msgspec.Struct, frozen=True):
    """One line of the event stream, kept so that a listener can resume. `seq` is its SSE id."""

    seq: int
    type: str
    at: datetime
    data: dict[str, Any]
    session_id: SessionId | None = None
    shop_id: ShopId | None = None


class MessageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /messages` asks for. Newest first; `after` is the `seq` of the last row seen."""

    shop_ids: frozenset[str] | None = None  # None: every shop
    session_id: str | None = None
    direction: Literal["inbound", "outbound"] | None = None
    state: str | None = None
    to: str | None = None  # exact recipient (outbound)
    sender: str | None = None  # exact phone or user id (inbound)
    since: datetime | None = None
    after: int | None = None
    limit: int = 50
