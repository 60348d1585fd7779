"""Content templates (HX...): a small catalogue, the check of their variables, and how they look once filled in."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Final

from wad.sandbox.twilio.errors import TwilioError

_PLACEHOLDER: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
#: What WhatsApp's own review of a template says of it, and the error that a send of it ends with.
_UNUSABLE: Final = {"rejected": 63040, "paused": 63041, "disabled": 63042}


@dataclass(slots=True)
class Template:
    name: str
    language: str
    types: dict[str, Any]  # as `GET /v1/Content` answers them
    approval: str = "approved"  # or unsubmitted, rejected, paused, disabled
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def sid(self) -> str:
        digest = hashlib.md5(f"{self.name}/{self.language}".encode(), usedforsecurity=False)
        return f"HX{digest.hexdigest()}"

    def placeholders(self) -> set[str]:
        return set(_PLACEHOLDER.findall(str(self.types)))

    def failure(self, variables: dict[str, str], *, window_open: bool) -> TwilioError | None:
        """Why a send of it does not arrive, which is found out once it has been taken."""
        filled = self.variables | variables
        if self.approval in _UNUSABLE:
            return TwilioError(_UNUSABLE[self.approval])
        if self.approval != "approved" and not window_open:
            return TwilioError(63016)
        if self.placeholders() - filled.keys():
            return TwilioError(63028)
        if any(not value.strip() or "\n" in value for value in filled.values()):
            return TwilioError(63013, "A variable is empty, or has a newline in it")
        return None

    def filled(self, variables: dict[str, str]) -> dict[str, Any]:
        """The one type of it, with its variables in place."""
        values = self.variables | variables
        [(kind, body)] = self.types.items()
        return {"kind": kind, **_fill(body, values)}

    def described(self, account_sid: str) -> dict[str, Any]:
        return {
            "sid": self.sid,
            "account_sid": account_sid,
            "friendly_name": self.name,
            "language": self.language,
            "variables": {name: self.variables.get(name, "") for name in sorted(self.placeholders())},
            "types": self.types,
            "url": f"https://content.twilio.com/v1/Content/{self.sid}",
            "date_created": "2026-01-01T00:00:00Z",
            "date_updated": "2026-01-01T00:00:00Z",
        }


def _fill(value: Any, values: dict[str, str]) -> Any:
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), value)
        case list():
            return [_fill(each, values) for each in value]
        case dict():
            return {name: _fill(each, values) for name, each in value.items()}
        case _:
            return value


def catalogue() -> dict[str, Template]:
    """What every new account has: one of each look, and one for each way to be refused."""
    templates = [
        Template(
            "pedido_listo",
            "es_MX",
            {"twilio/text": {"body": "Hola {{1}}, tu pedido {{2}} está listo para recoger."}},
        ),
        Template(
            "cita",
            "es_MX",
            {
                "twilio/quick-reply": {
                    "body": "¿Vienes el {{1}}?",
                    "actions": [{"title": "Sí", "id": "yes"}, {"title": "No", "id": "no"}],
                }
            },
        ),
        Template(
            "menu",
            "es_MX",
            {
                "twilio/list-picker": {
                    "body": "¿Qué te servimos?",
                    "button": "Ver el menú",
                    "items": [
                        {"id": "cafe", "item": "Café", "description": "De olla"},
                        {"id": "te", "item": "Té"},
                    ],
                }
            },
            approval="unsubmitted",  # a list is for an open window only
        ),
        Template(
            "rastreo",
            "es_MX",
            {
                "twilio/call-to-action": {
                    "body": "Tu pedido {{1}} va en camino.",
                    "actions": [{"type": "URL", "title": "Seguirlo", "url": "https://example.com/p/{{1}}"}],
                }
            },
        ),
        Template(
            "oferta",
            "es_MX",
            {"twilio/media": {"body": "Hasta el domingo", "media": ["https://example.com/{{1}}.png"]}},
        ),
        Template("oferta_pausada", "es_MX", {"twilio/text": {"body": "Oferta"}}, approval="paused"),
        Template("oferta_rechazada", "es_MX", {"twilio/text": {"body": "Oferta"}}, approval="rejected"),
    ]
    return {template.sid: template for template in templates}
