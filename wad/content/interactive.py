"""The interactive messages: buttons, lists, links, flows, catalogues, carousels. Meta's shapes, in camelCase.

Only the shape is checked here: how long a title may be is the provider's to say.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias, get_args

from pydantic import Field, model_validator

from wad.content.plain import Document, FreeObject, Link, MediaRef, Text, one_of
from wad.validation import WHOLE, Model


class Body(Model):
    text: Text


class TextHeader(Model):
    type: Literal["text"]
    text: Text


class ImageHeader(Model):
    type: Literal["image"]
    image: MediaRef


class VideoHeader(Model):
    type: Literal["video"]
    video: MediaRef


class DocumentHeader(Model):
    type: Literal["document"]
    document: Document


Header: TypeAlias = Annotated[
    TextHeader | ImageHeader | VideoHeader | DocumentHeader, Field(discriminator="type")
]


class Reply(Model):
    id: Text
    title: Text


class ReplyButton(Model):
    type: Literal["reply"] = "reply"
    reply: Reply


class ButtonAction(Model):
    buttons: Annotated[list[ReplyButton], Field(min_length=1)]


class Button(Model):
    type: Literal["button"]
    header: Header | None = None
    body: Body
    footer: Body | None = None
    action: ButtonAction


class Row(Model):
    id: Text
    title: Text
    description: Text | None = None


class Section(Model):
    title: Text | None = None
    rows: Annotated[list[Row], Field(min_length=1)]


class ListAction(Model):
    button: Text
    sections: Annotated[list[Section], Field(min_length=1)]


class ListMenu(Model):
    type: Literal["list"]
    header: TextHeader | None = None
    body: Body
    footer: Body | None = None
    action: ListAction


class UrlParameters(Model):
    display_text: Text
    url: Link


class UrlAction(Model):
    name: Literal["cta_url"] = "cta_url"
    parameters: UrlParameters


class UrlButton(Model):
    type: Literal["cta_url"]
    header: Header | None = None
    body: Body
    footer: Body | None = None
    action: UrlAction


class FlowPayload(Model):
    screen: Text
    data: FreeObject | None = None


class FlowParameters(Model, json_schema_extra=one_of("flowId", "flowName")):
    flow_message_version: Text = "3"
    flow_id: Text | None = None
    flow_name: Text | None = None
    flow_cta: Text
    flow_token: Text | None = None
    mode: Literal["draft", "published"] | None = None
    flow_action: Literal["navigate", "data_exchange"] | None = None
    flow_action_payload: FlowPayload | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.flow_id is None) == (self.flow_name is None):
            raise ValueError("needs exactly one of flowId and flowName")
        return self


class FlowAction(Model):
    name: Literal["flow"] = "flow"
    parameters: FlowParameters


class Flow(Model):
    type: Literal["flow"]
    header: Header | None = None
    body: Body
    footer: Body | None = None
    action: FlowAction


class LocationAction(Model):
    name: Literal["send_location"] = "send_location"


class LocationRequest(Model):
    type: Literal["location_request_message"]
    body: Body
    action: LocationAction


class ProductAction(Model):
    catalog_id: Text
    product_retailer_id: Text


class Product(Model):
    type: Literal["product"]
    body: Body | None = None
    footer: Body | None = None
    action: ProductAction


class ProductItem(Model):
    product_retailer_id: Text


class ProductSection(Model):
    title: Text | None = None
    product_items: Annotated[list[ProductItem], Field(min_length=1)]


class ProductListAction(Model):
    catalog_id: Text
    sections: Annotated[list[ProductSection], Field(min_length=1)]


class ProductList(Model):
    type: Literal["product_list"]
    header: TextHeader
    body: Body
    footer: Body | None = None
    action: ProductListAction


class Thumbnail(Model):
    thumbnail_product_retailer_id: Text | None = None


class CatalogAction(Model):
    name: Literal["catalog_message"] = "catalog_message"
    parameters: Thumbnail | None = None


class Catalog(Model):
    type: Literal["catalog_message"]
    body: Body
    footer: Body | None = None
    action: CatalogAction


class AddressParameters(Model):
    """The dictionaries hold Meta's own names, which depend on the country."""

    country: Text
    values: FreeObject | None = None
    validation_errors: FreeObject | None = None
    saved_addresses: list[FreeObject] | None = None


class AddressAction(Model):
    name: Literal["address_message"] = "address_message"
    parameters: AddressParameters


class AddressRequest(Model):
    type: Literal["address_message"]
    header: Header | None = None
    body: Body
    footer: Body | None = None
    action: AddressAction


class UrlCard(Model):
    card_index: Annotated[int, Field(ge=0), WHOLE]
    type: Literal["cta_url"]
    header: Header | None = None
    body: Body | None = None
    action: UrlAction


class ProductCard(Model):
    card_index: Annotated[int, Field(ge=0), WHOLE]
    type: Literal["product"]
    header: Header | None = None
    body: Body | None = None
    action: ProductAction


Card: TypeAlias = Annotated[UrlCard | ProductCard, Field(discriminator="type")]


class CarouselAction(Model):
    cards: Annotated[list[Card], Field(min_length=1)]


class Carousel(Model):
    type: Literal["carousel"]
    body: Body
    action: CarouselAction


class CallPermissionAction(Model):
    name: Literal["call_permission_request"] = "call_permission_request"


class CallPermission(Model):
    type: Literal["call_permission_request"]
    body: Body | None = None
    action: CallPermissionAction


class CallParameters(Model):
    display_text: Text | None = None
    ttl_minutes: Annotated[int, Field(ge=1), WHOLE] | None = None
    payload: Text | None = None


class CallAction(Model):
    name: Literal["voice_call"] = "voice_call"
    parameters: CallParameters | None = None


class VoiceCall(Model):
    type: Literal["voice_call"]
    body: Body
    action: CallAction


Interactive: TypeAlias = Annotated[
    Button
    | ListMenu
    | UrlButton
    | Flow
    | LocationRequest
    | Product
    | ProductList
    | Catalog
    | AddressRequest
    | Carousel
    | CallPermission
    | VoiceCall,
    Field(discriminator="type"),
]

#: The types there are, whichever of them a provider has.
INTERACTIVE_TYPES: Final = frozenset(
    str(name)
    for model in get_args(get_args(Interactive)[0])
    for name in get_args(model.model_fields["type"].annotation)
)
