"""A TCP proxy that misbehaves as told: what stands between wad and everything it talks to, when that fails.

The words are toxiproxy's. The one that it lacks is `cut`: the request passes, and its answer dies, which is what makes
a send unknown.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

_CHUNK: Final = 65536
#: Closing with this sends RST in place of FIN, and throws away what was not sent yet.
_ABORT: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How bytes travel in one direction. The default is a perfect wire."""

    latency: float = 0.0  # seconds before each piece is passed on
    jitter: float = 0.0  # up to so many seconds more
    bandwidth: float | None = None  # bytes a second
    slices: int | None = None  # bytes in a piece: each its own write
    limit: int | None = None  # bytes of a connection; then both ends are closed
    swallow: bool = False  # take everything, pass on nothing, close nothing
    slow_close: float = 0.0  # seconds between one end's close and the other's


PERFECT: Final = Line()


@dataclass(eq=False)
class Proxy:
    """Change its fields at any time: they hold for the next piece that passes, of connections that stand too."""

    server: tuple[str, int]
    address: tuple[str, int] = ("127.0.0.1", 0)
    up: Line = PERFECT  # from the client to the server
    down: Line = PERFECT  # from the server to the client
    #: How many answers still die. An answer is cut when its first byte comes: the server has done what it was asked.
    cut: int = 0
    #: Bytes of an answer that still pass before it is cut.
    cut_after: int = 0
    refuses: bool = False  # reset whoever connects
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    passed: int = 0  # connections so far
    _open: set[_Connection] = field(default_factory=set)

    def reset(self) -> None:
        """Reset every connection that stands, at both ends."""
        for each in list(self._open):
            each.abort()

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one client's bytes until either end is done."""
        if self.refuses:
            _abort(client)
            return
        try:
            server = await trio.open_tcp_stream(*self.server)
        except OSError:
            _abort(client)
            return
        self.passed += 1
        connection = _Connection(self, client, server)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)
            for end in (client, server):
                if connection.aborted:
                    _abort(end)
                end.socket.close()


class _Connection:
    def __init__(self, proxy: Proxy, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._scope = trio.CancelScope()

    @property
    def aborted(self) -> bool:
        return self._scope.cancel_called

    def abort(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, self._client, self._server, "up")
                nursery.start_soon(self._carry, self._server, self._client, "down")

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream, way: str) -> None:
        seen = 0
        try:
            async for data in source:
                if way == "down" and self._proxy.cut > 0:
                    await target.send_all(data[: self._proxy.cut_after])
                    self._proxy.cut -= 1
                    self.abort()
                    return
                line: Line = getattr(self._proxy, way)
                room = len(data) if line.limit is None else max(line.limit - seen, 0)
                seen += len(data)
                await self._pass(data[:room], target, line)
                if room < len(data):
                    self.abort()
                    return
            await trio.sleep(getattr(self._proxy, way).slow_close)
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()

    async def _pass(self, data: bytes, target: trio.SocketStream, line: Line) -> None:
        if line.swallow:
            return
        size = line.slices or _CHUNK
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            pause = line.latency + self._proxy.chance.uniform(0, line.jitter)
            if line.bandwidth is not None:
                pause += len(piece) / line.bandwidth
            await trio.sleep(pause)
            await target.send_all(piece)


def _abort(stream: trio.SocketStream) -> None:
    if stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        stream.socket.close()


@asynccontextmanager
async def fault_proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of *host*:*port*, at its `address`, until the block ends."""
    proxy = Proxy((host, port))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1", handler_nursery=nursery)
        listeners = await nursery.start(serve)
        proxy.address = listeners[0].socket.getsockname()[:2]
        yield proxy
        nursery.cancel_scope.cancel()
