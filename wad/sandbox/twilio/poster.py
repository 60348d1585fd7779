"""One request to a webhook's URL: built, signed, sent and written down."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

import httpx
import msgspec
import trio

from wad.sandbox.ledger import Ledger
from wad.sandbox.settings import Settings
from wad.sandbox.twilio.accounts import Accounts, Sender
from wad.sandbox.twilio.events import Event, Parameters, overrides
from wad.sandbox.twilio.signing import headers, with_hash

Signature: TypeAlias = Literal["right", "wrong", "missing"]

_FORM: Final = "application/x-www-form-urlencoded; charset=UTF-8"
_FORGED: Final = "bm90IHRoZSBhdXRoIHRva2VuISE="


class Poster:
    def __init__(
        self,
        *,
        accounts: Accounts,
        ledger: Ledger,
        settings: Callable[[], Settings],
        client: httpx.AsyncClient,
        now: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._settings = settings
        self._client = client
        self._now = now
        self._numbers = itertools.count(1)

    async def post(
        self, event: Event, url: str, params: Parameters, *, attempt: int, signature: Signature = "right"
    ) -> tuple[int | None, str | None]:
        """The status that came back, and the kind of failure in the words of a retry policy."""
        plain = url.partition("#")[0]
        started = trio.current_time()
        status: int | None = None
        error: str | None = None
        failure: str | None = None
        warning: int | None = None
        replies = 0
        try:
            with trio.fail_after(min(overrides(url).total, self._settings().webhook_timeout)):
                response = await self._client.send(self._request(event, url, params, signature))
            status = response.status_code
            if response.is_success:
                warning, replies = _warning(response), len(re.findall(r"<Message\b", response.text))
            else:
                failure = f"{status // 100}xx"
        except (httpx.ConnectError, httpx.ConnectTimeout) as wrong:
            error, failure = type(wrong).__name__, "ct"
        except (httpx.HTTPError, trio.TooSlowError) as wrong:
            error, failure = type(wrong).__name__, "rt"
        self._ledger.write(
            "delivery",
            self._now(),
            {
                "deliveryId": f"twd_{next(self._numbers)}",
                "url": plain,
                "events": [event.event_id],
                "attempt": attempt,
                "status": status,
                "error": error,
                "warning": warning,
                "replies": replies,
                "seconds": round(trio.current_time() - started, 4),
            },
        )
        return status, failure

    def _request(self, event: Event, url: str, params: Parameters, signature: Signature) -> httpx.Request:
        asked, plain = overrides(url), url.partition("#")[0]
        content: str | None = urlencode(params)
        if event.method == "GET":
            plain, content = f"{plain}{'&' if '?' in plain else '?'}{content}", None
        signed = self._signed(event.sender, plain, params if content is not None else {}, signature)
        if content is not None:
            signed["Content-Type"] = _FORM
        return self._client.build_request(
            event.method,
            plain,
            content=content,
            headers={"User-Agent": "TwilioProxy/1.1", "I-Twilio-Idempotency-Token": event.token, **signed},
            timeout=httpx.Timeout(asked.read, connect=asked.connect),
        )

    async def post_raw(
        self, sender: Sender, url: str, params: Parameters | None, json: Any, signature: Signature
    ) -> dict[str, Any]:
        """A form, or JSON, once: what an attacker, or a Twilio of tomorrow, may send."""
        url = url.partition("#")[0]
        if params is not None:
            content, kind = urlencode(params).encode(), _FORM
        else:
            content, kind = msgspec.json.encode(json), "application/json"
            url = with_hash(url, content)
        signed = self._signed(sender, url, params or {}, signature)
        with trio.fail_after(self._settings().webhook_timeout):
            answer = await self._client.post(url, content=content, headers={"Content-Type": kind, **signed})
        return {"status": answer.status_code, "body": answer.text}

    def _signed(self, sender: Sender, url: str, params: Parameters, signature: Signature) -> dict[str, str]:
        right = headers(self._accounts.account_of(sender), url, params.items())
        match signature:
            case "right":
                return right
            case "wrong":
                return right | {"X-Twilio-Signature": _FORGED}
            case "missing":
                return {}


def _warning(response: httpx.Response) -> int | None:
    """What Twilio's debugger would say of an answer: it is of the wrong type, or it is no TwiML."""
    if not response.content:
        return None
    if response.headers.get("content-type", "").partition(";")[0] not in ("text/xml", "application/xml"):
        return 12300
    return 12100 if re.search(r"<Response\b", response.text) is None else None
