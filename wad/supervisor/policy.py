"""When a crashed actor is started again, and when that stops being worth trying."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """More than *intensity* crashes within *period* seconds end the trying: Erlang's words and meaning.

    The delay before a restart doubles from *initial* to *most* seconds, with full jitter, and begins anew once
    an actor has lived for a *period*.
    """

    intensity: int = 5
    period: float = 60.0
    initial: float = 1.0
    most: float = 300.0
    cooldown: float = (
        300.0  # a session given up is tried again after this long, then after twice as long, ...
    )
    cooldown_most: float = 3600.0
    random: Random = field(default_factory=Random)

    def delay_before(self, restart: int) -> float:
        """Seconds before restart number *restart* (from 1) of a row of crashes."""
        return self.random.uniform(0.0, min(self.most, self.initial * 2.0 ** (restart - 1)))

    def cooldown_after(self, failures: int) -> float:
        """Seconds of rest after being given up for the *failures*-th time (from 1)."""
        return min(self.cooldown_most, self.cooldown * 2.0 ** (failures - 1))
