"""Things to do later, in one heap and one task: a load test has tens of thousands of statuses under way."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import trio


@dataclass(slots=True, order=True)
class Timer:
    due: float
    number: int  # of two that are due together, the older goes first
    act: Callable[[], object] | None = field(compare=False)  # none: done or cancelled


class Timers:
    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._cancelled = 0
        self._numbers = itertools.count()
        self._wake = trio.Event()

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def later(self, seconds: float, act: Callable[[], object]) -> Timer:
        timer = Timer(trio.current_time() + seconds, next(self._numbers), act)
        heapq.heappush(self._heap, timer)
        if self._heap[0] is timer:
            self._wake.set()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget about *timer*; one that is done or cancelled already is let be."""
        if timer.act is not None:
            timer.act = None
            self._cancelled += 1
            self._wake.set()

    async def run(self, idle: Callable[[], None]) -> None:
        """Act when it is time. *idle* is called whenever nothing is due for now."""
        while True:
            now = trio.current_time()
            while self._heap and (self._heap[0].due <= now or self._heap[0].act is None):
                timer = heapq.heappop(self._heap)
                act, timer.act = timer.act, None
                if act is None:
                    self._cancelled -= 1
                else:
                    act()
            idle()
            self._wake = trio.Event()
            with trio.move_on_at(self._heap[0].due if self._heap else float("inf")):
                await self._wake.wait()
