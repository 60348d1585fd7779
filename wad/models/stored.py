"""What the store is asked for, and short forms of what it holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from wad.models.ids import ChatId, MessageId, SessionId, ShopId
from wad.models.outbound import MessageState, Priority, number_in


class Pending(msgspec.Struct, frozen=True):
    """An open outbox or inbox row without its body: all that scheduling needs."""

    message_id: MessageId
    chat: ChatId  # its lane
    seq: int
    created_at: datetime
    priority: Priority = Priority.NORMAL
    state: str = ""  # a MessageState or an InboxState
    due_at: datetime | None = None
    may_move: bool = True  # to another session of its shop: the row knows

    @property
    def number(self) -> str:
        """`number_in` its lane."""
        return number_in(self.chat)


class Bulk(msgspec.Struct, frozen=True):
    """What a caller called its messages, of one shop, when the first of them came. A bulk itself is its messages."""

    bulk_id: str
    shop_id: ShopId | None
    seq: int
    began_at: datetime


class BulkCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How far the messages of a bulk are."""

    states: dict[MessageState, int]
    dead: int
    waiting: dict[SessionId, int]  # those that wait for their turn, by the session that has them
    last_due: datetime | None  # when the last of those that are scheduled has its turn
    began_at: datetime | None  # None: nobody knows any more


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
    bulk_id: str | None = None  # outbound
    since: datetime | None = None
    after: int | None = None
    limit: int = 50
