"""Paloma keeps what every provider of wad's keeps."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import msgspec
from wad_paloma import Paloma, Section

from wad.conformance import HttpHarness, ProviderSuite
from wad.conformance.peer import Received, Script, answering
from wad.models import Credentials, Session, SessionId, WebhookRequest, utc_now
from wad.providers.base import ProviderKind
from wad.providers.http import Pools

KEY = "apikeyCANARY0123456789"
SECRET = "webhooksecretCANARY0123456789"


class PalomaHarness(HttpHarness):
    """Its words on the wire."""

    name = "paloma"
    contents = {"text": {"type": "text", "text": {"body": "Hola"}}}
    required = frozenset({"account", "apiKey", "webhookSecret"})
    secrets = (KEY, SECRET)

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        return Paloma(Section(base_url=base_url, timeout=seconds), pools)

    def session(self) -> Session:
        return Session(
            session_id=SessionId("tienda-1"),
            provider=self.name,
            credentials=Credentials(account="a1", apiKey=KEY, webhookSecret=SECRET),
            created_at=utc_now(),
            updated_at=utc_now(),
        )

    def takes(self, provider_message_id: str) -> Script:
        return answering(200, {"id": provider_message_id})

    def proves(self) -> Script:
        return answering(200, {"number": "+5215500000001"})

    def refuses_credentials(self) -> Script:
        return answering(401, {"error": "bad_key"})

    def throttles(self) -> Script:
        return answering(429, {"error": "too_fast"})

    def rejects(self) -> Script:
        return answering(404, {"error": "no_such_number"})

    def correlates(self, request: Received) -> str | None:
        return str(request.json["ref"])

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest:
        return _webhook(_text(provider_message_id))

    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest:
        return _webhook({"type": "delivered", "id": provider_message_id, "ref": message_id})

    def batch(self, provider_message_ids: Sequence[str]) -> WebhookRequest | None:
        return _webhook(*map(_text, provider_message_ids))


def _text(provider_message_id: str) -> dict[str, str]:
    return {"type": "text", "id": provider_message_id, "from": "+5215512345678", "text": "hola"}


def _webhook(*events: dict[str, str]) -> WebhookRequest:
    body = msgspec.json.encode({"account": "a1", "events": events})
    headers = {"x-paloma-signature": hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()}
    return WebhookRequest(url="https://wa.example.com/webhooks/paloma", headers=headers, body=body)


class TestConformance(ProviderSuite):
    harnesses = (PalomaHarness(),)
