"""The account's own routes, `/{WABA}/...`: its numbers, its templates, and who is subscribed to its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError, invalid
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.listing import fields, paged
from wad.sandbox.objects import NUMBER_DEFAULT, account_of, number_fields, override
from wad.sandbox.templates import new_template

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def account_routes(sandbox: Sandbox) -> Blueprint:  # noqa: PLR0915  a list of routes
    """`/{WABA}/...` and the app's own subscription."""
    routes = Blueprint("account", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<waba_id>/phone_numbers", ["GET"])
    async def phone_numbers(waba_id: str) -> Response:
        body = await parameters()

        async def read() -> Answer:
            token = graph.token()
            account_of(graph, waba_id)
            listed = [
                fields(number_fields(sandbox, number), body, NUMBER_DEFAULT, "WhatsAppBusinessPhoneNumber")
                for number in network.numbers_of(token)
                if number.waba_id == waba_id and not number.deleted
            ]
            page, paging = paged(listed, body)
            return {"data": page, **paging}

        return await graph.perform("account", None, read)

    @both(routes, "/<waba_id>/subscribed_apps", ["GET", "POST", "DELETE"])
    async def subscribed_apps(waba_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            account = account_of(graph, waba_id)
            match request.method:
                case "GET":
                    app = network.app_of(graph.network.numbers_of(graph.token())[0])
                    entry: Answer = {
                        "whatsapp_business_api_data": {"id": app.app_id, "name": "Sandbox app", "link": ""}
                    }
                    if account.override is not None:
                        entry["override_callback_uri"] = account.override.url
                    return {"data": [entry] if account.subscribed else []}
                case "POST":
                    account.override = await override(sandbox, body)
                    account.subscribed = True
                case _:
                    account.subscribed = False
            return {"success": True}

        return await graph.perform("account", None, touch)

    @both(routes, "/<waba_id>/message_templates", ["GET", "POST", "DELETE"])
    async def message_templates(waba_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            account = account_of(graph, waba_id)
            match request.method:
                case "GET":
                    described = [template.described() for template in account.templates.values()]
                    listed = [
                        fields(template, body, tuple(template), "MessageTemplate")
                        for template in described
                        if body.get("name", template["name"]) == template["name"]
                        and body.get("status", template["status"]) == template["status"]
                    ]
                    page, paging = paged(listed, body)
                    return {"data": page, **paging}
                case "POST":
                    template = new_template(body)
                    account.templates[template.name, template.language] = template
                    return {
                        "id": template.template_id,
                        "status": template.status,
                        "category": template.category,
                    }
                case _:
                    gone = [key for key in account.templates if key[0] == body.get("name")]
                    if not gone:
                        raise invalid("Message template was not found.")
                    for key in gone:
                        del account.templates[key]
                    return {"success": True}

        return await graph.perform("account", None, touch)

    @both(routes, "/<app_id>/subscriptions", ["POST"])
    async def subscriptions(app_id: str) -> Response:
        body = await parameters()

        async def subscribe() -> Answer:
            app = network.apps.get(app_id)
            if app is None or body.get("access_token") != f"{app_id}|{app.app_secret}":
                raise GraphError(190)
            callback = await override(
                sandbox,
                {
                    "override_callback_uri": body.get("callback_url"),
                    "verify_token": body.get("verify_token"),
                },
            )
            app.callback_url = callback.url if callback is not None else None
            return {"success": True}

        return await graph.perform("account", None, subscribe)

    return routes
