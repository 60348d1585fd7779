"""One delivery to a flow service: a signed POST, and what its answer means.

The request is a Standard Webhook (https://www.standardwebhooks.com): its id is the same at every attempt, its timestamp
is the attempt's, and each secret of a rotation signs. The flow answers with replies, or with nothing. What a failure
means is decided here; when to try again, and when to give up, is the caller's, with `retry_after`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import Random
from typing import Any, Final, TypeAlias

import httpx
import msgspec
import trio

from wad import __version__
from wad.errors import FieldError, InvalidRequest
from wad.flow.event import event_body, sign
from wad.guard import Guard
from wad.models import Failure, InboxItem, utc_now

TIMEOUT: Final = 15.0  # Standard Webhooks: 15 to 30 s
MAX_RESPONSE: Final = 256 * 2**10
#: More would be a mistake of the flow's: Meta takes 45 to one person at once.
MAX_REPLIES: Final = 45

#: Seconds before attempt 2, 3, ...; the last one repeats until the caller gives up, after WhatsApp's 24 hours.
RETRY_AFTER: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
JITTER: Final = 0.2
#: A flow that says it has too much to do, or is too slow, gets at least this long.
BUSY: Final = 15.0

#: Slow flows hold a connection each for up to the timeout. Those of one shop must not use up everybody's.
_LIMITS: Final = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=4.0)
_SNIPPET: Final = 5  # bad fields named in an error's text


# --- what came of it ------------------------------------------------------------------------------


class Answered(msgspec.Struct, frozen=True):
    """The flow has answered, with *replies* to send (maybe none): send bodies without sessionId and to."""

    replies: list[dict[str, Any]]


class Retry(msgspec.Struct, frozen=True):
    """It did not work now, and may later: not before *minimum* seconds, and *after* if the flow said when."""

    error: Failure
    after: float | None = None
    minimum: float = 0.0


class Gone(msgspec.Struct, frozen=True):
    """410: the flow wants no more events."""

    error: Failure


class Refused(msgspec.Struct, frozen=True):
    """The flow, or its answer, is wrong in itself. Trying again helps only if somebody mends it."""

    error: Failure


Outcome: TypeAlias = Answered | Retry | Gone | Refused


def retry_after(attempts: int, outcome: Retry | Refused, *, random: Random) -> float:
    """Seconds to wait after *attempts* (1 and more) that failed, the last one with *outcome*.

    The flow's own Retry-After counts within [base, 2 * base]: it can neither hurry us nor stall a chat for a day.
    """
    base = RETRY_AFTER[min(max(attempts, 1), len(RETRY_AFTER)) - 1]
    if isinstance(outcome, Refused):
        return base * random.uniform(1 - JITTER, 1 + JITTER)
    base = max(base, outcome.minimum)
    if outcome.after is not None:
        return min(max(outcome.after, base), 2 * base)
    return max(outcome.minimum, base * random.uniform(1 - JITTER, 1 + JITTER))


# --- the answer -----------------------------------------------------------------------------------


def replies_in(body: bytes, check: Callable[[object], object]) -> list[dict[str, Any]]:
    """The replies of a 2xx's body. *check* raises InvalidRequest for one that cannot be sent; so do we, for all."""
    if not body.strip():
        return []
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"is not JSON: {error}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("replies", []), list):
        raise InvalidRequest('is not {"replies": [...]}')
    replies: list[dict[str, Any]] = answer.pop("replies", [])
    errors = [FieldError(f"/{key}", "is not a known field; allowed: replies") for key in answer]
    if len(replies) > MAX_REPLIES:
        raise InvalidRequest(
            "holds too much", [*errors, FieldError("/replies", f"has more than {MAX_REPLIES} items")]
        )
    for index, reply in enumerate(replies):
        try:
            check(reply)
        except InvalidRequest as error:
            found = error.errors or [FieldError("", error.detail)]
            errors += [FieldError(f"/replies/{index}{each.pointer}", each.detail) for each in found]
    if errors:
        raise InvalidRequest("holds what cannot be sent", errors)
    return replies


def _explain(error: InvalidRequest) -> str:
    parts = [f"{each.pointer} {each.detail}" for each in error.errors[:_SNIPPET]]
    if len(error.errors) > _SNIPPET:
        parts.append(f"and {len(error.errors) - _SNIPPET} more")
    return "; ".join(parts) or error.detail


