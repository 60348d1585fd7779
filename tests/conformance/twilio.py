"""Twilio's words on the wire, for the conformance suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.providers.twilio import wire
from wad.conformance import Beyond, HttpHarness, Refusal, Said, Told
from wad.conformance.peer import Received, Script, answering
from wad.errors import Verdict
from wad.models import Content, MessageState, Session, WebhookRequest
from wad.providers.base import ProviderKind
from wad.providers.http import Pools

_PICTURE = f"https://api.twilio.com/2010-04-01/Accounts/{wire.ACCOUNT}/Messages/{wire.SID}/Media/ME1"


class TwilioHarness(HttpHarness):
    name = "twilio"
    contents: Mapping[str, Content] = {
        "text": {"type": "text", "text": {"body": "Hola"}},
        "image": {"type": "image", "image": {"link": "https://x.example/a.png", "caption": "mira"}},
        "audio": {"type": "audio", "audio": {"link": "https://x.example/a.ogg"}},
        "video": {"type": "video", "video": {"link": "https://x.example/a.mp4"}},
        "document": {"type": "document", "document": {"link": "https://x.example/a.pdf"}},
        "location": {
            "type": "location",
            "location": {"latitude": 19.4, "longitude": -99.1, "name": "Centro"},
        },
        "template": {
            "type": "template",
            "template": {
                "name": wire.TEMPLATE,
                "language": {"code": "es_MX"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}],
            },
        },
    }
    required = frozenset({"accountSid", "authToken", "from"})
    secrets = (wire.TOKEN, wire.SHARED_KEY)
    signs = frozenset({"body", "url"})

    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        return wire.kind(pools, seconds=seconds, base_url=base_url)

    def session(self) -> Session:
        return wire.session(webhookSharedKey=wire.SHARED_KEY)

    # --- sending ---

    def takes(self, provider_message_id: str) -> Script:
        return answering(201, wire.record(sid=provider_message_id, status="queued", date_sent=None))

    def proves(self) -> Script:
        found = {"sid": wire.ACCOUNT, "status": "active", "friendly_name": "Tienda", "type": "Full"}
        return answering(200, found)

    def refuses_credentials(self) -> Script:
        return answering(*wire.error(20003, 401, "Authenticate"))

    def throttles(self) -> Script:
        return answering(*wire.error(20429, 429, "Too Many Requests"))

    def rejects(self) -> Script:
        return answering(*wire.error(21211, 400, "Invalid 'To' Phone Number"))

    def closes_window(self) -> Script:
        return answering(*wire.error(63016))

    def refusals(self) -> Mapping[str, Refusal]:
        return {
            "a broken POST": Refusal(answering(*wire.error(20500, 500)), Verdict.UNKNOWN, "provider_failed"),
            "the sender's queue": Refusal(
                answering(*wire.error(21611, 429)), Verdict.THROTTLED, "queue_full_at_provider"
            ),
            "no such sender": Refusal(answering(*wire.error(63007)), Verdict.NEEDS_PERSON, "sender_unknown"),
            "who wrote STOP": Refusal(answering(*wire.error(21610)), Verdict.REJECTED, "recipient_opted_out"),
            "as a problem document": Refusal(
                answering(400, {"type": "x", "title": "Bad", "status": 400, "code": 20422, "detail": "To"}),
                Verdict.REJECTED,
                "invalid_parameter",
            ),
        }

    def beyond(self) -> Mapping[str, Beyond]:
        picture = {"link": "https://x.example/a.png", "caption": "x" * 1025}
        return {
            "a text too long": Beyond({"type": "text", "text": {"body": "x" * 1601}}, "/text/body"),
            "a caption too long": Beyond({"type": "image", "image": picture}, "/image/caption"),
        }

    def echoes(self, text: str) -> Script:
        return answering(*wire.error(20422, 400, text))

    def correlates(self, request: Received) -> str | None:
        callback = parse_qs(request.body.decode())["StatusCallback"][0]
        return parse_qs(urlsplit(callback).query)["messageId"][0]

    def marks_read(self) -> Script:
        return answering(202, {"success": True})

    def lists(self, *records: dict[str, Any]) -> Script:
        return answering(200, wire.page(*records))

    def lists_sent(self, provider_message_id: str) -> Script:
        return self.lists(wire.record(sid=provider_message_id))

    def lists_received(self, provider_message_id: str) -> Script:
        sent = {"from": "whatsapp:+5215512345678", "to": f"whatsapp:{wire.SENDER}", "direction": "inbound"}
        return self.lists(wire.record(sid=provider_message_id, **sent))

    # --- webhooks ---

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest:
        shy = {"From": "whatsapp:MX.13491208655302741918", "WaId": None} if hidden else {}
        return wire.webhook(wire.inbound(MessageSid=provider_message_id, **shy))

    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest:
        said = wire.status("delivered", MessageSid=provider_message_id)
        return wire.webhook(said, wire.callback(message_id))

    def said(self) -> Mapping[str, Said]:
        button = {"ButtonPayload": "yes", "ButtonText": "Sí", "Body": "Sí"}
        place = {"Latitude": "19.4", "Longitude": "-99.1", "Label": "Centro", "Body": ""}
        picture = {"NumMedia": "1", "MediaUrl0": _PICTURE, "MediaContentType0": "image/jpeg", "Body": "mira"}
        return {
            "a text": self._said("text", {"body": "hola"}),
            "a picture": self._said(
                "image", {"mediaId": _PICTURE, "mimeType": "image/jpeg", "caption": "mira"}, **picture
            ),
            "a place": self._said(
                "location", {"latitude": 19.4, "longitude": -99.1, "name": "Centro"}, **place
            ),
            "a button of a template": self._said("button", {"payload": "yes", "text": "Sí"}, **button),
            "a button of a message": self._said(
                "interactive", {"type": "button_reply", "buttonReply": {"id": "yes", "title": "Sí"}}, **button
            ),
            "a choice from a list": self._said(
                "interactive",
                {"type": "list_reply", "listReply": {"id": "r1", "title": "Rojo"}},
                ListId="r1",
                ListTitle="Rojo",
            ),
        }

    def _said(self, kind: str, content: Any, **params: str) -> Said:
        request = wire.webhook(wire.inbound(MessageType=kind, **params))
        return Said(request, {"type": kind, kind: content})

    def told(self) -> Mapping[str, Told]:
        states = {
            "queued": MessageState.ACCEPTED,
            "sent": MessageState.SENT,
            "delivered": MessageState.DELIVERED,
            "read": MessageState.READ,
            "failed": MessageState.FAILED,
            "undelivered": MessageState.FAILED,
        }
        return {
            word: Told(wire.webhook(wire.status(word, ErrorCode="63016"), wire.callback("msg_1")), state)
            for word, state in states.items()
        }
