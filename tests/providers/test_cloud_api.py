"""A session on the Cloud API, against a scripted peer on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from typing import Any

import httpx
import msgspec
import pytest
import trio

from tests.providers.meta import APP_SECRET, NUMBER_ID, TOKEN, WAMID, Heard, message, session
from wad.conformance import peer as wire
from wad.conformance.peer import Exchange, Peer, Script, answering, serving
from wad.errors import ProviderError, Scope, Verdict
from wad.models import Credentials, Session
from wad.providers.base import Accepted, Connection, Group, GroupMember
from wad.providers.cloud_api import CloudApi
from wad.providers.http import Pools
from wad.providers.meta.account import Account, MetaConfig
from wad.providers.meta.connection import MetaConnection

PROOF = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
MESSAGES = f"/v26.0/{NUMBER_ID}/messages"


class World:
    """A peer, a kind of provider that talks to it, and one open connection."""

    def __init__(self, peer: Peer, kind: CloudApi, connection: Connection, heard: Heard) -> None:
        self.peer = peer
        self.kind = kind
        self.connection = connection
        self.heard = heard

    async def fails(self, do: Callable[[], Awaitable[Any]], *scripts: Script) -> ProviderError:
        self.peer.scripts = list(scripts)
        with pytest.raises(ProviderError) as caught:
            await do()
        return caught.value


@asynccontextmanager
async def world(
    stored: Session | None = None, *, seconds: float = 5.0, **config: Any
) -> AsyncIterator[World]:
    heard = Heard()
    async with serving() as peer, Pools() as pools:
        kind = CloudApi(MetaConfig(base_url=peer.url, timeout=seconds, **config), pools)
        async with kind.open(stored or session(), heard) as connection:
            yield World(peer, kind, connection, heard)


# --- sending --------------------------------------------------------------------------------------


async def test_a_send() -> None:
    """The request as Meta wants it, and the id that Meta gave."""
    async with world() as w:
        w.peer.scripts = [
            answering(
                200,
                {"messaging_product": "whatsapp", "contacts": [{"wa_id": "52"}], "messages": [{"id": WAMID}]},
            )
        ]
        assert await w.connection.send(message()) == Accepted(WAMID)
        request = w.peer.last
        assert (request.method, request.path) == ("POST", MESSAGES)
        assert request.query == {"appsecret_proof": PROOF}
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["host"] == f"127.0.0.1:{w.peer.port}"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("wad/")
        assert request.json["biz_opaque_callback_data"] == "msg_0123456789abcdef"
        assert w.heard.calls == [("send", "ok")]


@pytest.mark.parametrize(
    ("status", "note"),
    [
        ("accepted", None),
        ("held_for_quality_assessment", "held_for_quality_assessment"),
        ("paused", "paused"),
        (None, None),
    ],
)
async def test_a_message_that_meta_holds_back(status: str | None, note: str | None) -> None:
    """Accepted all the same; what Meta says of it is kept in its history."""
    entry = {"id": WAMID} | ({"message_status": status} if status else {})
    async with world() as w:
        w.peer.scripts = [answering(200, {"messages": [entry]})]
        assert await w.connection.send(message()) == Accepted(WAMID, note)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html></html>", id="a page"),
        pytest.param({"ok": True}, id="another object"),
        pytest.param([{"id": WAMID}], id="an array"),
        pytest.param({"messages": []}, id="no message"),
        pytest.param({"messages": [{"id": ""}]}, id="an empty id"),
        pytest.param({"messages": [{"id": 7}]}, id="an id that is no string"),
        pytest.param({"messages": {"id": WAMID}}, id="no list"),
    ],
)
async def test_a_success_that_says_nothing_is_unknown(body: Any) -> None:
    """A 200 is not proof: without an id nobody could recognise the message again."""
    async with world() as w:
        error = await w.fails(lambda: w.connection.send(message()), answering(200, body))
        assert (error.verdict, error.code) == (Verdict.UNKNOWN, "provider_garbled")
        assert w.heard.calls == [("send", "provider_garbled")]


FAILURES: dict[str, tuple[Script, Verdict, str]] = {
    "a throttle of the number": (
        answering(400, {"error": {"code": 130429, "message": "m"}}),
        Verdict.THROTTLED,
        "number_throttled",
    ),
    "a bare 429": (answering(429), Verdict.THROTTLED, "number_throttled"),
    "a bad token": (answering(401, {"error": {"code": 190}}), Verdict.NEEDS_PERSON, "bad_credentials"),
    "a bare 401": (answering(401), Verdict.NEEDS_PERSON, "bad_credentials"),
    "the window": (answering(400, {"error": {"code": 131047}}), Verdict.REJECTED, "reply_window_closed"),
    "a server's error": (answering(500, {"error": {"code": 131000}}), Verdict.UNKNOWN, "provider_failed"),
    "an outage": (answering(503, {"error": {"code": 131016}}), Verdict.NOT_SENT, "provider_unavailable"),
    "a gateway's page": (answering(502, b"<html></html>"), Verdict.UNKNOWN, "provider_garbled"),
    "an error in a success": (
        answering(200, {"error": {"code": 131047}}),
        Verdict.REJECTED,
        "reply_window_closed",
    ),
    "a redirect": (answering(302, b"", location="http://x"), Verdict.UNKNOWN, "provider_garbled"),
    "a hang": (wire.hang, Verdict.UNKNOWN, "provider_timeout"),
    "a cut": (wire.cut, Verdict.UNKNOWN, "connection_lost"),
    "a reset": (wire.reset, Verdict.UNKNOWN, "connection_lost"),
}


@pytest.mark.parametrize("label", FAILURES)
async def test_a_send_that_fails(label: str) -> None:
    """Whatever goes wrong, it ends, with a verdict."""
    script, verdict, code = FAILURES[label]
    async with world(seconds=0.3 if script is wire.hang else 5.0) as w:
        error = await w.fails(lambda: w.connection.send(message()), script)
        assert (error.verdict, error.code) == (verdict, code)
        assert w.heard.calls == [("send", code)]


async def test_a_pair_limit_reaches_one_recipient_only() -> None:
    """Its scope is what keeps the other chats going."""
    async with world() as w:
        error = await w.fails(
            lambda: w.connection.send(message()),
            answering(400, {"error": {"code": 131056, "error_data": "a plain string"}}, Retry_After="30"),
        )
        assert (error.scope, error.retry_after, error.detail) == (Scope.PAIR, 30.0, "a plain string")


async def test_a_cancelled_send_ends_at_once_and_leaves_nothing_behind() -> None:
    """The actor that is stopped knows that this send is in doubt; the connection is not reused."""
    arrived = trio.Event()

    async def stall(exchange: Exchange) -> None:
        arrived.set()
        await trio.sleep_forever()

    async with world() as w:
        w.peer.scripts = [stall]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.connection.send, message())
            await arrived.wait()
            nursery.cancel_scope.cancel()
        assert w.heard.calls == [("send", "cancelled")]
        await w.connection.send(message())
        assert w.peer.connections == 2


async def test_two_hundred_sends_at_once_share_the_pool() -> None:
    """Each gets its own answer."""

    async def echo(exchange: Exchange) -> None:
        await exchange.answer(200, {"messages": [{"id": exchange.request.json["text"]["body"]}]})

    async with world() as w:
        w.peer.otherwise = echo
        found: dict[str, str] = {}

        async def send(text: str) -> None:
            accepted = await w.connection.send(message({"type": "text", "text": {"body": text}}))
            found[text] = accepted.provider_message_id

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(send, f"wamid.{number}")
        assert found == {f"wamid.{number}": f"wamid.{number}" for number in range(200)}


async def test_without_an_app_secret_there_is_no_proof() -> None:
    """A gateway that cannot make it sends without it."""
    async with world(session(appSecret=None)) as w:
        await w.connection.send(message())
        assert w.peer.last.query == {}


async def test_the_operators_app_secret_makes_the_proof_too() -> None:
    """The session's own comes first; else the configured one."""
    async with world(session(appSecret=None), app_secret=APP_SECRET) as w:
        await w.connection.send(message())
        assert w.peer.last.query == {"appsecret_proof": PROOF}


