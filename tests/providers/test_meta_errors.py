"""Meta's errors, code by code, and the answers that have none."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.meta import TOKEN
from wad.errors import Scope, Verdict
from wad.models import Failure
from wad.providers.http import Answer
from wad.providers.meta.errors import RANGES, RULES, error_of, failure_of

NOT_SENT, THROTTLED, REJECTED, UNKNOWN, PERSON = (
    Verdict.NOT_SENT,
    Verdict.THROTTLED,
    Verdict.REJECTED,
    Verdict.UNKNOWN,
    Verdict.NEEDS_PERSON,
)


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answer(status, httpx.Headers({k.replace("_", "-"): v for k, v in headers.items()}), content)


def refusal(code: Any, status: int = 400, **more: Any) -> Answer:
    return answer(
        status, {"error": {"message": f"(#{code}) words", "type": "OAuthException", "code": code, **more}}
    )


#: code -> (verdict, wad's code), as Meta documents each. The scope and the pause of throttles are in the next table.
CODES: dict[int, tuple[Verdict, str]] = {
    0: (PERSON, "bad_credentials"),
    1: (UNKNOWN, "provider_failed"),
    2: (UNKNOWN, "provider_failed"),
    3: (PERSON, "permission_missing"),
    4: (THROTTLED, "app_throttled"),
    10: (PERSON, "permission_missing"),
    33: (PERSON, "number_unknown"),
    100: (REJECTED, "invalid_parameter"),
    190: (PERSON, "bad_credentials"),
    200: (PERSON, "permission_missing"),
    250: (PERSON, "permission_missing"),
    299: (PERSON, "permission_missing"),
    368: (PERSON, "account_blocked"),
    613: (THROTTLED, "number_throttled"),
    80007: (THROTTLED, "account_throttled"),
    130429: (THROTTLED, "number_throttled"),
    130472: (REJECTED, "recipient_in_experiment"),
    130497: (REJECTED, "country_restricted"),
    130501: (REJECTED, "unsupported_message"),
    131000: (UNKNOWN, "provider_failed"),
    131005: (PERSON, "permission_missing"),
    131008: (REJECTED, "missing_parameter"),
    131009: (REJECTED, "invalid_parameter"),
    131016: (NOT_SENT, "provider_unavailable"),
    131020: (REJECTED, "group_unusable"),
    131021: (REJECTED, "recipient_is_sender"),
    131026: (REJECTED, "recipient_unreachable"),
    131030: (REJECTED, "recipient_not_allowed"),
    131031: (PERSON, "account_locked"),
    131037: (PERSON, "display_name_not_approved"),
    131041: (REJECTED, "group_unknown"),
    131042: (PERSON, "payment_problem"),
    131044: (PERSON, "payment_problem"),
    131045: (PERSON, "not_registered"),
    131047: (REJECTED, "reply_window_closed"),
    131048: (THROTTLED, "spam_throttled"),
    131049: (REJECTED, "marketing_capped"),
    131050: (REJECTED, "marketing_refused"),
    131051: (REJECTED, "unsupported_message"),
    131052: (REJECTED, "media_download_failed"),
    131053: (REJECTED, "media_rejected"),
    131055: (REJECTED, "only_marketing"),
    131056: (THROTTLED, "pair_throttled"),
    131057: (NOT_SENT, "number_in_maintenance"),
    131059: (REJECTED, "invalid_cursor"),
    131062: (REJECTED, "phone_required"),
    131063: (REJECTED, "marketing_not_allowed"),
    131064: (THROTTLED, "template_misclassified"),
    131201: (REJECTED, "group_request_failed"),
    131202: (REJECTED, "group_request_failed"),
    131207: (REJECTED, "group_suspended"),
    131208: (THROTTLED, "group_throttled"),
    131211: (REJECTED, "group_request_failed"),
    131212: (REJECTED, "group_request_failed"),
    131214: (REJECTED, "groups_not_allowed"),
    131215: (REJECTED, "groups_not_allowed"),
    132000: (REJECTED, "template_parameters_wrong"),
    132001: (REJECTED, "template_not_found"),
    132005: (REJECTED, "template_too_long"),
    132007: (REJECTED, "template_policy_violation"),
    132008: (REJECTED, "template_parameters_wrong"),
    132012: (REJECTED, "template_parameters_wrong"),
    132015: (REJECTED, "template_paused"),
    132016: (REJECTED, "template_disabled"),
    132068: (REJECTED, "flow_blocked"),
    132069: (NOT_SENT, "flow_throttled"),
    132999: (REJECTED, "template_rejected"),
    133000: (PERSON, "not_registered"),
    133004: (UNKNOWN, "provider_failed"),
    133005: (PERSON, "pin_mismatch"),
    133006: (PERSON, "not_registered"),
    133008: (THROTTLED, "pin_throttled"),
    133009: (THROTTLED, "pin_throttled"),
    133010: (PERSON, "not_registered"),
    133015: (THROTTLED, "registration_throttled"),
    133016: (THROTTLED, "registration_throttled"),
    133999: (PERSON, "not_registered"),
    134011: (PERSON, "terms_not_accepted"),
    134100: (REJECTED, "only_marketing"),
    134101: (NOT_SENT, "template_syncing"),
    134102: (PERSON, "marketing_api_unavailable"),
    135000: (REJECTED, "invalid_parameter"),
    137000: (REJECTED, "identity_changed"),
    138000: (REJECTED, "call_rejected"),
    138018: (REJECTED, "call_rejected"),
    139000: (REJECTED, "flow_rejected"),
    139004: (REJECTED, "flow_rejected"),
    139100: (REJECTED, "block_list_rejected"),
    139103: (REJECTED, "block_list_rejected"),
    147001: (REJECTED, "username_rejected"),
    200005: (REJECTED, "insights_rejected"),
    2388001: (REJECTED, "template_rejected"),
    2494100: (NOT_SENT, "number_in_maintenance"),
    2494164: (REJECTED, "signup_rejected"),
    2593107: (REJECTED, "sync_rejected"),
    2593108: (REJECTED, "sync_rejected"),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_a_code_means_what_it_means_whatever_the_status(code: int, status: int) -> None:
    """Meta has documented one throttle as 400 and as 429: only the code decides."""
    error = error_of(refusal(code, status))
    assert (error.verdict, error.code, error.provider_code) == (*CODES[code], str(code))
    assert error.retryable is (error.verdict in (NOT_SENT, THROTTLED))
    assert error.needs_person is (error.verdict is PERSON)


def test_every_row_of_the_table_is_tested() -> None:
    """And every range, at one code at least."""
    assert set(CODES) >= set(RULES)
    for first, last, _ in RANGES:
        assert any(first <= code <= last and code not in RULES for code in CODES), (first, last)


@pytest.mark.parametrize(
    ("code", "scope", "seconds"),
    [
        (4, Scope.APP, 300.0),
        (80007, Scope.ACCOUNT, 300.0),
        (613, Scope.NUMBER, 60.0),
        (130429, Scope.NUMBER, 1.0),
        (131048, Scope.MARKETING, 3600.0),
        (131064, Scope.MARKETING, 3600.0),
        (131056, Scope.PAIR, 6.0),
        (131208, Scope.GROUP, 60.0),
        (133008, Scope.NUMBER, 300.0),
        (133009, Scope.NUMBER, 60.0),
        (133015, Scope.NUMBER, 300.0),
        (133016, Scope.NUMBER, 3600.0),
    ],
)
def test_how_far_a_throttle_reaches_and_for_how_long(code: int, scope: Scope, seconds: float) -> None:
    """One person's limit must not stop the number, and the number's must not stop the account."""
    error = error_of(refusal(code))
    assert (error.verdict, error.scope, error.retry_after, error.health) == (THROTTLED, scope, seconds, False)


def test_no_throttle_is_without_a_pause() -> None:
    """Whoever is throttled has to be told for how long."""
    assert all(rule.wait for rule in RULES.values() if rule.verdict is THROTTLED)


def test_which_codes_tell_of_the_providers_own_health() -> None:
    """Only those count in the circuit breaker."""
    assert {code for code, rule in RULES.items() if rule.health} == {2, 131000, 131016, 133004}


# --- answers without a code -----------------------------------------------------------------------

HTML = b"<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>"
ANSWERS: dict[str, tuple[Answer, Verdict, str, bool]] = {
    "a throttle without a word": (answer(429), THROTTLED, "number_throttled", False),
    "a throttle of a proxy": (answer(429, HTML), THROTTLED, "number_throttled", False),
    "no authorization, without a word": (answer(401), PERSON, "bad_credentials", False),
    "a server's error without a word": (answer(500), UNKNOWN, "provider_garbled", True),
    "a gateway's page": (answer(502, HTML), UNKNOWN, "provider_garbled", True),
    "a server's error with an unknown code": (refusal(999999, 503), UNKNOWN, "provider_failed", True),
    "a server's error without a code": (
        answer(500, {"error": {"message": "x"}}),
        UNKNOWN,
        "provider_failed",
        True,
    ),
    "a page": (answer(400, HTML), UNKNOWN, "provider_garbled", False),
    "a redirect": (answer(302, b""), UNKNOWN, "provider_garbled", False),
    "half a body": (answer(400, b'{"error":{"code":1310'), UNKNOWN, "provider_garbled", False),
    "an array": (answer(400, [1]), UNKNOWN, "provider_garbled", False),
    "an error that is a string": (answer(400, {"error": "no"}), UNKNOWN, "provider_garbled", False),
    "bytes": (answer(400, b"\xff\xfe"), UNKNOWN, "provider_garbled", False),
    "a depth charge": (answer(400, b"[" * 5000), UNKNOWN, "provider_garbled", False),
    "an unknown code": (refusal(999999, 400), REJECTED, "provider_rejected", False),
    "a code that is no number": (refusal("x", 400), REJECTED, "provider_rejected", False),
    "a code that is true": (refusal(True, 400), REJECTED, "provider_rejected", False),
    "an unknown code with 429": (refusal(999999, 429), THROTTLED, "number_throttled", False),
    "an unknown code with 401": (refusal(999999, 401), PERSON, "bad_credentials", False),
    "an unknown code in a success": (refusal(999999, 200), UNKNOWN, "provider_failed", False),
    "a code as a string": (refusal("131047", 400), REJECTED, "reply_window_closed", False),
}


@pytest.mark.parametrize("label", ANSWERS)
def test_an_answer_without_a_code_that_says_it(label: str) -> None:
    """What is not Meta's is not believed; what Meta does not explain is reported, not guessed."""
    given_answer, verdict, code, health = ANSWERS[label]
    error = error_of(given_answer)
    assert (error.verdict, error.code, error.health) == (verdict, code, health)


