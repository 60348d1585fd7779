"""One message or status of a webhook, or of Twilio's list, in wad's words.

Nothing here raises for what Twilio may send: what has no place among wad's words is None, and the caller keeps it as it
came. A file's id is its URL at Twilio, where it stays until somebody deletes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any, Final

from wad.models import Address, InboundMessage, MessageId, MessageState, Person, StatusUpdate
from wad.providers.twilio.account import CHANNEL
from wad.providers.twilio.errors import failure_of

#: The parameters of one webhook: those that came several times have their last value here.
Params = Mapping[str, str]

#: Twilio's words for what became of a message. The first four prove that Twilio has it, and no more.
STATES: Final = {
    "queued": MessageState.ACCEPTED,
    "accepted": MessageState.ACCEPTED,
    "scheduled": MessageState.ACCEPTED,
    "sending": MessageState.ACCEPTED,
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "partially_delivered": MessageState.DELIVERED,
    "read": MessageState.READ,
    "undelivered": MessageState.FAILED,
    "failed": MessageState.FAILED,
    "canceled": MessageState.FAILED,
}

_FILES: Final = ("image", "video", "audio", "document", "sticker")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{5,14}")
_USER_ID: Final = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_YES: Final = "true"


# --- people ---------------------------------------------------------------------------------------


def _bare(value: str | None) -> str:
    return (value or "").removeprefix(CHANNEL)


def person(params: Params) -> Person:
    """Who wrote. Twilio puts the business-scoped user id where the phone number would be, if that is hidden."""
    given = _bare(params.get("From"))
    digits = f"+{params.get('WaId', '').removeprefix('+')}"
    user_id = _bare(params.get("ExternalUserId")) or (given if _USER_ID.fullmatch(given) else "")
    phone = next((number for number in (given, digits) if _PHONE.fullmatch(number)), None)
    username = params.get("ProfileUsername") or params.get("Username")
    return Person(
        phone=phone,
        user_id=user_id or None,
        name=params.get("ProfileName") or None,
        username=username.removeprefix("@") if username else None,
        parent_user_id=_bare(params.get("ParentExternalUserId")) or None,
    )


# --- messages -------------------------------------------------------------------------------------


def message_of(params: Params) -> InboundMessage | None:
    """A customer's message; None where it has no id, no sender, or a type that wad does not know."""
    message_id = params.get("MessageSid")
    content = content_of(params)
    who = person(params)
    chat = Address(phone=who.phone, user_id=who.user_id).chat
    if not message_id or content is None or not chat:
        return None
    return InboundMessage(
        provider_message_id=message_id,
        chat=chat,
        sender=who,
        content=content,
        context=_context(params),
        raw=dict(params),
    )


def content_of(params: Params) -> dict[str, Any] | None:
    """`{"type": "text", "text": {"body": ...}}`, and so on: by `MessageType`, and where that is missing by the rest."""
    match params.get("MessageType", "").lower() or _kind_of(params):
        case "text":
            return {"type": "text", "text": {"body": params.get("Body", "")}}
        case "image" | "video" | "audio" | "voice" | "document" | "sticker" | "media" | "file":
            return _file(params)
        case "contacts" | "contact" | "vcard" if params.get("MediaUrl0"):
            return _file(params)
        case "location":
            return _location(params)
        case "button":
            button = {"payload": params.get("ButtonPayload"), "text": _button_text(params)}
            return {"type": "button", "button": _present(button)}
        case "interactive":
            return _interactive(params)
        case _:
            return None


def _kind_of(params: Params) -> str:
    if params.get("MediaUrl0"):
        return "media"
    if params.get("Latitude") and params.get("Longitude"):
        return "location"
    if params.get("ButtonPayload"):
        return "button"
    if params.get("ListId") or params.get("InteractiveData") or params.get("FlowData"):
        return "interactive"
    return "text" if params.get("Body") else ""


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _button_text(params: Params) -> str | None:
    return params.get("ButtonText") or params.get("Body")