# --- connecting -----------------------------------------------------------------------------------

NUMBER: dict[str, Any] = {
    "id": NUMBER_ID,
    "display_phone_number": "+52 1 55 1234-5678",
    "verified_name": "Tienda",
    "quality_rating": "GREEN",
    "status": "CONNECTED",
    "name_status": "APPROVED",
    "code_verification_status": "VERIFIED",
    "platform_type": "CLOUD_API",
    "throughput": {"level": "STANDARD"},
    "account_mode": "LIVE",
    "is_official_business_account": False,
    "whatsapp_business_manager_messaging_limit": "TIER_2K",
    "health_status": {
        "can_send_message": "LIMITED",
        "entities": [
            {"entity_type": "PHONE_NUMBER", "id": NUMBER_ID, "can_send_message": "AVAILABLE"},
            {"entity_type": "WABA", "id": "102290129340398", "can_send_message": "AVAILABLE"},
        ],
    },
}


async def test_connecting_is_asking_for_the_number() -> None:
    """`connected` rests on what Meta answers."""
    async with world() as w:
        w.peer.scripts = [answering(200, NUMBER)]
        proof = await w.connection.connect()
        assert (w.peer.last.method, w.peer.last.path) == ("GET", f"/v26.0/{NUMBER_ID}")
        assert "health_status" in w.peer.last.query["fields"].split(",")
        assert w.peer.last.query["appsecret_proof"] == PROOF
        assert proof.phone_number == "+5215512345678"
        assert proof.data == {
            "phoneNumberId": NUMBER_ID,
            "displayPhoneNumber": "+52 1 55 1234-5678",
            "verifiedName": "Tienda",
            "qualityRating": "GREEN",
            "status": "CONNECTED",
            "nameStatus": "APPROVED",
            "codeVerificationStatus": "VERIFIED",
            "platformType": "CLOUD_API",
            "accountMode": "LIVE",
            "officialBusinessAccount": False,
            "messagingLimit": "TIER_2K",
            "throughput": "STANDARD",
            "canSendMessage": "LIMITED",
            "wabaId": "102290129340398",
        }
        assert w.heard.calls == [("probe", "ok")]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"throughput": 7, "health_status": [], "display_phone_number": 5}, id="odd types"),
        pytest.param(
            {"health_status": {"entities": [7, {"entity_type": "WABA"}], "can_send_message": 1}},
            id="odd health",
        ),
    ],
)
async def test_a_number_of_odd_shape_is_proof_all_the_same(number: dict[str, Any]) -> None:
    """It answered under our token."""
    async with world() as w:
        w.peer.scripts = [answering(200, {"id": NUMBER_ID, **number})]
        proof = await w.connection.connect()
        assert (proof.phone_number, proof.data) == (None, {"phoneNumberId": NUMBER_ID})