def test_an_unknown_code_is_reported_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """So that the table can learn it."""
    with caplog.at_level(logging.WARNING, "wad.providers.meta"):
        assert error_of(refusal(999999)).provider_code == "999999"
    (record,) = caplog.records
    assert (record.message, record.__dict__["provider_code"]) == ("error_code_unknown", 999999)


# --- words and pauses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "(#131047) m", "error_data": {"details": "d"}}, "(#131047) m: d"),
        ({"message": "m", "error_data": "a plain string"}, "m: a plain string"),
        ({"message": "m", "error_data": {"details": "m"}}, "m"),
        ({"title": "t"}, "t"),
        ({"message": 1, "error_data": [{}]}, "HTTP 400"),
        ({}, "HTTP 400"),
    ],
)
def test_metas_words(error: dict[str, Any], words: str) -> None:
    """The sentence and its details, which are an object, a string, or missing."""
    assert error_of(answer(400, {"error": {"code": 131047, **error}})).detail == words


def test_no_secret_gets_into_the_words() -> None:
    """Meta quotes a token that it finds malformed, whole or in part."""
    quoted = {"code": 190, "message": f"Malformed access token {TOKEN}"}
    for secrets in ([TOKEN], []):
        error = error_of(answer(401, {"error": quoted}), secrets=secrets)
        assert error.detail == "Malformed access token ***"
    assert error_of(answer(400, {"error": {"code": 190, "message": "EAAJBtok..."}})).detail == "EAAJBtok..."


