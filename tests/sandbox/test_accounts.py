"""A WhatsApp Business Account at its management API: its numbers, its subscription, its tokens, its health."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.place import CALLBACK, NUMBER, SECOND, TOKEN, Place, place
from wad.sandbox import READY, READY_DIALOG360, Settings

WABA = READY.waba_id


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


async def asked(here: Place, method: str, path: str, **body: Any) -> dict[str, Any]:
    """The answer of a call that is right."""
    options = {"params": body} if method == "GET" else {"json": body}
    answer = await here.graph(method, path, **options)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(here: Place, method: str, path: str, **body: Any) -> int:
    """The code of the error that a call is refused with."""
    options = {"params": body} if method == "GET" else {"json": body}
    answer = await here.graph(method, path, **options)
    assert answer.status_code != 200, answer.text
    return int(error_of(answer)["code"])


async def code_of(here: Place, number_id: str) -> str:
    numbers = (await here.control("GET", "state"))["numbers"]
    return next(str(number["code"]) for number in numbers if number["phoneNumberId"] == number_id)


# --- numbers ----------------------------------------------------------------------------------------


async def test_a_list_of_numbers_has_the_fields_asked_for_in_pages() -> None:
    """Graph's cursors lead to the next page and back, and a field that there is not is refused by its name."""
    async with place() as here:
        path = f"{WABA}/phone_numbers"
        names = "display_phone_number,status,health_status,throughput,last_onboarded_time"
        first = await asked(here, "GET", path, fields=names, limit=1)
        assert [number["id"] for number in first["data"]] == [NUMBER]
        assert set(first["data"][0]) == {*names.split(","), "id"}
        after = first["paging"]["cursors"]["after"]
        second = await asked(here, "GET", path, limit=1, after=after)
        assert [number["id"] for number in second["data"]] == [SECOND]
        assert ["next" in page["paging"] for page in (first, second)] == [True, False]
        back = await asked(here, "GET", path, limit=1, before=second["paging"]["cursors"]["before"])
        assert [number["id"] for number in back["data"]] == [NUMBER]
        assert await refused(here, "GET", path, fields="id,shoe_size") == 100
        assert await refused(here, "GET", path, after="elsewhere") == 131059


async def test_a_new_number_is_verified_and_registered_before_it_sends() -> None:
    """Added, its code asked for and shown, registered with a pin: then its status is CONNECTED, and it may send."""
    async with place() as here:
        new = {"cc": "52", "phone_number": "55 5010 0199", "verified_name": "Tienda Nueva"}
        number = (await asked(here, "POST", f"{WABA}/phone_numbers", **new))["id"]
        assert (await asked(here, "GET", number, fields="status,code_verification_status")) == {
            "id": number,
            "status": "PENDING",
            "code_verification_status": "NOT_VERIFIED",
        }
        pin = {"messaging_product": "whatsapp", "pin": "123456"}
        assert await refused(here, "POST", f"{number}/register", **pin) == 133006
        assert await refused(here, "POST", f"{number}/verify_code", code="000000") == 136025
        await asked(here, "POST", f"{number}/request_code?code_method=SMS&language=en_US")
        await asked(here, "POST", f"{number}/verify_code", code=await code_of(here, number))
        assert await refused(here, "POST", f"{number}/request_code?code_method=SMS&language=en_US") == 136024
        await asked(here, "POST", f"{number}/register", **pin)
        assert (await asked(here, "GET", number, fields="status"))["status"] == "CONNECTED"
        # The token of the account may act for it.
        text = {
            "messaging_product": "whatsapp",
            "to": "+5215512345678",
            "type": "text",
            "text": {"body": "hola"},
        }
        await asked(here, "POST", f"{number}/messages", **text)
        assert await refused(here, "POST", f"{WABA}/phone_numbers", **new) == 100


#: label → what is wrong with a number that is to be added
NO_NUMBERS: dict[str, dict[str, Any]] = {
    "no country": {"phone_number": "5550100199", "verified_name": "Tienda"},
    "no name": {"cc": "52", "phone_number": "5550100199"},
    "a name too short": {"cc": "52", "phone_number": "5550100199", "verified_name": "T"},
    "too few digits": {"cc": "52", "phone_number": "55", "verified_name": "Tienda"},
    "a field that there is not": {
        "cc": "52",
        "phone_number": "5550100199",
        "verified_name": "T1",
        "pin": "1",
    },
}


