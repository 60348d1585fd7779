"""Why sockets close and calls fail, and what becomes of the session and the message."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wad.errors import Verdict
from wad.node.find import ROOT
from wad.providers.baileys import closes, refusals

LATER, PERSON = Verdict.NOT_SENT, Verdict.NEEDS_PERSON

#: Status, reason, whether the phone has yet to confirm -> verdict, wad's code, whether the keys are forgotten.
CLOSES: dict[str, tuple[int | None, str, bool, tuple[Verdict, str, bool]]] = {
    "silence": (408, "Timed Out", False, (LATER, "connection_lost", False)),
    "no more codes": (408, "QR refs attempts ended", True, (PERSON, "pairing_expired", False)),
    "the socket closed": (428, "Connection Closed", False, (LATER, "connection_closed", False)),
    "the service is down": (503, "Stream Errored", False, (LATER, "provider_unavailable", False)),
    "a restart": (515, "Stream Errored (restart required)", False, (LATER, "restart_required", False)),
    "a forged certificate": (400, "noise", False, (PERSON, "untrusted_server", False)),
    "unlinked": (401, "Stream Errored (conflict)", False, (PERSON, "logged_out", True)),
    "a code not finished": (401, "Connection Failure", True, (LATER, "pairing_interrupted", False)),
    "banned for a while": (402, "Connection Failure", False, (PERSON, "temporarily_banned", False)),
    "blocked": (403, "Connection Failure", False, (PERSON, "blocked", False)),
    "outdated": (405, "Connection Failure", False, (PERSON, "client_outdated", False)),
    "banned": (406, "Connection Failure", False, (PERSON, "banned", False)),
    "a bad user agent": (409, "Connection Failure", False, (PERSON, "misconfigured", False)),
    "an old phone": (411, "Multi-device mismatch", False, (PERSON, "misconfigured", False)),
    "replaced": (440, "Stream Errored (conflict)", False, (PERSON, "replaced", False)),
    "Baileys does not know": (500, "bad session", False, (LATER, "provider_failed", False)),
    "nobody knows": (599, "new", False, (LATER, "provider_failed", False)),
    "no code at all": (None, "", False, (LATER, "provider_failed", False)),
}


@pytest.mark.parametrize(("status", "reason", "pairing", "expected"), CLOSES.values(), ids=list(CLOSES))
def test_a_close_is_judged_by_its_code(status, reason, pairing, expected):
    rule = closes.rule_of(status, reason, pairing=pairing)
    error = closes.error_of(rule, status, reason, None)

    assert (error.verdict, error.code, rule.forgets) == expected
    assert error.provider_code == (None if status is None else str(status))


def test_a_device_that_is_unknown_may_never_have_been_a_whole_one():
    """A crash in the middle of a pairing ends so too: whoever reads it did not unlink anything."""
    detail = closes.rule_of(401, "Connection Failure", pairing=False).detail

    assert "the phone unlinked it, or its pairing was cut short" in detail


BANS: dict[str, tuple[Any, str | None, float | None]] = {
    "with all": ({"code": "104", "expire": "3600"}, "the same message to too many people", 3600.0),
    "with numbers": ({"code": 102, "expire": 60}, "too many people blocked it", 60.0),
    "with a new reason": ({"code": "199", "expire": "60"}, None, 60.0),
    "without an end": ({"code": "101"}, "do not have it in their contacts", None),
    "without anything": (None, None, None),
    "with nonsense": ({"code": "x", "expire": "-1"}, None, None),
}


@pytest.mark.parametrize(("data", "why", "seconds"), BANS.values(), ids=list(BANS))
def test_a_ban_for_a_while_says_why_and_until_when(data, why, seconds):
    error = closes.error_of(closes.RULES[402], 402, "", data)

    assert error.retry_after == seconds
    assert (" until 2" in error.detail) == (seconds is not None)
    assert why is None or why in error.detail


REFUSALS: dict[str, tuple[str, dict[str, Any], Verdict, str]] = {
    "not on WhatsApp": ("not_registered", {}, Verdict.REJECTED, "recipient_not_on_whatsapp"),
    "a lock on new chats": ("refused", {"status": 463}, Verdict.REJECTED, "reachout_locked"),
    "the same as a text": ("refused", {"status": "463"}, Verdict.REJECTED, "reachout_locked"),
    "stale devices": ("refused", {"status": 479}, Verdict.NOT_SENT, "device_list_stale"),
    "too fast": ("refused", {"status": 429}, Verdict.THROTTLED, "number_throttled"),
    "a new refusal": ("refused", {"status": 421}, Verdict.REJECTED, "provider_rejected"),
    "a refusal without a code": ("refused", {}, Verdict.REJECTED, "provider_rejected"),
    "closed before it left": ("closed", {"sent": False}, Verdict.NOT_SENT, "connection_closed"),
    "closed after it left": ("closed", {"sent": True}, Verdict.UNKNOWN, "connection_lost"),
    "closed, nobody knows when": ("closed", {}, Verdict.UNKNOWN, "connection_lost"),
    "no acknowledgement": ("timeout", {"sent": True}, Verdict.UNKNOWN, "provider_timeout"),
    "content that cannot be": ("bad_content", {}, Verdict.REJECTED, "invalid_content"),
    "a file that is gone": ("gone", {"status": 404}, Verdict.REJECTED, "media_gone"),
    "a file that never was": ("no_media", {}, Verdict.REJECTED, "media_gone"),
    "a file over the limit": ("too_large", {"limit": 9}, Verdict.REJECTED, "media_too_large"),
    "another file": ("corrupt", {}, Verdict.NOT_SENT, "media_corrupt"),
    "a bug in the bridge": ("internal", {}, Verdict.UNKNOWN, "provider_failed"),
}


@pytest.mark.parametrize(("code", "data", "verdict", "word"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refused_send_is_judged_by_the_bridges_word(code, data, verdict, word):
    error = refusals.error_of(refusals.rule_of(code, data))

    assert (error.verdict, error.code) == (verdict, word)


def test_every_word_of_the_bridge_about_files_is_in_the_table():
    """One that is not would be tried again and again."""
    said = set(re.findall(r"CallError\('(\w+)'", (ROOT / "bridge" / "media.js").read_text()))
    assert said - {"failed"} == {"gone", "no_media", "too_large", "corrupt"}
    assert said - {"failed"} <= refusals.CALLS.keys()


def test_what_may_be_asked_again_is_never_in_doubt():
    assert refusals.error_of(refusals.GONE, repeatable=True).verdict is Verdict.NOT_SENT
    assert refusals.error_of(refusals.GONE).verdict is Verdict.UNKNOWN
