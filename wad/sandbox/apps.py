"""The app's own routes: where its webhooks go, what a token is good for, and files for samples and profiles."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.accounts import override
from wad.sandbox.errors import GraphError, invalid, required
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.shape import only

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def app_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("app", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<app_id>/subscriptions", ["POST"])
    async def subscriptions(app_id: str) -> Response:
        body = await parameters()

        async def subscribe() -> Answer:
            app = network.apps.get(app_id)
            if app is None or body.get("access_token") != f"{app_id}|{app.app_secret}":
                raise GraphError(190)
            only(body, ("object", "callback_url", "verify_token", "fields", "include_values"))
            if body.get("object") != "whatsapp_business_account":
                raise invalid("Param object must be one of {WHATSAPP_BUSINESS_ACCOUNT}.")
            asked = {
                "override_callback_uri": body.get("callback_url"),
                "verify_token": body.get("verify_token"),
            }
            callback = await override(sandbox, asked)
            app.callback_url = callback.url if callback is not None else None
            return {"success": True}

        return await graph.perform("subscription", None, subscribe)

    @both(routes, "/debug_token", ["GET"])
    async def debug_token() -> Response:
        body = await parameters()

        async def look() -> Answer:
            only(body, ("input_token",))
            if not body.get("input_token"):
                raise required("input_token")
            return {"data": _token(sandbox, str(body["input_token"]), str(body.get("access_token", "")))}

        return await graph.perform("token", None, look)

    @both(routes, "/app", ["GET"])
    async def own() -> Response:
        """The app whose token it is."""
        body = await parameters()

        async def look() -> Answer:
            only(body, ("fields",))
            app = network.app_of(network.numbers_of(graph.token())[0])
            return {"id": app.app_id, "name": "Sandbox app"}

        return await graph.perform("token", None, look)

    @both(routes, "/<app_id>/uploads", ["POST"])
    async def start_upload(app_id: str) -> Response:
        """A resumable upload: what a template's sample, or a profile's picture, is named by."""
        body = await parameters()

        async def start() -> Answer:
            graph.token()
            only(body, ("file_name", "file_length", "file_type"))
            for name in ("file_length", "file_type"):
                if name not in body:
                    raise required(name)
            if app_id not in network.apps or not str(body["file_length"]).isdigit():
                raise invalid("Param file_length must be an integer.")
            return {"id": f"upload:{secrets.token_urlsafe(24)}"}

        return await graph.perform("upload", None, start)

    @both(routes, "/upload:<_>", ["POST"])
    async def upload(_: str) -> Response:
        async def store() -> Answer:
            graph.token()
            if request.headers.get("file_offset") is None:
                raise required("file_offset")
            if not await request.get_data():
                raise invalid("The upload is empty.")
            handle = f"4::{secrets.token_urlsafe(32)}"
            network.handles.add(handle)
            return {"h": handle}

        return await graph.perform("upload", None, store)

    return routes


def _token(sandbox: Sandbox, token: str, asking: str) -> Answer:
    """What `debug_token` says of *token* to an app that shows its own secret."""
    network = sandbox.network
    app_id, _, secret = asking.partition("|")
    app = network.apps.get(app_id)
    if app is None or secret != app.app_secret:
        raise GraphError(190)
    numbers = network.numbers_of(token)
    if not numbers or numbers[0].app_id != app_id:
        error = {"code": 190, "message": "The access token could not be decrypted", "subcode": 0}
        return {"app_id": app_id, "is_valid": False, "scopes": [], "error": error}
    scopes = ["whatsapp_business_management", "whatsapp_business_messaging"]
    targets = sorted({number.waba_id for number in numbers})
    return {
        "app_id": app_id,
        "type": "SYSTEM_USER",
        "application": "Sandbox app",
        "is_valid": True,
        "expires_at": 0,
        "data_access_expires_at": 0,
        "scopes": scopes,
        "granular_scopes": [{"scope": scope, "target_ids": targets} for scope in scopes],
    }