@pytest.mark.parametrize("label", NO_NUMBERS)
async def test_a_number_that_cannot_be_is_not_added(label: str) -> None:
    """Code 100 in each case."""
    async with place() as here:
        assert await refused(here, "POST", f"{WABA}/phone_numbers", **NO_NUMBERS[label]) == 100


async def test_a_wrong_pin_is_a_mismatch_and_ten_registrations_are_enough() -> None:
    """133005 for the pin, 133016 for the eleventh in 72 hours; deregistrations are counted by themselves."""
    async with place() as here:
        pin = {"messaging_product": "whatsapp", "pin": "123456"}
        await asked(here, "POST", NUMBER, pin="123456")
        assert await refused(here, "POST", NUMBER, pin="12345") == 100
        assert await refused(here, "POST", f"{NUMBER}/register", **{**pin, "pin": "654321"}) == 133005
        await asked(here, "POST", f"{NUMBER}/deregister")
        assert (await asked(here, "GET", NUMBER, fields="status"))["status"] == "DISCONNECTED"
        for _ in range(9):
            await asked(here, "POST", f"{NUMBER}/register", **pin)
        assert await refused(here, "POST", f"{NUMBER}/register", **pin) == 133016
        await here.post("clock", {"advance": 72 * 3600 + 1})
        await asked(here, "POST", f"{NUMBER}/register", **pin)
        await here.settled()
        [told] = here.hook.values()
        assert told["event"] == "PIN_CHANGED"


async def test_a_profile_has_the_fields_that_are_asked_for() -> None:
    """Nothing by itself; what is written in is read out, and a picture is named by the handle of its upload."""
    async with place() as here:
        path = f"{NUMBER}/whatsapp_business_profile"
        said = {"about": "Abierto", "websites": ["https://example.com"], "vertical": "RETAIL"}
        session = (await asked(here, "POST", f"{READY.app_id}/uploads?file_length=4&file_type=image/jpeg"))[
            "id"
        ]
        handle = await here.graph(
            "POST", session, headers={**TOKEN, "file_offset": "0"}, content=b"\xff\xd8\xff0"
        )
        picture = {"profile_picture_handle": handle.json()["h"]}
        await asked(here, "POST", path, messaging_product="whatsapp", **said, **picture)
        fields = "about,email,vertical,websites,profile_picture_url"
        [profile] = (await asked(here, "GET", path, fields=fields))["data"]
        assert profile.pop("profile_picture_url").startswith("https://")
        assert profile == {**said, "messaging_product": "whatsapp"}
        assert (await asked(here, "GET", path))["data"] == [{"messaging_product": "whatsapp"}]


#: label → what is wrong with a profile
NO_PROFILES: dict[str, dict[str, Any]] = {
    "no product": {"messaging_product": None},
    "a field that there is not": {"motto": "x"},
    "too long": {"about": "x" * 140},
    "a kind of business that there is not": {"vertical": "PIRACY"},
    "three websites": {"websites": ["https://example.com"] * 3},
    "a website that is none": {"websites": ["example"]},
    "a picture that nobody uploaded": {"profile_picture_handle": "4::x"},
}


@pytest.mark.parametrize("label", NO_PROFILES)
async def test_a_profile_that_cannot_be_is_refused(label: str) -> None:
    """Code 100, and nothing changes."""
    async with place() as here:
        path = f"{NUMBER}/whatsapp_business_profile"
        body = {"messaging_product": "whatsapp", "description": "x", **NO_PROFILES[label]}
        assert await refused(here, "POST", path, **{k: v for k, v in body.items() if v is not None}) == 100
        [profile] = (await asked(here, "GET", path, fields="description"))["data"]
        assert "description" not in profile


async def test_settings_are_read_as_they_were_written() -> None:
    """One part at a time; a part that there is not is refused."""
    async with place() as here:
        check = {"enable_identity_key_check": True}
        await asked(here, "POST", f"{NUMBER}/settings", user_identity_change=check)
        assert (await asked(here, "GET", f"{NUMBER}/settings"))["user_identity_change"] == check
        assert await refused(here, "POST", f"{NUMBER}/settings", colour={}) == 100


