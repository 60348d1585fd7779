"""What is asked of a business account besides sending, against Meta's field tables; and which way marketing goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.providers.meta import WABA_ID, message
from tests.providers.waba import OWN, WABA, Desk, app, desk, number, refusing
from wad.conformance.peer import answering
from wad.errors import ProviderError, Verdict
from wad.models import Content
from wad.providers.management import ProfileView, Subscription, TemplateView

Work = Callable[[Desk], Awaitable[Any]]
TWO = [number("1", "+52 55 1234 0001"), number("2", "+52 55 1234 0002")]
PIN = {"messaging_product": "whatsapp", "pin": "123456"}

#: What is asked for, and the one request that it makes: method, path, query, body. Numbers go by id or in E.164.
REQUESTS: dict[str, tuple[Work, str, str, dict[str, str], Any]] = {
    "a number is added": (
        lambda d: d.connection.numbers.add(
            country_code="52", phone_number="5512340003", verified_name="Tienda"
        ),
        "POST",
        f"{WABA_ID}/phone_numbers",
        {},
        {"cc": "52", "phone_number": "5512340003", "verified_name": "Tienda"},
    ),
    "its code is asked for": (
        lambda d: d.connection.numbers.request_code("2", method="SMS", language="es_MX"),
        "POST",
        "2/request_code",
        {"code_method": "SMS", "language": "es_MX"},
        None,
    ),
    "its code is given": (
        lambda d: d.connection.numbers.verify_code("+525512340002", "123456"),
        "POST",
        "2/verify_code",
        {"code": "123456"},
        None,
    ),
    "it is registered": (
        lambda d: d.connection.numbers.register("2", "123456", region=None),
        "POST",
        "2/register",
        {},
        PIN,
    ),
    "it is registered, and its data lies in a country": (
        lambda d: d.connection.numbers.register("2", "123456", region="CH"),
        "POST",
        "2/register",
        {},
        {**PIN, "data_localization_region": "CH"},
    ),
    "it is deregistered": (lambda d: d.connection.numbers.deregister("2"), "POST", "2/deregister", {}, None),
    "its pin is set": (
        lambda d: d.connection.numbers.set_pin("2", "123456"),
        "POST",
        "2",
        {},
        {"pin": "123456"},
    ),
    "its webhooks go to an address": (
        lambda d: d.connection.numbers.set_webhook("2", "https://a.example/x", token="t"),
        "POST",
        "2",
        {},
        {"webhook_configuration": {"override_callback_uri": "https://a.example/x", "verify_token": "t"}},
    ),
    "its webhooks go to wad's own": (
        lambda d: d.connection.numbers.set_webhook("2", None, token=None),
        "POST",
        "2",
        {},
        {"webhook_configuration": {"override_callback_uri": OWN, "verify_token": "agreed"}},
    ),
    "its address is taken away": (
        lambda d: d.connection.numbers.remove_webhook("2"),
        "POST",
        "2",
        {},
        {"webhook_configuration": {"override_callback_uri": ""}},
    ),
    "the account's events go to wad's own": (
        lambda d: d.connection.callback.set(None, token=None),
        "POST",
        f"{WABA_ID}/subscribed_apps",
        {},
        {"override_callback_uri": OWN, "verify_token": "agreed"},
    ),
    "the account's address is taken away": (
        lambda d: d.connection.callback.remove(),
        "POST",
        f"{WABA_ID}/subscribed_apps",
        {},
        None,
    ),
    "a template is made": (
        lambda d: d.connection.templates.create(
            {
                "name": "oferta",
                "language": "es_MX",
                "category": "MARKETING",
                "parameterFormat": "NAMED",
                "allowCategoryChange": True,
                "messageSendTtlSeconds": 3600,
                "components": [
                    {"type": "BODY", "text": "Hola {{1}}", "example": {"bodyText": [["Ana"]]}},
                    {"type": "BUTTONS", "buttons": [{"type": "PHONE_NUMBER", "phoneNumber": "+52"}]},
                ],
            }
        ),
        "POST",
        f"{WABA_ID}/message_templates",
        {},
        {
            "name": "oferta",
            "language": "es_MX",
            "category": "MARKETING",
            "parameter_format": "NAMED",
            "allow_category_change": True,
            "message_send_ttl_seconds": 3600,
            "components": [
                {"type": "BODY", "text": "Hola {{1}}", "example": {"body_text": [["Ana"]]}},
                {"type": "BUTTONS", "buttons": [{"type": "PHONE_NUMBER", "phone_number": "+52"}]},
            ],
        },
    ),
    "a template is changed": (
        lambda d: d.connection.templates.edit("77", {"category": "UTILITY"}),
        "POST",
        "77",
        {},
        {"category": "UTILITY"},
    ),
    "a template is deleted, in all its languages": (
        lambda d: d.connection.templates.delete("oferta", template_id=None),
        "DELETE",
        f"{WABA_ID}/message_templates",
        {"name": "oferta"},
        None,
    ),
    "a template is deleted in one language": (
        lambda d: d.connection.templates.delete("oferta", template_id="77"),
        "DELETE",
        f"{WABA_ID}/message_templates",
        {"name": "oferta", "hsm_id": "77"},
        None,
    ),
    "templates are listed": (
        lambda d: d.connection.templates.find({"status": "APPROVED", "name": "of"}, limit=20, after="abc"),
        "GET",
        f"{WABA_ID}/message_templates",
        {
            "fields": "id,name,status,category,language,components,parameter_format,quality_score,rejected_reason",
            "limit": "20",
            "after": "abc",
            "status": "APPROVED",
            "name": "of",
        },
        None,
    ),
    "a profile is read": (
        lambda d: d.connection.of("2").profile.get(),
        "GET",
        "2/whatsapp_business_profile",
        {"fields": "about,address,description,email,profile_picture_url,websites,vertical"},
        None,
    ),
    "a profile is changed": (
        lambda d: d.connection.profile.update({"about": "Hola", "profilePictureHandle": "4::aW"}),
        "POST",
        "1/whatsapp_business_profile",
        {},
        {"messaging_product": "whatsapp", "about": "Hola", "profile_picture_handle": "4::aW"},
    ),
}
ANSWERS = {
    f"{WABA_ID}/phone_numbers": {"id": "3"},
    f"{WABA_ID}/message_templates": {"id": "77", "status": "PENDING", "category": "MARKETING", "data": []},
    "2/whatsapp_business_profile": {"data": [{"about": "Hola"}]},
}


@pytest.mark.parametrize("label", REQUESTS)
async def test_what_is_asked_of_meta(label: str) -> None:
    """Method, path, query and body, in Meta's words."""
    work, method, path, query, body = REQUESTS[label]
    async with desk(TWO) as d:
        await d.connection.connect()
        answer = ANSWERS.get(path, {"success": True})
        d.routes[method, f"/v26.0/{path}"] = answering(200, {**answer, "success": True})
        await work(d)
        asked = d.peer.last
        assert (asked.method, asked.path) == (method, f"/v26.0/{path}")
        assert {name: value for name, value in asked.query.items() if name != "appsecret_proof"} == query
        assert "appsecret_proof" in asked.query
        assert (msgspec.json.decode(asked.body) if asked.body else None) == body


