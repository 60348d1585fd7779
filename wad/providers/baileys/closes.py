"""Why a socket closes, and what that means for its session: a table.

The codes are Baileys' (`lastDisconnect.error.output.statusCode`), which takes them from the stream's errors and from
WhatsApp's refusals to log in. Baileys never connects again by itself. What waiting mends is NOT_SENT, and the session
connects again with growing waits; what only a person mends stops it, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Verdict
from wad.models import utc_now


class Rule(msgspec.Struct, frozen=True):
    """What one code means. `forgets`: the keys are worth nothing any more, and the next connect pairs anew."""

    verdict: Verdict
    code: str
    detail: str
    forgets: bool = False
    health: bool = False


def _later(code: str, detail: str, *, health: bool = False) -> Rule:
    return Rule(Verdict.NOT_SENT, code, detail, health=health)


def _person(code: str, detail: str, *, forgets: bool = False) -> Rule:
    return Rule(Verdict.NEEDS_PERSON, code, detail, forgets=forgets)


RULES: Final[Mapping[int, Rule]] = {
    # --- waiting mends these
    408: _later("connection_lost", "WhatsApp could not be reached, or fell silent", health=True),
    428: _later("connection_closed", "the connection was closed", health=True),
    503: _later("provider_unavailable", "WhatsApp says that it is unavailable", health=True),
    515: _later("restart_required", "WhatsApp asks for a new connection"),
    # --- a person mends these
    400: _person(
        "untrusted_server",
        "the server cannot show WhatsApp's certificate: somebody may be listening in, or `noise_root_key` is not the server's",
    ),
    # Also where a crash cut a pairing: the phone had confirmed the device, and took it back when nobody answered it.
    401: _person(
        "logged_out",
        "WhatsApp does not know this device any more: the phone unlinked it, or its pairing was cut short. Pair it again",
        forgets=True,
    ),
    402: _person("temporarily_banned", "WhatsApp has banned the number for a while"),
    403: _person("blocked", "WhatsApp refuses the number: it may be locked, or its phone was changed"),
    405: _person("client_outdated", "WhatsApp takes this client version no more: raise `client_version`"),
    406: _person("banned", "WhatsApp has banned the number"),
    409: _person("misconfigured", "WhatsApp refuses what the client says of itself"),
    411: _person("misconfigured", "the phone's app does not work with linked devices: update it"),
    440: _person(
        "replaced", "another connection took over this device; taking it back would only be taken over again"
    ),
}

#: Everything else, 500 included: it is Baileys' word for what it does not know. The keys stay: they may be fine.
_UNEXPLAINED: Final = _later("provider_failed", "the connection broke for a reason that is not known")

PAIRING_EXPIRED: Final = _person(
    "pairing_expired", "nobody scanned the code in time: connect again for a new one"
)
#: The login of a pairing by code that was not finished: WhatsApp knows no such device. Nothing of it was stored.
PAIRING_INTERRUPTED: Final = Rule(
    Verdict.NOT_SENT, "pairing_interrupted", "the pairing was interrupted before the phone confirmed it"
)

#: Why a ban is only for a while, as WhatsApp numbers it.
_BANS: Final = {
    101: "it wrote to too many people who do not have it in their contacts",
    102: "too many people blocked it",
    103: "it created too many groups with people who do not have it in their contacts",
    104: "it sent the same message to too many people",
    106: "it sent too many messages to a broadcast list",
}


def rule_of(status: int | None, reason: str, *, pairing: bool) -> Rule:
    """*pairing*: the phone has not confirmed this device yet."""
    if status == 408 and "QR refs" in reason:  # Baileys' own text; the same code stands for silence
        return PAIRING_EXPIRED
    if status == 401 and pairing:
        return PAIRING_INTERRUPTED
    return RULES.get(status or 0, _UNEXPLAINED)


def error_of(rule: Rule, status: int | None, reason: str, data: Any) -> ProviderError:
    detail = rule.detail
    seconds = _expires_in(data) if rule.code == "temporarily_banned" else None
    if rule.code == "temporarily_banned":
        detail = _ban(data, seconds)
    elif rule is _UNEXPLAINED:
        detail = f"{detail} ({reason or 'no reason given'})"[:300]
    return ProviderError(
        rule.verdict,
        detail,
        code=rule.code,
        provider_code=None if status is None else str(status),
        retry_after=seconds,
        health=rule.health,
    )


def _ban(data: Any, seconds: float | None) -> str:
    why = _BANS.get(_integer(data.get("code")) or 0) if isinstance(data, Mapping) else None
    until = (
        f" until {utc_now() + timedelta(seconds=seconds):%Y-%m-%d %H:%M} UTC" if seconds else " for a while"
    )
    return f"WhatsApp has banned the number{until}" + (f": {why}" if why else "") + ". Connect it afterwards"


def _expires_in(data: Any) -> float | None:
    seconds = _integer(data.get("expire")) if isinstance(data, Mapping) else None
    return float(seconds) if seconds is not None and 0 < seconds < 10 * 365 * 86400 else None


def _integer(value: Any) -> int | None:
    """WhatsApp's attributes are strings."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
