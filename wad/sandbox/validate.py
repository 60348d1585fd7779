"""The check of a `POST /messages` body: what Graph and WhatsApp refuse before looking at the recipient.

Knows limits and shapes only. Whether a media id, a template or a quoted message exists is for
`accept.py`, which has the world at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from wad.sandbox.errors import GraphError, bad_value, invalid, required
from wad.sandbox.interactive import check_interactive
from wad.sandbox.shape import check_media, items, known, need, obj, one_of, only, string

MEDIA_TYPES: Final = frozenset({"image", "video", "audio", "document", "sticker"})
GROUP_TYPES: Final = MEDIA_TYPES | {"text", "template", "pin"}

#: The enum of the `type` parameter as Graph lists it in its own error.
_TYPES: Final = (
    *("audio", "contacts", "document", "gif", "image", "interactive", "link_preview", "location"),
    *("pin", "reaction", "sticker", "template", "text", "video"),
)

_BSUID: Final = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_PHONE: Final = re.compile(r"\+?[0-9()\- ]{1,40}")


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A body that passed: what to send, and to whom."""

    type: str
    content: Any
    to: str | None
    recipient: str | None
    to_group: bool
    quotes: str | None
    callback_data: str | None
    identity: str | None
    marketing: str | None  # the product policy of a send over the Marketing Messages API


#: What every send may have, besides the object of its type.
_FIELDS: Final = {
    *("messaging_product", "recipient_type", "to", "recipient", "type", "context"),
    *("biz_opaque_callback_data", "recipient_identity_key_hash", "messaging_account_id"),
}
_MARKETING_FIELDS: Final = {"product_policy", "message_activity_sharing"}


def check_send(body: dict[str, Any], *, marketing: bool = False) -> Send:
    """Check a send, of the Cloud API or of the Marketing Messages API."""
    if body.get("messaging_product") != "whatsapp":
        raise wrong_product(body.get("messaging_product"))
    recipient_type = body.get("recipient_type", "individual")
    one_of(recipient_type, {"individual", "group"}, "recipient_type")
    to_group = recipient_type == "group"
    to = body.get("to")
    recipient = body.get("recipient")
    if to is None and recipient is None:
        raise required("to")
    if to is not None:
        _check_to(string(to, "to"), to_group=to_group)
        recipient = None  # if both are given, `to` wins
    elif to_group:
        raise required("to")
    elif not _BSUID.fullmatch(string(recipient, "recipient")):
        raise bad_value("recipient is not a business-scoped user id")
    kind = body.get("type", "text")
    if not isinstance(kind, str) or kind not in _TYPES:
        names = ", ".join(name.upper() for name in _TYPES)
        raise invalid(f'Param type must be one of {{{names}}} - got "{kind}".')
    check = _CHECKS.get(kind)
    if check is None or (to_group and kind not in GROUP_TYPES) or (kind == "pin" and not to_group):
        raise GraphError(131051)
    if kind not in body:
        raise GraphError(131008, f"Parameter '{kind}' is mandatory for type '{kind}'")
    only(body, _FIELDS | {kind} | (_MARKETING_FIELDS if marketing else set()))
    policy = _policy(body, kind) if marketing else None
    content = body[kind]
    check(content)
    quotes = _quoted(body, kind)
    callback_data = body.get("biz_opaque_callback_data")
    if callback_data is not None and len(string(callback_data, "biz_opaque_callback_data")) > 512:
        raise invalid("Param biz_opaque_callback_data must be at most 512 characters long.")
    identity = body.get("recipient_identity_key_hash")
    if identity is not None:
        string(identity, "recipient_identity_key_hash")
    return Send(
        type=kind,
        content=content,
        to=to,
        recipient=recipient,
        to_group=to_group,
        quotes=quotes,
        callback_data=callback_data,
        identity=identity,
        marketing=policy,
    )


def _policy(body: dict[str, Any], kind: str) -> str:
    if kind != "template":
        raise GraphError(131055, "Only marketing template messages are supported")
    policy = body.get("product_policy", "CLOUD_API_FALLBACK")
    one_of(policy, {"CLOUD_API_FALLBACK", "STRICT"}, "product_policy")
    if not isinstance(body.get("message_activity_sharing", False), bool):
        raise invalid("Param message_activity_sharing must be a boolean.")
    return str(policy)


def wrong_product(value: Any) -> GraphError:
    if value is None:
        return required("messaging_product")
    return invalid(f'Param messaging_product must be one of {{WHATSAPP}} - got "{value}".')


def _check_to(to: str, *, to_group: bool) -> None:
    if to_group:
        if not to:
            raise required("to")
    elif not _PHONE.fullmatch(to) or not any(char.isdigit() for char in to):
        raise bad_value("to is not a valid phone number")


def _quoted(body: dict[str, Any], kind: str) -> str | None:
    if "context" not in body:
        return None
    if kind == "reaction":
        raise bad_value("context is not allowed for a reaction")
    context = obj(body["context"], "context")
    known(context, {"message_id"}, "context")
    return string(need(context, "message_id", "context"), "context['message_id']")


# --- one check a type -----------------------------------------------------------------------------


def _text(value: Any) -> None:
    text = obj(value, "text")
    body = need(text, "body", "text")
    known(text, {"body", "preview_url"}, "text")
    if not string(body, "text['body']"):
        raise required("text['body']")
    if len(body) > 4096:
        raise invalid("Param text['body'] must be at most 4096 characters long.")
    if not isinstance(text.get("preview_url", False), bool):
        raise invalid("Param text['preview_url'] must be a boolean.")


def _media(kind: str) -> Callable[[Any], None]:
    return lambda value: check_media(kind, value, kind)


