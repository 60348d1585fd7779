"""From what was asked for to a message on disk: every check before the 202, and nothing after it.

The order matters: what can never work is refused first (422), then what cannot work now (409, 429), then the
row is written, and the unique index on the idempotency key decides which of two equal requests it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import trio

from wad.actors.inbox import reply_address
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.content import parse_reply
from wad.errors import (
    FieldError,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    QueueFull,
    SessionUnavailable,
    WadError,
)
from wad.events import MessageQueued
from wad.failpoints import reach
from wad.models import (
    WAITING_FOR_PERSON,
    Address,
    Content,
    DesiredState,
    Idempotency,
    InboundMessage,
    InboxItem,
    MessageId,
    MessageState,
    Number,
    OutboundMessage,
    Priority,
    Reason,
    Session,
    SessionId,
    ShopId,
    Step,
    new_message_id,
    new_rev,
    next_seq,
    reply_message_id,
)
from wad.providers.base import check_send
from wad.supervisor.balancer import Choice
from wad.supervisor.numbers import number_for

#: Seconds after which whoever has bulk is asked to come again, at most.
_MOST_PAUSE: Final = 60.0
#: How far ahead a `sendAt` may be: the row, its key and its body are kept until then.
_FARTHEST: Final = timedelta(days=366)
MEDIA_TYPES: Final = ("image", "audio", "video", "document", "sticker")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A send as asked for, already well-formed; whether this session can is checked by `send`.

    It names a session, or the shop of which wad chooses one (`wad.supervisor.placing`).
    """

    session_id: SessionId | None = None
    shop_id: ShopId | None = None
    chosen: str | None = None  # why wad chose the session
    to: Address
    content: Content
    number: str | None = None  # which of the session's it is to leave from: an id, or in E.164
    priority: Priority = Priority.NORMAL
    bulk_id: str | None = None
    reference: str | None = None
    reply_to: MessageId | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None  # where expires_at is None: from `send_at`, else from now
    idempotency: Idempotency | None = None
    queue: bool = False  # take it even while the session waits for a person


class Sent(msgspec.Struct, frozen=True):
    """A message that stands in the store. `replayed`: by an earlier request with the same key."""

    message: OutboundMessage
    replayed: bool = False
    choice: Choice | None = None  # where wad chose the session, and this is no replay


class _Known(msgspec.Struct, frozen=True):
    """A message that the provider knows, and the session's number that has it."""

    provider_id: str
    number: Number | None = None


