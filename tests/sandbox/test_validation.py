"""What a send may look like: the limits of Meta's reference, each with the code and the words of its refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.place import place

BUTTON = {"type": "reply", "reply": {"id": "yes", "title": "Sí"}}
ROW = {"id": "1", "title": "One"}
IMAGE = {"link": "https://example.com/a.png"}


def button(**changes: Any) -> dict[str, Any]:
    return {"type": "button", "body": {"text": "?"}, "action": {"buttons": [BUTTON]}} | changes


def rows(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "type": "list",
        "body": {"text": "?"},
        "action": {
            "button": "Ver",
            "sections": [
                {"title": "S", "rows": [{"id": str(n), "title": f"Row {n}"} for n in range(number)]}
            ],
        },
    } | changes


def cta(**parameters: Any) -> dict[str, Any]:
    return {
        "type": "cta_url",
        "body": {"text": "?"},
        "action": {
            "name": "cta_url",
            "parameters": {"display_text": "Go", "url": "https://a.b"} | parameters,
        },
    }


def flow(**parameters: Any) -> dict[str, Any]:
    fixed = {"flow_message_version": "3", "flow_id": "1", "flow_cta": "Book"}
    return {
        "type": "flow",
        "body": {"text": "?"},
        "action": {"name": "flow", "parameters": fixed | parameters},
    }


def buttons(*replies: tuple[str, str]) -> dict[str, Any]:
    return button(action={"buttons": [{"type": "reply", "reply": {"id": i, "title": t}} for i, t in replies]})


def interactive(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "interactive", "interactive": value}


TAKEN: dict[str, dict[str, Any]] = {
    "text": {"text": {"body": "x" * 4096, "preview_url": True}},
    "text counts characters, not bytes": {"text": {"body": "ñ" * 4096}},
    "type may be left out for text": {"type": None},
    "image by link": {"type": "image", "image": {**IMAGE, "caption": "c" * 1024}},
    "voice note": {"type": "audio", "audio": {"link": "https://a.b/c.ogg", "voice": True}},
    "document with a name": {"type": "document", "document": {"link": "https://a.b/c", "filename": "f.pdf"}},
    "sticker": {"type": "sticker", "sticker": {"link": "https://a.b/s.webp"}},
    "location in strings": {"type": "location", "location": {"latitude": "19.4", "longitude": "-99.1"}},
    "location in numbers": {
        "type": "location",
        "location": {"latitude": -90, "longitude": 180, "name": "n", "address": "a"},
    },
    "contacts": {
        "type": "contacts",
        "contacts": [{"name": {"formatted_name": "Ana"}, "phones": [{"phone": "+52", "type": "CELL"}]}],
    },
    "buttons at the limit": interactive(
        buttons(("a" * 256, "A" * 20), ("b", "B"), ("c", "C"))
        | {"body": {"text": "b" * 1024}, "footer": {"text": "f" * 60}}
    ),
    "buttons under an image": interactive(button(header={"type": "image", "image": IMAGE})),
    "ten rows": interactive(rows(10, body={"text": "b" * 4096})),
    "link button": interactive(cta(display_text="d" * 20)),
    "flow": interactive(flow(flow_cta="c" * 30, flow_action="navigate")),
    "location request": interactive(
        {"type": "location_request_message", "body": {"text": "?"}, "action": {"name": "send_location"}}
    ),
    "product": interactive({"type": "product", "action": {"catalog_id": "1", "product_retailer_id": "2"}}),
    "template": {"type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}},
    "callback data at the limit": {"biz_opaque_callback_data": "d" * 512},
}


@pytest.mark.parametrize("label", TAKEN)
async def test_what_the_reference_allows_is_taken(label: str) -> None:
    """A body at the edge of Meta's limits gets a wamid."""
    async with place() as here:
        answer = await here.send(**TAKEN[label])
        assert answer.status_code == 200, answer.text
        assert answer.json()["messages"][0]["id"].startswith("wamid.")