async def test_an_older_version_is_asked_for_less() -> None:
    """It refuses to be asked for fields that it does not have."""
    async with world() as w:
        w.peer.scripts = [
            answering(400, {"error": {"code": 100, "message": "Tried accessing nonexistent field"}}),
            answering(200, {"id": NUMBER_ID, "verified_name": "Tienda"}),
        ]
        proof = await w.connection.connect()
        assert proof.data["verifiedName"] == "Tienda"
        assert w.peer.last.query["fields"] == "id,display_phone_number,verified_name,quality_rating"


BLOCKED = {
    "health_status": {
        "can_send_message": "BLOCKED",
        "entities": [
            {"entity_type": "PHONE_NUMBER", "can_send_message": "AVAILABLE"},
            {
                "entity_type": "WABA",
                "can_send_message": "BLOCKED",
                "errors": [
                    {
                        "error_code": 141006,
                        "error_description": "No payment method.",
                        "possible_solution": "Add one.",
                    }
                ],
            },
        ],
    }
}
CONNECT_FAILURES: dict[str, tuple[list[Script], Verdict, str, str | None]] = {
    "a bad token": (
        [answering(401, {"error": {"code": 190}})],
        Verdict.NEEDS_PERSON,
        "bad_credentials",
        "190",
    ),
    "a token without the permission": (
        [answering(403, {"error": {"code": 200}})],
        Verdict.NEEDS_PERSON,
        "permission_missing",
        "200",
    ),
    "a number that is not the token's": (
        [answering(400, {"error": {"code": 100, "error_subcode": 33}})] * 2,
        Verdict.NEEDS_PERSON,
        "number_unknown",
        "100",
    ),
    "an account that Meta blocks": (
        [answering(200, BLOCKED)],
        Verdict.NEEDS_PERSON,
        "account_blocked",
        "141006",
    ),
    "a block without a reason": (
        [answering(200, {"health_status": {"can_send_message": "BLOCKED"}})],
        Verdict.NEEDS_PERSON,
        "account_blocked",
        None,
    ),
    "a banned number": (
        [answering(200, {"status": "BANNED"})],
        Verdict.NEEDS_PERSON,
        "account_banned",
        "BANNED",
    ),
    "a number that is not registered": (
        [answering(200, {"status": "PENDING"})],
        Verdict.NEEDS_PERSON,
        "not_registered",
        "PENDING",
    ),
    "a throttle": ([answering(400, {"error": {"code": 4}})], Verdict.THROTTLED, "app_throttled", "4"),
    "a server's error": ([answering(500)], Verdict.NOT_SENT, "provider_garbled", None),
    "a page": ([answering(200, b"<html>")], Verdict.NOT_SENT, "provider_garbled", None),
    "a hang": ([wire.hang], Verdict.NOT_SENT, "provider_timeout", None),
    "a cut": ([wire.cut], Verdict.NOT_SENT, "connection_lost", None),
}


