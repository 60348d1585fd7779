"""Message templates: a small approved catalogue, and the check of what is sent against what was approved."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any, Final

from wad.sandbox.errors import GraphError, invalid

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

    def __post_init__(self) -> None:
        if not self.template_id:
            self.template_id = f"9{zlib.crc32(f'{self.name}/{self.language}'.encode()):014}"

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
            "parameter_format": "NAMED" if self._named() else "POSITIONAL",
            "quality_score": {"score": "UNKNOWN"},
            "rejected_reason": "NONE",
        }

    def _named(self) -> bool:
        body = self.part("BODY")
        return body is not None and any(not name.isdigit() for name in _PLACEHOLDER.findall(body["text"]))


def _text(kind: str, text: str) -> dict[str, Any]:
    return (
        {"type": kind, "text": text} if kind != "HEADER" else {"type": kind, "format": "TEXT", "text": text}
    )


def catalogue() -> dict[tuple[str, str], Template]:
    """What every new account can send. One template for each thing that can go wrong with one."""
    templates = [
        Template(
            "hello_world",
            "en_US",
            "UTILITY",
            [
                _text("HEADER", "Hello World"),
                _text(
                    "BODY",
                    "Welcome and congratulations!! This message shows your ability to send a template.",
                ),
                _text("FOOTER", "WhatsApp Business Platform sample message"),
            ],
        ),
        Template(
            "pedido_listo",
            "es_MX",
            "UTILITY",
            [_text("BODY", "Hola {{1}}, tu pedido {{2}} está listo para recoger.")],
        ),
        Template(
            "order_update",
            "en",
            "UTILITY",
            [
                _text("HEADER", "Order {{1}}"),
                _text("BODY", "Hi {{1}}, your order ships on {{2}}."),
                {
                    "type": "BUTTONS",
                    "buttons": [
                        {"type": "URL", "text": "Track", "url": "https://example.com/orders/{{1}}"},
                        {"type": "QUICK_REPLY", "text": "Talk to us"},
                    ],
                },
            ],
        ),
        Template(
            "appointment_reminder",
            "en",
            "UTILITY",
            [_text("BODY", "Hi {{customer_name}}, see you on {{day}}.")],
        ),
        Template(
            "summer_sale",
            "en",
            "MARKETING",
            [
                {"type": "HEADER", "format": "IMAGE"},
                _text("BODY", "{{1}}, everything is 20 % off until Sunday."),
                _text("FOOTER", "Reply STOP to hear no more"),
                {
                    "type": "BUTTONS",
                    "buttons": [
                        {"type": "QUICK_REPLY", "text": "Show me"},
                        {"type": "QUICK_REPLY", "text": "Stop promotions"},
                    ],
                },
            ],
        ),
        Template(
            "login_code",
            "en",
            "AUTHENTICATION",
            [
                _text("BODY", "{{1}} is your verification code."),
                {
                    "type": "BUTTONS",
                    "buttons": [
                        {
                            "type": "URL",
                            "text": "Copy code",
                            "url": "https://www.whatsapp.com/otp/code/?code=otp{{1}}",
                        }
                    ],
                },
            ],
        ),
        Template(
            "paused_offer", "en", "MARKETING", [_text("BODY", "Too many blocked this.")], status="PAUSED"
        ),
        Template(
            "disabled_offer", "en", "MARKETING", [_text("BODY", "Far too many did.")], status="DISABLED"
        ),
        Template("pending_offer", "en", "MARKETING", [_text("BODY", "In review.")], status="PENDING"),
    ]
    return {(template.name, template.language): template for template in templates}


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
    names = list(dict.fromkeys(_PLACEHOLDER.findall(part["text"]))) if part is not None else []
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


def new_template(data: dict[str, Any]) -> Template:
    """A template as somebody creates it: pending until approved."""
    for name in ("name", "language", "category", "components"):
        if name not in data:
            raise invalid(f"The parameter {name} is required.")
    if not re.fullmatch(r"[a-z0-9_]{1,512}", str(data["name"])):
        raise invalid("Message template name can only have lowercase letters and underscores")
    components = data["components"]
    if not isinstance(components, list) or not any(p.get("type") == "BODY" for p in components):
        raise invalid("Param components must contain a BODY.")
    return Template(data["name"], data["language"], data["category"], components, status="PENDING")
