"""A provider that keeps a socket: a phone pairs it, and it is told of what happens.

The other side is a real one, or a double that speaks as it does; how it is told what to do is the harness's own affair.
Where it takes long to start, the harness starts it once (`Lasting`), and every row finds the session connected.
"""

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Never, TypeVar

import trio

from wad.conformance.harness import Harness, Refusal
from wad.conformance.world import Script, World

T = TypeVar("T")


async def nothing(_: World) -> None:
    """The other side has nothing to arrange: it does so by itself."""
    await trio.lowlevel.checkpoint()


class SocketHarness(Harness):
    """Scripts are given the world, and arrange what is to happen next; those of what comes in have it happen."""

    @abstractmethod
    def world(self, *, seconds: float = 5.0) -> AbstractAsyncContextManager[SocketWorld]:
        """One that is paired and connected, whatever the row before has done to it."""

    @abstractmethod
    def unpaired(self) -> AbstractAsyncContextManager[SocketWorld]:
        """A session besides, with a phone of its own that has not paired it."""

    @abstractmethod
    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> Script: ...

    @abstractmethod
    def status(self, provider_message_id: str, message_id: str) -> Script: ...

    @abstractmethod
    def closes(self) -> Mapping[str, Refusal]:
        """Labelled: why a living connection is lost, and what the link hears of it."""

    def exposes(self) -> Mapping[str, Script]:
        return {"a refusal": self.rejects(), "a send in doubt": next(iter(self.doubts().values())).script}

    def marks_read(self) -> Script:
        return nothing

    def lists_groups(self) -> Script:
        return nothing

    def stores(self, media_id: str) -> Script:
        return nothing


class SocketWorld(World):
    """A session, and the phone that it belongs to."""

    @abstractmethod
    async def scan(self, qr: str) -> None:
        """The phone scans *qr*."""

    @abstractmethod
    async def enter(self, code: str) -> None:
        """The phone is given *code*, which it asked for by its number."""

    @property
    @abstractmethod
    def phone(self) -> str:
        """The phone's number, in E.164."""

    @abstractmethod
    async def linked(self) -> bool:
        """Whether the other side knows the session's device."""


class Lasting(Generic[T]):
    """A loop of trio's in a thread of its own, which outlives a test, and what is open in it from the first row on."""

    value: T

    def __init__(self, opens: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._opens = opens
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._over: trio.Event
        self._told: queue.SimpleQueue[BaseException | None] = (
            queue.SimpleQueue()
        )  # it is open, or why it ended

    def run(self, row: Callable[[], Awaitable[None]], **how: Any) -> None:
        """Run *row* in it: for `Harness.run`."""
        if self._thread is None:
            self._start()
        try:
            trio.from_thread.run(row, trio_token=self._token)
        except trio.RunFinishedError:
            self._ended()

    def close(self) -> None:
        if self._thread is not None:
            try:
                trio.from_thread.run_sync(self._over.set, trio_token=self._token)
            except trio.RunFinishedError:
                self._ended()
            self._thread.join()
            self._thread = None

    def _ended(self) -> Never:
        """It broke while a row, or nobody, was looking. The next row starts another one."""
        self._thread = None
        raise RuntimeError("what the rows share has ended") from self._told.get()

    def _start(self) -> None:
        thread = threading.Thread(target=self._live, name="conformance", daemon=True)
        thread.start()
        if (failed := self._told.get()) is not None:
            raise failed
        self._thread = thread

    def _live(self) -> None:
        async def live() -> None:
            self._over = trio.Event()
            async with self._opens() as self.value:
                self._token = trio.lowlevel.current_trio_token()
                self._told.put(None)
                await self._over.wait()

        try:
            trio.run(live)
        except BaseException as error:  # noqa: BLE001  it is raised where somebody waits
            self._told.put(error)
