"""Sessions over HTTP: created, read without their secrets, changed by merge patch, connected, forgotten."""

import pytest
import trio

from tests.http.front import API, front
from wad.errors import ProviderError, Verdict

BODY = {"provider": "simulated", "credentials": {"key": "k", "appSecret": "very-secret"}}


async def test_a_session_is_created_and_read_without_its_secrets(autojump_clock):
    """201 with its place; of its secrets, whether they are set."""
    async with front() as ask:
        body = BODY | {
            "sessionId": "tienda-1",
            "shopId": "shop-9",
            "settings": {"flowUrl": "https://f.example/x", "flowSecret": "whsec_" + "YWJj" * 8},
        }
        made = await ask("POST", "/sessions", body)
        assert (made.status, made.headers["location"]) == (201, f"{API}/sessions/tienda-1")
        await trio.sleep(1)
        read = await ask("GET", "/sessions/tienda-1")
        assert read.json["credentials"] == {"appSecret": {"set": True}, "key": {"set": True}}
        assert read.json["settings"]["flowSecret"] == {"set": True}
        assert (read.json["state"], read.json["isConnected"], read.json["shopId"]) == (
            "connected",
            True,
            "shop-9",
        )
        assert read.json["phoneNumber"] == "+5215500000001"
        for reply in (
            made,
            read,
            await ask("GET", "/sessions"),
            await ask("GET", "/sessions/tienda-1/status"),
        ):
            assert b"very-secret" not in reply.body
            assert b"whsec_" not in reply.body


async def test_wad_names_a_session_that_has_no_name(autojump_clock):
    """And the place says which."""
    async with front() as ask:
        made = await ask("POST", "/sessions", BODY)
        assert made.headers["location"] == f"{API}/sessions/{made.json['sessionId']}"
        assert (await ask("GET", made.headers["location"])).status == 200


async def test_an_id_is_taken_once(autojump_clock):
    """409."""
    async with front() as ask:
        await ask.session()
        again = await ask("POST", "/sessions", BODY | {"sessionId": "shop"})
        assert (again.status, again.json["code"]) == (409, "session_exists")


async def test_a_session_need_not_be_connected(autojump_clock):
    """`"connect": false` creates it, and no more."""
    async with front() as ask:
        await ask("POST", "/sessions", BODY | {"sessionId": "shop", "connect": False})
        await trio.sleep(5)
        status = (await ask("GET", "/sessions/shop/status")).json
        assert (status["desiredState"], status["isConnected"]) == ("disconnected", False)


