"""What became of messages of ours: updates, receipts in groups, and acknowledgements that came late."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from wad.errors import Verdict
from wad.models import Failure, MessageState, StatusUpdate
from wad.providers.baileys.files import whole
from wad.providers.baileys.inbound import time_of
from wad.providers.baileys.jids import Key, is_person
from wad.providers.baileys.people import Known
from wad.providers.baileys.reading import person_of
from wad.providers.baileys.refusals import ACKS

_STATES: Final[Mapping[str | int, MessageState]] = {
    "ERROR": MessageState.FAILED,
    0: MessageState.FAILED,
    "SERVER_ACK": MessageState.SENT,
    2: MessageState.SENT,
    "DELIVERY_ACK": MessageState.DELIVERED,
    3: MessageState.DELIVERED,
    "READ": MessageState.READ,
    4: MessageState.READ,
    "PLAYED": MessageState.PLAYED,
    5: MessageState.PLAYED,
}


def status_of_update(entry: Mapping[str, Any], now: datetime) -> StatusUpdate | None:
    """One of `messages.update`: a state, or nothing that wad tells.

    A refusal that another try may mend is no end of the message: whoever sends it hears of it, and tries again.
    """
    key = Key.of(entry.get("key") or {})
    update = entry.get("update") or {}
    status = update.get("status")
    state = _STATES.get(status) if isinstance(status, int | str) and not isinstance(status, bool) else None
    if key is None or not key.from_me or state is None:
        return None
    parameters = update.get("messageStubParameters")
    error = None
    if state is MessageState.FAILED:
        error = failure_of(parameters[0] if isinstance(parameters, list) and parameters else None)
        if error.retryable:
            return None
    return StatusUpdate(
        provider_message_id=key.id,
        state=state,
        at=now,
        error=error,
        recipient=person_of(key.chat) if is_person(key.chat) else None,
    )


def status_of_receipt(entry: Mapping[str, Any], known: Known) -> StatusUpdate | None:
    """One of `message-receipt.update`: in a group, how far one of its people is."""
    key = Key.of(entry.get("key") or {})
    receipt = entry.get("receipt") or {}
    if key is None or not key.from_me:
        return None
    for name, state in (
        ("playedTimestamp", MessageState.PLAYED),
        ("readTimestamp", MessageState.READ),
        ("receiptTimestamp", MessageState.DELIVERED),
    ):
        if (at := time_of(receipt.get(name))) is not None:
            user = receipt.get("userJid")
            return StatusUpdate(
                provider_message_id=key.id,
                state=state,
                at=at,
                recipient=known.phone(user) or person_of(user),
            )
    return None


def status_of_ack(message_id: str, error: Any, now: datetime) -> StatusUpdate | None:
    """The server's word on a message whose send had been given up; None where it is to be sent again anyhow."""
    if error in (None, "", 0):
        return StatusUpdate(provider_message_id=message_id, state=MessageState.SENT, at=now)
    failed = failure_of(error)
    if failed.retryable:
        return None
    return StatusUpdate(provider_message_id=message_id, state=MessageState.FAILED, at=now, error=failed)


def failure_of(code: Any) -> Failure:
    number = whole(code) if isinstance(code, int | str) else None
    rule = ACKS.get(number) if number is not None else None
    if rule is None:
        return Failure("provider_rejected", "WhatsApp refused it", None if code is None else str(code)[:50])
    return Failure(rule.code, rule.detail, str(number), rule.verdict is not Verdict.REJECTED)
