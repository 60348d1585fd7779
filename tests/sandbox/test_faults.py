"""Faults as a client on a real socket sees them, and what the ledger says of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from tests.sandbox.place import ANA, NUMBER, TOKEN, place
from wad.sandbox import Config, Sandbox, Settings, create_sandbox, serve_sandbox

BODY = {
    "messaging_product": "whatsapp",
    "to": ANA,
    "type": "text",
    "text": {"body": "hola"},
    "biz_opaque_callback_data": "mine",
}


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Sandbox, httpx.AsyncClient]]:
    """A sandbox on a port of its own."""
    sandbox = create_sandbox(Config(settings=Settings(statuses={}, enforce_window=False)))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_sandbox, sandbox=sandbox))
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
            yield sandbox, client
        nursery.cancel_scope.cancel()


async def script(client: httpx.AsyncClient, fault: dict[str, Any], **rest: Any) -> dict[str, Any]:
    body = {"match": {"operation": "messages"}, "fault": fault, **rest}
    answer = await client.post("/_sandbox/faults", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def send(client: httpx.AsyncClient, **options: Any) -> httpx.Response:
    return await client.post(f"/v26.0/{NUMBER}/messages", json=BODY, headers=TOKEN, **options)


#: label → (fault, what the client gets, whether the network took the message)
BROKEN: dict[str, tuple[dict[str, Any], type[httpx.TransportError], bool]] = {
    "answer lost after the send counted": ({"kind": "cut"}, httpx.RemoteProtocolError, True),
    "cut before the send counted": ({"kind": "cut", "after": "before"}, httpx.RemoteProtocolError, False),
    "reset": ({"kind": "cut", "reset": True}, httpx.ReadError, True),
    "half an answer": ({"kind": "truncate"}, httpx.RemoteProtocolError, True),
    "no answer": ({"kind": "hang"}, httpx.ReadTimeout, False),
    "no answer, but it counted": ({"kind": "hang", "after": "accept"}, httpx.ReadTimeout, True),
}


@pytest.mark.parametrize("label", BROKEN)
async def test_a_broken_answer_is_broken_on_the_wire(label: str) -> None:
    """The client sees what a broken network shows, the ledger knows whether the message counts."""
    fault, error, counts = BROKEN[label]
    async with served() as (sandbox, client):
        await script(client, fault)
        with pytest.raises(error):
            await send(client, timeout=0.3 if error is httpx.ReadTimeout else 10)
        sends = [entry["callbackData"] for entry in sandbox.ledger.entries("send")]
        calls = [(entry["operation"], entry["status"]) for entry in sandbox.ledger.entries("call")]
        assert (sends, calls) == ((["mine"], []) if counts else ([], [("messages", None)]))
        answer = await send(client)
        assert answer.status_code == 200, "the next one is not affected"


#: label → (fault, HTTP status, a piece of the body, a header, whether the network took the message)
ANSWERED: dict[str, tuple[dict[str, Any], int, str, tuple[str, str], bool]] = {
    "throttled, as Meta says it": (
        {"kind": "error", "code": 130429},
        400,
        '"code":130429',
        ("content-type", "application/json; charset=UTF-8"),
        False,
    ),
    "throttled, as others say it": (
        {"kind": "error", "code": 80007, "http": 429, "retryAfter": 2, "headers": {"X-App-Usage": "{}"}},
        429,
        "(#80007) Rate limit issues",
        ("retry-after", "2"),
        False,
    ),
    "an error with 200": (
        {"kind": "error", "code": 131000, "http": 200},
        200,
        '"error"',
        ("x-app", ""),
        False,
    ),
    "a subcode and is_transient": (
        {"kind": "error", "code": 2, "subcode": 99, "transient": True},
        503,
        '"error_subcode":99,"is_transient":true',
        ("x-app", ""),
        False,
    ),
    "a page of HTML": (
        {"kind": "http", "status": 503, "html": True},
        503,
        "<!DOCTYPE html>",
        ("content-type", "text/html"),
        False,
    ),
    "5xx after it counted": (
        {"kind": "http", "status": 502, "after": "accept"},
        502,
        "",
        ("x-app", ""),
        True,
    ),
    "a redirect": (
        {"kind": "http", "status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        302,
        "",
        ("location", "http://127.0.0.1:9/"),
        False,
    ),
    "200 and no JSON": ({"kind": "garbage"}, 200, "not json", ("content-type", "application/json"), True),
    "a byte at a time": ({"kind": "drip", "seconds": 0.2}, 200, "wamid.", ("x-app", ""), True),
    "late": ({"kind": "delay", "seconds": 0.05}, 200, "wamid.", ("x-app", ""), True),
    "late, but it counted": (
        {"kind": "delay", "seconds": 0.05, "after": "accept"},
        200,
        "wamid.",
        ("x-app", ""),
        True,
    ),
    "failing afterwards": ({"kind": "fail", "code": 131049}, 200, "wamid.", ("x-app", ""), True),
}


@pytest.mark.parametrize("label", ANSWERED)
async def test_a_wrong_answer_is_whole_and_wrong(label: str) -> None:
    """Statuses, bodies and headers as scripted; once, and then the network is itself again."""
    fault, status, words, (header, value), counts = ANSWERED[label]
    async with served() as (sandbox, client):
        await script(client, fault)
        answer = await send(client)
        assert answer.status_code == status
        assert words in answer.text
        assert answer.headers.get(header, "") == value
        assert len(sandbox.ledger.entries("send")) == counts
        assert "wamid." in (await send(client)).text


async def test_a_script_applies_to_the_nth_match_so_many_times() -> None:
    """From the third send on, twice; everything else passes."""
    async with served() as (_, client):
        await client.post(
            "/_sandbox/faults",
            json={
                "match": {"operation": "messages", "to": ANA, "type": "text", "nth": 3},
                "times": 2,
                "fault": {"kind": "error", "code": 131016},
            },
        )
        assert [(await send(client)).status_code for _ in range(6)] == [200, 200, 500, 500, 200, 200]


#: label → whether a script with this match applies to a text from NUMBER to Ana
MATCHES: dict[str, tuple[dict[str, Any], bool]] = {
    "everything": ({}, True),
    "the operation": ({"operation": "messages"}, True),
    "another operation": ({"operation": "media.upload"}, False),
    "the number": ({"phoneNumberId": NUMBER}, True),
    "another number": ({"phoneNumberId": "9"}, False),
    "the recipient": ({"to": ANA}, True),
    "the recipient in digits": ({"to": "5215512345678"}, True),
    "another recipient": ({"to": "+5215587654321"}, False),
    "the type": ({"type": "text"}, True),
    "another type": ({"type": "image"}, False),
}


@pytest.mark.parametrize("label", MATCHES)
async def test_a_script_matches_what_it_says(label: str) -> None:
    """All that is said must fit; what is not said fits everything."""
    match, applies = MATCHES[label]
    async with place() as here:
        await here.post("faults", {"match": match, "fault": {"kind": "error", "code": 131000}})
        assert (await here.send()).status_code == (500 if applies else 200)


async def test_a_script_without_times_is_for_ever_until_it_is_removed() -> None:
    """`times: null`; by its id, or all at once."""
    async with served() as (_, client):
        made = await script(client, {"kind": "error", "code": 131000}, times=None)
        assert [(await send(client)).status_code for _ in range(3)] == [500, 500, 500]
        await client.delete(f"/_sandbox/faults/{made['id']}")
        assert (await send(client)).status_code == 200


#: label → (script, a piece of the answer)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown kind": ({"fault": {"kind": "explode"}}, "Invalid value 'explode'"),
    "unknown field": ({"fault": {"kind": "cut", "when": "now"}}, "unknown field `when`"),
    "no code": ({"fault": {"kind": "error"}}, "missing required field `code`"),
    "an event fault for requests": ({"fault": {"kind": "duplicate"}}, 'needs match.operation "webhook"'),
    "a request fault for events": (
        {"match": {"operation": "webhook"}, "fault": {"kind": "cut"}},
        'needs a match.operation other than "webhook"',
    ),
}


@pytest.mark.parametrize("label", WRONG)
async def test_a_script_that_makes_no_sense_is_refused(label: str) -> None:
    """At once, with the reason: a fault that never fires would make a test lie."""
    body, words = WRONG[label]
    async with place() as here:
        answer = await here.client.post("/_sandbox/faults", json=body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]


async def test_faults_reach_every_operation() -> None:
    """A probe, a read mark, an upload: each can fail by name."""
    async with place() as here:
        for operation in ("number", "read", "media.upload", "groups"):
            await here.post(
                "faults", {"match": {"operation": operation}, "fault": {"kind": "error", "code": 131000}}
            )
        read = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"}
        answers = [
            await here.graph("GET", NUMBER),
            await here.graph("POST", f"{NUMBER}/messages", json=read),
            await here.graph("POST", f"{NUMBER}/media", files={"file": b"x"}),
            await here.graph("GET", f"{NUMBER}/groups"),
        ]
        assert [answer.status_code for answer in answers] == [500] * 4


async def test_in_memory_a_cut_is_the_clients_own_exception() -> None:
    """There is no connection to cut, so the client is raised what it would have raised itself."""
    async with place() as here:
        for fault, error in (
            ({"kind": "cut"}, httpx.RemoteProtocolError),
            ({"kind": "cut", "reset": True}, httpx.ReadError),
            ({"kind": "truncate"}, httpx.RemoteProtocolError),
        ):
            await here.post("faults", {"match": {"operation": "messages"}, "fault": fault})
            with pytest.raises(error):
                await here.send()
        assert len(here.sandbox.ledger.entries("send")) == 3


async def test_two_hundred_connections_at_once_are_served() -> None:
    """Each gets its own answer, and each send is in the ledger once."""
    async with served() as (sandbox, client):
        answers: list[int] = []
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)

        async def one(many: httpx.AsyncClient, n: int) -> None:
            body = BODY | {"to": f"+52155{n:08}", "biz_opaque_callback_data": f"m{n}"}
            answer = await many.post(f"/v26.0/{NUMBER}/messages", json=body, headers=TOKEN)
            answers.append(answer.status_code)

        async with (
            httpx.AsyncClient(base_url=client.base_url, trust_env=False, timeout=60, limits=limits) as many,
            trio.open_nursery() as nursery,
        ):
            for n in range(200):
                nursery.start_soon(one, many, n)
        assert answers == [200] * 200
        told = [entry["callbackData"] for entry in sandbox.ledger.entries("send")]
        assert sorted(told) == sorted(f"m{n}" for n in range(200))
