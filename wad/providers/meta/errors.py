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
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Scope, Verdict
from wad.models import Failure
from wad.providers.http import Answer
from wad.providers.rules import (
    BROKEN,
    HOUR,
    MINUTE,
    Rule,
    by_status,
    integer,
    later,
    object_of,
    person,
    rejected,
    retry_after,
    throttled,
    without_words,
)

log = logging.getLogger("wad.providers.meta")


RULES: Final[Mapping[int, Rule]] = {
    # --- who we say we are
    0: person("bad_credentials"),  # AuthException
    190: person("bad_credentials"),  # the token is expired or invalid
    3: person("permission_missing"),  # the app lacks the capability
    10: person("permission_missing"),
    131005: person("permission_missing"),
    # --- the account and its number
    33: person("number_unknown"),  # deleted, or not this token's
    368: person("account_blocked"),  # for a violation of policy
    131031: person("account_locked"),
    131037: person("display_name_not_approved"),
    131042: person("payment_problem"),
    131044: person("payment_problem"),  # the same, of calls
    131045: person("not_registered"),  # bad certificate
    133000: person("not_registered"),  # a deregistration that did not finish
    133005: person("pin_mismatch"),
    133006: person("not_registered"),  # the number has to be verified again
    133010: person("not_registered"),
    134011: person("terms_not_accepted"),
    134102: person("marketing_api_unavailable"),
    # --- rate limits: surely not sent
    4: throttled("app_throttled", Scope.APP, 5 * MINUTE),  # calls of the whole app
    80007: throttled("account_throttled", Scope.ACCOUNT, 5 * MINUTE),
    613: throttled("number_throttled", Scope.NUMBER, MINUTE),
    130429: throttled("number_throttled", Scope.NUMBER, 1.0),  # messages a second
    131048: throttled("spam_throttled", Scope.MARKETING, HOUR),  # quality; hammering makes it worse
    131056: throttled("pair_throttled", Scope.PAIR, 6.0),  # 1 message in 6 s to one person
    131064: throttled("template_misclassified", Scope.MARKETING, HOUR),
    131208: throttled("group_throttled", Scope.GROUP, MINUTE),
    133008: throttled("pin_throttled", Scope.NUMBER, 5 * MINUTE),  # too many wrong pins
    133009: throttled("pin_throttled", Scope.NUMBER, MINUTE),  # pins entered too fast
    133015: throttled("registration_throttled", Scope.NUMBER, 5 * MINUTE),  # just deleted: wait 5 minutes
    133016: throttled("registration_throttled", Scope.NUMBER, HOUR),  # 10 registrations in 72 hours
    # --- the provider's own trouble
    1: Rule(Verdict.UNKNOWN, "provider_failed"),  # "invalid request or possible server error"
    2: BROKEN,
    131000: BROKEN,
    133004: BROKEN,
    131016: later("provider_unavailable", 5.0, health=True),
    131057: later("number_in_maintenance", MINUTE),  # a throughput upgrade
    2494100: later("number_in_maintenance", MINUTE),
    # --- this message
    100: rejected("invalid_parameter"),
    131008: rejected("missing_parameter"),
    131009: rejected("invalid_parameter"),
    135000: rejected("invalid_parameter"),
    131051: rejected("unsupported_message"),
    130501: rejected("unsupported_message"),  # inbound: WhatsApp cannot show this type to us
    131052: rejected("media_download_failed"),  # inbound
    # A link that Meta could not fetch, or a file that is not what its type says. Retrying may help the first, but
    # nothing tells the two apart, and a dead link would hold its chat up for a day.
    131053: rejected("media_rejected"),
    131059: rejected("invalid_cursor"),
    131062: rejected("phone_required"),  # cannot go to a business-scoped user id
    131063: rejected("marketing_not_allowed"),  # needs the Marketing Messages API
    131055: rejected("only_marketing"),  # that API takes nothing else
    134100: rejected("only_marketing"),
    134101: later("template_syncing", 10 * MINUTE),
    # --- this recipient
    130472: rejected("recipient_in_experiment"),
    130497: rejected("country_restricted"),
    131021: rejected("recipient_is_sender"),
    131026: rejected("recipient_unreachable"),  # not on WhatsApp, old client, terms not accepted
    131030: rejected("recipient_not_allowed"),  # not on a test number's list
    131049: rejected("marketing_capped"),  # per person; wait a day, then longer
    131050: rejected("marketing_refused"),  # the person stopped marketing messages
    137000: rejected("identity_changed"),
    131047: rejected("reply_window_closed"),  # 24 hours since their last message: a template only
    # --- groups
    131020: rejected("group_unusable"),
    131041: rejected("group_unknown"),
    131201: rejected("group_request_failed"),  # some of it
    131207: rejected("group_suspended"),
    131214: rejected("groups_not_allowed"),
    131215: rejected("groups_not_allowed"),
    # --- templates
    132000: rejected("template_parameters_wrong"),  # their count
    132001: rejected("template_not_found"),  # nor approved in that language
    132005: rejected("template_too_long"),
    132007: rejected("template_policy_violation"),
    132008: rejected("template_parameters_wrong"),
    132012: rejected("template_parameters_wrong"),
    132015: rejected("template_paused"),
    132016: rejected("template_disabled"),
    132068: rejected("flow_blocked"),
    132069: later("flow_throttled", 6 * MINUTE),  # 10 an hour, of one flow: no scope of ours
}

