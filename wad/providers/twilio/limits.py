"""What Twilio takes for WhatsApp: which messages, and how long their parts may be.

What Meta has and Twilio's API does not is refused by its name: reactions, quotes, groups, buttons that are not in a
template. A content's shape has been checked before it comes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from wad.errors import FieldError, NotSupported
from wad.models import Address, Content
from wad.providers.base import Capabilities
from wad.providers.twilio.template import variables

NAME: Final = "twilio"
FILES: Final = ("image", "audio", "video", "document")

CAPABILITIES: Final = Capabilities(
    content_types=frozenset({"text", "location", "template", *FILES}),
    typing=True,  # which marks as read, too; there is no way to do only that
    user_ids=True,
    reply_window=True,
    inbound_history=True,
    settlement="list",
)

#: Twilio's own limit of `Body`, and Meta's of a caption.
_TEXT: Final = 1600
_CAPTION: Final = 1024
_USER_ID: Final = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_CONTENT_SID: Final = re.compile(r"HX[0-9a-fA-F]{32}")


def check_send(to: Address, content: Content) -> list[FieldError]:
    """What Twilio would refuse in *content*; raises NotSupported for a part that it has no parameter for."""
    kind = str(content["type"])
    errors = [] if to.user_id or to.phone else [FieldError("/to", "needs a phone or a userId")]
    if to.user_id is not None and _USER_ID.fullmatch(to.user_id) is None:
        errors.append(
            FieldError("/to/userId", "must be a business-scoped user id such as MX.13491208655302741918")
        )
    part = content[kind]
    match kind:
        case "text":
            if part.get("mentions"):
                raise NotSupported(NAME, "text.mentions")
            errors += _within(part, "/text", "body", _TEXT)
        case "template":
            errors += _template(part)
        case "location":
            errors += _location(part)
        case _:
            errors += _file(kind, part)
    return errors


def _within(part: dict[str, Any], at: str, name: str, most: int) -> Iterator[FieldError]:
    if len(part.get(name) or "") > most:
        yield FieldError(f"{at}/{name}", f"may have {most} characters, not {len(part[name])}")


def _file(kind: str, part: dict[str, Any]) -> Iterator[FieldError]:
    """Only by link: Twilio fetches it, and takes its name from there."""
    if part.get("mediaId") is not None:
        raise NotSupported(NAME, "mediaUpload")
    if part.get("filename") is not None:
        raise NotSupported(NAME, "document.filename")
    if part.get("voice"):
        raise NotSupported(NAME, "audio.voice")
    yield from _within(part, f"/{kind}", "caption", _CAPTION)


def _location(part: dict[str, Any]) -> Iterator[FieldError]:
    """Both end up in one line of a parameter."""
    for name in ("name", "address"):
        if any(letter in (part.get(name) or "") for letter in "\r\n|"):
            yield FieldError(f"/location/{name}", "may have no line break and no |")


def _template(part: dict[str, Any]) -> Iterator[FieldError]:
    if _CONTENT_SID.fullmatch(part["name"]) is None:
        yield FieldError("/template/name", "must be the SID of a content template: HX and 32 hex digits")
    found = variables(part)
    if len(found) > 100:
        yield FieldError("/template/components", f"may have 100 parameters, not {len(found)}")
    for name, (at, value) in found.items():
        if not value.strip():
            yield FieldError(at, f"may not be empty: WhatsApp shows nothing for the variable {name!r}")
        elif any(letter in value for letter in "\r\n\t"):
            yield FieldError(at, "may have no line break and no tab")
