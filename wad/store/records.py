"""Structs to rows and back: what is a column, what is JSON beside it, and what is sealed.

A column is what somebody queries by or an operator wants to see; the rest of a record is JSON. Texts that
people wrote, credentials and answers are sealed under the session's data key, bound to their row.
Times become milliseconds: a record read back has its times to the millisecond.

A row whose seal does not open (a garbled disk; a wrong master is found at open) must not take its session
down with it: it is logged, and stands in with a content that no provider takes, so it ends as a dead letter.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from wad.models import (
    AccountEvent,
    Address,
    ChatId,
    Content,
    Credentials,
    DesiredState,
    Failure,
    FlowEvent,
    Idempotency,
    InboundMessage,
    InboxItem,
    InboxState,
    Media,
    MessageId,
    MessageState,
    OutboundMessage,
    Pending,
    Priority,
    Reason,
    Session,
    SessionId,
    SessionState,
    Settings,
    ShopId,
    StatusUpdate,
    Step,
    StoredEvent,
)
from wad.secrets import Unreadable, Vault
from wad.store.base import Row

log = logging.getLogger("wad.store")

_to_json: Final = msgspec.json.Encoder().encode
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def _at(value: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=value)


def _maybe_at(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(milliseconds=value)


def _flag(value: bool) -> int | None:
    return 1 if value else None


def _unreadable(what: str, key: str, session_id: str, error: Unreadable) -> None:
    log.error(
        "unreadable_row", extra={"row": what, "key": key, "session_id": session_id, "detail": str(error)}
    )


# --- sessions -------------------------------------------------------------------------------------

_credentials: Final = msgspec.json.Decoder(dict[str, str])
_settings: Final = msgspec.json.Decoder(Settings)
_reason: Final = msgspec.json.Decoder(Reason)
_object: Final = msgspec.json.Decoder(dict[str, Any])

_DEFAULT_SETTINGS: Final = Settings()


def session_row(session: Session, vault: Vault) -> Row:
    return {
        "sessionId": session.session_id,
        "provider": session.provider,
        "shopId": session.shop_id,
        "phoneNumber": session.phone_number,
        "desiredState": session.desired_state.value,
        "state": session.state.value,
        "reason": None if session.reason is None else _to_json(session.reason).decode(),
        "isConnected": session.is_connected,
        "lastSeen": _ms(session.last_seen),
        "qrCode": session.qr_code,
        "connectionData": _to_json(session.connection_data).decode(),
        "credentials": vault.seal(session.session_id, "sessions.credentials", _to_json(session.credentials)),
        "settings": None
        if session.settings == _DEFAULT_SETTINGS
        else vault.seal(session.session_id, "sessions.settings", _to_json(session.settings)),
        "createdAt": ms(session.created_at),
        "updatedAt": ms(session.updated_at),
        "owner": session.owner,
        "epoch": session.epoch,
        "dataKey": session.data_key,
        "rev": session.rev,
    }


_SESSION_COLUMNS: Final = {
    "provider": "provider",
    "shop_id": "shopId",
    "phone_number": "phoneNumber",
    "desired_state": "desiredState",
    "state": "state",
    "reason": "reason",
    "is_connected": "isConnected",
    "last_seen": "lastSeen",
    "qr_code": "qrCode",
    "connection_data": "connectionData",
    "credentials": "credentials",
    "settings": "settings",
    "updated_at": "updatedAt",
    "owner": "owner",
    "epoch": "epoch",
    "data_key": "dataKey",
}


def session_changes(old: Session, new: Session, vault: Vault) -> Row:
    """The columns in which *new* differs. Its id and its birth do not change."""
    row = session_row(new, vault)
    changes = {
        column: row[column]
        for field, column in _SESSION_COLUMNS.items()
        if getattr(old, field) != getattr(new, field)
    }
    changes["rev"] = new.rev
    return changes


def session_of(row: Row, vault: Vault) -> Session:
    session_id = SessionId(row["sessionId"])
    if not vault.knows(session_id):
        vault.learn(session_id, row["dataKey"])
    credentials, settings = Credentials(), _DEFAULT_SETTINGS
    try:
        credentials = Credentials(
            _credentials.decode(vault.open(session_id, "sessions.credentials", row["credentials"]))
        )
        if row["settings"] is not None:
            settings = _settings.decode(vault.open(session_id, "sessions.settings", row["settings"]))
    except Unreadable as error:  # without credentials, its provider will ask for a person
        _unreadable("session", session_id, session_id, error)
    return Session(
        session_id=session_id,
        provider=row["provider"],
        credentials=credentials,
        shop_id=row["shopId"],
        phone_number=row["phoneNumber"],
        settings=settings,
        desired_state=DesiredState(row["desiredState"]),
        state=SessionState(row["state"]),
        reason=None if row["reason"] is None else _reason.decode(row["reason"]),
        is_connected=bool(row["isConnected"]),
        last_seen=_maybe_at(row["lastSeen"]),
        qr_code=row["qrCode"],
        connection_data=_object.decode(row["connectionData"]),
        created_at=_at(row["createdAt"]),
        updated_at=_at(row["updatedAt"]),
        owner=row["owner"],
        epoch=row["epoch"],
        data_key=row["dataKey"],
        rev=row["rev"],
    )


# --- outbound messages ----------------------------------------------------------------------------


class _Request(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What was asked for, besides the columns and the body."""

    provider: str
    to: Address
    reference: str | None = None
    reply_to: MessageId | None = None
    quotes: str | None = None
    send_at: datetime | None = None
    fingerprint: str | None = None


