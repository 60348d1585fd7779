"""An event as its flow gets it: the JSON body, and the signature of a Standard Webhook over it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

import msgspec

from wad.errors import InvalidRequest
from wad.models import AccountEvent, FlowEvent, InboundMessage, InboxItem


def check_secret(secret: str) -> None:
    """Refuse what cannot sign (InvalidRequest): one `whsec_` secret, or several with spaces between."""
    _keys(secret)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature`: one for each secret, so that either end of a rotation finds its own."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(key, signed, hashlib.sha256) for key in _keys(secret))
    return " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures)


def _keys(secret: str) -> list[bytes]:
    keys = []
    for each in secret.split():
        try:
            key = base64.b64decode(each.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):  # ValueError: not ASCII
            key = b""
        if not 24 <= len(key) <= 64:  # Standard Webhooks
            raise InvalidRequest(
                "a flow secret is whsec_ and 24 to 64 bytes in base64", code="invalid_flow_secret"
            )
        keys.append(key)
    if not keys:
        raise InvalidRequest("the flow secret is empty", code="invalid_flow_secret")
    return keys


def event_type(item: InboxItem) -> str:
    return "message.received" if isinstance(item.event, InboundMessage) else item.event.type


def event_body(item: InboxItem) -> bytes:
    """The event as the flow gets it."""
    whose = {"sessionId": item.session_id, "shopId": item.shop_id, "provider": item.provider}
    match item.event:
        case InboundMessage() as message:
            data: dict[str, Any] = {
                "messageId": item.message_id,
                **whose,
                "from": {"phone": None, "userId": None, "name": None} | msgspec.to_builtins(message.sender),
                "chat": {"id": message.chat, "kind": message.chat_kind},
                **({} if message.number is None else {"to": message.number.name}),
                "contentType": message.content["type"],
                "context": message.context,
                "receivedAt": item.received_at,
            }
            data |= {name: held for name, held in message.content.items() if name not in {"type", *data}}
        case AccountEvent() | FlowEvent() as event:
            data = event.data | whose
    return msgspec.json.encode({"type": event_type(item), "timestamp": item.received_at, "data": data})
