"""One message or status of a webhook, in wad's words.

Nothing here raises for what Meta may send: what has no place among wad's words is None, and the caller keeps it as
it came. Ids of files are Meta's, for 7 days; times are the provider's clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from wad.models import (
    Address,
    ChatId,
    Failure,
    InboundMessage,
    MessageId,
    MessageState,
    Person,
    StatusUpdate,
)
from wad.providers.meta.errors import failure_of

_FILES: Final = frozenset({"image", "video", "audio", "document", "sticker"})

#: Every type of message that customers send, `voice` aside: that is an old name of an audio.
TYPES: Final = _FILES | {
    "text",
    "location",
    "contacts",
    "reaction",
    "button",  # a template's quick reply
    "interactive",
    "order",
    "system",  # their number or id changed
    "edit",
    "revoke",
    "unsupported",
}

_STATES: Final = {
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "read": MessageState.READ,
    "played": MessageState.PLAYED,
    "failed": MessageState.FAILED,
}

_LOW_LINE = re.compile(r"_+([a-z0-9])")


@lru_cache(maxsize=4096)
def _camel(name: str) -> str:
    return _LOW_LINE.sub(lambda match: match[1].upper(), name)


def from_meta(value: Any) -> Any:
    """*value* with wad's names for Meta's. The caller has seen to it that it is not deep."""
    if isinstance(value, dict):
        return {_camel(key): from_meta(part) for key, part in value.items()}
    if isinstance(value, list):
        return [from_meta(part) for part in value]
    return value


# --- people ---------------------------------------------------------------------------------------


class Contacts:
    """The `contacts` of one change, by every id that they go by."""

    def __init__(self, contacts: Any) -> None:
        listed = contacts if isinstance(contacts, list) else []
        self._all = [contact for contact in listed if isinstance(contact, dict)]
        self._by_id = {
            str(contact[key]): contact
            for contact in self._all
            for key in ("wa_id", "user_id")
            if contact.get(key)
        }

    def of(self, *ids: str | None) -> dict[str, Any]:
        """The contact with one of *ids*; the only one of the change, where it goes by no other id of that kind."""
        for known in ids:
            if known is not None and (found := self._by_id.get(known)) is not None:
                return found
        if len(self._all) == 1 and not any(
            self._all[0].get(key) and given for key, given in zip(("user_id", "wa_id"), ids, strict=True)
        ):
            return self._all[0]
        return {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _phone(wa_id: str | None) -> str | None:
    """A `wa_id` is a phone number without its `+`; since 2026 it may be a business-scoped user id instead."""
    return f"+{wa_id.removeprefix('+')}" if wa_id is not None and wa_id.removeprefix("+").isdigit() else None


def person(message: Mapping[str, Any], contacts: Contacts) -> Person:
    """Who wrote *message*. Meta leaves the phone number out where the person hides it."""
    given = _text(message.get("from"))
    user_id = _text(message.get("from_user_id"))
    contact = contacts.of(user_id, given)
    if given is not None and _phone(given) is None:  # the user id stands where the number would
        user_id = user_id or given
        given = None
    wa_id = given or _text(contact.get("wa_id"))
    if wa_id is not None and _phone(wa_id) is None:
        user_id = user_id or wa_id
    profile = contact.get("profile")
    profile = profile if isinstance(profile, dict) else {}
    username = _text(profile.get("username"))
    return Person(
        phone=_phone(wa_id),
        user_id=user_id or _text(contact.get("user_id")),
        name=_text(profile.get("name")),
        username=username.removeprefix("@") if username else None,
        parent_user_id=_text(message.get("from_parent_user_id")) or _text(contact.get("parent_user_id")),
    )


def chat_of(who: Person, group_id: str | None) -> ChatId:
    """The conversation, chosen as `Address.chat` chooses: a reply lands in the lane of what it answers.

    The user id comes before the phone number, because the number comes and goes with the person's privacy
    settings and the id is there always.
    """
    return Address(phone=who.phone, user_id=who.user_id, group_id=group_id).chat


# --- messages -------------------------------------------------------------------------------------


def message_of(message: Mapping[str, Any], contacts: Contacts) -> InboundMessage | None:
    """*message* in wad's words; None where it has no id, no sender, or a type that wad does not know."""
    message_id = _text(message.get("id"))
    content = content_of(message)
    if message_id is None or content is None:
        return None
    who = person(message, contacts)
    group_id = _text(message.get("group_id"))
    chat = chat_of(who, group_id)
    if not chat:
        return None
    kind: Literal["person", "group"] = "person" if group_id is None else "group"
    return InboundMessage(
        provider_message_id=message_id,
        chat=chat,
        chat_kind=kind,
        sender=who,
        content=content,
        context=_context(message),
        sent_at=time_of(message.get("timestamp")),
        raw=dict(message),
    )


