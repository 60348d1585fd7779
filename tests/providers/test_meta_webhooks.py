"""Meta's webhooks: signatures, every inbound type, statuses, other fields, and whatever else may arrive."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.meta import (
    ANA,
    APP_SECRET,
    NUMBER_ID,
    WABA_ID,
    WAMID,
    inbound,
    messages,
    request,
    signature,
    statuses,
    webhook,
)
from wad.errors import InvalidRequest
from wad.models import (
    AccountEvent,
    Address,
    Failure,
    InboundMessage,
    MessageState,
    Person,
    StatusUpdate,
)
from wad.providers.base import WebhookEvent
from wad.providers.meta.webhooks import MetaWebhooks

WEBHOOKS = MetaWebhooks()
USER_ID = "MX.13491208655302741918"


def parse(body: bytes) -> list[WebhookEvent]:
    return WEBHOOKS.parse(request(body))


def message(body: bytes) -> InboundMessage:
    (event,) = parse(body)
    assert isinstance(event.event, InboundMessage), event
    return event.event


def status(**more: Any) -> StatusUpdate:
    (event,) = parse(statuses({"id": WAMID, "status": "delivered", "timestamp": "1795521600", **more}))
    assert isinstance(event.event, StatusUpdate), event
    return event.event


def kept(body: bytes) -> AccountEvent:
    (event,) = parse(body)
    assert isinstance(event.event, AccountEvent), event
    return event.event


# --- signatures -----------------------------------------------------------------------------------

BODY = messages(inbound())
GOOD = signature(BODY)["X-Hub-Signature-256"]


@pytest.mark.parametrize(
    ("headers", "secret", "genuine"),
    [
        pytest.param({"X-Hub-Signature-256": GOOD}, APP_SECRET, True, id="genuine"),
        pytest.param({"x-hub-signature-256": GOOD}, APP_SECRET, True, id="in lower case"),
        pytest.param(
            {"Host": "x", "X-HUB-SIGNATURE-256": GOOD}, APP_SECRET, True, id="in capitals, among others"
        ),
        pytest.param({}, APP_SECRET, False, id="missing"),
        pytest.param({"X-Hub-Signature-256": ""}, APP_SECRET, False, id="empty"),
        pytest.param({"X-Hub-Signature-256": "sha256="}, APP_SECRET, False, id="only its name"),
        pytest.param({"X-Hub-Signature-256": GOOD[:-1]}, APP_SECRET, False, id="short"),
        pytest.param({"X-Hub-Signature-256": GOOD + "0"}, APP_SECRET, False, id="long"),
        pytest.param(
            {"X-Hub-Signature-256": GOOD.replace("sha256=", "")}, APP_SECRET, False, id="without its name"
        ),
        pytest.param({"X-Hub-Signature-256": GOOD[:-1] + "é"}, APP_SECRET, False, id="not ASCII"),
        pytest.param({"X-Hub-Signature-256": GOOD[:-1] + "\ud800"}, APP_SECRET, False, id="not even a text"),
        pytest.param({"X-Hub-Signature-256": GOOD}, "another", False, id="of another app"),
        pytest.param(signature(BODY, secret=""), "", False, id="with an empty secret, as anybody could"),
        pytest.param({"X-Hub-Signature": GOOD}, APP_SECRET, False, id="under the old name"),
    ],
)
def test_a_signature(headers: dict[str, str], secret: str, genuine: bool) -> None:
    """Only the HMAC of the raw bytes with our secret is Meta's word; nothing else raises or passes."""
    assert WEBHOOKS.verify(request(BODY, headers), secret=secret) is genuine


def test_a_signature_is_of_the_raw_bytes() -> None:
    """Meta escapes before it signs: the same JSON written otherwise is another body."""
    assert not WEBHOOKS.verify(request(BODY + b" ", {"X-Hub-Signature-256": GOOD}), secret=APP_SECRET)
    escaped = rb'{"entry":[],"x":"\u00e4"}'
    assert WEBHOOKS.verify(request(escaped), secret=APP_SECRET)
    assert not WEBHOOKS.verify(
        request('{"entry":[],"x":"ä"}'.encode(), signature(escaped)), secret=APP_SECRET
    )