BAD = [
    ({}, {"/provider", "/credentials"}),
    (BODY | {"provider": "carrier-pigeon"}, {"/provider"}),
    (BODY | {"provider": "twilio"}, {"/provider"}),
    (BODY | {"credentials": {}}, {"/credentials/key"}),
    (BODY | {"credentials": {"key": 5}}, {"/credentials/key"}),
    (BODY | {"sessionId": "../x", "phoneNumber": "12", "shopId": ""}, {"/sessionId", "/phoneNumber", "/shopId"}),
    (BODY | {"settings": {"rate": 0, "burst": 1.5, "flowUrl": "ftp://x", "duplicates": "maybe", "speed": 9}},
     {"/settings/rate", "/settings/burst", "/settings/flowUrl", "/settings/duplicates", "/settings/speed"}),
    (BODY | {"settings": {"flowSecret": "short"}}, {"/settings/flowSecret"}),
    (BODY | {"settings": {"flowUrl": "http://user:pass@x.example"}}, {"/settings/flowUrl"}),
    (BODY | {"isConnected": True, "state": "connected", "$where": "1"}, {"/isConnected", "/state", "/$where"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "pointers"), BAD)
async def test_every_bad_field_of_a_session_is_named(body, pointers, autojump_clock):
    """422; and what only wad sets cannot be set."""
    async with front() as ask:
        made = await ask("POST", "/sessions", body)
        assert (made.status, made.pointers) == (422, pointers)


async def test_sessions_are_listed_by_id_in_parts_and_filtered(autojump_clock):
    """By shop, provider and state."""
    async with front() as ask:
        for name in ("c", "a", "b"):
            await ask.session(name, shopId="shop-9" if name == "a" else None)
        first = (await ask("GET", "/sessions", limit="2")).json
        rest = (await ask("GET", "/sessions", limit="2", cursor=first["next"])).json
        assert [[item["sessionId"] for item in part["items"]] for part in (first, rest)] == [
            ["a", "b"],
            ["c"],
        ]
        assert rest["next"] is None
        for query, names in (
            ({"shopId": "shop-9"}, ["a"]),
            ({"shopId": "shop-8"}, []),
            ({"provider": "simulated"}, ["a", "b", "c"]),
            ({"provider": "twilio"}, []),
            ({"state": "connected"}, ["a", "b", "c"]),
            ({"state": "failed"}, []),
        ):
            assert [
                item["sessionId"] for item in (await ask("GET", "/sessions", **query)).json["items"]
            ] == names


async def test_a_listed_session_is_as_its_status_says(autojump_clock):
    """From memory: the state, which the filter goes by too, and what a list of sessions shows of each."""
    async with front() as ask:
        await ask.session("silent")
        await trio.sleep(1801)  # longer than a proof is good for
        await ask.session("alive")
        await ask.session("held")
        await ask("POST", "/sessions/held/disconnect", headers={"Prefer": "wait=5"})
        await ask.send(session_id="held", queue=True)
        for state, names in (("degraded", ["silent"]), ("connected", ["alive"]), ("disconnected", ["held"])):
            found = (await ask("GET", "/sessions", state=state)).json["items"]
            assert [item["sessionId"] for item in found] == names
        listed = {item["sessionId"]: item for item in (await ask("GET", "/sessions")).json["items"]}
        for name, item in listed.items():
            status = (await ask("GET", f"/sessions/{name}/status")).json
            same = ("state", "reason", "isConnected", "lastSeen", "since", "nextRetryAt", "breaker", "queue")
            assert {field: item[field] for field in same} == {field: status[field] for field in same}
        assert listed["held"]["queue"]["depth"] == 1
        assert listed["silent"]["reason"]["code"] == "proof_stale"


# --- merge patch ----------------------------------------------------------------------------------

PATCHES = [
    ("set", {"settings": {"rate": 5}}, {"rate": 5.0, "burst": 7}),
    ("leave", {}, {"burst": 7}),
    ("remove one", {"settings": {"burst": None}}, {}),
    ("remove all", {"settings": None}, {}),
    ("merge inside", {"settings": {"retry": {"maxAge": 60}}}, {"burst": 7, "retry": {"maxAge": 60.0}}),
]


@pytest.mark.parametrize(("patch", "settings"), [row[1:] for row in PATCHES], ids=[row[0] for row in PATCHES])
@pytest.mark.parametrize("media_type", ["application/merge-patch+json", "application/json"])
async def test_a_patch_merges(patch, settings, media_type, autojump_clock):
    """RFC 7396: what is given changes, null removes, what is left out stays."""
    async with front() as ask:
        await ask.session(settings={"burst": 7})
        changed = await ask("PATCH", "/sessions/shop", patch, headers={"Content-Type": media_type})
        assert changed.status == 200, changed.body
        kept = {name: value for name, value in changed.json["settings"].items() if name != "duplicates"}
        assert kept == settings


async def test_an_object_inside_an_object_merges_too(autojump_clock):
    """`retry` is not replaced by a patch that names one of its members."""
    async with front() as ask:
        await ask.session(settings={"retry": {"maxAge": 60, "maxAttempts": 3}})
        changed = await ask("PATCH", "/sessions/shop", {"settings": {"retry": {"maxAge": None}}})
        assert changed.json["settings"]["retry"] == {"maxAttempts": 3.0}


async def test_credentials_are_patched_by_name(autojump_clock):
    """A secret is added, and taken away, without the others being said again."""
    async with front() as ask:
        await ask.session()
        added = await ask("PATCH", "/sessions/shop", {"credentials": {"appSecret": "s"}})
        assert added.json["credentials"] == {"appSecret": {"set": True}, "key": {"set": True}}
        removed = await ask("PATCH", "/sessions/shop", {"credentials": {"appSecret": None}})
        assert removed.json["credentials"] == {"key": {"set": True}}
        without = await ask("PATCH", "/sessions/shop", {"credentials": {"key": None}})
        assert (without.status, without.pointers) == (422, {"/credentials/key"})


async def test_what_identifies_a_session_does_not_change(autojump_clock):
    """And a provider or credentials cannot be patched away."""
    async with front() as ask:
        await ask.session()
        for patch, pointer in (
            ({"sessionId": "other"}, "/sessionId"),
            ({"provider": None}, "/provider"),
            ({"credentials": None}, "/credentials"),
            ({"desiredState": "connected"}, "/desiredState"),
        ):
            assert (await ask("PATCH", "/sessions/shop", patch)).pointers == {pointer}


async def test_null_takes_a_phone_number_away(autojump_clock):
    """Null and absence are not the same in a patch."""
    async with front() as ask:
        await ask(
            "POST",
            "/sessions",
            BODY | {"sessionId": "shop", "connect": False, "phoneNumber": "+5215512345678"},
        )
        assert (await ask("PATCH", "/sessions/shop", {})).json["phoneNumber"] == "+5215512345678"
        assert (await ask("PATCH", "/sessions/shop", {"phoneNumber": None})).json["phoneNumber"] is None


# --- connecting -----------------------------------------------------------------------------------


async def test_connecting_answers_as_far_as_it_is(autojump_clock):
    """200 when connected, 202 while it is on its way; the wait is granted by name."""
    async with front() as ask:
        await ask("POST", "/sessions", BODY | {"sessionId": "shop", "connect": False})
        ask.house.world.latency = 10
        at_once = await ask("POST", "/sessions/shop/connect")
        assert (at_once.status, at_once.json["desiredState"], at_once.json["isConnected"]) == (
            202,
            "connected",
            False,
        )
        waited = await ask("POST", "/sessions/shop/connect", headers={"Prefer": "wait=20"})
        assert (waited.status, waited.json["state"], waited.json["isConnected"]) == (200, "connected", True)
        assert waited.headers["preference-applied"] == "wait=20"


async def test_a_refused_account_is_no_success(autojump_clock):
    """202, for what was wanted is recorded; the body says what stands in the way, and that a person is needed."""
    async with front() as ask:
        await ask("POST", "/sessions", BODY | {"sessionId": "shop", "connect": False})
        ask.house.world.connects["shop"] = [
            ProviderError(Verdict.NEEDS_PERSON, "token expired", code="bad_credentials")
        ]
        reply = await ask("POST", "/sessions/shop/connect", headers={"Prefer": "wait=20"})
        assert (reply.status, reply.json["state"]) == (202, "bad_credentials")
        assert reply.json["reason"]["needsPerson"] is True


async def test_disconnecting_keeps_the_session(autojump_clock):
    """200 once it is so."""
    async with front() as ask:
        await ask.session()
        reply = await ask("POST", "/sessions/shop/disconnect", headers={"Prefer": "wait=20"})
        assert (reply.status, reply.json["state"], reply.json["isConnected"]) == (200, "disconnected", False)
        assert (await ask("POST", "/sessions/shop/logout")).status == 200


async def test_a_session_is_forgotten(autojump_clock):
    """204; and its messages go with it."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send()
        gone = await ask("DELETE", "/sessions/shop")
        assert (gone.status, gone.body) == (204, b"")
        assert (await ask("GET", "/sessions/shop")).status == 404
        assert (await ask("GET", sent.headers["location"])).status == 404
        assert (await ask("DELETE", "/sessions/shop")).status == 404


# --- what it can ----------------------------------------------------------------------------------


async def test_capabilities_are_told(autojump_clock):
    """What the provider declares, in a stable order."""
    async with front() as ask:
        await ask.session()
        can = (await ask("GET", "/sessions/shop/capabilities")).json
        assert can["contentTypes"] == ["image", "reaction", "text"]
        assert (can["groups"], can["pairing"], can["typing"]) == (True, False, False)


async def test_capabilities_are_told_of_every_provider(autojump_clock):
    """Before there is a session of it: to choose by."""
    async with front() as ask:
        told = (await ask("GET", "/capabilities")).json
        [only] = told["items"]
        await ask.session()
        assert only == {
            "provider": "simulated",
            "capabilities": (await ask("GET", "/sessions/shop/capabilities")).json,
        }
        assert told["next"] is None


async def test_groups_are_listed(autojump_clock):
    """Those the number is in."""
    async with front() as ask:
        await ask.session()
        assert (await ask("GET", "/sessions/shop/groups")).json == {
            "items": [{"groupId": "g-1", "subject": "Friends"}],
            "next": None,
        }


async def test_a_provider_that_does_not_pair_has_no_code(autojump_clock):
    """409 for the QR, whatever form was asked for; 422 for the pairing code."""
    async with front() as ask:
        await ask.session()
        for accept in ("application/json", "image/png", "image/svg+xml", "text/plain", "*/*"):
            reply = await ask("GET", "/sessions/shop/qr", headers={"Accept": accept})
            assert (reply.status, reply.json["code"]) == (409, "not_pairing")
        code = await ask("POST", "/sessions/shop/pairing-code", {"phoneNumber": "+5215512345678"})
        assert (code.status, code.json["capability"]) == (422, "pairing")


async def test_only_what_a_customer_wrote_is_marked_read(autojump_clock):
    """404 for anything else; 422 where the provider cannot type."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send()
        for message_id in (sent.json["messageId"], "msg_none"):
            assert (await ask("POST", "/sessions/shop/read", {"messageId": message_id})).status == 404
        typing = await ask("POST", "/sessions/shop/read", {"messageId": "msg_none", "typing": True})
        assert (typing.status, typing.json["capability"]) == (422, "typing")
