"""360dialog, as the proxy that it is: paths without a number, an API key for a token, and all the rest is Meta's.

Its own are the check of the key, `/health_status`, and `/v1/configs/webhook`: webhooks go out unsigned, with the
headers that were set beside their URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Blueprint, Response, request

from wad.sandbox.errors import required
from wad.sandbox.graph import Answer, Graph, parameters
from wad.sandbox.network import Callback, Number
from wad.sandbox.server import ASGIApp
from wad.sandbox.shape import obj, only, string

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

#: Its API stands under this path of the sandbox.
PREFIX: Final = "/360dialog"
_OWN: Final = "/v1/configs/webhook"
#: What the number has of its own at Meta: the number's id comes in front. The rest are objects by their ids.
_OF_THE_NUMBER: Final = frozenset(
    {"messages", "marketing_messages", "media", "groups", "whatsapp_business_profile"}
)
#: Answers name Meta's host for files, whoever asks: clients put 360dialog's in its place.
_FILES: Final = b"lookaside.fbsbx.com"
_NUMBER_KEY: Final = "wad.sandbox.dialog360"


def behind_dialog360(sandbox: Sandbox, app: ASGIApp) -> ASGIApp:
    """*app*, with 360dialog's API under `PREFIX` in front of it."""

    async def call(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = str(scope.get("path", ""))
        if not path.startswith(f"{PREFIX}/"):
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = headers.pop(b"d360-api-key", b"").decode("latin-1")
        number = (
            next((n for n in sandbox.network.numbers.values() if n.api_key == key), None) if key else None
        )
        if number is None:
            sandbox.ledger.write(
                "call",
                sandbox.network.now(),
                {"operation": "key", "phoneNumberId": None, "method": scope["method"], "status": 401},
            )
            await _refuse(receive, send)
            return
        headers |= {b"authorization": f"Bearer {min(number.access_tokens)}".encode(), b"host": _FILES}
        # In place: whoever is in front may have to find what is left in it (`wire.py`).
        scope |= {"scheme": "https", "headers": list(headers.items()), _NUMBER_KEY: number}
        _lead(scope, number, path.removeprefix(PREFIX))
        await app(scope, receive, send)

    return call


def _lead(scope: dict[str, Any], number: Number, path: str) -> None:
    """Put Meta's path in place of 360dialog's."""
    first = path.split("/")[1]
    if path == _OWN:
        return
    if path == "/health_status":
        path, scope["query_string"] = f"/{number.phone_number_id}", b"fields=health_status"
    elif first in _OF_THE_NUMBER:
        path = f"/{number.phone_number_id}{path}"
    elif first == "message_templates":
        path = f"/{number.waba_id}{path}"
    scope |= {"path": path, "raw_path": path.encode()}


async def _refuse(receive: Any, send: Any) -> None:
    # What is left unread would break the connection, and with it the client's next request.
    while (await receive()).get("more_body"):
        pass
    told = {"http_code": 401, "developer_message": "Invalid api_key or token expired", "success": False}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode({"meta": told})})


def dialog360_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("dialog360", __name__)
    graph = Graph(sandbox)

    @routes.route(f"{PREFIX}{_OWN}", methods=["GET", "POST"])
    async def webhook() -> Response:
        body = await parameters()
        number: Number = request.scope[_NUMBER_KEY]  # type: ignore[typeddict-item]

        async def touch() -> Answer:
            if request.method == "POST":
                _set_webhook(sandbox, number, body)
            override = number.override
            return {
                "url": override.url if override is not None else "",
                "headers": dict(number.webhook_headers),
            }

        return await graph.perform("subscription", number.phone_number_id, touch)

    return routes


def _set_webhook(sandbox: Sandbox, number: Number, body: Answer) -> None:
    only(body, ("url", "headers"))
    if not body.get("url"):
        raise required("url")
    headers = obj(body.get("headers", {}), "headers")
    number.webhook_headers = {name: string(value, f"headers['{name}']") for name, value in headers.items()}
    sandbox.callbacks.check(string(body["url"], "url"))
    number.override = unsigned(number, body["url"])


def unsigned(number: Number, url: str) -> Callback:
    """A callback whose POSTs carry the number's headers in place of a signature."""
    return Callback(url, headers=tuple(number.webhook_headers.items()))