def test_a_replay_is_genuine_and_recognised_by_its_keys() -> None:
    """Meta's signature has no time in it, so a batch that comes again has to change nothing."""
    body = messages(inbound(), inbound("hologram", {}, id="wamid.2"))
    assert WEBHOOKS.verify(request(body), secret=APP_SECRET)
    first, second = ([event.event.dedupe_key for event in parse(body)] for _ in range(2))  # type: ignore[union-attr]
    assert first == second
    assert len(set(first)) == 2


# --- messages -------------------------------------------------------------------------------------

FILE = {
    "mime_type": "image/jpeg",
    "sha256": "29ed500fa64eb55fc19dc4124acb300e5dcca0f8",
    "id": "1003383421387256",
}
OUR_FILE = {"mimeType": FILE["mime_type"], "sha256": FILE["sha256"], "mediaId": FILE["id"]}

CONTENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": (inbound(), {"type": "text", "text": {"body": "hola"}}),
    "image": (
        inbound("image", {**FILE, "caption": "mira", "url": "https://lookaside.fbsbx.com/x?token=1"}),
        {"type": "image", "image": {**OUR_FILE, "caption": "mira"}},
    ),
    "video": (inbound("video", FILE), {"type": "video", "video": OUR_FILE}),
    "audio": (inbound("audio", FILE), {"type": "audio", "audio": OUR_FILE}),
    "voice note": (
        inbound("audio", {**FILE, "voice": True}),
        {"type": "audio", "audio": {**OUR_FILE, "voice": True}},
    ),
    "voice note by its old name": (
        inbound("voice", FILE),
        {"type": "audio", "audio": {**OUR_FILE, "voice": True}},
    ),
    "document": (
        inbound("document", {**FILE, "filename": "a.pdf"}),
        {"type": "document", "document": {**OUR_FILE, "filename": "a.pdf"}},
    ),
    "sticker": (
        inbound("sticker", {**FILE, "animated": False}),
        {"type": "sticker", "sticker": {**OUR_FILE, "animated": False}},
    ),
    "location": (
        inbound(
            "location",
            {"latitude": 19.4, "longitude": -99.1, "name": "Zócalo", "address": "CDMX", "url": "http://x"},
        ),
        {
            "type": "location",
            "location": {
                "latitude": 19.4,
                "longitude": -99.1,
                "name": "Zócalo",
                "address": "CDMX",
                "url": "http://x",
            },
        },
    ),
    "contacts": (
        inbound(
            "contacts",
            [
                {
                    "name": {"formatted_name": "Luz"},
                    "phones": [{"phone": "+52", "wa_id": "52", "type": "CELL"}],
                    "vcard": "BEGIN",
                }
            ],
            origin="contact_request",
        ),
        {
            "type": "contacts",
            "contacts": [
                {
                    "name": {"formattedName": "Luz"},
                    "phones": [{"phone": "+52", "waId": "52", "type": "CELL"}],
                    "vcard": "BEGIN",
                }
            ],
            "origin": "contact_request",
        },
    ),
    "contacts without a name": (
        inbound("contacts", [{"phones": [{"phone": "+52"}]}]),
        {"type": "contacts", "contacts": [{"phones": [{"phone": "+52"}]}]},
    ),
    "reaction": (
        inbound("reaction", {"message_id": "wamid.ours", "emoji": "👍"}),
        {"type": "reaction", "reaction": {"messageId": "wamid.ours", "emoji": "👍"}},
    ),
    "reaction taken back": (
        inbound("reaction", {"message_id": "wamid.ours"}),
        {"type": "reaction", "reaction": {"messageId": "wamid.ours", "emoji": ""}},
    ),
    "quick reply of a template": (
        inbound("button", {"payload": "keepThis_payload", "text": "Sí"}),
        {"type": "button", "button": {"payload": "keepThis_payload", "text": "Sí"}},
    ),
    "button reply": (
        inbound("interactive", {"type": "button_reply", "button_reply": {"id": "si", "title": "Sí"}}),
        {
            "type": "interactive",
            "interactive": {"type": "button_reply", "buttonReply": {"id": "si", "title": "Sí"}},
        },
    ),
    "list reply": (
        inbound(
            "interactive", {"type": "list_reply", "list_reply": {"id": "m", "title": "M", "description": "d"}}
        ),
        {
            "type": "interactive",
            "interactive": {"type": "list_reply", "listReply": {"id": "m", "title": "M", "description": "d"}},
        },
    ),
    "flow reply": (
        inbound(
            "interactive",
            {
                "type": "nfm_reply",
                "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"some_key":1}'},
            },
        ),
        {
            "type": "interactive",
            "interactive": {
                "type": "nfm_reply",
                "nfmReply": {"name": "flow", "body": "Sent", "responseJson": '{"some_key":1}'},
            },
        },
    ),
    "interactive without its object": (
        {
            k: v
            for k, v in inbound("interactive", {}, errors=[{"code": 131000}]).items()
            if k != "interactive"
        },
        {"type": "interactive", "interactive": {}, "errors": [{"code": 131000}]},
    ),
    "order": (
        inbound(
            "order",
            {
                "catalog_id": "c",
                "text": "t",
                "product_items": [
                    {"product_retailer_id": "sku", "quantity": 2, "item_price": 9.5, "currency": "MXN"}
                ],
            },
        ),
        {
            "type": "order",
            "order": {
                "catalogId": "c",
                "text": "t",
                "productItems": [
                    {"productRetailerId": "sku", "quantity": 2, "itemPrice": 9.5, "currency": "MXN"}
                ],
            },
        },
    ),
    "changed number": (
        inbound("system", {"body": "changed", "type": "user_changed_number", "wa_id": "5215500000000"}),
        {
            "type": "system",
            "system": {"body": "changed", "type": "user_changed_number", "waId": "5215500000000"},
        },
    ),
    "edit": (
        inbound(
            "edit",
            {
                "original_message_id": "wamid.0",
                "message": {"type": "image", "image": {**FILE, "caption": "new"}},
            },
        ),
        {
            "type": "edit",
            "edit": {
                "originalMessageId": "wamid.0",
                "message": {"type": "image", "image": {**OUR_FILE, "caption": "new"}},
            },
        },
    ),
    "edit into something unknown": (
        inbound("edit", {"original_message_id": "wamid.0", "message": {"type": "hologram"}}),
        {"type": "edit", "edit": {"originalMessageId": "wamid.0", "message": {"type": "hologram"}}},
    ),
    "revoke": (
        inbound("revoke", {"original_message_id": "wamid.0"}),
        {"type": "revoke", "revoke": {"originalMessageId": "wamid.0"}},
    ),
    "unsupported": (
        inbound("unsupported", {"type": "poll"}, errors=[{"code": 131051, "error_data": {"details": "d"}}]),
        {
            "type": "unsupported",
            "unsupported": {"type": "poll"},
            "errors": [{"code": 131051, "errorData": {"details": "d"}}],
        },
    ),
}