@pytest.mark.parametrize("label", CONNECT_FAILURES)
async def test_a_connect_that_fails(label: str) -> None:
    """What waiting will not mend needs a person; everything else can be tried again, and nothing is unknown."""
    scripts, verdict, code, theirs = CONNECT_FAILURES[label]
    async with world(seconds=0.3 if wire.hang in scripts else 5.0) as w:
        error = await w.fails(w.connection.connect, *scripts)
        assert (error.verdict, error.code, error.provider_code) == (verdict, code, theirs)
        if theirs == "141006":
            assert error.detail == "No payment method. Add one."


async def test_without_a_secret_for_its_webhooks_a_session_refuses_to_connect() -> None:
    """Whoever found the webhook's URL could speak for its customers."""
    async with world(session(appSecret=None)) as w:
        error = await w.fails(w.connection.connect)
        assert (error.verdict, error.code) == (Verdict.NEEDS_PERSON, "no_app_secret")
        assert "appSecret" in error.detail
        assert w.peer.received == []


async def test_credentials_that_became_invalid_need_a_person_and_crash_nothing() -> None:
    """They were checked when they were given; a store may hold older ones."""
    broken = msgspec.structs.replace(session(), credentials=Credentials(appSecret=APP_SECRET))
    async with world(broken) as w:
        error = await w.fails(w.connection.connect)
        assert (error.verdict, error.code) == (Verdict.NEEDS_PERSON, "bad_credentials")
        assert "/credentials/accessToken is required" in error.detail


async def test_opening_touches_no_network() -> None:
    """Loading is not connecting: 10,000 idle sessions hold no socket."""
    async with world() as w:
        assert w.peer.connections == 0


async def test_a_base_url_given_over_the_api_is_reached_through_the_guard_only() -> None:
    """Here nobody says what may be reached, so nothing may."""
    async with serving() as peer, Pools() as pools:
        kind = CloudApi(MetaConfig(), pools)
        async with kind.open(session(peer.url), Heard()) as connection:
            with pytest.raises(ProviderError) as caught:
                await connection.send(message())
        assert (caught.value.verdict, caught.value.code) == (Verdict.NEEDS_PERSON, "url_not_allowed")
        assert peer.connections == 0


# --- the rest of the contract ---------------------------------------------------------------------


