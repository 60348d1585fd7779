"""The control API's other half: fault scripts, statuses and events by hand, and webhooks held, released, replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio
from quart import Blueprint, Response, request

from wad.sandbox.bodies import Body, body, control_blueprint
from wad.sandbox.envelope import Signature
from wad.sandbox.errors import GraphError
from wad.sandbox.faults import Script
from wad.sandbox.graph import answered
from wad.sandbox.inbound import Person
from wad.sandbox.network import Message
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.webhooks import Order

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


class Failure(Body, frozen=True):
    code: int
    details: str | None = None


class StatusSpec(Body, frozen=True):
    """A status that did not come by itself. For a message the network does not know, say whose and to whom."""

    wamid: str
    status: str
    error: Failure | None = None
    timestamp: float | None = None
    phone_number_id: str | None = None
    to: Person | None = None
    callback_data: str | None = None


class EventSpec(Body, frozen=True):
    field: str
    value: dict[str, Any]
    phone_number_id: str | None = None


class RawSpec(Body, frozen=True):
    """Any bytes at all to a number's callback, once and without a retry."""

    body: Any = None  # JSON
    text: str | None = None  # in place of it: the bytes as they are
    signature: Signature = "right"
    phone_number_id: str | None = None


class ReleaseSpec(Body, frozen=True):
    order: Order = "as_is"
    batch: int = 1
    copies: int = 1


class ReplaySpec(Body, frozen=True):
    event_ids: list[str] | None = None
    last: int | None = None
    order: Order = "as_is"
    batch: int = 1


class SettleSpec(Body, frozen=True):
    seconds: float = 30.0


def scripting_routes(sandbox: Sandbox) -> Blueprint:
    routes = control_blueprint("scripting")
    network = sandbox.network

    # --- statuses and other events by hand --------------------------------------------------------

    @routes.post("/status")
    async def inject_status() -> Response:
        spec = await body(StatusSpec)
        record = sandbox.twilio.accounts.records.get(spec.wamid)
        if record is not None:
            failure = TwilioError(spec.error.code, spec.error.details) if spec.error is not None else None
            return answered(
                200, {"eventId": sandbox.twilio.traffic.status(record, spec.status, error=failure)}
            )
        message = network.messages.get(spec.wamid)
        if message is None:
            if spec.to is None:
                raise ValueError(
                    f"no such message: {spec.wamid}; say `to` and `phoneNumberId` to make one up"
                )
            message = Message(
                wamid=spec.wamid,
                direction="out",
                phone_number_id=sandbox.number(spec.phone_number_id).phone_number_id,
                chat=sandbox.person(spec.to).user_id,
                type="text",
                content={},
                at=network.now(),
                callback_data=spec.callback_data,
            )
        error = GraphError(spec.error.code, spec.error.details) if spec.error is not None else None
        event_id = sandbox.traffic.status(
            network.numbers[message.phone_number_id],
            message,
            spec.status,
            at=spec.timestamp,
            group=network.groups.get(message.chat),
            error=error,
        )
        return answered(200, {"eventId": event_id})

    @routes.post("/event")
    async def inject_event() -> Response:
        spec = await body(EventSpec)
        number = sandbox.number(spec.phone_number_id)
        return answered(200, {"eventId": sandbox.traffic.account_event(number, spec.field, spec.value)})

    @routes.post("/raw")
    async def post_raw() -> Response:
        spec = await body(RawSpec)
        number = sandbox.number(spec.phone_number_id)
        return answered(200, await sandbox.webhooks.post_raw(number, spec.body, spec.text, spec.signature))

    # --- faults and webhooks ----------------------------------------------------------------------

    @routes.route("/faults", methods=["GET", "POST", "DELETE"])
    async def faults() -> Response:
        match request.method:
            case "POST":
                script = sandbox.faults.add(await body(Script))
                return answered(201, msgspec.to_builtins(script))
            case "DELETE":
                sandbox.faults.clear()
        return answered(200, {"faults": [msgspec.to_builtins(script) for script in sandbox.faults]})

    @routes.delete("/faults/<script_id>")
    async def remove_fault(script_id: str) -> Response:
        return answered(200, {"removed": sandbox.faults.remove(script_id)})

    @routes.post("/webhooks/hold")
    async def hold() -> Response:
        sandbox.webhooks.held = sandbox.twilio.webhooks.held = True
        return answered(200, {"held": True})

    @routes.post("/webhooks/release")
    async def release() -> Response:
        spec = await body(ReleaseSpec)
        deliveries = await sandbox.webhooks.release(order=spec.order, batch=spec.batch, copies=spec.copies)
        deliveries += await sandbox.twilio.webhooks.release(order=spec.order, copies=spec.copies)
        return answered(200, {"deliveries": deliveries})

    @routes.post("/webhooks/replay")
    async def replay() -> Response:
        spec = await body(ReplaySpec)
        told_by_twilio, ids = sandbox.twilio.webhooks.knows, spec.event_ids
        deliveries = await sandbox.webhooks.replay(
            None if ids is None else [each for each in ids if not told_by_twilio(each)],
            last=spec.last,
            order=spec.order,
            batch=spec.batch,
        )
        deliveries += await sandbox.twilio.webhooks.replay(ids, last=spec.last, order=spec.order)
        return answered(200, {"deliveries": deliveries})

    @routes.post("/settle")
    async def settle() -> Response:
        """Wait until no status, webhook or retry is still to come."""
        with trio.move_on_after((await body(SettleSpec)).seconds):
            await sandbox.settled()
        counts = sandbox.counts
        return answered(200, {"settled": not any(counts.values()), **counts})

    return routes
