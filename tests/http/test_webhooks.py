"""Provider webhooks over HTTP: signed or refused, stored before they are answered, and nobody's echo."""

import hashlib
import hmac
import json

import pytest
import trio

from tests.house import House
from tests.http.front import SignedProvider, front
from wad.errors import StoreUnavailable
from wad.events import WebhookAnswered
from wad.store.memory import MemoryEngine


def batch(*texts: str, number: str = "shop", key: str = "wamid") -> bytes:
    messages = [
        {
            "from": "5215512345678",
            "id": f"{key}.{n}",
            "timestamp": "1700000000",
            "type": "text",
            "text": {"body": text},
        }
        for n, text in enumerate(texts)
    ]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "5215500000001", "phone_number_id": number},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": "5215512345678"}],
        "messages": messages,
    }
    entry = {"id": "waba", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def signed(body: bytes, secret: str = "app-secret") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}


def front_door(**config):
    return front(House(world=SignedProvider()), config)


SHOP = {"credentials": {"key": "shop", "appSecret": "app-secret", "verifyToken": "own"}}


async def test_a_signed_batch_is_stored_and_then_answered(autojump_clock):
    """200 means: it can be read; the same again changes nothing."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        body = batch("hola", "¿hay?")
        for _ in range(2):
            reply = await ask.as_(None)("POST", "/webhooks/simulated", raw=body, headers=signed(body))
            assert (reply.status, reply.json) == (200, {"messages": 2, "statuses": 0, "other": 0})
        items = (await ask("GET", "/messages", direction="inbound")).json["items"]
        assert [item["text"]["body"] for item in items] == ["¿hay?", "hola"]
        assert items[0]["from"] == {"phone": "+5215512345678", "userId": None, "name": "Ana"}
        assert items[0]["chat"] == {"id": "+5215512345678", "kind": "person"}
        assert (items[0]["direction"], items[0]["sessionId"]) == ("inbound", "shop")
        read = await ask("GET", f"/messages/{items[0]['messageId']}")
        assert read.json == items[0]
        assert (await ask("POST", f"/messages/{items[0]['messageId']}/cancel")).status == 404


@pytest.mark.parametrize("path", ["/webhooks/simulated", "/webhooks/simulated/shop"])
@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", "sha256=" + "0" * 64, "sha1=00", "é", "sha256=é" + "0" * 62, "sha256=" + "0" * 63],
)
async def test_a_batch_without_its_signature_is_refused(path, signature, autojump_clock):
    """401, never a 500, and nothing of it is stored."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        headers = {"Content-Type": "application/json"} | (
            {} if signature is None else {"X-Hub-Signature-256": signature}
        )
        reply = await ask.as_(None)("POST", path, raw=batch("x"), headers=headers)
        assert (reply.status, reply.json["code"]) == (401, "bad_signature")
        assert (await ask("GET", "/messages")).json["items"] == []
        [fact] = ask.house.facts_of(WebhookAnswered)
        assert fact.result == "bad_signature"


async def test_a_signature_is_of_the_bytes_and_not_of_what_they_mean(autojump_clock):
    """The same JSON written otherwise is another body."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        body = batch("x")
        other = json.dumps(json.loads(body), indent=1).encode()
        assert (await ask("POST", "/webhooks/simulated", raw=other, headers=signed(body))).status == 401
        assert (await ask("POST", "/webhooks/simulated", raw=other, headers=signed(other))).status == 200


async def test_one_sessions_secret_does_not_speak_for_another(autojump_clock):
    """Whoever knows it gets a 200 for what is his, and nothing into another's inbox."""
    async with front_door() as ask:
        await ask.session("mine", credentials={"key": "mine", "appSecret": "mine"})
        await ask.session("other", credentials={"key": "other", "appSecret": "other"})
        body = batch("hi", number="other")
        reply = await ask("POST", "/webhooks/simulated/mine", raw=body, headers=signed(body, "mine"))
        assert reply.status in (200, 401)
        assert (await ask("GET", "/messages", sessionId="other")).json["items"] == []


async def test_what_is_signed_and_senseless_is_kept_and_answered(autojump_clock):
    """Refusing it would bring it back for days."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        for body in (b"", b"nonsense", b"[]", b'{"entry": 5}'):
            assert (await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))).status == 200


async def test_without_the_store_a_webhook_is_not_answered_200(autojump_clock, monkeypatch):
    """503, so that it comes again."""

    async def away(*_):
        raise StoreUnavailable("away")

    async with front_door() as ask:
        await ask.session(**SHOP)
        body = batch("x")
        with monkeypatch.context() as broken:
            broken.setattr(MemoryEngine, "write", away)
            reply = await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert (await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))).status == 200
        assert [fact.result for fact in ask.house.facts_of(WebhookAnswered)] == ["unavailable", "ok"]


async def test_a_batch_of_three_megabytes_is_taken(autojump_clock):
    """Meta's are up to that size; more than http.max_body is not read."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        body = batch(*["x" * 2900] * 1000)
        assert 3_000_000 < len(body) < 4 * 2**20
        assert (await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))).json[
            "messages"
        ] == 1000
        body = batch(*["x" * 4300] * 1000)
        assert (await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))).status == 413


HANDSHAKE = {"hub.mode": "subscribe", "hub.verify_token": "agreed", "hub.challenge": "1158201444"}


async def test_the_handshake_gives_the_challenge_back_as_it_came(autojump_clock):
    """Raw, and as text that no browser takes for a page."""
    async with front_door() as ask:
        reply = await ask.as_(None)("GET", "/webhooks/simulated", **HANDSHAKE)
        assert (reply.status, reply.body) == (200, b"1158201444")
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        xss = await ask(
            "GET", "/webhooks/simulated", **HANDSHAKE | {"hub.challenge": "<script>alert(1)</script>"}
        )
        assert xss.body == b"<script>alert(1)</script>"
        assert xss.headers["content-type"].startswith("text/plain")
        assert xss.headers["x-content-type-options"] == "nosniff"


async def test_a_session_has_its_own_handshake(autojump_clock):
    """Its own token, at its own address."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        assert (
            await ask("GET", "/webhooks/simulated/shop", **HANDSHAKE | {"hub.verify_token": "own"})
        ).status == 200
        assert (await ask("GET", "/webhooks/simulated/shop", **HANDSHAKE)).status == 403


REFUSED = [
    {"hub.verify_token": "wrong"},
    {"hub.verify_token": ""},
    {"hub.verify_token": "é"},
    {"hub.mode": "unsubscribe"},
    {"hub.challenge": "1" * 257},
]


@pytest.mark.parametrize("change", REFUSED, ids=repr)
async def test_a_handshake_that_does_not_fit_is_refused(change, autojump_clock):
    """403, and nothing comes back."""
    async with front_door() as ask:
        reply = await ask("GET", "/webhooks/simulated", **HANDSHAKE | change)
        assert (reply.status, reply.json["code"]) == (403, "forbidden")
        assert b"111" not in reply.body
        assert (await ask("GET", "/webhooks/simulated")).status == 403


async def test_nobody_has_webhooks_whom_nobody_knows(autojump_clock):
    """404 for an unknown provider, and for a session that is none or another provider's."""
    async with front_door() as ask:
        await ask.session(**SHOP)
        body = batch("x")
        for path in ("/webhooks/pigeon", "/webhooks/simulated/none", "/webhooks/pigeon/shop"):
            assert (await ask("POST", path, raw=body, headers=signed(body))).status == 404
            assert (await ask("GET", path, **HANDSHAKE)).status == 404
        await trio.sleep(1)