@pytest.mark.parametrize("label", CONTENTS)
def test_an_inbound_message_in_wads_words(label: str) -> None:
    """The shape of an outbound one, in camelCase; what Meta said stays beside it."""
    given_message, content = CONTENTS[label]
    found = message(messages(given_message))
    assert found.content == content
    assert found.raw == given_message
    assert found.provider_message_id == WAMID
    assert found.dedupe_key == f"m:{WAMID}"
    assert found.sender == Person(phone="+5215512345678", user_id=USER_ID, name="Ana")
    assert (found.chat, found.chat_kind) == (USER_ID, "person")
    assert found.sent_at == datetime(2026, 11, 24, 12, tzinfo=UTC)


def without(given_message: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given_message.items() if name not in names}


@pytest.mark.parametrize(
    ("given_message", "contacts", "sender", "chat"),
    [
        pytest.param(
            inbound(),
            [ANA],
            Person(phone="+5215512345678", user_id=USER_ID, name="Ana"),
            USER_ID,
            id="everything",
        ),
        pytest.param(
            without(inbound(), "from"),
            [
                {
                    "profile": {"name": "Ana", "username": "@ana"},
                    "user_id": USER_ID,
                    "parent_user_id": "MX.ENT.1",
                }
            ],
            Person(user_id=USER_ID, name="Ana", username="ana", parent_user_id="MX.ENT.1"),
            USER_ID,
            id="no phone number",
        ),
        pytest.param(
            {**without(inbound(), "from_user_id"), "from": USER_ID},
            [{"profile": {"name": "Ana"}, "wa_id": USER_ID}],
            Person(user_id=USER_ID, name="Ana"),
            USER_ID,
            id="the user id where the number would be",
        ),
        pytest.param(
            without(inbound(), "from_user_id"),
            [{"profile": {"name": "Ana"}, "wa_id": "5215512345678"}],
            Person(phone="+5215512345678", name="Ana"),
            "+5215512345678",
            id="before there were user ids",
        ),
        pytest.param(
            without(inbound(), "from_user_id"),
            [ANA],
            Person(phone="+5215512345678", user_id=USER_ID, name="Ana"),
            USER_ID,
            id="the user id in the contact alone",
        ),
        pytest.param(
            without(inbound(), "from"),
            [ANA],
            Person(phone="+5215512345678", user_id=USER_ID, name="Ana"),
            USER_ID,
            id="the number in the contact alone",
        ),
        pytest.param(
            inbound(from_parent_user_id="MX.ENT.1"),
            [],
            Person(phone="+5215512345678", user_id=USER_ID, parent_user_id="MX.ENT.1"),
            USER_ID,
            id="no contact",
        ),
        pytest.param(
            inbound(),
            [{"profile": {"name": "Luz"}, "wa_id": "111", "user_id": "MX.2"}],
            Person(phone="+5215512345678", user_id=USER_ID),
            USER_ID,
            id="somebody else's contact",
        ),
        pytest.param(
            inbound(),
            [{"profile": {"name": "Luz"}, "wa_id": "111", "user_id": "MX.2"}, ANA],
            Person(phone="+5215512345678", user_id=USER_ID, name="Ana"),
            USER_ID,
            id="one of several contacts",
        ),
        pytest.param(
            inbound(),
            [{"profile": "x"}, 7, None],
            Person(phone="+5215512345678", user_id=USER_ID),
            USER_ID,
            id="odd contacts",
        ),
    ],
)
def test_who_wrote(given_message: dict[str, Any], contacts: list[Any], sender: Person, chat: str) -> None:
    """By user id first: a phone number comes and goes with the person's privacy settings."""
    found = message(messages(given_message, contacts=contacts))
    assert (found.sender, found.chat) == (sender, chat)


