"""A session on Twilio, against a scripted peer on loopback: proving, typing, listing, files; and how the SDK is held."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from twilio.base.client_base import ClientBase

from tests.providers.twilio.wire import (
    ACCOUNT,
    KEY,
    KEY_SECRET,
    SENDER,
    SERVICE,
    SHARED_KEY,
    SID,
    TEMPLATE,
    TOKEN,
    error,
    kind,
    page,
    record,
    session,
)
from wad.conformance.peer import Peer, Received, Script, answering, serving, unused_port
from wad.conformance.world import NOW, Heard, message
from wad.errors import ProviderError, Verdict
from wad.models import Content, InboundMessage, Session
from wad.providers.base import Connection
from wad.providers.http import Origin, Pools
from wad.providers.twilio.account import TwilioConfig

ACTIVE = {"sid": ACCOUNT, "status": "active", "friendly_name": "Tienda", "type": "Full"}


@asynccontextmanager
async def world(stored: Session | None = None) -> AsyncIterator[tuple[Peer, Connection, Heard]]:
    heard = Heard()
    async with (
        serving() as peer,
        Pools() as pools,
        kind(pools, base_url=peer.url).open(stored or session(), heard) as connection,
    ):
        yield peer, connection, heard


def login(request: Received) -> str:
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()


# --- proving ----------------------------------------------------------------------------------------


async def test_the_account_proves_the_token_that_verifies_webhooks() -> None:
    """Whoever sends; and the key that sends is proven too."""
    async with world(session(apiKeySid=KEY, apiKeySecret=KEY_SECRET)) as (peer, connection, _):
        peer.scripts = [answering(200, ACTIVE), answering(200, page())]
        proof = await connection.connect()
        assert proof is not None
        assert (proof.phone_number, proof.data["accountName"]) == (SENDER, "Tienda")
        assert [(one.path.rpartition("Accounts/")[2], login(one)) for one in peer.received] == [
            (f"{ACCOUNT}.json", f"{ACCOUNT}:{TOKEN}"),
            (f"{ACCOUNT}/Messages.json", f"{KEY}:{KEY_SECRET}"),
        ]
        assert peer.last.query == {"PageSize": "1"}


PROBES: dict[str, tuple[list[Script], Verdict, str]] = {
    "a wrong token": ([answering(*error(20003, 401))], Verdict.NEEDS_PERSON, "bad_credentials"),
    "a suspended account": (
        [answering(200, ACTIVE | {"status": "suspended"})], Verdict.NEEDS_PERSON, "account_suspended",
    ),
    "a closed account": ([answering(200, ACTIVE | {"status": "closed"})], Verdict.NEEDS_PERSON, "account_closed"),
    "no such account": ([answering(*error(20404, 404))], Verdict.NEEDS_PERSON, "account_unknown"),
    "a wrong key": (
        [answering(200, ACTIVE), answering(*error(20003, 401))], Verdict.NEEDS_PERSON, "bad_credentials",
    ),
    "a bad day": ([answering(*error(20500, 500))], Verdict.NOT_SENT, "provider_failed"),
    "a hurry": ([answering(*error(20429, 429))], Verdict.THROTTLED, "app_throttled"),
    "a page of something else": (
        [answering(200, ACTIVE), answering(200, {"messages": [], "surprise": 1})], Verdict.NOT_SENT,
        "provider_garbled",
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", PROBES)
async def test_a_probe_that_fails_says_why(label: str) -> None:
    """What waiting will not mend needs a person."""
    scripts, verdict, code = PROBES[label]
    async with world(session(apiKeySid=KEY, apiKeySecret=KEY_SECRET)) as (peer, connection, _):
        peer.scripts = scripts
        with pytest.raises(ProviderError) as caught:
            await connection.connect()
        assert (caught.value.verdict, caught.value.code) == (verdict, code)


async def test_a_session_that_twilio_cannot_reach_does_not_connect() -> None:
    """It names the setting, and asks nobody."""
    async with serving() as peer, Pools() as pools:
        async with kind(pools, public_url=None, base_url=peer.url).open(session(), Heard()) as connection:
            with pytest.raises(ProviderError) as caught:
                await connection.connect()
        assert (caught.value.needs_person, caught.value.code) == (True, "no_public_url")
        assert "http.public_url" in caught.value.detail
        assert peer.received == []


CREDENTIALS: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "a sender": ({}, []),
    "a sender as Twilio writes it": ({"from": f"whatsapp:{SENDER}"}, []),
    "a messaging service": ({"from": None, "messagingServiceSid": SERVICE}, []),
    "an API key": ({"apiKeySid": KEY, "apiKeySecret": KEY_SECRET}, []),
    "a shared key": ({"webhookSharedKey": SHARED_KEY}, []),
    "no sender": ({"from": None}, ["/credentials/from"]),
    "two senders": ({"messagingServiceSid": SERVICE}, ["/credentials/messagingServiceSid"]),
    "half a key": ({"apiKeySid": KEY}, ["/credentials/apiKeySecret"]),
    "the other half": ({"apiKeySecret": KEY_SECRET}, ["/credentials/apiKeySid"]),
    "malformed": (
        {"accountSid": "AC1", "authToken": "a b", "from": "5215512345678", "apiKeySid": ACCOUNT, "apiKeySecret": "x"},
        ["/credentials/accountSid", "/credentials/authToken", "/credentials/from", "/credentials/apiKeySid"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", CREDENTIALS)
async def test_credentials_are_checked_together(label: str) -> None:
    """Every one that is missing, malformed, or does not go with another."""
    given, pointers = CREDENTIALS[label]
    async with Pools() as pools:
        found = kind(pools).check_credentials(dict(session(**given).credentials))
    assert [one.pointer for one in found] == pointers


# --- sending and typing -------------------------------------------------------------------------------


async def test_typing_names_the_customers_message() -> None:
    """Twilio's indicator of version 2, whose form has names of its own."""
    async with world() as (peer, connection, heard):
        peer.scripts = [answering(202, {"success": True})]
        await connection.mark_read(SID, typing=True)
        assert (peer.last.method, peer.last.path) == ("POST", "/v2/Indicators/Typing.json")
        assert peer.last.body.decode() == f"channel=whatsapp&messageId={SID}"
        assert heard.calls == [("mark_read", "ok")]


