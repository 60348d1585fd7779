"""Graph's schema check, in pieces: is it an object, a string, a URL; is a key missing or unexpected.

Paths are written as Graph writes them: `interactive['action']['buttons'][0]['reply']['title']`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from wad.sandbox.errors import GraphError, bad_value, invalid, required


def obj(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"Param {at} must be a JSON object.")
    return value


def items(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(f"Param {at} must be an array.")
    return value


def string(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"Param {at} must be a string.")
    return value


def need(parent: dict[str, Any], key: str, at: str) -> Any:
    value = parent.get(key)
    if value is None:
        raise required(f"{at}['{key}']")
    return value


def known(value: dict[str, Any], keys: Iterable[str], at: str) -> None:
    for key in value:
        if key not in keys:
            raise invalid(f'Unexpected key "{key}" on param "{at}".')


def only(parameters: dict[str, Any], keys: Iterable[str]) -> None:
    """A call's own parameters: its *keys*, and the token that may stand among them."""
    for key in parameters:
        if key not in keys and key != "access_token":
            raise invalid(f'Unexpected parameter "{key}".')


def one_of(value: Any, allowed: Iterable[str], at: str) -> None:
    if not isinstance(value, str) or value not in allowed:
        names = ", ".join(sorted(name.upper() for name in allowed))
        raise invalid(f'Param {at} must be one of {{{names}}} - got "{value}".')


def length(what: str, text: str, longest: int) -> None:
    """WhatsApp counts characters; an empty text is as wrong as a long one."""
    if not 1 <= len(text) <= longest or not text.strip():
        raise bad_value(f"{what} length invalid. Min length: 1, Max length: {longest}")


def link(value: Any, at: str) -> str:
    text = string(value, at)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise invalid(f"Param {at} is not a valid URI.")
    return text


def check_media(kind: str, value: Any, at: str, *, caption: bool = True) -> None:
    """An image, video, audio, document or sticker object: one of `id` and `link`, and what else its kind takes."""
    media = obj(value, at)
    allowed = {"id", "link"}
    if caption and kind in ("image", "video", "document"):
        allowed.add("caption")
    if kind == "document":
        allowed.add("filename")
    if kind == "audio":
        allowed.add("voice")
    known(media, allowed, at)
    if ("id" in media) == ("link" in media):
        raise GraphError(131008, f"Exactly one of {at}['id'] and {at}['link'] is required")
    if "link" in media:
        link(media["link"], f"{at}['link']")
    elif not isinstance(media["id"], str | int):
        raise invalid(f"Param {at}['id'] must be a string.")
    if len(string(media.get("caption", ""), f"{at}['caption']")) > 1024:
        raise invalid(f"Param {at}['caption'] must be at most 1024 characters long.")
    string(media.get("filename", ""), f"{at}['filename']")
    if not isinstance(media.get("voice", False), bool):
        raise invalid(f"Param {at}['voice'] must be a boolean.")
