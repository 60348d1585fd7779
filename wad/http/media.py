"""Files over HTTP: upload one for sending, fetch one that was sent or received."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final
from urllib.parse import quote

from quart.datastructures import FileStorage
from quart.wrappers.response import ResponseBody

from wad.errors import FieldError, NotFound, TooManyRequests
from wad.http.answers import media_view
from wad.http.api import Api
from wad.http.operations import Answer, Exchange
from wad.http.problems import Refused
from wad.http.schemas import UploadForm
from wad.models import Media, MediaState
from wad.providers.base import MediaContent
from wad.validation import checked, invalid

PATH: Final = "/api/whatsapp/media"
FORM: Final = "multipart/form-data"
_UNKNOWN: Final = "application/octet-stream"
_MIME: Final = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}")


FORM_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "sessionId": {"type": "string", "minLength": 1, "maxLength": 256},
        "from": {"type": "string", "pattern": r"^(\+[1-9][0-9]{6,14}|[0-9]{1,32})$"},
        "file": {"type": "string", "format": "binary", "minLength": 1},
    },
    "additionalProperties": False,
    "required": ["sessionId", "file"],
}


async def upload(api: Api, exchange: Exchange) -> Answer:
    """A form with `sessionId` and `file`; `from` names the number that is to send it, of a session that has several."""
    if api.uploads.available_tokens < 1:
        raise TooManyRequests("as many uploads as fit into memory are in hand", retry_after=1)
    async with api.uploads:
        asked, file = await _form(exchange)
        session = api.session(exchange.principal, asked.session_id)
        filename = _name(file.filename)
        mime_type = _known(file.mimetype, filename)
        data = file.read()
        if not data:
            raise invalid([FieldError("/file", "is empty")])
        media = await api.sessions.calls.upload(
            session.session_id, data, mime_type=mime_type, filename=filename, number=asked.sender
        )
    return Answer(media_view(media), 201, {"Location": f"{PATH}/{media.media_id}"})


async def _form(exchange: Exchange) -> tuple[UploadForm, FileStorage]:
    if exchange.request.mimetype != FORM:
        raise Refused("unsupported_media_type", f"Content-Type must be {FORM}", {"Accept": FORM})
    try:
        files, form = await exchange.request.files, await exchange.request.form
    except ValueError as error:
        raise Refused("bad_request", f"the form cannot be read: {error}") from None
    one = len(files.getlist("file")) == 1
    asked = checked(UploadForm, dict(form), [] if one else [FieldError("/file", "exactly one is required")])
    return asked, files["file"]


def _name(filename: str | None) -> str | None:
    """The last part of what a browser may send as a whole path."""
    return re.split(r"[/\\]", filename)[-1][-255:] or None if filename else None


def _known(mime_type: str, filename: str | None) -> str:
    """What the client says it is, else what its name says."""
    if mime_type in ("", _UNKNOWN) and filename is not None:
        mime_type = mimetypes.guess_type(filename)[0] or ""
    if _MIME.fullmatch(mime_type) is None or mime_type == _UNKNOWN:
        raise invalid([FieldError("/file", "needs a Content-Type, or a filename that tells its type")])
    return mime_type


async def download(api: Api, exchange: Exchange) -> Answer:
    """The file, as a download: a customer's file is never shown as a page of ours."""
    media_id = exchange.path["mediaId"]
    what = f"there is no file {media_id!r}"
    media = await api.store.media(media_id)
    if media is None:
        raise NotFound(what)
    exchange.principal.require_sight(api.sessions.session(media.session_id).shop_id, what)
    tag = {}
    if media.state is MediaState.STORED and media.sha256 is not None:
        tag = {"ETag": f'"{media.sha256}"'}
        if exchange.request.if_none_match.contains_weak(media.sha256):
            return Answer(b"", 304, tag, _UNKNOWN if media.is_suspect else _mime(media.mime_type))
    async with AsyncExitStack() as opening:
        content = await opening.enter_async_context(api.sessions.calls.download(media))
        body = FileBody(content, opening.pop_all())
    return Answer(body, 200, _file_headers(media, content) | tag, _mime(content.mime_type))


def _mime(mime_type: str) -> str:
    bare = mime_type.partition(";")[0].strip().lower()
    return bare if _MIME.fullmatch(bare) else _UNKNOWN


def _file_headers(media: Media, content: MediaContent) -> dict[str, str]:
    name = media.filename or media.media_id + (mimetypes.guess_extension(_mime(content.mime_type)) or "")
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if content.size is not None:
        headers["Content-Length"] = str(content.size)
    return headers


class FileBody(ResponseBody):
    """A file on its way to the client. What holds it is let go of when the answer ends, however it ends."""

    def __init__(self, content: MediaContent, holding: AsyncExitStack) -> None:
        self._content = content
        self._holding = holding

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._content.chunks

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._holding.aclose()
