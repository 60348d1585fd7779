"""The two rates Meta enforces on sends: of a number as a whole, and of a number to one person. Synchronous."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PAIR_GAP: Final = 6.0  # one message in 6 s to the same person
PAIR_BURST: Final = 45  # so many within 6 s, borrowed from the future


@dataclass(slots=True)
class _Pair:
    burst_from: float
    burst: int
    paid_at: float


class PairLimit:
    """A burst borrows: whoever sends 20 at once waits two minutes (20 × 6 s) before the next burst."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def take(self, number_id: str, chat: str, now: float) -> bool:
        pair = self._pairs.get((number_id, chat))
        if pair is None or now >= pair.paid_at:
            self._pairs[number_id, chat] = _Pair(now, 1, now + PAIR_GAP)
            return True
        if now - pair.burst_from <= PAIR_GAP and pair.burst < PAIR_BURST:
            pair.burst += 1
            pair.paid_at += PAIR_GAP
            return True
        return False


class Throughput:
    """A token bucket of one second's worth, for each number."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, number_id: str, rate: float, now: float) -> bool:
        level, at = self._buckets.get(number_id, (rate, now))
        level = min(rate, level + (now - at) * rate)
        enough = level >= 1
        self._buckets[number_id] = (level - 1 if enough else level, now)
        return enough
