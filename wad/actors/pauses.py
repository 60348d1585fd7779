"""Pauses that sessions share: where a provider's limit is of a whole account, or of an app, whoever sends for it waits.

One of a process. What is shared has a name, which the provider's kind knows (`ProviderKind.shared`). A pause is not
stored: after a restart the first send asks, and is told again.
"""

from __future__ import annotations

from collections.abc import Iterable


class Pauses:
    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Pauses {len(self._until)}>"

    def __bool__(self) -> bool:
        """False: nobody waits, and there is nothing to ask."""
        return bool(self._until)

    def pause(self, name: str, until: float, now: float) -> None:
        """Nobody of *name* sends before *until*. A shorter pause does not end a longer one."""
        self._until = {each: end for each, end in self._until.items() if end > now}
        self._until[name] = max(until, self._until.get(name, until))

    def wait(self, names: Iterable[str], now: float) -> float:
        """Seconds until none of *names* is paused."""
        return max(
            (self._until[name] - now for name in names if self._until.get(name, now) > now), default=0.0
        )
