"""A small HTTP/1.1 server for an ASGI application, on h11 and Trio's sockets.

Why not hypercorn: the sandbox has to break connections below HTTP, of which an application there has no
say; and it is the stub of load tests, where this takes a quarter of the time (100 µs a request, not 440).
What it lacks is what a simulation on loopback does without: TLS, HTTP/2, WebSockets, the lifespan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import h11
import trio

Message: TypeAlias = dict[str, Any]
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

#: Where a request's scope has its `trio.SocketStream`. There is none over an in-memory transport.
CONNECTION_KEY: Final = "wad.sandbox.connection"

_MAX_RECEIVE: Final = 65536
_WITHOUT_BODY: Final = frozenset({204, 304})


async def serve(
    app: ASGIApp, bind: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve *app* until cancelled; started with the URL. Port 0 takes a free one."""
    host, _, port = bind.rpartition(":")
    listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"), backlog=512)
    name, number = listeners[0].socket.getsockname()[:2]

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                client = stream.socket.getpeername()[:2]
            except OSError:  # reset before it was our turn
                return
            await _Connection(app, stream, client).run()

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, listeners)
        task_status.started(f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}")


class _Connection:
    """One client: its requests one after the other."""

    def __init__(self, app: ASGIApp, stream: trio.SocketStream, client: Any) -> None:
        self._app = app
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER)
        self._client = client
        self._server = stream.socket.getsockname()[:2]
        self._gone = False

    async def run(self) -> None:
        while not self._gone:
            request = await self._next_event()
            if not isinstance(request, h11.Request):
                return
            await self._app(self._scope(request), *_exchange(self, request))
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    def _scope(self, request: h11.Request) -> dict[str, Any]:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._client,
            "server": self._server,
            "extensions": {},
            CONNECTION_KEY: self._stream,
        }

    async def _next_event(self) -> Any:
        """h11's next event, with as much reading as it takes; none where the client is gone or makes no sense."""
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                return None
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self.write(h11.InformationalResponse(status_code=100, headers=[]))
            if not await self._read():
                return None

    async def _read(self) -> bool:
        try:
            data = await self._stream.receive_some(_MAX_RECEIVE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone = True
            return False
        self._h11.receive_data(data)
        return True

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-length", "0"), ("connection", "close")]
            await self.write(
                h11.Response(status_code=error.error_status_hint, headers=headers), h11.EndOfMessage()
            )
        self._gone = True

    async def write(self, *events: Any) -> None:
        """Send the events in one piece. To a client that is gone, nothing is sent, and nobody minds."""
        if self._gone:
            return
        data = b"".join(self._h11.send(event) or b"" for event in events)
        if data:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._gone = True

    async def body(self) -> Message:
        """The next piece of the request's body, or that the client has left."""
        match await self._next_event():
            case h11.Data() as piece:
                return {"type": "http.request", "body": bytes(piece.data), "more_body": True}
            case h11.EndOfMessage():
                return {"type": "http.request", "body": b"", "more_body": False}
            case _:
                self._gone = True
                return {"type": "http.disconnect"}

    async def departure(self) -> Message:
        """Return when the client leaves. What it sends meanwhile is the next request, and waits."""
        while not self._gone:
            if not await self._read() or self._h11.trailing_data[1]:
                self._gone = True
        return {"type": "http.disconnect"}


def _exchange(
    connection: _Connection, request: h11.Request
) -> tuple[Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]]:
    """ASGI's `receive` and `send` for one request."""
    whole = False  # the request's body is read
    bodyless = request.method == b"HEAD"
    head: list[Any] = []  # goes out with the first piece of the body, in one packet

    async def receive() -> Message:
        nonlocal whole
        if whole:
            return await connection.departure()
        message = await connection.body()
        whole = not message.get("more_body", False)
        return message

    async def send(message: Message) -> None:
        nonlocal bodyless
        if message["type"] == "http.response.start":
            bodyless = bodyless or message["status"] in _WITHOUT_BODY
            head.append(h11.Response(status_code=message["status"], headers=list(message.get("headers", ()))))
            return
        events = list(head)
        head.clear()
        if message.get("body") and not bodyless:
            events.append(h11.Data(data=message["body"]))
        if not message.get("more_body", False):
            events.append(h11.EndOfMessage())
        await connection.write(*events)

    return receive, send
