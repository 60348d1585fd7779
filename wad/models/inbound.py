"""What comes in: customers' messages, what else a provider tells, and the rows that wait for a flow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

from wad.models.ids import ChatId, Content, MessageId, SessionId, ShopId, new_rev
from wad.models.outbound import Failure, Number, StatusUpdate


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
    number: Number | None = None  # which of the session's they wrote to; None where it has one
    content: Content
    context: dict[str, Any] | None = None  # {"providerMessageId", "from", "forwarded", ...}
    sent_at: datetime | None = None  # the provider's clock: shown, never used for order
    raw: dict[str, Any] = {}  # what the provider said, so that nothing it says is lost

    @property
    def dedupe_key(self) -> str:
        return f"m:{self.provider_message_id}"


class AccountEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="account"):
    """Anything else a provider tells: template status, quality, bans, fields wad does not know yet."""

    type: str  # `template.status`, `account.update` or `provider.event`
    dedupe_key: str
    data: dict[str, Any]


Inbound: TypeAlias = InboundMessage | StatusUpdate | AccountEvent


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider sent to one of wad's webhooks."""

    url: str  # as the provider knows it: `http.public_url` with the path and the query as they came
    headers: Mapping[str, str]
    body: bytes  # as it came: what was signed


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

    def __repr__(self) -> str:  # `session.qr` has the code in its data
        return f"FlowEvent({self.type!r}, {self.dedupe_key!r})"


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


class MediaState(StrEnum):
    """Where a file is, besides with its provider."""

    REMOTE = "remote"  # nowhere, and nobody fetches it
    WAITING = "waiting"  # nowhere yet: it is fetched, or tried again later
    STORED = "stored"  # on wad's disk
    FAILED = "failed"  # nowhere: fetching it was given up


class Media(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file that a provider keeps for us: uploaded by a shop, or received from a customer."""

    media_id: str
    session_id: SessionId
    provider_media_id: str
    mime_type: str
    created_at: datetime
    expires_at: datetime
    provider: str | None = None  # who keeps it; None: the session's, in rows that do not say
    sha256: str | None = None  # as the provider wrote it; of a stored file in hex, and ours
    size: int | None = None
    filename: str | None = None
    number: Number | None = None  # the session's that alone may send it; None where it has one
    # ------------------------------------------------------------------
    state: MediaState = MediaState.REMOTE
    found_type: str | None = None  # what a stored file's content says it is; None where it does not tell
    is_suspect: bool = False  # its content is not what `mime_type` says
    attempts: int = 0
    due_at: datetime | None = None
    error: Failure | None = None
    rev: int = 0

    def moved(self, state: MediaState, **changes: Any) -> Media:
        return msgspec.structs.replace(self, state=state, rev=new_rev(), **changes)
