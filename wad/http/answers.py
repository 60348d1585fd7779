"""What the API shows of wad's records: never a secret, camelCase, times in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from wad.errors import FieldError, PassedOver
from wad.http.problems import Problem, ReasonView
from wad.models import (
    AccountEvent,
    Address,
    Failure,
    FlowEvent,
    InboundMessage,
    InboxItem,
    InboxState,
    Media,
    MediaState,
    OutboundMessage,
    Priority,
    QueueStatus,
    Reason,
    Session,
    Settings,
    Status,
    Waiting,
    sha256_digests,
)
from wad.supervisor.balancer import Choice, Judged

__all__ = ["FieldError", "Problem", "ReasonView"]


class Secret(msgspec.Struct, frozen=True):
    """All that is told of a secret."""

    set: bool = True


class SettingsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    rate: float | None = None
    burst: int | None = None
    flow_url: str | None = None
    flow_secret: Secret | None = None
    base_url: str | None = None
    retry: dict[str, float] | None = None
    duplicates: Literal["at_most_once", "at_least_once"] | None = None
    flow_disabled: bool = False
    dedicated: bool = False
    callback_override: bool = False
    drained: bool = False


class SessionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The stored session, and what its living actor knows better: its state, its queue, its breaker."""

    session_id: str
    shop_id: str | None
    provider: str
    phone_number: str | None
    desired_state: str
    state: str
    reason: ReasonView | None
    is_connected: bool
    last_seen: datetime | None
    since: datetime
    next_retry_at: datetime | None
    breaker: str
    queue: QueueStatus
    qr_code: str | None
    connection_data: dict[str, Any]
    credentials: dict[str, Secret]
    settings: SettingsView
    created_at: datetime
    updated_at: datetime


class SessionList(msgspec.Struct, frozen=True):
    items: list[SessionView]
    next: str | None


_SET: Final = Secret()


def session_view(session: Session, now: Status) -> SessionView:
    """*session* as it is *now*: rows are not written at every sign of life."""
    reason = now.reason
    return SessionView(
        session_id=session.session_id,
        shop_id=session.shop_id,
        provider=session.provider,
        phone_number=session.phone_number,
        desired_state=now.desired_state.value,
        state=now.state.value,
        reason=ReasonView(reason.code, reason.detail, reason.needs_person) if reason else None,
        is_connected=now.is_connected,
        last_seen=now.last_seen,
        since=now.since,
        next_retry_at=now.next_retry_at,
        breaker=now.breaker,
        queue=now.queue,
        qr_code=now.qr_code,
        connection_data=session.connection_data,
        credentials=dict.fromkeys(sorted(session.credentials), _SET),
        settings=_settings_view(session.settings),
        created_at=session.created_at,
        updated_at=session.updated_at,
    )


def _settings_view(settings: Settings) -> SettingsView:
    return SettingsView(
        rate=settings.rate,
        burst=settings.burst,
        flow_url=settings.flow_url,
        flow_secret=_SET if settings.flow_secret else None,
        base_url=settings.base_url,
        retry=settings.retry,
        duplicates=settings.duplicates,
        flow_disabled=settings.flow_disabled,
        dedicated=settings.dedicated,
        callback_override=settings.callback_override,
        drained=settings.drained,
    )


# --- messages -------------------------------------------------------------------------------------


class RecipientView(msgspec.Struct, frozen=True, rename="camel"):
    phone: str | None
    user_id: str | None


class SenderView(msgspec.Struct, frozen=True, rename="camel"):
    """Who wrote. Meta may leave the phone out: then the business-scoped `userId` names the person."""

    phone: str | None
    user_id: str | None
    name: str | None


class ChatView(msgspec.Struct, frozen=True):
    id: str
    kind: Literal["person", "group"]


class StepView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    status: str
    at: datetime
    error: Failure | None
    note: str | None
    next_attempt_at: datetime | None  # of one that is `queued` again


