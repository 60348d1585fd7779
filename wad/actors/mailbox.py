"""A mailbox that outlives its actor: whoever asks gets an answer, or learns that there will be none.

State lives in the store, never in here: what a mailbox carries are commands whose repetition is harmless.
It is made of as little as can be, for every idle session has one; a memory channel would cost 2 KB.
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

    __slots__ = ("_envelopes", "_idle", "_open", "_room")

    def __init__(self) -> None:
        self._envelopes: list[Envelope] = []
        self._open = True
        self._idle: trio.lowlevel.Task | None = None  # the actor's, while it waits for an envelope
        self._room: trio.Event | None = None  # callers at a full mailbox wait for it

    @property
    def waiting(self) -> int:
        """Requests that no actor has begun to answer."""
        return len(self._envelopes)

    async def ask(self, request: Request[R]) -> R:
        """Deliver *request* and wait for its answer. A deadline is the caller's to set.

        If the caller is cancelled while it waits, its request may still run.
        """
        envelope = Envelope(request)
        while self._open and len(self._envelopes) >= CAPACITY:  # a full mailbox pushes back here
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()
        if not self._open:
            raise ActorDown("the session's actor is down")
        self._put(envelope)
        await envelope.settled.wait()
        if envelope.error is not None:
            raise envelope.error
        return cast("R", envelope.answer)

    async def serve(self, handle: Callable[[Envelope], Awaitable[None]]) -> None:
        """Hand envelopes to *handle*, one at a time, until it raises. It sees to it that they settle."""
        while True:
            while not self._envelopes:
                await self._arrival()
            envelope = self._envelopes.pop(0)
            self._make_room()
            try:
                await handle(envelope)
            except BaseException:
                envelope.settled.set()
                raise
            del envelope  # or the last one would be kept for as long as nothing else comes

    def _put(self, envelope: Envelope) -> None:
        self._envelopes.append(envelope)
        if self._idle is not None:
            trio.lowlevel.reschedule(self._idle)
            self._idle = None

    async def _arrival(self) -> None:
        """Sleep until `ask` has put something in. A trio.Event would cost each idle session half a kilobyte."""
        self._idle = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        """A cancelled actor just goes: nothing was taken out yet. From now on nobody else may wake it."""
        self._idle = None
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        """Answer `ActorDown` to whatever waits and to whatever comes, until `reopen`."""
        self._open = False
        for envelope in self._envelopes:
            envelope.settled.set()
        self._envelopes.clear()
        self._make_room()

    def reopen(self) -> None:
        self._open = True

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None