async def test_the_environment_is_not_the_sdks_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region, an edge or a token there would send a session's messages elsewhere."""
    for name in ("REGION", "EDGE", "ACCOUNT_SID", "AUTH_TOKEN"):
        monkeypatch.setenv(f"TWILIO_{name}", "elsewhere")
    async with world() as (peer, connection, _):
        peer.scripts = [answering(201, record())]
        await connection.send(message())
        assert login(peer.last) == f"{ACCOUNT}:{TOKEN}"


async def test_no_secret_is_shown() -> None:
    """Not by a repr of anything that holds one, nor by an error that quotes us."""
    stored = session(apiKeySid=KEY, apiKeySecret=KEY_SECRET, webhookSharedKey=SHARED_KEY)
    async with world(stored) as (peer, connection, _):
        peer.scripts = [answering(*error(20003, 401, f"{TOKEN} {KEY_SECRET} {SHARED_KEY}"))]
        with pytest.raises(ProviderError) as caught:
            await connection.send(message())
        account = connection._account  # type: ignore[attr-defined]
        seen = [repr(each) for each in (connection, account, account.owner, account.sender, caught.value)]
        assert not [one for one in seen for secret in (TOKEN, KEY_SECRET, SHARED_KEY) if secret in one]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"region": "ie1"},
        {"region": "ie1", "edge": "dublin"},
        {"edge": "ashburn"},
    ],
    ids=str,
)
async def test_regions_and_edges_are_where_the_sdk_would_look(given: dict[str, str]) -> None:
    """Every product of Twilio's, in that region."""
    theirs = ClientBase("AC", "x", **given)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"https://{request.url.host}")
        typing = request.url.path.startswith("/v2")
        return httpx.Response(201, json={"success": True} if typing else record())

    async with (
        Pools(transport=lambda origin: _remembering(origin, answer)) as pools,
        kind(pools, **given).open(session(), Heard()) as connection,
    ):
        await connection.send(message())
        await connection.mark_read(SID, typing=True)
    assert asked == [
        theirs.get_hostname(f"https://{host}.twilio.com").rstrip("/") for host in ("api", "messaging")
    ]