def _file(params: Params) -> dict[str, Any] | None:
    """WhatsApp puts one file in a message. Its kind is what WhatsApp called it, else what its type says."""
    url, mime_type = params.get("MediaUrl0"), params.get("MediaContentType0") or ""
    if not url:
        return None
    return file_content(url, mime_type, params.get("Body"), kind=params.get("MessageType", "").lower())


def file_content(url: str, mime_type: str, caption: str | None, *, kind: str = "") -> dict[str, Any]:
    if kind not in _FILES:
        group = mime_type.partition("/")[0]
        kind = group if group in ("image", "video", "audio") else "document"
    file = {"mediaId": url, "mimeType": mime_type or None, "caption": caption or None}
    return {"type": kind, kind: _present(file)}


def _location(params: Params) -> dict[str, Any] | None:
    try:
        latitude, longitude = float(params["Latitude"]), float(params["Longitude"])
    except (KeyError, ValueError):
        return None
    if not (isfinite(latitude) and isfinite(longitude)):
        return None
    named = {"name": params.get("Label") or None, "address": params.get("Address") or None}
    return {"type": "location", "location": {"latitude": latitude, "longitude": longitude, **_present(named)}}


def _interactive(params: Params) -> dict[str, Any] | None:
    """What was chosen from a list, tapped under a message, or filled in (a WhatsApp Flow)."""
    if "ListId" in params or "ListTitle" in params:
        row = {
            "id": params.get("ListId"),
            "title": params.get("ListTitle") or params.get("Body"),
            "description": params.get("ListDescription"),
        }
        return {"type": "interactive", "interactive": {"type": "list_reply", "listReply": _present(row)}}
    if "ButtonPayload" in params or "ButtonText" in params:
        button = {"id": params.get("ButtonPayload"), "title": _button_text(params)}
        return {
            "type": "interactive",
            "interactive": {"type": "button_reply", "buttonReply": _present(button)},
        }
    filled = params.get("FlowData") or params.get("InteractiveData")
    if filled:
        form = {"responseJson": filled, "body": params.get("Body") or None}
        return {"type": "interactive", "interactive": {"type": "nfm_reply", "nfmReply": _present(form)}}
    return None


def _context(params: Params) -> dict[str, Any] | None:
    """What the message refers to: the one it answers, that it was forwarded, the advertisement it came from."""
    told: dict[str, Any] = {}
    if replied := params.get("OriginalRepliedMessageSid"):
        told["providerMessageId"] = replied
    if author := params.get("OriginalRepliedMessageSender"):
        told["from"] = _bare(author)
    if params.get("Forwarded", "").lower() == _YES:
        told["forwarded"] = True
    if params.get("FrequentlyForwarded", "").lower() == _YES:
        told["frequentlyForwarded"] = True
    referral = {
        name[len("Referral")].lower() + name[len("Referral") + 1 :]: value
        for name, value in params.items()
        if name.startswith("Referral") and len(name) > len("Referral") and value
    }
    if referral:
        told["referral"] = referral
    return told or None


# --- statuses -------------------------------------------------------------------------------------


def status_of(params: Params, now: datetime, message_id: MessageId | None) -> StatusUpdate | None:
    """What became of a message of ours; None where Twilio says a word that wad does not know. It tells no time."""
    provider_id = params.get("MessageSid") or params.get("SmsSid")
    state = STATES.get(params.get("MessageStatus", "").lower())
    if not provider_id or state is None:
        return None
    text = params.get("ChannelStatusMessage") or params.get("ErrorMessage")
    failed = state is MessageState.FAILED
    return StatusUpdate(
        provider_message_id=provider_id,
        state=state,
        at=now,
        message_id=message_id,
        error=failure_of(params.get("ErrorCode"), text) if failed else None,
        recipient=_bare(params.get("To")) or None,
        raw=dict(params),
    )
