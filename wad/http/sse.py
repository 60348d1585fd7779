"""`GET /events`: the event stream as Server-Sent Events, from now on or from `Last-Event-ID`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import trio
from pydantic import BeforeValidator, WithJsonSchema

from wad.content import Id
from wad.errors import FieldError
from wad.http.api import Api
from wad.http.events import EVENT_TYPES, HEARTBEAT, Listener, frame
from wad.http.operations import Answer, Exchange
from wad.http.schemas import Query
from wad.validation import invalid

MEDIA_TYPE: Final = "text/event-stream"
#: A client that lost its stream comes back after so many milliseconds.
_RETRY: Final = b"retry: 2000\n\n"
_BEAT: Final = b": still here\n\n"
_CUT: Final = b": you are too far behind; come back with Last-Event-ID\n\n"
_LARGEST: Final = 2**63 - 1


def _types(value: Any) -> Any:
    """`types=a,b`, `types=a&types=b`, or both."""
    texts = value if isinstance(value, list) else [value]
    names = [name.strip() for text in texts for name in str(text).split(",") if name.strip()]
    unknown = [name for name in names if name not in EVENT_TYPES]
    if unknown or not names:
        raise ValueError(f"must be of {', '.join(EVENT_TYPES)}, separated by commas")
    return frozenset(names)


class EventQuery(Query):
    session_id: Id | None = None
    types: (
        Annotated[
            frozenset[str],
            BeforeValidator(_types),
            WithJsonSchema({"type": "array", "items": {"enum": list(EVENT_TYPES)}, "minItems": 1}),
        ]
        | None
    ) = None


#: One event, as a reader of Server-Sent Events gets it. `data` is JSON: `{"type", "timestamp", "data"}`.
EVENT_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": list(EVENT_TYPES)},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}
LAST_EVENT_ID: Final = {"type": "string", "pattern": "^[0-9]{1,19}$"}


async def listen(api: Api, exchange: Exchange) -> Answer:
    query: EventQuery = exchange.query
    if query.session_id is not None:
        api.session(exchange.principal, query.session_id)
    last = exchange.request.headers.get("Last-Event-ID")
    if last is not None and not (last.isascii() and last.isdigit() and int(last) <= _LARGEST):
        raise invalid([FieldError("/Last-Event-ID", "must be the id of an event that came before")])
    api.stream.check_room()
    body: AsyncIterator[bytes] | bytes = b""
    if exchange.request.method != "HEAD":
        body = stream(api, exchange, query, None if last is None else int(last))
    return Answer(
        body, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=MEDIA_TYPE
    )


async def stream(api: Api, exchange: Exchange, query: EventQuery, last: int | None) -> AsyncIterator[bytes]:
    """Frames, for as long as the client keeps up. It is closed by whoever serves it when the client goes."""
    with api.stream.listener(exchange.principal, session_id=query.session_id, types=query.types) as listener:
        yield _RETRY
        if last is not None:
            async for event in api.stream.since(last, listener):
                yield frame(event)
                last = event.seq
        while (part := await _next(listener, last)) is not None:
            yield part
        if listener.lost:
            yield _CUT


async def _next(listener: Listener, last: int | None) -> bytes | None:
    """The next frame, a heartbeat if there is none for long, or None at the end of the stream."""
    with trio.move_on_after(HEARTBEAT):
        while True:
            try:
                event = await listener.next()
            except trio.EndOfChannel:
                return None
            if last is None or event.seq > last:
                return frame(event)
    return _BEAT
