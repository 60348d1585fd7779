"""A mailbox that outlives its actor: whoever asks gets an answer, or learns that there will be none.

State lives in the store, never in here: what a mailbox carries are commands whose repetition is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

import trio

from wad.errors import ActorDown, WadError

R = TypeVar("R")

#: Commands that may wait for one actor. More than a few means that it is stuck: push back then.
CAPACITY = 16


class Request(Generic[R]):
    """A message that wants an answer of type R: ``class Connect(Request[None])``."""


class Envelope:
    """A request and its answer. Unless somebody answers it, it says `ActorDown`."""

    __slots__ = ("answer", "error", "request", "settled")

    def __init__(self, request: Request[Any]) -> None:
        self.request = request
        self.answer: object = None
        self.error: Exception | None = ActorDown("the session's actor ended before it could answer")
        self.settled = trio.Event()

    async def settle(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run *work* for the answer. A `WadError` is an answer; anything else is a crash, and goes on."""
        try:
            self.answer = await work()
            self.error = None
        except WadError as error:
            self.error = error
        finally:
            self.settled.set()


class Mailbox:
    """An actor's address. It survives restarts, so nobody looks the actor up twice."""

    __slots__ = ("_open", "_receive", "_send")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Envelope](CAPACITY)
        self._open = True

    @property
    def waiting(self) -> int:
        """Requests that no actor has begun to answer."""
        return self._receive.statistics().current_buffer_used

    async def ask(self, request: Request[R]) -> R:
        """Deliver *request* and wait for its answer. A deadline is the caller's to set.

        If the caller is cancelled while it waits, its request may still run.
        """
        if not self._open:
            raise ActorDown("the session's actor is down")
        envelope = Envelope(request)
        await self._send.send(envelope)  # a full mailbox pushes back here
        await envelope.settled.wait()
        if envelope.error is not None:
            raise envelope.error
        return cast("R", envelope.answer)

    async def serve(self, handle: Callable[[Envelope], Awaitable[None]]) -> None:
        """Hand envelopes to *handle*, one at a time, until it raises. It sees to it that they settle."""
        async for envelope in self._receive:
            try:
                await handle(envelope)
            except BaseException:
                envelope.settled.set()
                raise

    def close(self) -> None:
        """Answer `ActorDown` to whatever waits and to whatever comes, until `reopen`."""
        self._open = False
        while True:  # what waits at a full mailbox slips in as we take out, and is answered too
            try:
                self._receive.receive_nowait().settled.set()
            except trio.WouldBlock:
                return

    def reopen(self) -> None:
        self._open = True
