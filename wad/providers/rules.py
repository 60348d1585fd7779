"""What a provider's error codes mean, as data: the rows of its table, and what an answer without a code means.

A provider brings a table of `Rule`s by its own codes. wad's codes are public: callers of the API match on them, so a
row takes one that exists where it fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Scope, Verdict
from wad.providers.http import Answer

MINUTE: Final = 60.0
HOUR: Final = 3600.0


class Rule(msgspec.Struct, frozen=True):
    """What one code means. `wait` is the pause, in seconds, that its documentation asks for."""

    verdict: Verdict
    code: str
    scope: Scope = Scope.NUMBER
    wait: float | None = None
    health: bool = False


def person(code: str) -> Rule:
    return Rule(Verdict.NEEDS_PERSON, code)


def rejected(code: str) -> Rule:
    return Rule(Verdict.REJECTED, code)


def throttled(code: str, scope: Scope, wait: float) -> Rule:
    return Rule(Verdict.THROTTLED, code, scope, wait)


def later(code: str, wait: float, *, health: bool = False) -> Rule:
    return Rule(Verdict.NOT_SENT, code, wait=wait, health=health)


#: A server's own trouble. Whether the message went out before it broke is not known.
BROKEN: Final = Rule(Verdict.UNKNOWN, "provider_failed", health=True)


def by_status(status: int) -> Rule:
    """For an error whose code nobody knows, or that has none."""
    if status == 429:
        return throttled("number_throttled", Scope.NUMBER, 1.0)
    if status == 401:
        return person("bad_credentials")
    if 400 <= status < 500:
        return rejected("provider_rejected")
    if status >= 500:
        return BROKEN
    return Rule(Verdict.UNKNOWN, "provider_failed")  # an error in a 200


def garbled(answer: Answer) -> ProviderError:
    """A 2xx, or anything else, whose body is not what the provider says: nobody knows what became of the request."""
    return ProviderError(
        Verdict.UNKNOWN,
        f"HTTP {answer.status} with a body that is not the provider's ({len(answer.body)} bytes)",
        code="provider_garbled",
        health=answer.status >= 500,
    )


def without_words(answer: Answer) -> ProviderError:
    """No error object: a proxy's page, an empty body, something cut. Two statuses speak for themselves."""
    match answer.status:
        case 429:
            rule = by_status(429)
        case 401:
            rule = by_status(401)
        case _:
            return garbled(answer)
    wait = retry_after(answer.headers)
    return ProviderError(
        rule.verdict,
        f"HTTP {answer.status} without an explanation",
        code=rule.code,
        retry_after=rule.wait if wait is None else wait,
    )


def object_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object that *body* is; None for anything else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def integer(value: Any) -> int | None:
    """A code, as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        else None
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`, which holds seconds or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if isfinite(seconds) else None
