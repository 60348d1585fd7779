"""Each message as Twilio's API takes it: its form on the wire, under Twilio's published parameter names."""

from __future__ import annotations

import base64
import inspect
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from twilio.rest.api.v2010.account.message import MessageList

from tests.providers.twilio.wire import (
    ACCOUNT,
    KEY,
    KEY_SECRET,
    SENDER,
    SERVICE,
    TEMPLATE,
    kind,
    record,
    session,
)
from wad.conformance.peer import Received, answering, serving
from wad.conformance.world import PHONE, USER, Heard, message
from wad.errors import NotSupported, ProviderError, Verdict
from wad.models import Address, Content, Session, utc_now
from wad.providers.base import check_send
from wad.providers.http import Pools
from wad.providers.twilio.limits import CAPABILITIES

#: Every parameter of `POST Messages.json`, as Twilio's OpenAPI document has them.
PUBLISHED = {
    "To", "StatusCallback", "ApplicationSid", "MaxPrice", "ProvideFeedback", "Attempt", "ValidityPeriod",
    "ForceDelivery", "ContentRetention", "AddressRetention", "SmartEncoded", "PersistentAction", "TrafficType",
    "ShortenUrls", "ScheduleType", "SendAt", "SendAsMms", "ContentVariables", "MessageIntent", "RiskCheck",
    "From", "FallbackFrom", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid",
}  # fmt: skip

CALLBACK = "https://wa.example.com/webhooks/twilio/tienda-1?messageId=msg_0123456789abcdef#rc=5&rp=all"


def template(*components: dict[str, Any]) -> Content:
    return {
        "type": "template",
        "template": {"name": TEMPLATE, "language": {"code": "es_MX"}, "components": list(components)},
    }


def body(*texts: str, **named: str) -> dict[str, Any]:
    parameters: list[dict[str, str]] = [{"type": "text", "text": text} for text in texts]
    parameters += [{"type": "text", "text": text, "parameterName": name} for name, text in named.items()]
    return {"type": "body", "parameters": parameters}


#: What is sent -> what Twilio is asked for, besides sender, recipient and callback.
SENDS: dict[str, tuple[Content, dict[str, list[str]]]] = {
    "a text": ({"type": "text", "text": {"body": "¿Qué tal?"}}, {"Body": ["¿Qué tal?"]}),
    "a picture": (
        {"type": "image", "image": {"link": "https://x.example/a.png"}},
        {"MediaUrl": ["https://x.example/a.png"]},
    ),
    "a document with a caption": (
        {"type": "document", "document": {"link": "https://x.example/a.pdf?b=c&d", "caption": "Factura"}},
        {"MediaUrl": ["https://x.example/a.pdf?b=c&d"], "Body": ["Factura"]},
    ),
    "a place": (
        {"type": "location", "location": {"latitude": 19.4326, "longitude": -99.1332}},
        {"PersistentAction": ["geo:19.4326,-99.1332"], "Body": ["19.4326,-99.1332"]},
    ),
    "a place with name and address": (
        {
            "type": "location",
            "location": {"latitude": 19.4, "longitude": -99.1, "name": "Centro", "address": "Calle 1"},
        },
        {"PersistentAction": ["geo:19.4,-99.1|Calle 1"], "Body": ["Centro"]},
    ),
    "a template without parameters": (template(), {"ContentSid": [TEMPLATE]}),
    "a template": (
        template(body("Ana", "7", shop="Tienda"), {
            "type": "button", "subType": "url", "index": "0", "parameters": [{"type": "text", "text": "x1"}],
        }),
        {
            "ContentSid": [TEMPLATE],
            "ContentVariables": ['{"1":"Ana","2":"7","shop":"Tienda","3":"x1"}'],
        },
    ),
    "a template with a picture in its header": (
        template(
            {
                "type": "header",
                "parameters": [{"type": "image", "image": {"link": "https://x.example/a.png"}}],
            },
            body("Ana"),
        ),
        {"ContentSid": [TEMPLATE], "ContentVariables": ['{"1":"https://x.example/a.png","2":"Ana"}']},
    ),
}  # fmt: skip