def test_the_words_are_bounded() -> None:
    """They are stored with the message, and shown."""
    assert len(error_of(answer(400, {"error": {"code": 100, "message": "x" * 10_000}})).detail) == 500


def usage(minutes: Any) -> str:
    return msgspec.json.encode(
        {"102": [{"type": "whatsapp", "estimated_time_to_regain_access": minutes}]}
    ).decode()


@pytest.mark.parametrize(
    ("code", "headers", "seconds"),
    [
        pytest.param(130429, {"retry_after": "17"}, 17.0, id="seconds"),
        pytest.param(130429, {"retry_after": "-5"}, 0.0, id="never negative"),
        pytest.param(130429, {"retry_after": "inf"}, 1.0, id="not a number"),
        pytest.param(130429, {"retry_after": "soon"}, 1.0, id="not a date"),
        pytest.param(131016, {"retry_after": "17"}, 17.0, id="of an outage too"),
        pytest.param(80007, {"x_business_use_case_usage": usage(3)}, 180.0, id="minutes to regain access"),
        pytest.param(4, {"x_business_use_case_usage": usage(3)}, 180.0, id="the same for the app"),
        pytest.param(
            4, {"retry_after": "9", "x_business_use_case_usage": usage(3)}, 9.0, id="Retry-After comes first"
        ),
        pytest.param(80007, {"x_business_use_case_usage": usage(0)}, 300.0, id="regained already, it says"),
        pytest.param(
            80007, {"x_business_use_case_usage": usage("3")}, 300.0, id="minutes that are no number"
        ),
        pytest.param(80007, {"x_business_use_case_usage": "[]"}, 300.0, id="no object"),
        pytest.param(80007, {"x_business_use_case_usage": '{"1":7}'}, 300.0, id="no list"),
        pytest.param(80007, {"x_business_use_case_usage": "{"}, 300.0, id="no JSON"),
        pytest.param(130429, {"x_business_use_case_usage": usage(3)}, 1.0, id="not of this throttle"),
    ],
)
def test_how_long_to_wait(code: int, headers: dict[str, str], seconds: float) -> None:
    """What the answer says comes before what the table knows."""
    body = {"error": {"code": code, "message": "x"}}
    assert error_of(answer(400, body, **headers)).retry_after == seconds


