"""What Meta takes for a template, by its rules for making, changing and deleting one. Synchronous, without I/O.

Whether a template is any good is for the reviewers (`review.py`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from wad.sandbox.errors import GraphError, invalid, required
from wad.sandbox.network import Account
from wad.sandbox.shape import items, known, link, need, obj, one_of, only, string
from wad.sandbox.templates import Template, id_of, placeholders

CATEGORIES: Final = {"AUTHENTICATION", "MARKETING", "UTILITY"}
_NEW: Final = {
    *("name", "category", "language", "components", "parameter_format"),
    *("allow_category_change", "message_send_ttl_seconds"),
}
_CHANGED: Final = {"category", "components", "parameter_format", "message_send_ttl_seconds"}
_EDITABLE: Final = {"APPROVED", "REJECTED", "PAUSED"}
_DAY: Final = 86400.0
_MONTH: Final = 30 * _DAY
_EDITS_A_MONTH: Final = 10  # of an approved template, and one a day

#: type → the keys that a component may have
_COMPONENTS: Final[dict[str, set[str]]] = {
    "HEADER": {"type", "format", "text", "example"},
    "BODY": {"type", "text", "example", "add_security_recommendation"},
    "FOOTER": {"type", "text", "code_expiration_minutes"},
    "BUTTONS": {"type", "buttons"},
    "CAROUSEL": {"type", "cards"},
    "LIMITED_TIME_OFFER": {"type", "limited_time_offer"},
}
#: type → the keys that a button must have, and those that it may have
_BUTTONS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "QUICK_REPLY": ({"text"}, set()),
    "URL": ({"text", "url"}, {"example"}),
    "PHONE_NUMBER": ({"text", "phone_number"}, set()),
    "COPY_CODE": ({"example"}, {"text"}),
    "FLOW": ({"text"}, {"flow_id", "flow_name", "flow_json", "flow_action", "navigate_screen"}),
    "OTP": (
        {"otp_type"},
        {"text", "autofill_text", "supported_apps", "zero_tap_terms_accepted", "package_name"},
    ),
    "CATALOG": ({"text"}, set()),
    "MPM": ({"text"}, set()),
}
_FORMATS: Final = {"TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION"}


def refused(title: str, told: str, subcode: int) -> GraphError:
    """Template management tells its errors by subcode."""
    return GraphError(100, told, message=f"Invalid parameter: {title}", subcode=subcode)


# --- the three things that are done to one ----------------------------------------------------------


def new_template(account: Account, data: dict[str, Any], now: float) -> Template:
    """A template as somebody makes it, in review."""
    only(data, _NEW)
    for name in ("name", "language", "category"):
        if not data.get(name):
            raise required(name)
    name, language = string(data["name"], "name"), string(data["language"], "language")
    if not re.fullmatch(r"[a-z0-9_]{1,512}", name):
        raise invalid(
            "Param name can only have lowercase letters, digits and underscores, up to 512 of them."
        )
    if not re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2,3})?", language):
        raise invalid(f'Param language is not a language that WhatsApp has - got "{language}".')
    one_of(data["category"], CATEGORIES, "category")
    if not isinstance(data.get("allow_category_change", False), bool):
        raise invalid("Param allow_category_change must be a boolean.")
    if (name, language) in account.templates:
        raise refused("already exists", f"There is already {language} content for this template.", 2388024)
    if now < account.deleted_names.get(name, float("-inf")) + _MONTH:
        raise refused(
            "being deleted",
            "New content cannot be added while the existing content is being deleted: try another name, or wait.",
            2388023,
        )
    template = Template(
        name,
        language,
        data["category"],
        check_components(data.get("components")),
        status="PENDING",
        template_id=id_of(account.waba_id, name, language),
        created=now,
        time_to_live=_time_to_live(data),
    )
    _check_format(template, data)
    account.templates[name, language] = template
    return template


def change(template: Template, data: dict[str, Any], now: float) -> None:
    """What somebody makes of it, in review again."""
    only(data, _CHANGED)
    if not data:
        raise required("components")
    if template.status not in _EDITABLE:
        raise refused(
            "cannot be edited",
            f"Only APPROVED, REJECTED or PAUSED templates can be edited, and this is {template.status}.",
            2593002,
        )
    category = data.get("category", template.category)
    one_of(category, CATEGORIES, "category")
    if template.status == "APPROVED":
        if category != template.category:
            raise refused("category", "The category of an approved template cannot be changed.", 2593003)
        template.edited = [at for at in template.edited if at > now - _MONTH]
        if len(template.edited) >= _EDITS_A_MONTH or any(at > now - _DAY for at in template.edited):
            raise refused(
                "edited too often",
                "An approved template can be edited once in 24 hours, and 10 times in 30 days.",
                2593004,
            )
        template.edited.append(now)
    components = check_components(data["components"]) if "components" in data else template.components
    time_to_live = _time_to_live(data) if "message_send_ttl_seconds" in data else template.time_to_live
    template.category, template.components, template.time_to_live = category, components, time_to_live
    template.status, template.rejected_reason = "PENDING", "NONE"


def delete(account: Account, asked: dict[str, Any], now: float) -> list[Template]:
    """Every language of a name, or the one template that `hsm_id` names beside it. The name rests for 30 days."""
    only(asked, {"name", "hsm_id"})
    name = asked.get("name")
    if not name:
        raise required("name")
    gone = [
        template
        for template in account.templates.values()
        if template.name == name and asked.get("hsm_id", template.template_id) == template.template_id
    ]
    if not gone:
        raise refused("not found", "Message template was not found.", 2593002)
    for template in gone:
        del account.templates[template.name, template.language]
    account.deleted_names[name] = now
    return gone


# --- components -------------------------------------------------------------------------------------


def check_components(value: Any) -> list[dict[str, Any]]:
    """The components, if Meta takes them: their keys, lengths, and an example for everything that is filled in."""
    if value is None:
        raise required("components")
    parts = [obj(part, f"components[{n}]") for n, part in enumerate(items(value, "components"))]
    seen: set[str] = set()
    for n, part in enumerate(parts):
        at = f"components[{n}]"
        kind = need(part, "type", at)
        one_of(kind, _COMPONENTS, f"{at}['type']")
        known(part, _COMPONENTS[kind], at)
        if kind in seen:
            raise invalid(f"Param components must have at most one {kind}.")
        seen.add(kind)
        match kind:
            case "HEADER":
                _check_header(part, at)
            case "BODY":
                # An authentication template's text is WhatsApp's own.
                if "add_security_recommendation" not in part:
                    _check_text(part, at, 1024)
            case "FOOTER":
                if "code_expiration_minutes" not in part:
                    _check_text(part, at, 60)
            case "BUTTONS":
                _check_buttons(part, at)
    if "BODY" not in seen:
        raise invalid("Param components must contain a BODY.")
    return parts


def _check_header(part: dict[str, Any], at: str) -> None:
    format_ = need(part, "format", at)
    one_of(format_, _FORMATS, f"{at}['format']")
    if format_ == "TEXT":
        if len(placeholders(_check_text(part, at, 60))) > 1:
            raise invalid(f"Param {at}['text'] can have one variable.")
    elif format_ != "LOCATION":
        example = obj(part.get("example", {}), f"{at}['example']")
        if not example.get("header_handle"):
            raise _no_example(at, "header_handle")


def _check_text(part: dict[str, Any], at: str, longest: int) -> str:
    text = string(need(part, "text", at), f"{at}['text']")
    if not 1 <= len(text) <= longest:
        raise invalid(f"Param {at}['text'] must be between 1 and {longest} characters long.")
    names = placeholders(text)
    if not names:
        return text
    if part["type"] == "FOOTER":
        raise invalid(f"Param {at}['text'] can have no variables.")
    positional = all(name.isdigit() for name in names)
    if positional and [int(name) for name in names] != list(range(1, len(names) + 1)):
        raise invalid(f"Param {at}['text'] must number its variables 1, 2, 3 in order.")
    if not positional and any(name.isdigit() for name in names):
        raise invalid(f"Param {at}['text'] mixes numbered and named variables.")
    example = obj(part.get("example", {}), f"{at}['example']")
    kind = f"{part['type'].lower()}_text"
    if not example.get(kind if positional else f"{kind}_named_params"):
        raise _no_example(at, kind if positional else f"{kind}_named_params")
    return text


def _check_buttons(part: dict[str, Any], at: str) -> None:
    buttons = items(need(part, "buttons", at), f"{at}['buttons']")
    if not 1 <= len(buttons) <= 10:
        raise invalid(f"Param {at}['buttons'] must have between 1 and 10 entries.")
    for n, value in enumerate(buttons):
        where = f"{at}['buttons'][{n}]"
        button = obj(value, where)
        kind = need(button, "type", where)
        one_of(kind, _BUTTONS, f"{where}['type']")
        needed, more = _BUTTONS[kind]
        known(button, {"type"} | needed | more, where)
        for key in needed:
            need(button, key, where)
        if len(string(button.get("text", ""), f"{where}['text']")) > 25:
            raise invalid(f"Param {where}['text'] must be at most 25 characters long.")
        if kind == "URL":
            url = link(button["url"], f"{where}['url']")
            if placeholders(url) and not button.get("example"):
                raise _no_example(where, "example")


def _no_example(at: str, key: str) -> GraphError:
    return refused("missing an example", f"{at} is missing expected field(s): ({key}).", 2388043)


def _check_format(template: Template, data: dict[str, Any]) -> None:
    wanted = data.get("parameter_format", "NAMED" if template.named else "POSITIONAL")
    one_of(wanted, {"NAMED", "POSITIONAL"}, "parameter_format")
    if template.named and wanted != "NAMED":
        raise invalid("Param components has named variables, so parameter_format must be NAMED.")


def _time_to_live(data: dict[str, Any]) -> int | None:
    seconds = data.get("message_send_ttl_seconds")
    if seconds is None:
        return None
    if not isinstance(seconds, int) or not (seconds == -1 or 30 <= seconds <= 30 * 86400):
        raise invalid("Param message_send_ttl_seconds must be -1, or between 30 and 2592000.")
    return seconds
