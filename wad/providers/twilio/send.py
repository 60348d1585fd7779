"""wad's messages as the parameters of the SDK's `messages.create`: whom it is for, what it says, and who is told."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

import msgspec

from wad.errors import NotSupported, ProviderError, Verdict
from wad.models import Address, OutboundMessage
from wad.providers.twilio.account import CHANNEL, Account
from wad.providers.twilio.template import variables

#: Seconds that a message may wait in Twilio's queue, at most and by default.
_QUEUE: Final = 36_000


def address(to: Address) -> str:
    """A phone number goes with its `+`, a business-scoped user id without."""
    if to.phone is None and to.user_id is None:
        raise ProviderError(Verdict.REJECTED, "nobody that Twilio could reach", code="recipient_unreachable")
    return f"{CHANNEL}{to.phone or to.user_id}"


def parameters(message: OutboundMessage, account: Account, now: datetime) -> dict[str, Any]:
    """By the SDK's names. wad's own id travels in the callback, and comes back in every status."""
    try:
        content = _content(message.type, message.content[message.type])
    except NotSupported as lacking:  # it was queued for another provider
        raise ProviderError(Verdict.REJECTED, lacking.detail, code=lacking.code) from lacking
    found: dict[str, Any] = {
        "to": address(message.to),
        "status_callback": account.status_callback(message.message_id),
        **content,
    }
    if account.service is not None:
        found["messaging_service_sid"] = account.service
    else:
        found["from_"] = f"{CHANNEL}{account.number}"
    left = math.floor((message.expires_at - now).total_seconds())
    if left < _QUEUE:  # a code that is good for five minutes should not lie in Twilio's queue for hours
        found["validity_period"] = max(1, left)
    return found


def _content(kind: str, part: dict[str, Any]) -> dict[str, Any]:
    match kind:
        case "text":
            return {"body": part["body"]}
        case "location":
            place = f"{part['latitude']},{part['longitude']}"
            label = part.get("address") or part.get("name")
            return {
                "body": shown(kind, part),
                "persistent_action": [f"geo:{place}|{label}" if label else f"geo:{place}"],
            }
        case "template":
            values = {name: value for name, (_, value) in variables(part).items()}
            told = {"content_variables": msgspec.json.encode(values).decode()} if values else {}
            return {"content_sid": part["name"], **told}
        case "image" | "audio" | "video" | "document" if part.get("link"):
            caption = {"body": part["caption"]} if part.get("caption") else {}
            return {"media_url": [part["link"]], **caption}
        case "image" | "audio" | "video" | "document":
            raise NotSupported("twilio", "mediaUpload")
        case _:
            raise NotSupported("twilio", kind)


def shown(kind: str, part: dict[str, Any]) -> str | None:
    """The text that Twilio lists a message under; None where that is a template's, and not in the message."""
    match kind:
        case "text":
            return str(part["body"])
        case "location":
            place = f"{part['latitude']},{part['longitude']}"
            return str(part.get("name") or part.get("address") or place)
        case "template":
            return None
        case _:
            return str(part.get("caption") or "")
