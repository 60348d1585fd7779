"""Why a call to the bridge failed, and what that means for what was asked: the words of wad/node/bridge, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Verdict


class Rule(msgspec.Struct, frozen=True):
    verdict: Verdict
    code: str
    detail: str
    wait: float | None = None
    health: bool = False


def _rejected(code: str, detail: str) -> Rule:
    return Rule(Verdict.REJECTED, code, detail)


#: What WhatsApp's server acknowledges a message with instead of taking it.
ACKS: Final[Mapping[int, Rule]] = {
    # A time lock on new chats, after too many of them; people who wrote before can still be answered.
    463: _rejected("reachout_locked", "WhatsApp lets this number start no new chats for now"),
    # The list of the recipient's devices was out of date. Baileys asks for a new one.
    479: Rule(Verdict.NOT_SENT, "device_list_stale", "WhatsApp found the recipient's devices out of date"),
    429: Rule(Verdict.THROTTLED, "number_throttled", "WhatsApp says that the number sends too fast", 60.0),
    503: Rule(Verdict.NOT_SENT, "provider_unavailable", "WhatsApp is unavailable", health=True),
}

CALLS: Final[Mapping[str, Rule]] = {
    "not_registered": _rejected("recipient_not_on_whatsapp", "the number is not on WhatsApp"),
    "bad_content": _rejected("invalid_content", "WhatsApp Web cannot send the message as it stands"),
    # No acknowledgement within 30 s of the frame.
    "timeout": Rule(
        Verdict.UNKNOWN, "provider_timeout", "WhatsApp did not acknowledge it in time", health=True
    ),
    "no_session": Rule(Verdict.NOT_SENT, "not_connected", "the session is not connected"),
    "not_open": Rule(Verdict.NOT_SENT, "not_connected", "the session is not connected"),
    "not_found": _rejected("not_found", "WhatsApp knows no such thing"),
    # Of a file that somebody sent.
    "gone": _rejected("media_gone", "WhatsApp has the file no more"),
    "no_media": _rejected("media_gone", "the message says of no file where it is"),
    "too_large": _rejected("media_too_large", "the file is larger than WhatsApp carries"),
    "corrupt": Rule(
        Verdict.NOT_SENT, "media_corrupt", "the file that arrived is not the one that was promised"
    ),
}

#: The bridge is gone, or does not answer: whatever it was doing may be done.
GONE: Final = Rule(Verdict.UNKNOWN, "bridge_down", "the process that held the connection ended")
SLOW: Final = Rule(Verdict.UNKNOWN, "provider_timeout", "the bridge did not answer in time")
_FAILED: Final = Rule(Verdict.UNKNOWN, "provider_failed", "the bridge failed")


def rule_of(code: str, data: Mapping[str, Any]) -> Rule:
    match code:
        case "closed" if data.get("sent") is False:
            return Rule(
                Verdict.NOT_SENT, "connection_closed", "the connection closed before it left", health=True
            )
        case "closed":
            return Rule(Verdict.UNKNOWN, "connection_lost", "the connection closed after it left")
        case "refused":
            status = data.get("status")
            known = ACKS.get(int(status)) if isinstance(status, int | str) and str(status).isdigit() else None
            return known or _rejected("provider_rejected", "WhatsApp refused it")
        case _:
            return CALLS.get(code, _FAILED)


def error_of(
    rule: Rule, *, message: str = "", provider_code: str | None = None, repeatable: bool = False
) -> ProviderError:
    """*repeatable*: what was asked for may as well be asked again, so nobody needs to know whether it was done."""
    verdict = Verdict.NOT_SENT if repeatable and rule.verdict is Verdict.UNKNOWN else rule.verdict
    told = message if rule is _FAILED or rule.code in ("provider_rejected", "invalid_content") else ""
    return ProviderError(
        verdict,
        f"{rule.detail}: {told}"[:300] if told else rule.detail,
        code=rule.code,
        provider_code=provider_code,
        retry_after=rule.wait,
        health=rule.health,
    )
