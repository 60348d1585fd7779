"""A business account over the API: its numbers, its callback, its templates, its profiles, and `from` in a send."""

import pytest

from tests.business import CREDENTIALS, ONE, TWO, BusinessHouse, wrote
from tests.http.front import Front, form, front
from tests.providers.meta import WABA_ID
from wad.models import SessionId

SHOP = "/sessions/shop"
NUMBER = f"{SHOP}/numbers/2"
TEMPLATE = {
    "name": "aviso",
    "language": "es_MX",
    "category": "UTILITY",
    "components": [{"type": "BODY", "text": "Hola {{1}}", "example": {"bodyText": [["Ana"]]}}],
}


async def business(ask: Front) -> None:
    body = {"provider": "meta_business", "sessionId": "shop", "credentials": CREDENTIALS}
    assert (await ask("POST", "/sessions", body)).status == 201
    connected = await ask("POST", f"{SHOP}/connect", headers={"Prefer": "wait=20"})
    assert connected.status == 200, connected.body


#: What is asked, and what of it reaches Meta: method and path below the version; and the answer's status.
REACHES = [
    ("GET", f"{SHOP}/numbers", None, {}, "GET", f"{WABA_ID}/phone_numbers", 200),
    ("GET", NUMBER, None, {}, "GET", f"{WABA_ID}/phone_numbers", 200),
    (
        "POST",
        f"{SHOP}/numbers",
        {"countryCode": "52", "phoneNumber": "5512340003", "verifiedName": "Tienda"},
        {},
        "POST",
        f"{WABA_ID}/phone_numbers",
        201,
    ),
    ("POST", f"{NUMBER}/request-code", {"method": "voice"}, {}, "POST", "2/request_code", 204),
    ("POST", f"{NUMBER}/verify-code", {"code": "123-456"}, {}, "POST", "2/verify_code", 204),
    ("POST", f"{NUMBER}/register", {"pin": "123456", "region": "CH"}, {}, "POST", "2/register", 204),
    ("POST", f"{NUMBER}/deregister", None, {}, "POST", "2/deregister", 204),
    ("PUT", f"{NUMBER}/pin", {"pin": "123456"}, {}, "POST", "2", 204),
    ("PUT", f"{NUMBER}/webhook", {}, {}, "POST", "2", 200),
    ("DELETE", f"{NUMBER}/webhook", None, {}, "POST", "2", 204),
    ("GET", f"{SHOP}/webhook", None, {}, "GET", f"{WABA_ID}/subscribed_apps", 200),
    ("PUT", f"{SHOP}/webhook", {}, {}, "POST", f"{WABA_ID}/subscribed_apps", 200),
    ("DELETE", f"{SHOP}/webhook", None, {}, "POST", f"{WABA_ID}/subscribed_apps", 204),
    ("GET", f"{SHOP}/templates", None, {"status": "APPROVED"}, "GET", f"{WABA_ID}/message_templates", 200),
    ("POST", f"{SHOP}/templates", TEMPLATE, {}, "POST", f"{WABA_ID}/message_templates", 201),
    ("PATCH", f"{SHOP}/templates/77", {"category": "UTILITY"}, {}, "POST", "77", 204),
    ("DELETE", f"{SHOP}/templates", None, {"name": "aviso"}, "DELETE", f"{WABA_ID}/message_templates", 204),
    ("GET", f"{SHOP}/profile", None, {}, "GET", "1/whatsapp_business_profile", 200),
    ("GET", f"{SHOP}/profile", None, {"number": TWO.phone}, "GET", "2/whatsapp_business_profile", 200),
    ("PATCH", f"{SHOP}/profile", {"about": "Hola"}, {}, "POST", "1/whatsapp_business_profile", 200),
]


async def test_everything_reaches_the_account(autojump_clock):
    """Each operation does what it says; what it answers is what stands."""
    house = BusinessHouse()
    async with front(house) as ask:
        await business(ask)
        for method, path, body, query, theirs, reached, status in REACHES:
            house.graph.asked.clear()
            reply = await ask(method, path, body, **query)
            assert reply.status == status, (method, path, reply.body)
            assert (theirs, reached) in [(each[0], each[1]) for each in house.graph.asked], (method, path)