class OutboundView(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="direction", tag="outbound"
):
    """A message on its way out. Its content stands beside, under the name in `type`, as it was asked for."""

    message_id: str
    session_id: str
    shop_id: str | None
    provider: str
    to: str | RecipientView | None
    sender: str | None = msgspec.field(name="from")  # one of the session's numbers, where it has several
    group_id: str | None
    type: str
    status: str
    priority: str
    bulk_id: str | None
    reference: str | None
    reply_to: str | None
    send_at: datetime | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    next_attempt_at: datetime | None
    attempts: int
    provider_message_id: str | None
    error: Failure | None
    maybe_duplicate: bool
    dead_letter: bool
    #: Why it has not left yet; null where it does not wait. Of one message alone, not in lists.
    waiting: Waiting | msgspec.UnsetType | None = msgspec.UNSET
    history: list[StepView]


class MediaView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file: `mediaId` is what a message names it by.

    `state` tells whether wad has it on its own disk: `stored`; `waiting` while it is fetched, or tried again at
    `nextAttemptAt`; `failed` where that was given up, because of `error`; `remote` where its provider alone has it.
    """

    media_id: str
    session_id: str
    state: MediaState
    mime_type: str  # as it was declared
    found_type: str | None  # what the content of a stored file says it is; null where it does not tell
    size: int | None
    sha256: str | None
    filename: str | None
    error: Failure | None
    next_attempt_at: datetime | None
    created_at: datetime
    expires_at: datetime


def media_view(media: Media) -> MediaView:
    digests = sha256_digests(media.sha256 or "")
    return MediaView(
        media_id=media.media_id,
        session_id=media.session_id,
        state=media.state,
        mime_type=media.mime_type,
        found_type=media.found_type,
        size=media.size,
        sha256=digests[0].hex() if digests else None,
        filename=media.filename,
        error=media.error,
        next_attempt_at=media.due_at,
        created_at=media.created_at,
        expires_at=media.expires_at,
    )


class InboundView(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="direction", tag="inbound"
):
    """A customer's message. Its content stands beside, under the name in `type`.

    `status` tells how far the flow is with it: received, answered, done or dead.
    """

    message_id: str
    session_id: str
    shop_id: str | None
    provider: str
    sender: SenderView | None = msgspec.field(name="from")
    to: str | None  # one of the session's numbers, where it has several
    chat: ChatView | None
    type: str
    status: str
    context: dict[str, Any] | None
    provider_message_id: str | None
    sent_at: datetime | None
    received_at: datetime
    attempts: int
    error: Failure | None
    dead_letter: bool
    #: How wad has the file that came with it. Of one message alone, not in lists.
    media: MediaView | msgspec.UnsetType | None = msgspec.UNSET


class MessageList(msgspec.Struct, frozen=True):
    items: list[OutboundView | InboundView]
    next: str | None


class BalancingView(msgspec.Struct, frozen=True):
    """Which of a shop's sessions wad chose, and why not the others."""

    chosen: PassedOver
    others: list[PassedOver]


class SentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What `POST /send` answers. `balancing` stands where the body named a shop."""

    message_id: str
    session_id: str
    provider: str
    status: str
    sender: str | None = msgspec.field(default=None, name="from")
    provider_message_id: str | None = None
    reason: ReasonView | None = None
    balancing: BalancingView | None = None


class BulkItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The status that this message's own `POST /send` would have had."""

    status: int
    message_id: str | None = None
    session_id: str | None = None
    replayed: bool = False
    balancing: BalancingView | None = None
    problem: Problem | None = None


class BulkView(msgspec.Struct, frozen=True):
    items: list[BulkItem]


_PRIORITIES: Final = {Priority.REPLY: "reply", Priority.NORMAL: "normal", Priority.BULK: "bulk"}


def message_view(record: OutboundMessage | InboxItem) -> dict[str, Any]:
    match record:
        case OutboundMessage():
            return _outbound_view(record)
        case InboxItem():
            return _inbound_view(record)


