"""wad's messages as Meta's JSON, body by body."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.providers.meta import GROUP, PHONE, USER, WAMID, message
from wad.errors import ProviderError, Verdict
from wad.models import Address, Content
from wad.providers.meta.limits import CONTENT_TYPES, INTERACTIVE_TYPES, check_send
from wad.providers.meta.send import body_of, read_body

IMAGE_HEADER = {"type": "image", "image": {"mediaId": "1602"}}
FLOW_DATA = {"customerName": "Ana", "product_ids": [1, 2], "nested": {"camelCase": "kept"}}
ADDRESS = {"in_pin_code": "400063", "someName": "kept"}


def interactive(kind: str, action: dict[str, Any], **parts: Any) -> Content:
    return {
        "type": "interactive",
        "interactive": {"type": kind, "body": {"text": "Elige"}, **parts, "action": action},
    }


#: label -> (wad's content, what stands under the type's name in Meta's body)
CONTENTS: dict[str, tuple[Content, Any]] = {
    "text": ({"type": "text", "text": {"body": "Hola"}}, {"body": "Hola"}),
    "text with a preview": (
        {"type": "text", "text": {"body": "https://wad.example", "previewUrl": True}},
        {"body": "https://wad.example", "preview_url": True},
    ),
    "text of every script": (
        {"type": "text", "text": {"body": "¡Órale! 👩‍👩‍👧 שלום \u202e"}},
        {"body": "¡Órale! 👩‍👩‍👧 שלום \u202e"},
    ),
    "image by link": (
        {"type": "image", "image": {"link": "https://wad.example/a.jpg", "caption": "La foto"}},
        {"link": "https://wad.example/a.jpg", "caption": "La foto"},
    ),
    "image by id": ({"type": "image", "image": {"mediaId": "1602"}}, {"id": "1602"}),
    "audio": ({"type": "audio", "audio": {"mediaId": "1602"}}, {"id": "1602"}),
    "voice note": (
        {"type": "audio", "audio": {"mediaId": "1602", "voice": True}},
        {"id": "1602", "voice": True},
    ),
    "video": (
        {"type": "video", "video": {"link": "https://wad.example/a.mp4", "caption": "c"}},
        {"link": "https://wad.example/a.mp4", "caption": "c"},
    ),
    "document": (
        {
            "type": "document",
            "document": {"mediaId": "1602", "filename": "factura.pdf", "caption": "Tu factura"},
        },
        {"id": "1602", "filename": "factura.pdf", "caption": "Tu factura"},
    ),
    "sticker": ({"type": "sticker", "sticker": {"mediaId": "1602"}}, {"id": "1602"}),
    "location": (
        {
            "type": "location",
            "location": {"latitude": 19.43, "longitude": -99.13, "name": "Zócalo", "address": "CDMX"},
        },
        {"latitude": 19.43, "longitude": -99.13, "name": "Zócalo", "address": "CDMX"},
    ),
    "contacts": (
        {
            "type": "contacts",
            "contacts": [
                {
                    "name": {
                        "formattedName": "Ana Paz",
                        "firstName": "Ana",
                        "lastName": "Paz",
                        "middleName": "M",
                    },
                    "phones": [{"phone": "+5255", "type": "WORK", "waId": "5255"}],
                    "emails": [{"email": "ana@wad.example", "type": "WORK"}],
                    "urls": [{"url": "https://wad.example", "type": "WORK"}],
                    "addresses": [{"street": "1 Calle", "zip": "01000", "countryCode": "mx", "type": "HOME"}],
                    "org": {"company": "Wad", "department": "Ventas", "title": "Jefa"},
                    "birthday": "1990-12-31",
                }
            ],
        },
        [
            {
                "name": {
                    "formatted_name": "Ana Paz",
                    "first_name": "Ana",
                    "last_name": "Paz",
                    "middle_name": "M",
                },
                "phones": [{"phone": "+5255", "type": "WORK", "wa_id": "5255"}],
                "emails": [{"email": "ana@wad.example", "type": "WORK"}],
                "urls": [{"url": "https://wad.example", "type": "WORK"}],
                "addresses": [{"street": "1 Calle", "zip": "01000", "country_code": "mx", "type": "HOME"}],
                "org": {"company": "Wad", "department": "Ventas", "title": "Jefa"},
                "birthday": "1990-12-31",
            }
        ],
    ),
    "reaction": (
        {"type": "reaction", "reaction": {"messageId": WAMID, "emoji": "👍"}},
        {"message_id": WAMID, "emoji": "👍"},
    ),
    "reaction taken back": (
        {"type": "reaction", "reaction": {"messageId": WAMID, "emoji": ""}},
        {"message_id": WAMID, "emoji": ""},
    ),
    "template without placeholders": (
        {"type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}},
        {"name": "hello_world", "language": {"code": "en_US"}},
    ),
    "template with every component": (
        {
            "type": "template",
            "template": {
                "name": "pedido",
                "language": {"code": "es_MX", "policy": "deterministic"},
                "components": [
                    {
                        "type": "header",
                        "parameters": [
                            {"type": "document", "document": {"mediaId": "1602", "filename": "a.pdf"}},
                            {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": "n"}},
                        ],
                    },
                    {
                        "type": "body",
                        "parameters": [
                            {"type": "text", "text": "camelCase staysAsItIs", "parameterName": "first_name"},
                            {
                                "type": "currency",
                                "currency": {"fallbackValue": "$100.99", "code": "USD", "amount1000": 100990},
                            },
                            {"type": "date_time", "dateTime": {"fallbackValue": "24 de noviembre"}},
                        ],
                    },
                    {
                        "type": "button",
                        "subType": "quick_reply",
                        "index": "0",
                        "parameters": [{"type": "payload", "payload": "orderStatus:9"}],
                    },
                    {
                        "type": "button",
                        "subType": "copy_code",
                        "index": "1",
                        "parameters": [{"type": "coupon_code", "couponCode": "AHORRA25"}],
                    },
                    {
                        "type": "button",
                        "subType": "flow",
                        "index": "2",
                        "parameters": [
                            {"type": "action", "action": {"flowToken": "tkn", "flowActionData": FLOW_DATA}}
                        ],
                    },
                    {
                        "type": "button",
                        "subType": "mpm",
                        "index": "3",
                        "parameters": [
                            {
                                "type": "action",
                                "action": {
                                    "thumbnailProductRetailerId": "sku-1",
                                    "sections": [
                                        {"title": "t", "productItems": [{"productRetailerId": "sku-1"}]}
                                    ],
                                },
                            }
                        ],
                    },
                    {
                        "type": "limited_time_offer",
                        "parameters": [
                            {
                                "type": "limited_time_offer",
                                "limitedTimeOffer": {"expirationTimeMs": 1795521600000},
                            }
                        ],
                    },
                    {
                        "type": "carousel",
                        "cards": [
                            {
                                "cardIndex": 0,
                                "components": [
                                    {
                                        "type": "header",
                                        "parameters": [
                                            {"type": "image", "image": {"link": "https://wad.example/a"}}
                                        ],
                                    }
                                ],
                            }
                        ],
                    },
                ],
            },
        },
        {
            "name": "pedido",
            "language": {"code": "es_MX", "policy": "deterministic"},
            "components": [
                {
                    "type": "header",
                    "parameters": [
                        {"type": "document", "document": {"id": "1602", "filename": "a.pdf"}},
                        {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": "n"}},
                    ],
                },
                {
                    "type": "body",
                    "parameters": [
                        {"type": "text", "text": "camelCase staysAsItIs", "parameter_name": "first_name"},
                        {
                            "type": "currency",
                            "currency": {"fallback_value": "$100.99", "code": "USD", "amount_1000": 100990},
                        },
                        {"type": "date_time", "date_time": {"fallback_value": "24 de noviembre"}},
                    ],
                },
                {
                    "type": "button",
                    "sub_type": "quick_reply",
                    "index": "0",
                    "parameters": [{"type": "payload", "payload": "orderStatus:9"}],
                },
                {
                    "type": "button",
                    "sub_type": "copy_code",
                    "index": "1",
                    "parameters": [{"type": "coupon_code", "coupon_code": "AHORRA25"}],
                },
                {
                    "type": "button",
                    "sub_type": "flow",
                    "index": "2",
                    "parameters": [
                        {"type": "action", "action": {"flow_token": "tkn", "flow_action_data": FLOW_DATA}}
                    ],
                },
                {
                    "type": "button",
                    "sub_type": "mpm",
                    "index": "3",
                    "parameters": [
                        {
                            "type": "action",
                            "action": {
                                "thumbnail_product_retailer_id": "sku-1",
                                "sections": [
                                    {"title": "t", "product_items": [{"product_retailer_id": "sku-1"}]}
                                ],
                            },
                        }
                    ],
                },
                {
                    "type": "limited_time_offer",
                    "parameters": [
                        {
                            "type": "limited_time_offer",
                            "limited_time_offer": {"expiration_time_ms": 1795521600000},
                        }
                    ],
                },
                {
                    "type": "carousel",
                    "cards": [
                        {
                            "card_index": 0,
                            "components": [
                                {
                                    "type": "header",
                                    "parameters": [
                                        {"type": "image", "image": {"link": "https://wad.example/a"}}
                                    ],
                                }
                            ],
                        }
                    ],
                },
            ],
        },
    ),
    "buttons": (
        interactive(
            "button",
            {"buttons": [{"type": "reply", "reply": {"id": "keepThisId", "title": "Sí"}}]},
            header=IMAGE_HEADER,
            footer={"text": "pie"},
        ),
        {
            "type": "button",
            "body": {"text": "Elige"},
            "header": {"type": "image", "image": {"id": "1602"}},
            "footer": {"text": "pie"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "keepThisId", "title": "Sí"}}]},
        },
    ),
    "list": (
        interactive(
            "list",
            {
                "button": "Ver",
                "sections": [
                    {"title": "Tallas", "rows": [{"id": "m", "title": "M", "description": "mediana"}]}
                ],
            },
            header={"type": "text", "text": "Tienda"},
        ),
        {
            "type": "list",
            "body": {"text": "Elige"},
            "header": {"type": "text", "text": "Tienda"},
            "action": {
                "button": "Ver",
                "sections": [
                    {"title": "Tallas", "rows": [{"id": "m", "title": "M", "description": "mediana"}]}
                ],
            },
        },
    ),
    "link button": (
        interactive(
            "cta_url",
            {
                "name": "cta_url",
                "parameters": {"displayText": "Abrir", "url": "https://wad.example/?utmSource=x"},
            },
        ),
        {
            "type": "cta_url",
            "body": {"text": "Elige"},
            "action": {
                "name": "cta_url",
                "parameters": {"display_text": "Abrir", "url": "https://wad.example/?utmSource=x"},
            },
        },
    ),
    "flow": (
        interactive(
            "flow",
            {
                "name": "flow",
                "parameters": {
                    "flowMessageVersion": "3",
                    "flowId": "1",
                    "flowCta": "Reservar",
                    "flowToken": "tokenX",
                    "mode": "draft",
                    "flowAction": "navigate",
                    "flowActionPayload": {"screen": "WELCOME", "data": FLOW_DATA},
                },
            },
        ),
        {
            "type": "flow",
            "body": {"text": "Elige"},
            "action": {
                "name": "flow",
                "parameters": {
                    "flow_message_version": "3",
                    "flow_id": "1",
                    "flow_cta": "Reservar",
                    "flow_token": "tokenX",
                    "mode": "draft",
                    "flow_action": "navigate",
                    "flow_action_payload": {"screen": "WELCOME", "data": FLOW_DATA},
                },
            },
        },
    ),
    "location request": (
        interactive("location_request_message", {"name": "send_location"}),
        {"type": "location_request_message", "body": {"text": "Elige"}, "action": {"name": "send_location"}},
    ),
    "contact request": (
        interactive("request_contact_info", {"name": "request_contact_info"}),
        {
            "type": "request_contact_info",
            "body": {"text": "Elige"},
            "action": {"name": "request_contact_info"},
        },
    ),
    "product": (
        interactive("product", {"catalogId": "c", "productRetailerId": "sku"}),
        {
            "type": "product",
            "body": {"text": "Elige"},
            "action": {"catalog_id": "c", "product_retailer_id": "sku"},
        },
    ),
    "product list": (
        interactive(
            "product_list",
            {"catalogId": "c", "sections": [{"title": "t", "productItems": [{"productRetailerId": "sku"}]}]},
            header={"type": "text", "text": "Tienda"},
        ),
        {
            "type": "product_list",
            "body": {"text": "Elige"},
            "header": {"type": "text", "text": "Tienda"},
            "action": {
                "catalog_id": "c",
                "sections": [{"title": "t", "product_items": [{"product_retailer_id": "sku"}]}],
            },
        },
    ),
    "catalogue": (
        interactive(
            "catalog_message",
            {"name": "catalog_message", "parameters": {"thumbnailProductRetailerId": "sku"}},
        ),
        {
            "type": "catalog_message",
            "body": {"text": "Elige"},
            "action": {"name": "catalog_message", "parameters": {"thumbnail_product_retailer_id": "sku"}},
        },
    ),
    "address": (
        interactive(
            "address_message",
            {
                "name": "address_message",
                "parameters": {
                    "country": "IN",
                    "values": ADDRESS,
                    "validationErrors": ADDRESS,
                    "savedAddresses": [{"id": "a1", "value": ADDRESS}],
                },
            },
        ),
        {
            "type": "address_message",
            "body": {"text": "Elige"},
            "action": {
                "name": "address_message",
                "parameters": {
                    "country": "IN",
                    "values": ADDRESS,
                    "validation_errors": ADDRESS,
                    "saved_addresses": [{"id": "a1", "value": ADDRESS}],
                },
            },
        },
    ),
    "carousel": (
        interactive(
            "carousel",
            {
                "cards": [
                    {
                        "cardIndex": index,
                        "type": "cta_url",
                        "header": IMAGE_HEADER,
                        "body": {"text": "uno"},
                        "action": {
                            "name": "cta_url",
                            "parameters": {"displayText": "Ver", "url": "https://a.example"},
                        },
                    }
                    for index in range(2)
                ]
            },
        ),
        {
            "type": "carousel",
            "body": {"text": "Elige"},
            "action": {
                "cards": [
                    {
                        "card_index": index,
                        "type": "cta_url",
                        "header": {"type": "image", "image": {"id": "1602"}},
                        "body": {"text": "uno"},
                        "action": {
                            "name": "cta_url",
                            "parameters": {"display_text": "Ver", "url": "https://a.example"},
                        },
                    }
                    for index in range(2)
                ]
            },
        },
    ),
    "call permission": (
        interactive("call_permission_request", {"name": "call_permission_request"}),
        {
            "type": "call_permission_request",
            "body": {"text": "Elige"},
            "action": {"name": "call_permission_request"},
        },
    ),
    "voice call": (
        interactive(
            "voice_call", {"name": "voice_call", "parameters": {"displayText": "Llama", "ttlMinutes": 100}}
        ),
        {
            "type": "voice_call",
            "body": {"text": "Elige"},
            "action": {"name": "voice_call", "parameters": {"display_text": "Llama", "ttl_minutes": 100}},
        },
    ),
}


@pytest.mark.parametrize("label", CONTENTS)
def test_a_content_becomes_metas_body(label: str) -> None:
    """The exact JSON of `POST /messages`, names in snake_case and every value untouched."""
    content, expected = CONTENTS[label]
    assert msgspec.json.decode(body_of(message(content))) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+5215512345678",
        "type": content["type"],
        content["type"]: expected,
        "biz_opaque_callback_data": "msg_0123456789abcdef",
    }


@pytest.mark.parametrize("label", CONTENTS)
def test_a_content_within_the_limits_is_not_complained_of(label: str) -> None:
    """The same table: nothing of it is too long, and everything of it is a capability."""
    assert check_send("cloud_api", PHONE, CONTENTS[label][0]) == []


def test_the_table_holds_every_type() -> None:
    """A declared capability is a tested one."""
    contents = [content for content, _ in CONTENTS.values()]
    assert {content["type"] for content in contents} == CONTENT_TYPES
    assert {c["interactive"]["type"] for c in contents if c["type"] == "interactive"} == INTERACTIVE_TYPES


@pytest.mark.parametrize(
    ("to", "fields"),
    [
        pytest.param(
            PHONE, {"recipient_type": "individual", "to": "+5215512345678"}, id="a phone, with its +"
        ),
        pytest.param(USER, {"recipient_type": "individual", "recipient": USER.user_id}, id="a user id"),
        pytest.param(
            Address(phone=PHONE.phone, user_id=USER.user_id),
            {"recipient_type": "individual", "to": "+5215512345678"},
            id="both: Meta looks at the phone",
        ),
        pytest.param(GROUP, {"recipient_type": "group", "to": GROUP.group_id}, id="a group"),
    ],
)
def test_whom_it_is_for(to: Address, fields: dict[str, str]) -> None:
    """`to` for phones and groups, `recipient` for business-scoped user ids."""
    body = msgspec.json.decode(body_of(message(to=to)))
    assert {key: body[key] for key in ("recipient_type", "to", "recipient") if key in body} == fields


def test_a_reply_quotes_what_it_answers() -> None:
    """`quotes` is the provider's id already."""
    assert msgspec.json.decode(body_of(message(quotes=WAMID)))["context"] == {"message_id": WAMID}


