"""Message templates, and the check of what is sent against what was approved."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from wad.sandbox.errors import GraphError

_PLACEHOLDER: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MEDIA: Final = ("IMAGE", "VIDEO", "DOCUMENT", "LOCATION")


@dataclass(slots=True)
class Template:
    name: str
    language: str
    category: str
    components: list[dict[str, Any]]  # as `POST /{WABA}/message_templates` takes them
    status: str = "APPROVED"
    template_id: str = ""
    created: float = float("-inf")  # the Marketing Messages API takes a while to know a new one
    edited: list[float] = field(default_factory=list)
    quality: str = "UNKNOWN"
    rejected_reason: str = "NONE"
    time_to_live: int | None = None

    def part(self, kind: str) -> dict[str, Any] | None:
        return next((part for part in self.components if part["type"] == kind), None)

    def described(self) -> dict[str, Any]:
        return {
            "id": self.template_id,
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "components": self.components,
            "parameter_format": "NAMED" if self.named else "POSITIONAL",
            "quality_score": {"score": self.quality},
            "rejected_reason": self.rejected_reason,
            "message_send_ttl_seconds": self.time_to_live,
        }

    @property
    def named(self) -> bool:
        return any(
            not name.isdigit()
            for part in (self.part("HEADER"), self.part("BODY"))
            for name in placeholders((part or {}).get("text", ""))
        )


def id_of(waba_id: str, name: str, language: str) -> str:
    """A template's id: the same for the same template of the same account."""
    return f"9{zlib.crc32(f'{waba_id}/{name}/{language}'.encode()):014}"


def placeholders(text: str) -> list[str]:
    """The names in `{{...}}`, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def find(templates: dict[tuple[str, str], Template], name: str, language: str) -> Template:
    """The approved template of that name and language."""
    template = templates.get((name, language))
    if template is None or template.status in ("PENDING", "REJECTED", "IN_APPEAL"):
        raise GraphError(132001, f"template name ({name}) does not exist in {language}")
    match template.status:
        case "PAUSED":
            raise GraphError(132015)
        case "DISABLED":
            raise GraphError(132016)
        case _:
            return template


def check(template: Template, sent: list[dict[str, Any]]) -> None:
    """Compare the components of a send with the template. Their shape has been validated before."""
    _check_text(template, "BODY", _parameters(sent, "body"))
    _check_header(template, _parameters(sent, "header"))
    _check_buttons(template, [part for part in sent if part["type"].lower() == "button"])
    body = template.part("BODY")
    if body is not None and len(_filled(body["text"], _parameters(sent, "body"))) > 1024:
        raise GraphError(132005, "body: the text with its parameters is longer than 1024 characters")


def _parameters(sent: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return next((part.get("parameters", []) for part in sent if part["type"].lower() == kind), [])


def _check_text(template: Template, kind: str, parameters: list[dict[str, Any]]) -> None:
    part = template.part(kind)
    names = placeholders(part["text"]) if part is not None else []
    if len(parameters) != len(names):
        raise GraphError(
            132000,
            f"{kind.lower()}: number of localizable_params ({len(parameters)}) does not match"
            f" the expected number of params ({len(names)})",
        )
    for number, parameter in enumerate(parameters):
        text = parameter.get("text", "")
        if "\n" in text or "\t" in text or "     " in text:
            raise GraphError(
                100, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
            )
        if not names[number].isdigit() and parameter.get("parameter_name") not in names:
            raise GraphError(100, "Parameter name is missing or empty")


def _check_header(template: Template, parameters: list[dict[str, Any]]) -> None:
    header = template.part("HEADER")
    if header is None or header["format"] == "TEXT":
        _check_text(template, "HEADER", parameters)
        return
    expected = header["format"]
    received = parameters[0]["type"].upper() if parameters else "UNKNOWN"
    if expected in _MEDIA and received != expected:
        raise GraphError(132012, f"header: Format mismatch, expected {expected}, received {received}")


def _check_buttons(template: Template, sent: list[dict[str, Any]]) -> None:
    part = template.part("BUTTONS")
    buttons = part["buttons"] if part is not None else []
    given = {int(button["index"]): button for button in sent}
    for index in given:
        if index >= len(buttons):
            raise GraphError(132012, f"buttons: the template has no button at index {index}")
    for index, button in enumerate(buttons):
        needs = button["type"] == "COPY_CODE" or (
            button["type"] == "URL" and _PLACEHOLDER.search(button["url"])
        )
        if needs and not given.get(index, {}).get("parameters"):
            raise GraphError(
                131008,
                f"buttons: Button at index {index} of type {button['type'].title()} requires a parameter",
            )


def _filled(text: str, parameters: list[dict[str, Any]]) -> str:
    positional = iter(parameters)
    named = {p["parameter_name"]: p for p in parameters if p.get("parameter_name")}

    def value(match: re.Match[str]) -> str:
        parameter = named.get(match[1]) or next(positional, {})
        kind = parameter.get("type", "")
        fallback = parameter.get(kind, {}) if kind in ("currency", "date_time") else {}
        return str(parameter.get("text", fallback.get("fallback_value", match[0])))

    return _PLACEHOLDER.sub(value, text)


def rendered(template: Template, sent: list[dict[str, Any]]) -> dict[str, Any]:
    """What the customer sees: header, body and footer filled in, and the buttons with their payloads."""
    shown: dict[str, Any] = {"buttons": []}
    header = template.part("HEADER")
    if header is not None:
        if header["format"] == "TEXT":
            shown["header"] = {"type": "text", "text": _filled(header["text"], _parameters(sent, "header"))}
        else:
            shown["header"] = next(iter(_parameters(sent, "header")), None)
    body = template.part("BODY")
    shown["body"] = _filled(body["text"], _parameters(sent, "body")) if body is not None else ""
    footer = template.part("FOOTER")
    if footer is not None:
        shown["footer"] = footer["text"]
    payloads = {
        int(part["index"]): part.get("parameters") for part in sent if part["type"].lower() == "button"
    }
    buttons = template.part("BUTTONS")
    for index, button in enumerate(buttons["buttons"] if buttons is not None else []):
        given = (payloads.get(index) or [{}])[0]
        shown["buttons"].append(
            {"type": button["type"], "text": button["text"], "payload": given.get("payload", button["text"])}
        )
    return shown
