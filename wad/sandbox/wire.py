"""Answers that break on the way: cut off, cut short, or dripping.

A handler leaves the fault in the request's scope; the answer it then gives is what breaks. Over an
in-memory transport there is no connection to close; the client is raised what it would have raised itself.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

import httpx
import trio

from wad.sandbox.faults import Cut, Drip, RequestFault, Truncate
from wad.sandbox.server import CONNECTION_KEY, ASGIApp

#: Where a handler leaves the fault that is to befall its answer.
FAULT_KEY: Final = "wad.sandbox.fault"

_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time at all


def breakable(app: ASGIApp) -> ASGIApp:
    """*app*, whose answers break where a handler has asked for it."""

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
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
        if fault is None:
            await self._send(message)
            return
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
                await self._send(message)

    async def _write(self, body: bytes, *, more: bool) -> None:
        if not self._closed:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _close(self, *, reset: bool = False, told: str) -> None:
        if self._closed:
            return
        self._closed = True
        stream: trio.SocketStream | None = self._scope.get(CONNECTION_KEY)
        if stream is None:
            self.broken = httpx.ReadError("connection reset") if reset else httpx.RemoteProtocolError(told)
            return
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        await stream.aclose()
