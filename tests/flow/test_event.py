"""What a flow gets: the body of every kind of event, and a signature that others can check."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from wad.errors import InvalidRequest
from wad.flow.event import check_secret, event_body, sign
from wad.models import (
    AccountEvent,
    ChatId,
    FlowEvent,
    InboundMessage,
    InboxItem,
    MessageId,
    Person,
    SessionId,
    ShopId,
    utc_now,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes here!").decode()


def item(event: Any, **changes: Any) -> InboxItem:
    fields: dict[str, Any] = {
        "message_id": MessageId("msg_1"),
        "session_id": SessionId("tienda-1"),
        "shop_id": ShopId("shop-9"),
        "provider": "cloud_api",
        "seq": 1,
        "received_at": datetime(2026, 12, 1, 15, 0, 0, tzinfo=UTC),
        "expires_at": datetime(2026, 12, 2, 15, 0, 0, tzinfo=UTC),
    }
    return InboxItem(event=event, **(fields | changes))


def message(content: dict[str, Any], **changes: Any) -> InboundMessage:
    fields: dict[str, Any] = {
        "provider_message_id": "wamid.1",
        "chat": ChatId("+5215512345678"),
        "sender": Person(phone="+5215512345678", name="Ana"),
    }
    return InboundMessage(content=content, **(fields | changes))


# --- bodies ---------------------------------------------------------------------------------------


def test_a_message_has_the_documented_fields_and_no_others():
    body = json.loads(event_body(item(message({"type": "text", "text": {"body": "hola"}}))))
    assert body == {
        "type": "message.received",
        "timestamp": "2026-12-01T15:00:00Z",
        "data": {
            "messageId": "msg_1",
            "sessionId": "tienda-1",
            "shopId": "shop-9",
            "provider": "cloud_api",
            "from": {"phone": "+5215512345678", "userId": None, "name": "Ana"},
            "chat": {"id": "+5215512345678", "kind": "person"},
            "contentType": "text",
            "text": {"body": "hola"},
            "context": None,
            "receivedAt": "2026-12-01T15:00:00Z",
        },
    }


def test_somebody_without_a_phone_number_is_known_by_the_user_id():
    """Meta's business-scoped ids: all three fields are always there, and what else is known beside them."""
    sender = Person(user_id="MX.123", username="ana", parent_user_id="MX.ENT.1")
    body = json.loads(event_body(item(message({"type": "text", "text": {"body": "x"}}, sender=sender))))
    assert body["data"]["from"] == {
        "phone": None,
        "userId": "MX.123",
        "name": None,
        "username": "ana",
        "parentUserId": "MX.ENT.1",
    }


def test_a_group_message_an_answer_and_a_session_without_a_shop():
    event = message(
        {"type": "image", "image": {"mediaId": "med_1", "caption": "ñ"}},
        chat=ChatId("group-1"),
        chat_kind="group",
        context={"providerMessageId": "wamid.0"},
    )
    data = json.loads(event_body(item(event, shop_id=None)))["data"]
    assert data["chat"] == {"id": "group-1", "kind": "group"}
    assert data["context"] == {"providerMessageId": "wamid.0"}
    assert data["contentType"] == "image"
    assert data["image"] == {"mediaId": "med_1", "caption": "ñ"}
    assert data["shopId"] is None


def test_content_cannot_pose_as_another_field():
    """Whatever a provider names its content, wad's own fields are wad's."""
    event = message({"type": "sessionId", "sessionId": "tienda-2", "messageId": "msg_2"})
    data = json.loads(event_body(item(event)))["data"]
    assert data["sessionId"] == "tienda-1"
    assert data["messageId"] == "msg_1"


@pytest.mark.parametrize("kind", [AccountEvent, FlowEvent])
def test_other_events_have_their_type_and_data_and_say_whose_they_are(kind):
    event = kind(
        type="template.status", dedupe_key="k", data={"name": "promo", "at": utc_now(), "provider": "?"}
    )
    body = json.loads(event_body(item(event)))
    assert body["type"] == "template.status"
    assert body["timestamp"] == "2026-12-01T15:00:00Z"
    assert body["data"].pop("at").endswith("Z")
    assert body["data"] == {
        "sessionId": "tienda-1",
        "shopId": "shop-9",
        "provider": "cloud_api",
        "name": "promo",
    }


# --- signatures -----------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_standards_own_vector():
    body = b'{"test": 2432232314}'
    signature = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(secret: str, body: bytes) -> dict[str, str]:
    timestamp = int(utc_now().timestamp())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, "msg_1", timestamp, body),
    }


@given(
    body=st.dictionaries(st.text(), st.text()).map(lambda each: json.dumps(each).encode()),
    key=st.binary(min_size=24, max_size=64),
)
def test_the_standards_own_library_takes_every_signature(body, key):
    secret = "whsec_" + base64.b64encode(key).decode()
    Webhook(secret).verify(body, headers(secret, body))


def test_with_two_secrets_either_end_of_a_rotation_finds_its_own():
    body = b"{}"
    signed = headers(f"{SECRET} {OTHER}", body)
    assert signed["webhook-signature"].count("v1,") == 2
    Webhook(SECRET).verify(body, signed)
    Webhook(OTHER).verify(body, signed)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 24).decode()).verify(body, signed)


def test_a_signature_is_of_one_body():
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b"{} ", headers(SECRET, b"{}"))


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("", id="nothing"),
        pytest.param("  ", id="blanks"),
        pytest.param("whsec_", id="a prefix alone"),
        pytest.param("my secret word", id="not base64"),
        pytest.param("whsec_ñandú", id="not ASCII"),
        pytest.param("whsec_*" + "AAAA" * 8, id="a mark that base64 does not have"),
        pytest.param("whsec_" + base64.b64encode(b"x" * 23).decode(), id="too short"),
        pytest.param("whsec_" + base64.b64encode(b"x" * 65).decode(), id="too long"),
        pytest.param(f"{SECRET} oops", id="one of two"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused(secret):
    """Standard Webhooks: 24 to 64 bytes. What it was is not repeated in the error."""
    with pytest.raises(InvalidRequest) as caught:
        check_secret(secret)
    assert caught.value.code == "invalid_flow_secret"
    assert len(secret) < 8 or secret not in caught.value.detail


def test_a_secret_may_come_without_its_prefix():
    check_secret(SECRET.removeprefix("whsec_"))
    assert sign(SECRET.removeprefix("whsec_"), "a", 1, b"") == sign(SECRET, "a", 1, b"")