@pytest.mark.parametrize("typing", [False, True])
async def test_marking_read(typing: bool) -> None:
    """To the same place as a send, and repeatable."""
    async with world() as w:
        w.peer.scripts = [answering(200, {"success": True})]
        await w.connection.mark_read(WAMID, typing=typing)
        assert w.peer.last.path == MESSAGES
        assert w.peer.last.json["message_id"] == WAMID
        assert ("typing_indicator" in w.peer.last.json) is typing
        error = await w.fails(lambda: w.connection.mark_read(WAMID, typing=typing), wire.hang_up)
        assert error.verdict is Verdict.NOT_SENT
        assert w.heard.calls == [("mark_read", "ok"), ("mark_read", "connection_lost")]


async def test_the_groups_page_by_page() -> None:
    """Until there is no next page."""
    pages = [
        {
            "data": {"groups": [{"id": "g1", "subject": "Uno", "created_at": "1795521600"}, 7, {"id": 7}]},
            "paging": {"cursors": {"after": "c1"}, "next": "https://graph.facebook.com/..."},
        },
        {"data": {"groups": [{"id": "g2"}]}, "paging": {"cursors": {"after": "c2"}}},
    ]
    async with world() as w:
        w.peer.scripts = [answering(200, page) for page in pages]
        assert await w.connection.groups() == [
            Group("g1", subject="Uno", created_at="2026-11-24T12:00:00Z"),
            Group("g2"),
        ]
        assert [request.query.get("after") for request in w.peer.received] == [None, "c1"]
        assert w.peer.last.query["limit"] == "1024"
        assert w.peer.last.path == f"/v26.0/{NUMBER_ID}/groups"


async def test_one_group_with_its_members() -> None:
    """Numbers, and ids of those that show none; what is neither is left out."""
    group = {
        "id": "g/1",
        "subject": "Uno",
        "creation_timestamp": 1795521600,
        "total_participant_count": 3,
        "participants": [{"wa_id": "5215512345678"}, {"user_id": "MX.1"}, {}, 7, {"wa_id": 7}],
    }
    async with world() as w:
        w.peer.scripts = [answering(200, group)]
        assert await w.connection.group("g/1") == Group(
            "g/1",
            subject="Uno",
            created_at="2026-11-24T12:00:00Z",
            participants=3,
            members=(GroupMember("5215512345678", phone="+5215512345678"), GroupMember("MX.1")),
        )
        assert w.peer.last.path == "/v26.0/g%2F1"
        assert "participants" in w.peer.last.query["fields"]


async def test_a_group_that_the_number_is_not_in() -> None:
    """Meta says the same of everything that is not there; here it is the group, and not the account."""
    gone = {"error": {"code": 100, "error_subcode": 33, "message": "Unsupported get request."}}
    async with world() as w:
        error = await w.fails(lambda: w.connection.group("g"), answering(400, gone))
        assert (error.verdict, error.code) == (Verdict.REJECTED, "group_unknown")
        error = await w.fails(lambda: w.connection.group("g"), answering(200, {"subject": "no id"}))
        assert (error.verdict, error.code) == (Verdict.NOT_SENT, "provider_garbled")


async def test_groups_that_never_end() -> None:
    """A server that always has a next page is not followed for ever: 10,000 groups are Meta's most."""
    page = {"data": {"groups": [{"id": "g"}]}, "paging": {"cursors": {"after": "c"}, "next": "x"}}
    async with world() as w:
        w.peer.otherwise = answering(200, page)
        assert len(await w.connection.groups()) == 10


async def test_a_number_without_groups() -> None:
    """Meta's refusal, in wad's words."""
    async with world() as w:
        error = await w.fails(w.connection.groups, answering(400, {"error": {"code": 131215}}))
        assert (error.verdict, error.code) == (Verdict.REJECTED, "groups_not_allowed")
        error = await w.fails(w.connection.groups, answering(200, {"data": 7}))
        assert (error.verdict, error.code) == (Verdict.NOT_SENT, "provider_garbled")


