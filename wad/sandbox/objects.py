"""Objects by id, `/{id}`: a number, a media file, a group, an account or a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox import authoring
from wad.sandbox.accounts import account_of, override
from wad.sandbox.errors import unknown_object
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.groups import group_object
from wad.sandbox.listing import fields
from wad.sandbox.media import Media
from wad.sandbox.messaging import media_info
from wad.sandbox.network import Account, Network, Number
from wad.sandbox.numbers import set_pin
from wad.sandbox.records import (
    ACCOUNT,
    ACCOUNT_FIELDS,
    NUMBER,
    NUMBER_FIELDS,
    TEMPLATE,
    TEMPLATE_FIELDS,
    account_record,
    number_record,
    template_record,
)
from wad.sandbox.shape import only
from wad.sandbox.templates import Template

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def object_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("objects", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<object_id>", ["GET", "POST", "DELETE"])
    async def one(object_id: str) -> Response:
        body = await parameters()
        method = request.method

        async def touch() -> Answer:
            if object_id in network.media:
                return _media(sandbox, graph.token(), network.media[object_id], body)
            if object_id in network.groups:
                group = network.groups[object_id]
                number = graph.number(group.phone_number_id)
                return await group_object(sandbox, number, group, body, method)
            if object_id in network.accounts:
                account = account_of(graph, object_id)
                if method != "GET":
                    raise unknown_object(object_id, method)
                only(body, ("fields",))
                return fields(account_record(account), body, ACCOUNT_FIELDS, ACCOUNT)
            found = _template_of(graph, object_id)
            if found is not None:
                return _template(sandbox, *found, body)
            return await _number(sandbox, graph.number(object_id), body)

        operation, owner = _operation(network, object_id, method)
        return await graph.perform(operation, owner, touch)

    return routes


def _operation(network: Network, object_id: str, method: str) -> tuple[str, str | None]:
    """What the call is to fault scripts and in the ledger, and the number that it is about."""
    if object_id in network.media:
        kind = "media.delete" if method == "DELETE" else "media.url"
        return kind, network.media[object_id].phone_number_id
    if object_id in network.groups:
        return "group", network.groups[object_id].phone_number_id
    if object_id in network.accounts:
        return "account", None
    templates = (template for account in network.accounts.values() for template in account.templates.values())
    if any(template.template_id == object_id for template in templates):
        return "template", None
    return "number", object_id


def _media(sandbox: Sandbox, token: str, media: Media, body: Answer) -> Answer:
    only(body, ("phone_number_id",))
    network = sandbox.network
    owner = network.numbers.get(media.phone_number_id)
    if owner is None:  # it is a sender's of Twilio's
        raise unknown_object(media.media_id, request.method)
    said = body.get("phone_number_id", owner.phone_number_id)
    if token not in owner.access_tokens or said != owner.phone_number_id or media.expires <= network.now():
        raise unknown_object(media.media_id, request.method)
    if request.method == "DELETE":
        del network.media[media.media_id]
        return {"success": True}
    return media_info(sandbox, media, request.host_url.rstrip("/"))


def _template(sandbox: Sandbox, account: Account, template: Template, body: Answer) -> Answer:
    match request.method:
        case "GET":
            only(body, ("fields",))
            return fields(template_record(account, template), body, TEMPLATE_FIELDS, TEMPLATE)
        case "POST":
            authoring.change(template, body, sandbox.network.now())
            sandbox.review.ask(account, template)
            return {"success": True, "id": template.template_id, "category": template.category}
        case _:
            raise unknown_object(template.template_id, request.method)


async def _number(sandbox: Sandbox, number: Number, body: Answer) -> Answer:
    match request.method:
        case "GET":
            only(body, ("fields",))
            return fields(number_record(sandbox.network, number), body, NUMBER_FIELDS, NUMBER)
        case "POST" if "webhook_configuration" in body:
            only(body, ("webhook_configuration",))
            number.override = await override(sandbox, body["webhook_configuration"])
            return {"success": True}
        case "POST" if "pin" in body:
            only(body, ("pin",))
            set_pin(sandbox, number, body["pin"])
            return {"success": True}
        case _:
            raise unknown_object(number.phone_number_id, request.method)


def _template_of(graph: Graph, template_id: str) -> tuple[Account, Template] | None:
    """The template of that id, and its account, if the caller's token may act for it."""
    for waba_id in {number.waba_id for number in graph.network.numbers_of(graph.token())}:
        account = graph.network.accounts[waba_id]
        for template in account.templates.values():
            if template.template_id == template_id:
                return account, template
    return None