async def test_what_is_answered(autojump_clock):
    """camelCase, lists with `next`, and the address that stands now."""
    own = "https://wa.example.com/webhooks/meta_business/shop"
    async with front(BusinessHouse()) as ask:
        await business(ask)
        numbers = (await ask("GET", f"{SHOP}/numbers")).json
        assert numbers["next"] is None
        assert [each["phoneNumber"] for each in numbers["items"]] == [ONE.phone, TWO.phone]
        by_phone = await ask("GET", f"{SHOP}/numbers/%2B525512340002")
        assert by_phone.json == numbers["items"][1]
        assert (await ask("PUT", f"{SHOP}/webhook", {})).json == {"url": own}
        elsewhere = {"url": "https://crm.example/x", "verifyToken": "t"}
        assert (await ask("PUT", f"{NUMBER}/webhook", elsewhere)).json == {"url": elsewhere["url"]}
        made = await ask("POST", f"{SHOP}/templates", TEMPLATE)
        assert made.json == {"id": "77", "name": "aviso", "language": "es_MX"}
        added = await ask(
            "POST",
            f"{SHOP}/numbers",
            {"countryCode": "52", "phoneNumber": "5512340003", "verifiedName": "T"},
        )
        assert added.headers["location"] == "/api/whatsapp/sessions/shop/numbers/77"
        assert (await ask("GET", f"{SHOP}/profile")).json == {"about": "Hola"}
        status = (await ask("GET", SHOP)).json
        assert status["connectionData"]["numbers"] == numbers["items"]


BAD = [
    ("POST", f"{SHOP}/numbers", {"countryCode": "+52", "phoneNumber": "x"}, {},
     {"/countryCode", "/phoneNumber", "/verifiedName"}),
    ("POST", f"{NUMBER}/request-code", {"method": "SMS"}, {}, {"/method"}),
    ("POST", f"{NUMBER}/register", {"pin": "12345"}, {}, {"/pin"}),
    ("PUT", f"{NUMBER}/webhook", {"url": "ftp://x"}, {}, {"/url"}),
    ("POST", f"{SHOP}/templates", {**TEMPLATE, "name": "Aviso", "components": []}, {}, {"/name", "/components"}),
    ("PATCH", f"{SHOP}/templates/77", {}, {}, {""}),
    ("DELETE", f"{SHOP}/templates", None, {}, {"/name"}),
    ("GET", f"{SHOP}/templates", None, {"category": "SPAM"}, {"/category"}),
    ("PATCH", f"{SHOP}/profile", {"websites": ["x"], "about": ""}, {}, {"/about", "/websites/0"}),
    ("PATCH", f"{SHOP}/profile", {}, {"number": "one"}, {"/number"}),
]  # fmt: skip


async def test_bad_input_is_refused_by_the_fields_name(autojump_clock):
    """Every one of them, and nothing is asked of Meta."""
    house = BusinessHouse()
    async with front(house) as ask:
        await business(ask)
        house.graph.asked.clear()
        for method, path, body, query, pointers in BAD:
            reply = await ask(method, path, body, **query)
            assert (reply.status, reply.pointers) == (422, pointers), (method, path, reply.body)
        deep = [TEMPLATE["components"]]
        for _ in range(12):  # of what may be 32 levels deep in all
            deep = [{"x": deep}]
        reply = await ask("POST", f"{SHOP}/templates", {**TEMPLATE, "components": deep})
        assert (reply.status, reply.pointers) == (422, {"/components"})
        reply = await ask("POST", f"{SHOP}/templates", {**TEMPLATE, "components": []})
        assert reply.json["detail"] == "/components: should have at least 1 item, not 0"
        assert house.graph.asked == []


TIMED = [(133008, "pin_throttled", 300), (133016, "registration_throttled", 3600)]


@pytest.mark.parametrize(("code", "word", "seconds"), TIMED)
async def test_what_has_to_wait_says_for_how_long(code, word, seconds, autojump_clock):
    """429 with `retryAfter`, for Meta counts pins and registrations."""
    house = BusinessHouse()
    house.graph.refusals["POST", "2/register"] = code
    async with front(house) as ask:
        await business(ask)
        reply = await ask("POST", f"{NUMBER}/register", {"pin": "123456"})
        assert (reply.status, reply.json["code"], reply.json["retryAfter"]) == (429, word, seconds)
        assert (reply.json["providerCode"], reply.headers["retry-after"]) == (str(code), str(seconds))


