"""What Meta's error codes mean, as a table, and how an answer or a webhook's error is looked up in it.

Only `error.code` decides. Meta's HTTP statuses do not: the same throttle has been documented as 400 and as 429.
They count where there is no code. A code that is not listed is reported by its number, never guessed.

wad's codes, beside the ones that every provider shares (`provider_unreachable`, `provider_timeout`, ...), are public:
callers of the API match on them. Each is explained by its rows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Scope, Verdict
from wad.models import Failure
from wad.providers.http import Answer

log = logging.getLogger("wad.providers.meta")


class Rule(msgspec.Struct, frozen=True):
    """What one code means. `wait` is the pause, in seconds, that its documentation asks for."""

    verdict: Verdict
    code: str
    scope: Scope = Scope.NUMBER
    wait: float | None = None
    health: bool = False


def _person(code: str) -> Rule:
    return Rule(Verdict.NEEDS_PERSON, code)


def _rejected(code: str) -> Rule:
    return Rule(Verdict.REJECTED, code)


def _throttled(code: str, scope: Scope, wait: float) -> Rule:
    return Rule(Verdict.THROTTLED, code, scope, wait)


def _later(code: str, wait: float, *, health: bool = False) -> Rule:
    return Rule(Verdict.NOT_SENT, code, wait=wait, health=health)


_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

#: A server's own trouble. Whether the message went out before it broke is not known.
_BROKEN: Final = Rule(Verdict.UNKNOWN, "provider_failed", health=True)

RULES: Final[Mapping[int, Rule]] = {
    # --- who we say we are
    0: _person("bad_credentials"),  # AuthException
    190: _person("bad_credentials"),  # the token is expired or invalid
    3: _person("permission_missing"),  # the app lacks the capability
    10: _person("permission_missing"),
    131005: _person("permission_missing"),
    # --- the account and its number
    33: _person("number_unknown"),  # deleted, or not this token's
    368: _person("account_blocked"),  # for a violation of policy
    131031: _person("account_locked"),
    131037: _person("display_name_not_approved"),
    131042: _person("payment_problem"),
    131044: _person("payment_problem"),  # the same, of calls
    131045: _person("not_registered"),  # bad certificate
    133000: _person("not_registered"),  # a deregistration that did not finish
    133005: _person("pin_mismatch"),
    133006: _person("not_registered"),  # the number has to be verified again
    133010: _person("not_registered"),
    134011: _person("terms_not_accepted"),
    134102: _person("marketing_api_unavailable"),
    # --- rate limits: surely not sent
    4: _throttled("app_throttled", Scope.ACCOUNT, 5 * _MINUTE),  # calls of the whole app
    80007: _throttled("account_throttled", Scope.ACCOUNT, 5 * _MINUTE),
    613: _throttled("number_throttled", Scope.NUMBER, _MINUTE),
    130429: _throttled("number_throttled", Scope.NUMBER, 1.0),  # messages a second
    131048: _throttled("spam_throttled", Scope.MARKETING, _HOUR),  # quality; hammering makes it worse
    131056: _throttled("pair_throttled", Scope.PAIR, 6.0),  # 1 message in 6 s to one person
    131064: _throttled("template_misclassified", Scope.MARKETING, _HOUR),
    131208: _throttled("group_throttled", Scope.GROUP, _MINUTE),
    133008: _throttled("pin_throttled", Scope.NUMBER, 5 * _MINUTE),  # too many wrong pins
    133009: _throttled("pin_throttled", Scope.NUMBER, _MINUTE),  # pins entered too fast
    133015: _throttled("registration_throttled", Scope.NUMBER, 5 * _MINUTE),  # just deleted: wait 5 minutes
    133016: _throttled("registration_throttled", Scope.NUMBER, _HOUR),  # 10 registrations in 72 hours
    # --- the provider's own trouble
    1: Rule(Verdict.UNKNOWN, "provider_failed"),  # "invalid request or possible server error"
    2: _BROKEN,
    131000: _BROKEN,
    133004: _BROKEN,
    131016: _later("provider_unavailable", 5.0, health=True),
    131057: _later("number_in_maintenance", _MINUTE),  # a throughput upgrade
    2494100: _later("number_in_maintenance", _MINUTE),
    # --- this message
    100: _rejected("invalid_parameter"),
    131008: _rejected("missing_parameter"),
    131009: _rejected("invalid_parameter"),
    135000: _rejected("invalid_parameter"),
    131051: _rejected("unsupported_message"),
    130501: _rejected("unsupported_message"),  # inbound: WhatsApp cannot show this type to us
    131052: _rejected("media_download_failed"),  # inbound
    # A link that Meta could not fetch, or a file that is not what its type says. Retrying may help the first, but
    # nothing tells the two apart, and a dead link would hold its chat up for a day.
    131053: _rejected("media_rejected"),
    131059: _rejected("invalid_cursor"),
    131062: _rejected("phone_required"),  # cannot go to a business-scoped user id
    131063: _rejected("marketing_not_allowed"),  # needs the Marketing Messages API
    131055: _rejected("only_marketing"),  # that API takes nothing else
    134100: _rejected("only_marketing"),
    134101: _later("template_syncing", 10 * _MINUTE),
    # --- this recipient
    130472: _rejected("recipient_in_experiment"),
    130497: _rejected("country_restricted"),
    131021: _rejected("recipient_is_sender"),
    131026: _rejected("recipient_unreachable"),  # not on WhatsApp, old client, terms not accepted
    131030: _rejected("recipient_not_allowed"),  # not on a test number's list
    131049: _rejected("marketing_capped"),  # per person; wait a day, then longer
    131050: _rejected("marketing_refused"),  # the person stopped marketing messages
    137000: _rejected("identity_changed"),
    131047: _rejected("reply_window_closed"),  # 24 hours since their last message: a template only
    # --- groups
    131020: _rejected("group_unusable"),
    131041: _rejected("group_unknown"),
    131201: _rejected("group_request_failed"),  # some of it
    131207: _rejected("group_suspended"),
    131214: _rejected("groups_not_allowed"),
    131215: _rejected("groups_not_allowed"),
    # --- templates
    132000: _rejected("template_parameters_wrong"),  # their count
    132001: _rejected("template_not_found"),  # nor approved in that language
    132005: _rejected("template_too_long"),
    132007: _rejected("template_policy_violation"),
    132008: _rejected("template_parameters_wrong"),
    132012: _rejected("template_parameters_wrong"),
    132015: _rejected("template_paused"),
    132016: _rejected("template_disabled"),
    132068: _rejected("flow_blocked"),
    132069: _later("flow_throttled", 6 * _MINUTE),  # 10 an hour, of one flow: no scope of ours
}

#: First and last code, both in; looked up where `RULES` has nothing.
RANGES: Final[tuple[tuple[int, int, Rule], ...]] = (
    (200, 299, _person("permission_missing")),
    (131201, 131299, _rejected("group_request_failed")),
    (132000, 132999, _rejected("template_rejected")),
    (133000, 133999, _person("not_registered")),
    (138000, 138999, _rejected("call_rejected")),
    (139000, 139099, _rejected("flow_rejected")),
    (139100, 139199, _rejected("block_list_rejected")),
    (147000, 147999, _rejected("username_rejected")),
    (200005, 200007, _rejected("insights_rejected")),
    (2388000, 2388999, _rejected("template_rejected")),
    (2494000, 2494999, _rejected("signup_rejected")),
    (2593107, 2593108, _rejected("sync_rejected")),
)

#: The two throttles whose end Meta tells, in minutes, in a header.
_TELLS_ITS_END: Final = frozenset({4, 80007})

_TOKEN = re.compile(r"EAA[A-Za-z0-9]{8,}")


def rule_for(code: int) -> Rule | None:
    if rule := RULES.get(code):
        return rule
    return next((rule for first, last, rule in RANGES if first <= code <= last), None)


def error_of(answer: Answer, *, secrets: Iterable[str] = ()) -> ProviderError:
    """What *answer*, which is not a success, means. None of *secrets* gets into the error's text."""
    error = (object_of(answer.body) or {}).get("error")
    if not isinstance(error, dict):
        return _without_words(answer)
    code = _integer(error.get("code"))
    rule = rule_for(code) if code is not None else None
    if rule is None:
        rule = _by_status(answer.status)
        log.warning("error_code_unknown", extra={"provider_code": code, "http_status": answer.status})
    wait = _retry_after(answer.headers)
    if wait is None and code in _TELLS_ITS_END:
        wait = _regained_in(answer.headers)
    return ProviderError(
        rule.verdict,
        clean(words(error), secrets) or f"HTTP {answer.status}",
        code=rule.code,
        provider_code=str(code) if code is not None else None,
        scope=rule.scope,
        retry_after=rule.wait if wait is None else wait,
        health=rule.health,
    )