#: First and last code, both in; looked up where `RULES` has nothing.
RANGES: Final[tuple[tuple[int, int, Rule], ...]] = (
    (200, 299, person("permission_missing")),
    (131201, 131299, rejected("group_request_failed")),
    (132000, 132999, rejected("template_rejected")),
    (133000, 133999, person("not_registered")),
    (138000, 138999, rejected("call_rejected")),
    (139000, 139099, rejected("flow_rejected")),
    (139100, 139199, rejected("block_list_rejected")),
    (147000, 147999, rejected("username_rejected")),
    (200005, 200007, rejected("insights_rejected")),
    (2388000, 2388999, rejected("template_rejected")),
    (2494000, 2494999, rejected("signup_rejected")),
    (2593107, 2593108, rejected("sync_rejected")),
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
        return without_words(answer)
    code = integer(error.get("code"))
    rule = rule_for(code) if code is not None else None
    if rule is None:
        rule = by_status(answer.status)
        log.warning("error_code_unknown", extra={"provider_code": code, "http_status": answer.status})
    wait = retry_after(answer.headers)
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


def failure_of(errors: Any) -> Failure | None:
    """The first of a webhook's `errors`, in wad's words. Whether a new message could fare better is `retryable`."""
    error = (
        next((item for item in errors if isinstance(item, dict)), None) if isinstance(errors, list) else None
    )
    if error is None:
        return None
    code = integer(error.get("code"))
    rule = (rule_for(code) if code is not None else None) or rejected("provider_rejected")
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


def _regained_in(headers: Mapping[str, str]) -> float | None:
    """Seconds until access is regained, which either header may tell in minutes: of the account, or of the app.

    `{"<account>": [{"estimated_time_to_regain_access": minutes}]}`, and the same without an account round it.
    """
    minutes = [
        minute
        for name in ("x-business-use-case-usage", "x-app-usage")
        for minute in _minutes_in(headers.get(name, ""))
    ]
    known = [minute for minute in minutes if isinstance(minute, int | float) and minute > 0]
    return max(known) * MINUTE if known else None


def _minutes_in(text: str) -> list[Any]:
    try:
        usage = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    if not isinstance(usage, dict):
        return []
    listed = [entry for entries in usage.values() if isinstance(entries, list) for entry in entries]
    return [
        entry["estimated_time_to_regain_access"]
        for entry in (usage, *listed)
        if isinstance(entry, dict) and "estimated_time_to_regain_access" in entry
    ]