def _location(value: Any) -> None:
    location = obj(value, "location")
    known(location, {"latitude", "longitude", "name", "address"}, "location")
    for name, limit in (("latitude", 90), ("longitude", 180)):
        number = need(location, name, "location")
        try:
            good = not isinstance(number, bool) and abs(float(number)) <= limit
        except (TypeError, ValueError):
            good = False
        if not good:
            raise bad_value(f"location['{name}'] must be a number between -{limit} and {limit}")
    for name in ("name", "address"):
        string(location.get(name, ""), f"location['{name}']")


_CONTACT: Final[dict[str, set[str]]] = {
    "name": {"formatted_name", "first_name", "last_name", "middle_name", "suffix", "prefix"},
    "phones": {"phone", "type", "wa_id"},
    "emails": {"email", "type"},
    "urls": {"url", "type"},
    "addresses": {"street", "city", "state", "zip", "country", "country_code", "type"},
    "org": {"company", "department", "title"},
}


def _contacts(value: Any) -> None:
    contacts = items(value, "contacts")
    if not 1 <= len(contacts) <= 257:
        raise bad_value("Invalid contacts count. Min allowed contacts: 1, Max allowed contacts: 257")
    for number, item in enumerate(contacts):
        at = f"contacts[{number}]"
        contact = obj(item, at)
        known(contact, {*_CONTACT, "birthday"}, at)
        name = obj(need(contact, "name", at), f"{at}['name']")
        string(need(name, "formatted_name", f"{at}['name']"), f"{at}['name']['formatted_name']")
        for key, keys in _CONTACT.items():
            part = contact.get(key, [])
            for entry in part if isinstance(part, list) else [part]:
                known(obj(entry, f"{at}['{key}']"), keys, f"{at}['{key}']")
        birthday = contact.get("birthday")
        if birthday is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(birthday)):
            raise bad_value(f"{at}['birthday'] must be YYYY-MM-DD")


def _reaction(value: Any) -> None:
    reaction = obj(value, "reaction")
    known(reaction, {"message_id", "emoji"}, "reaction")
    string(need(reaction, "message_id", "reaction"), "reaction['message_id']")
    emoji = reaction.get("emoji")
    if emoji is None:
        raise required("reaction['emoji']")
    # An emoji may be many code points (a family, a flag, a keycap), but never a letter.
    if len(string(emoji, "reaction['emoji']")) > 20 or any(
        char.isalpha() and char.isascii() for char in emoji
    ):
        raise bad_value("reaction['emoji'] is not an emoji")


_COMPONENTS: Final = {"header", "body", "footer", "button", "carousel", "limited_time_offer", "order_status"}
_SUB_TYPES: Final = {
    *("quick_reply", "url", "copy_code", "flow", "catalog", "mpm", "voice_call", "order_details"),
}
_PARAMETERS: Final = {
    *("text", "image", "video", "document", "location", "currency", "date_time", "payload", "coupon_code"),
    *("action", "product", "limited_time_offer", "order_status", "ttl_minutes", "group_id"),
}


def _template(value: Any) -> None:
    template = obj(value, "template")
    known(template, {"name", "language", "components"}, "template")
    string(need(template, "name", "template"), "template['name']")
    language = obj(need(template, "language", "template"), "template['language']")
    known(language, {"code", "policy"}, "template['language']")
    string(need(language, "code", "template['language']"), "template['language']['code']")
    if language.get("policy", "deterministic") != "deterministic":
        raise invalid("Param template['language']['policy'] must be one of {DETERMINISTIC}.")
    for number, item in enumerate(items(template.get("components", []), "template['components']")):
        at = f"template['components'][{number}]"
        part = obj(item, at)
        kind = need(part, "type", at)
        one_of(str(kind).lower(), _COMPONENTS, f"{at}['type']")
        if str(kind).lower() == "button":
            one_of(str(need(part, "sub_type", at)).lower(), _SUB_TYPES, f"{at}['sub_type']")
            if not re.fullmatch(r"\d", str(need(part, "index", at))):
                raise invalid(f"Param {at}['index'] must be an integer between 0 and 9.")
        for place, entry in enumerate(items(part.get("parameters", []), f"{at}['parameters']")):
            _check_parameter(obj(entry, f"{at}['parameters'][{place}]"), f"{at}['parameters'][{place}]")


def _check_parameter(parameter: dict[str, Any], at: str) -> None:
    kind = need(parameter, "type", at)
    one_of(str(kind).lower(), _PARAMETERS, f"{at}['type']")
    known(parameter, {"type", "parameter_name", kind}, at)
    if kind in MEDIA_TYPES:
        check_media(kind, need(parameter, kind, at), f"{at}['{kind}']", caption=False)
    elif kind in ("text", "payload", "coupon_code"):
        if not string(need(parameter, kind, at), f"{at}['{kind}']"):
            raise GraphError(131008, f"{at}['{kind}'] must not be empty")
    else:
        need(parameter, kind, at)


def _pin(value: Any) -> None:
    pin = obj(value, "pin")
    known(pin, {"type", "message_id", "expiration_days"}, "pin")
    one_of(need(pin, "type", "pin"), {"pin", "unpin"}, "pin['type']")
    string(need(pin, "message_id", "pin"), "pin['message_id']")
    if pin["type"] == "pin" and need(pin, "expiration_days", "pin") not in range(1, 31):
        raise bad_value("pin['expiration_days'] must be between 1 and 30")


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    "text": _text,
    "location": _location,
    "contacts": _contacts,
    "reaction": _reaction,
    "template": _template,
    "interactive": check_interactive,
    "pin": _pin,
    **{kind: _media(kind) for kind in MEDIA_TYPES},
}