def garbled(answer: Answer) -> ProviderError:
    """A 2xx, or anything else, whose body is not what Meta says: nobody knows what became of the request."""
    return ProviderError(
        Verdict.UNKNOWN,
        f"HTTP {answer.status} with a body that is not the provider's ({len(answer.body)} bytes)",
        code="provider_garbled",
        health=answer.status >= 500,
    )


def _without_words(answer: Answer) -> ProviderError:
    """No error object: a proxy's page, an empty body, something cut. Two statuses speak for themselves."""
    match answer.status:
        case 429:
            rule = _by_status(429)
        case 401:
            rule = _by_status(401)
        case _:
            return garbled(answer)
    wait = _retry_after(answer.headers)
    return ProviderError(
        rule.verdict,
        f"HTTP {answer.status} without an explanation",
        code=rule.code,
        retry_after=rule.wait if wait is None else wait,
    )


def _by_status(status: int) -> Rule:
    if status == 429:
        return _throttled("number_throttled", Scope.NUMBER, 1.0)
    if status == 401:
        return _person("bad_credentials")
    if 400 <= status < 500:
        return _rejected("provider_rejected")
    if status >= 500:
        return _BROKEN
    return Rule(Verdict.UNKNOWN, "provider_failed")  # an error in a 200


def failure_of(errors: Any) -> Failure | None:
    """The first of a webhook's `errors`, in wad's words. Whether a new message could fare better is `retryable`."""
    error = (
        next((item for item in errors if isinstance(item, dict)), None) if isinstance(errors, list) else None
    )
    if error is None:
        return None
    code = _integer(error.get("code"))
    rule = (rule_for(code) if code is not None else None) or _rejected("provider_rejected")
    return Failure(
        rule.code,
        clean(words(error), ()) or "the provider gives no reason",
        str(code) if code is not None else None,
        rule.verdict in (Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.UNKNOWN),
    )


