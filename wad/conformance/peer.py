"""A scripted HTTP server on loopback: it records what reached it and answers, or fails, as it is told.

Failures here are those of the wire, which no in-memory transport has: an answer that is cut, a connection that is
reset, a server that hangs. The bytes are written by hand, so that they can be wrong.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec
import trio

Script = Callable[["Exchange"], Awaitable[None]]


class Received(msgspec.Struct, frozen=True):
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Exchange:
    """One request in hand, and what can be done with it."""

    def __init__(self, request: Received, stream: trio.SocketStream) -> None:
        self.request = request
        self.stream = stream
        self.keep = True

    async def answer(self, status: int, body: bytes | dict[str, Any] | list[Any], **headers: str) -> None:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await self.stream.send_all(_head(status, len(content), headers) + content)

    async def cut(self, status: int, body: bytes, *, after: int) -> None:
        """Announce all of *body*, send *after* bytes of it, and close."""
        await self.stream.send_all(_head(status, len(body), {}) + body[:after])
        self.keep = False

    async def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.keep = False


def _head(status: int, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answering(status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return script


async def hang(_: Exchange) -> None:
    await trio.sleep_forever()


async def hang_up(exchange: Exchange) -> None:
    """Close without a byte."""
    exchange.keep = False


async def reset(exchange: Exchange) -> None:
    await exchange.reset()


async def cut(exchange: Exchange) -> None:
    await exchange.cut(200, b'{"messages":[{"id":"wamid.1"}]}', after=10)


async def cut_in_the_head(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-le")
    exchange.keep = False


async def not_http(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
    exchange.keep = False


class Peer:
    """The server. `scripts` are used up one a request; afterwards `otherwise` answers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.scripts: list[Script] = []
        self.otherwise: Script = answering(200, {"messages": [{"id": "wamid.1"}]})
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        parser = h11.Connection(h11.SERVER)
        try:
            while True:
                request = await _read(parser, stream)
                if request is None:
                    return
                self.received.append(request)
                exchange = Exchange(request, stream)
                await (self.scripts.pop(0) if self.scripts else self.otherwise)(exchange)
                if not exchange.keep:
                    return
                parser = h11.Connection(h11.SERVER)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except h11.RemoteProtocolError:  # such as the first bytes of TLS
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def _read(parser: h11.Connection, stream: trio.SocketStream) -> Received | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Received(head.method.decode(), head.target.decode(), headers, body)
        else:
            return None


@asynccontextmanager
async def serving() -> AsyncIterator[Peer]:
    peer = Peer()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, peer.serve, listeners)
        yield peer
        nursery.cancel_scope.cancel()


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
