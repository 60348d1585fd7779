"""The Groups API: create, list, read, change, invite links, removing people."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from wad.sandbox.errors import GraphError, invalid, required, unknown_object
from wad.sandbox.graph import Answer, Graph, both, parameters
from wad.sandbox.listing import fields, paged
from wad.sandbox.network import Group, Number
from wad.sandbox.validate import wrong_product

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

_SOON = 0.05  # what a change brings about is told by webhook, a moment later


def group_routes(sandbox: Sandbox) -> Blueprint:
    routes = Blueprint("groups", __name__)
    graph = Graph(sandbox)
    network = sandbox.network

    @both(routes, "/<number_id>/groups", ["GET", "POST"])
    async def groups(number_id: str) -> Response:
        body = await parameters()

        async def touch() -> Answer:
            number = graph.number(number_id)
            if not number.official:
                raise GraphError(131215)
            if request.method == "GET":
                mine = [group for group in network.groups.values() if group.phone_number_id == number_id]
                listed = [
                    {"id": group.group_id, "subject": group.subject, "created_at": str(int(group.created))}
                    for group in mine
                ]
                page, paging = paged(listed, body, most=1024)
                return {"data": {"groups": page}, **paging}
            return _create(number, body)

        return await graph.perform("groups", number_id, touch)

    def _create(number: Number, body: Answer) -> Answer:
        if body.get("messaging_product") != "whatsapp":
            raise wrong_product(body.get("messaging_product"))
        subject, description = str(body.get("subject", "")).strip(), str(body.get("description", ""))
        if not subject:
            raise required("subject")
        if len(subject) > 128 or len(description) > 2048:
            raise invalid("Param subject must be at most 128, description at most 2048 characters long.")
        request_id = secrets.token_hex(12)
        group = sandbox.add_group(number, subject, description=description, members=[])
        group.join_approval_mode = body.get("join_approval_mode", "auto_approve")
        change = {
            "timestamp": str(int(network.now())),
            "group_id": group.group_id,
            "type": "group_create",
            "request_id": request_id,
            "subject": subject,
            "invite_link": group.invite,
            "join_approval_mode": group.join_approval_mode,
        }
        sandbox.webhooks.timers.later(
            _SOON, lambda: sandbox.group_event(number, "group_lifecycle_update", change)
        )
        return {"messaging_product": "whatsapp", "request_id": request_id}

    @both(routes, "/<group_id>/invite_link", ["GET", "POST"])
    async def invite_link(group_id: str) -> Response:
        group = network.groups.get(group_id)

        async def touch() -> Answer:
            if group is None:
                raise unknown_object(group_id, request.method)
            graph.number(group.phone_number_id)
            if request.method == "POST":
                group.invite = f"https://chat.whatsapp.com/{secrets.token_urlsafe(16)}"
            return {"messaging_product": "whatsapp", "invite_link": group.invite}

        return await graph.perform("group", group.phone_number_id if group else None, touch)

    @both(routes, "/<group_id>/participants", ["DELETE"])
    async def participants(group_id: str) -> Response:
        body = await parameters()
        group = network.groups.get(group_id)

        async def remove() -> Answer:
            if group is None:
                raise unknown_object(group_id, request.method)
            number = graph.number(group.phone_number_id)
            people = body.get("participants")
            if not isinstance(people, list) or not 1 <= len(people) <= 8:
                raise invalid("Param participants must have 1 to 8 entries.")
            removed = [str(person.get("user", "")) for person in people]
            digits = {name.lstrip("+") for name in removed}
            group.members = [
                member
                for member in group.members
                if member not in digits and network.customers[member].wa_id not in digits
            ]
            change = {
                "timestamp": str(int(network.now())),
                "group_id": group.group_id,
                "type": "group_participants_remove",
                "removed_participants": [{"input": name} for name in removed],
                "initiated_by": "business",
            }
            sandbox.webhooks.timers.later(
                _SOON, lambda: sandbox.group_event(number, "group_participants_update", change)
            )
            return {"messaging_product": "whatsapp", "success": True}

        return await graph.perform("group", group.phone_number_id if group else None, remove)

    return routes


async def group_object(sandbox: Sandbox, number: Number, group: Group, body: Answer, method: str) -> Answer:
    match method:
        case "GET":
            people = [sandbox.network.customers[member] for member in group.members]
            known = {
                "messaging_product": "whatsapp",
                "id": group.group_id,
                "subject": group.subject,
                "description": group.description,
                "suspended": group.suspended,
                "creation_timestamp": int(group.created),
                "participants": [
                    {"wa_id": person.wa_id} if person.shows_phone else {"user_id": person.user_id}
                    for person in people
                ],
                "total_participant_count": len(people),
                "join_approval_mode": group.join_approval_mode,
            }
            return {"messaging_product": "whatsapp"} | fields(known, body, ("id",), "WhatsAppGroup")
        case "POST":
            group.subject = str(body.get("subject", group.subject))
            group.description = str(body.get("description", group.description))
            return {"messaging_product": "whatsapp", "request_id": secrets.token_hex(12)}
        case _:
            del sandbox.network.groups[group.group_id]
            change = {
                "timestamp": str(int(sandbox.network.now())),
                "group_id": group.group_id,
                "type": "group_delete",
                "request_id": secrets.token_hex(12),
            }
            sandbox.webhooks.timers.later(
                _SOON, lambda: sandbox.group_event(number, "group_lifecycle_update", change)
            )
            return {"messaging_product": "whatsapp", "request_id": change["request_id"]}
