"""What a message may hold and how it may be asked for: the bodies of sends and of replies, checked.

Only the shape is checked here. What a provider cannot send, or finds too long, its `check_send` refuses.
Content is kept in one canonical form: `{"type": "text", "text": {"body": "Hola"}}`, without what was left out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast

import msgspec
from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from wad.content.interactive import Interactive
from wad.content.plain import (
    Audio,
    Captioned,
    Contacts,
    Document,
    MediaRef,
    Place,
    Poll,
    Reaction,
    TextOrShort,
)
from wad.content.template import Template
from wad.errors import FieldError
from wad.models import Address, Content, MessageId, Priority, SessionId, ShopId
from wad.validation import Model, checked, shaped

ContentType: TypeAlias = Literal[
    "text",
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "location",
    "contacts",
    "reaction",
    "template",
    "interactive",
    "poll",
]
CONTENT_TYPES: Final[tuple[str, ...]] = ContentType.__args__  # type: ignore[attr-defined]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a flow or a rule: its content, and how it is to be sent."""

    content: Content
    priority: Priority = Priority.REPLY
    reference: str | None = None
    reply_to: MessageId | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None  # in place of it: from `send_at`, else from when it is taken


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A send as it was asked for. Exactly one of `session_id` and `shop_id` is set."""

    content: Content
    to: Address
    number: str | None = None  # which of the session's numbers: an id, or in E.164
    session_id: SessionId | None = None
    shop_id: ShopId | None = None
    priority: Priority = Priority.NORMAL
    reference: str | None = None
    reply_to: MessageId | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None  # in place of it: from `send_at`, else from when it is taken
    queue: bool = False


def parse_send(body: object, *, priority: Priority = Priority.NORMAL) -> Send:
    """The body of `POST /send`, of *priority* unless it says another; raises InvalidRequest with every bad field."""
    asked = checked(SendBody, body, _whole(body, addressed=True))
    return _send(asked, asked.address, priority)


def parse_send_group(body: object) -> Send:
    """The body of `POST /send-group`, where `groupId` stands in place of `to`."""
    asked = checked(SendGroupBody, body, _whole(body, addressed=True))
    return _send(asked, Address(group_id=asked.group_id), Priority.NORMAL)


def parse_reply(reply: object) -> Reply:
    """A reply of a flow or a rule: a send body without session and recipient."""
    asked = checked(MessageBody, reply, _whole(reply, addressed=False))
    return Reply(
        content=asked.content,
        priority=PRIORITIES[asked.priority] if asked.priority else Priority.REPLY,
        reference=asked.reference,
        reply_to=asked.quoted,
        send_at=instant(asked.send_at) if asked.send_at else None,
        expires_at=instant(asked.expires_at) if asked.expires_at else None,
        ttl=timedelta(seconds=asked.ttl) if asked.ttl else None,
    )


def _send(asked: SessionBody, to: Address, otherwise: Priority) -> Send:
    return Send(
        content=asked.content,
        to=to,
        number=asked.sender,
        session_id=cast("SessionId | None", asked.session_id),
        shop_id=cast("ShopId | None", asked.shop_id),
        priority=PRIORITIES[asked.priority] if asked.priority else otherwise,
        reference=asked.reference,
        reply_to=asked.quoted,
        send_at=instant(asked.send_at) if asked.send_at else None,
        expires_at=instant(asked.expires_at) if asked.expires_at else None,
        ttl=timedelta(seconds=asked.ttl) if asked.ttl else None,
        queue=bool(asked.queue),
    )


def _whole(body: object, *, addressed: bool) -> list[FieldError]:
    """The rules that hold between fields: one content object, named by `type`; one session or shop."""
    if not isinstance(body, dict):
        return []
    errors = []
    held = [name for name in CONTENT_TYPES if body.get(name) is not None]
    named = body.get("type")
    match held:
        case []:
            if named in CONTENT_TYPES:
                errors.append(FieldError(f"/{named}", "is required"))
            else:
                errors.append(FieldError("", f"needs one of {', '.join(CONTENT_TYPES)}"))
        case [only] if named in CONTENT_TYPES and named != only:
            errors.append(FieldError("/type", f"says {named}, but the message holds {only}"))
        case [_]:
            pass
        case _:
            kept = named if named in held else held[0]
            spare = (name for name in held if name != kept)
            errors += [FieldError(f"/{name}", f"stands beside {kept}: only one may") for name in spare]
    if body.get("ttl") is not None and body.get("expiresAt") is not None:
        errors.append(FieldError("/ttl", "stands beside expiresAt: only one of them may"))
    if addressed and (body.get("sessionId") is None) == (body.get("shopId") is None):
        errors.append(FieldError("/sessionId", "exactly one of sessionId and shopId is needed"))
    if addressed and body.get("from") is not None and body.get("shopId") is not None:
        errors.append(FieldError("/from", "does not go with shopId, which leaves the number to wad"))
    return errors


# --- the bodies -----------------------------------------------------------------------------------

PRIORITIES: Final = {"reply": Priority.REPLY, "normal": Priority.NORMAL, "bulk": Priority.BULK}


_RFC3339: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_TIME_HINT: Final = "must be a time with its zone, such as 2026-12-01T15:00:00Z"


def instant(text: str) -> datetime:
    """The moment that an `Instant` names, in UTC."""
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_TIME_HINT) from None


def _exists(text: str) -> str:
    instant(text)
    return text


_MATCHES, _ = shaped(_RFC3339, _TIME_HINT)
#: RFC 3339. Kept as text until it is used, so that the stored body is the one that was sent.
Instant: TypeAlias = Annotated[
    str, _MATCHES, AfterValidator(_exists), WithJsonSchema({"type": "string", "format": "date-time"})
]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]
_E164: Final = r"\+[1-9][0-9]{6,14}"
_JID: Final = r"[!-?A-~]{1,128}@(s\.whatsapp\.net|lid|c\.us|g\.us)"
Phone: TypeAlias = Annotated[
    str,
    *shaped(_E164, "must be a phone number in E.164, such as +5215512345678", examples=["+5215512345678"]),
]
Sender: TypeAlias = Annotated[
    str,
    *shaped(
        f"{_E164}|[0-9]{{1,32}}",
        "must be one of the session's numbers: in E.164, such as +5215512345678, or its provider's id",
        examples=["+5215512345678"],
    ),
]
PhoneOrJid: TypeAlias = Annotated[
    str,
    *shaped(
        f"{_E164}|{_JID}",
        "must be a phone number in E.164, such as +5215512345678, or a WhatsApp JID",
        examples=["+5215512345678"],
    ),
]


class Recipient(
    Model,
    json_schema_extra={
        "anyOf": [
            {"required": ["phone"], "properties": {"phone": {"type": "string"}}},
            {"required": ["userId"], "properties": {"userId": {"type": "string"}}},
        ]
    },
):
    """A person, by phone, by Meta's business-scoped user id, or by both."""

    phone: Phone | None = None
    user_id: Id | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.phone is None and self.user_id is None:
            raise ValueError("needs phone or userId")
        return self


