"""The account itself, and what other hosts of Twilio's serve: the typing indicator, and content templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.twilio.api import Answer, Api, pairs
from wad.sandbox.twilio.errors import TwilioError, parameter
from wad.sandbox.twilio.resources import API, account_resource

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def other_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("twilio_others", __name__)
    api = Api(sandbox)

    @routes.get(f"/{API}/Accounts/<account_sid>.json")
    async def account(account_sid: str) -> Response:
        async def read() -> tuple[int, Answer]:
            return 200, account_resource(api.account(account_sid))

        return await api.perform("account", account_sid, read)

    @routes.post("/v2/Indicators/Typing.json")
    async def typing() -> Response:
        async def show() -> tuple[int, Answer]:
            owner = api.account()
            form = dict(await pairs())
            for name in form:
                if name not in ("channel", "messageId"):
                    raise parameter(f"{name} is not a parameter of this resource")
            if form.get("channel") != "whatsapp":
                raise parameter("channel must be whatsapp")
            record = owner.records.get(form.get("messageId", ""))
            if record is None or not record.inbound:
                raise parameter("messageId is not a message of a customer's")
            sandbox.twilio.traffic.mark_read(record)
            return 200, {"success": True}

        return await api.perform("read", None, show, newer=True)

    @routes.get("/v1/Content")
    async def contents() -> Response:
        async def read() -> tuple[int, Answer]:
            owner = api.account()
            found = [template.described(owner.sid) for template in owner.templates.values()]
            url = f"{request.host_url.rstrip('/')}/v1/Content?PageSize=50&Page=0"
            meta = {"key": "contents", "page": 0, "page_size": 50, "url": url, "first_page_url": url}
            return 200, {
                "contents": found,
                "meta": {**meta, "next_page_url": None, "previous_page_url": None},
            }

        return await api.perform("content", None, read, newer=True)

    @routes.get("/v1/Content/<sid>")
    async def content(sid: str) -> Response:
        async def read() -> tuple[int, Answer]:
            owner = api.account()
            if sid not in owner.templates:
                raise TwilioError(20404, f"The requested resource {request.path} was not found")
            return 200, owner.templates[sid].described(owner.sid)

        return await api.perform("content", None, read, newer=True)

    return routes
