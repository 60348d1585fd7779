"""What the number's own record proves: that the account answers, and that it may send."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from wad.errors import ProviderError, Verdict
from wad.providers.base import Proof

#: Asked for at each probe. A token that may not read these has no `whatsapp_business_management`.
LEAST_FIELDS: Final = "id,display_phone_number,verified_name,quality_rating"
FIELDS: Final = (
    f"{LEAST_FIELDS},status,name_status,code_verification_status,platform_type,is_on_biz_app,throughput,account_mode,"
    "is_official_business_account,whatsapp_business_manager_messaging_limit,health_status"
)

#: Meta's fields -> what `connectionData` calls them.
_SHOWN: Final = {
    "id": "phoneNumberId",
    "display_phone_number": "displayPhoneNumber",
    "verified_name": "verifiedName",
    "quality_rating": "qualityRating",
    "status": "status",
    "name_status": "nameStatus",
    "code_verification_status": "codeVerificationStatus",
    "platform_type": "platformType",
    "account_mode": "accountMode",
    "is_on_biz_app": "onBusinessApp",
    "is_official_business_account": "officialBusinessAccount",
    "whatsapp_business_manager_messaging_limit": "messagingLimit",
}

#: Messages a second, in and out together, by `throughput.level`.
_RATES: Final = {"STANDARD": 80.0, "HIGH": 1000.0}
#: ...and of a number that is used with the WhatsApp Business app as well, whatever its level.
_RATE_BESIDE_THE_APP: Final = 20.0
#: Thousands of numbers have the same rate: one dictionary for all of them.
_ALONE: Final = {rate: {"": rate} for rate in (*_RATES.values(), _RATE_BESIDE_THE_APP)}

#: States of a number in which it takes no message, until somebody acts. Others (FLAGGED, RATE_LIMITED, RESTRICTED)
#: still send, if less; they are shown.
DEAD: Final = {
    "BANNED": "account_banned",
    "DELETED": "number_unknown",
    "MIGRATED": "number_unknown",
    "DISCONNECTED": "not_registered",
    "PENDING": "not_registered",
    "UNVERIFIED": "not_registered",
}

_NOT_DIGIT = re.compile(r"\D")


def phone(display: Any) -> str | None:
    """`+52 55 1234 5678` as E.164; None for what is no number."""
    digits = _NOT_DIGIT.sub("", display) if isinstance(display, str) else ""
    return f"+{digits}" if digits else None


def rate_of(number: Mapping[str, Any]) -> float | None:
    """How many messages a second Meta takes from the number of this record; None where it does not say."""
    throughput = number.get("throughput")
    level = throughput.get("level") if isinstance(throughput, dict) else None
    rate = _RATES.get(level) if isinstance(level, str) else None
    return _RATE_BESIDE_THE_APP if rate is not None and number.get("is_on_biz_app") is True else rate


def proof_of(number: dict[str, Any]) -> Proof:
    """Read the number's record. Raises ProviderError where Meta says that it cannot send: waiting will not help."""
    state = number.get("status")
    if isinstance(state, str) and state in DEAD:
        raise ProviderError(
            Verdict.NEEDS_PERSON,
            f"Meta says that the number is {state}",
            code=DEAD[state],
            provider_code=state,
        )
    data: dict[str, Any] = {
        ours: number[theirs] for theirs, ours in _SHOWN.items() if isinstance(number.get(theirs), str | bool)
    }
    throughput = number.get("throughput")
    if isinstance(throughput, dict) and isinstance(throughput.get("level"), str):
        data["throughput"] = throughput["level"]
    health = number.get("health_status")
    if isinstance(health, dict):
        data |= _healthy(health)
    # Thousands of numbers are GREEN, CONNECTED and STANDARD: one string for all of them.
    shared = {name: sys.intern(value) if isinstance(value, str) else value for name, value in data.items()}
    rate = rate_of(number)
    return Proof(
        phone_number=phone(number.get("display_phone_number")),
        data=shared,
        rates=_ALONE[rate] if rate is not None else {},
    )


def _healthy(health: dict[str, Any]) -> dict[str, Any]:
    listed = health.get("entities")
    entities = [entity for entity in listed if isinstance(entity, dict)] if isinstance(listed, list) else []
    can_send = health.get("can_send_message")
    if can_send == "BLOCKED":
        trouble = [
            error
            for entity in entities
            if isinstance(entity.get("errors"), list)
            for error in entity["errors"]
            if isinstance(error, dict)
        ]
        told = [
            str(text)
            for error in trouble
            for text in (error.get("error_description"), error.get("possible_solution"))
            if text
        ]
        raise ProviderError(
            Verdict.NEEDS_PERSON,
            " ".join(dict.fromkeys(told))[:500]
            or "Meta blocks this account from sending, and does not say why",
            code="account_blocked",
            provider_code=next(
                (str(error["error_code"]) for error in trouble if "error_code" in error), None
            ),
        )
    found: dict[str, Any] = {}
    if isinstance(can_send, str):
        found["canSendMessage"] = can_send
    for entity in entities:
        if entity.get("entity_type") == "WABA" and isinstance(entity.get("id"), str):
            found["wabaId"] = entity["id"]  # webhooks on the account name it, and not the number
    return found
