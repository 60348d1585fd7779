"""The control API under `/_sandbox`: make numbers and people, let customers act, read the ledger.

Bodies are camelCase JSON and checked strictly: what is wrong is answered 400 with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec
from quart import Blueprint, Response, request

from wad.sandbox.access import access
from wad.sandbox.bodies import Body, body, control_blueprint, convert
from wad.sandbox.dialog360 import PREFIX
from wad.sandbox.graph import answered
from wad.sandbox.inbound import Inbound, Person, Press, press, receive, store
from wad.sandbox.media import kind_of
from wad.sandbox.network import Customer, Group, Message, Number
from wad.sandbox.provision import NumberSpec, put_number
from wad.sandbox.settings import Settings
from wad.sandbox.traffic import shown
from wad.sandbox.twilio.control import described as described_senders

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


class CustomerSpec(Person, kw_only=True):
    windows: dict[str, Literal["open", "closed"]] = msgspec.field(default_factory=dict)  # by phone number id


class GroupSpec(Body, frozen=True):
    subject: str
    members: list[Person]
    phone_number_id: str | None = None
    description: str = ""
    group_id: str | None = None


class ClockSpec(Body, frozen=True):
    advance: float


_TOP: Final = (
    "kind",
    "phoneNumberId",
    "wamid",
    "callbackData",
    "status",
    "operation",
    "event",
    "code",
    "type",
    *("account", "direction", "chat", "id", "phone"),  # of WhatsApp Web
)


def control_routes(sandbox: Sandbox) -> Blueprint:  # noqa: PLR0915  a list of routes, each a few lines
    routes = control_blueprint("control")
    network = sandbox.network

    # --- the world --------------------------------------------------------------------------------

    @routes.get("/state")
    async def state() -> Response:
        return answered(
            200,
            {
                "numbers": [described(sandbox, number) for number in network.numbers.values()],
                "senders": described_senders(sandbox),
                "customers": [person(customer) for customer in network.customers.values()],
                "groups": [group_described(group) for group in network.groups.values()],
                "access": access(sandbox, request.host_url.rstrip("/")),
                "settings": msgspec.to_builtins(sandbox.settings),
                "faults": [msgspec.to_builtins(script) for script in sandbox.faults],
                "webhooks": {**sandbox.counts, "held": sandbox.webhooks.held},
                "web": sandbox.web and sandbox.web.described(),
                "ledger": sandbox.ledger.counts,
                "now": network.now(),
            },
        )

    @routes.route("/numbers", methods=["POST", "PUT"])
    async def number() -> Response:
        spec = await body(NumberSpec)
        new = spec.phone_number_id not in network.numbers
        made = put_number(network, spec)
        if spec.callback_url is not None:
            await sandbox.callbacks.put(made, spec.callback_url, verify=spec.verify)
        if sandbox.feed.watched:
            sandbox.feed.tell({"event": "numbers"})
        return answered(201 if new else 200, described(sandbox, made))

    @routes.delete("/numbers/<number_id>")
    async def delete_number(number_id: str) -> Response:
        sandbox.number(number_id).deleted = True
        return answered(200, {"deleted": True})

    @routes.post("/customers")
    async def put_customer() -> Response:
        spec = await body(CustomerSpec)
        customer = sandbox.person(spec)
        for number_id, window in spec.windows.items():
            change = network.open_window if window == "open" else network.close_window
            change(sandbox.number_id(number_id), customer.user_id)
        if sandbox.feed.watched:
            sandbox.feed.tell({"event": "customers"})
        return answered(200, person(customer))

    @routes.post("/groups")
    async def add_group() -> Response:
        spec = await body(GroupSpec)
        members = [sandbox.person(member) for member in spec.members]
        if len(members) > 8:
            raise ValueError("a group has at most 8 participants")
        group = sandbox.add_group(
            sandbox.number(spec.phone_number_id),
            spec.subject,
            members=members,
            description=spec.description,
            group_id=spec.group_id,
        )
        return answered(
            201, {"groupId": group.group_id, "inviteLink": group.invite, "members": group.members}
        )

    @routes.post("/clock")
    async def clock() -> Response:
        network.advance((await body(ClockSpec)).advance)
        return answered(200, {"now": network.now()})

    @routes.route("/settings", methods=["GET", "PATCH"])
    async def settings() -> Response:
        if request.method == "PATCH":
            changes = await body(dict[str, Any])
            sandbox.settings = convert(msgspec.to_builtins(sandbox.settings) | changes, Settings)
        return answered(200, msgspec.to_builtins(sandbox.settings))

    # --- customers act ----------------------------------------------------------------------------

    @routes.post("/inbound")
    async def inbound() -> Response:
        given = await body(Inbound)
        sender = sandbox.twilio.sender(given.phone_number_id)
        if sender is not None:
            return _written(*sandbox.twilio.receive(sender, given, request.host_url.rstrip("/")))
        return _written(*receive(sandbox, given))

    @routes.post("/press")
    async def press_button() -> Response:
        given = await body(Press)
        of_a_sender = sandbox.twilio.press(given, request.host_url.rstrip("/"))
        return _written(*(of_a_sender or press(sandbox, given)))

    @routes.post("/media")
    async def add_media() -> Response:
        """A customer's file: the body is the file, its type the `Content-Type`."""
        if kind_of(request.mimetype) is None:
            raise ValueError(f"WhatsApp does not carry files of type {request.mimetype or 'unknown'}")
        data = cast("bytes", await request.get_data(as_text=False))
        number_id = sandbox.number_id(request.args.get("phoneNumberId"))
        media = store(sandbox, number_id, request.mimetype, data, request.args.get("filename"))
        return answered(201, {"mediaId": media.media_id, "kind": kind_of(media.mime_type)})

    # --- what happened ----------------------------------------------------------------------------

    @routes.get("/ledger")
    async def ledger() -> Response:
        """The entries after `after`, filtered by any of their top-level names."""
        asked = request.args
        unknown = set(asked) - {*_TOP, "after", "limit"}
        if unknown:
            raise ValueError(f"no such filter: {', '.join(sorted(unknown))}; there are {', '.join(_TOP)}")
        fields: dict[str, Any] = {name: asked[name] for name in _TOP if name in asked and name != "kind"}
        for name in ("status", "code"):
            if fields.get(name, "").isdigit():
                fields[name] = int(fields[name])
        after, limit = int(asked.get("after", 0)), int(asked.get("limit", 100_000))
        if sandbox.web is not None:
            await sandbox.web.look()
        entries = sandbox.ledger.entries(asked.get("kind"), after=after, **fields)[:limit]
        return answered(
            200, {"entries": entries, "counts": sandbox.ledger.counts, "last": len(sandbox.ledger)}
        )

    @routes.get("/chats")
    async def chats() -> Response:
        """The conversations of one number: the last message of each, and whether its window is open."""
        number_id = sandbox.number_id(request.args.get("phoneNumberId"))
        return answered(200, {"chats": [each for each in talks() if each["phoneNumberId"] == number_id]})

    @routes.get("/conversations")
    async def conversations() -> Response:
        """The same of every number."""
        return answered(200, {"conversations": talks()})

    def talks() -> list[dict[str, Any]]:
        return [
            {
                "phoneNumberId": number_id,
                "chat": key,
                "last": shown(network.chat(number_id, key)[-1]),
                "windowOpen": network.window_is_open(number_id, key),
            }
            for number_id, key in network.chats()
        ]

    @routes.get("/chat")
    async def chat() -> Response:
        number_id = sandbox.number_id(request.args.get("phoneNumberId"))
        key = request.args.get("chat", "")
        return answered(
            200,
            {
                "messages": [shown(message) for message in network.chat(number_id, key)],
                "windowOpen": network.window_is_open(number_id, key),
            },
        )

    return routes


