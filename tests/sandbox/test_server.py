"""The sandbox's own HTTP server, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from wad.sandbox.server import serve


class Echo:
    """Answers with the request's method, path and body; `/wait` waits until the client leaves."""

    def __init__(self) -> None:
        self.left = trio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
            return
        answer = b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body)
        headers = [] if scope["path"] == "/stream" else [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Echo, trio.SocketStream]]:
    echo = Echo()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, echo, "127.0.0.1:0")
        with trio.fail_after(10):
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
            async with stream:
                yield echo, stream
        nursery.cancel_scope.cancel()


async def everything(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


CLOSE = b"Host: x\r\nConnection: close\r\n"

#: label → (what is sent, pieces of what comes back, in order)
EXCHANGES: dict[str, tuple[bytes, list[bytes]]] = {
    "a request": (b"GET /a HTTP/1.1\r\n" + CLOSE + b"\r\n", [b"HTTP/1.1 200", b"GET /a "]),
    "an escaped path": (b"GET /a%20b HTTP/1.1\r\n" + CLOSE + b"\r\n", [b"GET /a b "]),
    "a body by length": (
        b"POST /a HTTP/1.1\r\nContent-Length: 4\r\n" + CLOSE + b"\r\nhola",
        [b"200", b"POST /a hola"],
    ),
    "a body in chunks": (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        + CLOSE
        + b"\r\n2\r\nho\r\n2\r\nla\r\n0\r\n\r\n",
        [b"200", b"POST /a hola"],
    ),
    "two at once on one connection": (
        b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\n" + CLOSE + b"\r\n",
        [b"200", b"GET /1 ", b"200", b"GET /2 "],
    ),
    "a stream of unknown length": (
        b"GET /stream HTTP/1.1\r\n" + CLOSE + b"\r\n",
        [b"Transfer-Encoding: chunked", b"GET /stream "],
    ),
    "no body for HEAD": (b"HEAD /a HTTP/1.1\r\n" + CLOSE + b"\r\n", [b"200", b"content-length: 8\r\n"]),
    "a client that asks before it sends": (
        b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" + CLOSE + b"\r\nhola",
        [b"POST /a hola"],
    ),
    "no HTTP at all": (b"hello\r\n\r\n", [b"HTTP/1.1 400"]),
    "headers without end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, [b"HTTP/1.1 431"]),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", [b"HTTP/1.1 400"]),
}


@pytest.mark.parametrize("label", EXCHANGES)
async def test_what_is_asked_is_answered(label: str) -> None:
    """Whole requests get whole answers, and what is no request is told so before the connection closes."""
    sent, pieces = EXCHANGES[label]
    async with connected() as (_, stream):
        await stream.send_all(sent)
        answer = await everything(stream)
        at = 0
        for piece in pieces:
            at = answer.find(piece, at)
            assert at >= 0, answer
            at += len(piece)
        if label == "no body for HEAD":
            assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_is_asked_to_go_on() -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    async with connected() as (_, stream):
        await stream.send_all(
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" + CLOSE + b"\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"x")
        assert (await everything(stream)).endswith(b"POST / x")


async def test_an_application_hears_that_its_client_has_left() -> None:
    """A handler that hangs ends with its client, not with the sandbox."""
    async with connected() as (echo, stream):
        await stream.send_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.aclose()
        await echo.left.wait()


async def test_a_connection_is_used_again() -> None:
    """A hundred requests on one, and it is still open."""
    async with connected() as (_, stream):
        for _ in range(100):
            await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"GET /a "):
                answer += await stream.receive_some()


async def test_who_resets_before_they_are_served_troubles_nobody() -> None:
    """A connection can be over before the server looks at it; the others go on."""
    async with connected() as (_, stream):
        host, port = stream.socket.getpeername()
        for _ in range(20):
            with socket.create_connection((host, port)) as other:  # before the server's task has a turn
                other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with await trio.open_tcp_stream(host, port) as last:  # it is taken after them
            await last.send_all(b"GET /a HTTP/1.1\r\n" + CLOSE + b"\r\n")
            assert (await everything(last)).endswith(b"GET /a ")
