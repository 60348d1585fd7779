"""The connection under HTTP: serving, and answers that break on the way.

hypercorn has no say for an application below HTTP, so the connections are accepted here, handed to its
`TCPServer`, and each remembered in a context variable: whatever runs for a connection can close it.
Over an in-memory transport there is no connection; then the client's own exception is raised to it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, cast

import httpx
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from wad.sandbox.faults import Cut, Drip, RequestFault, Truncate

ASGIApp: TypeAlias = Callable[[Any, Any, Any], Any]

#: Where a handler leaves the fault that is to befall its answer.
FAULT_KEY: Final = "wad.sandbox.fault"

_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time at all

_connection: ContextVar[trio.SocketStream | None] = ContextVar("connection", default=None)


def breakable(app: ASGIApp) -> ASGIApp:
    """*app*, whose answers break where a handler has asked for it."""

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        await app(scope, receive, answer.send)
        if answer.broken is not None:
            raise answer.broken

    return call


class _Answer:
    def __init__(self, scope: dict[str, Any], send: Any) -> None:
        self._scope = scope
        self._send = send
        self._closed = False
        self.broken: httpx.TransportError | None = None  # for a client without a connection

    async def send(self, message: dict[str, Any]) -> None:
        fault: RequestFault | None = self._scope.get(FAULT_KEY)
        match fault:
            case Cut():
                await self._close(reset=fault.reset, told="Server disconnected without sending a response.")
            case Truncate() if message["type"] == "http.response.body":
                body = message.get("body", b"")
                await self._write(body[: len(body) // 2], more=True)
                await self._close(told="peer closed connection without sending complete message body")
            case Drip() if message["type"] == "http.response.body":
                body = message.get("body", b"")
                for place in range(len(body)):
                    await trio.sleep(fault.seconds / len(body))
                    await self._write(body[place : place + 1], more=True)
                await self._write(b"", more=message.get("more_body", False))
            case _:
                if not self._closed:
                    await self._send(message)

    async def _write(self, body: bytes, *, more: bool) -> None:
        if not self._closed:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _close(self, *, reset: bool = False, told: str) -> None:
        if self._closed:
            return
        self._closed = True
        stream = _connection.get()
        if stream is None:
            self.broken = httpx.ReadError("connection reset") if reset else httpx.RemoteProtocolError(told)
            return
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        await stream.aclose()


async def serve(
    app: ASGIApp, bind: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve *app* until cancelled; started with the URL. Port 0 takes a free one."""
    host, _, port = bind.rpartition(":")
    listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"), backlog=512)
    name, number = listeners[0].socket.getsockname()[:2]
    config = Config()
    config.keep_alive_timeout = 60
    config.keep_alive_max_requests = 10**9  # hypercorn closes after 1,000, and a load test would measure that
    config.include_server_header = False
    context = WorkerContext(None)
    wrapped = ASGIWrapper(cast("Any", app))

    async def handle(stream: trio.SocketStream) -> None:
        _connection.set(stream)
        await TCPServer(wrapped, config, context, ConnectionState({}), cast("Any", stream))

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, listeners)
        task_status.started(f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}")