def _written(message: Message, event_id: str, customer: Customer) -> Response:
    return answered(
        200,
        {"wamid": message.wamid, "eventId": event_id, "userId": customer.user_id, "waId": customer.wa_id},
    )


def person(customer: Customer) -> dict[str, Any]:
    return {
        "userId": customer.user_id,
        "phone": customer.phone,
        "waId": customer.wa_id,
        "name": customer.name,
        "username": customer.username,
        "parentUserId": customer.parent_user_id,
        "onWhatsapp": customer.on_whatsapp,
        "showsPhone": customer.shows_phone,
        "identity": customer.identity,
    }


def group_described(group: Group) -> dict[str, Any]:
    return {
        "groupId": group.group_id,
        "phoneNumberId": group.phone_number_id,
        "subject": group.subject,
        "description": group.description,
        "members": group.members,
        "inviteLink": group.invite,
        "suspended": group.suspended,
    }


def described(sandbox: Sandbox, number: Number) -> dict[str, Any]:
    """A number with its credentials: it is a simulation, and whoever asks has to configure a gateway with them."""
    app = sandbox.network.app_of(number)
    callback = sandbox.network.callback_of(number)
    return {
        "phoneNumberId": number.phone_number_id,
        "accessTokens": sorted(number.access_tokens),
        "appSecret": app.app_secret,
        "verifyToken": app.verify_token,
        "appId": app.app_id,
        "wabaId": number.waba_id,
        "displayPhoneNumber": number.display_phone_number,
        "verifiedName": number.verified_name,
        "countryCode": number.country_code,
        "callbackUrl": callback and callback.url,
        "registered": number.registered,
        "official": number.official,
        "deleted": number.deleted,
        "throughput": number.throughput,
        "onBusinessApp": number.on_business_app,
        "quality": number.quality,
        "code": number.code,
        "pin": number.pin,
        "dialog360": None
        if number.api_key is None
        else {
            "baseUrl": f"{request.host_url.rstrip('/')}{PREFIX}",
            "apiKey": number.api_key,
            "webhookHeaders": number.webhook_headers,
        },
    }
