"""The checks of an `interactive` object, one function a kind.

Counts and lengths are WhatsApp's own check (131009, the sentence in `details`); a missing or unexpected
key is Graph's (100, the sentence in `message`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wad.sandbox.errors import bad_value, invalid, required
from wad.sandbox.shape import check_media, items, known, length, link, need, obj, one_of, string

_AT: Final = "interactive"
_COMMON: Final = {"type", "header", "body", "footer", "action"}


def check_interactive(value: Any) -> None:
    interactive = obj(value, _AT)
    known(interactive, _COMMON, _AT)
    kind = string(need(interactive, "type", _AT), f"{_AT}['type']")
    one_of(kind, _KINDS, f"{_AT}['type']")
    headers, body_max, check_action = _KINDS[kind]
    _check_header(interactive, headers)
    if body_max is not None:
        body = obj(need(interactive, "body", _AT), f"{_AT}['body']")
        text = string(need(body, "text", f"{_AT}['body']"), f"{_AT}['body']['text']")
        length("Body text", text, body_max)
    if "footer" in interactive:
        footer = obj(interactive["footer"], f"{_AT}['footer']")
        length(
            "Footer text", string(need(footer, "text", f"{_AT}['footer']"), f"{_AT}['footer']['text']"), 60
        )
    action = obj(need(interactive, "action", _AT), f"{_AT}['action']")
    check_action(action, f"{_AT}['action']")
    if kind == "product_list" and "header" not in interactive:
        raise required(f"{_AT}['header']")


def _check_header(interactive: dict[str, Any], allowed: tuple[str, ...]) -> None:
    if "header" not in interactive:
        return
    at = f"{_AT}['header']"
    header = obj(interactive["header"], at)
    kind = string(need(header, "type", at), f"{at}['type']")
    if kind not in allowed:
        raise bad_value(f"Header type {kind} is not allowed for interactive type {interactive['type']}")
    if kind == "text":
        length("Header text", string(need(header, "text", at), f"{at}['text']"), 60)
    else:
        check_media(kind, need(header, kind, at), f"{at}['{kind}']", caption=False)


def _buttons(action: dict[str, Any], at: str) -> None:
    known(action, {"buttons"}, at)
    buttons = items(need(action, "buttons", at), f"{at}['buttons']")
    if not 1 <= len(buttons) <= 3:
        raise bad_value("Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3")
    seen: set[str] = set()
    for number, value in enumerate(buttons):
        here = f"{at}['buttons'][{number}]"
        button = obj(value, here)
        one_of(need(button, "type", here), {"reply"}, f"{here}['type']")
        reply = obj(need(button, "reply", here), f"{here}['reply']")
        known(reply, {"id", "title"}, f"{here}['reply']")
        button_id = string(need(reply, "id", f"{here}['reply']"), f"{here}['reply']['id']")
        title = string(need(reply, "title", f"{here}['reply']"), f"{here}['reply']['title']")
        length("Button id", button_id, 256)
        length("Button title", title, 20)
        for name, what in ((f"id {button_id}", "id"), (f"title {title}", "title")):
            if name in seen:
                raise bad_value(f"Button {what} must be unique")
            seen.add(name)


def _list(action: dict[str, Any], at: str) -> None:
    known(action, {"button", "sections"}, at)
    length("Button title", string(need(action, "button", at), f"{at}['button']"), 20)
    sections = items(need(action, "sections", at), f"{at}['sections']")
    if not 1 <= len(sections) <= 10:
        raise bad_value("Invalid sections count. Min allowed sections: 1, Max allowed sections: 10")
    ids: set[str] = set()
    rows_seen = 0
    for number, value in enumerate(sections):
        here = f"{at}['sections'][{number}]"
        section = obj(value, here)
        known(section, {"title", "rows"}, here)
        if "title" in section or len(sections) > 1:
            title = string(need(section, "title", here), f"{here}['title']")
            length("Section title", title, 24)
        rows = items(need(section, "rows", here), f"{here}['rows']")
        if not rows:
            raise bad_value("Section must have at least one row")
        for place, item in enumerate(rows):
            row_at = f"{here}['rows'][{place}]"
            row = obj(item, row_at)
            known(row, {"id", "title", "description"}, row_at)
            row_id = string(need(row, "id", row_at), f"{row_at}['id']")
            title = string(need(row, "title", row_at), f"{row_at}['title']")
            length("Row id", row_id, 200)
            if len(title) > 24:
                raise bad_value("Row title is too long. Max length is 24")
            length("Row title", title, 24)
            if len(string(row.get("description", ""), f"{row_at}['description']")) > 72:
                raise bad_value("Row description is too long. Max length is 72")
            if row_id in ids:
                raise bad_value(f"Duplicated row id: {row_id}")
            ids.add(row_id)
            rows_seen += 1
    if rows_seen > 10:
        raise bad_value("Total row count exceed max allowed count: 10")


def _named(
    name: str, check: Callable[[dict[str, Any], str], None] | None
) -> Callable[[dict[str, Any], str], None]:
    """An action that says its `name` and has `parameters` for *check*."""

    def check_action(action: dict[str, Any], at: str) -> None:
        known(action, {"name", "parameters"}, at)
        one_of(need(action, "name", at), {name}, f"{at}['name']")
        if check is not None:
            check(obj(need(action, "parameters", at), f"{at}['parameters']"), f"{at}['parameters']")

    return check_action


def _cta_url(parameters: dict[str, Any], at: str) -> None:
    known(parameters, {"display_text", "url"}, at)
    length("Display text", string(need(parameters, "display_text", at), f"{at}['display_text']"), 20)
    link(need(parameters, "url", at), f"{at}['url']")


_FLOW_KEYS: Final = {
    "flow_message_version",
    "flow_id",
    "flow_name",
    "flow_cta",
    "flow_token",
    "mode",
    "flow_action",
    "flow_action_payload",
}


def _flow(parameters: dict[str, Any], at: str) -> None:
    known(parameters, _FLOW_KEYS, at)
    one_of(need(parameters, "flow_message_version", at), {"3"}, f"{at}['flow_message_version']")
    if ("flow_id" in parameters) == ("flow_name" in parameters):
        raise invalid("Exactly one of flow_id and flow_name is required.")
    length("Flow CTA", string(need(parameters, "flow_cta", at), f"{at}['flow_cta']"), 30)
    one_of(parameters.get("mode", "published"), {"draft", "published"}, f"{at}['mode']")
    action = parameters.get("flow_action", "navigate")
    one_of(action, {"navigate", "data_exchange"}, f"{at}['flow_action']")


def _product(action: dict[str, Any], at: str) -> None:
    known(action, {"catalog_id", "product_retailer_id"}, at)
    string(need(action, "catalog_id", at), f"{at}['catalog_id']")
    string(need(action, "product_retailer_id", at), f"{at}['product_retailer_id']")


def _product_list(action: dict[str, Any], at: str) -> None:
    known(action, {"catalog_id", "sections"}, at)
    string(need(action, "catalog_id", at), f"{at}['catalog_id']")
    sections = items(need(action, "sections", at), f"{at}['sections']")
    if not 1 <= len(sections) <= 10:
        raise bad_value("Invalid sections count. Min allowed sections: 1, Max allowed sections: 10")
    products = 0
    for number, value in enumerate(sections):
        here = f"{at}['sections'][{number}]"
        section = obj(value, here)
        known(section, {"title", "product_items"}, here)
        for item in items(need(section, "product_items", here), f"{here}['product_items']"):
            need(obj(item, f"{here}['product_items']"), "product_retailer_id", f"{here}['product_items']")
            products += 1
    if not 1 <= products <= 30:
        raise bad_value("Invalid products count. Min allowed products: 1, Max allowed products: 30")


def _carousel(action: dict[str, Any], at: str) -> None:
    known(action, {"cards"}, at)
    cards = items(need(action, "cards", at), f"{at}['cards']")
    if not 2 <= len(cards) <= 10:
        raise bad_value("Invalid cards count. Min allowed cards: 2, Max allowed cards: 10")
    for number, value in enumerate(cards):
        here = f"{at}['cards'][{number}]"
        card = obj(value, here)
        known(card, {"card_index", "type", "header", "body", "action"}, here)
        if need(card, "card_index", here) != number:
            raise bad_value(f"Card at position {number} must have card_index {number}")
        one_of(need(card, "type", here), {"cta_url", "product"}, f"{here}['type']")
        need(card, "action", here)


def _any(action: dict[str, Any], at: str) -> None:
    """Kinds that Meta's reference names without telling their limits."""


_ANY_HEADER: Final = ("text", "image", "video", "document")

#: kind → (header types, longest body or None where there is none, the action's check)
_KINDS: Final[dict[str, tuple[tuple[str, ...], int | None, Callable[[dict[str, Any], str], None]]]] = {
    "button": (_ANY_HEADER, 1024, _buttons),
    "list": (("text",), 4096, _list),
    "cta_url": (_ANY_HEADER, 1024, _named("cta_url", _cta_url)),
    "flow": (_ANY_HEADER, 1024, _named("flow", _flow)),
    "location_request_message": ((), 1024, _named("send_location", None)),
    "product": ((), None, _product),
    "product_list": (("text",), 1024, _product_list),
    "catalog_message": ((), 1024, _named("catalog_message", None)),
    "address_message": ((), 1024, _named("address_message", _any)),
    "carousel": ((), 1024, _carousel),
    "call_permission_request": ((), 1024, _any),
    "voice_call": (_ANY_HEADER, 1024, _any),
    "request_contact_info": ((), 1024, _any),
}