@pytest.mark.parametrize("label", ["with a number", "without"])
def test_a_reply_lands_in_the_chat_of_what_it_answers(label: str) -> None:
    """The inbound chat and the outbound lane are one, or order between them would be lost."""
    given_message = inbound() if label == "with a number" else without(inbound(), "from")
    found = message(messages(given_message))
    reply = Address(phone=found.sender.phone, user_id=found.sender.user_id)
    assert reply.chat == found.chat


def test_a_message_in_a_group() -> None:
    """The chat is the group, the sender the person."""
    found = message(messages(inbound(group_id="Y2FwaV9ncm91cA")))
    assert (found.chat, found.chat_kind, found.sender.name) == ("Y2FwaV9ncm91cA", "group", "Ana")
    assert Address(group_id="Y2FwaV9ncm91cA").chat == found.chat


@pytest.mark.parametrize(
    ("more", "context"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param(
            {"context": {"from": "15550783881", "id": "wamid.ours"}},
            {"from": "+15550783881", "providerMessageId": "wamid.ours"},
            id="a reply",
        ),
        pytest.param({"context": {"forwarded": True}}, {"forwarded": True}, id="forwarded"),
        pytest.param({"context": {"frequently_forwarded": True}}, {"frequentlyForwarded": True}, id="often"),
        pytest.param(
            {"context": {"referred_product": {"catalog_id": "c", "product_retailer_id": "sku"}}},
            {"referredProduct": {"catalogId": "c", "productRetailerId": "sku"}},
            id="about a product",
        ),
        pytest.param(
            {
                "referral": {
                    "source_url": "https://fb.me/x",
                    "ctwa_clid": "A",
                    "welcome_message": {"text": "hi"},
                }
            },
            {"referral": {"sourceUrl": "https://fb.me/x", "ctwaClid": "A", "welcomeMessage": {"text": "hi"}}},
            id="from an ad",
        ),
        pytest.param({"context": "odd"}, None, id="odd"),
    ],
)
def test_what_a_message_refers_to(more: dict[str, Any], context: dict[str, Any] | None) -> None:
    """The quoted message by the provider's id; wad's own is the core's to find."""
    assert message(messages(inbound(**more))).context == context


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1795521600", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("1795521600123", datetime(2026, 11, 24, 12, 0, 0, 123000, tzinfo=UTC)),
        (1795521600, datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("soon", None),
        ("9" * 30, None),
        ("nan", None),
        ([], None),
        (None, None),
    ],
)
def test_when_a_message_was_sent(timestamp: Any, expected: datetime | None) -> None:
    """Seconds as a string; milliseconds have been seen; anything else is no time."""
    assert message(messages(inbound(timestamp=timestamp))).sent_at == expected


