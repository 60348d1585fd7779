"""A business account over HTTP: its numbers, where its events are told, its templates, and how a number presents itself."""

from __future__ import annotations

import msgspec

from wad.errors import NotFound
from wad.http.account_bodies import (
    CodeBody,
    CodeRequestBody,
    NewNumberBody,
    NewTemplateBody,
    PinBody,
    ProfileChange,
    ProfileQuery,
    RegisterBody,
    TemplateChange,
    TemplateDeletion,
    TemplateQuery,
    WebhookBody,
)
from wad.http.api import Api
from wad.http.operations import Answer, Exchange
from wad.models import SessionId
from wad.providers.management import NumberView, Subscription, TemplateView

_NOTHING = Answer(b"", 204)


class NumberList(msgspec.Struct, frozen=True):
    items: list[NumberView]
    next: str | None


class SubscriptionList(msgspec.Struct, frozen=True):
    items: list[Subscription]
    next: str | None


class TemplateList(msgspec.Struct, frozen=True):
    items: list[TemplateView]
    next: str | None


class NewNumber(msgspec.Struct, frozen=True):
    id: str


class WebhookView(msgspec.Struct, frozen=True):
    """The address that stands now."""

    url: str


# --- numbers ----------------------------------------------------------------------------------------


async def numbers(api: Api, exchange: Exchange) -> Answer:
    return Answer(NumberList(await api.sessions.management.numbers(_session(api, exchange)), None))


async def number(api: Api, exchange: Exchange) -> Answer:
    found = await api.sessions.management.number(_session(api, exchange), exchange.path["number"])
    return Answer(found)


async def add_number(api: Api, exchange: Exchange) -> Answer:
    body: NewNumberBody = exchange.body
    session_id = _session(api, exchange)
    number_id = await api.sessions.management.add_number(
        session_id,
        country_code=body.country_code,
        phone_number=body.phone_number,
        verified_name=body.verified_name,
    )
    location = f"/api/whatsapp/sessions/{session_id}/numbers/{number_id}"
    return Answer(NewNumber(number_id), 201, {"Location": location})


async def request_code(api: Api, exchange: Exchange) -> Answer:
    body: CodeRequestBody = exchange.body
    await api.sessions.management.request_code(
        _session(api, exchange),
        exchange.path["number"],
        method=body.method.upper(),
        language=body.language or "en_US",
    )
    return _NOTHING


async def verify_code(api: Api, exchange: Exchange) -> Answer:
    body: CodeBody = exchange.body
    code = body.code.replace("-", "")
    await api.sessions.management.verify_code(_session(api, exchange), exchange.path["number"], code)
    return _NOTHING


async def register(api: Api, exchange: Exchange) -> Answer:
    body: RegisterBody = exchange.body
    await api.sessions.management.register(
        _session(api, exchange), exchange.path["number"], body.pin, region=body.region
    )
    return _NOTHING


async def deregister(api: Api, exchange: Exchange) -> Answer:
    await api.sessions.management.deregister(_session(api, exchange), exchange.path["number"])
    return _NOTHING


async def set_pin(api: Api, exchange: Exchange) -> Answer:
    body: PinBody = exchange.body
    await api.sessions.management.set_pin(_session(api, exchange), exchange.path["number"], body.pin)
    return _NOTHING


async def set_number_webhook(api: Api, exchange: Exchange) -> Answer:
    body: WebhookBody = exchange.body
    url = await api.sessions.management.set_number_webhook(
        _session(api, exchange), exchange.path["number"], body.url, token=body.verify_token
    )
    return Answer(WebhookView(url))


async def remove_number_webhook(api: Api, exchange: Exchange) -> Answer:
    await api.sessions.management.remove_number_webhook(_session(api, exchange), exchange.path["number"])
    return _NOTHING


# --- where the account's events are told ------------------------------------------------------------


async def subscriptions(api: Api, exchange: Exchange) -> Answer:
    found = await api.sessions.management.subscriptions(_session(api, exchange))
    return Answer(SubscriptionList(found, None))


async def set_webhook(api: Api, exchange: Exchange) -> Answer:
    body: WebhookBody = exchange.body
    url = await api.sessions.management.set_webhook(
        _session(api, exchange), body.url, token=body.verify_token
    )
    return Answer(WebhookView(url))


async def remove_webhook(api: Api, exchange: Exchange) -> Answer:
    await api.sessions.management.remove_webhook(_session(api, exchange))
    return _NOTHING


# --- templates --------------------------------------------------------------------------------------


async def templates(api: Api, exchange: Exchange) -> Answer:
    query: TemplateQuery = exchange.query
    filters = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    page = await api.sessions.management.templates(
        _session(api, exchange), filters, limit=query.limit, after=query.cursor
    )
    return Answer(TemplateList(page.items, page.next))


async def create_template(api: Api, exchange: Exchange) -> Answer:
    body: NewTemplateBody = exchange.body
    said = body.model_dump(by_alias=True, exclude_none=True)
    return Answer(await api.sessions.management.create_template(_session(api, exchange), said), 201)


async def edit_template(api: Api, exchange: Exchange) -> Answer:
    body: TemplateChange = exchange.body
    said = body.model_dump(by_alias=True, exclude_none=True)
    session_id, template_id = _session(api, exchange), exchange.path["templateId"]
    if not (
        template_id.isascii() and template_id.isdigit()
    ):  # it becomes a part of a URL: `..` leads elsewhere
        raise NotFound(f"there is no template {template_id!r}: the id is a number")
    await api.sessions.management.edit_template(session_id, template_id, said)
    return _NOTHING


async def delete_template(api: Api, exchange: Exchange) -> Answer:
    query: TemplateDeletion = exchange.query
    session_id = _session(api, exchange)
    await api.sessions.management.delete_template(session_id, query.name, template_id=query.template_id)
    return _NOTHING


# --- profiles ---------------------------------------------------------------------------------------


async def profile(api: Api, exchange: Exchange) -> Answer:
    query: ProfileQuery = exchange.query
    return Answer(await api.sessions.management.profile(_session(api, exchange), query.number))


async def change_profile(api: Api, exchange: Exchange) -> Answer:
    query: ProfileQuery = exchange.query
    body: ProfileChange = exchange.body
    said = body.model_dump(by_alias=True, exclude_none=True)
    session_id = _session(api, exchange)
    return Answer(await api.sessions.management.update_profile(session_id, query.number, said))


def _session(api: Api, exchange: Exchange) -> SessionId:
    return api.session(exchange.principal, exchange.path["sessionId"]).session_id
