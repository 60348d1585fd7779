"""Template messages: a name, a language, and the values for its placeholders. Meta's shapes, in camelCase."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from wad.content.interactive import ProductSection
from wad.content.plain import Document, FreeObject, MediaRef, Place, Text
from wad.validation import WHOLE, Model, shaped


class TextParameter(Model):
    type: Literal["text"]
    text: str
    parameter_name: Text | None = None


class Currency(Model):
    """`amount1000` is the amount times a thousand."""

    fallback_value: Text
    code: Annotated[str, *shaped(r"[A-Z]{3}", "must be a currency code, such as MXN")]
    amount1000: Annotated[int, WHOLE]


class CurrencyParameter(Model):
    type: Literal["currency"]
    currency: Currency
    parameter_name: Text | None = None


class DateTime(Model):
    fallback_value: Text


class DateTimeParameter(Model):
    type: Literal["date_time"]
    date_time: DateTime
    parameter_name: Text | None = None


class ImageParameter(Model):
    type: Literal["image"]
    image: MediaRef


class VideoParameter(Model):
    type: Literal["video"]
    video: MediaRef


class DocumentParameter(Model):
    type: Literal["document"]
    document: Document


class LocationParameter(Model):
    type: Literal["location"]
    location: Place


class TemplateProduct(Model):
    catalog_id: Text
    product_retailer_id: Text


class ProductParameter(Model):
    type: Literal["product"]
    product: TemplateProduct


class PayloadParameter(Model):
    type: Literal["payload"]
    payload: Text


class CouponParameter(Model):
    type: Literal["coupon_code"]
    coupon_code: Text


class TemplateAction(Model):
    """What a flow, catalogue or multi-product button carries. `flowActionData` is passed on as it is."""

    flow_token: Text | None = None
    flow_action_data: FreeObject | None = None
    thumbnail_product_retailer_id: Text | None = None
    sections: list[ProductSection] | None = None


class ActionParameter(Model):
    type: Literal["action"]
    action: TemplateAction


class Offer(Model):
    expiration_time_ms: Annotated[int, Field(ge=0), WHOLE]


class OfferParameter(Model):
    type: Literal["limited_time_offer"]
    limited_time_offer: Offer


Parameter: TypeAlias = Annotated[
    TextParameter
    | CurrencyParameter
    | DateTimeParameter
    | ImageParameter
    | VideoParameter
    | DocumentParameter
    | LocationParameter
    | ProductParameter
    | PayloadParameter
    | CouponParameter
    | ActionParameter
    | OfferParameter,
    Field(discriminator="type"),
]


class HeaderComponent(Model):
    type: Literal["header"]
    parameters: list[Parameter]


class BodyComponent(Model):
    type: Literal["body"]
    parameters: list[Parameter]


def _index(value: Any) -> Any:
    """Meta's examples show the index as a string; people write a number."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if whole and not isinstance(value, bool) else value


IndexText: TypeAlias = Annotated[str, *shaped(r"[0-9]{1,2}", "must be the button's number, from 0")]


class ButtonComponent(Model):
    type: Literal["button"]
    sub_type: Literal["quick_reply", "url", "copy_code", "flow", "catalog", "mpm", "spm", "voice_call"]
    index: Annotated[
        IndexText,
        BeforeValidator(_index, json_schema_input_type=IndexText | Annotated[int, Field(ge=0, le=99)]),
    ]
    parameters: list[Parameter] | None = None


class OfferComponent(Model):
    type: Literal["limited_time_offer"]
    parameters: list[Parameter]


class TemplateCard(Model):
    card_index: Annotated[int, Field(ge=0), WHOLE]
    components: list[
        Annotated[HeaderComponent | BodyComponent | ButtonComponent, Field(discriminator="type")]
    ]


class CarouselComponent(Model):
    type: Literal["carousel"]
    cards: Annotated[list[TemplateCard], Field(min_length=1)]


Component: TypeAlias = Annotated[
    HeaderComponent | BodyComponent | ButtonComponent | OfferComponent | CarouselComponent,
    Field(discriminator="type"),
]


LanguageCode: TypeAlias = Annotated[
    str, *shaped(r"[a-z]{2,3}(_[A-Za-z]{2,4})?", "must be a language code, such as es_MX")
]


class Language(Model):
    code: LanguageCode
    policy: Literal["deterministic"] | None = None


def _language(value: Any) -> Any:
    return {"code": value} if isinstance(value, str) else value


class Template(Model):
    """`"language": "es_MX"` is short for `"language": {"code": "es_MX"}`."""

    name: Text
    language: Annotated[Language, BeforeValidator(_language, json_schema_input_type=Language | LanguageCode)]
    components: list[Component] | None = None