@pytest.mark.parametrize(
    "given_message",
    [
        pytest.param(inbound("hologram", {"x": 1}), id="a type of tomorrow"),
        pytest.param({**inbound(), "type": ["text"]}, id="a type that is no string"),
        pytest.param(without(inbound(), "type"), id="no type"),
        pytest.param(without(inbound(), "id"), id="no id"),
        pytest.param("text", id="no object"),
        pytest.param(None, id="null"),
        pytest.param(inbound("text", {"body": 2**70}), id="a number that nobody can store"),
    ],
)
def test_a_message_that_wad_does_not_know_is_kept(given_message: Any) -> None:
    """And the ones beside it are not affected."""
    before, odd, after = parse(messages(inbound(id="wamid.1"), given_message, inbound(id="wamid.2")))
    assert isinstance(before.event, InboundMessage)
    assert isinstance(after.event, InboundMessage)
    assert isinstance(odd.event, AccountEvent)
    assert odd.event.type == "provider.event"
    assert odd.account == NUMBER_ID


def test_a_message_that_nobody_sent_is_kept() -> None:
    """Without a sender there is no chat to deliver it in."""
    event = kept(messages(without(inbound(), "from", "from_user_id"), contacts=[]))
    assert event.data["message"]["id"] == WAMID


def test_what_is_too_deep_to_store_is_kept_as_its_text() -> None:
    """Readers that recurse, ours or a flow's, are not led into it."""
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    event = kept(messages(inbound("text", {"body": deep})))
    assert list(event.data) == ["json"]
    assert msgspec.json.decode(event.data["json"])["message"]["text"]["body"] == deep


def test_half_an_emoji_does_not_lose_the_batch() -> None:
    """People do send them, and Meta does pass them on."""
    body = messages(inbound("text", {"body": "HALF"}), inbound(id="wamid.2")).replace(b"HALF", rb"\ud83d!")
    first, second = parse(body)
    assert isinstance(first.event, InboundMessage)
    assert first.event.content["text"]["body"] == "?!"
    assert isinstance(second.event, InboundMessage)


