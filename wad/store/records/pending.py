"""What scheduling needs of an open row, of either direction, without its body."""

from __future__ import annotations

from typing import Final

from wad.models import ChatId, MessageId, Pending, Priority
from wad.store.base import Row
from wad.store.records.values import at, maybe_at

#: All that a `Pending` needs, of either table.
PENDING_COLUMNS: Final = ("messageId", "chat", "seq", "createdAt", "state", "dueAt")


def pending_of(row: Row) -> Pending:
    return Pending(
        message_id=MessageId(row["messageId"]),
        chat=ChatId(row.get("lane") or row["chat"]),
        seq=row["seq"],
        created_at=at(row["createdAt"]),
        priority=Priority(row.get("priority", Priority.NORMAL)),
        state=row["state"],
        due_at=maybe_at(row["dueAt"]),
    )