# --- the account ------------------------------------------------------------------------------------


async def test_subscribing_with_nothing_to_say_takes_the_override_away() -> None:
    """The trap of `subscribed_apps`: a second POST without a body does more than nothing."""
    async with place() as here:
        path = f"{WABA}/subscribed_apps"
        override = {"override_callback_uri": f"{CALLBACK}/waba", "verify_token": READY.verify_token}
        await asked(here, "POST", path, **override)
        [app] = (await asked(here, "GET", path))["data"]
        assert app["override_callback_uri"] == f"{CALLBACK}/waba"
        assert await refused(here, "POST", path, override_callback_uri=f"{CALLBACK}/waba") == 100
        assert await refused(here, "POST", path, **{**override, "verify_token": "wrong"}) == 2200
        assert await refused(here, "POST", path, **override, fields="messages") == 100
        await here.graph("POST", path)
        [app] = (await asked(here, "GET", path))["data"]
        assert "override_callback_uri" not in app
        await asked(here, "DELETE", path)
        assert (await asked(here, "GET", path))["data"] == []


async def test_a_webhook_goes_to_the_number_then_the_account_then_the_app(autojump_clock: object) -> None:
    """Each override in turn; what is not a message goes to the app's own callback whatever overrides there are."""
    async with place(callback=False) as here:

        async def heard_at() -> str:
            await here.post("inbound", {"from": {"phone": "+5215512345678"}, "text": "hola"})
            await here.settled()
            return str((await here.control("GET", "ledger?kind=delivery"))["entries"][-1]["url"])

        async def override(path: str, name: str) -> None:
            wanted = {"override_callback_uri": f"{CALLBACK}/{name}", "verify_token": READY.verify_token}
            number = {"webhook_configuration": wanted}
            await asked(here, "POST", path, **(number if path == NUMBER else wanted))

        app = {"object": "whatsapp_business_account", "callback_url": f"{CALLBACK}/app", "fields": "messages"}
        proof = {"verify_token": READY.verify_token, "access_token": f"{READY.app_id}|{READY.app_secret}"}
        await asked(here, "POST", f"{READY.app_id}/subscriptions", **app, **proof)
        assert await heard_at() == f"{CALLBACK}/app"
        await override(f"{WABA}/subscribed_apps", "waba")
        assert await heard_at() == f"{CALLBACK}/waba"
        await override(NUMBER, "number")
        assert await heard_at() == f"{CALLBACK}/number"
        assert (await asked(here, "GET", NUMBER, fields="webhook_configuration"))[
            "webhook_configuration"
        ] == {
            "phone_number": f"{CALLBACK}/number",
            "whatsapp_business_account": f"{CALLBACK}/waba",
            "application": f"{CALLBACK}/app",
        }
        await here.post("quality", {"quality": "RED"})
        await here.settled()
        last = (await here.control("GET", "ledger?kind=delivery"))["entries"][-1]
        assert last["url"] == f"{CALLBACK}/app"


