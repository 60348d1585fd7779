"""How what a business sent through Twilio looks on the customer's phone: in Meta's shape, as all that the page draws."""

from __future__ import annotations

import mimetypes
from typing import Any
from urllib.parse import urlsplit

from wad.sandbox.media import kind_of
from wad.sandbox.twilio.templates import Template
from wad.sandbox.twilio.validate import Send


def look(send: Send, template: Template | None) -> tuple[str, dict[str, Any]]:
    """The type and the content of the message."""
    if template is not None:
        return _filled(template, template.filled(send.variables))
    if send.place is not None:
        latitude, longitude, label = send.place
        place = {"latitude": latitude, "longitude": longitude, "name": send.body, "address": label}
        return "location", {name: value for name, value in place.items() if value not in (None, "")}
    if send.media:
        [url] = send.media
        kind = _kind(url)
        content: dict[str, Any] = {"link": url}
        if send.body:
            content["caption"] = send.body
        return kind, content
    return "text", {"body": send.body}


def _kind(url: str) -> str:
    """By its name: nothing here fetches a file."""
    mime_type, _ = mimetypes.guess_type(urlsplit(url).path)
    return kind_of(mime_type or "") or "image"


def _filled(template: Template, filled: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    shown: dict[str, Any] = {
        "name": template.name,
        "language": template.language,
        "header": None,
        "body": filled.get("body", ""),
        "footer": None,
        "buttons": [],
    }
    match filled["kind"]:
        case "twilio/quick-reply":
            shown["buttons"] = [
                {"type": "QUICK_REPLY", "text": action["title"], "payload": action["id"]}
                for action in filled["actions"]
            ]
        case "twilio/call-to-action":
            shown["buttons"] = [
                {"type": action["type"], "text": action["title"], "url": action.get("url")}
                for action in filled["actions"]
            ]
        case "twilio/media":
            [url] = filled["media"]
            shown["header"] = {"type": _kind(url), _kind(url): {"link": url}}
        case "twilio/list-picker":
            rows = [
                {"id": item["id"], "title": item["item"]}
                | ({"description": item["description"]} if "description" in item else {})
                for item in filled["items"]
            ]
            action = {"button": filled["button"], "sections": [{"rows": rows}]}
            return "interactive", {"type": "list", "body": {"text": filled["body"]}, "action": action}
    return "template", shown