# --- statuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("sent", MessageState.SENT),
        ("delivered", MessageState.DELIVERED),
        ("read", MessageState.READ),
        ("played", MessageState.PLAYED),
    ],
)
def test_a_status(word: str, state: MessageState) -> None:
    """Our own id comes back with it."""
    found = status(status=word, recipient_id="5215512345678", biz_opaque_callback_data="msg_1")
    assert found == StatusUpdate(
        provider_message_id=WAMID,
        state=state,
        at=datetime(2026, 11, 24, 12, tzinfo=UTC),
        message_id="msg_1",  # type: ignore[arg-type]
        recipient="+5215512345678",
        raw=found.raw,
    )
    assert found.raw["biz_opaque_callback_data"] == "msg_1"


def test_a_failed_status_says_why() -> None:
    """Through the same table as an answer's error."""
    found = status(status="failed", errors=[{"code": 131047, "title": "Re-engagement message"}])
    assert found.state is MessageState.FAILED
    assert found.error == Failure("reply_window_closed", "Re-engagement message", "131047")


@pytest.mark.parametrize("errors", [None, [], {}, ["x"]])
def test_a_failed_status_without_a_reason(errors: Any) -> None:
    """It has failed all the same."""
    error = status(status="failed", errors=errors).error
    assert error is not None
    assert error.code == "provider_rejected"


@pytest.mark.parametrize(
    ("more", "recipient"),
    [
        pytest.param({"recipient_id": "5215512345678"}, "+5215512345678", id="a phone"),
        pytest.param({"recipient_user_id": USER_ID}, USER_ID, id="a user id"),
        pytest.param({"recipient_id": "52", "recipient_user_id": USER_ID}, USER_ID, id="both"),
        pytest.param({"recipient_id": USER_ID}, USER_ID, id="a user id where the phone would be"),
        pytest.param({"recipient_type": "group", "recipient_id": "Y2Fw"}, "Y2Fw", id="a group"),
        pytest.param(
            {"recipient_type": "group", "recipient_id": "Y2Fw", "recipient_participant_id": "5255"},
            "+5255",
            id="one of a group",
        ),
        pytest.param({}, None, id="nobody"),
    ],
)
def test_whom_a_status_is_about(more: dict[str, Any], recipient: str | None) -> None:
    """Of a group, one of its people."""
    assert status(**more).recipient == recipient


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(
            {"id": WAMID, "status": "deleted", "timestamp": "1"}, id="a state that wad does not know"
        ),
        pytest.param({"id": WAMID, "status": ["sent"]}, id="a state that is no string"),
        pytest.param({"status": "sent"}, id="no id"),
        pytest.param(7, id="no object"),
    ],
)
def test_a_status_that_wad_does_not_know_is_kept(odd: Any) -> None:
    """Never a guess, and never a loss."""
    event = kept(statuses(odd))
    assert (event.type, event.data["status"]) == ("provider.event", odd)


def test_a_status_without_a_time_has_that_of_its_arrival() -> None:
    """Its state still counts."""
    before = datetime.now(UTC).replace(microsecond=0)
    assert before <= status(timestamp=None).at <= datetime.now(UTC)


