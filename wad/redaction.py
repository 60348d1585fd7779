"""What a log line may show: allow-listed fields, then a filter over every text that is left.

The allow-list is the defence. The filter is the last resort, for the texts of libraries and of exceptions, and
it rather hides too much. What it cannot know by its shape is a customer's message: so the fields that could
hold one are not on the list, and of an exception's own words everything in quotes goes.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

HIDDEN: Final = "***"
_LONGEST: Final = 2000  # characters of one value: more is a body that someone logged, or a flood

#: The fields a log line may have besides its own. Ids, words from closed sets, and numbers; never what a person
#: wrote. A provider's message id is not here: a wamid holds the customer's number, in base64. `detail` is for
#: wad's own words and the system's (a disk's, a database's), and loses what it quotes; a provider's are no such.
# fmt: off
FIELDS: Final = frozenset({
    "session_id", "shop_id", "message_id", "request_id", "media_id", "node", "provider", "channel", "token_name", "phone",
    "state", "previous", "desired_state", "reason", "needs_person", "outcome", "result", "operation", "type", "scope", "direction",
    "code", "provider_code", "http_status", "retryable", "error", "error_code", "fact",
    "attempts", "restarts", "restart_in", "retry_at", "retry_after", "due_at", "seconds", "count", "of", "restored", "left", "depth",
    "policy", "why", "moved", "since", "read_from",
    "method", "route", "status", "bind", "store", "path", "file", "files", "signal", "version", "pid", "bridge", "fields", "capability", "event_type", "row", "detail", "addresses",
})
# fmt: on

_PHONE: Final = re.compile(
    r"""
      \+\d(?:[\ ().-]{0,2}\d){6,14}                   # written with its plus, spaced or not
    | (?: (?<=%2[Bb]) | (?<![0-9a-fA-F]) (?<!\d\.) )  # not inside a hexadecimal id, not a fraction
      \d{8,15} (?![0-9a-fA-F])
    """,
    re.VERBOSE,
)
_NAMES: Final = (
    r"access_?token|auth_?token|verify_?token|token|app_?secret|appsecret_proof|client_?secret|flow_?secret"
    r"|secret|api_?key(?:_?secret)?|d360-api-key|master_?key|password|passwd|authorization"
    r"|x-hub-signature(?:-256)?|x-twilio-signature|webhook-signature|signature"
)
_SECRETS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)[^\s/\"'<>]+@"), f"{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)\b({_NAMES})([\"']?\s*[=:]\s*(?:b(?=[\"']))?[\"']?)(?!(?:bearer|basic)\s)[^\s\"'&,;}})\]]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\bEAA[A-Za-z0-9_-]+"), f"EAA{HIDDEN}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\bwad_[A-Za-z0-9_-]{40,}"), f"wad_{HIDDEN}"),
    (re.compile(r"\b(AC|SK)[0-9a-fA-F]{16,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(sha(?:1|256)=)[0-9a-fA-F]{16,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(v1a?,)[A-Za-z0-9+/=]{20,}"), rf"\1{HIDDEN}"),
)
#: Exceptions of the interpreter whose quotes hold names out of the program, not data.
_ABOUT_CODE: Final = (AttributeError, NameError, ImportError, TypeError)
_QUOTED: Final = re.compile(r"b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_MOST_FRAMES: Final = 40


def masked(phone: str) -> str:
    """A phone number with its middle hidden, at least four digits of it: `+52155****4567`."""
    plus = "+" if phone.startswith("+") else ""
    digits = re.sub(r"\D", "", phone)
    return f"{plus}{digits[: max(0, min(5, len(digits) - 8))]}****{digits[-4:]}"


class Redactor:
    """The filter. *secrets* are values known to be secret, hidden wherever they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A very short secret would blot out ordinary words; it is no secret either.
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """*text* without secrets and full phone numbers."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        return _PHONE.sub(lambda match: masked(match[0]), text)

    def _bounded(self, text: str) -> str:
        # Cut twice: a secret that lies across the first cut is not recognised, and must not be shown either.
        return self.text(text[: 2 * _LONGEST])[:_LONGEST]

    def value(self, value: Any) -> Any:
        """A field's value as a line may show it: a scalar, or a list of them; of an exception, one line."""
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)  # JSON has no infinity
            case str():
                return self._bounded(value)
            case datetime():
                return value.isoformat()
            case BaseException():
                return f"{type(value).__name__}: {self._words(value)}"
            case list() | tuple() | set() | frozenset():
                return [self.value(item) for item in value]
            case _:
                return f"<{type(value).__name__}>"

    def prose(self, text: str) -> str:
        """Sentences of a program: as `text`, and without what they quote, which is data."""
        return self._bounded(_QUOTED.sub("'…'", text[: 2 * _LONGEST]))

    def exception(self, error: BaseException) -> str:
        """A traceback with its chain and groups: frames and lines of code, but no locals and nobody's data."""
        return "\n".join(self._chain(error, set()))

    def _chain(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        seen.add(id(error))
        origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if origin is not None and id(origin) not in seen:
            yield from self._chain(origin, seen)
            yield "which led to"
        # Of a very deep stack, the end: that is where it broke.
        for frame in traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]:
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
            if frame.line:
                yield f"    {self.text(frame.line)}"
        yield f"{type(error).__module__}.{type(error).__qualname__}: {self._words(error)}".removeprefix(
            "builtins."
        )
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from (f"  | {line}" for line in self._chain(inner, seen))

    def _words(self, error: BaseException) -> str:
        try:
            words = str(error)
        except Exception as unprintable:  # noqa: BLE001  an exception of any library may break its own str
            return f"<{type(unprintable).__name__} in its str>"
        return self._bounded(words) if isinstance(error, _ABOUT_CODE) else self.prose(words)


def escaped(text: str) -> str:
    """*text* on one line, with nothing in it that could move a cursor or turn the direction of writing."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