def _remembering(origin: Origin, answer: Any) -> httpx.MockTransport:
    assert (origin.scheme, origin.port, origin.guarded) == ("https", 443, False)
    return httpx.MockTransport(answer)


def test_a_base_url_comes_before_a_region() -> None:
    """It names the host already."""
    config = TwilioConfig(base_url="http://127.0.0.1:8081", region="ie1", edge="dublin")
    assert config.url == "http://127.0.0.1:8081"


def test_a_daemon_without_twilio_sessions_does_not_carry_the_sdk() -> None:
    """Of the SDK only its validator, which costs nothing; the rest is 7 MB."""
    code = (
        "import sys, wad.daemon, wad.providers.twilio.kind;"
        "print([name for name in ('twilio.rest', 'twilio.http', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what went out --------------------------------------------------------------------------------------

HOLA: Content = {"type": "text", "text": {"body": "Hola"}}
PLACE: Content = {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5, "name": "Centro"}}
PICTURE: Content = {"type": "image", "image": {"link": "https://x.example/a.png", "caption": "mira"}}
LATE = "Tue, 24 Nov 2026 12:02:00 +0000"
EARLY = "Tue, 24 Nov 2026 11:59:00 +0000"

#: What was sent, and what stands in the list -> whether that may be it.
LOOKS: dict[str, tuple[Content, dict[str, Any], bool]] = {
    "the same text": (HOLA, {}, True),
    "the same text, still queued": (HOLA, {"status": "queued", "date_sent": None}, True),
    "another text": (HOLA, {"body": "Adiós"}, False),
    "a text that was redacted": (HOLA, {"body": ""}, False),
    "the same text with a file": (HOLA, {"num_media": "1"}, False),
    "before the attempt": (HOLA, {"date_created": EARLY}, False),
    "long after the attempt": (HOLA, {"date_created": LATE}, False),
    "a time that is none": (HOLA, {"date_created": "soon"}, False),
    "a customer's": (HOLA, {"direction": "inbound"}, False),
    "an answer that Twilio itself gave": (HOLA, {"direction": "outbound-reply"}, False),
    "a picture": (PICTURE, {"body": "mira", "num_media": "1"}, True),
    "a picture that went without its file": (PICTURE, {"body": "mira"}, False),
    "a place by its name": (PLACE, {"body": "Centro"}, True),
}


@pytest.mark.parametrize("label", LOOKS)
async def test_a_message_is_told_by_all_that_the_list_shows(label: str) -> None:
    """The same person, sender, time, text and number of files."""
    content, shown, same = LOOKS[label]
    async with world() as (peer, connection, _):
        peer.scripts = [answering(200, page(record(**shown)))]
        found = await connection.find(message(content), NOW)
        assert [one.provider_message_id for one in found] == ([SID] if same else [])
        assert peer.last.query == {
            "To": "whatsapp:+5215512345678", "From": f"whatsapp:{SENDER}", "PageSize": "500",
        }  # fmt: skip


async def test_every_page_is_read_until_it_is_too_old() -> None:
    """The newest come first."""
    next_page = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?Page=1&PageToken=PA1"
    async with world() as (peer, connection, _):
        peer.scripts = [
            answering(200, page(record(sid="SM1"), following=next_page)),
            answering(
                200, page(record(sid="SM2"), record(sid="SM3", date_created=EARLY), following=next_page)
            ),
        ]
        found = await connection.find(message(), NOW)
        assert [one.provider_message_id for one in found] == ["SM1", "SM2"]
        assert peer.last.target == next_page
        assert len(peer.received) == 2


