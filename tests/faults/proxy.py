"""A TCP proxy that misbehaves as told: what stands between wad and everything it talks to, when that fails.

The words are toxiproxy's. The one that it lacks is `cut`: the request passes, and its answer dies, which is what makes
a send unknown. How it dies is said beside it: by a reset, by an orderly close or by silence, with some of the answer,
or with something else in its place.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

_CHUNK: Final = 65536
#: Closing with this sends RST in place of FIN, and throws away what was not sent yet.
_ABORT: Final = struct.pack("ii", 1, 0)

End = Literal["reset", "close", "silence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How bytes travel in one direction. The default is a perfect wire."""

    latency: float = 0.0  # seconds before each piece is passed on
    jitter: float = 0.0  # up to so many seconds more
    bandwidth: float | None = None  # bytes a second
    slices: int | None = None  # bytes in a piece: each its own write
    limit: int | None = None  # bytes of a connection; then both ends are closed
    swallow: int | None = None  # bytes of a connection; then take everything, pass on nothing, close nothing
    garble: float = 0.0  # of the bytes: the share that arrives as another
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
    #: Bytes of an answer that still pass before it is cut; what is said in place of the others; and then?
    cut_after: int = 0
    cut_with: bytes = b""
    cut_by: End = "reset"
    refuses: bool = False  # take whoever connects, and reset them; `go_away` is to take nobody
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    passed: int = 0  # connections so far
    _open: set[_Connection] = field(default_factory=set)
    _nursery: trio.Nursery | None = None
    _listener: trio.SocketListener | None = None
    _listening: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def port(self) -> int:
        return self.address[1]

    def heal(self) -> None:
        """Be a perfect wire, for connections that stand too. Who has gone away stays away."""
        self.up = self.down = PERFECT
        self.cut = self.cut_after = 0
        self.cut_with, self.cut_by = b"", "reset"
        self.refuses = False

    def reset(self) -> None:
        """Reset every connection that stands, at both ends."""
        for each in list(self._open):
            each.end("reset")

    async def go_away(self) -> None:
        """Listen no more: whoever connects is refused. What stands is reset."""
        assert self._listener is not None
        self._listening.cancel()
        await self._listener.aclose()
        self.reset()

    async def come_back(self) -> None:
        """Listen, at the same address as before."""
        assert self._nursery is not None
        host, port = self.address
        [self._listener] = await trio.open_tcp_listeners(port, host=host)
        self.address = self._listener.socket.getsockname()[:2]
        self._listening = trio.CancelScope()
        self._nursery.start_soon(self._listen, self._listener, self._listening, self._nursery)

    async def _listen(
        self, listener: trio.SocketListener, until: trio.CancelScope, nursery: trio.Nursery
    ) -> None:
        with until:
            await trio.serve_listeners(self.serve, [listener], handler_nursery=nursery)

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
        self._silent = False
        self.aborted = False

    def end(self, how: End) -> None:
        """Nothing passes any more, and both ends see it end so."""
        if how == "silence":
            self._silent = True
        else:
            self.aborted = how == "reset"
            self._scope.cancel()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, self._client, self._server, "up")
                nursery.start_soon(self._carry, self._server, self._client, "down")

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream, way: str) -> None:
        proxy, seen = self._proxy, 0
        try:
            async for data in source:
                if self._silent:
                    continue
                if way == "down" and proxy.cut > 0:
                    proxy.cut -= 1
                    await target.send_all(data[: proxy.cut_after] + proxy.cut_with)
                    self.end(proxy.cut_by)
                    continue
                line: Line = getattr(proxy, way)
                bounds = [bound for bound in (line.limit, line.swallow) if bound is not None]
                room = max(min(bounds) - seen, 0) if bounds else len(data)
                seen += len(data)
                await self._pass(data[:room], target, line)
                if room < len(data) and line.limit is not None and seen > line.limit:
                    self.end("reset")
                    return
            await trio.sleep(getattr(proxy, way).slow_close)
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end("reset")

    async def _pass(self, data: bytes, target: trio.SocketStream, line: Line) -> None:
        chance = self._proxy.chance
        if line.garble:
            data = bytes(chance.randrange(256) if chance.random() < line.garble else byte for byte in data)
        size = line.slices or _CHUNK
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            pause = line.latency + chance.uniform(0, line.jitter)
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
    async with trio.open_nursery() as nursery:
        proxy = Proxy((host, port), _nursery=nursery)
        await proxy.come_back()
        yield proxy
        nursery.cancel_scope.cancel()
