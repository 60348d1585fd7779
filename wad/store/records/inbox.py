"""Inbox items and their rows: the sealed event, and the sealed answer of the flow."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from wad.models import (
    AccountEvent,
    Content,
    Failure,
    FlowEvent,
    InboundMessage,
    InboxItem,
    InboxState,
    MessageId,
    SessionId,
)
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import at, flag, maybe_at, maybe_ms, ms, to_json, unreadable


class _Handling(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far handing it to the flow came, besides the columns. A person's retry moves `expires_at`."""

    expires_at: datetime
    attempts: int = 0
    error: Failure | None = None


_handling: Final = msgspec.json.Decoder(_Handling)
_event: Final = msgspec.json.Decoder(InboundMessage | AccountEvent | FlowEvent)
_answer: Final = msgspec.json.Decoder(list[Content])

MESSAGE_KIND: Final = "message"


def _answer_sealed(item: InboxItem, vault: Vault) -> bytes | None:
    if item.answer is None:
        return None
    return vault.seal(item.session_id, f"inbox.answer/{item.message_id}", to_json(item.answer))


def inbox_row(item: InboxItem, vault: Vault) -> Row:
    match item.event:
        case InboundMessage(sender=sender):
            kind, phone, user_id = MESSAGE_KIND, sender.phone, sender.user_id
        case AccountEvent():
            kind, phone, user_id = "account", None, None
        case FlowEvent():
            kind, phone, user_id = "event", None, None
    return {
        "messageId": item.message_id,
        "sessionId": item.session_id,
        "dedupeKey": item.dedupe_key,
        "seq": item.seq,
        "shopId": item.shop_id,
        "kind": kind,
        "chat": item.chat,
        "phone": phone,
        "userId": user_id,
        "state": item.state.value,
        "open": flag(_inbox_open(item)),
        "dead": flag(item.state is InboxState.DEAD),
        "dueAt": maybe_ms(item.due_at),
        "createdAt": ms(item.received_at),
        "provider": item.provider,
        "progress": to_json(_Handling(item.expires_at, item.attempts, item.error)).decode(),
        "body": vault.seal(item.session_id, f"inbox.body/{item.message_id}", to_json(item.event)),
        "answer": _answer_sealed(item, vault),
        "rev": item.rev,
    }


def _inbox_open(item: InboxItem) -> bool:
    return item.state in (InboxState.RECEIVED, InboxState.ANSWERED)


def inbox_changes(old: InboxItem, new: InboxItem, vault: Vault) -> Row:
    changes: Row = {
        "progress": to_json(_Handling(new.expires_at, new.attempts, new.error)).decode(),
        "rev": new.rev,
    }
    if new.state is not old.state:
        changes["state"] = new.state.value
    if _inbox_open(new) is not _inbox_open(old):
        changes["open"] = flag(_inbox_open(new))
    if (new.state is InboxState.DEAD) is not (old.state is InboxState.DEAD):
        changes["dead"] = flag(new.state is InboxState.DEAD)
    if new.due_at != old.due_at:
        changes["dueAt"] = maybe_ms(new.due_at)
    if new.answer != old.answer:
        changes["answer"] = _answer_sealed(new, vault)
    return changes


def inbox_of(row: Row, vault: Vault) -> InboxItem:
    message_id, session_id = MessageId(row["messageId"]), SessionId(row["sessionId"])
    event: InboundMessage | AccountEvent | FlowEvent
    answer: list[Content] | None = None
    try:
        event = _event.decode(vault.open(session_id, f"inbox.body/{message_id}", row["body"]))
        if row["answer"] is not None:
            answer = _answer.decode(vault.open(session_id, f"inbox.answer/{message_id}", row["answer"]))
    except Unreadable as error:
        unreadable("inbox", message_id, session_id, error)
        event = AccountEvent(
            type="provider.event", dedupe_key=row["dedupeKey"], data={"field": "unreadable", "value": None}
        )
    handling = _handling.decode(row["progress"])
    return InboxItem(
        message_id=message_id,
        session_id=session_id,
        provider=row["provider"],
        shop_id=row["shopId"],
        event=event,
        seq=row["seq"],
        received_at=at(row["createdAt"]),
        expires_at=handling.expires_at,
        state=InboxState(row["state"]),
        due_at=maybe_at(row["dueAt"]),
        attempts=handling.attempts,
        answer=answer,
        error=handling.error,
        rev=row["rev"],
    )
