"""Just enough HTTP/1.1 over one epoll loop that whoever asks and whoever is asked cost next to nothing.

Both ends live in one process and on one clock: on two cores the daemon has one, and all the rest of the world the
other. A request through here costs some 20 µs where a client library takes 300. Bodies have a Content-Length;
anything else is an error, and a loud one.
"""

from __future__ import annotations

import heapq
import re
import selectors
import socket
import time
from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)

clock = time.perf_counter

#: What a server answers: (start line, body) -> (status line's code, body).
Answer = Callable[[bytes, bytes], tuple[bytes, bytes]]


class Loop:
    """Sockets that are ready, and timers that are due."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Turn until *until()*; raises TimeoutError after *seconds*."""
        end = clock() + seconds
        while not until():
            now = clock()
            if now >= end:
                raise TimeoutError(f"not done within {seconds:g} s")
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            wait = min(end, self._timers[0][0]) - now if self._timers else min(0.1, end - now)
            for key, events in self._selector.select(max(0.0, min(wait, 0.1))):
                key.data(events)

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, call))

    def watch(self, sock: socket.socket, events: int, call: Callable[[int], None]) -> None:
        self._selector.register(sock, events, call)

    def rewatch(self, sock: socket.socket, events: int, call: Callable[[int], None]) -> None:
        self._selector.modify(sock, events, call)

    def forget(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)


class Wire:
    """One connection: whole messages in, bytes out. `heard(start line, headers, body)` and `lost()` are called."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        heard: Callable[[bytes, bytes, bytes], None],
        lost: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop, self._sock = loop, sock
        self._heard, self._lost = heard, lost
        self._in, self._out = bytearray(), bytearray()
        self.open = True
        loop.watch(sock, selectors.EVENT_READ, self._ready)

    def send(self, data: bytes) -> None:
        if not self._out:
            data = data[self._push(data) :]
            if data and self.open:
                self._loop.rewatch(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)
        self._out += data

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.forget(self._sock)
            self._sock.close()

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._end()
            return len(data)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE and self.open:
            del self._out[: self._push(self._out)]
            if not self._out and self.open:
                self._loop.rewatch(self._sock, selectors.EVENT_READ, self._ready)
        if events & selectors.EVENT_READ and self.open:
            try:
                data = self._sock.recv(2**18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._end()
                return
            self._in += data
            while self.open and self._take():
                pass

    def _take(self) -> bool:
        end = self._in.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._in[:end])
        found = _LENGTH.search(head)
        if found is None and _CHUNKED.search(head):
            raise RuntimeError(f"a body without Content-Length: {head!r}")
        length = int(found[1]) if found else 0
        if len(self._in) < end + 4 + length:
            return False
        body = bytes(self._in[end + 4 : end + 4 + length])
        del self._in[: end + 4 + length]
        start, _, headers = head.partition(b"\r\n")
        self._heard(start, b"\r\n" + headers, body)
        return True

    def _end(self) -> None:
        self.close()
        self._lost()


class Server:
    """Answers whoever connects, on a port of its own."""

    def __init__(self, loop: Loop, answer: Answer) -> None:
        self._loop, self._answer = loop, answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        loop.watch(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        self._loop.forget(self._listener)
        self._listener.close()

    def _accept(self, _: int) -> None:
        while True:
            try:
                sock, _peer = self._listener.accept()
            except BlockingIOError:
                return
            _Guest(self._loop, sock, self._answer)


class _Guest:
    def __init__(self, loop: Loop, sock: socket.socket, answer: Answer) -> None:
        self._answer = answer
        self._wire = Wire(loop, sock, self._heard, lambda: None)

    def _heard(self, start: bytes, _headers: bytes, body: bytes) -> None:
        status, said = self._answer(start, body)
        self._wire.send(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(said), said)
        )


class Client:
    """A keep-alive connection that asks one thing at a time, and connects anew where the server closed."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop, self._port = loop, port
        self._wire: Wire | None = None
        self._waiting: Callable[[int, bytes], None] | None = None

    def ask(self, request: bytes, heard: Callable[[int, bytes], None]) -> None:
        """*heard(status, body)* is called once. Raises ConnectionRefusedError."""
        assert self._waiting is None, "one thing at a time"
        if self._wire is None or not self._wire.open:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._wire = Wire(self._loop, sock, self._heard, self._lost)
        self._waiting = heard
        self._wire.send(request)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()

    def _heard(self, start: bytes, headers: bytes, body: bytes) -> None:
        heard, self._waiting = self._waiting, None
        if _CLOSE.search(headers):
            self.close()
        if heard is not None:
            heard(int(start[9:12]), body)

    def _lost(self) -> None:
        if self._waiting is not None:
            raise RuntimeError("the server closed the connection instead of answering")
