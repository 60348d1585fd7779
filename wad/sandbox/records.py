"""What a number, an account and a template say of themselves: the nodes of the Graph API, field by field."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from wad.sandbox.errors import GraphError
from wad.sandbox.network import Account, Network, Number
from wad.sandbox.templates import Template

Answer: TypeAlias = dict[str, Any]

NUMBER: Final = "WhatsAppBusinessPhoneNumber"
ACCOUNT: Final = "WhatsAppBusinessAccount"
TEMPLATE: Final = "MessageTemplate"

#: What Graph answers where nobody asks for fields.
NUMBER_FIELDS: Final = (
    *("verified_name", "code_verification_status", "display_phone_number", "quality_rating"),
    *("platform_type", "throughput", "webhook_configuration", "id"),
)
ACCOUNT_FIELDS: Final = ("id", "name", "timezone_id", "message_template_namespace")
TEMPLATE_FIELDS: Final = (
    *("id", "name", "language", "status", "category", "components", "parameter_format"),
)

_WORST: Final = ("AVAILABLE", "LIMITED", "BLOCKED")


def number_record(network: Network, number: Number) -> Answer:
    account = network.accounts[number.waba_id]
    return {
        "id": number.phone_number_id,
        "display_phone_number": number.display_phone_number,
        "verified_name": number.verified_name,
        "quality_rating": number.quality,
        "status": _status(number),
        "name_status": "APPROVED" if number.verified else "PENDING_REVIEW",
        "code_verification_status": "VERIFIED" if number.verified else "NOT_VERIFIED",
        "platform_type": "CLOUD_API" if number.verified else "NOT_APPLICABLE",
        "is_on_biz_app": number.on_business_app,
        "throughput": {"level": number.throughput},
        "account_mode": "LIVE" if number.allow_list is None else "SANDBOX",
        "is_official_business_account": number.official,
        "is_pin_enabled": number.pin is not None,
        "webhook_configuration": _callbacks(network, number, account),
        "last_onboarded_time": "2026-01-15T10:00:00+0000",
        "messaging_limit_tier": account.limit,
        "whatsapp_business_manager_messaging_limit": account.limit,
        "health_status": _health(_number_health(number), _account_health(account), _app_health(number)),
    }


def _status(number: Number) -> str:
    if number.registered:
        return "CONNECTED"
    return "DISCONNECTED" if number.verified else "PENDING"


def _callbacks(network: Network, number: Number, account: Account) -> Answer:
    found: Answer = {}
    if number.override is not None:
        found["phone_number"] = number.override.url
    if account.override is not None:
        found["whatsapp_business_account"] = account.override.url
    application = network.app_of(number).callback_url
    if application is not None:
        found["application"] = application
    return found


def account_record(account: Account) -> Answer:
    return {
        "id": account.waba_id,
        "name": account.name,
        "currency": "USD",
        "country": "MX",
        "timezone_id": "1",
        "message_template_namespace": f"sandbox_{account.waba_id}",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified",
        "ownership_type": "SELF",
        "status": "DISABLED" if account.can_send == "BLOCKED" else "ACTIVE",
        "marketing_messages_onboarding_status": account.marketing,
        "whatsapp_business_manager_messaging_limit": account.limit,
        "health_status": _health(_account_health(account)),
    }


def template_record(account: Account, template: Template) -> Answer:
    can = {"APPROVED": "AVAILABLE", "FLAGGED": "LIMITED"}.get(template.status, "BLOCKED")
    own = _entity("MESSAGE_TEMPLATE", template.template_id, can)
    if can == "BLOCKED":
        own["errors"] = [_error(132001, f"The template is {template.status}.")]
    return {**template.described(), "health_status": _health(own, _account_health(account))}


# --- whether one can send ---------------------------------------------------------------------------


def _health(*entities: Answer) -> Answer:
    can = max((str(entity["can_send_message"]) for entity in entities), key=_WORST.index)
    return {"can_send_message": can, "entities": list(entities)}


def _entity(kind: str, its_id: str, can: str) -> Answer:
    return {"entity_type": kind, "id": its_id, "can_send_message": can}


def _error(code: int, solution: str) -> Answer:
    error = GraphError(code)
    return {"error_code": code, "error_description": error.title, "possible_solution": solution}


def _number_health(number: Number) -> Answer:
    entity = _entity("PHONE_NUMBER", number.phone_number_id, "AVAILABLE" if number.registered else "BLOCKED")
    if not number.registered:
        entity["errors"] = [_error(133010, "Register the number: POST /{PHONE_NUMBER_ID}/register")]
    return entity


def _account_health(account: Account) -> Answer:
    entity = _entity("WABA", account.waba_id, account.can_send)
    match account.can_send:
        case "BLOCKED":
            entity["errors"] = [_error(131031, "Appeal in WhatsApp Manager.")]
        case "LIMITED":
            entity["errors"] = [_error(368, "Only answers go out until the restriction ends.")]
    return entity


def _app_health(number: Number) -> Answer:
    return _entity("APP", number.app_id, "AVAILABLE")
