"""The account's own routes, `/{WABA}/...`: its numbers, its templates, and who is subscribed to its events."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response, request

from wad.sandbox import authoring
from wad.sandbox.errors import invalid, required, unknown_object
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.ids import digits_of, is_plausible
from wad.sandbox.listing import LISTING, fields, paged
from wad.sandbox.network import Account, Callback, Number
from wad.sandbox.records import (
    NUMBER,
    NUMBER_FIELDS,
    TEMPLATE,
    TEMPLATE_FIELDS,
    number_record,
    template_record,
)
from wad.sandbox.shape import only, string

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

OVERRIDE: Final = ("override_callback_uri", "verify_token")
_FILTERS: Final = ("status", "category", "language")


def account_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("account", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<waba_id>/phone_numbers", ["GET", "POST"])
    async def phone_numbers(waba_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            account = account_of(graph, waba_id)
            if request.method == "POST":
                return {"id": _add_number(sandbox, account, body).phone_number_id}
            only(body, LISTING)
            listed = [
                fields(number_record(network, number), body, NUMBER_FIELDS, NUMBER)
                for number in network.numbers_of(graph.token())
                if number.waba_id == waba_id and not number.deleted
            ]
            page, paging = paged(listed, body)
            return {"data": page, **paging}

        return await graph.perform("numbers", None, touch)

    @both(routes, "/<waba_id>/subscribed_apps", ["GET", "POST", "DELETE"])
    async def subscribed_apps(waba_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            account = account_of(graph, waba_id)
            match request.method:
                case "GET":
                    app = network.app_of(network.numbers_of(graph.token())[0])
                    entry: Answer = {
                        "whatsapp_business_api_data": {"id": app.app_id, "name": "Sandbox app", "link": ""}
                    }
                    if account.override is not None:
                        entry["override_callback_uri"] = account.override.url
                    return {"data": [entry] if account.subscribed else []}
                case "POST":
                    # Subscribing again with nothing to say takes the override away.
                    account.override = await override(sandbox, body)
                    account.subscribed = True
                case _:
                    account.subscribed = False
            return {"success": True}

        return await graph.perform("subscription", None, touch)

    @both(routes, "/<waba_id>/message_templates", ["GET", "POST", "DELETE"])
    async def message_templates(waba_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            account = account_of(graph, waba_id)
            match request.method:
                case "GET":
                    return _listed(account, body)
                case "POST":
                    template = authoring.new_template(account, body, network.now())
                    sandbox.review.ask(account, template)
                    return {
                        "id": template.template_id,
                        "status": template.status,
                        "category": template.category,
                    }
                case _:
                    authoring.delete(account, body, network.now())
                    return {"success": True}

        return await graph.perform("templates", None, touch)

    return routes


def account_of(graph: Graph, waba_id: str) -> Account:
    """The account, if the caller's token may act for one of its numbers."""
    token = graph.token()
    if not any(number.waba_id == waba_id for number in graph.network.numbers_of(token)):
        raise unknown_object(waba_id, request.method)
    return graph.network.accounts[waba_id]


async def override(sandbox: Sandbox, wanted: Any) -> Callback | None:
    """The callback that is asked for, once it has shaken hands; none where an empty one takes it away."""
    if not isinstance(wanted, dict):
        raise invalid("Param webhook_configuration must be a JSON object.")
    only(wanted, OVERRIDE)
    url = wanted.get("override_callback_uri")
    if not url:
        return None
    if len(string(url, "override_callback_uri")) > 200:
        raise invalid("Param override_callback_uri must be at most 200 characters long.")
    if not wanted.get("verify_token"):
        raise required("verify_token")
    callback = Callback(url, string(wanted["verify_token"], "verify_token"))
    await sandbox.callbacks.shake_hands(callback)
    return callback


def _add_number(sandbox: Sandbox, account: Account, body: Answer) -> Number:
    """A number that nobody has shown to be theirs yet: its code has to be asked for, and verified."""
    network = sandbox.network
    only(body, ("cc", "country_code", "phone_number", "verified_name"))
    code = str(body.get("cc") or body.get("country_code") or "")
    phone = str(body.get("phone_number") or "")
    for name, value in (("cc", code), ("phone_number", phone), ("verified_name", body.get("verified_name"))):
        if not value:
            raise required(name)
    if not 3 <= len(string(body["verified_name"], "verified_name")) <= 75:
        raise invalid("Param verified_name must be between 3 and 75 characters long.")
    digits = code + digits_of(phone)
    if not digits.isdigit() or not is_plausible(digits):
        raise invalid("Param phone_number is not a phone number of that country.")
    if any(number.digits == digits and not number.deleted for number in network.numbers.values()):
        raise invalid("The phone number is already in use by a WhatsApp Business Account.")
    sibling = network.numbers_in(account.waba_id)[0]
    number = Number(
        phone_number_id=str(10**14 + secrets.randbelow(9 * 10**14)),
        waba_id=account.waba_id,
        app_id=sibling.app_id,
        display_phone_number=f"+{code} {digits_of(phone)}",
        country_code=code,
        verified_name=body["verified_name"],
        registered=False,
        verified=False,
        official=False,
        quality="UNKNOWN",
    )
    network.numbers[number.phone_number_id] = number
    network.grant(number, set().union(*(each.access_tokens for each in network.numbers_in(account.waba_id))))
    sandbox.feed.tell({"event": "numbers"})
    return number


def _listed(account: Account, body: Answer) -> Answer:
    only(body, (*LISTING, *_FILTERS, "name"))
    records = [template_record(account, template) for template in account.templates.values()]
    listed = [
        fields(record, body, TEMPLATE_FIELDS, TEMPLATE)
        for record in records
        if all(body.get(name, record[name]) == record[name] for name in _FILTERS)
        and record["name"].startswith(body.get("name", ""))  # "of that name" finds longer ones too
    ]
    page, paging = paged(listed, body)
    return {"data": page, **paging}
