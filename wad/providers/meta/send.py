"""wad's messages as Meta's JSON: camelCase to snake_case, and whom it is for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Verdict
from wad.models import Address, OutboundMessage

#: Names that are not their camelCase spelt with underscores.
_IRREGULAR: Final = {"mediaId": "id", "amount1000": "amount_1000"}

#: What these hold is somebody else's data: a flow's, or address fields whose names depend on the country.
_FREE: Final = frozenset({"data", "flowActionData", "values", "validationErrors", "savedAddresses"})

_CAPITAL = re.compile(r"[A-Z]")


@lru_cache(maxsize=1024)
def _snake(name: str) -> str:
    return _IRREGULAR.get(name) or _CAPITAL.sub(lambda letter: f"_{letter[0].lower()}", name)


def to_meta(value: Any) -> Any:
    """*value* with Meta's names for wad's. Values stay as they are, and so does what is free in form."""
    match value:
        case dict():
            return {_snake(key): part if key in _FREE else to_meta(part) for key, part in value.items()}
        case list():
            return [to_meta(part) for part in value]
        case _:
            return value


def _recipient(to: Address) -> dict[str, str]:
    """A phone number goes with its `+`, or Meta puts its sender's country code before it."""
    if to.group_id is not None:
        return {"recipient_type": "group", "to": to.group_id}
    if to.phone is not None:
        return {"recipient_type": "individual", "to": to.phone}
    if to.user_id is not None:
        return {"recipient_type": "individual", "recipient": to.user_id}
    raise ProviderError(Verdict.REJECTED, "nobody that Meta could reach", code="recipient_unreachable")


def body_of(message: OutboundMessage, **more: str) -> bytes:
    """The body of `POST /messages`. wad's own id travels with it, and comes back in every status."""
    kind = message.type
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        **_recipient(message.to),
        "type": kind,
        kind: to_meta(message.content[kind]),
        "biz_opaque_callback_data": message.message_id,
        **more,
    }
    if message.quotes is not None and kind != "reaction":  # Meta refuses a context there
        body["context"] = {"message_id": message.quotes}
    return encode(body)


def read_body(provider_message_id: str, *, typing: bool) -> bytes:
    """Typing is shown as part of marking a message read; Meta has no other way to ask for it."""
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": provider_message_id,
    }
    if typing:
        body["typing_indicator"] = {"type": "text"}
    return encode(body)


def encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:  # half a character, say
        raise ProviderError(
            Verdict.REJECTED, f"the message cannot be written as JSON ({error})", code="invalid_content"
        ) from None
