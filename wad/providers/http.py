"""HTTP towards providers: `call`, which does one exchange, and what it means when an exchange fails.

What a failure means follows from how far the request got:

- nothing that the other side could act on was written: it surely did not go out;
- all of it may have been read, and no complete answer came back: nobody knows;
- an answer came: its words decide, and those are the provider's to read.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final, TypeVar

import httpcore
import httpx
import msgspec
import trio

from wad.errors import InvalidRequest, ProviderError, Verdict
from wad.providers.base import Link
from wad.providers.pools import Origin, Pools

__all__ = ["ATTEMPT", "UPLOAD", "Answer", "Body", "Origin", "Pools", "call", "request", "stream"]

T = TypeVar("T")

#: Seconds for one attempt, from the wait for a connection to the answer's last byte; more for a file.
ATTEMPT: Final = 35.0
UPLOAD: Final = 60.0
_TIMEOUTS: Final = {"connect": 5.0, "pool": 2.0, "write": 10.0, "read": 20.0}
_UPLOAD_TIMEOUTS: Final = {**_TIMEOUTS, "write": UPLOAD, "read": UPLOAD}

#: An API's answer is some kilobytes; a page of 1,000 groups stays below a mebibyte.
_ANSWER_CAP: Final = 4 * 2**20

# They would log URLs, and a URL may carry an `appsecret_proof`.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


# --- what a failure means -------------------------------------------------------------------------


class _Meaning(msgspec.Struct, frozen=True):
    verdict: Verdict
    code: str
    text: str
    health: bool = True


_POOL_EXHAUSTED = _Meaning(
    Verdict.NOT_SENT, "pool_exhausted", "no connection to the provider was free", health=False
)
_UNREACHABLE = _Meaning(Verdict.NOT_SENT, "provider_unreachable", "cannot connect to the provider")
_TIMED_OUT = _Meaning(Verdict.UNKNOWN, "provider_timeout", "the provider did not answer in time")
_LOST = _Meaning(Verdict.UNKNOWN, "connection_lost", "the connection broke before the answer was complete")
_UNWRITABLE = _Meaning(
    Verdict.REJECTED, "invalid_request", "the request cannot be written as HTTP", health=False
)
_FORBIDDEN = _Meaning(
    Verdict.NEEDS_PERSON, "url_not_allowed", "the guard refuses the session's base URL", health=False
)

#: Every exception that ends an exchange, by its first match. httpcore's come from `Pool`, httpx's from stand-ins.
_MEANINGS: Final[tuple[tuple[type[Exception], _Meaning], ...]] = (
    (httpx.PoolTimeout, _POOL_EXHAUSTED),
    (httpx.ConnectError, _UNREACHABLE),  # TLS too, and names that do not resolve
    (httpx.ConnectTimeout, _UNREACHABLE),
    (httpx.TimeoutException, _TIMED_OUT),
    (httpx.NetworkError, _LOST),
    (httpx.RemoteProtocolError, _LOST),
    (httpx.LocalProtocolError, _UNWRITABLE),
    (httpcore.ConnectError, _UNREACHABLE),
    (httpcore.ConnectTimeout, _UNREACHABLE),
    (httpcore.TimeoutException, _TIMED_OUT),
    (httpcore.NetworkError, _LOST),
    (httpcore.RemoteProtocolError, _LOST),
    (httpcore.LocalProtocolError, _UNWRITABLE),
    (InvalidRequest, _FORBIDDEN),
)
_FOREIGN: Final = tuple(kind for kind, _ in _MEANINGS)


def _failure(meaning: _Meaning, why: str, *, may_be_out: bool) -> ProviderError:
    verdict = meaning.verdict
    if verdict is Verdict.UNKNOWN and not may_be_out:
        verdict = Verdict.NOT_SENT
    return ProviderError(verdict, f"{meaning.text} ({why})", code=meaning.code, health=meaning.health)


def _explain(error: Exception, *, may_be_out: bool) -> ProviderError:
    meaning = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
    why = type(error).__name__
    if meaning is not _UNWRITABLE:  # that one quotes the header it stumbled on, and it may be the token
        cause: BaseException | None = error
        while cause is not None and not str(cause):  # a certificate that does not verify lies deeper
            cause = cause.__cause__ or cause.__context__
        why += f": {cause!s:.200}" if cause else ""
    return _failure(meaning, why, may_be_out=may_be_out)


def _repeatable(error: ProviderError) -> ProviderError:
    """*error*, of a request that may as well be made again: nobody needs to know whether it went out."""
    if error.verdict is not Verdict.UNKNOWN:
        return error
    return ProviderError(
        Verdict.NOT_SENT,
        error.detail,
        code=error.code,
        provider_code=error.provider_code,
        retry_after=error.retry_after,
        health=error.health,
    )


# --- one exchange ---------------------------------------------------------------------------------


class Body(httpx.AsyncByteStream):
    """A request's body that knows whether any of it was asked for.

    Before that the other side has at most the headers. They announce a body, so it cannot have acted on them.
    """

    __slots__ = ("_content", "begun")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.begun = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        if self._content:
            yield self._content


class Answer(msgspec.Struct, frozen=True):
    """A complete answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


