"""What a customer does: the control API's words → the object of a webhook's message.

A message's own object (`{"location": {...}}`) is given with Meta's field names and goes out as given;
what is left out is made up, so that `{"type": "location"}` alone is a message.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wad.sandbox.ids import digits_of
from wad.sandbox.media import RECEIVED_LIVES, Media
from wad.sandbox.network import Customer, Message
from wad.sandbox.samples import sample
from wad.sandbox.validate import MEDIA_TYPES

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

InboundType = Literal[
    "text", "image", "video", "audio", "document", "sticker", "location", "contacts", "reaction", "button",
    "interactive", "order", "system", "edit", "revoke", "unsupported",
]  # fmt: skip


class Person(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A customer, by phone or by business-scoped user id; what else is said changes them."""

    phone: str | None = None
    user_id: str | None = None
    name: str | None = None
    username: str | None = None
    parent_user_id: str | None = None
    wa_id: str | None = None
    on_whatsapp: bool | None = None
    shows_phone: bool | None = None
    identity: str | None = None


class Inbound(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    sender: Person = msgspec.field(name="from")
    phone_number_id: str | None = None  # none: the first number
    type: InboundType | None = None  # none: the one object that is given
    text: str | dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    document: dict[str, Any] | None = None
    sticker: dict[str, Any] | None = None
    location: dict[str, Any] | None = None
    contacts: list[dict[str, Any]] | None = None
    reaction: dict[str, Any] | None = None
    button: dict[str, Any] | None = None
    interactive: dict[str, Any] | None = None
    order: dict[str, Any] | None = None
    system: dict[str, Any] | None = None
    edit: dict[str, Any] | None = None
    revoke: dict[str, Any] | None = None
    unsupported: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None
    referral: dict[str, Any] | None = None
    origin: str | None = None  # of contacts
    context: dict[str, Any] | None = None
    reply_to: str | None = None  # a wamid: context as Meta writes it for a reply
    group_id: str | None = None
    wamid: str | None = None
    timestamp: float | None = None


MADE_UP: Final[dict[str, Any]] = {
    "text": {"body": "Hola"},
    "location": {
        "latitude": 19.4326,
        "longitude": -99.1332,
        "name": "Zócalo",
        "address": "Plaza de la Constitución, Ciudad de México",
    },
    "contacts": [
        {
            "name": {"formatted_name": "Marta Ruiz", "first_name": "Marta", "last_name": "Ruiz"},
            "phones": [{"phone": "+52 1 55 1111 2222", "wa_id": "5215511112222", "type": "CELL"}],
        }
    ],
    "order": {
        "catalog_id": "194836987003835",
        "text": "Por favor",
        "product_items": [
            {"product_retailer_id": "sku-1", "quantity": 2, "item_price": 149.5, "currency": "MXN"}
        ],
    },
    "system": {"body": "User A changed from one number to another", "type": "user_changed_number"},
    "unsupported": {"type": "poll"},
    "button": {"payload": "Show me", "text": "Show me"},
    "interactive": {"type": "button_reply", "button_reply": {"id": "yes", "title": "Sí"}},
}

_UNSUPPORTED: Final = {
    "code": 131051,
    "title": "Message type unknown",
    "message": "Message type unknown",
    "error_data": {"details": "Message type is currently not supported."},
}


def receive(sandbox: Sandbox, given: Inbound) -> tuple[Message, str, Customer]:
    """Let the customer send it. `ValueError` says what is wrong with *given*."""
    number = sandbox.number(given.phone_number_id)
    customer = sandbox.person(given.sender)
    type_ = type_of(given)
    group = None
    if given.group_id is not None:
        group = sandbox.network.groups.get(given.group_id)
        if group is None:
            raise ValueError(f"no such group: {given.group_id}")
    extra: dict[str, Any] = {}
    value = getattr(given, type_)
    if isinstance(value, str):
        value = {"body": value}
    if value is None:
        value = MADE_UP.get(type_)
    if type_ in MEDIA_TYPES:
        value = described_media(sandbox, number.phone_number_id, type_, dict(value or {}))
    if value is None:
        raise ValueError(f"a message of type {type_} needs its object {type_!r}")
    _react(sandbox, type_, value)
    extra[type_] = value
    if type_ == "unsupported":
        extra["errors"] = given.errors or [_UNSUPPORTED]
    elif given.errors is not None:
        extra["errors"] = given.errors
    if given.referral is not None:
        extra["referral"] = given.referral
    if given.origin is not None:
        extra["origin"] = given.origin
    context = given.context
    if given.reply_to is not None:
        context = {"from": number.digits, "id": given.reply_to} | (context or {})
    message, event_id = sandbox.traffic.write(
        number,
        customer,
        type_,
        extra,
        group=group,
        context=context,
        wamid=given.wamid,
        at=given.timestamp,
        quietly=type_ == "system",
    )
    return message, event_id, customer


def type_of(given: Inbound) -> str:
    """What is said, or the one object that is given."""
    objects = [name for name in InboundType.__args__ if getattr(given, name) is not None]  # type: ignore[attr-defined]
    if given.type is not None:
        wrong = [name for name in objects if name != given.type]
        if wrong:
            raise ValueError(f"type is {given.type}, but there is also {', '.join(wrong)}")
        return given.type
    if len(objects) != 1:
        raise ValueError("say the type, or give exactly one message object")
    return str(objects[0])


def described_media(sandbox: Sandbox, number_id: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    """Store the file (`data` in base64, a media id that exists, or a sample) and describe it as webhooks do."""
    encoded, mime_type = value.pop("data", None), value.pop("mime_type", None)
    if "id" in value:
        media = sandbox.network.media.get(value["id"])
        if media is None:
            raise ValueError(f"no such media: {value['id']}")
    else:
        sample_type, data = sample(kind)
        if encoded is not None:
            try:
                data = base64.b64decode(encoded, validate=True)
            except (binascii.Error, TypeError) as error:
                raise ValueError(f"{kind}.data is not base64: {error}") from None
        media = store(sandbox, number_id, mime_type or sample_type, data, value.get("filename"))
    described = {"id": media.media_id, "mime_type": media.mime_type, "sha256": media.sha256_base64, **value}
    if kind == "document":
        described.setdefault("filename", media.filename or "document.pdf")
    if kind == "audio":
        described.setdefault("voice", True)
    if kind == "sticker":
        described.setdefault("animated", False)
    return described


def store(
    sandbox: Sandbox, number_id: str, mime_type: str, data: bytes, filename: str | None = None
) -> Media:
    """A file of a customer's. Its id lives seven days."""
    media = Media(
        media_id=sandbox.new_media_id(),
        phone_number_id=number_id,
        mime_type=mime_type,
        data=data,
        expires=sandbox.network.now() + RECEIVED_LIVES,
        filename=filename,
        received=True,
    )
    sandbox.network.media[media.media_id] = media
    return media


def _react(sandbox: Sandbox, type_: str, value: dict[str, Any]) -> None:
    """What an edit or a deletion does to the message it is about, for the page."""
    if type_ not in ("edit", "revoke"):
        return
    original = sandbox.network.messages.get(value.get("original_message_id", ""))
    if original is None:
        raise ValueError(f"{type_} needs the original_message_id of a message that exists")
    if type_ == "revoke":
        original.deleted = True
    elif isinstance(value.get("message"), dict):
        original.content = value["message"].get(original.type, original.content)


class Press(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A customer presses a button, or chooses a row, of a message the business sent."""

    wamid: str
    id: str  # of the button or row; of a template's quick reply its payload or text
    sender: Person | None = msgspec.field(name="from", default=None)  # only needed in a group


def press(sandbox: Sandbox, given: Press) -> tuple[Message, str, Customer]:
    message = sandbox.network.messages.get(given.wamid)
    if message is None or message.direction != "out":
        raise ValueError(f"no such message of a business: {given.wamid}")
    number = sandbox.network.numbers[message.phone_number_id]
    customer = sandbox.network.customers.get(message.chat)
    if given.sender is not None:
        customer = sandbox.person(given.sender)
    if customer is None:
        raise ValueError("say who presses: the message went to a group")
    type_, value = pressed_of(message, given.id)
    written, event_id = sandbox.traffic.write(
        number,
        customer,
        type_,
        {type_: value},
        group=sandbox.network.groups.get(message.chat),
        context={"from": number.digits, "id": message.wamid},
    )
    return written, event_id, customer


def pressed_of(message: Message, pressed: str) -> tuple[str, dict[str, Any]]:
    """The type and object of the message that pressing it makes."""
    content = message.content
    if message.type == "template":
        for button in content["buttons"]:
            if button["type"] == "QUICK_REPLY" and pressed in (button["payload"], button["text"]):
                return "button", {"payload": button["payload"], "text": button["text"]}
    elif message.type == "interactive" and content["type"] == "button":
        for button in content["action"]["buttons"]:
            if button["reply"]["id"] == pressed:
                return "interactive", {"type": "button_reply", "button_reply": dict(button["reply"])}
    elif message.type == "interactive" and content["type"] == "list":
        for section in content["action"]["sections"]:
            for row in section["rows"]:
                if row["id"] == pressed:
                    return "interactive", {"type": "list_reply", "list_reply": dict(row)}
    raise ValueError(f"the message has no button or row {pressed!r}")


def phone_key(phone: str) -> str:
    """A phone as the control API takes it: E.164 with its +."""
    digits = digits_of(phone)
    if not phone.startswith("+") or not digits.isdigit() or not 7 <= len(digits) <= 15:
        raise ValueError(f"phone must be E.164 with its +, such as +5215512345678: {phone!r}")
    return f"+{digits}"
