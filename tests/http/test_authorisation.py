"""Who may do what: every operation of the table against every kind of token."""

import pytest

from tests.http.front import API, Front, form, front
from wad.http.operations import Access
from wad.http.routes import OPERATIONS

GUARDED = [op for op in OPERATIONS if op.access is Access.TOKEN]
NOT_GUARDED = [op for op in OPERATIONS if op.access is not Access.TOKEN]
SEND = {"to": "+5215512345678", "text": "hola"}
TEMPLATE = {"name": "hola", "language": "es", "category": "UTILITY", "components": [{"type": "BODY"}]}
#: How each guarded operation is asked for what belongs to shop-9: body, query; and what shop-8 hears.
ASKED = {
    "createSession": ({"provider": "simulated", "credentials": {"key": "new"}, "shopId": "shop-9"}, {}, 403),
    "listSessions": (None, {}, 200),
    "getSession": (None, {}, 404),
    "changeSession": ({"settings": {"rate": 5}}, {}, 404),
    "deleteSession": (None, {}, 404),
    "connectSession": (None, {}, 404),
    "disconnectSession": (None, {}, 404),
    "logoutSession": (None, {}, 404),
    "setBreaker": ({"action": "isolate"}, {}, 404),
    "getSessionStatus": (None, {}, 404),
    "getQr": (None, {}, 404),
    "getPairingCode": ({"phoneNumber": "+5215512345678"}, {}, 404),
    "listCapabilities": (None, {}, 200),
    "getCapabilities": (None, {}, 404),
    "listGroups": (None, {}, 404),
    "getGroup": (None, {}, 404),
    "markRead": ({"messageId": "msg_1"}, {}, 404),
    "listNumbers": (None, {}, 404),
    "addNumber": ({"countryCode": "52", "phoneNumber": "5512345678", "verifiedName": "T"}, {}, 404),
    "getNumber": (None, {}, 404),
    "requestNumberCode": ({"method": "sms"}, {}, 404),
    "verifyNumberCode": ({"code": "123456"}, {}, 404),
    "registerNumber": ({"pin": "123456"}, {}, 404),
    "deregisterNumber": (None, {}, 404),
    "setNumberPin": ({"pin": "123456"}, {}, 404),
    "setNumberWebhook": ({}, {}, 404),
    "removeNumberWebhook": (None, {}, 404),
    "getWebhook": (None, {}, 404),
    "setWebhook": ({}, {}, 404),
    "removeWebhook": (None, {}, 404),
    "listTemplates": (None, {}, 404),
    "createTemplate": (TEMPLATE, {}, 404),
    "deleteTemplate": (None, {"name": "hola"}, 404),
    "editTemplate": ({"category": "UTILITY"}, {}, 404),
    "getProfile": (None, {}, 404),
    "changeProfile": ({"about": "Hola"}, {}, 404),
    "send": ({"sessionId": "nine", **SEND}, {}, 404),
    "sendGroup": ({"sessionId": "nine", "groupId": "g", "text": "hola"}, {}, 404),
    "sendBulk": ({"messages": [{"sessionId": "nine", **SEND}]}, {}, 202),
    "listMessages": (None, {}, 200),
    "getMessage": (None, {}, 404),
    "cancelMessage": (None, {}, 404),
    "listBulks": (None, {}, 200),
    "getBulk": (None, {}, 404),
    "cancelBulk": (None, {}, 404),
    "listDeadLetters": (None, {}, 200),
    "retryDeadLetter": (None, {}, 404),
    "discardDeadLetter": (None, {}, 404),
    "listen": (None, {"sessionId": "nine"}, 404),
    "uploadMedia": (None, {}, 404),
    "getMedia": (None, {}, 404),
}


PARAMETERS = ("sessionId", "messageId", "bulkId", "mediaId", "groupId", "number", "templateId")
UPLOAD = form(("sessionId", None, None, b"nine"), ("file", "a.png", "image/png", b"png"))


async def of_shop_9(ask: Front) -> dict[str, str]:
    """What shop-9 has: a session, a message, a file. By the names of path parameters."""
    await ask.session("nine", shopId="shop-9")
    sent = await ask.send(session_id="nine")
    named = {"bulkId": "sale", "messages": [{"sessionId": "nine", **SEND}]}
    assert (await ask("POST", "/send-bulk", named)).status == 202
    raw, headers = UPLOAD
    file = await ask("POST", "/media", raw=raw, headers=headers)
    assert file.status == 201, file.body
    return {
        "sessionId": "nine",
        "messageId": sent.json["messageId"],
        "bulkId": "sale",
        "mediaId": file.json["mediaId"],
        "groupId": "g-1",
        "number": "1",
        "templateId": "1",
    }


async def ask_for(ask: Front, op, ids: dict[str, str]):
    body, query, _ = ASKED[op.id]
    raw, headers = UPLOAD if op.id == "uploadMedia" else (None, {})
    if body is not None:
        headers = {"Content-Type": op.body.media_types[0]}
    return await ask(op.method, op.path.format(**ids), body, raw=raw, headers=headers, **query)


def test_every_guarded_operation_has_a_row_above():
    """An operation that nobody asks for here is one that nobody has tried to break."""
    assert {op.id for op in GUARDED} == ASKED.keys()