def words(error: Mapping[str, Any]) -> str:
    """Meta's sentence and its details, which are an object, or a plain string, or missing."""
    details = error.get("error_data")
    if isinstance(details, dict):
        details = details.get("details")
    message = error.get("message") or error.get("title")
    parts = [part for part in (message, details) if isinstance(part, str) and part]
    return ": ".join(dict.fromkeys(parts))


def clean(text: str, secrets: Iterable[str]) -> str:
    """*text* without *secrets* (Meta quotes a malformed token), and of a bounded length."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _TOKEN.sub("***", text)[:500]


def object_of(body: bytes) -> dict[str, Any] | None:
    """The JSON object that *body* is; None for anything else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        else None
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`, which holds seconds or a date. Meta does not document it; proxies send it."""
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


def _regained_in(headers: Mapping[str, str]) -> float | None:
    """Seconds until access is regained: `{"<account>": [{"estimated_time_to_regain_access": minutes}]}`."""
    try:
        usage = msgspec.json.decode(headers.get("x-business-use-case-usage", ""))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(usage, dict):
        return None
    minutes = [
        entry.get("estimated_time_to_regain_access")
        for entries in usage.values()
        if isinstance(entries, list)
        for entry in entries
        if isinstance(entry, dict)
    ]
    known = [minute for minute in minutes if isinstance(minute, int | float) and minute > 0]
    return max(known) * _MINUTE if known else None