#: label → (body, code, a piece of the message or of the details)
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no product": ({"messaging_product": None}, 100, "The parameter messaging_product is required."),
    "another product": ({"messaging_product": "sms"}, 100, "must be one of {WHATSAPP}"),
    "nobody to send to": ({"to": None}, 100, "The parameter to is required."),
    "to is a name": ({"to": "Ana"}, 131009, "to is not a valid phone number"),
    "to is too short": ({"to": "+5215"}, 131009, "to is not a valid phone number"),
    "recipient is no user id": ({"to": None, "recipient": "5215512345678"}, 131009, "business-scoped"),
    "unknown type": ({"type": "poll", "poll": {}}, 100, "must be one of {AUDIO, CONTACTS"),
    "type of the enum that is not sent": ({"type": "gif", "gif": {}}, 131051, "not currently supported"),
    "pin to a person": ({"type": "pin", "pin": {"type": "pin"}}, 131051, "not currently supported"),
    "the type's object is missing": ({"type": "image"}, 131008, "Parameter 'image' is mandatory"),
    "recipient type": (
        {"recipient_type": "everybody"},
        100,
        "recipient_type must be one of {GROUP, INDIVIDUAL}",
    ),
    "text without body": ({"text": {}}, 100, "The parameter text['body'] is required."),
    "empty text": ({"text": {"body": ""}}, 100, "The parameter text['body'] is required."),
    "text too long": (
        {"text": {"body": "x" * 4097}},
        100,
        "text['body'] must be at most 4096 characters long.",
    ),
    "text is no object": ({"text": "hola"}, 100, "Param text must be a JSON object."),
    "camelCase slipped through": (
        {"text": {"body": "x", "previewUrl": True}},
        100,
        'Unexpected key "previewUrl" on param "text".',
    ),
    "callback data too long": ({"biz_opaque_callback_data": "d" * 513}, 100, "at most 512 characters"),
    "image with neither id nor link": ({"type": "image", "image": {}}, 131008, "Exactly one of"),
    "image with both": ({"type": "image", "image": {"id": "1", **IMAGE}}, 131008, "Exactly one of"),
    "image of nobody": (
        {"type": "image", "image": {"id": "999"}},
        100,
        "Param image['id'] is not a valid whatsapp business account media attachment ID",
    ),
    "link that is none": (
        {"type": "image", "image": {"link": "a.png"}},
        100,
        "image['link'] is not a valid URI.",
    ),
    "caption too long": (
        {"type": "image", "image": {**IMAGE, "caption": "c" * 1025}},
        100,
        "image['caption'] must be at most 1024 characters long.",
    ),
    "audio with a caption": (
        {"type": "audio", "audio": {"link": "https://a.b/c", "caption": "c"}},
        100,
        'Unexpected key "caption" on param "audio".',
    ),
    "image with a filename": (
        {"type": "image", "image": {**IMAGE, "filename": "f"}},
        100,
        'Unexpected key "filename"',
    ),
    "latitude off the globe": (
        {"type": "location", "location": {"latitude": 91, "longitude": 0}},
        131009,
        "location['latitude']",
    ),
    "location without longitude": (
        {"type": "location", "location": {"latitude": 1}},
        100,
        "The parameter location['longitude'] is required.",
    ),
    "no contacts": ({"type": "contacts", "contacts": []}, 131009, "Min allowed contacts: 1"),
    "contact without a name": (
        {"type": "contacts", "contacts": [{"phones": []}]},
        100,
        "The parameter contacts[0]['name'] is required.",
    ),
    "reaction without emoji": (
        {"type": "reaction", "reaction": {"message_id": "wamid.x"}},
        100,
        "The parameter reaction['emoji'] is required.",
    ),
    "reaction in letters": (
        {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": ":+1:abc"}},
        131009,
        "is not an emoji",
    ),
    "reaction as a reply": (
        {
            "type": "reaction",
            "reaction": {"message_id": "wamid.x", "emoji": "👍"},
            "context": {"message_id": "wamid.x"},
        },
        131009,
        "context is not allowed",
    ),
    "reply to nothing": ({"context": {"message_id": "wamid.none"}}, 131009, "context['message_id']"),
    "interactive of no kind": (interactive({"type": "quiz"}), 100, "interactive['type'] must be one of"),
    "no buttons": (
        interactive(buttons()),
        131009,
        "Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3",
    ),
    "four buttons": (
        interactive(buttons(*[(str(n), str(n)) for n in range(4)])),
        131009,
        "Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3",
    ),
    "button title of 21": (
        interactive(buttons(("a", "A" * 21))),
        131009,
        "Button title length invalid. Min length: 1, Max length: 20",
    ),
    "button id of 257": (interactive(buttons(("a" * 257, "A"))), 131009, "Button id length invalid"),
    "two buttons of one id": (interactive(buttons(("a", "A"), ("a", "B"))), 131009, "id must be unique"),
    "interactive body of 1025": (
        interactive(button(body={"text": "b" * 1025})),
        131009,
        "Body text length invalid. Min length: 1, Max length: 1024",
    ),
    "interactive without body": (
        interactive({"type": "button", "action": {"buttons": [BUTTON]}}),
        100,
        "The parameter interactive['body'] is required.",
    ),
    "body without text": (
        interactive(button(body={})),
        100,
        "The parameter interactive['body']['text'] is required.",
    ),
    "footer of 61": (interactive(button(footer={"text": "f" * 61})), 131009, "Footer text length invalid"),
    "header of 61": (
        interactive(button(header={"type": "text", "text": "h" * 61})),
        131009,
        "Header text length invalid",
    ),
    "list under an image": (
        interactive(rows(1, header={"type": "image", "image": IMAGE})),
        131009,
        "Header type image is not allowed",
    ),
    "eleven rows": (interactive(rows(11)), 131009, "Total row count exceed max allowed count: 10"),
    "eleven rows over two sections": (
        interactive(
            rows(
                0,
                action={
                    "button": "Ver",
                    "sections": [
                        {"title": name, "rows": [{"id": f"{name}{n}", "title": "r"} for n in range(size)]}
                        for name, size in (("A", 6), ("B", 5))
                    ],
                },
            )
        ),
        131009,
        "Total row count exceed max allowed count: 10",
    ),
    "row title of 25": (
        interactive(rows(0, action={"button": "Ver", "sections": [{"rows": [ROW | {"title": "t" * 25}]}]})),
        131009,
        "Row title is too long. Max length is 24",
    ),
    "row description of 73": (
        interactive(
            rows(0, action={"button": "Ver", "sections": [{"rows": [ROW | {"description": "d" * 73}]}]})
        ),
        131009,
        "Row description is too long. Max length is 72",
    ),
    "two rows of one id": (
        interactive(rows(0, action={"button": "Ver", "sections": [{"rows": [ROW, ROW]}]})),
        131009,
        "Duplicated row id",
    ),
    "two sections, one without title": (
        interactive(
            rows(
                0,
                action={
                    "button": "Ver",
                    "sections": [{"title": "A", "rows": [ROW]}, {"rows": [ROW | {"id": "2"}]}],
                },
            )
        ),
        100,
        "interactive['action']['sections'][1]['title'] is required.",
    ),
    "list button of 21": (
        interactive(rows(0, action={"button": "b" * 21, "sections": [{"rows": [ROW]}]})),
        131009,
        "Button title length invalid",
    ),
    "display text of 21": (interactive(cta(display_text="d" * 21)), 131009, "Display text length invalid"),
    "flow call of 31": (interactive(flow(flow_cta="c" * 31)), 131009, "Flow CTA length invalid"),
    "flow by id and name": (interactive(flow(flow_name="n")), 100, "Exactly one of flow_id and flow_name"),
    "flow of version 2": (interactive(flow(flow_message_version="2")), 100, "must be one of {3}"),
    "unexpected key deep down": (
        interactive(
            button(action={"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A", "x": 1}}]})
        ),
        100,
        "Unexpected key \"x\" on param \"interactive['action']['buttons'][0]['reply']\".",
    ),
}