async def test_a_messaging_services_message_is_told_by_the_service() -> None:
    """The sender was not ours to choose."""
    stored = session(**{"from": None}, messagingServiceSid=SERVICE)
    async with world(stored) as (peer, connection, _):
        mine = record(sid="SM1", messaging_service_sid=SERVICE)
        peer.scripts = [answering(200, page(mine, record(sid="SM2")))]
        found = await connection.find(message(), NOW)
        assert [one.provider_message_id for one in found] == ["SM1"]
        assert "From" not in peer.last.query


async def test_a_template_is_told_by_its_text_filled_in() -> None:
    """Which only Twilio knows; in whichever of its forms it was sent, and with its own values for what was left out."""
    sent: Content = {
        "type": "template",
        "template": {
            "name": TEMPLATE,
            "language": {"code": "es"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}],
        },
    }
    forms = {"twilio/text": {"body": "Hola {{1}}, {{2}}"}, "twilio/quick-reply": {"body": "Hola {{ 1 }}"}}
    for shown, same in (("Hola Ana", True), ("Hola Ana, bienvenida", True), ("Hola Eva", False)):
        async with world() as (peer, connection, _):
            peer.scripts = [
                answering(
                    200, {"sid": TEMPLATE, "types": forms, "variables": {"1": "Eva", "2": "bienvenida"}}
                ),
                answering(200, page(record(body=shown))),
            ]
            found = await connection.find(message(sent), NOW)
            assert bool(found) is same
            assert peer.received[0].path == f"/v1/Content/{TEMPLATE}"


GARBLED: dict[str, Script] = {
    "a list of something else": answering(200, {"messages": ["x"]}),
    "no list": answering(200, {"messages": {}}),
    "two lists": answering(200, {"messages": [], "others": []}),
    "a page": answering(200, b"<html>"),
    "a breakdown": answering(500),
    "a next page elsewhere": answering(200, page(following="http://[")),
}


@pytest.mark.parametrize("label", GARBLED)
async def test_a_list_that_cannot_be_read_is_an_error_and_no_crash(label: str) -> None:
    """It can be read again."""
    async with world() as (peer, connection, _):
        peer.scripts, peer.otherwise = [GARBLED[label]], answering(404, b"")
        with pytest.raises(ProviderError) as caught:
            await connection.find(message(), NOW)
        assert caught.value.verdict is Verdict.NOT_SENT


# --- what came in ---------------------------------------------------------------------------------------


def received(**more: Any) -> dict[str, Any]:
    said = {"from": "whatsapp:+5215512345678", "to": f"whatsapp:{SENDER}", "direction": "inbound"}
    return record(**said, **more)


async def missed(connection: Connection) -> list[InboundMessage]:
    found = [event async for events in connection.missed(NOW) for event in events]
    assert all(isinstance(event, InboundMessage) for event in found)
    return found  # type: ignore[return-value]


async def test_what_customers_wrote_meanwhile_the_oldest_first() -> None:
    """As a webhook would have told it, as far as the list knows; under the same key."""
    next_page = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?Page=1"
    async with world() as (peer, connection, _):
        peer.scripts = [
            answering(200, page(received(sid="SM4"), received(sid="SM3"), following=next_page)),
            answering(200, page(received(sid="SM2"), record(sid="SM0"), received(sid="SM1", body="first"))),
        ]
        found = await missed(connection)
        assert [one.dedupe_key for one in found] == ["m:SM1", "m:SM2", "m:SM3", "m:SM4"]
        assert (found[0].content, found[0].sender.phone) == (
            {"type": "text", "text": {"body": "first"}},
            "+5215512345678",
        )
        assert found[0].sent_at is not None
        assert peer.received[0].query == {
            "To": f"whatsapp:{SENDER}", "DateSent>": "2026-11-24T12:00:00Z", "PageSize": "500",
        }  # fmt: skip


