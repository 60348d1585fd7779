"""What Twilio tells by webhook, in wad's words. Shapes are those of Twilio's pages; what is unknown is kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.twilio.wire import SID, callback, inbound, status, webhook
from wad.errors import InvalidRequest
from wad.models import (
    AccountEvent,
    Inbound,
    InboundMessage,
    MessageState,
    Person,
    StatusUpdate,
    WebhookRequest,
)
from wad.providers.twilio.inbound import STATES
from wad.providers.twilio.webhooks import TwilioWebhooks

HOOKS = TwilioWebhooks()
FILE = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages/MM0/Media/ME0"


def parsed(params: dict[str, str], url: str | None = None) -> Inbound:
    (event,) = HOOKS.parse(webhook(params) if url is None else webhook(params, url))
    assert event.account is None  # its path says whose it is
    return event.event


def message(**params: str | None) -> InboundMessage:
    event = parsed(inbound(**params))
    assert isinstance(event, InboundMessage)
    return event


PEOPLE: dict[str, tuple[dict[str, str | None], Person, str]] = {
    "by phone and user id": (
        {},
        Person(phone="+5215512345678", user_id="MX.13491208655302741918", name="Ana"),
        "MX.13491208655302741918",
    ),
    "by phone alone": (
        {"ExternalUserId": None},
        Person(phone="+5215512345678", name="Ana"),
        "+5215512345678",
    ),
    "by user id alone": (
        {"From": "whatsapp:MX.13491208655302741918", "WaId": None, "ProfileName": None},
        Person(user_id="MX.13491208655302741918"),
        "MX.13491208655302741918",
    ),
    "by user id in place of the phone": (
        {"From": "whatsapp:US.9", "WaId": None, "ExternalUserId": None},
        Person(user_id="US.9", name="Ana"),
        "US.9",
    ),
    "by user id, the phone in its other place": (
        {"From": "whatsapp:MX.1", "ExternalUserId": "whatsapp:MX.1"},
        Person(phone="+5215512345678", user_id="MX.1", name="Ana"),
        "MX.1",
    ),
    "with a user name and a parent": (
        {"ProfileUsername": "@ana", "ParentExternalUserId": "whatsapp:MX.ENT.7"},
        Person(
            phone="+5215512345678",
            user_id="MX.13491208655302741918",
            name="Ana",
            username="ana",
            parent_user_id="MX.ENT.7",
        ),
        "MX.13491208655302741918",
    ),
}


@pytest.mark.parametrize("label", PEOPLE)
def test_who_wrote(label: str) -> None:
    """By whatever names Twilio gives; the user id is the chat's, for it is there always."""
    params, person, chat = PEOPLE[label]
    found = message(**params)
    assert (found.sender, found.chat) == (person, chat)


