"""Calls in worker threads that get their turn even while the event loop is busy.

A thread that returns from C code needs the interpreter lock, and asks for it by force only after waiting 5 ms
undisturbed. A busy Trio loop gives the lock up and takes it back at every turn (`epoll`), faster than a waiting
thread wakes, and each time the thread's patience starts anew. So while calls are out, the loop now and then
sleeps for a moment, which lends the lock to whoever waits. Beside a loop that never idles (`bench/store.py
--busy`, 64 callers, no disk) the slowest commit took 60 ms so, and 360 ms without; an idle loop loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

_FIRST: Final = 0.0002  # seconds to the first loan; a flush needs the lock some eight times
_GROWTH: Final = 1.25  # a call that takes longer waits for a disk or a network rather than for the lock
_LONGEST: Final = 0.005
_LOAN: Final = 0.00001  # some 70 µs, with the timer's slack: longer than a thread takes to wake


class Threads:
    """Runs calls in threads, and lends them the interpreter lock by a task that lives as long as they do."""

    def __init__(self) -> None:
        self._calls = 0
        self._gap = _FIRST
        self._is_lending = False

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        """The result of *work*. Cancelling ends the wait for a thread, never one that runs."""
        self._calls += 1
        self._gap = _FIRST
        if not self._is_lending:
            self._is_lending = True
            trio.lowlevel.spawn_system_task(self._lend, name="wad.store.threads")
        try:
            return await trio.to_thread.run_sync(work, limiter=limiter)
        finally:
            self._calls -= 1

    async def _lend(self) -> None:
        try:
            while self._calls:
                await trio.sleep(self._gap)
                self._gap = min(self._gap * _GROWTH, _LONGEST)
                time.sleep(_LOAN)  # noqa: ASYNC251  blocking the loop is the point
        finally:
            self._is_lending = False
