"""A webhook reaches the sessions that it is for, and only where their own secret signed it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

import httpx
import pytest
from trio.testing import MockClock

from tests.house import House
from wad.errors import NotFound, Unauthorized
from wad.events import InboundDuplicate, MessageReceived
from wad.models import AccountEvent, Credentials, InboxItem, SessionId, WebhookRequest
from wad.providers.cloud_api import CloudApi
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.supervisor.sessions import NewSession, Sessions
from wad.supervisor.webhooks import WebhookResult

APP_SECRET = "a" * 32


def posted(*entries: dict[str, object]) -> bytes:
    return json.dumps({"object": "whatsapp_business_account", "entry": list(entries)}).encode()


def entry(number: str, wamid: str, text: str = "hola", phone: str = "5215512345678") -> dict[str, object]:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100100", "phone_number_id": number},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": phone}],
        "messages": [
            {"from": phone, "id": wamid, "timestamp": "1790000000", "type": "text", "text": {"body": text}}
        ],
    }
    return {"id": "1", "changes": [{"field": "messages", "value": value}]}


def signed(body: bytes, secret: str = APP_SECRET) -> Mapping[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


class Graph(httpx.AsyncBaseTransport):
    """Knows one token, and tells it about any number."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] != "Bearer EAAx":
            error = {"message": "Invalid OAuth access token", "code": 190}
            return httpx.Response(401, json={"error": error})
        return httpx.Response(200, json={"id": "1", "display_phone_number": "+1 555 010 0100"})


class CloudHouse(House):
    """The same house with Meta's kind in it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        pools = Pools(transport=lambda origin: Graph())
        self.world = CloudApi(  # type: ignore[assignment]
            MetaConfig(app_secret=APP_SECRET, verify_token="configured"), pools
        )
        self.pools = pools


async def number(sessions: Sessions, name: str, number_id: str, **credentials: str) -> None:
    await sessions.create(
        NewSession(
            provider="cloud_api",
            session_id=SessionId(name),
            credentials=Credentials({"accessToken": "EAAx", "phoneNumberId": number_id, **credentials}),
        )
    )
    await sessions.connect(SessionId(name), wait=5)


async def take(
    sessions: Sessions, body: bytes, secret: str = APP_SECRET, session_id: str | None = None
) -> WebhookResult:
    request = WebhookRequest(
        url="https://wa.example.com/webhooks/cloud_api", headers=signed(body, secret), body=body
    )
    return await sessions.webhooks.take("cloud_api", SessionId(session_id) if session_id else None, request)


def received(house: House) -> list[tuple[str, str]]:
    """(session, text) of what was stored, in order."""
    found = []
    for fact in house.facts_of(MessageReceived):
        item: InboxItem = fact.item
        assert not isinstance(item.event, AccountEvent)
        found.append((item.session_id, item.event.content["text"]["body"]))
    return found


async def test_one_post_reaches_several_numbers(autojump_clock: MockClock) -> None:
    """All entries count, and each goes to the session of its number."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "one", "111")
        await number(sessions, "two", "222")
        body = posted(entry("111", "w1", "a"), entry("222", "w2", "b"), entry("111", "w3", "c"))
        assert (await take(sessions, body)).messages == 3
    assert sorted(received(house)) == [("one", "a"), ("one", "c"), ("two", "b")]


async def test_the_same_post_again_changes_nothing(autojump_clock: MockClock) -> None:
    """It is answered as before, and stored once."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "one", "111")
        body = posted(entry("111", "w1"))
        for _ in range(3):
            await take(sessions, body)
    assert len(received(house)) == 1
    assert len(house.facts_of(InboundDuplicate)) == 2


@pytest.mark.parametrize("session_id", [None, "one"])
async def test_a_wrong_signature_is_refused_and_nothing_is_stored(
    autojump_clock: MockClock, session_id: str | None
) -> None:
    """401, whichever callback it came to."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "one", "111")
        with pytest.raises(Unauthorized):
            await take(sessions, posted(entry("111", "w1")), "wrong", session_id)
    assert received(house) == []


async def test_a_session_with_a_secret_of_its_own_trusts_no_other(autojump_clock: MockClock) -> None:
    """The owner of one session's secret cannot speak for another, in one and the same POST either."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "own", "111", appSecret="own" * 10)
        await number(sessions, "common", "222")
        body = posted(entry("111", "w1", "to own"), entry("222", "w2", "to common"))
        await take(sessions, body, "own" * 10)
        assert received(house) == [("own", "to own"), ("", "to common")]
        house.facts.clear()
        await take(sessions, posted(entry("111", "w3", "x"), entry("222", "w4", "y")), APP_SECRET)
        assert received(house) == [("common", "y"), ("", "x")]


async def test_what_is_for_nobody_is_kept_until_somebody_is(autojump_clock: MockClock) -> None:
    """A 200 means stored, also for a number that no session has."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await take(sessions, posted(entry("999", "w1")))
        [dead] = await house.store().dead_letters()
        assert isinstance(dead, InboxItem)
        assert dead.error is not None
        assert dead.error.code == "no_session"
        with pytest.raises(NotFound, match="create it first"):
            await sessions.messages.retry_dead_letter(dead.message_id)
        await number(sessions, "late", "999")
        house.facts.clear()
        await sessions.messages.retry_dead_letter(dead.message_id)
        assert received(house) == [("late", "hola")]
        assert await house.store().dead_letters() == []


async def test_naming_somebody_elses_number_is_not_enough_to_hear_its_customers(
    autojump_clock: MockClock,
) -> None:
    """Only a session whose own token has proven the number takes what comes to the app's callback."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "thief", "111", accessToken="stolen-nothing")
        await take(sessions, posted(entry("111", "w1", "early")))
        await number(sessions, "owner", "111")
        await take(sessions, posted(entry("111", "w2", "private")))
        assert received(house) == [("", "early"), ("owner", "private")]
        await sessions.update(SessionId("owner"), credentials={"accessToken": "expired"})
        await take(sessions, posted(entry("111", "w3", "unproven")))
        assert received(house)[-1] == ("", "unproven")


async def test_signed_bytes_that_mean_nothing_are_kept(autojump_clock: MockClock) -> None:
    """Refusing them would only bring them back for days."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await take(sessions, b"[not json")
        await take(sessions, b"[not json")
    [fact] = house.facts_of(MessageReceived)
    assert isinstance(fact.item.event, AccountEvent)
    assert fact.item.event.data["unparseable"] == "[not json"


async def test_the_handshake_knows_the_configured_token_and_each_sessions_own(
    autojump_clock: MockClock,
) -> None:
    """An app's callback knows all; a session's override only its own."""
    house = CloudHouse()
    async with house.pools, house.run() as sessions:
        await number(sessions, "one", "111", verifyToken="mine")
        await number(sessions, "two", "222")
        accepted = {
            (session_id, token)
            for session_id in (None, "one", "two")
            for token in ("configured", "mine", "wrong", "é")
            if sessions.webhooks.handshake(
                "cloud_api", SessionId(session_id) if session_id else None, token=token
            )
        }
        assert accepted == {(None, "configured"), (None, "mine"), ("one", "mine"), ("two", "configured")}
        with pytest.raises(NotFound):
            sessions.webhooks.handshake("cloud_api", SessionId("three"), token="configured")
        with pytest.raises(NotFound):
            sessions.webhooks.handshake("telegram", None, token="configured")
