"""What Twilio's error codes mean, as a table: of answers, and of what status callbacks say.

They are documented one by one at https://www.twilio.com/docs/api/errors/<code>. The code decides, and not the HTTP
status. One that is not listed is reported by its number, never guessed.

In a status callback a failure is the end of that message at Twilio, whatever the row: `retryable` says there whether a
new one could fare better.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wad.errors import ProviderError, Scope
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

log = logging.getLogger("wad.providers.twilio")

RULES: Final[Mapping[int, Rule]] = {
    # --- who we say we are
    20003: person("bad_credentials"),
    20005: person("account_suspended"),  # the account is not active
    20006: person("permission_missing"),
    20403: person("permission_missing"),
    # --- the account and its sender
    30002: person("account_suspended"),
    30010: person("payment_problem"),  # the message costs more than the account allows
    63001: person("channel_unusable"),  # WhatsApp does not know the sender's credentials
    63002: person("sender_unknown"),  # no such `From` on the channel
    63007: person("sender_unknown"),
    63008: person("channel_unusable"),  # misconfigured
    63020: person("business_not_linked"),  # the invitation in Meta's Business Manager was not accepted
    63022: person("not_registered"),  # the sender's certificate
    63026: person("spam_flagged"),
    63051: person("account_locked"),
    63062: person("terms_not_accepted"),  # of Marketing Messages
    63112: person("account_blocked"),  # Meta disabled the WhatsApp Business Account
    # --- rate limits: surely not sent
    20429: throttled(
        "app_throttled", Scope.ACCOUNT, 1.0
    ),  # too many requests at once; this one was not looked at
    21611: throttled("queue_full_at_provider", Scope.NUMBER, MINUTE),  # of the sender
    30001: throttled("queue_full_at_provider", Scope.NUMBER, MINUTE),
    63017: throttled("account_throttled", Scope.ACCOUNT, 1.0),  # 2000 messages a second
    63018: throttled(
        "number_throttled", Scope.NUMBER, MINUTE
    ),  # WhatsApp's throughput, messaging or pair limit
    63038: throttled("daily_limit", Scope.ACCOUNT, HOUR),
    # --- the provider's own trouble; a POST that broke may have been carried out
    20500: BROKEN,
    20503: BROKEN,
    30410: later("provider_unavailable", MINUTE),
    63009: later("provider_failed", MINUTE),
    63010: later("provider_failed", MINUTE),
    63012: later("provider_failed", MINUTE),
    63023: later("provider_failed", MINUTE),
    # --- this message
    20404: rejected("not_found"),
    20422: rejected("invalid_parameter"),
    21601: rejected("sender_invalid"),  # cannot send
    21602: rejected("missing_parameter"),  # no body
    21603: rejected("missing_parameter"),  # no sender
    21604: rejected("missing_parameter"),  # no recipient
    21605: rejected("text_too_long"),
    21606: rejected("sender_invalid"),
    21617: rejected("text_too_long"),
    21619: rejected("missing_parameter"),  # neither text nor file nor template
    21620: rejected("media_rejected"),  # its link
    21654: rejected("template_not_found"),
    21655: rejected("template_not_found"),  # no template's SID
    21656: rejected("template_parameters_wrong"),
    92002: rejected("template_parameters_wrong"),
    92007: rejected("template_parameters_wrong"),
    63005: rejected("content_rejected"),
    63006: rejected("content_rejected"),  # its format
    63013: rejected("policy_violation"),
    63016: rejected("reply_window_closed"),  # 24 hours since their last message: a template only
    63019: later("media_unreachable", 5.0),  # WhatsApp could not fetch the file: often a hiccup
    63021: rejected("content_rejected"),
    63027: rejected("template_not_found"),  # nor approved in that language
    63028: rejected("template_parameters_wrong"),  # their count
    63029: rejected("template_rejected"),
    63030: rejected("unsupported_message"),
    63034: rejected("media_too_large"),
    63037: later("media_unreachable", 5.0),
    63040: rejected("template_rejected"),
    63041: rejected("template_paused"),
    63042: rejected("template_disabled"),
    # --- this recipient
    21211: rejected("recipient_unreachable"),  # no number at all
    21212: rejected("sender_invalid"),
    21214: rejected("recipient_unreachable"),
    21408: rejected("country_restricted"),
    21610: rejected("recipient_opted_out"),  # until they write START
    21612: rejected("recipient_unreachable"),
    21614: rejected("recipient_unreachable"),
    63003: rejected("recipient_unreachable"),  # not on WhatsApp
    63014: rejected("recipient_blocked_us"),
    63015: rejected("recipient_not_allowed"),  # has not joined Twilio's sandbox
    63024: rejected("recipient_unreachable"),
    63031: rejected("recipient_is_sender"),
    63032: rejected("recipient_in_experiment"),
    63033: rejected("recipient_blocked"),
    63049: rejected("marketing_capped"),  # Meta chose not to deliver; wait a day, then longer
}

_SECRET = re.compile(r"\b[0-9a-f]{32}\b")


def error_of(answer: Answer, *, secrets: Iterable[str] = ()) -> ProviderError:
    """What *answer*, which is not a success, means. None of *secrets* gets into the error's text.

    `{"code", "message", "more_info", "status"}`; newer hosts say it as RFC 9457 does, `code` included.
    """
    found = object_of(answer.body)
    code = integer(found.get("code")) if found is not None else None
    if found is None or code is None:
        return without_words(answer)
    rule = RULES.get(code)
    if rule is None:
        rule = by_status(answer.status)
        log.warning("error_code_unknown", extra={"provider_code": code, "http_status": answer.status})
    wait = retry_after(answer.headers)
    return ProviderError(
        rule.verdict,
        clean(words(found), secrets) or f"HTTP {answer.status}",
        code=rule.code,
        provider_code=str(code),
        scope=rule.scope,
        retry_after=rule.wait if wait is None else wait,
        health=rule.health,
    )


def failure_of(code: str | None, text: str | None) -> Failure:
    """What a status callback's `ErrorCode` says, in wad's words."""
    number = integer(code)
    rule = (RULES.get(number) if number is not None else None) or rejected("provider_rejected")
    return Failure(
        rule.code,
        clean(text or "", ()) or "the provider gives no reason",
        code,
        ProviderError(rule.verdict, "", code=rule.code).retryable,
    )


def words(error: Mapping[str, Any]) -> str:
    """Twilio's sentence; of a problem document its title and detail."""
    parts = [error.get(name) for name in ("message", "title", "detail")]
    return ": ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))


def clean(text: str, secrets: Iterable[str]) -> str:
    """*text* without *secrets*, nor anything that looks like a token of Twilio's, and of a bounded length."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _SECRET.sub("***", text)[:500]
