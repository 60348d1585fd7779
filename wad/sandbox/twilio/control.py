"""The control API under `/_sandbox/twilio`: put senders, and call their webhooks with anything at all.

Customers, their messages, faults and the ledger are those of the whole sandbox: a sender is one more number there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from wad.sandbox.bodies import Body, body, control_blueprint
from wad.sandbox.graph import answered
from wad.sandbox.twilio.accounts import SenderSpec
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.poster import Signature

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


class RawSpec(Body, frozen=True):
    """Any parameters, or any JSON, to the sender's webhook or to another URL, once and without a retry."""

    phone_number_id: str
    params: dict[str, str] | None = None
    json: Any = None
    url: str | None = None
    signature: Signature = "right"


def twilio_routes(sandbox: Sandbox) -> Blueprint:
    routes = control_blueprint("twilio_control")
    twilio = sandbox.twilio

    @routes.errorhandler(TwilioError)
    async def refused(error: TwilioError) -> Response:
        return answered(400, {"error": error.message})

    @routes.get("/twilio")
    async def state() -> Response:
        return answered(
            200,
            {
                "senders": described(sandbox),
                "templates": [
                    template.described(account.sid) | {"approval": template.approval}
                    for account in twilio.accounts.by_sid.values()
                    for template in account.templates.values()
                ],
            },
        )

    @routes.post("/twilio/senders")
    async def sender() -> Response:
        spec = await body(SenderSpec)
        new = twilio.sender(spec.number) is None
        made = twilio.put(spec)
        if sandbox.feed.watched:
            sandbox.feed.tell({"event": "numbers"})
        return answered(201 if new else 200, twilio.accounts.described(made))

    @routes.post("/twilio/raw")
    async def raw() -> Response:
        spec = await body(RawSpec)
        found = twilio.sender(spec.phone_number_id)
        if found is None:
            raise ValueError(f"no such sender: {spec.phone_number_id}")
        url = spec.url or found.webhook_url
        if url is None:
            raise ValueError(f"sender {found.address} has no webhook URL")
        sandbox.callbacks.check(url)
        return answered(200, await twilio.poster.post_raw(found, url, spec.params, spec.json, spec.signature))

    return routes


def described(sandbox: Sandbox) -> list[dict[str, Any]]:
    accounts = sandbox.twilio.accounts
    return [accounts.described(sender) for sender in accounts.senders.values()]