class Sending:
    """Turns drafts into messages of the sessions they name."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def send(self, actor: SessionActor, draft: Draft) -> Sent:
        [sent] = await self.send_all([(actor, draft)])
        if isinstance(sent, WadError):
            raise sent
        return sent

    async def send_all(self, asked: Sequence[tuple[SessionActor, Draft]]) -> list[Sent | WadError]:
        """Each draft's message, or why there is none. All are written in one commit."""
        results: list[Sent | WadError | None] = []
        messages: list[tuple[int, SessionActor, OutboundMessage]] = []
        admitted: Counter[tuple[SessionId, bool]] = Counter()  # by session, and whether they are bulk
        for index, (actor, draft) in enumerate(asked):
            session_id = actor.session.session_id
            try:
                message = await self._message(actor, draft)
                self._check_available(actor, draft)
                self._check_room(actor, message, admitted[session_id, message.is_bulk])
            except WadError as error:
                results.append(await self.earlier(draft) or error)
            else:
                results.append(None)
                messages.append((index, actor, message))
                admitted[session_id, message.is_bulk] += 1
        # Who deletes a session waits for what is being written, and for nothing that was not begun.
        gone = [index for index, actor, _ in messages if actor.is_leaving]
        messages = [each for each in messages if not each[1].is_leaving]
        # The row is written even if the caller hangs up meanwhile. Cancelled here, nobody would take it up before the
        # next start, and a repetition under the same key would be told that it is under way.
        with trio.CancelScope(shield=True):
            standing = await self._add(messages)
            reach("send.queued")
        for (index, actor, message), stands in zip(messages, standing, strict=True):
            results[index] = self._take_up(actor, message, stands)
        for index in gone:
            actor, draft = asked[index]
            deleted = NotFound(f"there is no session {actor.session.session_id!r}")
            results[index] = await self.earlier(draft) or deleted
        return [result for result in results if result is not None]

    async def _add(
        self, messages: Sequence[tuple[int, SessionActor, OutboundMessage]]
    ) -> list[OutboundMessage]:
        if not messages:
            return []
        counts = Counter((actor.outbox, message.is_bulk) for _, actor, message in messages)
        with ExitStack() as arriving:
            for (outbox, bulk), count in counts.items():
                arriving.enter_context(outbox.arrivals(count, bulk=bulk))
            return await self._services.store.add_messages([message for _, _, message in messages])

    def _take_up(
        self, actor: SessionActor, message: OutboundMessage, stands: OutboundMessage
    ) -> Sent | WadError:
        if stands.message_id == message.message_id:
            actor.outbox.arrived(stands)  # before it is told: who hears of it looks what the outbox has
            self._services.events.publish(MessageQueued(stands))
            return Sent(stands)
        return _replay(message.idempotency, stands)

    async def earlier(self, draft: Draft) -> Sent | WadError | None:
        """A refused request may still be the repetition of one that was taken."""
        key = draft.idempotency
        if key is None:
            return None
        stands = await self._services.store.message_by_idempotency(key.scope, key.key)
        return None if stands is None else _replay(key, stands)

    # --- the checks ---------------------------------------------------------------------------------

    async def _message(
        self, actor: SessionActor, draft: Draft, *, answers: Number | None = None
    ) -> OutboundMessage:
        """*answers*: which of the session's numbers was written to, where this is the flow's answer to that."""
        session = actor.session
        errors = check_send(actor.kind, draft.to, draft.content, quotes=draft.reply_to is not None)
        now = self._services.now()
        send_at = draft.send_at or now
        if send_at > now + _FARTHEST:
            errors.append(FieldError("/sendAt", f"must be within {_FARTHEST.days} days"))
            send_at = now
        expires_at = draft.expires_at or send_at + (draft.ttl or self._ttl(actor))
        if draft.send_at is not None and send_at >= expires_at:
            errors.append(FieldError("/expiresAt", "must be later than sendAt"))
        elif expires_at <= now:
            errors.append(FieldError("/expiresAt", "is in the past"))
        content, near, holder = await self._with_provider_ids(session, draft.content, errors)
        quotes = None
        if draft.reply_to is not None:
            quoted = await self._known(session, draft.reply_to)
            if quoted is None:
                errors.append(
                    FieldError("/replyTo", "names no message of this session that the provider knows")
                )
            else:
                quotes, near = quoted.provider_id, quoted.number
        number = None
        try:
            number = await number_for(
                self._services.store, actor, asked=draft.number, answers=near or answers, to=draft.to
            )
        except InvalidRequest as error:
            errors += error.errors
        if number is not None and holder is not None and holder.id != number.id:
            what = f"is a file of {holder.name}, and the message leaves from {number.name}: upload it with `from`"
            errors.append(FieldError(f"/{content['type']}/mediaId", what))
        if errors:
            raise InvalidRequest("the message cannot be sent as it is", errors)
        scheduled = draft.send_at is not None and draft.send_at > now
        state = MessageState.SCHEDULED if scheduled else MessageState.QUEUED
        return OutboundMessage(
            message_id=new_message_id(),
            session_id=session.session_id,
            shop_id=session.shop_id,
            provider=session.provider,
            to=draft.to,
            content=content,
            number=number,
            priority=draft.priority,
            bulk_id=draft.bulk_id,
            reference=draft.reference,
            reply_to=draft.reply_to,
            quotes=quotes,
            seq=next_seq(),
            created_at=now,
            updated_at=now,
            send_at=draft.send_at,
            due_at=draft.send_at if scheduled else None,
            expires_at=expires_at,
            idempotency=draft.idempotency,
            state=state,
            chosen=draft.chosen,
            history=(Step(state, now, note=_note(draft)),),
            rev=new_rev(),
        )

    def _ttl(self, actor: SessionActor) -> timedelta:
        max_age = (actor.session.settings.retry or {}).get("maxAge")
        return self._services.limits.message_ttl if max_age is None else timedelta(seconds=max_age)

    def _check_available(self, actor: SessionActor, draft: Draft) -> None:
        session = actor.session
        if session.settings.drained:
            raise SessionUnavailable(
                "the session is drained: it takes no new message until its settings say drained: false",
                reason="drained",
                needs_person=True,
            )
        if draft.queue:
            return
        if session.state in WAITING_FOR_PERSON:
            why = session.reason or Reason(session.state, "", needs_person=True)
            raise SessionUnavailable(
                f"the session is {session.state}" + (f": {why.detail}" if why.detail else ""),
                reason=why.code,
                needs_person=why.needs_person,
            )
        if session.desired_state is DesiredState.DISCONNECTED:
            raise SessionUnavailable(
                'the session is wanted disconnected; connect it, or say "queue": true',
                reason="disconnected",
                needs_person=True,
            )

    def _check_room(self, actor: SessionActor, message: OutboundMessage, more: int) -> None:
        if actor.outbox.room(bulk=message.is_bulk) > more:
            return
        limits = self._services.limits
        rate = actor.session.settings.rate or self._services.pace(actor.session.provider).rate
        if message.is_bulk:
            detail = f"the session has {limits.bulk_per_session} messages of bulk waiting, as many as it may"
            pause = min(_MOST_PAUSE, limits.bulk_page / rate)
        else:
            detail = f"the session has {limits.queue_per_session} messages waiting, as many as it may"
            pause = 32 / rate
        raise QueueFull(detail, retry_after=max(1.0, pause))

    async def _with_provider_ids(
        self, session: Session, content: Content, errors: list[FieldError]
    ) -> tuple[Content, Number | None, Number | None]:
        """*content* with the provider's own ids in place of wad's for files and for a reacted-to message.

        And the number that the latter came to, or went from; and the one that alone may send the file.
        """
        kind = content["type"]
        part: dict[str, Any] = content[kind]
        if kind in MEDIA_TYPES and str(part.get("mediaId", "")).startswith("med_"):
            media = await self._services.store.media(part["mediaId"])
            if media is None or media.session_id != session.session_id:
                errors.append(FieldError(f"/{kind}/mediaId", "names no file of this session"))
            elif media.provider not in (None, session.provider):
                told = f"is kept by {media.provider}, which the session left: upload it again"
                errors.append(FieldError(f"/{kind}/mediaId", told))
            elif media.expires_at <= self._services.now():
                errors.append(FieldError(f"/{kind}/mediaId", "the provider no longer keeps that file"))
            else:
                file = {**part, "mediaId": media.provider_media_id}
                return {**content, kind: file}, None, media.number
        if kind == "reaction":
            known = await self._known(session, part["messageId"])
            if known is None:
                errors.append(
                    FieldError(
                        "/reaction/messageId", "names no message of this session that the provider knows"
                    )
                )
            else:
                return {**content, kind: {**part, "messageId": known.provider_id}}, known.number, None
        return content, None, None

    async def _known(self, session: Session, message_id: str) -> _Known | None:
        """What the session's provider calls our *message_id*, inbound or outbound. Its own ids pass as they are."""
        if not message_id.startswith("msg_"):
            return _Known(message_id)
        store = self._services.store
        item = await store.inbox_item(MessageId(message_id))
        if item is not None:
            its = (item.session_id, item.provider) == (session.session_id, session.provider)
            if not its or not isinstance(item.event, InboundMessage):
                return None
            return _Known(item.event.provider_message_id, item.event.number)
        message = await store.message(MessageId(message_id))
        if message is None or message.provider_message_id is None:
            return None
        if (message.session_id, message.provider) != (session.session_id, session.provider):
            return None
        return _Known(message.provider_message_id, message.number)

    # --- replies ------------------------------------------------------------------------------------

    async def queue_replies(self, actor: SessionActor, item: InboxItem, replies: Sequence[Content]) -> None:
        """The flow's answer to *item*, each reply once however often this runs.

        Raises InvalidRequest or NotSupported where one cannot be sent; then none is queued.
        """
        if not replies or not isinstance(item.event, InboundMessage):
            return
        messages = []
        for index, raw in enumerate(replies):
            reply = parse_reply(raw)
            draft = Draft(
                session_id=actor.session.session_id,
                to=reply_address(item.event),
                content=reply.content,
                priority=reply.priority,
                reference=reply.reference,
                reply_to=reply.reply_to,
                send_at=reply.send_at,
                expires_at=reply.expires_at,
                ttl=reply.ttl,
            )
            message = await self._message(actor, draft, answers=item.event.number)
            messages.append(
                msgspec.structs.replace(message, message_id=reply_message_id(item.message_id, index))
            )
        for message, stands in zip(
            messages, await self._services.patient.add_messages(messages), strict=True
        ):
            if stands.seq == message.seq:
                self._services.events.publish(MessageQueued(stands))
                actor.outbox.arrived(stands)
            elif stands.is_open:  # an earlier life queued it
                actor.outbox.offer(stands)


def _note(draft: Draft) -> str | None:
    return None if draft.chosen is None else f"wad chose the session: {draft.chosen}"


def _replay(key: Idempotency | None, stands: OutboundMessage) -> Sent | WadError:
    earlier = stands.idempotency
    if key is None or earlier is None or earlier.fingerprint != key.fingerprint:
        return IdempotencyKeyReused("the Idempotency-Key was used before, with another body")
    return Sent(stands, replayed=True)
