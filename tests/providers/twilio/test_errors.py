"""Twilio's table of errors, row by row as its documentation has them, and what has no row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.providers.twilio.wire import TOKEN, error, kind, session
from wad.conformance.peer import answering, serving
from wad.conformance.world import Heard, message
from wad.errors import ProviderError, Scope, Verdict
from wad.providers.http import Answer, Pools
from wad.providers.rules import Rule
from wad.providers.twilio.errors import RULES, error_of, failure_of

#: What each class of codes means (docs/api/errors), so that no row slips into another one.
CLASSES: dict[str, tuple[Verdict, set[int]]] = {
    "needs a person": (
        Verdict.NEEDS_PERSON,
        {20003, 20005, 20006, 20403, 30002, 30010, 63001, 63002, 63007, 63008, 63020, 63022, 63026, 63051, 63062,
         63112},
    ),
    "a limit": (Verdict.THROTTLED, {20429, 21611, 30001, 63017, 63018, 63038}),
    "may have gone out": (Verdict.UNKNOWN, {20500, 20503}),
    "later": (Verdict.NOT_SENT, {30410, 63009, 63010, 63012, 63023, 63019, 63037}),
}  # fmt: skip


def test_every_row_is_in_its_class() -> None:
    """What is in no other class is refused for good."""
    listed = {code: verdict for verdict, codes in CLASSES.values() for code in codes}
    assert {code: rule.verdict for code, rule in RULES.items()} == {
        code: listed.get(code, Verdict.REJECTED) for code in RULES
    }
    assert listed.keys() <= RULES.keys()
    rejected = {code for code, rule in RULES.items() if rule.verdict is Verdict.REJECTED}
    assert {
        21211,
        21408,
        21610,
        21614,
        21656,
        63003,
        63013,
        63014,
        63015,
        63016,
        63024,
        63032,
        63049,
    } <= rejected


@pytest.mark.parametrize("code", RULES)
def test_a_code_decides_whatever_the_status(code: int) -> None:
    """Its verdict, wad's word for it, and whose limit it is."""
    rule: Rule = RULES[code]
    for status in (400, 429, 500):
        found = error_of(answer(*error(code, status, "Because")))
        assert (found.verdict, found.code, found.scope) == (rule.verdict, rule.code, rule.scope)
        assert (found.provider_code, found.detail, found.health) == (str(code), "Because", rule.health)


def answer(status: int, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


WORDLESS: dict[str, tuple[Answer, Verdict, str]] = {
    "an unknown code in a 400": (answer(*error(99999)), Verdict.REJECTED, "provider_rejected"),
    "an unknown code in a 500": (answer(*error(99999, 500)), Verdict.UNKNOWN, "provider_failed"),
    "an unknown code in a 429": (answer(*error(99999, 429)), Verdict.THROTTLED, "number_throttled"),
    "a problem document": (
        answer(404, {"type": "x", "title": "Not found", "status": 404, "code": 20404, "detail": "SM1"}),
        Verdict.REJECTED,
        "not_found",
    ),
    "a 429 without words": (answer(429, b""), Verdict.THROTTLED, "number_throttled"),
    "a 401 without words": (answer(401, b"<html>"), Verdict.NEEDS_PERSON, "bad_credentials"),
    "a gateway's page": (answer(502, b"<html>Bad Gateway</html>"), Verdict.UNKNOWN, "provider_garbled"),
    "a page in a 400": (answer(400, b"<html>"), Verdict.UNKNOWN, "provider_garbled"),
    "JSON without a code": (answer(500, {"message": "x"}), Verdict.UNKNOWN, "provider_garbled"),
    "a code that is no number": (answer(500, {"code": {}, "message": []}), Verdict.UNKNOWN, "provider_garbled"),
}  # fmt: skip


@pytest.mark.parametrize("label", WORDLESS)
def test_what_has_no_row_is_not_guessed(label: str) -> None:
    """The status speaks where no code does, and no further than it can."""
    found, verdict, code = WORDLESS[label]
    told = error_of(found)
    assert (told.verdict, told.code) == (verdict, code)


def test_retry_after_comes_before_the_tables_own_pause() -> None:
    """The SDK loses it; the transport reads it."""
    assert error_of(answer(*error(20429, 429), retry_after="7")).retry_after == 7
    assert error_of(answer(*error(20429, 429))).retry_after == RULES[20429].wait
    assert error_of(answer(429, b"", retry_after="3")).retry_after == 3
    assert error_of(answer(*error(20429, 429))).scope is Scope.ACCOUNT


def test_a_text_shows_no_secret() -> None:
    """Nor what looks like one: 32 hex digits are a token, or half of a SID."""
    quoted = error_of(answer(*error(20003, 401, f"not {TOKEN} nor {'0a' * 16}")), secrets=[TOKEN])
    assert quoted.detail == "not *** nor ***"


@pytest.mark.parametrize(
    ("code", "text", "expected", "retryable"),
    [
        ("63016", "Outside of the window", "reply_window_closed", False),
        ("63018", None, "number_throttled", True),
        ("63019", "", "media_unreachable", True),
        ("12345", "New", "provider_rejected", False),
        (None, None, "provider_rejected", False),
        ("x" * 500, "odd", "provider_rejected", False),
    ],
)
def test_a_status_says_why_it_failed(
    code: str | None, text: str | None, expected: str, retryable: bool
) -> None:
    """By the same table; whether a new message could fare better is said too."""
    failure = failure_of(code, text)
    assert (failure.code, failure.retryable, failure.provider_code) == (expected, retryable, code)
    assert failure.detail


async def test_a_throttled_send_says_for_how_long() -> None:
    """Over the wire, through the SDK."""
    async with (
        serving() as peer,
        Pools() as pools,
        kind(pools, base_url=peer.url).open(session(), Heard()) as c,
    ):
        peer.scripts = [answering(*error(20429, 429), retry_after="11")]
        with pytest.raises(ProviderError) as caught:
            await c.send(message())
        assert (caught.value.verdict, caught.value.retry_after) == (Verdict.THROTTLED, 11)