async def test_an_upload() -> None:
    """A form of three fields; the file's name may be anything."""
    async with world() as w:
        w.peer.scripts = [answering(200, {"id": "1602"})]
        uploaded = await w.connection.upload(b"\x89PNG\r\n", mime_type="image/png", filename='foto "á".png')
        assert uploaded == "1602"
        request = w.peer.last
        assert (request.method, request.path) == ("POST", f"/v26.0/{NUMBER_ID}/media")
        form = message_from_bytes(
            b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.body
        )
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        assert parts["messaging_product"].get_payload(decode=True) == b"whatsapp"
        assert parts["type"].get_payload(decode=True) == b"image/png"
        assert parts["file"].get_content_type() == "image/png"
        assert parts["file"].get_payload(decode=True) == b"\x89PNG\r\n"
        assert w.heard.calls == [("upload", "ok")]


async def test_an_upload_that_fails_can_be_made_again() -> None:
    """A file too many does no harm."""
    async with world() as w:
        error = await w.fails(
            lambda: w.connection.upload(b"x", mime_type="image/png", filename=None), wire.cut
        )
        assert error.verdict is Verdict.NOT_SENT
        error = await w.fails(
            lambda: w.connection.upload(b"x", mime_type="image/png", filename=None),
            answering(
                400,
                {
                    "error": {
                        "code": 100,
                        "message": "Param file must be a file with one of the following types",
                    }
                },
            ),
        )
        assert (error.verdict, error.code) == (Verdict.REJECTED, "invalid_parameter")


# --- files ----------------------------------------------------------------------------------------

CONTENT = b"\xff\xd8\xff" + bytes(100_000)
HASHES = {
    "in hex": hashlib.sha256(CONTENT).hexdigest(),
    "in base64": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
    "in base64 without its end": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode().rstrip("="),
    "that is none": "x",
    "missing": None,
}


def place(peer: Peer, sha256: str | None, **more: Any) -> dict[str, Any]:
    return {
        "url": f"{peer.url}/cdn/file?a=b",
        "mime_type": "image/jpeg",
        "sha256": sha256,
        "file_size": len(CONTENT),
        **more,
    }


async def read(connection: Connection, media_id: str = "1003383421387256") -> tuple[str, int | None, bytes]:
    async with connection.download(media_id) as content:
        return content.mime_type, content.size, b"".join([chunk async for chunk in content.chunks])


@pytest.mark.parametrize("label", HASHES)
async def test_a_download(label: str) -> None:
    """Where it lies, then the file, with the token, checked against its hash."""
    async with world() as w:
        w.peer.scripts = [answering(200, place(w.peer, HASHES[label])), answering(200, CONTENT)]
        assert await read(w.connection) == ("image/jpeg", len(CONTENT), CONTENT)
        asked, fetched = w.peer.received
        assert asked.path == "/v26.0/1003383421387256"
        assert fetched.target == "/cdn/file?a=b"
        assert fetched.headers["authorization"] == f"Bearer {TOKEN}"
        assert fetched.headers["user-agent"].startswith("wad/")
        assert w.heard.calls == [("media_url", "ok"), ("download", "ok")]


async def test_a_file_that_is_not_the_one_that_was_promised() -> None:
    """Known once it is read to its end."""
    async with world() as w:
        w.peer.scripts = [answering(200, place(w.peer, "0" * 64)), answering(200, CONTENT)]
        with pytest.raises(ProviderError) as caught:
            await read(w.connection)
        assert (caught.value.verdict, caught.value.code) == (Verdict.NOT_SENT, "media_corrupt")


async def test_a_url_that_has_expired_is_asked_for_once_more() -> None:
    """They live for 5 minutes."""
    async with world() as w:
        w.peer.scripts = [
            answering(200, place(w.peer, None)),
            answering(404),
            answering(200, place(w.peer, None)),
            answering(200, CONTENT),
        ]
        assert (await read(w.connection))[2] == CONTENT


async def test_a_file_that_is_gone() -> None:
    """Twice is enough."""
    async with world() as w:
        w.peer.scripts = [answering(200, place(w.peer, None)), answering(404)] * 2
        with pytest.raises(ProviderError) as caught:
            await read(w.connection)
        assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "media_gone")
        assert len(w.peer.received) == 4


