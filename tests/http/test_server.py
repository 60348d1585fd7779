"""Serving on a port: what the raw bytes of a client may do to a connection, and to the others."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
import pytest
import trio

from tests.http.front import TOKENS, Front, front
from wad.config.model import Http
from wad.http import server as server_module
from wad.http.server import serve_http
from wad.http.sockets import bind

AUTH = f"Authorization: Bearer {TOKENS['ops']}\r\n".encode()
OK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Served:
    ask: Front
    address: str
    stop: trio.Event

    async def connect(self) -> trio.SocketStream:
        if self.address.startswith("unix:"):
            return await trio.open_unix_socket(self.address.removeprefix("unix:"))
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return await trio.open_tcp_stream(host.strip("[]"), int(port))

    async def say(self, *parts: bytes, pause: float = 0.02) -> bytes:
        """All that comes back on a connection of its own, until the server closes it or is silent."""
        async with await self.connect() as stream:
            for part in parts:
                try:
                    await stream.send_all(part)
                except trio.BrokenResourceError:
                    break
                await trio.sleep(pause)
            return await self.rest(stream)

    async def rest(self, stream: trio.SocketStream, silence: float = 0.5) -> bytes:
        got = b""
        while True:
            with trio.move_on_after(silence) as scope:
                try:
                    part = await stream.receive_some()
                except trio.BrokenResourceError:
                    return got
            if scope.cancelled_caught or not part:
                return got
            got += part


@asynccontextmanager
async def served(address: str = "127.0.0.1:0", **config: object) -> AsyncIterator[Served]:
    """The API on a socket, on the real clock."""
    http = Http.model_validate(config)
    stop = trio.Event()
    async with front(config={"http": config}) as ask:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                serve = partial(serve_http, shutdown_trigger=stop.wait, on_shutdown=ask.stream.close)
                [url] = await nursery.start(serve, ask.app, http, bind([address], backlog=16))
                yield Served(ask, url, stop)
                stop.set()
                scope.deadline = trio.current_time() + 10
        assert not scope.cancelled_caught, "it did not stop by itself"


def statuses(answer: bytes) -> list[int]:
    """The status of each response in *answer*."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


async def test_it_serves_on_a_port_of_its_own_and_keeps_connections():
    """Port 0 works, the address comes back, and one connection carries many requests."""
    async with (
        served() as here,
        httpx.AsyncClient(base_url=here.address, headers=here.ask.headers()) as client,
    ):
        for _ in range(3):
            reply = await client.get("/api/whatsapp/sessions")
            assert reply.json() == {"items": [], "next": None}
            assert "server" not in reply.headers
        big = await client.get("/openapi.json")
        assert (big.headers["content-encoding"], big.json()["info"]["title"]) == ("gzip", "wad")


async def test_it_serves_on_a_unix_socket_and_over_a_dead_one(tmp_path):
    """A killed daemon leaves its socket behind; a living one keeps it."""
    path = f"unix:{tmp_path}/wad.sock"
    dead = bind([path], backlog=1)
    dead[0].close()
    async with served(path) as here:
        assert here.address == path
        assert statuses(await here.say(OK + b"\r\n")) == [200]
        assert (tmp_path / "wad.sock").stat().st_mode & 0o777 == 0o660
        with pytest.raises(OSError, match="cannot listen on unix:"):
            bind([path], backlog=1)


async def test_it_serves_on_ipv6():
    """With the brackets that URLs want."""
    async with served("[::1]:0") as here:
        assert here.address.startswith("http://[::1]:")
        assert statuses(await here.say(OK + b"\r\n")) == [200]


def test_a_taken_port_is_told_at_once_and_nothing_stays_bound():
    """Every socket of the list or none."""
    [taken] = bind(["127.0.0.1:0"], backlog=1)
    port = taken.getsockname()[1]
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    other = free.getsockname()[1]
    free.close()
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        bind([f"127.0.0.1:{other}", f"127.0.0.1:{port}"], backlog=1)
    taken.close()
    for sock in bind([f"127.0.0.1:{other}"], backlog=1):
        sock.close()