def test_a_batch_of_a_group() -> None:
    """Meta puts the statuses of a group's people into one webhook."""
    one = {
        "id": WAMID,
        "status": "read",
        "timestamp": "1795521600",
        "recipient_type": "group",
        "recipient_id": "g",
    }
    found = parse(
        statuses({**one, "recipient_participant_id": "1"}, {**one, "recipient_participant_id": "2"})
    )
    assert [event.event.recipient for event in found] == ["+1", "+2"]  # type: ignore[union-attr]


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("message_template_status_update", "template.status"),
        ("message_template_quality_update", "template.status"),
        ("message_template_components_update", "template.status"),
        ("template_category_update", "template.status"),
        ("account_update", "account.update"),
        ("account_alerts", "account.update"),
        ("account_review_update", "account.update"),
        ("business_capability_update", "account.update"),
        ("business_username_update", "account.update"),
        ("phone_number_quality_update", "account.update"),
        ("phone_number_name_update", "account.update"),
        ("security", "account.update"),
        ("user_preferences", "provider.event"),
        ("smb_message_echoes", "provider.event"),
        ("smb_app_state_sync", "provider.event"),
        ("history", "provider.event"),
        ("group_lifecycle_update", "provider.event"),
        ("group_participants_update", "provider.event"),
        ("group_settings_update", "provider.event"),
        ("group_status_update", "provider.event"),
        ("calls", "provider.event"),
        ("flows", "provider.event"),
        ("a_field_of_tomorrow", "provider.event"),
    ],
)
def test_a_field_that_is_no_message(field: str, kind: str) -> None:
    """Kept as it came, under a key that a redelivery has too."""
    value = {"event": "APPROVED", "message_template_id": 1, "display_phone_number": "+52 55 1234"}
    body = webhook(value, field, time=1795521600)
    (event,) = parse(body)
    assert isinstance(event.event, AccountEvent)
    assert event.event.type == kind
    assert event.event.data == {"field": field, "wabaId": WABA_ID, "time": 1795521600, "value": value}
    assert (event.account, event.business, event.phone_number) == (None, WABA_ID, "+52551234")
    again = kept(webhook(dict(reversed(value.items())), field, time=1795521600))
    assert again.dedupe_key == event.event.dedupe_key
    assert kept(webhook(value, field, time=1795521601)).dedupe_key != event.event.dedupe_key
    assert (
        kept(webhook({**value, "event": "PAUSED"}, field, time=1795521600)).dedupe_key
        != event.event.dedupe_key
    )


def test_the_same_said_twice_happened_twice() -> None:
    """In one body, or of two numbers in one second. What comes again as it came has the keys that it had."""
    entry = {
        "id": WABA_ID,
        "time": 1795521600,
        "changes": [
            {
                "field": "messages",
                "value": {"metadata": {"phone_number_id": number}, "errors": [{"code": 131052}]},
            }
            for number in ("1", "1", "2")
        ],
    }
    body = msgspec.json.encode({"object": "whatsapp_business_account", "entry": [entry]})
    first, again = ([event.event.dedupe_key for event in parse(body)] for _ in range(2))  # type: ignore[union-attr]
    assert first == again
    assert len(set(first)) == 3


def test_errors_of_a_change_are_kept() -> None:
    """They belong to no message."""
    event = kept(webhook({"metadata": {"phone_number_id": NUMBER_ID}, "errors": [{"code": 131000}]}))
    assert event.data["error"] == {"code": 131000}


def test_what_stands_beside_the_messages_is_kept_too() -> None:
    """A key of tomorrow does not go unnoticed."""
    found = parse(messages(inbound(), holograms=[{"x": 1}]))
    assert isinstance(found[0].event, InboundMessage)
    assert isinstance(found[1].event, AccountEvent)
    assert found[1].event.data["value"] == {"holograms": [{"x": 1}]}