async def test_a_media_id_is_quoted_into_its_path() -> None:
    """Ids come from outside; one with a slash is still one segment."""
    async with world() as w:
        error = await w.fails(
            lambda: read(w.connection, "../1?access_token=x"), answering(400, {"error": {"code": 100}})
        )
        assert error.code == "invalid_parameter"
        assert w.peer.last.target.startswith("/v26.0/..%2F1%3Faccess_token%3Dx?")


async def test_an_error_in_the_readers_own_code_is_not_the_providers() -> None:
    """It comes out as it is, and the file is let go."""
    async with world() as w:
        w.peer.scripts = [answering(200, place(w.peer, None)), answering(200, CONTENT)]

        async def stumble() -> None:
            async with w.connection.download("1") as content:
                async for _ in content.chunks:
                    raise KeyError("mine")

        with pytest.raises(KeyError):
            await stumble()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", True),
        ("https://scontent.xx.fbcdn.net/x", True),
        ("https://mmg.whatsapp.net/x", True),
        ("https://graph.facebook.com/x", True),
        ("http://lookaside.fbsbx.com/x", False),
        ("https://lookaside.fbsbx.com:8443/x", False),
        ("https://lookaside.fbsbx.com.evil.example/x", False),
        ("https://evilfbcdn.net/x", False),
        ("https://user@lookaside.fbsbx.com/x", False),
        ("https://169.254.169.254/latest", False),
        ("ftp://lookaside.fbsbx.com/x", False),
        ("/relative", False),
        ("https://[::1", False),
        ("", False),
    ],
)
async def test_the_token_goes_to_metas_hosts_only(url: str, allowed: bool) -> None:
    """A URL in an answer is somebody else's word."""
    async with Pools() as pools:
        account = CloudApi(MetaConfig(), pools)._account(session())
        assert (account.file_url(url) is not None) is allowed


async def test_a_file_on_another_host_is_not_fetched() -> None:
    """Not even without the token."""
    async with world() as w:
        w.peer.scripts = [answering(200, place(w.peer, None, url="http://127.0.0.1:1/x"))]
        with pytest.raises(ProviderError) as caught:
            await read(w.connection)
        assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "media_refused")
        assert len(w.peer.received) == 1


# --- a look-alike ---------------------------------------------------------------------------------


async def test_another_account_of_the_family() -> None:
    """No number in the path, a key in another header, files under another host: all of it is in `Account`."""
    async with serving() as peer, Pools() as pools:
        account = Account(
            provider="look_alike",
            base_url=peer.url,
            root="",
            number="",
            authorization={"D360-API-KEY": "key"},
            probes=("/health_status",),
            media_rewrite=("lookaside.fbsbx.com", peer.url),
            secrets=("key",),
        )
        connection = MetaConnection(account, pools, Heard())
        await connection.send(message())
        assert (peer.last.target, peer.last.headers["d360-api-key"]) == ("/messages", "key")
        assert "authorization" not in peer.last.headers
        peer.scripts = [answering(200, {"health_status": {"can_send_message": "AVAILABLE"}})]
        assert (await connection.connect()).data == {"canSendMessage": "AVAILABLE"}
        peer.scripts = [
            answering(200, {"url": "https://lookaside.fbsbx.com/whatsapp/?mid=1"}),
            answering(200, CONTENT, Content_Type="image/jpeg"),
        ]
        assert await read(connection) == ("image/jpeg", None, CONTENT)
        assert (peer.last.target, peer.last.headers["d360-api-key"]) == ("/whatsapp/?mid=1", "key")


# --- secrets --------------------------------------------------------------------------------------


