"""Keep-alive connections to upstream hosts: one pool a host, shared by all its sessions.

A connection is taken and given back in constant time. httpcore brings a pool too, but that one looks at every
connection it has for every request: measured on two cores against a loopback server, a request costs 0.3 ms of CPU
with one connection open and 0.9 ms with a hundred. Here it costs 0.2 ms with either. The connections themselves, and
so everything that touches a socket, TLS or HTTP, are httpcore's.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Never, Self

import httpcore
import httpx
import trio

from wad.errors import InvalidRequest

#: Seconds that a connection may lie idle. Servers close theirs after some seconds too, and a request that meets
#: that close on its way is one whose outcome nobody knows.
KEEP_ALIVE: Final = 4.0

#: Connections a host. At 0.25 s a send, Meta on a good day, 256 carry 1,000 sends a second: what one core can make.
POOL_SIZE: Final = 256


class Pool(httpx.AsyncBaseTransport):
    """At most *size* connections to *origin*. Whoever finds them all taken waits, first come first served.

    The newest idle connection goes out first, so that a quiet pool shrinks to what it needs.
    """

    def __init__(
        self,
        origin: httpcore.Origin,
        *,
        size: int,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._origin = origin
        self._size = size
        self._ssl_context = ssl_context
        self._network = network
        self._slots = trio.Semaphore(size)
        self._idle: deque[tuple[float, httpcore.AsyncHTTPConnection]] = deque()  # since when; the newest last

    def __repr__(self) -> str:
        return f"<Pool {self._origin} {self.busy} busy, {len(self._idle)} idle, at most {self._size}>"

    @property
    def busy(self) -> int:
        return self._size - self._slots.value

    @property
    def idle(self) -> int:
        return len(self._idle)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*; its extension `timeout` bounds each part. The answer holds a connection until closed.

        Raises httpx.PoolTimeout, and whatever httpcore raises.
        """
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(request.extensions["timeout"]["pool"]) as waiting:
                await self._slots.acquire()
            if waiting.cancelled_caught:
                raise httpx.PoolTimeout(f"all {self._size} connections are in use") from None
        connection: httpcore.AsyncHTTPConnection | None = None
        try:
            connection = await self._take()
            answer = await connection.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=self._origin.scheme,
                        host=self._origin.host,
                        port=self._origin.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException:
            await self._give_back(connection)
            raise
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_AnswerStream(self, connection, answer)
        )

    async def _take(self) -> httpcore.AsyncHTTPConnection:
        while self._idle:
            since, connection = self._idle.pop()
            if since > trio.current_time() - KEEP_ALIVE and not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            self._origin, ssl_context=self._ssl_context, network_backend=self._network
        )

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection | None) -> None:
        try:
            if connection is None:
                pass
            elif connection.is_available():
                self._idle.append((trio.current_time(), connection))
            else:
                with trio.CancelScope(shield=True):  # closing a socket does not block
                    await connection.aclose()
        finally:
            self._slots.release()

    async def close_idle(self, *, for_seconds: float = 0.0) -> None:
        """Close the connections that have been idle for so long."""
        while self._idle and self._idle[0][0] <= trio.current_time() - for_seconds:
            _, connection = self._idle.popleft()
            await connection.aclose()

    async def aclose(self) -> None:
        await self.close_idle()