async def sent(content: Content, stored: Session | None = None, to: Address = PHONE, **more: Any) -> Received:
    async with serving() as peer, Pools() as pools:
        peer.scripts = [answering(201, record(status="queued"))]
        one = kind(pools, base_url=peer.url)
        assert check_send(one, to, content) == []
        async with one.open(stored or session(), Heard()) as connection:
            await connection.send(message(content, to, **more))
        return peer.last


def form(request: Received) -> dict[str, list[str]]:
    return parse_qs(request.body.decode(), keep_blank_values=True, strict_parsing=True)


@pytest.mark.parametrize("label", SENDS)
async def test_a_message_as_twilio_takes_it(label: str) -> None:
    """Nothing beside these parameters, and each by a name that Twilio publishes."""
    content, expected = SENDS[label]
    request = await sent(content)
    assert (request.method, request.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    asked = form(request)
    assert asked == expected | {
        "To": ["whatsapp:+5215512345678"],
        "From": [f"whatsapp:{SENDER}"],
        "StatusCallback": [CALLBACK],
    }
    assert asked.keys() <= PUBLISHED


def test_the_published_names_are_the_sdks() -> None:
    """The table above and the SDK, which is made of Twilio's OpenAPI document, say the same."""
    source = inspect.getsource(MessageList._create)
    assert {name for name in PUBLISHED if f'"{name}":' not in source} == set()
    arguments = set(inspect.signature(MessageList._create).parameters) - {"self"}
    assert len(arguments) == len(PUBLISHED)


async def test_a_messaging_service_chooses_the_sender() -> None:
    """Its SID goes in place of `From`."""
    stored = session(**{"from": None}, messagingServiceSid=SERVICE)
    asked = form(await sent({"type": "text", "text": {"body": "Hola"}}, stored))
    assert (asked["MessagingServiceSid"], "From" in asked) == ([SERVICE], False)


async def test_a_person_without_a_phone_is_named_by_user_id() -> None:
    """Without a `+`; where both are known, the phone."""
    both = Address(phone=PHONE.phone, user_id=USER.user_id)
    asked = [form(await sent({"type": "text", "text": {"body": "Hola"}}, to=to)) for to in (USER, both)]
    assert [one["To"] for one in asked] == [
        ["whatsapp:MX.13491208655302741918"],
        ["whatsapp:+5215512345678"],
    ]


async def test_an_api_key_sends_for_the_account() -> None:
    """The key is who we are; the path says whose account it is."""
    stored = session(apiKeySid=KEY, apiKeySecret=KEY_SECRET)
    for given, user in ((session(), ACCOUNT), (stored, KEY)):
        request = await sent({"type": "text", "text": {"body": "Hola"}}, given)
        assert ACCOUNT in request.path
        scheme, _, pair = request.headers["authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(pair).decode().partition(":")[0] == user


@pytest.mark.parametrize(("seconds", "told"), [(300, True), (35_000, True), (90_000, False)])
async def test_what_expires_soon_does_not_lie_in_twilios_queue(seconds: int, told: bool) -> None:
    """Ten hours is what a message may wait there by default."""
    expires = utc_now() + timedelta(seconds=seconds)
    asked = form(await sent({"type": "text", "text": {"body": "1234"}}, expires_at=expires))
    if told:
        assert seconds - 5 <= int(asked["ValidityPeriod"][0]) <= seconds
    else:
        assert "ValidityPeriod" not in asked


# --- what Twilio has not ----------------------------------------------------------------------------

LINK = "https://x.example/a"
LACKS: dict[str, tuple[Content, str]] = {
    "a reaction": ({"type": "reaction", "reaction": {"messageId": "x", "emoji": "👍"}}, "reaction"),
    "contact cards": ({"type": "contacts", "contacts": []}, "contacts"),
    "a sticker": ({"type": "sticker", "sticker": {"link": LINK}}, "sticker"),
    "a poll": ({"type": "poll", "poll": {"name": "x", "options": []}}, "poll"),
    "buttons without a template": ({"type": "interactive", "interactive": {"type": "button"}}, "interactive"),
    "an uploaded file": ({"type": "image", "image": {"mediaId": "m1"}}, "mediaUpload"),
    "a name for a file": ({"type": "document", "document": {"link": LINK, "filename": "a"}}, "document.filename"),
    "a voice note": ({"type": "audio", "audio": {"link": LINK, "voice": True}}, "audio.voice"),
    "mentions": ({"type": "text", "text": {"body": "x", "mentions": ["+5215512345678"]}}, "text.mentions"),
    "a place in a template": (
        template({"type": "header", "parameters": [{"type": "location", "location": {}}]}),
        "template.location",
    ),
    "a carousel": (template({"type": "carousel", "cards": []}), "template.carousel"),
    "an uploaded file in a template": (
        template({"type": "header", "parameters": [{"type": "image", "image": {"mediaId": "m1"}}]}),
        "template.image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", LACKS)
async def test_what_twilio_lacks_is_refused_by_name(label: str) -> None:
    """Before anything is stored."""
    content, capability = LACKS[label]
    async with Pools() as pools:
        with pytest.raises(NotSupported) as caught:
            check_send(kind(pools), PHONE, content)
    assert (caught.value.provider, caught.value.capability) == ("twilio", capability)


BAD: dict[str, tuple[Content, list[str]]] = {
    "a long text": ({"type": "text", "text": {"body": "x" * 1601}}, ["/text/body"]),
    "a long caption": ({"type": "video", "video": {"link": LINK, "caption": "x" * 1025}}, ["/video/caption"]),
    "a template by its name": (
        {"type": "template", "template": {"name": "hello_world", "language": {"code": "en"}}},
        ["/template/name"],
    ),
    "empty parameters": (
        template(body("Ana", " "), body("")),
        ["/template/components/0/parameters/1", "/template/components/1/parameters/0"],
    ),
    "a line break in a parameter": (template(body("a\nb")), ["/template/components/0/parameters/0"]),
    "too many parameters": (template(body(*"x" * 101)), ["/template/components"]),
    "a line break in a place": (
        {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": "a\nb", "address": "a|b"}},
        ["/location/name", "/location/address"],
    ),
}


@pytest.mark.parametrize("label", BAD)
async def test_what_twilio_would_refuse_is_named(label: str) -> None:
    """Every bad field; and what is just short enough passes."""
    content, pointers = BAD[label]
    async with Pools() as pools:
        one = kind(pools)
        assert [error.pointer for error in check_send(one, PHONE, content)] == pointers
        assert check_send(one, PHONE, {"type": "text", "text": {"body": "x" * 1600}}) == []


async def test_a_person_has_to_be_named() -> None:
    """By phone, or by a user id of the right shape."""
    async with Pools() as pools:
        hola: Content = {"type": "text", "text": {"body": "Hola"}}
        for to, pointer in ((Address(jid="x@lid"), "/to"), (Address(user_id="ana"), "/to/userId")):
            assert [error.pointer for error in check_send(kind(pools), to, hola)] == [pointer]


@pytest.mark.parametrize(
    "label",
    [
        "a reaction",
        "contact cards",
        "a sticker",
        "a poll",
        "buttons without a template",
        "an uploaded file",
        "a carousel",
    ],
)
async def test_what_was_queued_for_another_provider_fails_for_good(label: str) -> None:
    """And is not sent as something else. The check was that provider's."""
    content, capability = LACKS[label]
    async with (
        serving() as peer,
        Pools() as pools,
        kind(pools, base_url=peer.url).open(session(), Heard()) as c,
    ):
        with pytest.raises(ProviderError) as caught:
            await c.send(message(content))
        assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "not_supported")
        assert repr(capability) in caught.value.detail
        assert peer.received == []


def test_capabilities_say_how_it_settles() -> None:
    """By callback, and then by the list; typing is there, and reading alone is not."""
    assert CAPABILITIES.settlement == "list"
    assert (CAPABILITIES.typing, CAPABILITIES.read_receipts) == (True, False)