def test_several_numbers_and_businesses_in_one_post() -> None:
    """Each event names the number that it is for."""
    one, two = msgspec.json.decode(messages(inbound(id="a"))), msgspec.json.decode(messages(inbound(id="b")))
    two["entry"][0]["id"] = "other"
    two["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = "222"
    both = {"object": one["object"], "entry": [*one["entry"], *two["entry"]]}
    both["entry"][0]["changes"] += copy.deepcopy(two["entry"][0]["changes"])
    found = parse(msgspec.json.encode(both))
    assert [(event.account, event.business) for event in found] == [
        (NUMBER_ID, WABA_ID),
        ("222", WABA_ID),
        ("222", "other"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"{}", id="no entries"),
        pytest.param(b'{"entry":{}}', id="entries that are no list"),
        pytest.param(b'{"entry":[1e999]}', id="a number beyond numbers"),
        pytest.param(b'{"entry":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", id="a depth charge"),
        pytest.param(b"<html></html>", id="a page"),
    ],
)
def test_bytes_that_are_no_webhook(body: bytes) -> None:
    """The one error that parsing raises."""
    with pytest.raises(InvalidRequest):
        parse(body)


@pytest.mark.parametrize("depth", range(880, 1000, 7))
def test_no_depth_raises_anything_else(depth: int) -> None:
    """Decoder and encoder each have their own end of the stack; whichever comes first, it is InvalidRequest or kept."""
    body = b'{"entry":[' + b"[" * depth + b"]" * depth + b"]}"
    try:
        found = parse(body)
    except InvalidRequest:
        return
    assert len(found) == 1


def test_a_list_that_is_none_is_one_thing_that_is_kept() -> None:
    """Where Meta's own samples are not even valid, nothing is assumed."""
    assert kept(messages(messages="x")).data["message"] == "x"
    assert kept(webhook({"metadata": 7, "messages": None})).type == "provider.event"
    assert kept(webhook([1])).data["change"]["value"] == [1]
    assert kept(b'{"entry":[7]}').data == {"entry": 7}
    assert parse(b'{"entry":[]}') == []


# --- whatever may come ----------------------------------------------------------------------------

names = st.sampled_from(
    [
        "from",
        "from_user_id",
        "id",
        "timestamp",
        "type",
        "text",
        "image",
        "audio",
        "voice",
        "interactive",
        "contacts",
        "reaction",
        "edit",
        "message",
        "order",
        "system",
        "errors",
        "context",
        "referral",
        "group_id",
        "profile",
        "wa_id",
        "user_id",
        "username",
        "name",
        "body",
        "code",
        "title",
        "error_data",
        "details",
        "status",
        "recipient_id",
        "biz_opaque_callback_data",
        "metadata",
        "phone_number_id",
        "display_phone_number",
        "messages",
        "statuses",
        "value",
        "field",
    ]
)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["text", "image", "edit", "voice", "interactive", "sent", "failed", "messages", USER_ID, "521"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)
good = st.builds(lambda n: inbound(id=f"wamid.good{n}"), st.integers(0, 10**6))


@given(
    odd=st.lists(json, max_size=4),
    contacts=json,
    fine=st.lists(good, max_size=3),
    state=st.lists(json, max_size=3),
)
@settings(deadline=None)
def test_no_update_is_lost_whatever_stands_beside_it(
    odd: list[Any], contacts: Any, fine: list[Any], state: list[Any]
) -> None:
    """One event at least for each element, and every sound message among them."""
    both = (
        [part for pair in zip(odd, fine, strict=False) for part in pair] + odd[len(fine) :] + fine[len(odd) :]
    )
    value = {
        "metadata": {"phone_number_id": NUMBER_ID},
        "contacts": contacts,
        "messages": both,
        "statuses": state,
    }
    found = parse(webhook(value))
    assert len(found) >= len(both) + len(state)
    ids = [event.event.provider_message_id for event in found if isinstance(event.event, InboundMessage)]
    assert set(ids) >= {part["id"] for part in fine}
    for event in found:
        msgspec.msgpack.encode(event)  # whatever it is, it can be stored
        msgspec.json.encode(event)


@given(json)
@settings(deadline=None)
def test_any_json_is_parsed_or_refused(value: Any) -> None:
    """As the whole envelope, as an entry, as a change, and as a value."""
    for body in (value, {"entry": value}, {"entry": [{"changes": value}]}, {"entry": [{"changes": [value]}]}):
        try:
            found = parse(msgspec.json.encode(body))
        except InvalidRequest:
            continue
        for event in found:
            msgspec.msgpack.encode(event)


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    """Nothing but InvalidRequest."""
    try:
        parse(body)
    except InvalidRequest:
        return


@given(st.binary(max_size=50), st.text(max_size=80))
def test_no_signature_raises(body: bytes, text: str) -> None:
    """Hostile headers are wrong, and only that."""
    assert WEBHOOKS.verify(request(body, {"X-Hub-Signature-256": text}), secret=APP_SECRET) is False