def request(
    method: str, url: httpx.URL, headers: httpx.Headers, body: bytes = b"", *, upload: bool = False
) -> httpx.Request:
    """A request as `call` takes it. *headers* names all but the body's length, `Host` included."""
    made = httpx.Request(
        method,
        url,
        headers=headers,
        stream=Body(body),
        extensions={"timeout": _UPLOAD_TIMEOUTS if upload else _TIMEOUTS},
    )
    if body or method == "POST":
        made.headers["Content-Length"] = str(len(body))
    return made


async def call(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    read: Callable[[Answer], T],
    *,
    link: Link,
    operation: str,
    seconds: float = ATTEMPT,
    repeatable: bool = False,
) -> T:
    """Do one exchange and return what *read* makes of its answer; *read* raises ProviderError for a refusal.

    No failure of a *repeatable* request is `UNKNOWN`. Whatever the outcome, *link* hears of it once.
    """
    with _reported(link, operation, repeatable=repeatable):
        with trio.move_on_after(seconds) as scope:
            try:
                answer = await _exchange(transport, request)
            except _FOREIGN as error:
                raise _explain(error, may_be_out=_begun(request)) from None
        if scope.cancelled_caught:
            raise _failure(_TIMED_OUT, f"{seconds:g} s in all", may_be_out=_begun(request))
        return read(answer)


@asynccontextmanager
async def stream(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    refuse: Callable[[Answer], ProviderError],
    *,
    link: Link,
    operation: str,
    seconds: float,
    most: int,
) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[bytes]]]:
    """Open a file to be read in chunks: its headers and the chunks, at most *most* bytes of them.

    *seconds* bounds the time spent waiting for the other side; how long the reader takes is its own affair.
    """
    with _reported(link, operation, repeatable=True):
        with trio.move_on_after(min(seconds, ATTEMPT)) as scope:
            try:
                response = await transport.handle_async_request(request)
            except _FOREIGN as error:
                raise _explain(error, may_be_out=False) from None
        if scope.cancelled_caught:
            raise _failure(_TIMED_OUT, "no answer", may_be_out=False)
        try:
            async with aclosing(_chunks(response, seconds=seconds, most=most)) as chunks:
                if response.status_code != httpx.codes.OK:
                    body = b"".join([chunk async for chunk in chunks])
                    raise refuse(Answer(response.status_code, response.headers, body))
                yield response.headers, chunks
        finally:
            await response.aclose()


@contextmanager
def _reported(link: Link, operation: str, *, repeatable: bool) -> Iterator[None]:
    started = trio.current_time()
    result = "crashed"
    try:
        yield
        result = "ok"
    except ProviderError as error:
        result = error.code
        raise (_repeatable(error) if repeatable else error) from None
    except trio.Cancelled:
        result = "cancelled"
        raise
    finally:
        link.called(operation, result, trio.current_time() - started)


def _begun(request: httpx.Request) -> bool:
    return not isinstance(request.stream, Body) or request.stream.begun


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            body += chunk
            if len(body) > _ANSWER_CAP:
                raise httpx.RemoteProtocolError(f"an answer of more than {_ANSWER_CAP} bytes")
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers, bytes(body))


async def _chunks(response: httpx.Response, *, seconds: float, most: int) -> AsyncGenerator[bytes, None]:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    chunks = aiter(response.stream)
    size = 0
    while True:
        before = trio.current_time()
        with trio.move_on_after(seconds) as scope:
            try:
                chunk = await anext(chunks, None)
            except _FOREIGN as error:
                raise _explain(error, may_be_out=False) from None
        if scope.cancelled_caught:
            raise _failure(_TIMED_OUT, "the file came too slowly", may_be_out=False)
        seconds -= trio.current_time() - before
        if chunk is None:
            return
        size += len(chunk)
        if size > most:
            raise ProviderError(Verdict.REJECTED, f"a file of more than {most} bytes", code="media_too_large")
        yield chunk
