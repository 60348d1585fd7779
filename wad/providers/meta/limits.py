"""What Meta takes: which messages, and how long and how many their parts may be.

A content's shape has been checked before it comes here; a limit on something that is not there, or is not of the
right type, says nothing. Paths are those of wad's camelCase content; `*` stands for every item of an array.
Lengths are in characters, from Meta's pages on each message type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from wad.errors import FieldError, NotSupported
from wad.models import Address, Content
from wad.providers.base import Capabilities


class Length(msgspec.Struct, frozen=True):
    """The strings at `path` may have `most` characters."""

    path: str
    most: int

    def check(self, content: Content) -> Iterator[FieldError]:
        for where, value in find(content, self.path):
            if isinstance(value, str) and len(value) > self.most:
                yield FieldError(where, f"may have {self.most} characters, not {len(value)}")


class Count(msgspec.Struct, frozen=True):
    """Each array at `path` has from `least` to `most` items."""

    path: str
    least: int
    most: int

    def check(self, content: Content) -> Iterator[FieldError]:
        for where, value in find(content, self.path):
            if isinstance(value, list) and not self.least <= len(value) <= self.most:
                yield FieldError(where, f"needs {self.least} to {self.most} items, not {len(value)}")


class Total(msgspec.Struct, frozen=True):
    """All arrays at `path` together have at most `most` items; `of` names the place that tells."""

    path: str
    most: int
    of: str

    def check(self, content: Content) -> Iterator[FieldError]:
        total = sum(len(value) for _, value in find(content, self.path) if isinstance(value, list))
        if total > self.most:
            yield FieldError(
                self.of, f"may have {self.most} {self.path.rpartition('/')[2]} in all, not {total}"
            )


class Distinct(msgspec.Struct, frozen=True):
    """No two strings at `path` are the same: an answer has to tell which of them it means."""

    path: str

    def check(self, content: Content) -> Iterator[FieldError]:
        seen: set[str] = set()
        for where, value in find(content, self.path):
            if isinstance(value, str) and value in seen:
                yield FieldError(where, "is taken by another one before it")
            elif isinstance(value, str):
                seen.add(value)


class Titled(msgspec.Struct, frozen=True):
    """Where the array at `path` has more than one item, each needs a title."""

    path: str

    def check(self, content: Content) -> Iterator[FieldError]:
        for where, value in find(content, self.path):
            if isinstance(value, list) and len(value) > 1:
                for index, item in enumerate(value):
                    if isinstance(item, dict) and not item.get("title"):
                        yield FieldError(f"{where}/{index}/title", "is required where there are several")


Limit = Length | Count | Total | Distinct | Titled

_FRAME: Final = (Length("/interactive/header/text", 60), Length("/interactive/footer/text", 60))
_BODY: Final = Length("/interactive/body/text", 1024)
_ACTION: Final = "/interactive/action"
_URL_BUTTON: Final = Length(f"{_ACTION}/parameters/displayText", 20)

#: By content type; by `interactive.<its type>` for those.
LIMITS: Final[dict[str, tuple[Limit, ...]]] = {
    "text": (Length("/text/body", 4096),),
    "image": (Length("/image/caption", 1024),),
    "video": (Length("/video/caption", 1024),),
    "audio": (),
    "document": (Length("/document/caption", 1024),),
    "sticker": (),
    "location": (),
    "contacts": (Count("/contacts", 1, 257),),
    "reaction": (),
    "template": (Length("/template/name", 512),),
    "interactive.button": (
        *_FRAME,
        _BODY,
        Count(f"{_ACTION}/buttons", 1, 3),
        Length(f"{_ACTION}/buttons/*/reply/title", 20),
        Length(f"{_ACTION}/buttons/*/reply/id", 256),
        Distinct(f"{_ACTION}/buttons/*/reply/id"),
    ),
    "interactive.list": (
        *_FRAME,
        Length("/interactive/body/text", 4096),
        Length(f"{_ACTION}/button", 20),
        Count(f"{_ACTION}/sections", 1, 10),
        Total(f"{_ACTION}/sections/*/rows", 10, f"{_ACTION}/sections"),
        Titled(f"{_ACTION}/sections"),
        Length(f"{_ACTION}/sections/*/title", 24),
        Length(f"{_ACTION}/sections/*/rows/*/id", 200),
        Length(f"{_ACTION}/sections/*/rows/*/title", 24),
        Length(f"{_ACTION}/sections/*/rows/*/description", 72),
        Distinct(f"{_ACTION}/sections/*/rows/*/id"),
    ),
    "interactive.cta_url": (*_FRAME, _BODY, _URL_BUTTON),
    "interactive.flow": (*_FRAME, _BODY, Length(f"{_ACTION}/parameters/flowCta", 30)),
    "interactive.location_request_message": (_BODY,),
    "interactive.request_contact_info": (_BODY,),
    "interactive.product": (*_FRAME, _BODY),
    "interactive.product_list": (
        *_FRAME,
        _BODY,
        Count(f"{_ACTION}/sections", 1, 10),
        Total(f"{_ACTION}/sections/*/productItems", 30, f"{_ACTION}/sections"),
        Titled(f"{_ACTION}/sections"),
        Length(f"{_ACTION}/sections/*/title", 24),
    ),
    "interactive.catalog_message": (*_FRAME, _BODY),
    "interactive.address_message": (*_FRAME, _BODY),
    "interactive.carousel": (
        _BODY,
        Count(f"{_ACTION}/cards", 2, 10),
        Length(f"{_ACTION}/cards/*/body/text", 160),
        Length(f"{_ACTION}/cards/*/action/parameters/displayText", 20),
        Length(f"{_ACTION}/cards/*/action/buttons/*/quickReply/title", 20),
    ),
    "interactive.call_permission_request": (_BODY,),
    "interactive.voice_call": (_BODY, _URL_BUTTON),
}

CONTENT_TYPES: Final = frozenset(kind.partition(".")[0] for kind in LIMITS)
INTERACTIVE_TYPES: Final = frozenset(kind.partition(".")[2] for kind in LIMITS if "." in kind)

#: What the Groups API takes; interactive, commerce and authentication messages are excluded by name.
GROUP_TYPES: Final = frozenset({"text", "image", "video", "audio", "document", "sticker", "template"})

CAPABILITIES: Final = Capabilities(
    content_types=CONTENT_TYPES,
    interactive_types=INTERACTIVE_TYPES,
    groups=True,
    reply_context=True,
    read_receipts=True,
    typing=True,
    media_upload=True,
    profile=True,
    user_ids=True,
    reply_window=True,
    settlement="callback",
)

_USER_ID: Final = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


def is_user_id(value: str) -> bool:
    """Whether *value* is a business-scoped user id: a country, a dot, and what Meta chose."""
    return _USER_ID.fullmatch(value) is not None


def check_send(provider: str, to: Address, content: Content) -> list[FieldError]:
    """What Meta would refuse in *content*; raises NotSupported where it has no such message, or not in groups."""
    kind = str(content["type"])
    if kind not in CONTENT_TYPES:
        raise NotSupported(provider, kind)
    if to.group_id is not None and kind not in GROUP_TYPES:
        raise NotSupported(provider, f"groups.{kind}")
    if kind == "interactive":
        interactive = content.get("interactive")
        kind = f"interactive.{interactive.get('type') if isinstance(interactive, dict) else None}"
        if kind not in LIMITS:
            raise NotSupported(provider, kind)
    if kind == "text" and content["text"].get("mentions"):
        raise NotSupported(provider, "text.mentions")
    errors = [] if to.group_id or to.user_id or to.phone else [FieldError("/to", "needs a phone or a userId")]
    if to.user_id is not None and not is_user_id(to.user_id):
        errors.append(
            FieldError("/to/userId", "must be a business-scoped user id such as MX.13491208655302741918")
        )
    for limit in LIMITS[kind]:
        errors += limit.check(content)
    return errors


def find(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value at *path* in *value*, with the JSON pointer that leads to it."""
    found = [("", value)]
    for step in path.split("/")[1:]:
        found = [
            (f"{where}/{key}", part)
            for where, outer in found
            for key, part in (
                enumerate(outer)
                if step == "*" and isinstance(outer, list)
                else [(step, outer[step])]
                if isinstance(outer, dict) and step in outer
                else []
            )
        ]
    return iter(found)
