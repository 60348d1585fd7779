"""How request bodies are read: capped however they come, and JSON without what ends texts or readers early."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import msgspec
from quart import Request
from quart_trio.formparser import TrioFormDataParser
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import RequestEntityTooLarge

from wad.config.model import Http
from wad.errors import FieldError
from wad.http.problems import Refused
from wad.validation import invalid

#: What a form may hold around its file: boundaries, headers, the other fields.
_FORM: Final = 64 * 1024
#: Files are large and phones are slow: an upload has this many times the time of another body.
_PATIENCE: Final = 30
_decode: Final = msgspec.json.Decoder().decode
#: How deep JSON may be nested, how many names one object may have, and how long each may be.
_DEPTH: Final = 32
_NAMES: Final = 1000
_NAME: Final = 256


class CappedBody(TrioBody):
    """Quart's own cap looks at what is unread; this one counts what came."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(expected_content_length, max_content_length)
        self._came = 0

    def append(self, data: bytes) -> None:
        self._came += len(data)
        if self._max_content_length is not None and self._came > self._max_content_length:
            if self._must_raise is None:
                self._must_raise = RequestEntityTooLarge()
                self.set_complete()
            return
        super().append(data)

    async def __anext__(self) -> bytes:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self._must_raise is not None:  # it grew too large while it was waited for
                raise self._must_raise from None
            raise


class MemoryForm(TrioFormDataParser):
    """A form whose file stays in memory, from where it goes to the provider; how many at once is the caller's matter."""

    def __init__(self, **more: Any) -> None:
        super().__init__(stream_factory=lambda *_: BytesIO(), **more)


def request_class(config: Http, *, uploads: str) -> type[TrioRequest]:
    """Requests whose body may be as large, and take as long, as their path allows; *uploads* is that of files."""

    class WadRequest(TrioRequest):
        body_class = CappedBody
        form_data_parser_class = MemoryForm

        def __init__(self, method: str, scheme: str, path: str, *args: Any, **more: Any) -> None:
            upload = path == uploads
            more["max_content_length"] = config.max_upload + _FORM if upload else config.max_body
            more["body_timeout"] = config.body_timeout * (_PATIENCE if upload else 1)
            super().__init__(method, scheme, path, *args, **more)
            self.max_content_length = more["max_content_length"]

    return WadRequest


async def body_of(request: Request) -> bytes:
    """All of it; werkzeug's errors where it is too large or too slow."""
    body = await request.get_data(cache=False)
    assert isinstance(body, bytes), "it was asked for as it came"
    return body


def decode(raw: bytes) -> Any:
    """JSON, strictly: UTF-8, no lone surrogate, no NaN, no NUL in any text."""
    if not raw:
        raise Refused("invalid_json", "the body is empty, and JSON is needed")
    try:
        value = _decode(raw)
    except RecursionError:
        raise Refused("invalid_json", "the body is nested too deep") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused("invalid_json", f"the body is not JSON: {error}") from None
    if raw.count(b"{") + raw.count(b"[") > _DEPTH or len(raw) > _NAME:
        _check_shape(value, _DEPTH)
    if b"\\u0000" in raw:
        _refuse_nuls(value)
    return value


def _check_shape(value: Any, depth: int) -> None:
    """Refuse what would cost whoever walks through it, or answers with its names, more than any real body does."""
    match value:
        case dict() | list() if not depth:
            raise Refused("invalid_json", f"the body is nested deeper than {_DEPTH}")
        case dict():
            if len(value) > _NAMES:
                raise Refused("invalid_json", f"an object in the body has more than {_NAMES} names")
            for name, each in value.items():
                if len(name) > _NAME:
                    raise Refused("invalid_json", f"a name in the body is longer than {_NAME} characters")
                _check_shape(each, depth - 1)
        case list():
            for each in value:
                _check_shape(each, depth - 1)
        case _:
            pass


def _refuse_nuls(value: Any) -> None:
    try:
        found = _nuls(value, "")
    except RecursionError:
        raise Refused("invalid_json", "the body is nested too deep") from None
    if found:
        raise invalid(found)


def _nuls(value: Any, pointer: str) -> list[FieldError]:
    """NUL ends texts early in too many places, at providers and in databases, to be let in."""
    match value:
        case str() if "\0" in value:
            return [FieldError(pointer, "holds a NUL character, which no text may")]
        case dict():
            found = [FieldError(pointer, "has a name with a NUL character") for key in value if "\0" in key]
            return found + [error for key, each in value.items() for error in _nuls(each, f"{pointer}/{key}")]
        case list():
            return [error for index, each in enumerate(value) for error in _nuls(each, f"{pointer}/{index}")]
        case _:
            return []