async def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Not by a repr, not by an error, not by the deepest log of the HTTP library."""
    seen: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with world(app_secret=APP_SECRET, verify_token="verifyCANARY") as w:
            seen += [repr(w.kind), repr(w.connection), str(w.kind), repr(w.kind._config)]
            seen += [repr(w.kind._account(session())), repr(session()), repr(w.kind._pools)]
            malformed = {
                "error": {"code": 190, "message": f"Malformed access token {TOKEN} ({PROOF}, {APP_SECRET})"}
            }
            for script in (answering(401, malformed), wire.cut, wire.hang_up, answering(500, TOKEN.encode())):
                error = await w.fails(lambda: w.connection.send(message()), script)
                seen += [str(error), repr(error), error.detail, "".join(traceback.format_exception(error))]
            error = await w.fails(w.connection.connect, answering(401, malformed))
            seen.append(error.detail)
    seen += [record.getMessage() for record in caplog.records]
    for text in seen:
        for secret in (TOKEN, APP_SECRET, PROOF, "verifyCANARY"):
            assert secret not in text


# --- checks that touch no network -----------------------------------------------------------------


@pytest.fixture
async def kind() -> AsyncIterator[CloudApi]:
    async with Pools() as pools:
        yield CloudApi(MetaConfig(app_secret="configured", verify_token="agreed"), pools)


@pytest.mark.parametrize(
    ("credentials", "pointers"),
    [
        pytest.param({"accessToken": "EAA", "phoneNumberId": "1"}, [], id="enough"),
        pytest.param(
            {"accessToken": "EAA", "phoneNumberId": "1", "appSecret": "s", "verifyToken": "v"},
            [],
            id="everything",
        ),
        pytest.param({}, ["accessToken", "phoneNumberId"], id="nothing"),
        pytest.param({"accessToken": "", "phoneNumberId": ""}, ["accessToken", "phoneNumberId"], id="blanks"),
        pytest.param(
            {"accessToken": "EAA", "phoneNumberId": "+52"}, ["phoneNumberId"], id="a phone number for its id"
        ),
        pytest.param(
            {"accessToken": "EAA", "phoneNumberId": "１"}, ["phoneNumberId"], id="digits of another script"
        ),
        pytest.param(
            {"accessToken": "EAA\r\nX: y", "phoneNumberId": "1"},
            ["accessToken"],
            id="a token with a line break",
        ),
        pytest.param(
            {"accessToken": "é", "phoneNumberId": "1"}, ["accessToken"], id="a token that is not ASCII"
        ),
        pytest.param(
            {"accessToken": "E" * 5000, "phoneNumberId": "1"}, ["accessToken"], id="a token without end"
        ),
        pytest.param(
            {"accessToken": 7, "phoneNumberId": "1"}, ["accessToken"], id="a token that is no string"
        ),
        pytest.param(
            {"accessToken": "EAA", "phoneNumberId": "1", "token": "x", "a/b": "y"},
            ["token", "a~1b"],
            id="unknown ones",
        ),
    ],
)
async def test_credentials(kind: CloudApi, credentials: Any, pointers: list[str]) -> None:
    """Every mistake, by name, and never a value."""
    errors = kind.check_credentials(credentials)
    assert [error.pointer for error in errors] == [f"/credentials/{pointer}" for pointer in pointers]
    assert not any("EAA" in error.detail for error in errors)


async def test_whose_secrets_count(kind: CloudApi) -> None:
    """The session's own, else the configured ones."""
    own = session(verifyToken="own")
    assert (kind.webhook_secret(own), kind.verify_token(own)) == (APP_SECRET, "own")
    bare = session(appSecret=None)
    assert (kind.webhook_secret(bare), kind.verify_token(bare)) == ("configured", "agreed")
    assert (kind.webhook_secret(None), kind.verify_token(None)) == ("configured", "agreed")


async def test_what_webhooks_call_it(kind: CloudApi) -> None:
    """The phone number id."""
    assert kind.account_of(session().credentials) == NUMBER_ID


async def test_a_url_has_one_slash_between_its_parts() -> None:
    """However the base URL was written, and with a path of its own."""
    async with Pools() as pools:
        for base in ("https://proxy.example/graph", "https://proxy.example/graph/"):
            account = CloudApi(MetaConfig(base_url=base), pools)._account(session(appSecret=None))
            assert account.url(f"{account.number}/messages") == httpx.URL(
                f"https://proxy.example/graph/v26.0/{NUMBER_ID}/messages"
            )