async def test_a_file_is_asked_for() -> None:
    """The list says only that there is one. Its URL is its id, as in a webhook."""
    async with world() as (peer, connection, _):
        uri = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}/Media/ME1"
        file = {"sid": "ME1", "content_type": "image/png", "uri": f"{uri}.json"}
        peer.scripts = [
            answering(200, page(received(num_media="1", body="mira"))),
            answering(200, page(file, key="media_list")),
        ]
        (found,) = await missed(connection)
        assert found.content == {
            "type": "image",
            "image": {"mediaId": f"{peer.url}{uri}", "mimeType": "image/png", "caption": "mira"},
        }


async def test_what_the_list_does_not_tell_is_told_as_that() -> None:
    """A place, say: somebody wrote, and a person can look."""
    async with world() as (peer, connection, _):
        peer.scripts = [answering(200, page(received(body="")))]
        (found,) = await missed(connection)
        assert found.content["type"] == "unsupported"


async def test_a_messaging_service_hears_its_own_customers_alone() -> None:
    """All of the account's messages are listed, for nobody knows which numbers the service has."""
    stored = session(**{"from": None}, messagingServiceSid=SERVICE)
    async with world(stored) as (peer, connection, _):
        mine = received(sid="SM1", messaging_service_sid=SERVICE)
        sms = received(sid="SM3", messaging_service_sid=SERVICE) | {"from": "+5215512345678"}
        peer.scripts = [answering(200, page(mine, received(sid="SM2"), sms))]
        assert [one.provider_message_id for one in await missed(connection)] == ["SM1"]
        assert "To" not in peer.last.query


# --- files ----------------------------------------------------------------------------------------------


async def fetched(connection: Connection, url: str) -> tuple[str, int | None, bytes]:
    async with connection.download(url) as file:
        return file.mime_type, file.size, b"".join([chunk async for chunk in file.chunks])


async def test_a_file_is_fetched_from_where_twilio_leads() -> None:
    """Twilio asks who we are; the host that has the file must not be told."""
    async with world() as (peer, connection, heard):
        peer.scripts = [
            answering(307, b"", location="/cdn/x?Signature=abc"),
            answering(200, b"PNG", content_type="image/png"),
        ]
        found = await fetched(connection, f"{peer.url}/2010-04-01/Accounts/{ACCOUNT}/Messages/MM/Media/ME")
        assert found == ("image/png", 3, b"PNG")
        first, second = peer.received
        assert login(first) == f"{ACCOUNT}:{TOKEN}"
        assert second.target == "/cdn/x?Signature=abc"
        assert "authorization" not in second.headers
        assert heard.calls == [("download", "media_moved"), ("download", "ok")]


FILES: dict[str, tuple[list[Script], str, str]] = {
    "gone": ([answering(*error(20404, 404))], "", "media_gone"),
    "elsewhere": ([], "https://evil.example/x", "media_refused"),
    "with a password": ([], "https://a:b@127.0.0.1/x", "media_refused"),
    "no URL": ([], "nothing", "media_refused"),
    "leads nowhere": ([answering(302, b"")] * 9, "", "media_refused"),
    "leads in a circle": ([answering(302, b"", location="/again")] * 9, "", "media_refused"),
    "leads to plain HTTP": ([answering(302, b"", location="http://cdn.example/x")], "", "media_refused"),
    "leads to something else": ([answering(302, b"", location="file:///etc/passwd")], "", "media_refused"),
    "leads behind the guard": (
        [answering(302, b"", location=f"https://127.0.0.1:{unused_port()}/x")], "", "url_not_allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", FILES)
async def test_a_file_that_cannot_be_had(label: str) -> None:
    """Our password goes to Twilio alone, and nobody leads us into our own network."""
    scripts, url, code = FILES[label]
    async with world() as (peer, connection, _):
        peer.scripts = list(scripts)
        with pytest.raises(ProviderError) as caught:
            await fetched(connection, url or f"{peer.url}/2010-04-01/Accounts/{ACCOUNT}/Messages/MM/Media/ME")
        assert caught.value.code == code
