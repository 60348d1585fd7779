"""Webhook bodies: the items Meta sends, the envelope around them, its bytes and their signature."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias

from wad.sandbox.errors import GraphError
from wad.sandbox.network import Callback, Customer, Group, Message, Number

Signature: TypeAlias = Literal["right", "wrong", "missing"]


@dataclasses.dataclass(slots=True)
class Event:
    """One thing that happened, as one or more `items` of a change. It may travel alone or in a batch."""

    event_id: str
    kind: Literal["message", "status", "account"]
    number: Number
    lane: str  # events of one lane are delivered in order, unless one fails
    at: float
    items: list[dict[str, Any]]
    contacts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    field: str = "messages"
    value: dict[str, Any] | None = None  # of an account field: the whole of it
    tried: list[Callable[[], None]] = dataclasses.field(
        default_factory=list
    )  # called once, after the first attempt


def envelope(events: Iterable[Event]) -> dict[str, Any]:
    """The body of one POST. Neighbours of one number and kind share a change, accounts share an entry."""
    entries: dict[str, dict[str, Any]] = {}
    last: dict[str, tuple[str, str]] = {}
    for event in events:
        waba_id = event.number.waba_id
        entry = entries.setdefault(waba_id, {"id": waba_id, "changes": []})
        if event.value is not None:
            entry["time"] = int(event.at)
            entry["changes"].append({"value": event.value, "field": event.field})
            last.pop(waba_id, None)
            continue
        name = "messages" if event.kind == "message" else "statuses"
        if last.get(waba_id) == (event.number.phone_number_id, name):
            value = entry["changes"][-1]["value"]
            value[name].extend(event.items)
            for contact in event.contacts:
                if contact not in value.setdefault("contacts", []):
                    value["contacts"].append(contact)
            continue
        last[waba_id] = (event.number.phone_number_id, name)
        value = {"messaging_product": "whatsapp", "metadata": metadata(event.number)}
        if event.contacts:
            value["contacts"] = list(event.contacts)
        value[name] = list(event.items)
        entry["changes"].append({"value": value, "field": "messages"})
    return {"object": "whatsapp_business_account", "entry": list(entries.values())}


def encode(body: dict[str, Any]) -> bytes:
    """Meta's bytes: everything beyond ASCII as a u-escape in lower case, and slashes escaped too.

    The signature is over these. Whoever parses and writes the JSON anew gets other bytes.
    """
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode()


def signatures(app_secret: str, body: bytes) -> dict[str, str]:
    key = app_secret.encode()
    return {
        "X-Hub-Signature-256": f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}",
        "X-Hub-Signature": f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}",
    }


def proof(callback: Callback, app_secret: str, body: bytes, signature: Signature = "right") -> dict[str, str]:
    """The headers by which a callback knows that *body* is genuine, or (for a test of that) sees that it is not."""
    if signature == "missing":
        return {}
    if callback.headers is not None:
        return {name: value if signature == "right" else f"not {value}" for name, value in callback.headers}
    return signatures(app_secret if signature == "right" else f"not {app_secret}", body)


def metadata(number: Number) -> dict[str, str]:
    return {"display_phone_number": number.digits, "phone_number_id": number.phone_number_id}


def contact(customer: Customer) -> dict[str, Any]:
    profile = {"name": customer.name}
    if customer.username is not None:
        profile["username"] = customer.username
    entry: dict[str, Any] = {"profile": profile}
    if customer.shows_phone:
        entry["wa_id"] = customer.wa_id
    entry["user_id"] = customer.user_id
    if customer.parent_user_id is not None:
        entry["parent_user_id"] = customer.parent_user_id
    return entry


def message_item(message: Message, customer: Customer, *, group: Group | None) -> dict[str, Any]:
    """A customer's message as webhooks carry it. `content` is already in Meta's shape."""
    item: dict[str, Any] = {}
    if customer.shows_phone:
        item["from"] = customer.wa_id
    item["from_user_id"] = customer.user_id
    if customer.parent_user_id is not None:
        item["from_parent_user_id"] = customer.parent_user_id
    if group is not None:
        item["group_id"] = group.group_id
    item |= {"id": message.wamid, "timestamp": str(int(message.at)), "type": message.type}
    if message.context is not None:
        item["context"] = message.context
    return item


def status_item(
    message: Message, status: str, at: float, customer: Customer | None, *, error: GraphError | None = None
) -> dict[str, Any]:
    """A status of what the business sent to one person; of a group as a whole where there is no *customer*."""
    item: dict[str, Any] = {"id": message.wamid, "status": status, "timestamp": str(int(at))}
    if customer is None:
        item |= {"recipient_id": message.chat, "recipient_type": "group"}
    else:
        if customer.shows_phone:
            item["recipient_id"] = customer.wa_id
        item["recipient_user_id"] = customer.user_id
        if customer.parent_user_id is not None:
            item["parent_recipient_user_id"] = customer.parent_user_id
    if message.callback_data is not None:
        item["biz_opaque_callback_data"] = message.callback_data
    if error is not None:
        item["errors"] = [error.in_webhook()]
    elif status in ("sent", "delivered"):
        item["pricing"] = _pricing(message)
    return item


def participant_item(message: Message, status: str, at: float, customer: Customer) -> dict[str, Any]:
    """What one member of a group did with a message: one of several statuses in one webhook."""
    item = status_item(message, status, at, None)
    if customer.shows_phone:
        item["recipient_participant_id"] = customer.wa_id
    item["recipient_participant_user_id"] = customer.user_id
    return item


#: Meta charges for templates, by what they are for, and for nothing that answers a customer.
_FREE: Final = "service"


def _pricing(message: Message) -> dict[str, Any]:
    billable = message.category != _FREE
    type_ = "regular" if billable else "free_customer_service"
    return {"billable": billable, "pricing_model": "PMP", "type": type_, "category": message.category}