def test_everything_under_the_api_is_guarded():
    """A token is wanted under /api, and nowhere else."""
    assert all(op.path.startswith(API) for op in GUARDED)
    assert not any(op.path.startswith(API) for op in NOT_GUARDED)


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: op.id)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer ", "Basic b3BzOm9wcw==", "Bearer é", "Bearer wad_ops_"]
)
async def test_without_a_known_token_nothing_is_done(op, authorization, autojump_clock):
    """401 with a challenge, and no hint of whether the thing exists."""
    async with front() as ask:
        headers = {} if authorization is None else {"Authorization": authorization}
        reply = await ask.as_(None)(
            op.method, op.path.format(**dict.fromkeys(PARAMETERS, "x")), headers=headers
        )
        assert (reply.status, reply.json["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: op.id)
async def test_another_shops_things_do_not_exist(op, autojump_clock):
    """404 and not 403; lists without them; a batch that refuses each item; and nothing has changed."""
    async with front() as ask:
        ids = await of_shop_9(ask)
        before = await ask("GET", "/sessions/nine"), await ask("GET", f"/messages/{ids['messageId']}")
        reply = await ask_for(ask.as_("shop8"), op, ids)
        assert reply.status == ASKED[op.id][2], reply.body
        match reply.status:
            case 200 if op.id == "listCapabilities":
                assert "nine" not in str(reply.json)  # what providers can do belongs to nobody
            case 200:
                assert reply.json == {"items": [], "next": None}
            case 202:
                [item] = reply.json["items"]
                assert (item["status"], item["problem"]["code"]) == (404, "not_found")
            case 404:
                assert "shop" not in reply.json["detail"]
        after = await ask("GET", "/sessions/nine"), await ask("GET", f"/messages/{ids['messageId']}")
        assert [each.json for each in after] == [each.json for each in before]


@pytest.mark.parametrize("op", GUARDED, ids=lambda op: op.id)
@pytest.mark.parametrize("who", ["shop9", "chain", "ops"])
async def test_a_shops_own_token_and_an_admins_may_do_it(op, who, autojump_clock):
    """Whatever else an operation answers, it is not a matter of rights."""
    async with front() as ask:
        ids = await of_shop_9(ask)
        if op.id == "listen":
            return  # tests/http/test_events.py: the stream does not end
        reply = await ask_for(ask.as_(who), op, ids)
        assert reply.status not in (401, 403, 429, 500)
        if reply.status == 404:
            assert op.id in ("markRead", "retryDeadLetter", "discardDeadLetter")


async def test_what_belongs_to_no_shop_is_an_admins(autojump_clock):
    """A session without a shop is seen by no shop's token."""
    async with front() as ask:
        await ask.session("plain")
        assert (await ask.as_("shop9")("GET", "/sessions/plain")).status == 404
        assert (await ask.as_("shop9")("GET", "/sessions")).json["items"] == []
        assert [each["sessionId"] for each in (await ask("GET", "/sessions")).json["items"]] == ["plain"]


async def test_a_shop_creates_sessions_of_its_own_only(autojump_clock):
    """It need not say which shop where it has one; one with two shops must choose; another's is forbidden."""
    body = {"provider": "simulated", "credentials": {"key": "k"}}
    async with front() as ask:
        made = await ask.as_("shop9")("POST", "/sessions", body)
        assert (made.status, made.json["shopId"]) == (201, "shop-9")
        assert (await ask.as_("chain")("POST", "/sessions", body)).pointers == {"/shopId"}
        chosen = await ask.as_("chain")("POST", "/sessions", {**body, "shopId": "shop-8"})
        assert (chosen.status, chosen.json["shopId"]) == (201, "shop-8")
        refused = await ask.as_("shop9")("POST", "/sessions", {**body, "shopId": "shop-8"})
        assert (refused.status, refused.json["code"]) == (403, "forbidden")


ADMINS = [
    ("to another shop", {"shopId": "shop-8"}),
    ("to no shop", {"shopId": None}),
    ("to another provider's address", {"settings": {"baseUrl": "https://x.example"}}),
]


@pytest.mark.parametrize("change", [row[1] for row in ADMINS], ids=[row[0] for row in ADMINS])
async def test_only_an_admin_moves_a_session(change, autojump_clock):
    """Moving it takes it out of the shop's sight, or sends its traffic elsewhere."""
    async with front() as ask:
        await ask.session("nine", shopId="shop-9")
        refused = await ask.as_("shop9")("PATCH", "/sessions/nine", change)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert (await ask("PATCH", "/sessions/nine", change)).status == 200


async def test_a_stranger_who_guesses_is_asked_to_wait(autojump_clock):
    """Ten wrong tokens a minute from one address; a right one passes all the same, and a missing one is no guess."""
    async with front() as ask:
        wrong = ask.as_("wrong")
        assert [(await wrong("GET", "/sessions")).status for _ in range(12)] == [401] * 10 + [429] * 2
        reply = await wrong("GET", "/sessions")
        assert reply.json["code"] == "too_many_requests"
        assert int(reply.headers["retry-after"]) == reply.json["retryAfter"] == 6
        assert (await ask("GET", "/sessions")).status == 200
        assert (await ask.as_(None)("GET", "/sessions")).status == 401


async def test_a_shop_that_hurries_is_asked_to_wait_and_others_are_not(autojump_clock):
    """limits.requests_per_second, for each shop's token; an admin's has no limit."""
    async with front(config={"limits": {"requests_per_second": 2, "request_burst": 5}}) as ask:
        assert [(await ask.as_("shop9")("GET", "/sessions")).status for _ in range(6)] == [200] * 5 + [429]
        assert (await ask.as_("shop9")("GET", "/sessions")).headers["retry-after"] == "1"
        assert (await ask.as_("shop8")("GET", "/sessions")).status == 200
        assert [(await ask("GET", "/sessions")).status for _ in range(20)] == [200] * 20
