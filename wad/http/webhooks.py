"""Provider webhooks over HTTP: raw bytes in, 200 once they are on disk. The work is `supervisor.webhooks`'s."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import trio
from quart import Request

from wad.errors import Forbidden, StoreUnavailable, Unauthorized, WadError
from wad.events import WebhookAnswered
from wad.http.api import Api
from wad.http.bodies import body_of
from wad.http.operations import Answer, Exchange
from wad.http.schemas import HandshakeQuery
from wad.models import SessionId, WebhookRequest

#: Meta's challenge is a short number; nothing longer is ours to repeat.
_CHALLENGE: Final = 256
_RESULTS: Final[dict[type[WadError], str]] = {
    Unauthorized: "bad_signature",
    StoreUnavailable: "unavailable",
}


def _addressed(exchange: Exchange) -> tuple[str, SessionId | None]:
    session_id = exchange.path.get("sessionId")
    return exchange.path["provider"], None if session_id is None else SessionId(session_id)


async def handshake(api: Api, exchange: Exchange) -> Answer:
    """Meta asks whether we are who was named: the token must be the one agreed, and its challenge comes back.

    It comes back as plain text that no browser takes for a page.
    """
    query: HandshakeQuery = exchange.query
    provider, session_id = _addressed(exchange)
    known = api.sessions.webhooks.handshake(provider, session_id, token=query.verify_token)
    if query.mode != "subscribe" or not known or len(query.challenge) > _CHALLENGE:
        raise Forbidden("the handshake's verify token is not the one agreed")
    return Answer(query.challenge.encode(), media_type="text/plain; charset=utf-8")


async def take(api: Api, exchange: Exchange) -> Answer:
    """A batch of messages and statuses, stored before it is answered. Whoever repeats it changes nothing."""
    provider, session_id = _addressed(exchange)
    began = trio.current_time()
    request = WebhookRequest(
        url=_url_of(api, exchange.request),
        headers={name.lower(): value for name, value in exchange.request.headers.items()},
        body=await body_of(exchange.request),
    )
    try:
        taken = await api.sessions.webhooks.take(provider, session_id, request)
    except WadError as error:
        _tell(api, provider, _RESULTS.get(type(error), "malformed"), began)
        raise
    _tell(api, provider, "ok", began)
    if (receipt := api.sessions.webhooks.receipt(provider)) is not None:
        media_type, text = receipt
        return Answer(text, media_type=media_type)
    return Answer({"messages": taken.messages, "statuses": taken.statuses, "other": taken.other})


def _url_of(api: Api, request: Request) -> str:
    """The URL that the provider called, as it knows it. What `Host` says, anybody can say."""
    path: bytes = request.scope.get("raw_path") or quote(request.path).encode()
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    return f"{(api.config.http.public_url or '').rstrip('/')}{path.decode('latin-1')}{query}"


def _tell(api: Api, provider: str, result: str, began: float) -> None:
    if provider in api.sessions.providers:
        api.events.publish(WebhookAnswered(provider, result, trio.current_time() - began))