@pytest.mark.parametrize("label", REFUSED)
async def test_what_the_reference_forbids_is_refused_in_metas_words(label: str) -> None:
    """Each bad body has its code and its sentence, and leaves no trace on the network."""
    body, code, words = REFUSED[label]
    async with place() as here:
        answer = await here.send(**body)
        error = answer.json()["error"]
        said = error["message"] + error.get("error_data", {}).get("details", "")
        assert (answer.status_code, error["code"]) == (400, code), answer.text
        assert words in said
        assert error["type"] == "OAuthException"
        assert error["fbtrace_id"]
        assert here.sandbox.ledger.entries("send") == []


def template(name: str, *components: dict[str, Any], code: str = "en") -> dict[str, Any]:
    return {
        "type": "template",
        "template": {"name": name, "language": {"code": code}, "components": list(components)},
    }


def body_of(*texts: str, **more: Any) -> dict[str, Any]:
    return {"type": "body", "parameters": [{"type": "text", "text": text, **more} for text in texts]}


#: label → (body, HTTP status, code, words); status 200 means it is taken
TEMPLATES: dict[str, tuple[dict[str, Any], int, int, str]] = {
    "as approved": (template("pedido_listo", body_of("Ana", "#1"), code="es_MX"), 200, 0, ""),
    "named parameters": (
        template(
            "appointment_reminder",
            {
                "type": "body",
                "parameters": [
                    {"type": "text", "parameter_name": "customer_name", "text": "Ana"},
                    {"type": "text", "parameter_name": "day", "text": "Friday"},
                ],
            },
        ),
        200,
        0,
        "",
    ),
    "no such template": (template("nope"), 404, 132001, "template name (nope) does not exist in en"),
    "not in that language": (template("pedido_listo", code="en"), 404, 132001, "does not exist in en"),
    "not approved yet": (template("pending_offer"), 404, 132001, "does not exist"),
    "paused": (template("paused_offer"), 400, 132015, "paused"),
    "disabled": (template("disabled_offer"), 400, 132016, "disabled"),
    "a parameter too few": (
        template("pedido_listo", body_of("Ana"), code="es_MX"),
        400,
        132000,
        "body: number of localizable_params (1) does not match the expected number of params (2)",
    ),
    "no parameters at all": (
        template("pedido_listo", code="es_MX"),
        400,
        132000,
        "body: number of localizable_params (0) does not match the expected number of params (2)",
    ),
    "new line in a parameter": (
        template("pedido_listo", body_of("A\nB", "#1"), code="es_MX"),
        400,
        100,
        "Param text cannot have new-line/tab characters or more than 4 consecutive spaces",
    ),
    "named parameter without its name": (
        template("appointment_reminder", body_of("Ana", "Friday")),
        400,
        100,
        "Parameter name is missing or empty",
    ),
    "text where an image was approved": (
        template(
            "summer_sale", {"type": "header", "parameters": [{"type": "text", "text": "x"}]}, body_of("Ana")
        ),
        400,
        132012,
        "header: Format mismatch, expected IMAGE, received TEXT",
    ),
    "header image left out": (
        template("summer_sale", body_of("Ana")),
        400,
        132012,
        "header: Format mismatch, expected IMAGE, received UNKNOWN",
    ),
    "dynamic link without its parameter": (
        template(
            "order_update",
            {"type": "header", "parameters": [{"type": "text", "text": "1"}]},
            body_of("Ana", "1"),
        ),
        400,
        131008,
        "buttons: Button at index 0 of type Url requires a parameter",
    ),
    "unknown component": (template("hello_world", {"type": "sidebar"}), 400, 100, "must be one of"),
    "unexpected key": (
        {"type": "template", "template": {"name": "x", "language": {"code": "en"}, "namespace": "y"}},
        400,
        100,
        'Unexpected key "namespace" on param "template".',
    ),
}


@pytest.mark.parametrize("label", TEMPLATES)
async def test_templates_are_held_against_what_was_approved(label: str) -> None:
    """A template is sent as it was approved, parameter by parameter, or not at all."""
    body, status, code, words = TEMPLATES[label]
    async with place(window=False) as here:
        answer = await here.send(**body)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json()["messages"][0]["message_status"] == "accepted"
        else:
            error = answer.json()["error"]
            assert error["code"] == code
            assert words in error["message"] + error.get("error_data", {}).get("details", "")


async def test_a_body_that_is_no_json_is_as_good_as_none() -> None:
    """Graph treats what it cannot parse as absent, and misses the first parameter."""
    async with place() as here:
        answer = await here.graph(
            "POST",
            "106540352242922/messages",
            content=b'{"messaging_product": "whats',
            headers={"Authorization": "Bearer EAAsandbox", "Content-Type": "application/json"},
        )
        assert answer.json()["error"]["message"] == "(#100) The parameter messaging_product is required."
