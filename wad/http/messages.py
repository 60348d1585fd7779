"""Messages over HTTP: send, look up, cancel; and the dead letters."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from wad.content import Send, instant, parse_send
from wad.errors import FieldError, InvalidRequest, NotFound, WadError
from wad.http.answers import BulkItem, BulkView, balancing_view, media_view, message_view, sent_view
from wad.http.api import Api
from wad.http.operations import Answer, Exchange
from wad.http.problems import MEDIA_TYPE, Problem, kind_of, problem_of, status_of
from wad.http.schemas import BulkBody, DeadLetterQuery, MessageQuery, after_seq, seq_after
from wad.models import (
    Idempotency,
    InboundMessage,
    InboxItem,
    MessageState,
    OutboundMessage,
    Priority,
    Reason,
)
from wad.models import MessageQuery as StoreQuery
from wad.supervisor.sending import Draft, Sent

PATH: Final = "/api/whatsapp/messages"
SENT_HEADERS: Final = {
    "Location": "Where the message is",
    "Idempotency-Replayed": "`true` where an earlier request with this key made it",
    "Preference-Applied": "The wait that was granted",
}
_KEY_LENGTH: Final = 255
#: Why a message that was taken will not leave.
_DELETED: Final = Reason(
    "session_deleted",
    "the session was deleted meanwhile, and what it had not sent with it",
    needs_person=True,
)
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode

#: States in which the provider has the message.
_TAKEN: Final = frozenset(
    {
        MessageState.ACCEPTED,
        MessageState.SENT,
        MessageState.DELIVERED,
        MessageState.READ,
        MessageState.PLAYED,
    }
)
#: Ends that are the message's own failure: with `Prefer: wait` the caller is told so at once.
_LOST: Final = frozenset({MessageState.FAILED, MessageState.EXPIRED, MessageState.CANCELLED})


# --- sending --------------------------------------------------------------------------------------


async def send(api: Api, exchange: Exchange) -> Answer:
    """`POST /send` and `POST /send-group`: on disk before it is answered."""
    asked: Send = exchange.body
    sent = await api.sessions.messages.send(_draft(api, exchange, asked, _idempotency(exchange)))
    message = sent.message
    headers = {"Location": f"{PATH}/{message.message_id}"}
    if sent.replayed:
        headers["Idempotency-Replayed"] = "true"
    wait = exchange.wait(api.config.http.max_wait)
    if wait is None:
        return Answer(sent_view(message, _waits_for(api, message), sent.choice), 202, headers)
    headers["Preference-Applied"] = f"wait={wait:g}"
    message = await api.sessions.messages.wait_for(message, wait)
    if message.state in _LOST:
        problem = _failed(message)
        return Answer(problem, problem.status, headers, MEDIA_TYPE)
    status = 200 if message.state in _TAKEN else 202
    return Answer(sent_view(message, _waits_for(api, message), sent.choice), status, headers)


def _waits_for(api: Api, message: OutboundMessage) -> Reason | None:
    """The person that an unsent message's session waits for, if it does; or that there is no session any more."""
    if message.state not in (MessageState.SCHEDULED, MessageState.QUEUED):
        return None
    try:
        reason = api.sessions.status(message.session_id).reason
    except NotFound:  # of the session: the message was taken, whatever became of it
        return _DELETED
    return reason if reason is not None and reason.needs_person else None


def _failed(message: OutboundMessage) -> Problem:
    """A failure is never a 2xx, also where the request itself was taken."""
    error = message.error
    code = error.code if error else "message_failed"
    return Problem(
        type=f"/problems/{code}",
        title=kind_of(code).title,
        status=422,
        detail=error.detail if error else f"the message is {message.state}",
        code=code,
        retryable=error.retryable if error else False,
        provider=message.provider,
        provider_code=error.provider_code if error else None,
        message_id=message.message_id,
    )


async def send_bulk(api: Api, exchange: Exchange) -> Answer:
    """Each message by itself: one that is refused says so in its place, and the others go."""
    body: BulkBody = exchange.body
    key = _idempotency(exchange)
    outcomes: dict[int, BulkItem] = {}
    drafts: dict[int, Draft] = {}
    for index, each in enumerate(body.messages):
        own = None if key is None else msgspec.structs.replace(key, key=f"{key.key}\n{index}")
        try:
            asked = parse_send(each, priority=Priority.NORMAL if body.bulk_id is None else Priority.BULK)
            drafts[index] = _draft(api, exchange, asked, own, bulk_id=body.bulk_id)
        except WadError as error:
            outcomes[index] = _refused(error)
    for index, result in zip(
        drafts, await api.sessions.messages.send_bulk(list(drafts.values())), strict=True
    ):
        outcomes[index] = _refused(result) if isinstance(result, WadError) else _taken(result)
    return Answer(BulkView([outcomes[index] for index in range(len(body.messages))]), 202)


def _refused(error: WadError) -> BulkItem:
    return BulkItem(status=status_of(error), problem=problem_of(error))


def _taken(sent: Sent) -> BulkItem:
    message = sent.message
    return BulkItem(
        status=202,
        message_id=message.message_id,
        session_id=message.session_id,
        replayed=sent.replayed,
        balancing=balancing_view(message, sent.choice),
    )


