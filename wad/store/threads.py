"""Calls in worker threads that get their turn even while the event loop is busy.

A thread that returns from C code needs the interpreter lock, and asks for it by force only after waiting for
Python's switch interval, 5 ms, undisturbed. A busy Trio loop gives the lock up and takes it back at every turn
(`epoll`), faster than a waiting thread wakes, and each time the thread's patience starts anew. Beside a loop that
never idles (`bench/store.py --busy`, 64 callers) commits took seconds so. With a patience shorter than a turn of
the loop they take 10 ms, 20 ms at the 99th percentile; an idle loop does not notice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

_PATIENCE: Final = 0.0001  # seconds; a turn of a busy loop takes some 500 µs


class Threads:
    """Runs calls in threads. The first one made sets the switch interval, which is the whole process's."""

    def __init__(self) -> None:
        sys.setswitchinterval(min(sys.getswitchinterval(), _PATIENCE))

    async def run(self, work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
        """The result of *work*. Cancelling ends the wait for a thread, never one that runs."""
        return await trio.to_thread.run_sync(work, limiter=limiter)
