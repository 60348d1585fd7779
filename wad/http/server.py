"""Serving the application: hypercorn's protocol under our own acceptance, which caps, times and outlives it.

Three things hypercorn leaves to us. It has no cap on connections. It shields a write from cancellation, so one
client that stops reading would hold up shutdown for ever: here every write has a deadline. And an exception in
one connection would end all of them: here it ends that one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from wad.config.model import Http
from wad.http.app import App
from wad.http.heads import StrictHead
from wad.http.sockets import address_of

log = logging.getLogger("wad.http")

#: Seconds for one write to be taken by the client's side of the connection.
WRITE_TIMEOUT: Final = 30.0
#: Seconds that a client which still sends is heard, after our last word.
LINGER: Final = 1.0
_UNREAD: Final = 2**16


async def serve_http(
    app: App,
    config: Http,
    sockets: Sequence[socket.socket],
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    on_shutdown: Callable[[], object] = lambda: None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on *sockets*, which listen and become ours to close, until *shutdown_trigger* returns.

    `started` gives the addresses, in the order of the sockets: `http://127.0.0.1:8080`, `unix:/run/wad.sock`.
    Then nothing new is accepted, *on_shutdown* is called (to end streams that never would), and requests in
    hand have `config.grace` seconds to finish.
    """
    hypercorn = _hypercorn(config)
    context = WorkerContext(None)
    connections = trio.CapacityLimiter(config.max_connections)
    listeners = [
        Listener(trio.SocketListener(trio.socket.from_stdlib_socket(s)), connections) for s in sockets
    ]
    handle = partial(_connection, app, hypercorn, context)
    async with trio.open_nursery() as open_connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, handle, listeners, handler_nursery=open_connections)
            )
            task_status.started([address_of(listener.socket) for listener in listeners])
            await shutdown_trigger()
            app.draining = True
            accepting.cancel_scope.cancel()
        on_shutdown()
        await context.terminated.set()
        open_connections.cancel_scope.deadline = trio.current_time() + config.grace


async def _connection(
    app: App, hypercorn: HypercornConfig, context: WorkerContext, stream: Connection
) -> None:
    try:
        with stream.life:
            await Server(ASGIWrapper(app), hypercorn, context, ConnectionState({}), stream)  # type: ignore[arg-type]
    except Exception:
        log.exception("connection_failed")
    finally:
        stream.release()


class Server(TCPServer):
    """hypercorn's handling of one connection, which ends when the client has gone and not before it is answered."""

    stream: Connection  # type: ignore[assignment]  # ours, made for it

    async def protocol_send(self, event: Event) -> None:
        """Pass on what goes to the client; a close waits for an answer that has begun.

        A second request behind one that is answered with `Connection: close` is an error to h11, and the reader's
        close could overtake the answer.
        """
        if isinstance(event, Closed) and self._is_answering():
            with trio.move_on_after(LINGER):
                await self.stream.closed.wait()
        await super().protocol_send(event)

    def _is_answering(self) -> bool:
        connection = getattr(self.protocol.protocol, "connection", None)
        return isinstance(connection, h11.Connection) and connection.our_state is h11.SEND_BODY

    async def _read_data(self) -> None:
        connection = getattr(self.protocol.protocol, "connection", None)
        if isinstance(connection, h11.Connection):
            connection._receive_buffer = StrictHead()  # noqa: SLF001  h11 has no other place for it
        await super()._read_data()
        # Left alone, it would hold the connection's place for keep_alive_timeout after the client closed it.
        await self.idle_task.stop()


def _hypercorn(config: Http) -> HypercornConfig:
    hypercorn = HypercornConfig()
    hypercorn.accesslog = None
    hypercorn.errorlog = logging.getLogger("hypercorn.error")
    hypercorn.include_server_header = False
    hypercorn.include_date_header = True
    hypercorn.h11_max_incomplete_size = config.max_header
    hypercorn.keep_alive_timeout = config.keep_alive_timeout
    hypercorn.graceful_timeout = config.grace
    # hypercorn's read_timeout runs while a client waits for its answer, too, and would cut event streams and long
    # waits. Slow headers are cut by keep_alive_timeout, slow bodies by body_timeout.
    hypercorn.read_timeout = None
    hypercorn.websocket_max_message_size = 2**10  # there are none
    hypercorn.h2_max_concurrent_streams = 32
    return hypercorn


class Listener(trio.abc.Listener["Connection"]):
    """Accepts while there is room: beyond the cap a client waits in the backlog."""

    def __init__(self, listener: trio.SocketListener, room: trio.CapacityLimiter) -> None:
        self._listener = listener
        self._room = room
        self.socket = listener.socket

    async def accept(self) -> Connection:
        seat = object()
        await self._room.acquire_on_behalf_of(seat)
        try:
            stream = await self._listener.accept()
        except BaseException:
            self._room.release_on_behalf_of(seat)
            raise
        return Connection(stream, partial(self._room.release_on_behalf_of, seat))

    async def aclose(self) -> None:
        await self._listener.aclose()


class Connection(trio.abc.HalfCloseableStream):
    """One accepted connection. Its writes end in time; once it is closed, all that served it ends."""

    def __init__(self, stream: trio.SocketStream, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._give_back: Callable[[], None] | None = give_back
        self.socket = stream.socket
        self.life = trio.CancelScope()
        self.closed = trio.Event()
        self._closing = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(WRITE_TIMEOUT):
            await self._stream.send_all(data)
            return
        self.life.cancel()
        raise trio.BrokenResourceError(f"the client took nothing for {WRITE_TIMEOUT:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Shielded: hypercorn closes a connection from a task that is being cancelled, and would leave it open."""
        with trio.CancelScope(shield=True):
            await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._closing.locked():  # `aclose` reads what is left
            raise trio.ClosedResourceError
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Hear the client out for a moment: closing on bytes that nobody read takes our last answer from it.

        hypercorn closes from several tasks, while another one reads: the first closes, and the others wait for it.
        """
        with trio.CancelScope(shield=True):
            async with self._closing:
                with trio.move_on_after(LINGER):
                    try:
                        while await self._stream.receive_some(_UNREAD):
                            pass
                    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                        pass  # gone, closed already, or read elsewhere
                self.socket.close()
        self.closed.set()
        self.life.cancel()

    def release(self) -> None:
        self.socket.close()
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
