"""The plain kinds of content: text, files, places, contact cards, reactions, polls. Meta's shapes, in camelCase."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wad.validation import WHOLE, Model, shaped

Text: TypeAlias = Annotated[str, Field(min_length=1)]
#: Spelled out, because `\s` is not the same set of characters in Python and in JSON Schema.
_NO_SPACE: Final = r"[^\x00-\x20\x7f-\xa0]"
Link: TypeAlias = Annotated[
    str,
    Field(max_length=2048),
    *shaped(rf"https?://{_NO_SPACE}+", "must be an http or https URL", maxLength=2048),
]


_DEPTH: Final = 32  # no reader that recurses, ours or a provider's, is led deeper than this


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    for _ in range(_DEPTH):
        level = [
            each
            for node in level
            for each in (node.values() if isinstance(node, dict) else node)
            if isinstance(each, dict | list)
        ]
        if not level:
            return value
    raise ValueError(f"is nested more than {_DEPTH} deep")


#: Somebody else's data, passed on as it is.
FreeObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(_shallow)]


def one_of(*names: str) -> dict[str, Any]:
    """JSON Schema for: exactly one of *names* is set, `null` meaning that it is not."""
    return {"oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in names]}


#: A person in a group, by number or by JID. `@` and the digits of either stand in the text.
Mention: TypeAlias = Annotated[
    str,
    *shaped(
        r"\+[1-9][0-9]{6,14}|[0-9]{1,32}@(s\.whatsapp\.net|lid)",
        "must be a phone number in E.164 or the JID of a person",
        examples=["+5215512345678"],
    ),
]


class TextContent(Model):
    """`mentions` is WhatsApp Web's alone."""

    body: Text
    preview_url: bool | None = None
    mentions: list[Mention] | None = None


def _body(value: Any) -> Any:
    match value:
        case str():
            return {"body": value}
        case dict() | TextContent():
            return value
        case _:
            raise ValueError("must be a text, or an object with it as body")


#: `"text": "Hola"` is short for `"text": {"body": "Hola"}`.
TextOrShort: TypeAlias = Annotated[
    TextContent, BeforeValidator(_body, json_schema_input_type=TextContent | Text)
]


class MediaRef(Model, json_schema_extra=one_of("link", "mediaId")):
    """A file: by its public `link`, or by the `mediaId` that `POST /media` gave."""

    link: Link | None = None
    media_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.link is None) == (self.media_id is None):
            raise ValueError("needs exactly one of link and mediaId")
        return self


class Captioned(MediaRef):
    """An image or a video."""

    caption: Text | None = None


class Audio(MediaRef):
    """`voice`: shown as a voice note."""

    voice: bool | None = None


class Document(MediaRef):
    caption: Text | None = None
    filename: Text | None = None


class Place(Model):
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    name: Text | None = None
    address: Text | None = None


class ContactName(Model):
    formatted_name: Text
    first_name: Text | None = None
    last_name: Text | None = None
    middle_name: Text | None = None
    prefix: Text | None = None
    suffix: Text | None = None


class ContactPhone(Model):
    phone: Text | None = None
    type: Text | None = None
    wa_id: Text | None = None


class ContactEmail(Model):
    email: Text
    type: Text | None = None


class ContactUrl(Model):
    url: Text
    type: Text | None = None


class ContactAddress(Model):
    street: Text | None = None
    city: Text | None = None
    state: Text | None = None
    zip: Text | None = None
    country: Text | None = None
    country_code: Text | None = None
    type: Text | None = None


class ContactOrg(Model):
    company: Text | None = None
    department: Text | None = None
    title: Text | None = None


class Contact(Model):
    name: ContactName
    phones: list[ContactPhone] | None = None
    emails: list[ContactEmail] | None = None
    urls: list[ContactUrl] | None = None
    addresses: list[ContactAddress] | None = None
    org: ContactOrg | None = None
    birthday: Annotated[str, *shaped(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "must be YYYY-MM-DD")] | None = None


Contacts: TypeAlias = Annotated[list[Contact], Field(min_length=1)]


class Reaction(Model):
    """`messageId` is wad's id of the message reacted to. An empty emoji takes the reaction back."""

    message_id: Text
    emoji: Annotated[str, Field(max_length=64)]


class Poll(Model):
    name: Text
    options: Annotated[list[Text], Field(min_length=2)]
    selectable_count: Annotated[int, Field(ge=0), WHOLE] | None = None
