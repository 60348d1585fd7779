"""Objects by id, `/{id}`: a number, a media file, a group or an account, and what each says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError, invalid, required, unknown_object
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.groups import group_object
from wad.sandbox.listing import fields
from wad.sandbox.messaging import media_info
from wad.sandbox.network import Account, Callback, Number
from wad.sandbox.validate import wrong_product

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

NUMBER_DEFAULT: Final = (
    *("verified_name", "code_verification_status", "display_phone_number", "quality_rating"),
    *("platform_type", "throughput", "webhook_configuration", "id"),
)


def object_routes(sandbox: Sandbox) -> Blueprint:
    """`/{id}`: a number, a media file, a group or an account."""
    routes = Blueprint("objects", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<object_id>", ["GET", "POST", "DELETE"])
    async def one(object_id: str) -> Response:
        body = await parameters()
        method = request.method

        async def touch() -> Answer:
            if object_id in network.media:
                return _media(object_id)
            if object_id in network.groups:
                group = network.groups[object_id]
                number = graph.number(group.phone_number_id)
                return await group_object(sandbox, number, group, body, method)
            if object_id in network.accounts:
                account = account_of(graph, object_id)
                if method != "GET":
                    raise unknown_object(object_id, method)
                return fields(account_fields(account), body, ("id", "name"), "WhatsAppBusinessAccount")
            return await _number(graph.number(object_id))

        def _media(media_id: str) -> Answer:
            token = graph.token()
            media = network.media[media_id]
            owner = network.numbers[media.phone_number_id]
            said = body.get("phone_number_id", owner.phone_number_id)
            if (
                token not in owner.access_tokens
                or said != owner.phone_number_id
                or media.expires <= network.now()
            ):
                raise unknown_object(media_id, method)
            if method == "DELETE":
                del network.media[media_id]
                return {"success": True}
            return media_info(sandbox, media, request.host_url.rstrip("/"))

        async def _number(number: Number) -> Answer:
            match method:
                case "GET":
                    return fields(
                        number_fields(sandbox, number), body, NUMBER_DEFAULT, "WhatsAppBusinessPhoneNumber"
                    )
                case "POST" if "webhook_configuration" in body:
                    wanted = body["webhook_configuration"]
                    number.override = await override(sandbox, wanted)
                    return {"success": True}
                case "POST" if "pin" in body:
                    _check_pin(body["pin"])
                    return {"success": True}
                case _:
                    raise unknown_object(object_id, method)

        operation, owner = _operation(object_id, method)
        return await graph.perform(operation, owner, touch)

    def _operation(object_id: str, method: str) -> tuple[str, str | None]:
        if object_id in network.media:
            kind = "media.delete" if method == "DELETE" else "media.url"
            return kind, network.media[object_id].phone_number_id
        if object_id in network.groups:
            return "group", network.groups[object_id].phone_number_id
        if object_id in network.accounts:
            return "account", None
        return "number", object_id

    return routes


def number_routes(sandbox: Sandbox) -> Blueprint:
    """What is done to a number before it can send, and how it presents itself."""
    routes = Blueprint("numbers", __name__)
    graph = Graph(sandbox)

    @both(routes, "/<number_id>/<any(register, deregister, request_code, verify_code):action>", ["POST"])
    async def registration(number_id: str, action: str) -> Response:
        body = await parameters()

        async def change() -> Answer:
            number = graph.number(number_id)
            if action == "register":
                if body.get("messaging_product") != "whatsapp":
                    raise wrong_product(body.get("messaging_product"))
                _check_pin(body.get("pin"))
                number.registered = True
            elif action == "deregister":
                number.registered = False
            return {"success": True}

        return await graph.perform("number", number_id, change)

    @both(routes, "/<number_id>/whatsapp_business_profile", ["GET", "POST"])
    async def profile(number_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            number = graph.number(number_id)
            if request.method == "GET":
                return {"data": [{**number.profile, "messaging_product": "whatsapp"}]}
            if body.pop("messaging_product", None) != "whatsapp":
                raise required("messaging_product")
            number.profile |= body
            return {"success": True}

        return await graph.perform("number", number_id, touch)

    return routes


# --- what objects say of themselves ---------------------------------------------------------------


def number_fields(sandbox: Sandbox, number: Number) -> Answer:
    account = sandbox.network.accounts[number.waba_id]
    callbacks: Answer = {"application": sandbox.network.app_of(number).callback_url}
    if account.override is not None:
        callbacks["whatsapp_business_account"] = account.override.url
    if number.override is not None:
        callbacks["phone_number"] = number.override.url
    return {
        "id": number.phone_number_id,
        "display_phone_number": number.display_phone_number,
        "verified_name": number.verified_name,
        "quality_rating": number.quality,
        "status": "CONNECTED" if number.registered else "DISCONNECTED",
        "name_status": "APPROVED",
        "code_verification_status": "VERIFIED",
        "platform_type": "CLOUD_API",
        "throughput": {"level": number.throughput},
        "account_mode": "LIVE" if number.allow_list is None else "SANDBOX",
        "is_official_business_account": number.official,
        "webhook_configuration": {name: url for name, url in callbacks.items() if url is not None},
        "last_onboarded_time": "2026-01-15T10:00:00+0000",
        "messaging_limit_tier": "TIER_UNLIMITED",
        "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED",
        "health_status": _health(number),
    }


def _health(number: Number) -> Answer:
    can = "AVAILABLE" if number.registered else "BLOCKED"
    entity: Answer = {"entity_type": "PHONE_NUMBER", "id": number.phone_number_id, "can_send_message": can}
    if not number.registered:
        error = GraphError(133010)
        entity["errors"] = [
            {
                "error_code": error.code,
                "error_description": error.title,
                "possible_solution": "Register the number: POST /{PHONE_NUMBER_ID}/register",
            }
        ]
    return {
        "can_send_message": can,
        "entities": [
            entity,
            {"entity_type": "WABA", "id": number.waba_id, "can_send_message": "AVAILABLE"},
            {"entity_type": "APP", "id": number.app_id, "can_send_message": "AVAILABLE"},
        ],
    }


def account_fields(account: Account) -> Answer:
    return {
        "id": account.waba_id,
        "name": "Sandbox account",
        "currency": "USD",
        "timezone_id": "1",
        "message_template_namespace": "sandbox",
        "health_status": {
            "can_send_message": "AVAILABLE",
            "entities": [{"entity_type": "WABA", "id": account.waba_id, "can_send_message": "AVAILABLE"}],
        },
    }


def account_of(graph: Graph, waba_id: str) -> Account:
    token = graph.token()
    if not any(number.waba_id == waba_id for number in graph.network.numbers_of(token)):
        raise unknown_object(waba_id, request.method)
    return graph.network.accounts[waba_id]


async def override(sandbox: Sandbox, wanted: Any) -> Callback | None:
    """The callback that is asked for, once it has shaken hands; none where an empty one takes it away."""
    if not isinstance(wanted, dict):
        raise invalid("Param webhook_configuration must be a JSON object.")
    url = wanted.get("override_callback_uri")
    if not url:
        return None
    if len(str(url)) > 200:
        raise invalid("Param override_callback_uri must be at most 200 characters long.")
    callback = Callback(str(url), str(wanted.get("verify_token", "")))
    await sandbox.callbacks.shake_hands(callback)
    return callback


def _check_pin(pin: Any) -> None:
    if not (isinstance(pin, str) and len(pin) == 6 and pin.isdigit()):
        raise invalid("Param pin must be 6 digits.")
