"""A session on Twilio for tests, and Twilio's words on the wire. Signatures are the SDK's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator

from wad.models import Credentials, Session, SessionId, Settings, WebhookRequest
from wad.providers.http import Pools
from wad.providers.place import Place
from wad.providers.twilio.account import TwilioConfig
from wad.providers.twilio.kind import Twilio

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "tokenCANARY0123456789"
SHARED_KEY = "sharedkeyCANARY0123456789"
KEY = "SK0123456789abcdef0123456789abcdef"
KEY_SECRET = "keysecretCANARY0123456789"
SERVICE = "MG0123456789abcdef0123456789abcdef"
SENDER = "+14155238886"
TEMPLATE = "HX0123456789abcdef0123456789abcdef"
SID = "SM0123456789abcdef0123456789abcdef"
URL = "https://wa.example.com/webhooks/twilio/tienda-1"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def session(base_url: str | None = None, **credentials: str | None) -> Session:
    held = {"accountSid": ACCOUNT, "authToken": TOKEN, "from": SENDER, **credentials}
    return Session(
        session_id=SessionId("tienda-1"),
        provider="twilio",
        credentials=Credentials({name: value for name, value in held.items() if value is not None}),
        settings=Settings(base_url=base_url),
        created_at=NOW,
        updated_at=NOW,
    )


def kind(
    pools: Pools, *, public_url: str | None = "https://wa.example.com", seconds: float = 5.0, **config: Any
) -> Twilio:
    place = Place(pools=pools, public_url=public_url, data_dir=Path("unused"))
    return Twilio(TwilioConfig(timeout=seconds, **config), place)


def signature(
    params: Mapping[str, str] | str, url: str = URL, *, token: str = TOKEN, algorithm: str | None = None
) -> dict[str, str]:
    signed = RequestValidator(token).compute_signature(url, params, algorithm)
    settings = {"X-Twilio-Webhooks-Signature-Settings": f"key=webhooks_sharedkey_1,algorithm={algorithm}"}
    return {"X-Twilio-Signature": signed, **(settings if algorithm else {})}


def webhook(params: Mapping[str, str], url: str = URL, **how: Any) -> WebhookRequest:
    """A form, signed."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        **signature(params, url, **how),
    }
    return WebhookRequest(url=url, headers=headers, body=urlencode(params).encode())


def inbound(**more: str | None) -> dict[str, str]:
    """A customer's text. What decides whether it is one stands last: half of it is none."""
    given: dict[str, str | None] = {
        "MessageSid": SID,
        "SmsMessageSid": SID,
        "SmsSid": SID,
        "AccountSid": ACCOUNT,
        "From": "whatsapp:+5215512345678",
        "To": f"whatsapp:{SENDER}",
        "Body": "hola",
        "NumMedia": "0",
        "NumSegments": "1",
        "ProfileName": "Ana",
        "WaId": "5215512345678",
        "ExternalUserId": "whatsapp:MX.13491208655302741918",
        "MessageType": "text",
        "ApiVersion": "2010-04-01",
        **more,
        "SmsStatus": "received",
    }
    return {name: value for name, value in given.items() if value is not None}


def status(state: str, **more: str) -> dict[str, str]:
    return {
        "MessageSid": SID,
        "SmsSid": SID,
        "AccountSid": ACCOUNT,
        "From": f"whatsapp:{SENDER}",
        "To": "whatsapp:+5215512345678",
        "ApiVersion": "2010-04-01",
        "ChannelPrefix": "whatsapp",
        "SmsStatus": state,
        "MessageStatus": state,
        **more,
    }


def callback(message_id: str) -> str:
    return f"{URL}?messageId={message_id}"


def record(**more: Any) -> dict[str, Any]:
    """A message as Twilio lists it."""
    return {
        "sid": SID,
        "account_sid": ACCOUNT,
        "messaging_service_sid": None,
        "from": f"whatsapp:{SENDER}",
        "to": "whatsapp:+5215512345678",
        "body": "Hola",
        "status": "delivered",
        "direction": "outbound-api",
        "num_media": "0",
        "num_segments": "1",
        "error_code": None,
        "error_message": None,
        "price": None,
        "price_unit": None,
        "date_created": "Tue, 24 Nov 2026 12:00:01 +0000",
        "date_updated": "Tue, 24 Nov 2026 12:00:02 +0000",
        "date_sent": "Tue, 24 Nov 2026 12:00:02 +0000",
        "api_version": "2010-04-01",
        "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}/Media.json"},
        **more,
    }


def page(*records: dict[str, Any], key: str = "messages", following: str | None = None) -> dict[str, Any]:
    return {
        key: list(records),
        "page": 0,
        "page_size": 50,
        "start": 0,
        "end": len(records),
        "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
        "first_page_uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?Page=0",
        "previous_page_uri": None,
        "next_page_uri": following,
    }


def error(code: int, status: int = 400, message: str = "No") -> tuple[int, dict[str, Any]]:
    return status, {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
