"""What requests about a business account may hold: its numbers, its callback, its templates, its profiles."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from wad.content.template import LanguageCode
from wad.http.schemas import Limit, Query, SecretText, Url
from wad.validation import WHOLE, Model, shaped

Pin: TypeAlias = Annotated[str, *shaped(r"[0-9]{6}", "must be 6 digits", examples=["123456"])]
_NUMBER_HINT: Final = "must be one of the session's numbers: in E.164, or its provider's id"
NumberName: TypeAlias = Annotated[str, *shaped(r"\+?[0-9]{1,32}", _NUMBER_HINT, examples=["+5215512345678"])]
TemplateName: TypeAlias = Annotated[
    str,
    *shaped(
        r"[a-z0-9_]{1,512}",
        "must be up to 512 lower-case letters, digits and underscores",
        examples=["order_ready"],
    ),
]


# --- numbers ----------------------------------------------------------------------------------------


class NewNumberBody(Model):
    """`phoneNumber` without its country code: Meta wants the two apart."""

    country_code: Annotated[str, *shaped(r"[1-9][0-9]{0,3}", "must be a country calling code, such as 52")]
    phone_number: Annotated[str, *shaped(r"[0-9]{4,14}", "must be digits, without the country code")]
    verified_name: Annotated[str, Field(min_length=1, max_length=512)]


class CodeRequestBody(Model):
    """How the code that proves the number is sent to it, and in which language it is told."""

    method: Literal["sms", "voice"]
    language: LanguageCode | None = None


class CodeBody(Model):
    code: Annotated[str, *shaped(r"[0-9]{3}-?[0-9]{3}", "must be the 6 digits of the code")]


class RegisterBody(Model):
    """`pin`: the one of two-step verification, or the one that it is to have. `region`: where its data lies."""

    pin: Pin
    region: Annotated[str, *shaped(r"[A-Z]{2}", "must be a country of ISO 3166, such as CH")] | None = None


class PinBody(Model):
    pin: Pin


class WebhookBody(Model):
    """Without `url`: wad's own address for the session. Without `verifyToken`: the session's."""

    url: Url | None = None
    verify_token: SecretText | None = None


# --- templates --------------------------------------------------------------------------------------

#: Meta's components have some six levels; what is deeper is none.
_DEPTH: Final = 16


def _shallow(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    level: list[Any] = [components]
    for _ in range(_DEPTH):
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, dict | list)
        ]
        if not level:
            return components
    raise ValueError(f"must not be nested deeper than {_DEPTH} levels")


Category: TypeAlias = Literal["MARKETING", "UTILITY", "AUTHENTICATION"]
#: Meta's objects, in camelCase: what each may hold is Meta's to say.
Components: TypeAlias = Annotated[
    list[dict[str, Any]], Field(min_length=1, max_length=20), AfterValidator(_shallow)
]
Ttl: TypeAlias = Annotated[int, Field(ge=-1, le=30 * 86400), WHOLE]


class NewTemplateBody(Model):
    name: TemplateName
    language: LanguageCode
    category: Category
    components: Components
    parameter_format: Literal["POSITIONAL", "NAMED"] | None = None
    allow_category_change: bool | None = None
    message_send_ttl_seconds: Ttl | None = None


def _says_one(schema: dict[str, Any]) -> None:
    """What `_Change` asks for, in the schema's words."""
    schema["anyOf"] = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in schema["properties"]
    ]


class _Change(Model):
    """At least one field has to be there."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("needs at least one field")
        return self


class TemplateChange(_Change, json_schema_extra=_says_one):
    """What is left out stays. An approved template's category cannot be changed."""

    category: Category | None = None
    components: Components | None = None
    parameter_format: Literal["POSITIONAL", "NAMED"] | None = None
    message_send_ttl_seconds: Ttl | None = None


Cursor: TypeAlias = Annotated[str, *shaped(r"[!-~]{1,1024}", "must be the next of an earlier answer")]


class TemplateQuery(Query):
    limit: Limit = 50
    cursor: Cursor | None = None
    name: TemplateName | None = None
    status: Annotated[str, *shaped(r"[A-Z_]{1,32}", "must be a state of Meta's, such as APPROVED")] | None = (
        None
    )
    category: Category | None = None
    language: LanguageCode | None = None


class TemplateDeletion(Query):
    """`templateId`: of one language. Without it the template goes in all of them."""

    name: TemplateName
    template_id: Annotated[str, *shaped(r"[0-9]{1,32}", "must be a template's id")] | None = None


# --- profiles ---------------------------------------------------------------------------------------


class ProfileQuery(Query):
    """`number`: of a session that has several; without it, the one that stands for all."""

    number: NumberName | None = None


class ProfileChange(_Change, json_schema_extra=_says_one):
    """Meta's bounds. What is left out stays."""

    about: Annotated[str, Field(min_length=1, max_length=139)] | None = None
    address: Annotated[str, Field(max_length=256)] | None = None
    description: Annotated[str, Field(max_length=512)] | None = None
    email: Annotated[str, Field(max_length=128)] | None = None
    vertical: (
        Annotated[str, *shaped(r"[A-Z_]{2,32}", "must be an industry of Meta's, such as RETAIL")] | None
    ) = None
    websites: Annotated[list[Url], Field(max_length=2)] | None = None
    profile_picture_handle: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
