"""The harnesses of wad's own providers: their words on the wire, for the suite of `wad.conformance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from tests.conformance.twilio import TwilioHarness
from tests.providers import meta
from tests.providers.test_meta_send import CONTENTS
from wad.conformance import GROUP, Beyond, HttpHarness, Refusal, Said, Told
from wad.conformance.peer import Received, Script, answering
from wad.errors import Verdict
from wad.models import Content, Credentials, MessageState, Session, WebhookRequest
from wad.providers.base import ProviderKind
from wad.providers.cloud_api import CloudApi
from wad.providers.dialog360 import PROOF_HEADER, Dialog360, Dialog360Config
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig


class CloudApiHarness(HttpHarness):
    name: ClassVar[str] = "cloud_api"
    contents: Mapping[str, Content] = {label: content for label, (content, _) in CONTENTS.items()}
    required = frozenset({"accessToken", "phoneNumberId"})
    secrets: tuple[str, ...] = (meta.TOKEN, meta.APP_SECRET)

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

    def refusals(self) -> Mapping[str, Refusal]:
        """A row for each verdict besides those that every provider has; `errors.py` has its own tests."""
        return {
            "the account's limit": Refusal(_error(80007), Verdict.THROTTLED, "account_throttled"),
            "the pair's limit": Refusal(_error(131056), Verdict.THROTTLED, "pair_throttled"),
            "nobody to reach": Refusal(_error(131026), Verdict.REJECTED, "recipient_unreachable"),
            "a locked account": Refusal(_error(131031), Verdict.NEEDS_PERSON, "account_locked"),
        }

    def beyond(self) -> Mapping[str, Beyond]:
        """Of each kind one; `tests/providers/test_meta_limits.py` has them all."""
        buttons = {"type": "button", "body": {"text": "a"}, "action": {"buttons": []}}
        picture = {"link": "https://x.example/a.png", "caption": "x" * 1025}
        return {
            "a text too long": Beyond({"type": "text", "text": {"body": "x" * 4097}}, "/text/body"),
            "a caption too long": Beyond({"type": "image", "image": picture}, "/image/caption"),
            "no button": Beyond(
                {"type": "interactive", "interactive": buttons}, "/interactive/action/buttons"
            ),
        }

    def echoes(self, text: str) -> Script:
        return answering(400, {"error": {"code": 1, "message": text}})

    def closes_window(self) -> Script:
        return _error(131047)

    def marks_read(self) -> Script:
        return answering(200, {"success": True})

    def lists_groups(self) -> Script:
        return answering(200, {"data": {"groups": [{"id": GROUP.group_id}]}})

    def stores(self, media_id: str) -> Script:
        return answering(200, {"id": media_id})

    def shows_profile(self) -> Script:
        return answering(200, {"data": [{"messaging_product": "whatsapp", "about": "Hola"}]})

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
        return self._status(
            MessageState.DELIVERED, id=provider_message_id, biz_opaque_callback_data=message_id
        )

    def _status(self, state: MessageState, **more: Any) -> WebhookRequest:
        said = {"id": meta.WAMID, "status": state.value, "timestamp": "1795521600", **more}
        return self.webhook(meta.statuses(said))

    def said(self) -> Mapping[str, Said]:
        button = {"payload": "yes", "text": "Sí"}
        place = {"latitude": 19.4, "longitude": -99.1}
        return {
            "a place": self._said("location", place, place),
            "a button of a template": self._said("button", button, button),
        }

    def _said(self, kind: str, payload: Any, content: Any) -> Said:
        request = self.webhook(meta.messages(meta.inbound(kind, payload)))
        return Said(request, {"type": kind, kind: content})

    def told(self) -> Mapping[str, Told]:
        failed = {"errors": [{"code": 131026, "title": "Message undeliverable"}]}
        return {
            state.value: Told(self._status(state, **(failed if state is MessageState.FAILED else {})), state)
            for state in (MessageState.SENT, MessageState.DELIVERED, MessageState.READ, MessageState.FAILED)
        }

    def batch(self, provider_message_ids: Sequence[str]) -> WebhookRequest | None:
        return self.webhook(meta.messages(*(meta.inbound(id=each) for each in provider_message_ids)))


def _error(code: int) -> Script:
    return answering(400, {"error": {"code": code, "message": "No"}})


class Dialog360Harness(CloudApiHarness):
    """Meta's words, but for the key and for what makes a webhook genuine."""

    name = "dialog360"
    signs = frozenset()  # a header that the owner set
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


HARNESSES: tuple[HttpHarness, ...] = (CloudApiHarness(), Dialog360Harness(), TwilioHarness())
