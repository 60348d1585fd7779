"""What Twilio's webhook says of a customer's message: its parameters, from the message in Meta's shape.

Twilio passes on less than Meta: no reactions, edits, orders or groups. What it does not pass on cannot be said here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wad.sandbox.inbound import Inbound
from wad.sandbox.network import Customer
from wad.sandbox.traffic import names_of
from wad.sandbox.twilio.accounts import PREFIX, Media, Record
from wad.sandbox.twilio.resources import API

MEDIA: Final = ("image", "video", "audio", "document", "sticker", "contacts")
TOLD: Final = ("text", "location", "button", "interactive", *MEDIA)


def address_of(customer: Customer) -> str:
    """The phone as WhatsApp has it, else the business-scoped id, without a +."""
    return PREFIX + (f"+{customer.wa_id}" if customer.shows_phone else customer.user_id)


def names(customer: Customer) -> tuple[str, ...]:
    """What a fault script may call them."""
    return (*names_of(customer), address_of(customer))


def parameters(
    record: Record, given: Inbound, value: Any, *, replied: Record | None, base_url: str
) -> dict[str, str]:
    customer, type_ = record.customer, record.shown.type
    said = {
        "SmsMessageSid": record.sid,
        "MessageSid": record.sid,
        "SmsSid": record.sid,
        "AccountSid": record.account_sid,
        "From": record.address,
        "To": record.sender.address,
        "Body": record.body,
        "NumMedia": str(len(record.media)),
        "NumSegments": "1",
        "SmsStatus": "received",
        "ApiVersion": API,
        "ProfileName": customer.name,
        "MessageType": _message_type(type_, value),
        "ExternalUserId": PREFIX + customer.user_id,
        "ChannelMetadata": _metadata(customer),
    }
    if record.service_sid is not None:
        said["MessagingServiceSid"] = record.service_sid
    if customer.shows_phone:
        said["WaId"] = customer.wa_id
    if customer.parent_user_id is not None:
        said["ParentExternalUserId"] = PREFIX + customer.parent_user_id
    if customer.username is not None:
        said["ProfileUsername"] = customer.username
    for n, media in enumerate(record.media):
        said |= {f"MediaUrl{n}": media_url(record, media, base_url), f"MediaContentType{n}": media.mime_type}
    said |= _particular(type_, value)
    if given.context is not None and given.context.get("forwarded"):
        said["Forwarded"] = "true"
    if given.context is not None and given.context.get("frequently_forwarded"):
        said["FrequentlyForwarded"] = "true"
    if replied is not None:
        sender = replied.address if replied.inbound else replied.sender.address
        said |= {"OriginalRepliedMessageSender": sender, "OriginalRepliedMessageSid": replied.sid}
    if given.referral is not None:
        said |= _referral(given.referral)
    return said


def media_url(record: Record, media: Media, base_url: str) -> str:
    return f"{base_url}/{API}/Accounts/{record.account_sid}/Messages/{record.sid}/Media/{media.sid}"


def body_of(type_: str, value: Any) -> str:
    """What stands in `Body`."""
    match type_:
        case "text":
            return str(value.get("body", ""))
        case "button":
            return str(value.get("text", ""))
        case "interactive":
            return str(_choice(value).get("title", ""))
        case "image" | "video" | "document":
            return str(value.get("caption") or value.get("filename") or "")
        case _:
            return ""


def _particular(type_: str, value: Any) -> dict[str, str]:
    match type_:
        case "location":
            said = {"Latitude": str(value["latitude"]), "Longitude": str(value["longitude"])}
            names = (("address", "Address"), ("name", "Label"))
            return said | {ours: str(value[theirs]) for theirs, ours in names if value.get(theirs)}
        case "button":
            return {"ButtonText": str(value.get("text", "")), "ButtonPayload": str(value.get("payload", ""))}
        case "interactive":
            chosen = _choice(value)
            if value.get("type") == "list_reply":
                return {"ListId": str(chosen.get("id", "")), "ListTitle": str(chosen.get("title", ""))}
            return {
                "ButtonText": str(chosen.get("title", "")),
                "ButtonPayload": str(chosen.get("id", "")),
            }
        case _:
            return {}


def _choice(value: dict[str, Any]) -> dict[str, Any]:
    chosen = value.get(str(value.get("type")))
    if not isinstance(chosen, dict):
        raise ValueError("interactive needs its type, and an object of that name")  # noqa: TRY004  a person's input
    return chosen


def _message_type(type_: str, value: dict[str, Any]) -> str:
    if type_ == "interactive" and value.get("type") == "button_reply":
        return "button"
    return type_


def _metadata(customer: Customer) -> str:
    """What the channel itself says of the sender, as JSON in a string."""
    context: dict[str, Any] = {"ProfileName": customer.name, "UserId": customer.user_id}
    if customer.shows_phone:
        context["WaId"] = customer.wa_id
    return msgspec.json.encode({"type": "whatsapp", "data": {"context": context}}).decode()


def _referral(referral: dict[str, Any]) -> dict[str, str]:
    names = {
        "body": "ReferralBody",
        "headline": "ReferralHeadline",
        "source_id": "ReferralSourceId",
        "source_type": "ReferralSourceType",
        "source_url": "ReferralSourceUrl",
        "media_id": "ReferralMediaId",
        "media_content_type": "ReferralMediaContentType",
        "media_url": "ReferralMediaUrl",
        "num_media": "ReferralNumMedia",
        "ctwa_clid": "ReferralCtwaClid",
    }
    return {ours: str(referral[theirs]) for theirs, ours in names.items() if referral.get(theirs)}