CONTENTS: dict[str, tuple[dict[str, str | None], dict[str, Any]]] = {
    "a text": ({"Body": "¿Hola?"}, {"type": "text", "text": {"body": "¿Hola?"}}),
    "a text, before there were types": ({"MessageType": None}, {"type": "text", "text": {"body": "hola"}}),
    "a voice note": (
        {"MessageType": "audio", "Body": "", "MediaUrl0": FILE, "MediaContentType0": "audio/ogg"},
        {"type": "audio", "audio": {"mediaId": FILE, "mimeType": "audio/ogg"}},
    ),
    "a sticker": (
        {"MessageType": "sticker", "Body": "", "MediaUrl0": FILE, "MediaContentType0": "image/webp"},
        {"type": "sticker", "sticker": {"mediaId": FILE, "mimeType": "image/webp"}},
    ),
    "a file, before there were types": (
        {"MessageType": None, "Body": "mira", "MediaUrl0": FILE, "MediaContentType0": "video/mp4"},
        {"type": "video", "video": {"mediaId": FILE, "mimeType": "video/mp4", "caption": "mira"}},
    ),
    "a contact card": (
        {"MessageType": "contacts", "Body": "", "MediaUrl0": FILE, "MediaContentType0": "text/vcard"},
        {"type": "document", "document": {"mediaId": FILE, "mimeType": "text/vcard"}},
    ),
    "a file of no type": (
        {"MessageType": "document", "Body": "", "MediaUrl0": FILE},
        {"type": "document", "document": {"mediaId": FILE}},
    ),
    "a place": (
        {"MessageType": "location", "Body": "", "Latitude": "19.4", "Longitude": "-99.1", "Label": "Centro",
         "Address": "Calle 1"},
        {"type": "location",
         "location": {"latitude": 19.4, "longitude": -99.1, "name": "Centro", "address": "Calle 1"}},
    ),
    "a place, before there were types": (
        {"MessageType": None, "Body": "", "Latitude": "1", "Longitude": "2"},
        {"type": "location", "location": {"latitude": 1.0, "longitude": 2.0}},
    ),
    "a template's button": (
        {"MessageType": "button", "Body": "Sí", "ButtonText": "Sí", "ButtonPayload": "yes"},
        {"type": "button", "button": {"payload": "yes", "text": "Sí"}},
    ),
    "a choice from a list": (
        {"MessageType": "interactive", "Body": "Rojo", "ListId": "r", "ListTitle": "Rojo",
         "ListDescription": "bonito"},
        {"type": "interactive", "interactive": {
            "type": "list_reply", "listReply": {"id": "r", "title": "Rojo", "description": "bonito"}}},
    ),
    "a filled-in form": (
        {"MessageType": "interactive", "Body": "", "FlowData": '{"a": 1}'},
        {"type": "interactive",
         "interactive": {"type": "nfm_reply", "nfmReply": {"responseJson": '{"a": 1}'}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", CONTENTS)
def test_what_was_said(label: str) -> None:
    """In the words in which wad says the same; and all that Twilio said stands beside it."""
    params, content = CONTENTS[label]
    found = message(**params)
    assert found.content == content
    assert found.raw == inbound(**params)
    assert found.dedupe_key == f"m:{SID}"


def test_what_a_message_refers_to() -> None:
    """What it answers, that it was forwarded, and the advertisement it came from."""
    found = message(
        OriginalRepliedMessageSid="SM9",
        OriginalRepliedMessageSender="whatsapp:+14155238886",
        Forwarded="true",
        FrequentlyForwarded="false",
        ReferralHeadline="Zapatos",
        ReferralSourceId="1",
        ReferralCtwaClid="x",
    )
    assert found.context == {
        "providerMessageId": "SM9",
        "from": "+14155238886",
        "forwarded": True,
        "referral": {"headline": "Zapatos", "sourceId": "1", "ctwaClid": "x"},
    }
    assert message().context is None


UNKNOWN: dict[str, dict[str, str]] = {
    "a type that is new": inbound(MessageType="hologram"),
    "a file without its URL": inbound(MessageType="image"),
    "a place without coordinates": inbound(MessageType="location", Latitude="north"),
    "a place beyond numbers": inbound(MessageType="location", Latitude="nan", Longitude="inf"),
    "a form without an answer": inbound(MessageType="interactive"),
    "from nobody": inbound(From="whatsapp:", WaId=None, ExternalUserId=None),
    "from an SMS without a number": inbound(From="short", WaId=None, ExternalUserId=None),
    "without an id": inbound(MessageSid=None),
    "a status that is new": status("teleported"),
    "a status of nothing": status("sent", MessageSid="", SmsSid=""),
    "something else": {"Level": "ERROR", "PayloadType": "application/json"},
}


@pytest.mark.parametrize("label", UNKNOWN)
def test_what_wad_does_not_know_is_kept(label: str) -> None:
    """With every parameter, and under a key that its repetition has too."""
    first, again = parsed(UNKNOWN[label]), parsed(UNKNOWN[label])
    assert isinstance(first, AccountEvent)
    assert first == again
    assert first.data == {"params": UNKNOWN[label]}


def test_a_parameter_that_comes_twice_is_kept_twice() -> None:
    """Nothing that was signed is lost."""
    genuine = webhook({"A": "1"})
    (event,) = HOOKS.parse(WebhookRequest(url=genuine.url, headers=genuine.headers, body=b"A=1&A=2&B="))
    assert isinstance(event.event, AccountEvent)
    assert event.event.data == {"params": {"A": ["1", "2"], "B": ""}}


@pytest.mark.parametrize("word", STATES)
def test_what_became_of_a_message(word: str) -> None:
    """Twilio's words; our own id comes back in the URL."""
    found = parsed(status(word, ErrorCode="63016", ChannelStatusMessage="Re-engagement"), callback("msg_1"))
    assert isinstance(found, StatusUpdate)
    assert (found.provider_message_id, found.message_id, found.state) == (SID, "msg_1", STATES[word])
    assert found.recipient == "+5215512345678"
    if found.state is MessageState.FAILED:
        assert found.error is not None
        assert (found.error.code, found.error.detail) == ("reply_window_closed", "Re-engagement")
    else:
        assert found.error is None


def test_a_status_from_elsewhere_has_no_id_of_ours() -> None:
    """A message that another program sent with the number, or one that its callback field in the console told of."""
    found = parsed(status("delivered"))
    assert isinstance(found, StatusUpdate)
    assert found.message_id is None


def test_json_is_kept() -> None:
    """Twilio's event streams, pointed here."""
    kind = {"Content-Type": "application/json"}
    (event,) = HOOKS.parse(WebhookRequest(url="https://x.example/", headers=kind, body=b'[{"id": "EV1"}]'))
    assert isinstance(event.event, AccountEvent)
    assert event.event.data == {"event": [{"id": "EV1"}]}
    with pytest.raises(InvalidRequest):
        HOOKS.parse(WebhookRequest(url="https://x.example/", headers=kind, body=b"{"))


def test_the_answer_says_nothing_to_the_customer() -> None:
    """Whatever else is XML would be carried out."""
    assert HOOKS.receipt == ("text/xml", b"<Response/>")


_NAMES = sorted({*inbound(), *status("sent")} | {name for params, _ in CONTENTS.values() for name in params})


@given(
    base=st.sampled_from([inbound(), status("delivered"), {}]),
    changes=st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=8), st.text(max_size=20), max_size=5),
    query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
def test_every_form_is_one_event(base: dict[str, str], changes: dict[str, str], query: str) -> None:
    """Whatever is in it: never an error, never nothing, and it can be stored."""
    params = base | changes
    genuine = webhook(params)
    request = WebhookRequest(url=f"{genuine.url}?{query}", headers=genuine.headers, body=genuine.body)
    if not params:
        with pytest.raises(InvalidRequest):
            HOOKS.parse(request)
        return
    (event,) = HOOKS.parse(request)
    msgspec.json.encode(event.event)