def test_a_date_to_wait_for() -> None:
    """`Retry-After` may hold one."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    wait = error_of(answer(429, b"", retry_after=later)).retry_after
    assert wait is not None
    assert 80 < wait <= 90


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_answer_breaks_the_reader(body: bytes, status: int) -> None:
    """Whatever the bytes, there is an error with a verdict."""
    assert error_of(answer(status, body)).verdict in Verdict


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["code", "message", "error_data", "title", "details"]), json),
    st.integers(200, 599),
)
def test_no_error_object_breaks_the_reader(error: dict[str, Any], status: int) -> None:
    """Wrong types in every place."""
    assert error_of(answer(status, {"error": error})).verdict in Verdict
    failure_of([error])


# --- the errors of webhooks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "failure"),
    [
        pytest.param(
            [{"code": 131047, "title": "Re-engagement", "error_data": {"details": "24 hours"}}],
            Failure("reply_window_closed", "Re-engagement: 24 hours", "131047", retryable=False),
            id="a window",
        ),
        pytest.param(
            [{"code": 131000, "title": "Something went wrong"}],
            Failure("provider_failed", "Something went wrong", "131000", retryable=True),
            id="Meta's own trouble: here it is known that it failed, so a new one may fare better",
        ),
        pytest.param(
            [{"code": 131056}],
            Failure("pair_throttled", "the provider gives no reason", "131056", retryable=True),
            id="a throttle",
        ),
        pytest.param(
            [{"code": 999999, "message": "m"}],
            Failure("provider_rejected", "m", "999999", retryable=False),
            id="an unknown code",
        ),
        pytest.param(
            ["x", {"code": 131026}, {"code": 1}],
            Failure("recipient_unreachable", "the provider gives no reason", "131026", retryable=False),
            id="the first that is an error",
        ),
        pytest.param([], None, id="none"),
        pytest.param({"code": 1}, None, id="not a list"),
        pytest.param(None, None, id="missing"),
    ],
)
def test_an_error_of_a_webhook(errors: Any, failure: Failure | None) -> None:
    """The same table as for answers."""
    assert failure_of(errors) == failure
