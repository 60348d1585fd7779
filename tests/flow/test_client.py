"""A delivery to a flow: what is sent, what each answer means, and when to try again."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import httpx
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from wad.content import parse_reply
from wad.errors import InvalidRequest
from wad.flow.client import (
    BUSY,
    MAX_REPLIES,
    RETRY_AFTER,
    Answered,
    FlowClient,
    Gone,
    Refused,
    Retry,
    open_flow_client,
    replies_in,
    retry_after,
)
from wad.guard import Guard
from wad.models import ChatId, Failure, InboundMessage, InboxItem, MessageId, Person, SessionId, utc_now

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://flow.example/hook?shop=9"


def item(*, attempts: int = 0) -> InboxItem:
    event = InboundMessage(
        provider_message_id="wamid.1",
        chat=ChatId("+5215512345678"),
        sender=Person(phone="+5215512345678", name="Ana"),
        content={"type": "text", "text": {"body": "hola"}},
    )
    now = utc_now()
    return InboxItem(
        message_id=MessageId("msg_1"),
        session_id=SessionId("tienda-1"),
        provider="cloud_api",
        event=event,
        seq=1,
        received_at=now,
        expires_at=now,
        attempts=attempts,
    )


class Flow:
    """A flow service: an ASGI application that answers as it is told, and keeps what it was asked."""

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        hangs: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.hangs = hangs
        self.requests: list[tuple[dict[str, str], bytes]] = []

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event["body"]
            more = event["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((headers | {":path": scope["path"], ":method": scope["method"]}, body))
        if self.hangs:
            await trio.sleep_forever()
        sent = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": sent})
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def client_of(flow: Any, **options: Any) -> AsyncIterator[FlowClient]:
    """A client whose network is *flow* alone."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(flow)) as http:
        yield FlowClient(guarded=http, trusted=http, check_reply=parse_reply, **options)


async def delivered(flow: Flow, **options: Any) -> Any:
    async with client_of(flow) as client:
        return await client.deliver(item(), url=URL, secret=SECRET, **options)


# --- the request ----------------------------------------------------------------------------------


async def test_an_event_is_a_standard_webhook():
    """Signed with the standard's own scheme, its id the message's, and with the number of the attempt."""
    flow = Flow()
    async with client_of(flow) as client:
        await client.deliver(item(attempts=2), url=URL, secret=SECRET)
    ((headers, body),) = flow.requests
    Webhook(SECRET).verify(body, headers)
    assert json.loads(body)["data"]["text"] == {"body": "hola"}
    assert headers[":method"] == "POST"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "msg_1"
    assert headers["x-wad-delivery"] == "3"
    assert headers["user-agent"].startswith("wad/")
    assert headers["host"] == "flow.example"


