"""The two pages, of the business numbers and of WhatsApp Web: static files, a stream of what happens, and the media they show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from quart import Blueprint, Response

from wad.sandbox.web.emulator import NotRunning

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

_CSP: Final = (
    "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_FILES: Final = {
    "index.html": "text/html; charset=utf-8",
    "phones.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "looks.js": "text/javascript; charset=utf-8",
    "numbers.js": "text/javascript; charset=utf-8",
    "phones.js": "text/javascript; charset=utf-8",
    "parts.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "icons.svg": "image/svg+xml",
}

#: What the page may show in place. Anything else a browser is told to save.
_SHOWN: Final = ("image/", "audio/", "video/")


def page_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("page", __name__)

    @routes.get("/")
    async def index() -> Response:
        return _file("index.html")

    @routes.get("/phones")
    async def phones() -> Response:
        return _file("phones.html")

    @routes.get("/page/<name>")
    async def asset(name: str) -> Response:
        return _file(name) if name in _FILES else Response("no such file", 404, _HEADERS)

    @routes.get("/_sandbox/media/<media_id>")
    async def media(media_id: str) -> Response:
        found = sandbox.network.media.get(media_id)
        return _no_media() if found is None else _media(found.mime_type, found.data)

    @routes.get("/_sandbox/web/media/<phone>/<message_id>")
    async def web_media(phone: str, message_id: str) -> Response:
        """The file of a message of WhatsApp Web, as the phone that has it opened it."""
        try:
            if sandbox.web is not None:
                return _media(*await sandbox.web.media(phone, message_id))
        except (ValueError, NotRunning):
            pass
        return _no_media()

    @routes.get("/_sandbox/events")
    async def events() -> Response:
        response = Response(
            _stream(sandbox), 200, {**_HEADERS, "Cache-Control": "no-store"}, content_type="text/event-stream"
        )
        response.timeout = None
        return response

    return routes


def _media(mime_type: str, data: bytes) -> Response:
    headers = dict(_HEADERS)
    if not mime_type.startswith(_SHOWN):
        headers["Content-Disposition"] = "attachment"
    return Response(data, 200, headers, content_type=mime_type)


def _no_media() -> Response:
    return Response("no such media", 404, _HEADERS, content_type="text/plain")


def _file(name: str) -> Response:
    data = files("wad.sandbox").joinpath("page", name).read_bytes()
    return Response(data, 200, _HEADERS, content_type=_FILES[name])


async def _stream(sandbox: Sandbox) -> AsyncIterator[bytes]:
    """Server-Sent Events. `resync` means: load everything anew; it comes first, and whenever events were lost."""
    while True:
        async with sandbox.feed.listen() as receive:
            yield _event({"event": "resync"})
            while True:
                event: dict[str, Any] | None = None
                with trio.move_on_after(15):  # a comment keeps proxies and half-open connections honest
                    try:
                        event = await receive.receive()
                    except trio.EndOfChannel:
                        break
                yield b": \n\n" if event is None else _event(event)


def _event(event: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(event["event"]).encode(), msgspec.json.encode(event))
