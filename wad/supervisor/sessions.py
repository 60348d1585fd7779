"""The living sessions: create, restore, reach and stop them. What HTTP talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from wad.errors import WadError
from wad.models import (
    Address,
    Content,
    Credentials,
    DesiredState,
    Idempotency,
    InboxItem,
    Media,
    MessageId,
    OutboundMessage,
    Priority,
    Session,
    SessionId,
    Settings,
    ShopId,
    Status,
)
from wad.providers.base import Capabilities, Group, MediaContent


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /sessions` asks for."""

    provider: str
    credentials: Credentials
    session_id: SessionId | None = None  # None: wad names it
    shop_id: ShopId | None = None
    phone_number: str | None = None
    settings: Settings = Settings()
    connect: bool = True


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A send as asked for, already well-formed; whether this session can is checked by `send`."""

    session_id: SessionId
    to: Address
    content: Content
    priority: Priority = Priority.NORMAL
    reference: str | None = None
    reply_to: MessageId | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    idempotency: Idempotency | None = None
    queue: bool = False  # take it even while the session waits for a person


class Sent(msgspec.Struct, frozen=True):
    """A message that stands in the store. `replayed`: by an earlier request with the same key."""

    message: OutboundMessage
    replayed: bool = False


class Progress(msgspec.Struct, frozen=True, rename="camel"):
    """How far restoring is, for `/readyz`."""

    restored: int
    of: int
    need_pairing: int
    done: bool


class WebhookResult(msgspec.Struct, frozen=True):
    """What a stored webhook batch held."""

    messages: int
    statuses: int
    other: int


class Sessions:
    """Every session of this process. All methods raise `WadError`s that HTTP turns into problems."""

    progress: Progress

    # --- lifecycle
    async def create(self, new: NewSession) -> Session: ...
    async def update(
        self,
        session_id: SessionId,
        *,
        provider: str | None = None,
        shop_id: ShopId | None | msgspec.UnsetType = msgspec.UNSET,
        phone_number: str | None | msgspec.UnsetType = msgspec.UNSET,
        credentials: Mapping[str, str | None] | None = None,  # RFC 7396: None removes a key
        settings: Mapping[str, Any] | None = None,  # camelCase names; None removes
    ) -> Session: ...
    async def delete(self, session_id: SessionId) -> None: ...
    async def connect(self, session_id: SessionId, *, wait: float) -> Status: ...
    async def disconnect(self, session_id: SessionId, *, wait: float) -> Status: ...
    async def logout(self, session_id: SessionId) -> Status: ...

    # --- reading, from memory
    def session(self, session_id: SessionId) -> Session: ...  # NotFound
    def status(self, session_id: SessionId) -> Status: ...
    def statuses(self) -> Iterable[Status]: ...
    def capabilities(self, session_id: SessionId) -> Capabilities: ...
    def check_alive(self) -> None: ...

    # --- sending
    async def send(self, draft: Draft) -> Sent: ...
    async def send_bulk(self, drafts: Sequence[Draft]) -> list[Sent | WadError]: ...
    async def wait_for(self, message: OutboundMessage, seconds: float) -> OutboundMessage: ...
    async def cancel(self, message_id: MessageId) -> OutboundMessage: ...
    async def retry_dead_letter(self, message_id: MessageId) -> OutboundMessage | InboxItem: ...
    async def discard_dead_letter(self, message_id: MessageId) -> None: ...

    # --- through the session's connection
    async def mark_read(self, session_id: SessionId, message_id: MessageId, *, typing: bool) -> None: ...
    async def groups(self, session_id: SessionId) -> list[Group]: ...
    async def upload(
        self, session_id: SessionId, data: bytes, *, mime_type: str, filename: str | None
    ) -> Media: ...
    @asynccontextmanager
    async def download(self, media: Media) -> AsyncIterator[MediaContent]:
        yield ...  # type: ignore[misc]

    # --- webhooks: verify, parse, store. Raises Unauthorized, InvalidRequest, NotFound, StoreUnavailable
    def handshake(self, provider: str, session_id: SessionId | None, *, token: str) -> bool: ...
    async def webhook(
        self, provider: str, session_id: SessionId | None, headers: Mapping[str, str], body: bytes
    ) -> WebhookResult: ...


_ = DesiredState