async def test_what_meta_answers_in_wads_words() -> None:
    """Templates, profiles, subscriptions and new ids."""
    template = {
        "id": "77",
        "name": "oferta",
        "language": "es_MX",
        "category": "MARKETING",
        "status": "REJECTED",
        "quality_score": {"score": "GREEN", "date": 1795521600},
        "rejected_reason": "TAG_CONTENT_MISMATCH",
        "components": [{"type": "BODY", "text": "Hola", "example": {"body_text": [["Ana"]]}}],
    }
    async with desk(TWO) as d:
        await d.connection.connect()
        d.peer.scripts = [
            answering(200, {"data": [template], "paging": {"next": "u", "cursors": {"after": "more"}}})
        ]
        page = await d.connection.templates.find({}, limit=1, after=None)
        assert page.next == "more"
        assert page.items == [
            TemplateView(
                id="77",
                name="oferta",
                language="es_MX",
                category="MARKETING",
                status="REJECTED",
                quality="GREEN",
                rejected_reason="TAG_CONTENT_MISMATCH",
                components=[{"type": "BODY", "text": "Hola", "example": {"bodyText": [["Ana"]]}}],
            )
        ]
        d.peer.scripts = [answering(200, {"id": "78", "status": "PENDING", "category": "UTILITY"})]
        made = await d.connection.templates.create({"name": "aviso", "language": "es"})
        assert made == TemplateView(
            id="78", name="aviso", language="es", category="UTILITY", status="PENDING"
        )
        said = {"about": "Hola", "websites": ["https://t.mx"], "vertical": "RETAIL", "odd": 1}
        d.peer.scripts = [answering(200, {"data": [said]})]
        assert await d.connection.profile.get() == ProfileView(
            about="Hola", websites=["https://t.mx"], vertical="RETAIL"
        )
        d.routes["GET", f"{WABA}/subscribed_apps"] = answering(200, {"data": [app("https://crm/x")]})
        assert await d.connection.callback.subscriptions() == [
            Subscription(app_id="9", name="wad", url="https://crm/x")
        ]
        d.peer.scripts = [answering(200, {"id": "3"})]
        added = await d.connection.numbers.add(country_code="52", phone_number="55", verified_name="T")
        assert added == "3"