def _draft(
    api: Api,
    exchange: Exchange,
    asked: Send,
    idempotency: Idempotency | None,
    *,
    bulk_id: str | None = None,
) -> Draft:
    """Exactly one of sessionId and shopId stands: `parse_send` lets nothing else through."""
    if asked.session_id is not None:
        api.session(exchange.principal, asked.session_id)
    else:
        exchange.principal.require_sight(asked.shop_id, f"there is no session of shop {asked.shop_id!r}")
    return Draft(
        session_id=asked.session_id,
        shop_id=asked.shop_id,
        to=asked.to,
        content=asked.content,
        number=asked.number,
        priority=asked.priority,
        bulk_id=bulk_id,
        reference=asked.reference,
        reply_to=asked.reply_to,
        send_at=asked.send_at,
        expires_at=asked.expires_at,
        ttl=asked.ttl,
        idempotency=idempotency,
        queue=asked.queue,
    )


def _idempotency(exchange: Exchange) -> Idempotency | None:
    """The caller's key, whose scope is its token; the fingerprint is of the body as parsed."""
    given = exchange.request.headers.get("Idempotency-Key")
    if given is None:
        return None
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':  # a structured field's quotes (the draft's syntax)
        key = key[1:-1]
    if not 0 < len(key) <= _KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidRequest(
            f"the Idempotency-Key must be 1 to {_KEY_LENGTH} printable ASCII characters",
            [FieldError("/Idempotency-Key", f"must be 1 to {_KEY_LENGTH} printable ASCII characters")],
        )
    asked = f"{exchange.request.method} {exchange.request.path}\n".encode() + _canonical(exchange.raw)
    return Idempotency(exchange.principal.name, key, hashlib.sha256(asked).hexdigest())


# --- looking up -----------------------------------------------------------------------------------


async def read(api: Api, exchange: Exchange) -> Answer:
    record = await _record(api, exchange)
    view = message_view(record)
    if isinstance(record, OutboundMessage):
        view["waiting"] = api.sessions.messages.waiting(record)
    elif (media_id := _file_of(record)) is not None:
        media = await api.store.media(media_id)
        view["media"] = None if media is None else media_view(media)
    return Answer(view)


def _file_of(item: InboxItem) -> str | None:
    """The id of the file that came with a message."""
    if not isinstance(item.event, InboundMessage):
        return None
    part = item.event.content.get(item.event.content["type"])
    media_id = part.get("mediaId") if isinstance(part, dict) else None
    return media_id if isinstance(media_id, str) else None


async def find(api: Api, exchange: Exchange) -> Answer:
    query: MessageQuery = exchange.query
    if query.session_id is not None:
        api.session(exchange.principal, query.session_id)
    found = await api.store.find_messages(
        StoreQuery(
            shop_ids=exchange.principal.shops,
            session_id=query.session_id,
            direction=query.direction,
            state=query.status,
            to=query.to,
            sender=query.sender,
            since=instant(query.since) if query.since is not None else None,
            bulk_id=query.bulk_id,
            after=seq_after(query.cursor) if query.cursor is not None else None,
            limit=query.limit + 1,
        )
    )
    return _page(found, query.limit)


def _page(found: list[OutboundMessage | InboxItem], limit: int) -> Answer:
    page = found[:limit]
    return Answer(
        {
            "items": [message_view(record) for record in page],
            "next": after_seq(page[-1].seq) if len(found) > limit else None,
        }
    )


async def cancel(api: Api, exchange: Exchange) -> Answer:
    record = await _record(api, exchange)
    if isinstance(record, InboxItem):
        raise NotFound(f"there is no outbound message {record.message_id!r}")
    return Answer(message_view(await api.sessions.messages.cancel(record.message_id)))


# --- dead letters ---------------------------------------------------------------------------------


async def find_dead(api: Api, exchange: Exchange) -> Answer:
    query: DeadLetterQuery = exchange.query
    found = await api.store.dead_letters(
        shop_ids=exchange.principal.shops,
        direction=query.direction,
        after=seq_after(query.cursor) if query.cursor is not None else None,
        limit=query.limit + 1,
    )
    return _page(found, query.limit)


async def retry_dead(api: Api, exchange: Exchange) -> Answer:
    record = await _record(api, exchange)
    return Answer(message_view(await api.sessions.messages.retry_dead_letter(record.message_id)))


async def discard_dead(api: Api, exchange: Exchange) -> Answer:
    record = await _record(api, exchange)
    await api.sessions.messages.discard_dead_letter(record.message_id)
    return Answer({"messageId": record.message_id, "discarded": True})


async def _record(api: Api, exchange: Exchange) -> OutboundMessage | InboxItem:
    """The message of either direction, or NotFound, where the principal may not see it as well."""
    message_id = exchange.path["messageId"]
    what = f"there is no message {message_id!r}"
    record = await api.store.message(message_id) or await api.store.inbox_item(message_id)
    if record is None:
        raise NotFound(what)
    exchange.principal.require_sight(record.shop_id, what)
    return record