async def test_without_a_secret_nothing_is_signed():
    flow = Flow()
    async with client_of(flow) as client:
        assert await client.deliver(item(), url=URL) == Answered([])
    ((headers, _),) = flow.requests
    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == "msg_1"


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "replies"),
    [
        pytest.param(204, b"", [], id="204"),
        pytest.param(200, b"", [], id="an empty 200"),
        pytest.param(200, b" \r\n", [], id="a blank one"),
        pytest.param(202, b"{}", [], id="an object without replies"),
        pytest.param(200, b'{"replies": []}', [], id="no replies"),
        pytest.param(200, b'{"replies": [{"text": "a"}]}', [{"text": "a"}], id="one"),
        pytest.param(
            200,
            '{"replies": [{"text": {"body": "ñ"}, "priority": "bulk"}, {"type": "image", "image": {"link": "https://a.mx/b"}}]}'.encode(),
            [
                {"text": {"body": "ñ"}, "priority": "bulk"},
                {"type": "image", "image": {"link": "https://a.mx/b"}},
            ],
            id="two, as they were written",
        ),
    ],
)
async def test_a_good_answer_is_its_replies(status, body, replies):
    assert await delivered(Flow(status, body)) == Answered(replies)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"OK", "is not JSON", id="a word"),
        pytest.param(b"<html>", "is not JSON", id="HTML"),
        pytest.param(b"\xff\xfe", "is not JSON", id="not UTF-8"),
        pytest.param(b'{"replies": ["\xff"]}', "is not JSON", id="a text that is not UTF-8"),
        pytest.param(b"[" * 100_000, "is not JSON", id="very deep"),
        pytest.param(b"[]", 'is not {"replies": [...]}', id="a list"),
        pytest.param(b'{"replies": {}}', 'is not {"replies": [...]}', id="replies that are no list"),
        pytest.param(b'{"replies": null}', 'is not {"replies": [...]}', id="replies that are null"),
        pytest.param(b'{"reply": []}', "/reply is not a known field", id="a misspelt field"),
        pytest.param(b'{"replies": ["a"]}', "/replies/0", id="a reply that is no object"),
        pytest.param(
            b'{"replies": [{"text": "a"}, {"txt": "a"}]}', "/replies/1/txt", id="a bad field, by its path"
        ),
        pytest.param(b'{"replies": [{"text": "a", "to": "+521"}]}', "/replies/0/to", id="a recipient"),
        pytest.param(b'{"replies": [{}, {}, {}, {}, {}, {}, {}]}', "; and 2 more", id="many errors"),
        pytest.param(json.dumps({"replies": [{"text": "a"}] * 46}).encode(), "more than 45", id="a flood"),
        pytest.param(
            b'{"replies": [{"text": "' + b"a" * 2**18 + b'"}]}', "larger than 262144", id="too large"
        ),
    ],
)
async def test_an_answer_that_is_wrong_is_refused_and_says_where(body, why):
    """Silence would hide a flow's mistake. The body itself is not repeated: it may hold what a customer wrote."""
    outcome = await delivered(Flow(200, body))
    assert isinstance(outcome, Refused)
    assert outcome.error.code == "flow_bad_answer"
    assert why in outcome.error.detail
    assert outcome.error.detail.count("/replies/") <= 5


async def test_a_compressed_answer_is_refused():
    """wad asks for none: a small one could unpack to gigabytes."""
    flow = Flow(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"})
    outcome = await delivered(flow)
    assert isinstance(outcome, Refused)
    assert "compressed" in outcome.error.detail
    assert flow.requests[0][0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "outcome", "code", "minimum"),
    [
        (301, Refused, "flow_refused", None),
        (302, Refused, "flow_refused", None),
        (304, Refused, "flow_refused", None),
        (307, Refused, "flow_refused", None),
        (400, Refused, "flow_refused", None),
        (401, Refused, "flow_refused", None),
        (404, Refused, "flow_refused", None),
        (408, Retry, "flow_busy", BUSY),
        (410, Gone, "flow_gone", None),
        (422, Refused, "flow_refused", None),
        (425, Retry, "flow_failed", 0.0),
        (429, Retry, "flow_busy", BUSY),
        (500, Retry, "flow_failed", 0.0),
        (502, Retry, "flow_failed", 0.0),
        (503, Retry, "flow_failed", 0.0),
        (504, Retry, "flow_failed", 0.0),
        (599, Retry, "flow_failed", 0.0),
    ],
)
async def test_each_status_has_its_meaning(status, outcome, code, minimum):
    got = await delivered(Flow(status, b'{"replies": [{"text": "a"}]}', {"Location": "https://10.0.0.1/"}))
    assert type(got) is outcome
    assert got.error.code == code
    assert got.error.provider_code == str(status)
    assert got.error.retryable is (outcome is Retry)
    assert getattr(got, "minimum", None) == minimum


@pytest.mark.parametrize(
    ("header", "after"),
    [
        pytest.param("120", 120.0, id="seconds"),
        pytest.param("0", 0.0, id="none"),
        pytest.param("9" * 400, 999_999_999.0, id="more digits than a number has"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="a date that is past"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", "far", id="a date that is far"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 -0000", "far", id="a date without a zone"),
        pytest.param("-5", None, id="a negative number"),
        pytest.param("soon", None, id="a word"),
        pytest.param("1.5", None, id="a fraction"),
        pytest.param("²", None, id="a digit of another kind"),
        pytest.param("", None, id="nothing"),
    ],
)
async def test_the_flow_may_say_when_to_come_back(header, after):
    outcome = await delivered(Flow(503, headers={"Retry-After": header}))
    assert isinstance(outcome, Retry)
    if after == "far":
        assert outcome.after is not None
        assert outcome.after > 1e9
    else:
        assert outcome.after == after