POST = b"POST /api/whatsapp/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + AUTH
#: (label, raw request, the statuses that may come back). A second request is always smuggled behind the first.
SMUGGLING = [
    ("both lengths", POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [[400]]),
    ("both lengths, other way round", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", [[400]]),
    ("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", [[400]]),
    ("a list of two lengths", POST + b"Content-Length: 2, 3\r\n\r\n{}", [[400]]),
    ("a length with a sign", POST + b"Content-Length: +2\r\n\r\n{}", [[400]]),
    ("a negative length", POST + b"Content-Length: -1\r\n\r\n{}", [[400]]),
    ("a length in hexadecimal", POST + b"Content-Length: 0x2\r\n\r\n{}", [[400]]),
    ("an unknown encoding", POST + b"Transfer-Encoding: xchunked\r\n\r\n{}", [[400], [501]]),
    ("two encodings", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [[400], [501]]),
    ("an encoding twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", [[400], [501]]),
    ("a space before the colon", POST + b"Content-Length : 2\r\n\r\n{}", [[400]]),
    ("a NUL in a header", POST + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}", [[400]]),
    ("a bad chunk size", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", [[400], [422]]),
    ("a chunk size of many digits", POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 30 + b"2\r\n{}\r\n0\r\n\r\n", [[400]]),
    ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", [[400]]),
    ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", [[400]]),
    ("a header of 64 KB", OK + b"X: " + b"a" * 65536 + b"\r\n\r\n", [[431], [400]]),
    ("a request line of 64 KB", b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [[431], [400], [414]]),
    ("two equal lengths", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", [[400]]),
    ("a list of two equal lengths", POST + b"Content-Length: 2, 2\r\n\r\n{}", [[400]]),
    ("lines that end with LF alone", OK.replace(b"\r\n", b"\n") + b"\n", [[400]]),
    ("one line that ends with LF alone", OK + b"X: a\nY: b\r\n\r\n", [[400]]),
    ("a line with a CR in it", OK + b"X: a\rb\r\n\r\n", [[400]]),
    ("a header folded over lines", OK + b"X: a\r\n b\r\n\r\n", [[400]]),
    ("a folded Transfer-Encoding", POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n\r\n{}", [[400]]),
    ("101 headers", OK + b"".join(b"X-%d: a\r\n" % n for n in range(100)) + b"\r\n", [[431]]),
    ("a trailer of 200 headers", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", [[431], [422]]),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [[400], []]),
    ("a method that is none", b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", [[400]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "allowed"), [row[1:] for row in SMUGGLING], ids=[row[0] for row in SMUGGLING]
)
async def test_no_request_hides_behind_another(raw, allowed):
    """What two readers could understand differently is refused, and nothing after it is answered."""
    async with served() as here:
        hidden = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await here.say(raw + hidden)
        assert statuses(answer) in allowed
        assert statuses(await here.say(OK + b"\r\n")) == [200]  # and the others go on


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


#: (label, the body, what its problem says)
BOMBS = [
    ("33 levels", nested(33), "deeper than 32"),
    ("a million levels", b"[" * 1_000_000, "not JSON|too deep"),
    ("33 levels of arrays", b"[" * 33 + b"]" * 33, "deeper than 32"),
    ("100,000 names", b"{%s}" % b",".join(b'"k%d":1' % n for n in range(100_000)), "more than 1000 names"),
    ("a name of 500 KB", b'{"%s":1}' % (b"a" * 500_000), "longer than 256"),
    ("a number of 5,000 digits", b'{"ttl":1%s}' % (b"0" * 5000), "not JSON"),
    ("a number beyond every float", b'{"ttl":1e999999}', "not JSON|is not a known field|number"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "says"), [row[1:] for row in BOMBS], ids=[row[0] for row in BOMBS])
async def test_json_that_is_made_to_cost_is_refused(raw, says):
    """Before anybody walks through it, and in a few words."""
    async with served() as here:
        answer = await here.say(POST + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
        assert statuses(answer)[0] in (400, 422)
        assert re.search(says.encode(), answer), answer
        assert len(answer) < 4000


async def test_what_is_within_the_limits_is_read():
    """32 levels are refused for their content alone."""
    async with served() as here:
        raw = nested(32)
        answer = await here.say(POST + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
        assert statuses(answer) == [422]
        answer = await here.say(OK + b"".join(b"X-%d: a\r\n" % n for n in range(99)) + b"\r\n")
        assert statuses(answer) == [200]


async def test_a_body_that_drips_is_cut_off():
    """http.body_timeout is for all of it: 408, and the connection is closed."""
    async with served(body_timeout=0.5, keep_alive_timeout=5) as here, await here.connect() as stream:
        await stream.send_all(POST + b"Content-Length: 1000\r\n\r\n")
        answer = b""
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                async def drip() -> None:
                    while True:
                        try:
                            await stream.send_all(b" ")
                        except trio.BrokenResourceError:
                            return
                        await trio.sleep(0.05)

                nursery.start_soon(drip)
                try:
                    while part := await stream.receive_some():
                        answer += part
                except trio.BrokenResourceError:
                    pass  # closed on what we still sent
                nursery.cancel_scope.cancel()
        assert statuses(answer) == [408]


async def test_a_path_of_odd_bytes_is_not_found():
    """Percent-encoded or not, it is no 500."""
    async with served() as here:
        for path in (
            b"/%00",
            b"/%ff%fe",
            b"/api/whatsapp/sessions/%2e%2e%2f",
            b"/api/whatsapp/sessions/%F0%9F%98%80",
            b"//x",
            b"//api/whatsapp/sessions",
            b"*",
            b"http://x/y",
        ):
            answer = await here.say(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n")
            assert statuses(answer)[0] in (400, 404)


async def test_http_2_by_guess_or_by_upgrade_is_no_way_around():
    """The same rules, or no connection: nothing is served that HTTP/1.1 would refuse."""
    async with served() as here:
        await here.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64)
        await here.say(
            OK
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        )
        await here.say(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert statuses(await here.say(OK + b"\r\n")) == [200]


EARLY = [
    ("no token", b"POST /api/whatsapp/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n", b"{}", 401),
    ("no such path", b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n", b"{}", 404),
    ("no such method", b"PUT /api/whatsapp/send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", 405),
]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "body", "status"), [row[1:] for row in EARLY], ids=[row[0] for row in EARLY]
)
async def test_an_answer_before_the_body_does_not_cost_the_connection(head, body, status):
    """The rest of the body is heard out, and the next request on the connection is answered."""
    async with served() as here:
        answer = await here.say(head, body, OK + b"\r\n", pause=0.1)
        assert statuses(answer) == [status, 200]


async def test_a_body_that_never_ends_is_not_heard_out_for_ever():
    """The answer comes at once; a moment later the connection is closed."""
    async with served() as here, await here.connect() as stream:
        await stream.send_all(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        with trio.fail_after(5):
            answer = b""
            while part := await stream.receive_some():
                answer += part
        assert statuses(answer) == [404]


async def test_slow_headers_are_cut_off():
    """http.keep_alive_timeout is for all of them together, a byte a moment or none."""
    async with served(keep_alive_timeout=0.5) as here, await here.connect() as stream:

        async def drip() -> None:
            for byte in OK * 100:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)

        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await drip()


async def test_a_chunked_body_over_the_limit_is_refused():
    """413 without a declared length, too."""
    async with served(max_body=65536) as here:
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        answer = await here.say(POST + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 8)
        assert statuses(answer)[:1] == [413]


async def test_beyond_the_cap_a_client_waits_and_is_then_served():
    """http.max_connections: the next one stands in the backlog."""
    async with served(max_connections=2, keep_alive_timeout=30) as here:
        first, second, third = [await here.connect() for _ in range(3)]
        for stream in (first, second, third):
            await stream.send_all(OK + b"\r\n")
        assert statuses(await here.rest(first)) == statuses(await here.rest(second)) == [200]
        assert await here.rest(third) == b""
        await first.aclose()
        assert statuses(await here.rest(third)) == [200]
        await second.aclose()
        await third.aclose()


async def test_a_client_that_stops_reading_is_cut_and_does_not_hold_up_the_end(monkeypatch):
    """hypercorn shields its writes: without a deadline of ours, one such client would keep the daemon alive."""
    monkeypatch.setattr(server_module, "WRITE_TIMEOUT", 0.5)
    async with served() as here, await here.connect() as stream:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(200):
            with trio.move_on_after(0.2) as scope:
                await stream.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            if scope.cancelled_caught:
                break
        await trio.sleep(1)
        assert statuses(await here.say(OK + b"\r\n")) == [200]
        here.stop.set()


async def test_stopping_ends_streams_and_idle_connections_and_finishes_requests():
    """Nothing new is accepted; what is in hand is answered; a stream is told that it is over."""
    async with served() as here:
        await here.ask.session()
        listening = await here.connect()
        await listening.send_all(b"GET /api/whatsapp/events HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n")
        idle = await here.connect()
        await idle.send_all(OK + b"\r\n")
        assert statuses(await here.rest(idle, 0.2)) == [200]
        here.ask.house.world.latency = 0.5
        busy = await here.connect()
        body = b'{"sessionId":"shop","to":"+5215512345678","text":"x"}'
        await busy.send_all(POST + b"Prefer: wait=5\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await trio.sleep(0.1)
        here.stop.set()
        with trio.fail_after(5):
            heard = b""
            while part := await listening.receive_some():
                heard += part
            assert heard.endswith(b"0\r\n\r\n")
            assert await idle.receive_some() == b""
            assert statuses(await here.rest(busy, 2)) == [200]
        with pytest.raises(OSError, match=r"connect"):
            await here.connect()
        for stream in (listening, idle, busy):
            await stream.aclose()


async def test_an_event_stream_outlives_silence():
    """No timeout of reading ends it: a listener says nothing."""
    async with (
        served(keep_alive_timeout=0.2, body_timeout=0.2, response_timeout=0.3, max_wait=0.1) as here,
        await here.connect() as stream,
    ):
        await stream.send_all(b"GET /api/whatsapp/events HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n")
        await here.rest(stream, 1.0)
        await here.ask.session()
        assert b"session.state" in await here.rest(stream)