async def test_a_blocked_account_sends_nothing_and_a_limited_one_only_answers(autojump_clock: object) -> None:
    """The health of account and number says so, and each change is told: `account_update`."""
    async with place() as here:
        template = {"type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}}
        for can_send, code, event in (
            ("BLOCKED", 131031, "DISABLED_UPDATE"),
            ("LIMITED", 368, "ACCOUNT_RESTRICTION"),
            ("AVAILABLE", None, "DISABLED_UPDATE"),
        ):
            await here.post("accounts", {"canSend": can_send})
            for node in (WABA, NUMBER):
                health = (await asked(here, "GET", str(node), fields="health_status"))["health_status"]
                assert health["can_send_message"] == can_send
            answer = await here.send(**template)
            assert (answer.json().get("error") or {}).get("code") == code
            assert ((await here.send()).status_code == 200) == (can_send != "BLOCKED")
            await here.settled()
            assert [value["event"] for value in here.hook.values() if "waba_info" in value][-1] == event


async def test_what_meta_thinks_of_a_number_is_told(autojump_clock: object) -> None:
    """Its quality is read at the number, its limit there too; the webhook has the old limit beside the new one."""
    async with place() as here:
        await here.post("quality", {"limit": "TIER_2K", "quality": "YELLOW"})
        await here.settled()
        [told] = here.hook.values()
        assert (told["event"], told["old_limit"], told["current_limit"]) == (
            "DOWNGRADE",
            "TIER_UNLIMITED",
            "TIER_2K",
        )
        fields = "quality_rating,whatsapp_business_manager_messaging_limit"
        assert (await asked(here, "GET", NUMBER, fields=fields)) == {
            "id": NUMBER,
            "quality_rating": "YELLOW",
            "whatsapp_business_manager_messaging_limit": "TIER_2K",
        }


async def test_an_app_learns_what_a_token_is_good_for() -> None:
    """With its own secret only: the accounts a token may act for, or that it is good for nothing."""
    async with place() as here:
        app = f"{READY.app_id}|{READY.app_secret}"
        found = await asked(here, "GET", "debug_token", input_token=READY.access_token, access_token=app)
        assert found["data"]["is_valid"]
        assert {tuple(each["target_ids"]) for each in found["data"]["granular_scopes"]} == {(WABA,)}
        other = await asked(here, "GET", "debug_token", input_token="EAAother", access_token=app)
        assert not other["data"]["is_valid"]
        assert (await asked(here, "GET", "app", fields="id"))["id"] == READY.app_id
        wrong = f"{READY.app_id}|wrong"
        assert await refused(here, "GET", "debug_token", input_token="EAAother", access_token=wrong) == 190


# --- what goes wrong --------------------------------------------------------------------------------

PRODUCT = {"messaging_product": "whatsapp"}
#: label → the call, with a field that Meta's tables do not have
UNKNOWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a message": (
        "POST",
        f"{NUMBER}/messages",
        {**PRODUCT, "to": "+52155", "text": {"body": "x"}, "prio": 1},
    ),
    "read": (
        "POST",
        f"{NUMBER}/messages",
        {**PRODUCT, "status": "read", "message_id": "wamid.x", "seen": True},
    ),
    "a number's fields": ("GET", NUMBER, {"field": "id"}),
    "a number": ("POST", NUMBER, {"pin": "123456", "puk": "1"}),
    "an account": ("GET", str(WABA), {"metadata": "1"}),
    "numbers": ("GET", f"{WABA}/phone_numbers", {"sort": "x"}),
    "registering": ("POST", f"{NUMBER}/register", {**PRODUCT, "pin": "123456", "force": True}),
    "deregistering": ("POST", f"{NUMBER}/deregister", {"pin": "123456"}),
    "a code": ("POST", f"{NUMBER}/request_code", {"code_method": "SMS", "language": "es", "to": "x"}),
    "templates": ("GET", f"{WABA}/message_templates", {"state": "APPROVED"}),
    "a template": ("POST", f"{WABA}/message_templates", {"name": "x", "title": "x"}),
    "deleting one": ("DELETE", f"{WABA}/message_templates", {"name": "x", "force": "1"}),
    "the number's callback": ("POST", NUMBER, {"webhook_configuration": {"url": CALLBACK}}),
}


@pytest.mark.parametrize("label", UNKNOWN)
async def test_a_field_that_there_is_not_is_refused(label: str) -> None:
    """By its name, wherever it stands: a gateway that misspells one hears of it here."""
    method, path, body = UNKNOWN[label]
    async with place() as here:
        options = {"params": body} if method == "GET" else {"json": body}
        answer = await here.graph(method, path, **options)
        assert (answer.status_code, error_of(answer)["code"]) == (400, 100)
        assert "Unexpected parameter" in error_of(answer)["message"]