class _Progress(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far it came, besides the columns. A person's retry moves `expires_at`."""

    expires_at: datetime
    attempts: int = 0
    epoch: int = 0
    error: Failure | None = None
    maybe_duplicate: bool = False
    history: tuple[Step, ...] = ()


_request: Final = msgspec.json.Decoder(_Request)
_progress: Final = msgspec.json.Decoder(_Progress)
_UNREADABLE: Final[Content] = {"type": "unreadable"}


def _message_progress(message: OutboundMessage) -> str:
    return _to_json(
        _Progress(
            message.expires_at,
            message.attempts,
            message.epoch,
            message.error,
            message.maybe_duplicate,
            message.history,
        )
    ).decode()


def message_row(message: OutboundMessage, vault: Vault) -> Row:
    idempotency = message.idempotency
    return {
        "messageId": message.message_id,
        "sessionId": message.session_id,
        "seq": message.seq,
        "shopId": message.shop_id,
        "chat": message.to.chat,
        "phone": message.to.phone,
        "priority": int(message.priority),
        "state": message.state.value,
        "open": _flag(message.is_open),
        "dead": _flag(message.dead),
        "dueAt": _ms(message.due_at),
        "providerMessageId": message.provider_message_id,
        "idempotencyScope": None if idempotency is None else idempotency.scope,
        "idempotencyKey": None if idempotency is None else idempotency.key,
        "createdAt": ms(message.created_at),
        "updatedAt": ms(message.updated_at),
        "request": _to_json(
            _Request(
                message.provider,
                message.to,
                message.reference,
                message.reply_to,
                message.quotes,
                message.send_at,
                None if idempotency is None else idempotency.fingerprint,
            )
        ).decode(),
        "progress": _message_progress(message),
        "body": vault.seal(
            message.session_id, f"messages.body/{message.message_id}", _to_json(message.content)
        ),
        "rev": message.rev,
    }


def message_changes(old: OutboundMessage, new: OutboundMessage) -> Row:
    """The columns in which *new* differs: an index is only touched where its row moves in it."""
    changes: Row = {"updatedAt": ms(new.updated_at), "progress": _message_progress(new), "rev": new.rev}
    if new.state is not old.state:
        changes["state"] = new.state.value
    if new.is_open is not old.is_open:
        changes["open"] = _flag(new.is_open)
    if new.dead is not old.dead:
        changes["dead"] = _flag(new.dead)
    if new.due_at != old.due_at:
        changes["dueAt"] = _ms(new.due_at)
    if new.provider_message_id != old.provider_message_id:
        changes["providerMessageId"] = new.provider_message_id
    return changes


def message_of(row: Row, vault: Vault) -> OutboundMessage:
    message_id, session_id = MessageId(row["messageId"]), SessionId(row["sessionId"])
    try:
        content = _object.decode(vault.open(session_id, f"messages.body/{message_id}", row["body"]))
    except Unreadable as error:
        _unreadable("message", message_id, session_id, error)
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
        created_at=_at(row["createdAt"]),
        expires_at=progress.expires_at,
        shop_id=row["shopId"],
        priority=Priority(row["priority"]),
        reference=request.reference,
        reply_to=request.reply_to,
        quotes=request.quotes,
        send_at=request.send_at,
        idempotency=None
        if key is None
        else Idempotency(row["idempotencyScope"], key, request.fingerprint or ""),
        state=MessageState(row["state"]),
        updated_at=_at(row["updatedAt"]),
        due_at=_maybe_at(row["dueAt"]),
        attempts=progress.attempts,
        epoch=progress.epoch,
        provider_message_id=row["providerMessageId"],
        error=progress.error,
        maybe_duplicate=progress.maybe_duplicate,
        dead=row["dead"] is not None,
        history=progress.history,
        rev=row["rev"],
    )