def _outbound_view(message: OutboundMessage) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.to_builtins(
        OutboundView(
            message_id=message.message_id,
            session_id=message.session_id,
            shop_id=message.shop_id,
            provider=message.provider,
            to=_recipient(message.to),
            sender=message.number.name if message.number else None,
            group_id=message.to.group_id,
            type=message.type,
            status=message.state.value,
            priority=_PRIORITIES[message.priority],
            bulk_id=message.bulk_id,
            reference=message.reference,
            reply_to=message.reply_to,
            send_at=message.send_at,
            created_at=message.created_at,
            updated_at=message.updated_at,
            expires_at=message.expires_at,
            next_attempt_at=message.due_at if message.is_open else None,
            attempts=message.attempts,
            provider_message_id=message.provider_message_id,
            error=message.error,
            maybe_duplicate=message.maybe_duplicate,
            dead_letter=message.dead,
            history=[
                StepView(
                    status=step.state.value,
                    at=step.at,
                    error=step.error,
                    note=step.note,
                    next_attempt_at=step.due_at,
                )
                for step in message.history
            ],
        )
    )
    return view | _content(message.content)


def _inbound_view(item: InboxItem) -> dict[str, Any]:
    sender, to, chat, context, provider_message_id, sent_at = None, None, None, None, None, None
    match item.event:
        case InboundMessage() as event:
            sender = SenderView(event.sender.phone, event.sender.user_id, event.sender.name)
            to = event.number.name if event.number else None
            chat = ChatView(event.chat, event.chat_kind)
            context, provider_message_id, sent_at = event.context, event.provider_message_id, event.sent_at
            kind, content = str(event.content["type"]), _content(event.content)
        case AccountEvent(type=kind, data=data) | FlowEvent(type=kind, data=data):
            content = {"data": data}
    view: dict[str, Any] = msgspec.to_builtins(
        InboundView(
            message_id=item.message_id,
            session_id=item.session_id,
            shop_id=item.shop_id,
            provider=item.provider,
            sender=sender,
            to=to,
            chat=chat,
            type=kind,
            status=item.state.value,
            context=context,
            provider_message_id=provider_message_id,
            sent_at=sent_at,
            received_at=item.received_at,
            attempts=item.attempts,
            error=item.error,
            dead_letter=item.state is InboxState.DEAD,
        )
    )
    return view | content


def _content(content: dict[str, Any]) -> dict[str, Any]:
    """The object that `type` names; never over a field of the view itself."""
    name = str(content["type"])
    return {name: content[name]} if name in content and name not in _TAKEN else {}


_TAKEN: Final = (
    {"direction"}
    | frozenset(OutboundView.__struct_encode_fields__)
    | frozenset(InboundView.__struct_encode_fields__)
)


def _recipient(to: Address) -> str | RecipientView | None:
    """As it may be asked for: a number or JID alone as text."""
    match to:
        case Address(group_id=str()):
            return None
        case Address(phone=str() as phone, user_id=None):
            return phone
        case Address(jid=str() as jid):
            return jid
        case _:
            return RecipientView(to.phone, to.user_id)


def balancing_view(message: OutboundMessage, choice: Choice | None) -> BalancingView | None:
    """Of a message that stood already, and of one that has moved since, what the message itself remembers."""
    if choice is not None and choice.chosen is not None and choice.chosen.session_id == message.session_id:
        return BalancingView(_judged(choice.chosen), [_judged(each) for each in choice.others])
    if message.chosen is None:
        return None
    return BalancingView(PassedOver(message.session_id, message.chosen), [])


def _judged(one: Judged) -> PassedOver:
    return PassedOver(one.session_id, one.why.value, one.detail)


def sent_view(
    message: OutboundMessage, waits_for: Reason | None = None, choice: Choice | None = None
) -> SentView:
    """*waits_for*: what keeps the message's session from sending it; it comes before the last attempt's error."""
    if waits_for is not None:
        reason = ReasonView(waits_for.code, waits_for.detail, waits_for.needs_person)
    elif message.error is not None:
        reason = ReasonView(message.error.code, message.error.detail, needs_person=False)
    else:
        reason = None
    return SentView(
        message_id=message.message_id,
        session_id=message.session_id,
        provider=message.provider,
        status=message.state.value,
        sender=message.number.name if message.number else None,
        provider_message_id=message.provider_message_id,
        reason=reason,
        balancing=balancing_view(message, choice),
    )
