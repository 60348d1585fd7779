"""The templates that every account has from the start."""

from __future__ import annotations

from typing import Any

from wad.sandbox.templates import Template, id_of


def _text(kind: str, text: str) -> dict[str, Any]:
    return (
        {"type": kind, "text": text} if kind != "HEADER" else {"type": kind, "format": "TEXT", "text": text}
    )


def catalogue(waba_id: str = "") -> dict[tuple[str, str], Template]:
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
    for template in templates:
        template.template_id = id_of(waba_id, template.name, template.language)
    return {(template.name, template.language): template for template in templates}