# --- failures -------------------------------------------------------------------------------------


async def test_a_flow_that_hangs_costs_the_timeout_and_no_more(autojump_clock):
    flow = Flow(hangs=True)
    async with client_of(flow, timeout=15.0) as client:
        started = trio.current_time()
        outcome = await client.deliver(item(), url=URL)
        assert trio.current_time() - started == 15.0
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "flow_timeout"
    assert outcome.minimum == BUSY


@pytest.mark.parametrize(
    ("url", "secret", "code"),
    [
        pytest.param("ftp://flow.example/", SECRET, "url_not_allowed", id="another scheme"),
        pytest.param("flow.example", SECRET, "url_not_allowed", id="no scheme"),
        pytest.param("https://①②⑦.0.0.1/", SECRET, "url_not_allowed", id="no host"),
        pytest.param("https://a\x00b/", SECRET, "url_not_allowed", id="no URL"),
        pytest.param(URL, "whsec_oops", "invalid_flow_secret", id="a secret that cannot sign"),
        pytest.param(URL, "", "invalid_flow_secret", id="an empty secret"),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
async def test_what_can_never_be_delivered_is_refused(url, secret, code, trusted):
    """It reaches nobody, and it does not crash the actor that holds it."""
    async with open_flow_client(Guard(), parse_reply) as client:
        outcome = await client.deliver(item(), url=url, secret=secret, trusted=trusted)
    assert isinstance(outcome, Refused)
    assert outcome.error.code == code


async def test_a_cancelled_delivery_is_cancelled(autojump_clock):
    """Our own deadline is not the flow's fault."""
    async with client_of(Flow(hangs=True)) as client:
        with trio.move_on_after(1) as scope:
            await client.deliver(item(), url=URL)
        assert scope.cancelled_caught


# --- over sockets ---------------------------------------------------------------------------------


@asynccontextmanager
async def listening(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says *answer* to each connection, and closes it; its URL, and what it was asked."""
    asked: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asked.append(await stream.receive_some())
            try:
                await stream.send_all(answer)
            except trio.BrokenResourceError:  # the client has had enough
                return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", asked
        nursery.cancel_scope.cancel()


NO_CONTENT = b"HTTP/1.1 204 No Content\r\nSet-Cookie: shop=9; Path=/\r\nConnection: close\r\n\r\n"


async def test_urls_of_the_configuration_pass_where_others_do_not():
    """The operator's own word reaches the loopback; a shop's only if `guard.allow` says so."""
    async with listening(NO_CONTENT) as (url, asked):
        async with open_flow_client(Guard(), parse_reply) as client:
            refused = await client.deliver(item(), url=url)
            assert isinstance(refused, Refused)
            assert refused.error.code == "url_not_allowed"
            assert asked == []
            assert await client.deliver(item(), url=url, trusted=True) == Answered([])
        async with open_flow_client(Guard(["127.0.0.0/8"]), parse_reply) as client:
            assert await client.deliver(item(), url=url) == Answered([])
    assert len(asked) == 2


@pytest.mark.parametrize("trusted", [True, False])
async def test_cookies_are_not_kept(trusted):
    """One client serves every shop: what one flow sets must not reach another."""
    guard = Guard(["127.0.0.0/8"])
    async with listening(NO_CONTENT) as (url, asked), open_flow_client(guard, parse_reply) as client:
        for _ in range(2):
            await client.deliver(item(), url=url, trusted=trusted)
    assert len(asked) == 2
    assert b"cookie" not in asked[1].lower()


async def test_redirects_are_not_followed():
    """Not even the operator's own: a signed event goes where it was meant to, or nowhere."""
    redirect = (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    async with listening(redirect) as (url, asked), open_flow_client(Guard(), parse_reply) as client:
        outcome = await client.deliver(item(), url=url, trusted=True)
    assert isinstance(outcome, Refused)
    assert "redirects are not followed" in outcome.error.detail
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed without an answer"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", id="cut in the middle"),
    ],
)
async def test_a_broken_exchange_is_tried_again(answer):
    async with listening(answer) as (url, _), open_flow_client(Guard(), parse_reply) as client:
        outcome = await client.deliver(item(), url=url, trusted=True)
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "flow_unreachable"


async def test_nobody_listening_is_tried_again():
    async with listening(b"") as (url, _):
        pass
    async with open_flow_client(Guard(), parse_reply) as client:
        outcome = await client.deliver(item(), url=url, trusted=True)
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "flow_unreachable"
    assert outcome.error.retryable


async def test_an_endless_answer_is_left_at_the_cap():
    """No more is read than may be kept, and the connection is given up without a complaint of the runtime's."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 8 * 2**20
    async with listening(endless) as (url, _), open_flow_client(Guard(), parse_reply) as client:
        for _ in range(3):
            outcome = await client.deliver(item(), url=url, trusted=True)
            assert isinstance(outcome, Refused)
            assert "larger than" in outcome.error.detail


# --- trying again ---------------------------------------------------------------------------------

ERROR = Failure("flow_failed", "the flow answered 500")


class Middle(Random):
    """A random source without chance: the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.mark.parametrize(
    ("attempts", "outcome", "seconds"),
    [
        *(
            pytest.param(n + 1, Retry(ERROR), seconds, id=f"after attempt {n + 1}")
            for n, seconds in enumerate(RETRY_AFTER)
        ),
        pytest.param(500, Retry(ERROR), 900.0, id="and so on"),
        pytest.param(1, Retry(ERROR, minimum=BUSY), 15.0, id="busy, at first"),
        pytest.param(5, Retry(ERROR, minimum=BUSY), 30.0, id="busy, later"),
        pytest.param(4, Retry(ERROR, after=3.0), 10.0, id="its word, too soon"),
        pytest.param(4, Retry(ERROR, after=13.0), 13.0, id="its word"),
        pytest.param(4, Retry(ERROR, after=1e9), 20.0, id="its word, too late"),
        pytest.param(1, Retry(ERROR, after=20.0, minimum=BUSY), 20.0, id="busy, with its word"),
        pytest.param(1, Retry(ERROR, after=3600.0, minimum=BUSY), 30.0, id="busy, with its word, too late"),
        pytest.param(3, Refused(ERROR), 5.0, id="refused"),
    ],
)
def test_the_waits_grow_and_the_flows_word_is_taken_within_bounds(attempts, outcome, seconds):
    assert retry_after(attempts, outcome, random=Middle()) == seconds


@given(
    attempts=st.integers(0, 1000),
    after=st.none() | st.floats(0, 1e9),
    minimum=st.sampled_from([0.0, BUSY]),
    seed=st.integers(),
)
def test_no_wait_is_shorter_or_longer_than_the_schedule_allows(attempts, after, minimum, seed):
    """Never under the least, never over twice the base, and without a word from the flow within ±20 %."""
    base = max(RETRY_AFTER[min(max(attempts, 1), 10) - 1], minimum)
    wait = retry_after(attempts, Retry(ERROR, after, minimum), random=Random(seed))
    assert max(minimum, 0.8 * base) <= wait <= 2 * base
    if after is None:
        assert wait <= 1.2 * base


# --- hostile answers ------------------------------------------------------------------------------


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["replies", "text", "type", "x"]), inner)
            ),
        ).map(msgspec.json.encode),
    )
)
def test_any_body_is_replies_or_an_error(body):
    """A flow's answer is foreign data: it is taken whole and checked, or refused. Never a crash."""
    try:
        replies = replies_in(body, parse_reply)
    except InvalidRequest:
        return
    assert len(replies) <= MAX_REPLIES
    for reply in replies:
        parse_reply(reply)