TIMED = [(133008, 300.0), (133009, 60.0), (133015, 300.0), (133016, 3600.0)]


@pytest.mark.parametrize(("code", "seconds"), TIMED)
async def test_what_has_to_wait_says_for_how_long(code: int, seconds: float) -> None:
    """Pins and registrations are counted by Meta: hammering makes it worse."""
    async with desk() as d:
        d.routes["POST", "/v26.0/1/register"] = refusing(code)
        with pytest.raises(ProviderError) as caught:
            await d.connection.numbers.register("1", "123456", region=None)
        assert (caught.value.verdict, caught.value.retry_after) == (Verdict.THROTTLED, seconds)


async def test_a_number_of_another_account_is_not_touched() -> None:
    """The token may well see it; the session is this account."""
    async with desk() as d:
        for work in (
            d.connection.numbers.get("9"),
            d.connection.numbers.deregister("9"),
            d.connection.numbers.set_pin("9", "123456"),
        ):
            with pytest.raises(ProviderError) as caught:
                await work
            assert caught.value.code == "no_such_number"
        assert d.posts == []


async def test_an_address_that_meta_would_not_take_is_not_offered() -> None:
    """It may have 200 characters; and wad has to know one to offer."""
    async with desk(public_url=None) as d:
        for url, token, code in (
            ("https://x.example/" + "x" * 200, "t", "url_too_long"),
            (None, None, "no_public_url"),
        ):
            with pytest.raises(ProviderError) as caught:
                await d.connection.callback.set(url, token=token)
            assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, code)
        assert d.posts == []


# --- marketing --------------------------------------------------------------------------------------

OFFER: Content = {"type": "template", "template": {"name": "oferta", "language": {"code": "es_MX"}}}
TEMPLATES = {
    "data": [
        {"id": "1", "name": "oferta", "language": "es_MX", "category": "MARKETING"},
        {"id": "2", "name": "oferta", "language": "en", "category": "UTILITY"},
        {"id": "3", "name": "oferta_2", "language": "es_MX", "category": "UTILITY"},
    ]
}
SERVED = {"marketing_messages_onboarding_status": "ONBOARDED"}
MM, CLOUD = "1/marketing_messages", "1/messages"

