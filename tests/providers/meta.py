"""A session on the Cloud API for tests, its messages, and Meta's words on the wire."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from wad.models import (
    Address,
    Content,
    Credentials,
    Inbound,
    MessageId,
    OutboundMessage,
    Session,
    SessionId,
    Settings,
    WebhookRequest,
)

NUMBER_ID = "106540352242922"
WABA_ID = "102290129340398"
TOKEN = "EAAJBtokenCANARY0123456789"
APP_SECRET = "appsecretCANARY0123456789"
WAMID = "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NEYxMzAzMzQ5MkEA"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PHONE = Address(phone="+5215512345678")
USER = Address(user_id="MX.13491208655302741918")
GROUP = Address(group_id="Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")


def session(base_url: str | None = None, **credentials: str | None) -> Session:
    held = {"accessToken": TOKEN, "phoneNumberId": NUMBER_ID, "appSecret": APP_SECRET, **credentials}
    return Session(
        session_id=SessionId("tienda-1"),
        provider="cloud_api",
        credentials=Credentials({name: value for name, value in held.items() if value is not None}),
        settings=Settings(base_url=base_url),
        created_at=NOW,
        updated_at=NOW,
    )


def message(content: Content | None = None, to: Address = PHONE, **more: Any) -> OutboundMessage:
    return OutboundMessage(
        message_id=MessageId("msg_0123456789abcdef"),
        session_id=SessionId("tienda-1"),
        provider="cloud_api",
        to=to,
        content=content or {"type": "text", "text": {"body": "Hola"}},
        seq=1,
        created_at=NOW,
        updated_at=NOW,
        expires_at=NOW + timedelta(days=1),
        **more,
    )


class Heard:
    """A link that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def called(self, operation: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((operation, result))

    async def received(self, events: list[Inbound]) -> None:
        raise AssertionError("a webhook provider hears nothing over its connection")


def signature(body: bytes, secret: str = APP_SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def request(body: bytes, headers: Mapping[str, str] | None = None) -> WebhookRequest:
    """Signed, unless *headers* say otherwise."""
    url = "https://wa.example.com/webhooks/cloud_api"
    return WebhookRequest(url=url, headers=signature(body) if headers is None else headers, body=body)


def webhook(value: Any, field: str = "messages", *, time: int | None = None) -> bytes:
    entry: dict[str, Any] = {"id": WABA_ID, "changes": [{"field": field, "value": value}]}
    if time is not None:
        entry["time"] = time
    return msgspec.json.encode({"object": "whatsapp_business_account", "entry": [entry]})


def messages(*inbound: Any, contacts: list[Any] | None = None, **more: Any) -> bytes:
    return webhook(
        {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER_ID},
            "contacts": [ANA] if contacts is None else contacts,
            "messages": list(inbound),
            **more,
        }
    )


def statuses(*updates: Any) -> bytes:
    return webhook(
        {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER_ID},
            "statuses": list(updates),
        }
    )


ANA = {"profile": {"name": "Ana"}, "wa_id": "5215512345678", "user_id": "MX.13491208655302741918"}


def inbound(kind: str = "text", payload: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "from": "5215512345678",
        "from_user_id": "MX.13491208655302741918",
        "id": WAMID,
        "timestamp": "1795521600",
        "type": kind,
        kind: {"body": "hola"} if payload is None else payload,
        **more,
    }