def content_of(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{"type": "image", "image": {"mediaId": ..., "mimeType": ..., "caption": ...}}`, and so on."""
    kind = message.get("type")
    if kind == "voice":
        return _as_audio(message)
    if not isinstance(kind, str) or kind not in TYPES:
        return None
    content = {"type": kind, kind: _payload(kind, message.get(kind))}
    if message.get("errors"):
        content["errors"] = from_meta(message["errors"])
    if kind == "contacts" and isinstance(message.get("origin"), str):
        content["origin"] = message["origin"]
    return content


def _as_audio(message: Mapping[str, Any]) -> dict[str, Any] | None:
    payload = message.get("voice")
    held = payload if isinstance(payload, dict) else {}
    return content_of({**message, "type": "audio", "audio": {"voice": True, **held}})


def _payload(kind: str, payload: Any) -> Any:
    """What stands under the type's name. It may be missing: of an unsupported message there is only the error."""
    if kind == "contacts":
        return from_meta(payload) if isinstance(payload, list) else []
    if not isinstance(payload, dict):
        return {}
    if kind in _FILES:
        # The URL that newer webhooks carry lives for 5 minutes and wants our token: of no use to a flow.
        names = {"id": "mediaId"}
        return {
            names.get(key) or _camel(key): from_meta(part) for key, part in payload.items() if key != "url"
        }
    if kind == "edit" and isinstance(payload.get("message"), dict):
        inner = content_of(payload["message"])
        if inner is not None:
            return {**from_meta({**payload, "message": None}), "message": inner}
    if kind == "reaction":
        return {"emoji": "", **from_meta(payload)}  # absent: taken back
    return from_meta(payload)


def _context(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the message refers to: the one it quotes, that it was forwarded, a product, the ad it came from."""
    context = message.get("context")
    told: dict[str, Any] = from_meta(context) if isinstance(context, dict) else {}
    if "id" in told:
        told["providerMessageId"] = told.pop("id")
    if isinstance(author := told.get("from"), str):
        told["from"] = _phone(author) or author
    if isinstance(referral := message.get("referral"), dict):
        told["referral"] = from_meta(referral)
    return told or None


# --- statuses -------------------------------------------------------------------------------------


def status_of(status: Mapping[str, Any], now: datetime) -> StatusUpdate | None:
    """*status* in wad's words; None where it has no id, or a state that wad does not know."""
    message_id = _text(status.get("id"))
    state = _STATES.get(_text(status.get("status")) or "")
    if message_id is None or state is None:
        return None
    error: Failure | None = None
    if state is MessageState.FAILED:
        error = failure_of(status.get("errors")) or Failure(
            "provider_rejected", "the provider gives no reason"
        )
    ours = _text(status.get("biz_opaque_callback_data"))
    return StatusUpdate(
        provider_message_id=message_id,
        state=state,
        at=time_of(status.get("timestamp")) or now,
        message_id=MessageId(ours) if ours is not None else None,
        error=error,
        recipient=_recipient(status),
        raw=dict(status),
    )


def _recipient(status: Mapping[str, Any]) -> str | None:
    """Who it went to; of a group, which of its people the status is about."""
    for key in (
        "recipient_participant_user_id",
        "recipient_participant_id",
        "recipient_user_id",
        "recipient_id",
    ):
        if (found := _text(status.get(key))) is not None:
            return _phone(found) or found
    return None


def time_of(value: Any) -> datetime | None:
    """Seconds since 1970 as a string; some have been seen in milliseconds."""
    try:
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if seconds >= 1e12 else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
