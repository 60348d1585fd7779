"""Records for the store's tests, valid but for what a test says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from wad.models import (
    AccountEvent,
    Address,
    Credentials,
    Idempotency,
    InboundMessage,
    InboxItem,
    MessageState,
    OutboundMessage,
    Person,
    Session,
    StatusUpdate,
    StoredEvent,
    new_message_id,
    new_rev,
    next_seq,
    utc_now,
)


def a_session(session_id: str = "s1", **changes: Any) -> Session:
    now = utc_now()
    values: dict[str, Any] = {
        "session_id": session_id,
        "provider": "cloud_api",
        "credentials": Credentials(accessToken="EAAsecret", phoneNumberId="1234"),
        "created_at": now,
        "updated_at": now,
    }
    return Session(**(values | changes))


def a_message(session_id: str = "s1", *, key: str | None = None, **changes: Any) -> OutboundMessage:
    now = utc_now()
    values: dict[str, Any] = {
        "message_id": new_message_id(),
        "session_id": session_id,
        "provider": "cloud_api",
        "to": Address(phone="+5215512345678"),
        "content": {"type": "text", "text": {"body": "Hola"}},
        "seq": next_seq(),
        "created_at": now,
        "updated_at": now,
        "expires_at": now + timedelta(hours=24),
        "idempotency": None if key is None else Idempotency("ops", key, "f" * 64),
    }
    return OutboundMessage(**(values | changes))


def an_item(session_id: str = "s1", provider_id: str | None = None, **changes: Any) -> InboxItem:
    now = utc_now()
    values: dict[str, Any] = {
        "message_id": new_message_id(),
        "session_id": session_id,
        "provider": "cloud_api",
        "event": inbound(provider_id),
        "seq": next_seq(),
        "received_at": now,
        "expires_at": now + timedelta(hours=24),
        "rev": new_rev(),
    }
    return InboxItem(**(values | changes))


def inbound(
    provider_id: str | None = None, *, phone: str = "+5215500000001", **sender: Any
) -> InboundMessage:
    return InboundMessage(
        provider_message_id=provider_id or f"wamid.{new_message_id()}",
        chat=phone,
        sender=Person(phone=phone, **sender),
        content={"type": "text", "text": {"body": "Buenas"}},
    )


def an_account_event(key: str = "t:1") -> AccountEvent:
    return AccountEvent(type="template.status", dedupe_key=key, data={"status": "APPROVED"})


def a_status(provider_id: str, state: MessageState = MessageState.DELIVERED) -> StatusUpdate:
    return StatusUpdate(provider_message_id=provider_id, state=state, at=utc_now())


def an_event(**changes: Any) -> StoredEvent:
    values: dict[str, Any] = {"seq": next_seq(), "type": "message.status", "at": utc_now(), "data": {"a": 1}}
    return StoredEvent(**(values | changes))
