"""Distinct types for distinct ids, and where new ids, sequence numbers and revisions come from."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Final, NewType, TypeAlias

SessionId = NewType("SessionId", str)
ShopId = NewType("ShopId", str)
MessageId = NewType("MessageId", str)
ChatId = NewType("ChatId", str)

#: A message's content as the API takes it: `{"type": "text", "text": {"body": "Hola"}}`, camelCase.
Content: TypeAlias = dict[str, Any]


def utc_now() -> datetime:
    """To the millisecond, which is what the store keeps: a record read back equals the one written."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


_last_ns = 0


def next_seq() -> int:
    """A number that grows with every call: nanoseconds since 1970 by the wall clock, or where that went back one more."""
    global _last_ns  # noqa: PLW0603  one counter a process is the point
    _last_ns = max(time.time_ns(), _last_ns + 1)
    return _last_ns


def seqs_after(seq: int) -> None:
    """Have every `next_seq` be above *seq*, which an earlier life may have given while its clock was ahead of ours."""
    global _last_ns  # noqa: PLW0603
    _last_ns = max(_last_ns, seq)


def new_message_id() -> MessageId:
    return MessageId(f"msg_{uuid.uuid4().hex}")


_REPLIES: Final = uuid.UUID("6f1c6c0e-6f51-4b7e-9a35-0d6a3f3c2d11")


def reply_message_id(inbound: MessageId, index: int) -> MessageId:
    """The id of an inbound message's reply number *index*: the same however often the flow answers."""
    return MessageId(f"msg_{uuid.uuid5(_REPLIES, f'{inbound}/{index}').hex}")


def new_rev() -> int:
    """A tag no other write has: a compare-and-set that lost its answer recognises its own work by it."""
    return secrets.randbits(62)