WAYS = [
    ("marketing goes by its own API", SERVED, {}, [MM]),
    ("not in an account that it does not serve", {}, {}, [CLOUD]),
    ("a language of another category goes the usual way", SERVED, {"language": "en"}, [CLOUD]),
    ("so does what the list does not have", SERVED, {"name": "otra"}, [CLOUD]),
]


@pytest.mark.parametrize(("account", "change", "way"), [row[1:] for row in WAYS], ids=[r[0] for r in WAYS])
async def test_which_way_a_template_goes(
    account: dict[str, Any], change: dict[str, str], way: list[str]
) -> None:
    """By its category in the account's list, which is asked once."""
    template: dict[str, Any] = {"name": change.get("name", "oferta")}
    template["language"] = {"code": change.get("language", "es_MX")}
    async with desk(**account) as d:
        d.routes["GET", f"{WABA}/message_templates"] = answering(200, TEMPLATES)
        await d.connection.connect()
        before = len(d.posts)
        for _ in range(2):
            await d.connection.send(message({"type": "template", "template": template}))
        assert d.posts[before:] == way * 2
        assert len(d.asked("GET", "/message_templates")) == (1 if account else 0)
        sent = d.peer.last.json
        assert sent.get("product_policy") == ("CLOUD_API_FALLBACK" if way == [MM] else None)
        assert sent["biz_opaque_callback_data"] == message().message_id


@pytest.mark.parametrize("code", [134100, 134101, 134102, 131055])
async def test_what_the_marketing_api_did_not_take_goes_the_usual_way(code: int) -> None:
    """Once; and for a while the next one goes there at once."""
    async with desk(**SERVED) as d:
        d.routes["GET", f"{WABA}/message_templates"] = answering(200, TEMPLATES)
        d.routes["POST", f"/v26.0/{MM}"] = refusing(code)
        await d.connection.connect()
        before = len(d.posts)
        await d.connection.send(message(OFFER))
        await d.connection.send(message(OFFER))
        assert d.posts[before:] == [MM, CLOUD, CLOUD]


async def test_what_has_to_go_by_the_marketing_api_does() -> None:
    """Meta says so of accounts in which the usual way is closed to marketing."""
    async with desk() as d:
        await d.connection.connect()
        d.routes["POST", f"/v26.0/{CLOUD}"] = refusing(131063)
        before = len(d.posts)
        await d.connection.send(message(OFFER))
        assert d.posts[before:] == [CLOUD, MM]
        d.routes["POST", f"/v26.0/{MM}"] = refusing(134100)
        with pytest.raises(ProviderError) as caught:
            await d.connection.send(message(OFFER))
        assert (caught.value.code, d.posts[before + 2 :]) == ("only_marketing", [CLOUD, MM])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(500), id="broke"),
        pytest.param(refusing(131047), id="refused for the message's own sake"),
        pytest.param(answering(200, {"ok": True}), id="said something else"),
    ],
)
async def test_nothing_else_is_sent_again(answer: Any) -> None:
    """What may have gone out must not go out by the other way as well."""
    async with desk(**SERVED) as d:
        d.routes["GET", f"{WABA}/message_templates"] = answering(200, TEMPLATES)
        d.routes["POST", f"/v26.0/{MM}"] = answer
        await d.connection.connect()
        before = len(d.posts)
        with pytest.raises(ProviderError):
            await d.connection.send(message(OFFER))
        assert d.posts[before:] == [MM]


async def test_a_list_that_cannot_be_had_stops_no_send() -> None:
    """Every template may go the usual way."""
    async with desk(**SERVED) as d:
        d.routes["GET", f"{WABA}/message_templates"] = answering(503)
        await d.connection.connect()
        await d.connection.send(message(OFFER))
        assert d.posts[-1] == CLOUD