def test_a_reaction_has_no_context() -> None:
    """Meta refuses one there: a reaction names its message itself."""
    content = {"type": "reaction", "reaction": {"messageId": WAMID, "emoji": "👍"}}
    assert "context" not in msgspec.json.decode(body_of(message(content, quotes=WAMID)))


def test_a_message_to_nobody_is_refused() -> None:
    """A WhatsApp Web address means nothing to Meta."""
    with pytest.raises(ProviderError) as caught:
        body_of(message(to=Address(jid="1@s.whatsapp.net")))
    assert caught.value.verdict is Verdict.REJECTED


def test_half_an_emoji_is_refused_and_not_a_crash() -> None:
    """A lone surrogate is legal in JSON and cannot be written as UTF-8."""
    with pytest.raises(ProviderError) as caught:
        body_of(message({"type": "text", "text": {"body": "\ud83d"}}))
    assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "invalid_content")


@pytest.mark.parametrize(
    ("typing", "expected"),
    [
        (False, {"messaging_product": "whatsapp", "status": "read", "message_id": WAMID}),
        (
            True,
            {
                "messaging_product": "whatsapp",
                "status": "read",
                "message_id": WAMID,
                "typing_indicator": {"type": "text"},
            },
        ),
    ],
)
def test_marking_read(typing: bool, expected: dict[str, Any]) -> None:
    """Typing is a part of marking read: Meta has no other way to ask for it."""
    assert msgspec.json.decode(read_body(WAMID, typing=typing)) == expected
