"""What is done to a number before it can send (its code, its pin, its registration), and how it presents itself."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError, invalid, required
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.network import Number
from wad.sandbox.shape import items, known, link, obj, one_of, only, string
from wad.sandbox.validate import wrong_product

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

_CHANGES: Final = 10  # registrations in 72 hours; deregistrations are counted by themselves
_CHANGES_IN: Final = 72 * 3600.0

#: The fields of a profile, and how long each may be.
_PROFILE: Final = {"about": 139, "address": 256, "description": 512, "email": 128}
_VERTICALS: Final = {
    *("OTHER", "AUTO", "BEAUTY", "APPAREL", "EDU", "ENTERTAIN", "EVENT_PLAN", "FINANCE", "GROCERY", "GOVT"),
    *("HOTEL", "HEALTH", "NONPROFIT", "PROF_SERVICES", "RETAIL", "TRAVEL", "RESTAURANT", "ALCOHOL"),
    *("ONLINE_GAMBLING", "PHYSICAL_GAMBLING", "OTC_DRUGS", "NOT_A_BIZ", "UNDEFINED"),
}
_PROFILE_FIELDS: Final = (*_PROFILE, "profile_picture_url", "websites", "vertical", "messaging_product")
_SETTINGS: Final = {"user_identity_change", "calling", "storage_configuration", "payload_encryption"}


def number_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("numbers", __name__)
    graph = Graph(sandbox)

    @both(routes, "/<number_id>/<any(register, deregister, request_code, verify_code):action>", ["POST"])
    async def registration(number_id: str, action: str) -> Response:
        body = await parameters()

        async def change() -> Answer:
            number = graph.number(number_id)
            match action:
                case "request_code":
                    _ask_code(number, body)
                case "verify_code":
                    _verify_code(number, body)
                case "register":
                    _register(sandbox, number, body)
                case _:
                    only(body, ())
                    _count(sandbox, number, "deregister")
                    number.registered = False
            return {"success": True}

        return await graph.perform("registration", number_id, change)

    @both(routes, "/<number_id>/settings", ["GET", "POST"])
    async def settings(number_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            number = graph.number(number_id)
            if request.method == "GET":
                only(body, ("fields",))
                return {
                    "user_identity_change": {"enable_identity_key_check": False},
                    "storage_configuration": {"status": "DEFAULT"},
                    **number.settings,
                }
            only(body, _SETTINGS)
            for name, value in body.items():
                obj(value, name)
            check = body.get("user_identity_change", {})
            known(check, {"enable_identity_key_check"}, "user_identity_change")
            if not isinstance(check.get("enable_identity_key_check", False), bool):
                raise invalid("Param user_identity_change['enable_identity_key_check'] must be a boolean.")
            number.settings |= body
            return {"success": True}

        return await graph.perform("settings", number_id, touch)

    @both(routes, "/<number_id>/whatsapp_business_profile", ["GET", "POST"])
    async def profile(number_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            number = graph.number(number_id)
            if request.method == "GET":
                return {"data": [_profile(number, body)]}
            _change_profile(sandbox, number, body)
            return {"success": True}

        return await graph.perform("profile", number_id, touch)

    return routes


# --- registration -----------------------------------------------------------------------------------


def _ask_code(number: Number, body: Answer) -> None:
    """A code goes to the phone: whoever holds it here reads it in `/_sandbox/state`."""
    only(body, ("code_method", "language"))
    for name in ("code_method", "language"):
        if name not in body:
            raise required(name)
    one_of(body["code_method"], {"SMS", "VOICE"}, "code_method")
    if number.verified:
        raise GraphError(136024, "The phone number is verified already.")
    number.code = f"{secrets.randbelow(10**6):06}"


def _verify_code(number: Number, body: Answer) -> None:
    only(body, ("code",))
    code = str(body.get("code", "")).replace("-", "")
    if not code:
        raise required("code")
    if number.code is None or code != number.code:
        raise GraphError(136025)
    number.verified, number.code = True, None


def _register(sandbox: Sandbox, number: Number, body: Answer) -> None:
    """With the pin it has, if it has one; the pin that is given is its own from then on."""
    if body.get("messaging_product") != "whatsapp":
        raise wrong_product(body.get("messaging_product"))
    only(body, ("messaging_product", "pin", "data_localization_region"))
    pin = _checked_pin(body.get("pin"))
    region = body.get("data_localization_region")
    if region is not None and not re.fullmatch(r"[A-Z]{2}", str(region)):
        raise invalid("Param data_localization_region must be a country code of two letters.")
    _count(sandbox, number, "register")
    if not number.verified:
        raise GraphError(133006)
    if number.pin is not None and pin != number.pin:
        raise GraphError(133005)
    number.registered, number.pin = True, pin


def _count(sandbox: Sandbox, number: Number, change: str) -> None:
    now = sandbox.network.now()
    made = [at for at in number.changes.get(change, ()) if at > now - _CHANGES_IN]
    if len(made) >= _CHANGES:
        raise GraphError(133016)
    number.changes[change] = [*made, now]


def set_pin(sandbox: Sandbox, number: Number, pin: Any) -> None:
    """Two-step verification from now on by this pin; the account is told that somebody has set it."""
    number.pin = _checked_pin(pin)
    value = {
        "display_phone_number": number.digits,
        "event": "PIN_CHANGED",
        "requester": sandbox.network.app_of(number).app_id,
    }
    sandbox.traffic.account_event(number, "security", value)


def _checked_pin(pin: Any) -> str:
    if not (isinstance(pin, str) and len(pin) == 6 and pin.isdigit()):
        raise invalid("Param pin must be 6 digits.")
    return pin


# --- how it presents itself -------------------------------------------------------------------------


def _profile(number: Number, body: Answer) -> Answer:
    only(body, ("fields",))
    known_fields = {"messaging_product": "whatsapp", **number.profile}
    if not body.get("fields"):
        return {"messaging_product": "whatsapp"}
    names = [name.strip() for name in str(body["fields"]).split(",")]
    for name in names:
        if name not in _PROFILE_FIELDS:
            raise invalid(
                f"Tried accessing nonexisting field ({name}) on node type (WhatsAppBusinessProfile)"
            )
    return {name: known_fields[name] for name in (*names, "messaging_product") if name in known_fields}


def _change_profile(sandbox: Sandbox, number: Number, body: Answer) -> None:
    if body.get("messaging_product") != "whatsapp":
        raise wrong_product(body.get("messaging_product"))
    only(body, (*_PROFILE, "messaging_product", "websites", "vertical", "profile_picture_handle"))
    said = {name: value for name, value in body.items() if name not in ("messaging_product", "access_token")}
    for name, longest in _PROFILE.items():
        if len(string(said.get(name, ""), name)) > longest:
            raise invalid(f"Param {name} must be at most {longest} characters long.")
    if "about" in said and not said["about"]:
        raise invalid("Param about must not be empty.")
    if "vertical" in said:
        one_of(said["vertical"], _VERTICALS, "vertical")
    websites = items(said.get("websites", []), "websites")
    if len(websites) > 2 or any(len(link(site, "websites")) > 256 for site in websites):
        raise invalid("Param websites must have at most 2 entries, of at most 256 characters.")
    handle = said.pop("profile_picture_handle", None)
    if handle is not None:
        if string(handle, "profile_picture_handle") not in sandbox.network.handles:
            raise invalid("Param profile_picture_handle is not the handle of an upload.")
        said["profile_picture_url"] = f"https://pps.whatsapp.net/v/{number.phone_number_id}.jpg"
    number.profile |= said
