"""What must be true of every outbound message, whatever happened: by what is known to have happened.

`Promises` hears of each fact, in the order of the facts, and holds the rows that wad shows against them. It never guesses
what wad will do next; it says what wad may not do, and what it must have done once all is at rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from wad.models import (
    RANK,
    ChatId,
    Idempotency,
    MessageId,
    MessageState,
    OutboundMessage,
    Priority,
    StatusUpdate,
)

S: Final = MessageState
_BEYOND: Final = (S.SENT, S.DELIVERED, S.READ)
#: Which state may follow which. A message is told more than once that it waits, or that nobody knows.
NEXT: Final[dict[MessageState, Collection[MessageState]]] = {
    S.SCHEDULED: (S.SCHEDULED, S.SENDING, S.CANCELLED, S.EXPIRED, S.FAILED),
    S.QUEUED: (S.QUEUED, S.SENDING, S.CANCELLED, S.EXPIRED, S.FAILED, S.UNKNOWN, *_BEYOND),
    S.SENDING: (S.QUEUED, S.ACCEPTED, S.UNKNOWN, S.EXPIRED, S.FAILED, *_BEYOND),
    S.UNKNOWN: (S.UNKNOWN, S.QUEUED, S.ACCEPTED, S.FAILED, *_BEYOND),
    S.ACCEPTED: (*_BEYOND, S.FAILED),
    S.SENT: (S.DELIVERED, S.READ, S.FAILED),
    S.DELIVERED: (S.READ,),
    S.READ: (),
    S.FAILED: (S.QUEUED,),
    S.EXPIRED: (S.QUEUED,),
    S.CANCELLED: (),
}
WAITING: Final = (S.SCHEDULED, S.QUEUED)
WENT_OUT: Final = (S.ACCEPTED, *_BEYOND)
#: A retry that would come after the end is not made: the last pause there is, with its jitter.
_LAST_PAUSE: Final = timedelta(seconds=12)


@dataclass
class Known:
    """What is known of one message."""

    label: str
    told: bool = True  # somebody has its 202
    taken: list[str] = field(default_factory=list)  # the provider's ids, as it took it
    may_be_sent: int = 1
    rejected: bool = False
    cancelled: bool = False
    discarded: bool = False
    accepted: bool = False  # wad lived to see the provider's answer
    told_of: list[StatusUpdate] = field(default_factory=list)  # statuses that wad may have heard
    heard: list[StatusUpdate] = field(default_factory=list)  # ...and those that it answered 200
    history: int = 0  # steps that were seen already


class Promises:
    """Of one session. *resends*: its provider takes a message once however often it comes."""

    def __init__(self, *, resends: bool, at_least_once: bool, max_attempts: int) -> None:
        self._resends = resends
        self._at_least_once = at_least_once
        self._max_attempts = max_attempts
        self.known: dict[MessageId, Known] = {}
        self.refused: set[str] = set()  # labels: a 503, after which nothing may go out
        self.unheard: set[str] = set()  # labels: nobody knows whether wad took it
        self.by_key: dict[str, MessageId] = {}
        self._first: dict[tuple[ChatId, Priority], int] = defaultdict(int)

    # --- facts --------------------------------------------------------------------------------------

    def acknowledged(self, message: OutboundMessage, label: str, key: Idempotency | None) -> None:
        """A 202. With a key that was used before it must be the same message."""
        if key is not None:
            assert self.by_key.setdefault(key.key, message.message_id) == message.message_id
        known = self.known.setdefault(message.message_id, Known(label))
        assert known.label == label
        known.told = True
        self.refused.discard(label)
        self.unheard.discard(label)

    def died(self) -> None:
        """What was refused with an outage may be on disk, and no living wad remembers that it is not to go out."""
        self.unheard |= self.refused
        self.refused.clear()

    def begins(self, message: OutboundMessage, in_air: Sequence[OutboundMessage]) -> None:
        """*message* is on the wire, beside the others that are *in_air*."""
        known = self._of(message)
        assert not known.cancelled, f"{known.label} was cancelled, and is sent"
        assert [each.chat for each in in_air].count(message.chat) == 1, "two of one chat are in the air"
        if message.attempts == 1 and message.send_at is None and known.may_be_sent == 1:
            lane = (message.chat, message.priority)
            assert message.seq >= self._first[lane], f"{known.label} was overtaken"
            self._first[lane] = message.seq

    def took(self, message: OutboundMessage, provider_id: str) -> None:
        self._of(message).taken.append(provider_id)

    def retried(self, message_id: MessageId) -> None:
        """A person had a dead letter tried again, and takes the risk."""
        known = self.known[message_id]
        known.may_be_sent += 1
        known.accepted = False
        known.heard.clear()

    def _of(self, message: OutboundMessage) -> Known:
        label = str(message.reference)
        known = self.known.get(message.message_id)
        if known is None:
            assert label in self.unheard, f"{label} was never accepted"
            known = self.known[message.message_id] = Known(label, told=False)
            if message.idempotency is not None:
                self.by_key.setdefault(message.idempotency.key, message.message_id)
        return known

    # --- what must be true --------------------------------------------------------------------------

    def check(
        self,
        rows: Sequence[OutboundMessage],
        in_air: Collection[MessageId],
        dead: Collection[MessageId],
        at: datetime,
    ) -> None:
        """Every promise, once all is at rest. *dead* is what is listed as dead letters."""
        by_id = {row.message_id: row for row in rows}
        assert len(by_id) == len(rows)
        lost = [known.label for each, known in self.known.items() if known.told and each not in by_id]
        assert not lost, f"lost: {lost}"
        keys = Counter(row.idempotency.key for row in rows if row.idempotency is not None)
        assert all(times == 1 for times in keys.values()), "one key, two messages"
        broken = [
            f"{row.reference} {fault}\n{_told(row)}"
            for row in rows
            for fault in self._faults(row, in_air, dead, at)
        ]
        assert not broken, "\n".join(broken)

    def _faults(
        self,
        row: OutboundMessage,
        in_air: Collection[MessageId],
        dead: Collection[MessageId],
        at: datetime,
    ) -> Iterator[str]:
        known = self._of(row)
        state = row.state
        steps = [step.state for step in row.history]
        for before, after in pairwise(steps):
            if after not in NEXT[before]:
                yield f"went from {before} to {after}"
        if steps[-1] is not state or len(steps) < min(known.history, 50):
            yield "its history is not its own"
        known.history = len(steps)

        if state is S.SENDING and row.message_id not in in_air:
            yield "is sending, and not in the air"
        if row.message_id in in_air and state not in (S.SENDING, S.FAILED, *_BEYOND):
            yield f"is {state}, and in the air"
        sends = len(set(known.taken)) if self._resends else len(known.taken)
        if sends > known.may_be_sent and not (self._at_least_once and row.maybe_duplicate):
            yield f"was sent {sends} times"
        if state in WENT_OUT and not known.taken:
            yield f"is {state}, and was never sent"
        if known.taken and known.may_be_sent == 1 and state in (S.CANCELLED, S.EXPIRED):
            yield f"is {state}, and was sent"
        if known.cancelled and state is not S.CANCELLED:
            yield f"was cancelled, and is {state}"
        yield from self._statuses(row, known)
        yield from self._endings(row, known, row.message_id in dead, at)

    def _statuses(self, row: OutboundMessage, known: Known) -> Iterator[str]:
        """Forward only, by what was told; and by all that was answered 200 and is of this attempt."""
        told = {status.state for status in known.told_of}
        if row.state in _BEYOND and row.state not in told:
            yield f"is {row.state}, which nobody told"
        if row.state is S.FAILED and S.FAILED in told:
            return
        if known.accepted and RANK.get(row.state, 0) < RANK[S.ACCEPTED]:
            yield f"was accepted, and is {row.state}"
        for status in known.heard:
            ours = status.provider_message_id == row.provider_message_id or (
                status.message_id is not None and status.provider_message_id not in row.former_ids
            )
            if ours and status.state is not S.FAILED and RANK.get(row.state, 99) < RANK[status.state]:
                yield f"is {row.state}, and {status.state} was told"

    def _endings(self, row: OutboundMessage, known: Known, is_listed: bool, at: datetime) -> Iterator[str]:
        if row.dead != is_listed:
            yield f"is {'' if row.dead else 'not '}dead, and {'' if is_listed else 'not '}listed"
        if row.dead and row.state not in (S.FAILED, S.EXPIRED, S.UNKNOWN):
            yield f"is a dead letter, and {row.state}"
        if row.state in (S.FAILED, S.EXPIRED) and not row.dead and not known.discarded:
            yield f"is {row.state}, and no dead letter"
        if row.state is S.EXPIRED and at < row.expires_at - _LAST_PAUSE:
            yield "expired before its time"
        if row.state is S.UNKNOWN and S.SENDING not in [step.state for step in row.history]:
            yield "is unknown, and never left"
        if row.state is S.FAILED:
            refused = known.rejected or known.discarded or S.FAILED in {each.state for each in known.told_of}
            if not refused and row.attempts < self._max_attempts:
                yield f"failed, and nobody refused it: {row.error}"


def _told(row: OutboundMessage) -> str:
    """Its history, for whoever looks for the fault."""
    return "\n".join(f"    {step.at:%H:%M:%S} {step.state} {step.note or ''}" for step in row.history)