def _form(value: Any) -> str:
    return "person" if isinstance(value, dict | Recipient) else "address"


To: TypeAlias = Annotated[
    Annotated[PhoneOrJid, Tag("address")] | Annotated[Recipient, Tag("person")], Discriminator(_form)
]


def _set(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


_ONE_CONTENT: Final[list[dict[str, Any]]] = [
    {"oneOf": [_set(name) for name in CONTENT_TYPES]},
    {
        "anyOf": [
            {"properties": {"type": {"type": "null"}}},
            *({"required": [name], "properties": {"type": {"const": name}}} for name in CONTENT_TYPES),
        ]
    },
]
_ONE_SESSION: Final[dict[str, Any]] = {"oneOf": [_set(name) for name in ("sessionId", "shopId")]}


class MessageBody(Model, json_schema_extra={"allOf": list(_ONE_CONTENT)}):
    """A message, without whom it is for. One content object stands; `type` may name it."""

    type: ContentType | None = None
    text: TextOrShort | None = None
    image: Captioned | None = None
    audio: Audio | None = None
    video: Captioned | None = None
    document: Document | None = None
    sticker: MediaRef | None = None
    location: Place | None = None
    contacts: Contacts | None = None
    reaction: Reaction | None = None
    template: Template | None = None
    interactive: Interactive | None = None
    poll: Poll | None = None
    reply_to: Id | None = None
    reference: Annotated[str, Field(max_length=256)] | None = None
    priority: Literal["reply", "normal", "bulk"] | None = None
    send_at: Instant | None = None
    expires_at: Instant | None = None
    ttl: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None  # seconds; in place of expiresAt

    @property
    def content(self) -> Content:
        """The canonical form. `_whole` has seen to it that exactly one content object stands."""
        for name in CONTENT_TYPES:
            held = getattr(self, name)
            if held is not None:
                return {"type": name, name: _plain(held)}
        raise AssertionError("no content: _whole lets none through")

    @property
    def quoted(self) -> MessageId | None:
        return cast("MessageId | None", self.reply_to)


def _plain(held: Any) -> Any:
    if isinstance(held, list):
        return [_plain(each) for each in held]
    return held.model_dump(by_alias=True, exclude_none=True)


class SessionBody(MessageBody, json_schema_extra={"allOf": [*_ONE_CONTENT, _ONE_SESSION]}):
    """Which number sends it: `sessionId`, or `shopId` to let wad choose among a shop's.

    `from` names one of a session that has several: its provider's id, or the number in E.164.
    """

    session_id: Id | None = None
    shop_id: Id | None = None
    queue: bool | None = None  # take it even while the session waits for a person
    sender: Sender | None = Field(default=None, alias="from")


class SendBody(SessionBody):
    to: To

    @property
    def address(self) -> Address:
        match self.to:
            case Recipient(phone=phone, user_id=user_id):
                return Address(phone=phone, user_id=user_id)
            case str() as text if text.startswith("+"):
                return Address(phone=text)
            case text:
                return Address(jid=text)


class SendGroupBody(SessionBody):
    group_id: Id