#: All that a `Pending` needs, of either table.
PENDING_COLUMNS: Final = ("messageId", "chat", "seq", "createdAt", "state", "dueAt")


def pending_of(row: Row) -> Pending:
    return Pending(
        message_id=MessageId(row["messageId"]),
        chat=ChatId(row["chat"]),
        seq=row["seq"],
        created_at=_at(row["createdAt"]),
        priority=Priority(row.get("priority", Priority.NORMAL)),
        state=row["state"],
        due_at=_maybe_at(row["dueAt"]),
    )


# --- inbox ----------------------------------------------------------------------------------------


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
    return vault.seal(item.session_id, f"inbox.answer/{item.message_id}", _to_json(item.answer))


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
        "open": _flag(_inbox_open(item)),
        "dead": _flag(item.state is InboxState.DEAD),
        "dueAt": _ms(item.due_at),
        "createdAt": ms(item.received_at),
        "provider": item.provider,
        "progress": _to_json(_Handling(item.expires_at, item.attempts, item.error)).decode(),
        "body": vault.seal(item.session_id, f"inbox.body/{item.message_id}", _to_json(item.event)),
        "answer": _answer_sealed(item, vault),
        "rev": item.rev,
    }


def _inbox_open(item: InboxItem) -> bool:
    return item.state in (InboxState.RECEIVED, InboxState.ANSWERED)


def inbox_changes(old: InboxItem, new: InboxItem, vault: Vault) -> Row:
    changes: Row = {
        "progress": _to_json(_Handling(new.expires_at, new.attempts, new.error)).decode(),
        "rev": new.rev,
    }
    if new.state is not old.state:
        changes["state"] = new.state.value
    if _inbox_open(new) is not _inbox_open(old):
        changes["open"] = _flag(_inbox_open(new))
    if (new.state is InboxState.DEAD) is not (old.state is InboxState.DEAD):
        changes["dead"] = _flag(new.state is InboxState.DEAD)
    if new.due_at != old.due_at:
        changes["dueAt"] = _ms(new.due_at)
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
        _unreadable("inbox", message_id, session_id, error)
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
        received_at=_at(row["createdAt"]),
        expires_at=handling.expires_at,
        state=InboxState(row["state"]),
        due_at=_maybe_at(row["dueAt"]),
        attempts=handling.attempts,
        answer=answer,
        error=handling.error,
        rev=row["rev"],
    )


# --- parked statuses, events, media ---------------------------------------------------------------

_status: Final = msgspec.json.Decoder(StatusUpdate)


def parked_row(session_id: SessionId, status: StatusUpdate, now: datetime, vault: Vault) -> Row:
    """Keyed by what it says, so that the same status parked twice is one row."""
    key = f"{session_id}/{status.provider_message_id}/{status.state.value}"
    return {
        "id": key,
        "sessionId": session_id,
        "providerMessageId": status.provider_message_id,
        "createdAt": ms(now),
        "body": vault.seal(session_id, f"parked.body/{key}", _to_json(status)),
    }


def parked_of(row: Row, vault: Vault) -> StatusUpdate | None:
    try:
        return _status.decode(vault.open(row["sessionId"], f"parked.body/{row['id']}", row["body"]))
    except Unreadable as error:
        _unreadable("parked", row["id"], row["sessionId"], error)
        return None


def event_row(event: StoredEvent, vault: Vault) -> Row:
    return {
        "seq": event.seq,
        "sessionId": event.session_id,
        "shopId": event.shop_id,
        "type": event.type,
        "createdAt": ms(event.at),
        "body": vault.seal("", f"events.body/{event.seq}", _to_json(event.data)),
    }


def event_of(row: Row, vault: Vault) -> StoredEvent | None:
    try:
        data = _object.decode(vault.open("", f"events.body/{row['seq']}", row["body"]))
    except Unreadable as error:
        _unreadable("event", str(row["seq"]), row["sessionId"] or "", error)
        return None
    return StoredEvent(
        seq=row["seq"],
        type=row["type"],
        at=_at(row["createdAt"]),
        data=data,
        session_id=None if row["sessionId"] is None else SessionId(row["sessionId"]),
        shop_id=None if row["shopId"] is None else ShopId(row["shopId"]),
    )


_media: Final = msgspec.json.Decoder(Media)


def media_row(media: Media) -> Row:
    return {
        "mediaId": media.media_id,
        "sessionId": media.session_id,
        "expiresAt": ms(media.expires_at),
        "request": _to_json(media).decode(),
    }


def media_of(row: Row) -> Media:
    return _media.decode(row["request"])
