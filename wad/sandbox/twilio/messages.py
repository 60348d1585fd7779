"""An account's messages: sent, listed, fetched and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError
from wad.sandbox.twilio.accounts import PREFIX
from wad.sandbox.twilio.api import Answer, Api, nothing, pairs
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.resources import API, listed, message_resource
from wad.sandbox.twilio.statuses import callback_data
from wad.sandbox.twilio.validate import check_send, type_of

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


def message_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("twilio_messages", __name__, url_prefix=f"/{API}/Accounts/<account_sid>")
    api = Api(sandbox)
    twilio = sandbox.twilio

    @routes.post("/Messages.json")
    async def send(account_sid: str) -> Response:
        form = dict(await request.form)
        to, callback, service_sid = (
            form.get(name) for name in ("To", "StatusCallback", "MessagingServiceSid")
        )
        number_id = form.get("From") or next(iter(_addresses(account_sid, service_sid)), None)
        type_ = type_of(form)
        who = [] if to is None else [to, to.removeprefix(PREFIX).removeprefix("+")]
        fault = sandbox.faults.for_request("messages", number_id, who, type_)

        async def take() -> tuple[int, Answer]:
            account = api.account(account_sid)
            checked = check_send(await pairs())
            if checked.status_callback is not None:
                _check_callback(checked.status_callback)
            return 201, message_resource(await twilio.traffic.send(account, checked, fault))

        about = {"to": to, "type": type_, "callbackData": callback_data(callback)}
        return await api.perform_under(fault, "messages", number_id, take, about)

    def _addresses(account_sid: str, service_sid: str | None) -> list[str]:
        account = twilio.accounts.by_sid.get(account_sid)
        return account.services.get(service_sid or "", []) if account is not None else []

    def _check_callback(url: str) -> None:
        try:
            sandbox.callbacks.check(url.partition("#")[0])
        except GraphError as error:
            raise TwilioError(
                21609, f"The 'StatusCallback' URL is not a valid URL: {error.message}"
            ) from None

    @routes.get("/Messages.json")
    async def find(account_sid: str) -> Response:
        async def read() -> tuple[int, Answer]:
            return 200, listed(api.account(account_sid), dict(request.args))

        return await api.perform("list", account_sid, read)

    @routes.route("/Messages/<sid>.json", methods=["GET", "DELETE"])
    async def one(account_sid: str, sid: str) -> Response:
        async def touch() -> tuple[int, Answer] | Response:
            record = api.record(api.account(account_sid), sid)
            if request.method == "DELETE":
                twilio.accounts.forget(record)
                return nothing()
            return 200, message_resource(record)

        return await api.perform("message", account_sid, touch)

    return routes
