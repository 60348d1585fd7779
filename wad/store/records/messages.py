"""Outbound messages and their rows: what was asked for, how far it came, and the sealed body."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from wad.models import (
    UNREADABLE,
    Address,
    Content,
    Failure,
    Idempotency,
    MessageId,
    MessageState,
    Number,
    OutboundMessage,
    Priority,
    SessionId,
    Step,
)
from wad.secrets import Unreadable, Vault
from wad.store.base import Row
from wad.store.records.values import at, flag, json_object, maybe_at, maybe_ms, ms, to_json, unreadable


class _Request(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What was asked for, besides the columns and the body."""

    provider: str
    to: Address
    reference: str | None = None
    reply_to: MessageId | None = None
    quotes: str | None = None
    send_at: datetime | None = None
    fingerprint: str | None = None
    number: Number | None = None


class _Progress(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far it came, besides the columns. A person's retry moves `expires_at`."""

    expires_at: datetime
    attempts: int = 0
    epoch: int = 0
    error: Failure | None = None
    maybe_duplicate: bool = False
    history: tuple[Step, ...] = ()
    former_ids: tuple[str, ...] = ()
    resent: bool = False
    chosen: str | None = None
    moves: int = 0


_request: Final = msgspec.json.Decoder(_Request)
_progress: Final = msgspec.json.Decoder(_Progress)
_UNREADABLE: Final[Content] = {"type": UNREADABLE}


def _message_progress(message: OutboundMessage) -> str:
    return to_json(
        _Progress(
            message.expires_at,
            message.attempts,
            message.epoch,
            message.error,
            message.maybe_duplicate,
            message.history,
            message.former_ids,
            message.resent,
            message.chosen,
            message.moves,
        )
    ).decode()


def _message_request(message: OutboundMessage) -> str:
    idempotency = message.idempotency
    return to_json(
        _Request(
            message.provider,
            message.to,
            message.reference,
            message.reply_to,
            message.quotes,
            message.send_at,
            None if idempotency is None else idempotency.fingerprint,
            message.number,
        )
    ).decode()


def _message_body(message: OutboundMessage, vault: Vault) -> bytes:
    return vault.seal(message.session_id, f"messages.body/{message.message_id}", to_json(message.content))


def message_row(message: OutboundMessage, vault: Vault) -> Row:
    idempotency = message.idempotency
    return {
        "messageId": message.message_id,
        "sessionId": message.session_id,
        "seq": message.seq,
        "shopId": message.shop_id,
        "chat": message.to.chat,
        "lane": None if message.number is None else message.lane,
        "phone": message.to.phone,
        "priority": int(message.priority),
        "state": message.state.value,
        "open": flag(message.is_open),
        "dead": flag(message.dead),
        "dueAt": maybe_ms(message.due_at),
        "expiresAt": ms(message.expires_at),
        "backlog": flag(message.in_backlog),
        "bulkId": message.bulk_id,
        "providerMessageId": message.provider_message_id,
        "idempotencyScope": None if idempotency is None else idempotency.scope,
        "idempotencyKey": None if idempotency is None else idempotency.key,
        "createdAt": ms(message.created_at),
        "updatedAt": ms(message.updated_at),
        "request": _message_request(message),
        "progress": _message_progress(message),
        "body": _message_body(message, vault),
        "rev": message.rev,
    }


def message_changes(old: OutboundMessage, new: OutboundMessage, vault: Vault) -> Row:
    """The columns in which *new* differs: an index is only touched where its row moves in it.

    One that moves to another session is sealed by that session's key from then on.
    """
    changes: Row = {"updatedAt": ms(new.updated_at), "progress": _message_progress(new), "rev": new.rev}
    if new.state is not old.state:
        changes["state"] = new.state.value
    if new.is_open is not old.is_open:
        changes["open"] = flag(new.is_open)
    if new.dead is not old.dead:
        changes["dead"] = flag(new.dead)
    if new.due_at != old.due_at:
        changes["dueAt"] = maybe_ms(new.due_at)
    if new.expires_at != old.expires_at:
        changes["expiresAt"] = ms(new.expires_at)
    if new.in_backlog is not old.in_backlog:
        changes["backlog"] = flag(new.in_backlog)
    if new.provider_message_id != old.provider_message_id:
        changes["providerMessageId"] = new.provider_message_id
    if (new.provider, new.number) != (old.provider, old.number):
        changes["request"] = _message_request(new)
        changes["lane"] = None if new.number is None else new.lane
    if new.session_id != old.session_id:
        changes |= {"sessionId": new.session_id, "body": _message_body(new, vault)}
    return changes


def message_of(row: Row, vault: Vault) -> OutboundMessage:
    message_id, session_id = MessageId(row["messageId"]), SessionId(row["sessionId"])
    try:
        content = json_object.decode(vault.open(session_id, f"messages.body/{message_id}", row["body"]))
    except Unreadable as error:
        unreadable("message", message_id, session_id, error)
        content = dict(_UNREADABLE)
    request, progress = _request.decode(row["request"]), _progress.decode(row["progress"])
    key = row["idempotencyKey"]
    return OutboundMessage(
        message_id=message_id,
        session_id=session_id,
        provider=request.provider,
        to=request.to,
        content=content,
        seq=row["seq"],
        created_at=at(row["createdAt"]),
        expires_at=progress.expires_at,
        shop_id=row["shopId"],
        priority=Priority(row["priority"]),
        reference=request.reference,
        reply_to=request.reply_to,
        quotes=request.quotes,
        number=request.number,
        send_at=request.send_at,
        bulk_id=row["bulkId"],
        idempotency=None
        if key is None
        else Idempotency(row["idempotencyScope"], key, request.fingerprint or ""),
        state=MessageState(row["state"]),
        updated_at=at(row["updatedAt"]),
        due_at=maybe_at(row["dueAt"]),
        attempts=progress.attempts,
        epoch=progress.epoch,
        provider_message_id=row["providerMessageId"],
        error=progress.error,
        maybe_duplicate=progress.maybe_duplicate,
        dead=row["dead"] is not None,
        history=progress.history,
        former_ids=progress.former_ids,
        resent=progress.resent,
        chosen=progress.chosen,
        moves=progress.moves,
        rev=row["rev"],
    )
