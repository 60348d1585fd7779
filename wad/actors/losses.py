"""How often a connection was lost lately, how long to wait for the next one, and when that is a loop.

Synchronous, and without a clock: it decides, the actor does.
"""

from __future__ import annotations

from typing import Final

#: Lost more than so often within so many seconds, somebody has to look: two holders fight, or a network flaps.
MOST: Final = 5
WINDOW: Final = 600.0
#: Seconds to wait before a lost connection is made again: at first, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0


class Losses:
    """The losses of one session's connection within `WINDOW`."""

    __slots__ = ("_times", "_told")

    def __init__(self) -> None:
        self._times: tuple[float, ...] = ()  # a tuple: most sessions have lost none, and share the empty one
        self._told = False

    def add(self, now: float) -> None:
        self._times = (*(at for at in self._times if at > now - WINDOW), now)
        if not self.is_loop:
            self._told = False

    @property
    def count(self) -> int:
        """How many there were, as of the last one."""
        return len(self._times)

    @property
    def is_loop(self) -> bool:
        return len(self._times) > MOST

    def is_news(self) -> bool:
        """Whether it is a loop, and nobody was told of this one yet; now somebody is."""
        news = self.is_loop and not self._told
        self._told = self.is_loop
        return news

    @property
    def pause(self) -> float:
        """Seconds before the next try, without jitter: doubled with every loss."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (max(1, len(self._times)) - 1))
