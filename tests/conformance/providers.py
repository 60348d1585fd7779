"""What a provider brings to its conformance suite: its words on the wire. The suite knows none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tests.providers import meta
from tests.providers.peer import Received, Script, answering
from tests.providers.test_meta_send import CONTENTS
from wad.models import Content, Credentials, Session, WebhookRequest
from wad.providers.base import ProviderKind
from wad.providers.cloud_api import CloudApi
from wad.providers.dialog360 import PROOF_HEADER, Dialog360, Dialog360Config
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig


class Harness(Protocol):
    """A provider over HTTP. Scripts answer one request each, as the provider would."""

    name: str
    #: A content for every content type and every interactive type that the provider declares.
    contents: Mapping[str, Content]
    #: The credentials without which there is no session; others may be left out.
    required: frozenset[str]
    #: What must not be shown anywhere.
    secrets: tuple[str, ...]

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        """The kind, talking to *base_url*, with so many seconds for an attempt."""

    def session(self) -> Session: ...

    def takes(self, provider_message_id: str) -> Script:
        """The send is accepted under this id."""

    def proves(self) -> Script:
        """The account is fine."""

    def refuses_credentials(self) -> Script: ...

    def throttles(self) -> Script: ...

    def rejects(self) -> Script:
        """The message can never go out as it stands."""

    def marks_read(self) -> Script: ...

    def lists_groups(self) -> Script:
        """One group, `g1`."""

    def stores(self, media_id: str) -> Script: ...

    def correlates(self, request: Received) -> str | None:
        """wad's own id in a send, by which a status can settle it."""

    def quoted(self, request: Received) -> str | None: ...

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest:
        """A genuine webhook with one text message; *hidden*: from somebody who shows no phone number, if that can be."""

    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest:
        """A genuine webhook that says: delivered."""


class CloudApiHarness:
    name = "cloud_api"
    contents: Mapping[str, Content] = {label: content for label, (content, _) in CONTENTS.items()}
    required = frozenset({"accessToken", "phoneNumberId"})
    secrets = (meta.TOKEN, meta.APP_SECRET)

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        return CloudApi(MetaConfig(base_url=base_url, timeout=seconds), pools)

    def session(self) -> Session:
        return meta.session()

    def takes(self, provider_message_id: str) -> Script:
        return answering(200, {"messaging_product": "whatsapp", "messages": [{"id": provider_message_id}]})

    def proves(self) -> Script:
        return answering(200, {"id": meta.NUMBER_ID, "display_phone_number": "+1 555-078-3881"})

    def refuses_credentials(self) -> Script:
        return answering(401, {"error": {"code": 190, "message": "Invalid OAuth access token"}})

    def throttles(self) -> Script:
        return answering(400, {"error": {"code": 130429, "message": "Rate limit hit"}})

    def rejects(self) -> Script:
        return answering(400, {"error": {"code": 131047, "message": "Re-engagement message"}})

    def marks_read(self) -> Script:
        return answering(200, {"success": True})

    def lists_groups(self) -> Script:
        return answering(200, {"data": {"groups": [{"id": "g1"}]}})

    def stores(self, media_id: str) -> Script:
        return answering(200, {"id": media_id})

    def correlates(self, request: Received) -> str | None:
        found = request.json.get("biz_opaque_callback_data")
        return None if found is None else str(found)

    def quoted(self, request: Received) -> str | None:
        found = request.json.get("context", {}).get("message_id")
        return None if found is None else str(found)

    def webhook(self, body: bytes) -> WebhookRequest:
        return meta.request(body)

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest:
        sent = meta.inbound(id=provider_message_id)
        if hidden:
            del sent["from"]
            named = [{"profile": {"name": "Ana"}, "user_id": sent["from_user_id"]}]
            return self.webhook(meta.messages(sent, contacts=named))
        return self.webhook(meta.messages(sent))

    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest:
        said = {
            "id": provider_message_id,
            "status": "delivered",
            "timestamp": "1795521600",
            "biz_opaque_callback_data": message_id,
        }
        return self.webhook(meta.statuses(said))


class Dialog360Harness(CloudApiHarness):
    """Meta's words, but for the key and for what makes a webhook genuine."""

    name = "dialog360"
    required = frozenset({"apiKey", "webhookSecret"})
    secrets = ("d360keyCANARY0123456789", "d360secretCANARY0123456789")

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        return Dialog360(Dialog360Config(base_url=base_url, timeout=seconds), pools)

    def session(self) -> Session:
        key, secret = self.secrets
        return msgspec.structs.replace(
            meta.session(), provider=self.name, credentials=Credentials(apiKey=key, webhookSecret=secret)
        )

    def proves(self) -> Script:
        return answering(200, {"id": meta.NUMBER_ID, "health_status": {"can_send_message": "AVAILABLE"}})

    def webhook(self, body: bytes) -> WebhookRequest:
        url = "https://wa.example.com/webhooks/dialog360/s1"
        return WebhookRequest(url=url, headers={PROOF_HEADER: self.secrets[1]}, body=body)


HARNESSES: tuple[Harness, ...] = (CloudApiHarness(), Dialog360Harness())