async def test_a_number_that_the_account_does_not_have_is_not_found(autojump_clock):
    """Whatever else the token could reach."""
    async with front(BusinessHouse()) as ask:
        await business(ask)
        for path in (f"{SHOP}/numbers/99", f"{SHOP}/profile?number=99"):
            reply = await ask("GET", path)
            assert (reply.status, reply.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("template_id", ["..", "%2e%2e", "77%3Ffields=x", "greeting", "\u0667"])
async def test_what_is_no_id_of_a_template_reaches_nobody(template_id, autojump_clock):
    """It would become a part of Meta's URL."""
    house = BusinessHouse()
    async with front(house) as ask:
        await business(ask)
        asked = len(house.graph.asked)
        reply = await ask("PATCH", f"{SHOP}/templates/{template_id}", {"category": "UTILITY"})
        assert reply.status in (404, 405, 422)
        assert len(house.graph.asked) == asked


async def test_a_number_made_fit_to_send_makes_its_session_connect(autojump_clock):
    """The session waited for a person, who did this: it looks again at once."""
    house = BusinessHouse()
    for each in house.graph.numbers:
        each["status"] = "DISCONNECTED"
    async with front(house) as ask:
        body = {"provider": "meta_business", "sessionId": "shop", "credentials": CREDENTIALS}
        await ask("POST", "/sessions", body)
        waiting = await ask("POST", f"{SHOP}/connect", headers={"Prefer": "wait=20"})
        assert waiting.json["reason"]["code"] == "not_registered"
        assert waiting.json["reason"]["needsPerson"] is True
        house.graph.numbers[1]["status"] = "CONNECTED"
        assert (await ask("POST", f"{NUMBER}/register", {"pin": "123456"})).status == 204
        now = await ask("POST", f"{SHOP}/connect", headers={"Prefer": "wait=20"})
        assert (now.status, now.json["state"]) == (200, "connected")


async def test_other_providers_have_no_account_to_manage(autojump_clock):
    """422, with the capability's name."""
    async with front() as ask:
        await ask.session("shop")
        for path, capability in (("numbers", "numbers"), ("webhook", "numbers"), ("templates", "templates"),
                                 ("profile", "profile"), ("profile?number=1", "numbers")):  # fmt: skip
            reply = await ask("GET", f"{SHOP}/{path}")
            assert (reply.status, reply.json["code"], reply.json["capability"]) == (
                (422, "not_supported", capability)
            )


# --- from ------------------------------------------------------------------------------------------


async def test_a_send_says_which_number_it_leaves_from(autojump_clock):
    """In the answer to the send, and wherever the message is shown; an inbound one says which it came to."""
    async with front(BusinessHouse()) as ask:
        await business(ask)
        sent = await ask.send(**{"from": TWO.phone})
        assert (sent.status, sent.json["from"]) == (202, TWO.phone)
        shown = (await ask("GET", f"/messages/{sent.json['messageId']}")).json
        assert (shown["from"], shown["to"]) == (TWO.phone, "+5215512345678")
        await ask.sessions.actors.get(SessionId("shop")).received([wrote(TWO)])
        [inbound] = (await ask("GET", "/messages", direction="inbound")).json["items"]
        assert (inbound["to"], inbound["from"]["phone"]) == (TWO.phone, "+5215512345678")
        assert (await ask.send()).json["from"] == TWO.phone  # the number that they wrote to


async def test_a_file_is_uploaded_for_the_number_that_sends_it(autojump_clock):
    """Meta takes it from no other; one that the session does not have is refused."""
    house = BusinessHouse()
    async with front(house) as ask:
        await business(ask)
        for number, status in ((TWO.phone, 201), ("+5215500000000", 422), (None, 201)):
            named = [] if number is None else [("from", None, None, number.encode())]
            raw, headers = form(
                ("sessionId", None, None, b"shop"), *named, ("file", "a.png", "image/png", b"png")
            )
            reply = await ask("POST", "/media", raw=raw, headers=headers)
            assert reply.status == status, reply.body
            if number == TWO.phone:
                image = {"image": {"mediaId": reply.json["mediaId"]}, "text": None}
                refused = await ask.send(**image, **{"from": ONE.phone})
                assert (refused.status, refused.pointers) == (422, {"/image/mediaId"})
                assert (await ask.send(**image, **{"from": TWO.phone})).status == 202
        assert [path for _, path, _ in house.graph.asked if path.endswith("/media")] == ["2/media", "1/media"]


FROM = [
    ("another number", {"from": "+5299"}, {"/from"}),
    ("what is no number", {"from": "me"}, {"/from"}),
    ("a number beside a shop", {"from": "1", "shopId": "s", "sessionId": None}, {"/from"}),
]


@pytest.mark.parametrize(("more", "pointers"), [row[1:] for row in FROM], ids=[row[0] for row in FROM])
async def test_a_number_that_cannot_send_it_is_refused(more, pointers, autojump_clock):
    """By the field's name."""
    async with front(BusinessHouse()) as ask:
        await business(ask)
        reply = await ask.send(**more)
        assert (reply.status, reply.pointers) == (422, pointers)


async def test_a_session_of_one_number_needs_no_from(autojump_clock):
    """Its own may be named; messages do not repeat it."""
    async with front() as ask:
        await ask.session("shop")
        assert "from" not in (await ask.send(**{"from": "+5215500000001"})).json
        assert (await ask.send(**{"from": "+5215500000002"})).pointers == {"/from"}