class _AnswerStream(httpx.AsyncByteStream):
    """An answer's body; closing it gives the connection back, once."""

    __slots__ = ("_answer", "_chunks", "_connection", "_pool")

    def __init__(
        self, pool: Pool, connection: httpcore.AsyncHTTPConnection, answer: httpcore.Response
    ) -> None:
        self._pool = pool
        self._connection: httpcore.AsyncHTTPConnection | None = connection
        self._answer = answer
        self._chunks: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert not isinstance(self._answer.stream, list)
        self._chunks = aiter(self._answer.stream)  # type: ignore[arg-type]
        return self._chunks

    async def aclose(self) -> None:
        if (connection := self._connection) is None:
            return
        self._connection = None
        try:
            await self._abandon()
            await self._answer.aclose()
        finally:
            await self._pool._give_back(connection)  # noqa: SLF001  the two are one thing

    async def _abandon(self) -> None:
        """End httpcore's nested generators where the body was not read to its end.

        Closing the outermost would leave the inner ones to the garbage collector, which trio complains about. A
        cancellation at the next read from the network passes through all of them.
        """
        if getattr(self._chunks, "ag_frame", None) is None:  # not begun, or at its end
            return
        assert self._chunks is not None
        with suppress(httpcore.ProtocolError, httpcore.NetworkError), trio.CancelScope() as scope:
            scope.cancel()
            async for _ in self._chunks:
                pass


class Origin(NamedTuple):
    """One upstream host. A *guarded* one was named over the API and not by the operator."""

    scheme: str
    host: str
    port: int
    guarded: bool = False

    @classmethod
    def of(cls, url: httpx.URL, *, guarded: bool = False) -> Self:
        host = url.raw_host.decode("ascii")  # as DNS and TLS know it, international names included
        return cls(url.scheme, host, url.port or (443 if url.scheme == "https" else 80), guarded)


class _NoNetwork(httpcore.AsyncNetworkBackend):
    """Nothing may be reached, where nobody says what may."""

    async def connect_tcp(self, *_args: object, **_options: object) -> Never:
        raise InvalidRequest("base URLs given over the API are not allowed", code="url_not_allowed")


class Pools:
    """The pool of every upstream host, shared by all sessions: opened at first use, dropped when empty."""

    def __init__(
        self,
        *,
        size: int = POOL_SIZE,
        transport: Callable[[Origin], httpx.AsyncBaseTransport] | None = None,
        guard: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """*transport* stands in for the network, in tests. Guarded origins are reached through *guard* or not at all."""
        self._size = size
        self._transport = transport
        self._guard = guard or _NoNetwork()
        self._pools: dict[Origin, httpx.AsyncBaseTransport] = {}
        self._ssl_context: ssl.SSLContext | None = None
        self._open = False
        self._sweeper: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<Pools {list(self._pools.values())}>"

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        with trio.CancelScope(shield=True):  # closing a socket does not block
            while self._pools:
                await self._pools.popitem()[1].aclose()

    def to(self, origin: Origin) -> httpx.AsyncBaseTransport:
        """The pool of *origin*. Asked for anew at each request, so that an empty one can be dropped."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = self._make(origin)
        return pool

    def _make(self, origin: Origin) -> httpx.AsyncBaseTransport:
        if not self._open:
            raise RuntimeError("pools are used inside their `async with`")
        if self._transport is not None:
            return self._transport(origin)
        if origin.scheme == "https" and self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context()  # 20 ms and half a megabyte: one for all
        if self._sweeper is None:
            self._sweeper = trio.CancelScope()
            # Not a nursery's: one of ours would wrap whatever passes through the block in an ExceptionGroup.
            trio.lowlevel.spawn_system_task(self._keep_sweeping, self._sweeper)
        return Pool(
            httpcore.Origin(origin.scheme.encode(), origin.host.encode(), origin.port),
            size=self._size,
            ssl_context=self._ssl_context,
            network=self._guard if origin.guarded else None,
        )

    async def sweep(self) -> None:
        """Close what has been idle for long, and drop the pools that hold nothing."""
        for origin, pool in list(self._pools.items()):
            if isinstance(pool, Pool):
                await pool.close_idle(for_seconds=KEEP_ALIVE)
                if not pool.busy and not pool.idle:
                    self._pools.pop(origin, None)

    async def _keep_sweeping(self, scope: trio.CancelScope) -> None:
        """One timer for all pools: a host that is not talked to any more has no other."""
        with scope:
            while True:
                await trio.sleep(KEEP_ALIVE)
                await self.sweep()
