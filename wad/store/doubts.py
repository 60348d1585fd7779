"""Messages that were refused with StoreUnavailable and may be in the store all the same.

Their senders were told 503 and may send again; so they must not go out by themselves. Each is remembered by the
`rev` of the insert that failed (no other row ever has it), hidden from every read, and erased with the next
writes that get through.

An insert may even arrive after its erasure, out of a socket buffer of a stalled server. So an erasure counts
only if it was made `SETTLED_AFTER` seconds after the failure; the engines give up on a write, and tell the
server so, in half that time.

What is left: a process that is killed during an outage forgets its doubts, and a message among them that did
arrive goes out after the restart; and so does one that an actor took up while its insert was still being tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wad.errors import StoreUnavailable
from wad.store.base import Delete, Row

SETTLED_AFTER: Final = 10.0  # seconds
#: More doubts than this, and new messages are refused without being tried: the list is bounded.
MAX_DOUBTS: Final = 10_000
_IDS: Final = 500  # of one Delete


class Doubts:
    """The doubtful inserts of this process. Time comes in as an argument, in seconds of any clock."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[str, float]] = {}  # rev -> (message id, failed at)
        self._due: dict[int, None] = {}  # revs to erase with the next writes
        self._again_at = 0.0  # when those erased too early are due again

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, rev: int) -> bool:
        return rev in self._rows

    def check_room(self) -> None:
        if len(self._rows) >= MAX_DOUBTS:
            raise StoreUnavailable("the store is away, and too many messages are in doubt", retry_after=5.0)

    def add(self, rows: Iterable[Row], now: float) -> None:
        """Remember inserts that failed."""
        for row in rows:
            self._rows[row["rev"]] = (row["messageId"], now)
            self._due[row["rev"]] = None

    def claim(self, now: float) -> list[int]:
        """The revs to erase now. Whoever claims them tells how it went: `erased` or `failed`."""
        if not self._rows:
            return []
        if now >= self._again_at:
            self._due.update(dict.fromkeys(self._rows))
            self._again_at = now + SETTLED_AFTER
        due, self._due = list(self._due), {}
        return [rev for rev in due if rev in self._rows]

    def erasures(self, revs: Sequence[int]) -> list[Delete]:
        """The writes that erase them. Both columns are tuples, and right as a pair because a rev is unique."""
        return [
            Delete(
                "messages",
                {"messageId": tuple(self._rows[rev][0] for rev in some), "rev": tuple(some)},
            )
            for some in (revs[at : at + _IDS] for at in range(0, len(revs), _IDS))
        ]

    def erased(self, revs: Iterable[int], issued_at: float) -> None:
        for rev in revs:
            row = self._rows.get(rev)
            if row is not None and issued_at >= row[1] + SETTLED_AFTER:
                del self._rows[rev]

    def failed(self, revs: Iterable[int]) -> None:
        self._due.update(dict.fromkeys(revs))
