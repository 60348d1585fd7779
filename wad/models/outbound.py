"""A message on its way out, its states, and the one way in which a status may move them: forward."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Final

import msgspec

from wad.errors import ProviderError
from wad.models.ids import ChatId, Content, MessageId, SessionId, ShopId, new_rev


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


#: States in which it surely waits for its turn.
WAITING: Final = (MessageState.QUEUED, MessageState.SCHEDULED)


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


class Number(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One of the numbers of a session that has several: what its provider calls it, and what people dial."""

    id: str
    phone: str | None = None  # E.164; None where nobody has told

    @property
    def name(self) -> str:
        """As the API shows it."""
        return self.phone or self.id


class Failure(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why an attempt, or a message, failed."""

    code: str
    detail: str
    provider_code: str | None = None
    retryable: bool = False

    @classmethod
    def of(cls, error: ProviderError) -> Failure:
        return cls(error.code, error.detail, error.provider_code, error.retryable)


class Waiting(msgspec.Struct, frozen=True):
    """Why a message has not left yet: a word, until when where that is known, and the same for people."""

    reason: str
    until: datetime | None
    detail: str


class Step(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One line of a message's history."""

    state: MessageState
    at: datetime
    error: Failure | None = None
    note: str | None = None
    due_at: datetime | None = None  # of one that is `queued` again: not before


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key. `scope` is the token's name, `fingerprint` the SHA-256 of the parsed body."""

    scope: str
    key: str
    fingerprint: str


_HISTORY: Final = 50  # steps kept; the oldest go first, but the very first stays


class OutboundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way out. Everything above the line is fixed when it is accepted.

    But for `session_id` and `provider` of one for which wad chose the session: it may move to another.
    """

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
    number: Number | None = None  # which of the session's it leaves from; None: it has one, or any will do
    reference: str | None = None
    reply_to: MessageId | None = None  # wad's id of the message it quotes
    quotes: str | None = None  # the provider's id of the message it quotes
    send_at: datetime | None = None
    bulk_id: str | None = None  # the caller's name for what it is a part of
    idempotency: Idempotency | None = None
    # ------------------------------------------------------------------
    state: MessageState = MessageState.QUEUED
    updated_at: datetime
    due_at: datetime | None = None  # not before; for `unknown`: when waiting for proof ends
    attempts: int = 0
    epoch: int = 0  # of the actor that wrote `sending`
    provider_message_id: str | None = None
    former_ids: tuple[str, ...] = ()  # what the provider called attempts that failed, before a person's retry
    error: Failure | None = None
    maybe_duplicate: bool = False
    resent: bool = (
        False  # it may have gone out, and is sent again under the same id: by this session or by none
    )
    chosen: str | None = None  # why wad chose this session for it; None: whoever sent it named the session
    moves: int = 0  # how often it was given to another session of its shop
    dead: bool = False  # a dead letter
    history: tuple[Step, ...] = ()
    rev: int = 0

    @property
    def chat(self) -> ChatId:
        return self.to.chat

    @property
    def lane(self) -> ChatId:
        """What its order and the pair limit go by: the chat, as it is with the number that the message leaves from."""
        return self.chat if self.number is None else ChatId(f"{self.number.id}/{self.chat}")

    @property
    def type(self) -> str:
        return str(self.content["type"])

    @property
    def may_have_gone_out(self) -> bool:
        """Whether an earlier attempt is in doubt. That no later one went out says nothing of it."""
        return self.resent or self.maybe_duplicate

    @property
    def is_open(self) -> bool:
        return self.state in OPEN and not self.dead

    @property
    def is_bulk(self) -> bool:
        return self.priority is Priority.BULK

    @property
    def in_backlog(self) -> bool:
        """Whether it waits for its turn with the bulk, of which the outbox has no more than a page in memory."""
        return self.is_bulk and self.state in WAITING and not self.dead

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
        due_at = changes.get("due_at") if state is MessageState.QUEUED else None
        history = (*self.history, Step(state, at, error, note, due_at))
        if len(history) > _HISTORY:
            history = (history[0], *history[-_HISTORY + 1 :])
        return msgspec.structs.replace(
            self, state=state, updated_at=at, error=error, history=history, rev=new_rev(), **changes
        )


def number_in(lane: ChatId) -> str:
    """The id of the session's number that *lane* is of; "" where it has but one, or none is known yet."""
    number, slash, _ = lane.partition("/")
    # A group's id may have a slash: Meta's are base64. Its numbers' ids are digits.
    return number if slash and number.isdigit() else ""


#: The type of what is stored and cannot be read any more: its key is gone, or its bytes are not those that were written.
UNREADABLE: Final = "unreadable"


def given_up(
    message: OutboundMessage,
    state: MessageState,
    at: datetime,
    *,
    error: Failure | None,
    note: str | None = None,
) -> OutboundMessage:
    """*message* as a dead letter in *state*, `failed` or `expired`; or `unknown`, where it cannot be called unsent."""
    if message.may_have_gone_out:
        note = f"{note or state}: an earlier attempt may have gone out"
        state = MessageState.UNKNOWN
    return message.moved(state, at, error=error, note=note, dead=True, due_at=None)


class StatusUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="status"):
    """What a provider says of a message of ours. `message_id` is our own id, where it travels with it."""

    provider_message_id: str
    state: MessageState  # sent, delivered, read, played or failed
    at: datetime
    message_id: MessageId | None = None
    error: Failure | None = None
    recipient: str | None = None
    raw: dict[str, Any] = {}


def concerns(message: OutboundMessage, status: StatusUpdate) -> bool | None:
    """Whether *status* is of the attempt that *message* stands for; None where only the provider's answer will tell.

    Our own id is the same in every attempt of a message, and comes back with the statuses of each.
    """
    theirs, mine = status.provider_message_id, message.provider_message_id
    if theirs == mine:
        return True
    if theirs in message.former_ids:
        return False
    if status.state is not MessageState.FAILED or not message.maybe_duplicate:
        return True  # whichever attempt went out, the message did; or there was only one
    return None if mine is None else False


def with_status(message: OutboundMessage, status: StatusUpdate) -> OutboundMessage | None:
    """*message* after *status*, or `None` where the status changes nothing.

    Forward only. `failed` counts until the message is known to be delivered. A status proves that the
    provider had the message, so it also settles `sending`, `unknown` and what was given up as unknown.
    A provider's clock may count whole seconds, or be behind ours: history does not go back in time for that.
    """
    new = status.state
    now = message.state
    at = max(status.at, message.updated_at)
    provider_id = message.provider_message_id or status.provider_message_id
    if now in (MessageState.FAILED, MessageState.EXPIRED, MessageState.CANCELLED):
        return None
    if new is MessageState.FAILED:
        if RANK[now] >= RANK[MessageState.DELIVERED]:
            return None
        return message.moved(
            new, at, error=status.error, provider_message_id=provider_id, dead=True, due_at=None
        )
    if RANK[new] <= RANK[now]:
        return None
    return message.moved(new, at, provider_message_id=provider_id, dead=False, due_at=None)
