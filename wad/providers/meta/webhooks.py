"""Meta's webhooks: whether Meta signed one, and every message, status and change in it.

A batch is taken apart piece by piece. Whatever has no place among wad's words (a new field, a new type, a shape that
nobody documented) becomes an `AccountEvent` that holds it as it came: an event for each piece, whatever the piece.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from wad.errors import InvalidRequest
from wad.models import AccountEvent, Inbound, WebhookRequest, utc_now
from wad.providers.base import WebhookEvent, Webhooks
from wad.providers.meta.inbound import Contacts, message_of, status_of
from wad.providers.meta.probe import phone
from wad.providers.webhooks import header, is_plain, kept, same

#: Meta's fields -> the type of event they make. All others are `provider.event`.
_EVENT_TYPES: Final = {
    "message_template_status_update": "template.status",
    "message_template_quality_update": "template.status",
    "message_template_components_update": "template.status",
    "template_category_update": "template.status",
    "account_update": "account.update",
    "account_alerts": "account.update",
    "account_review_update": "account.update",
    "business_capability_update": "account.update",
    "business_username_update": "account.update",
    "phone_number_quality_update": "account.update",
    "phone_number_name_update": "account.update",
    "security": "account.update",
}

#: What every value of the field `messages` has besides the lists that are taken apart.
_FRAME: Final = frozenset({"messaging_product", "metadata", "contacts", "messages", "statuses", "errors"})


class MetaWebhooks(Webhooks):
    """The envelope of the whole family. Who does not sign as Meta does has a `verify` of its own."""

    def verify(self, request: WebhookRequest, *, secret: str) -> bool:
        """Whether `X-Hub-Signature-256` is the HMAC-SHA256 of the raw body: Meta escapes before it signs."""
        expected = "sha256=" + hmac.digest(secret.encode(), request.body, hashlib.sha256).hex()
        return bool(secret) and same(header(request.headers, "x-hub-signature-256"), expected)

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        envelope = _decoded(request.body)
        entries = envelope.get("entry") if isinstance(envelope, dict) else None
        if not isinstance(entries, list):
            raise InvalidRequest("not a webhook of Meta's: it has no entries")
        now = utc_now()
        try:
            return _apart([event for entry in entries for event in _of_entry(entry, now)])
        except RecursionError:  # as deep as the decoder goes, and so deeper than what writes it again
            raise InvalidRequest("nested too deeply") from None


def _apart(events: list[WebhookEvent]) -> list[WebhookEvent]:
    """*events*, no two under one key: what a body says twice happened twice, and a redelivery says it in that order."""
    seen: Counter[str] = Counter()
    told = []
    for each in events:
        event = each.event
        if isinstance(event, AccountEvent):
            seen[event.dedupe_key] += 1
            if (nth := seen[event.dedupe_key]) > 1:
                event = msgspec.structs.replace(event, dedupe_key=f"{event.dedupe_key}:{nth}")
        told.append(msgspec.structs.replace(each, event=event))
    return told


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Half of an emoji is legal JSON, and people do send it. The standard library reads it; it becomes a `?`.
    try:
        repaired = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(repaired)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"not JSON: {error}") from None


def _of_entry(entry: Any, now: datetime) -> Iterator[WebhookEvent]:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list):
        yield WebhookEvent(None, kept("provider.event", {"entry": entry}))
        return
    business = entry.get("id")
    business = business if isinstance(business, str) else None
    for change in changes:
        yield from _of_change(change, business, entry.get("time"), now)


def _of_change(change: Any, business: str | None, time: Any, now: datetime) -> Iterator[WebhookEvent]:
    field = change.get("field") if isinstance(change, dict) else None
    value = change.get("value") if isinstance(change, dict) else None
    place = _Place(business, field if isinstance(field, str) else None, time, value)
    if not isinstance(field, str) or not isinstance(value, dict):
        yield place.keep(change=change)
    elif field == "messages":
        yield from _of_messages(value, place, now)
    else:
        yield place.keep(value=value)


def _of_messages(value: dict[str, Any], place: _Place, now: datetime) -> Iterator[WebhookEvent]:
    contacts = Contacts(value.get("contacts"))
    found = False
    for message in _items(value.get("messages")):
        found = True
        known = message_of(message, contacts) if isinstance(message, dict) and is_plain(message) else None
        yield place.event(known) if known is not None else place.keep(message=message)
    for status in _items(value.get("statuses")):
        found = True
        known_status = status_of(status, now) if isinstance(status, dict) and is_plain(status) else None
        yield place.event(known_status) if known_status is not None else place.keep(status=status)
    for error in _items(value.get("errors")):
        found = True
        yield place.keep(error=error)
    rest = {key: part for key, part in value.items() if key not in _FRAME}
    if rest or not found:
        yield place.keep(value=rest or value)


def _items(value: Any) -> list[Any]:
    """The items of a list; whatever else stands where a list should be is one item."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class _Place:
    """Where in the batch something stands: whose it is, and what to call it if it has to be kept as it came."""

    __slots__ = ("account", "business", "field", "phone_number", "time")

    def __init__(self, business: str | None, field: str | None, time: Any, value: Any) -> None:
        metadata = value.get("metadata") if isinstance(value, dict) else None
        metadata = metadata if isinstance(metadata, dict) else {}
        account = metadata.get("phone_number_id")
        display = metadata.get("display_phone_number") or (
            value.get("display_phone_number") if isinstance(value, dict) else None
        )
        self.business = business
        self.field = field
        self.time = time
        self.account = account if isinstance(account, str) else None
        self.phone_number = phone(display)

    def event(self, event: Inbound) -> WebhookEvent:
        return WebhookEvent(self.account, event, self.business, self.phone_number)

    def keep(self, **what: Any) -> WebhookEvent:
        data = {
            "field": self.field,
            "wabaId": self.business,
            "phoneNumberId": self.account,
            "time": self.time,
            **what,
        }
        kind = _EVENT_TYPES.get(self.field or "", "provider.event")
        return self.event(kept(kind, {key: part for key, part in data.items() if part is not None}))
