"""How Twilio writes things down: accounts, messages and media as JSON, and the pages of a list."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from wad.sandbox.twilio.accounts import Account, Media, Record
from wad.sandbox.twilio.errors import parameter

API: Final = "2010-04-01"
_FILTERS: Final = ("To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken")
_MOST: Final = 1000
_SEGMENT: Final = 160


def rfc2822(at: float | None) -> str | None:
    return None if at is None else format_datetime(datetime.fromtimestamp(int(at), UTC))


def account_resource(account: Account) -> dict[str, Any]:
    uri = f"/{API}/Accounts/{account.sid}"
    return {
        "sid": account.sid,
        "owner_account_sid": account.sid,
        "friendly_name": account.name,
        "auth_token": account.auth_token,
        "status": account.status,
        "type": "Full",
        "date_created": rfc2822(account.created),
        "date_updated": rfc2822(account.created),
        "uri": f"{uri}.json",
        "subresource_uris": {"messages": f"{uri}/Messages.json"},
    }


def message_resource(record: Record) -> dict[str, Any]:
    uri = f"/{API}/Accounts/{record.account_sid}/Messages/{record.sid}"
    ours, theirs = record.sender.address, record.address
    waiting = record.service_sid is not None and record.status in ("accepted", "scheduled")
    code, words = record.error or (None, None)
    return {
        "sid": record.sid,
        "account_sid": record.account_sid,
        "messaging_service_sid": record.service_sid,
        "from": theirs if record.inbound else None if waiting else ours,
        "to": ours if record.inbound else theirs,
        "body": record.body,
        "status": record.status,
        "direction": "inbound" if record.inbound else "outbound-api",
        "num_media": str(record.media_count),
        "num_segments": "0" if waiting else str(-(-len(record.body) // _SEGMENT) or 1),
        "error_code": code,
        "error_message": words,
        "price": None,
        "price_unit": None,
        "date_created": rfc2822(record.created),
        "date_updated": rfc2822(record.updated),
        "date_sent": rfc2822(record.sent),
        "api_version": API,
        "uri": f"{uri}.json",
        "subresource_uris": {"media": f"{uri}/Media.json"},
    }


def media_resource(record: Record, media: Media) -> dict[str, Any]:
    uri = f"/{API}/Accounts/{record.account_sid}/Messages/{record.sid}/Media/{media.sid}"
    return {
        "sid": media.sid,
        "account_sid": record.account_sid,
        "parent_sid": record.sid,
        "content_type": media.mime_type,
        "date_created": rfc2822(record.created),
        "date_updated": rfc2822(record.created),
        "uri": f"{uri}.json",
    }


# --- lists ------------------------------------------------------------------------------------------


def listed(account: Account, asked: dict[str, str]) -> dict[str, Any]:
    """A page of the account's messages, newest first. What is not sent yet has no `date_sent` to be found by."""
    for name in asked:
        if name not in _FILTERS:
            raise parameter(f"{name} is not a filter of this resource")
    size, page = _whole(asked, "PageSize", 50, 1), _whole(asked, "Page", 0, 0)
    size = min(size, _MOST)
    spans = [_span(name, asked[name]) for name in ("DateSent", "DateSent<", "DateSent>") if asked.get(name)]
    found = [record for record in reversed(account.records.values()) if _matches(record, asked, spans)]
    at = next((n for n, record in enumerate(found) if f"PA{record.sid}" == asked.get("PageToken")), -1) + 1
    if not asked.get("PageToken"):
        at = page * size
    records = found[at : at + size]
    more = at + size < len(found)
    return paged("messages", [message_resource(record) for record in records], asked,
                 uri=f"/{API}/Accounts/{account.sid}/Messages.json", page=page, size=size, start=at,
                 token=f"PA{records[-1].sid}" if more else None)  # fmt: skip


def paged(
    name: str,
    items: list[dict[str, Any]],
    asked: dict[str, str],
    *,
    uri: str,
    page: int = 0,
    size: int = 50,
    start: int = 0,
    token: str | None = None,
) -> dict[str, Any]:
    """The envelope of a list. *token* leads to the next page."""
    filters = {key: value for key, value in asked.items() if key not in ("Page", "PageToken", "PageSize")}

    def at(number: int, **more: str) -> str:
        query = filters | {"PageSize": str(size), "Page": str(number)} | more
        return f"{uri}?{urlencode(query, quote_via=quote)}"

    return {
        name: items,
        "page": page,
        "page_size": size,
        "start": start,
        "end": start + max(len(items) - 1, 0),
        "uri": at(page),
        "first_page_uri": at(0),
        "previous_page_uri": at(page - 1) if page else None,
        "next_page_uri": at(page + 1, PageToken=token) if token else None,
    }


def _matches(record: Record, asked: dict[str, str], spans: list[tuple[str, float, float]]) -> bool:
    ours, theirs = record.sender.address, record.address
    sender, to = (theirs, ours) if record.inbound else (ours, theirs)
    if asked.get("To") not in (None, "", to) or asked.get("From") not in (None, "", sender):
        return False
    sent = record.sent
    for name, first, last in spans:
        if sent is None or (name != "DateSent<" and sent < first) or (name != "DateSent>" and sent > last):
            return False
    return True


def _span(name: str, given: str) -> tuple[str, float, float]:
    """What a date stands for: the whole of a day, or of a second."""
    text = given.strip().lstrip("=")  # `DateSent>=...` is the name `DateSent>` with a value
    whole_day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is not None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise parameter(f"{given!r} is not a date of {name}") from None
    start = when.replace(tzinfo=when.tzinfo or UTC)
    length = timedelta(days=1) if whole_day else timedelta(seconds=1)
    return name, start.timestamp(), (start + length).timestamp() - 1e-6


def _whole(asked: dict[str, str], name: str, default: int, least: int) -> int:
    given = asked.get(name) or str(default)
    if not given.isdigit() or int(given) < least:
        raise parameter(f"{given!r} is not a value of {name}")
    return int(given)