def _seconds_until(header: str | None, now: datetime) -> float | None:
    """A Retry-After: seconds, or a date. None where it says nothing that we understand."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())


# --- the exchange ---------------------------------------------------------------------------------


class FlowClient:
    """Delivers events. One for the process; its connections are shared by all sessions."""

    def __init__(
        self,
        *,
        guarded: httpx.AsyncClient,
        trusted: httpx.AsyncClient,
        check_reply: Callable[[object], object],
        timeout: float = TIMEOUT,
        max_response: int = MAX_RESPONSE,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """*trusted* fetches the operator's own URLs, *guarded* everybody else's (`open_flow_client` makes both)."""
        self._guarded = guarded
        self._trusted = trusted
        self._check_reply = check_reply
        self._timeout = timeout
        self._max_response = max_response
        self._now = now

    async def deliver(
        self, item: InboxItem, *, url: str, secret: str | None = None, trusted: bool = False
    ) -> Outcome:
        """POST *item* once. Raises nothing for what the flow, its URL or its secret do."""
        try:
            request = self._request(item, url, secret)
            with trio.fail_after(self._timeout):
                response, body = await self._exchange(self._trusted if trusted else self._guarded, request)
        except InvalidRequest as error:  # the guard's word, or the secret's
            return Refused(Failure(error.code, error.detail))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Refused(Failure("url_not_allowed", f"the URL cannot be used: {error}"))
        except (trio.TooSlowError, httpx.TimeoutException):
            detail = f"the flow did not answer within {self._timeout:g} s"
            return Retry(Failure("flow_timeout", detail, None, retryable=True), minimum=BUSY)
        except httpx.TransportError as error:
            detail = f"cannot reach the flow ({type(error).__name__})"
            return Retry(Failure("flow_unreachable", detail, None, retryable=True))
        return self._meaning(response, body)

    def _request(self, item: InboxItem, url: str, secret: str | None) -> httpx.Request:
        body = event_body(item)
        timestamp = int(self._now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # the cap on the answer's size is one on what is unpacked
            "User-Agent": f"wad/{__version__}",
            "webhook-id": item.message_id,
            "webhook-timestamp": str(timestamp),
            "X-Wad-Delivery": str(item.attempts + 1),
        }
        if secret is not None:
            headers["webhook-signature"] = sign(secret, item.message_id, timestamp, body)
        return self._guarded.build_request("POST", url, content=body, headers=headers)

    async def _exchange(
        self, client: httpx.AsyncClient, request: httpx.Request
    ) -> tuple[httpx.Response, bytes | None]:
        """The response and its body; None for one that is too large."""
        response = await client.send(request, stream=True)
        try:
            chunks = response.aiter_raw()
            body = bytearray()
            async for chunk in chunks:
                body += chunk
                if len(body) > self._max_response:
                    await _abandon(chunks)
                    return response, None
            return response, bytes(body)
        finally:
            await response.aclose()

    def _meaning(self, response: httpx.Response, body: bytes | None) -> Outcome:
        status = response.status_code
        code = str(status)
        match status:
            case _ if response.is_success:
                return self._answer(response, body)
            case 410:
                return Gone(Failure("flow_gone", "the flow answered 410 Gone", code))
            case 408 | 429:
                error = Failure("flow_busy", f"the flow answered {status}", code, retryable=True)
                return Retry(error, self._said(response), BUSY)
            case _ if status == 425 or response.is_server_error:
                error = Failure("flow_failed", f"the flow answered {status}", code, retryable=True)
                return Retry(error, self._said(response))
            case _ if response.is_redirect:
                return Refused(
                    Failure("flow_refused", f"the flow answered {status}: redirects are not followed", code)
                )
            case _:
                return Refused(Failure("flow_refused", f"the flow answered {status}", code))

    def _said(self, response: httpx.Response) -> float | None:
        return _seconds_until(response.headers.get("Retry-After"), self._now())

    def _answer(self, response: httpx.Response, body: bytes | None) -> Outcome:
        code = str(response.status_code)
        if body is None:
            why = f"is larger than {self._max_response} bytes"
        elif response.headers.get("Content-Encoding", "identity").lower() != "identity":
            why = "is compressed, though wad does not accept that"
        else:
            try:
                return Answered(replies_in(body, self._check_reply))
            except InvalidRequest as error:
                why = _explain(error)
        return Refused(Failure("flow_bad_answer", f"the flow's answer: {why}", code))


async def _abandon(chunks: AsyncIterator[bytes]) -> None:
    """End the generators that httpx nests: the garbage collector cannot, and trio complains. A cancel passes all."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async for _ in chunks:
            pass


@asynccontextmanager
async def open_flow_client(
    guard: Guard,
    check_reply: Callable[[object], object],
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  of each delivery, not of this
    max_response: int = MAX_RESPONSE,
) -> AsyncIterator[FlowClient]:
    """A client and its two pools: one behind *guard*, and one for the operator's own URLs."""
    async with (
        _http_client(guard.transport(limits=_LIMITS)) as guarded,
        _http_client(httpx.AsyncHTTPTransport(limits=_LIMITS, trust_env=False)) as trusted,
    ):
        yield FlowClient(
            guarded=guarded,
            trusted=trusted,
            check_reply=check_reply,
            timeout=timeout,
            max_response=max_response,
        )


def _http_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, connect=5.0),  # the whole has its own
        cookies=CookieJar(
            DefaultCookiePolicy(allowed_domains=())
        ),  # one shop's must not go to another's flow
    )