async def test_management_goes_wrong_by_script() -> None:
    """By its operation and its method: the account's rate limit on new templates, and lists go on."""
    async with place() as here:
        usage = json.dumps({WABA: [{"type": "whatsapp", "estimated_time_to_regain_access": 5}]})
        fault = {"kind": "error", "code": 80007, "headers": {"X-Business-Use-Case-Usage": usage}}
        await here.post("faults", {"match": {"operation": "templates", "method": "POST"}, "fault": fault})
        path = f"{WABA}/message_templates"
        await asked(here, "GET", path)
        answer = await here.graph("POST", path, json={})
        assert (error_of(answer)["code"], answer.headers["X-Business-Use-Case-Usage"]) == (80007, usage)


async def test_marketing_messages_take_marketing_templates_only(autojump_clock: object) -> None:
    """134100 for others, 131055 for what is no template; and what is sent is charged as `marketing_lite`."""
    async with place() as here:
        path = f"{NUMBER}/marketing_messages"
        base = {"messaging_product": "whatsapp", "to": "+5215512345678"}
        image = {"type": "image", "image": {"link": "https://example.com/a.png"}}
        parts = [
            {"type": "header", "parameters": [image]},
            {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]},
        ]

        def template(name: str, language: str = "en", **more: Any) -> dict[str, Any]:
            sent = {"name": name, "language": {"code": language}, "components": parts}
            return {**base, "type": "template", "template": sent, **more}

        sale = template("summer_sale", product_policy="STRICT", message_activity_sharing=True)
        assert await refused(here, "POST", path, **base, type="text", text={"body": "x"}) == 131055
        assert await refused(here, "POST", path, **template("hello_world", "en_US")) == 134100
        assert await refused(here, "POST", path, **{**sale, "product_policy": "LOOSE"}) == 100
        await asked(here, "POST", path, **sale)
        await here.settled()
        assert {status["pricing"]["category"] for status in here.hook.statuses()[:2]} == {"marketing_lite"}
        [send] = (await here.control("GET", "ledger?kind=send&operation=marketing"))["entries"]
        assert send["body"]["product_policy"] == "STRICT"
        assert await refused(here, "POST", f"{NUMBER}/messages", **sale) == 100
        # Without the terms it takes nothing; without eligibility, only what may go by the Cloud API.
        await here.post("accounts", {"marketing": "ELIGIBLE"})
        assert await refused(here, "POST", path, **sale) == 200
        await here.post("accounts", {"marketing": "INELIGIBLE"})
        assert await refused(here, "POST", path, **sale) == 134102
        await asked(here, "POST", path, **{**sale, "product_policy": "CLOUD_API_FALLBACK"})
        await here.settled()
        assert here.hook.statuses()[-2]["pricing"]["category"] == "marketing"


async def test_a_new_template_takes_a_while_to_be_known_to_marketing_messages(autojump_clock: object) -> None:
    """134101 for ten minutes."""
    review = Settings(template_review_after=0.0)
    async with place(review) as here:
        body = [{"type": "BODY", "text": "Todo a mitad de precio"}]
        new = {"name": "mitad", "language": "es_MX", "category": "MARKETING", "components": body}
        await asked(here, "POST", f"{WABA}/message_templates", **new)
        await here.settled()
        send = {
            "messaging_product": "whatsapp",
            "to": "+5215512345678",
            "type": "template",
            "template": {"name": "mitad", "language": {"code": "es_MX"}},
        }
        assert await refused(here, "POST", f"{NUMBER}/marketing_messages", **send) == 134101
        await here.post("clock", {"advance": 600})
        await asked(here, "POST", f"{NUMBER}/marketing_messages", **send)


async def test_the_state_says_how_each_provider_gets_in() -> None:
    """A configuration and credentials for each, of the first number of its kind."""
    async with place() as here:
        access = (await here.control("GET", "state"))["access"]
        assert {provider: its["config"]["base_url"] for provider, its in access.items()} == {
            "cloud_api": "http://sandbox",
            "meta_business": "http://sandbox",
            "dialog360": "http://sandbox/360dialog",
            "twilio": "http://sandbox",
        }
        assert access["meta_business"]["credentials"] == {
            "wabaId": WABA,
            "accessToken": READY.access_token,
            "appSecret": READY.app_secret,
            "verifyToken": READY.verify_token,
        }
        assert access["dialog360"]["credentials"] == {
            "apiKey": READY_DIALOG360.api_key,
            "webhookSecret": "sandbox-webhook-secret",
        }
