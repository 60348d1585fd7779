"""Trio in a thread of its own, whose clock stands still until it is told to move.

Hypothesis decides from the outside, one step at a time; between two steps everything inside has come to rest. So that
store threads may be real and time still not be, the clock is moved by hand, and only while no thread works.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import trio
from trio.testing import MockClock, active_thread_count, wait_all_tasks_blocked, wait_all_threads_completed

T = TypeVar("T")


class Portal:
    """`portal(function, ...)` runs in there and comes back with the result, once everything is at rest."""

    def __enter__(self) -> Self:
        entered: SimpleQueue[trio.lowlevel.TrioToken] = SimpleQueue()
        self._clock = MockClock()
        self._thread = threading.Thread(
            target=trio.run, args=(self._main, entered), kwargs={"clock": self._clock}
        )
        self._thread.start()
        self._token = entered.get()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()

    async def _main(self, entered: SimpleQueue[trio.lowlevel.TrioToken]) -> None:
        self._over = trio.Event()
        async with trio.open_nursery() as self.nursery:
            entered.put(trio.lowlevel.current_trio_token())
            await self._over.wait()
            self.nursery.cancel_scope.cancel()

    def __call__(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        async def worked() -> T:
            result = await work(*args)
            await at_rest()
            return result

        return trio.from_thread.run(worked, trio_token=self._token)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """What *context* gives; it is left when the portal is."""

        async def hold(task_status: trio.TaskStatus[T]) -> None:
            async with context as entered:
                task_status.started(entered)
                await trio.sleep_forever()

        return self(self.nursery.start, hold)

    def time_passes(self, seconds: float) -> None:
        """All at once, as for a machine that slept: what was due in between is late."""

        async def jump() -> None:
            self._clock.jump(seconds)

        self(jump)


async def at_rest() -> None:
    """Return once every task waits for something that only a step can bring."""
    while True:
        await wait_all_tasks_blocked()
        if not active_thread_count():
            return
        await wait_all_threads_completed()
