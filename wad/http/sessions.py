"""Sessions over HTTP: create, read, change, forget; connect, disconnect, pair."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from wad.errors import Conflict, FieldError, Forbidden
from wad.http import qr as draw
from wad.http.answers import SessionList, SessionView, session_view
from wad.http.api import Api
from wad.http.auth import Principal
from wad.http.operations import Answer, Exchange
from wad.http.problems import Refused
from wad.http.schemas import (
    BreakerBody,
    NewSessionBody,
    PairingBody,
    QrQuery,
    ReadBody,
    SessionPatch,
    SessionQuery,
    SettingsBody,
    after_name,
    name_after,
)
from wad.models import Credentials, MessageId, Session, SessionId, SessionState, Settings, ShopId, Status
from wad.providers.base import Capabilities
from wad.supervisor.sessions import NewSession
from wad.validation import invalid

PATH: Final = "/api/whatsapp/sessions"


async def create(api: Api, exchange: Exchange) -> Answer:
    body: NewSessionBody = exchange.body
    settings = _settings(body.settings)
    _only_admins_redirect(exchange.principal, settings)
    session = await api.sessions.create(
        NewSession(
            provider=body.provider,
            credentials=Credentials(body.credentials),
            session_id=SessionId(body.session_id) if body.session_id is not None else None,
            shop_id=_shop_of_new(exchange.principal, body.shop_id),
            phone_number=body.phone_number,
            settings=msgspec.convert(settings, Settings),
            connect=body.connect is not False,
        )
    )
    location = f"{PATH}/{session.session_id}"
    return Answer(_view(api, session), 201, {"Location": location})


def _shop_of_new(principal: Principal, shop_id: str | None) -> ShopId | None:
    """A shop's token creates sessions of its shop alone, and need not name it where it has one."""
    if principal.shops is None:
        return None if shop_id is None else ShopId(shop_id)
    if shop_id is None:
        if len(principal.shops) != 1:
            raise invalid([FieldError("/shopId", "is required: the token has several shops")])
        [only] = principal.shops
        return only
    _require_shop(principal, ShopId(shop_id))
    return ShopId(shop_id)


def _require_shop(principal: Principal, shop_id: ShopId | None) -> None:
    if not principal.sees(shop_id):
        raise Forbidden("the token may only have sessions in its own shop")


def _settings(body: SettingsBody | None) -> dict[str, Any]:
    return {} if body is None else body.model_dump(by_alias=True, exclude_none=True)


def _only_admins_redirect(principal: Principal, settings: Mapping[str, Any]) -> None:
    """`baseUrl` says where the provider is: whoever sets it gets the shop's traffic, and wad's connections."""
    if settings.get("baseUrl") is not None:
        principal.require_admin("settings.baseUrl")


async def find(api: Api, exchange: Exchange) -> Answer:
    query: SessionQuery = exchange.query
    shops = exchange.principal.shops
    if query.shop_id is not None:
        shops = frozenset({ShopId(query.shop_id)} if exchange.principal.sees(ShopId(query.shop_id)) else ())
    found = api.sessions.find(
        shops=shops,
        provider=query.provider,
        state=SessionState(query.state) if query.state is not None else None,
        after=SessionId(name_after(query.cursor)) if query.cursor is not None else None,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    return Answer(
        SessionList(
            items=[session_view(session, status) for session, status in page],
            next=after_name(page[-1][0].session_id) if len(found) > query.limit else None,
        )
    )


def _view(api: Api, session: Session) -> SessionView:
    return session_view(session, api.sessions.status(session.session_id))


async def read(api: Api, exchange: Exchange) -> Answer:
    return Answer(_view(api, _session(api, exchange)))


async def change(api: Api, exchange: Exchange) -> Answer:
    session = _session(api, exchange)
    body: SessionPatch = exchange.body
    given = body.model_fields_set
    shop_id = None if body.shop_id is None else ShopId(body.shop_id)
    if "shop_id" in given:
        _require_shop(exchange.principal, shop_id)
    settings = _patched(session.settings, exchange.raw) if "settings" in given else None
    _only_admins_redirect(exchange.principal, settings or {})
    changed = await api.sessions.update(
        session.session_id,
        provider=body.provider if "provider" in given else None,
        shop_id=shop_id if "shop_id" in given else msgspec.UNSET,
        phone_number=body.phone_number if "phone_number" in given else msgspec.UNSET,
        credentials=body.credentials if "credentials" in given else None,
        settings=settings,
    )
    return Answer(_view(api, changed))


_ALL_SETTINGS: Final = tuple(field.alias or name for name, field in SettingsBody.model_fields.items())


def _patched(before: Settings, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patch of settings, with `retry` merged: an object inside an object is one too (RFC 7396)."""
    settings = patch["settings"]
    if settings is None:
        return dict.fromkeys(_ALL_SETTINGS)
    if isinstance(settings.get("retry"), dict):
        merged = {**(before.retry or {}), **settings["retry"]}
        kept = {name: value for name, value in merged.items() if value is not None}
        return {**settings, "retry": kept or None}
    return dict(settings)


async def delete(api: Api, exchange: Exchange) -> Answer:
    await api.sessions.delete(_session(api, exchange).session_id)
    return Answer(b"", 204)


# --- connecting -----------------------------------------------------------------------------------


async def connect(api: Api, exchange: Exchange) -> Answer:
    session = _session(api, exchange)
    wait = exchange.wait(api.config.http.max_wait)
    status = await api.sessions.connect(session.session_id, wait=wait or 0)
    return _settled(status, status.state is SessionState.CONNECTED, wait)


async def disconnect(api: Api, exchange: Exchange) -> Answer:
    session = _session(api, exchange)
    wait = exchange.wait(api.config.http.max_wait)
    status = await api.sessions.disconnect(session.session_id, wait=wait or 0)
    return _settled(status, status.state is SessionState.DISCONNECTED, wait)


def _settled(status: Status, reached: bool, wait: float | None) -> Answer:
    """200 once the state is the one wanted, 202 while it is on its way."""
    headers = {} if wait is None else {"Preference-Applied": f"wait={wait:g}"}
    return Answer(status, 200 if reached else 202, headers)


async def logout(api: Api, exchange: Exchange) -> Answer:
    return Answer(await api.sessions.logout(_session(api, exchange).session_id))


async def breaker(api: Api, exchange: Exchange) -> Answer:
    session_id = _session(api, exchange).session_id
    body: BreakerBody = exchange.body
    by = exchange.principal.name
    match body.action:
        case "isolate":
            return Answer(await api.sessions.isolate(session_id, by=by))
        case "close":
            return Answer(await api.sessions.close_breaker(session_id, by=by))


async def status(api: Api, exchange: Exchange) -> Answer:
    return Answer(api.sessions.status(_session(api, exchange).session_id))


class QrView(msgspec.Struct, frozen=True, rename="camel"):
    """`qr` is what the code says. `expiresAt` null: until the next one."""

    qr: str
    expires_at: datetime | None

    def __repr__(self) -> str:
        return f"QrView(qr=***, expires_at={self.expires_at})"


#: The forms in which a code can be had: the type that `Accept` names, and the word that `?format=` does.
QR_FORMS: Final = {
    "application/json": "json",
    "image/png": "png",
    "image/svg+xml": "svg",
    "text/plain": "text",
}


async def qr(api: Api, exchange: Exchange) -> Answer:
    """The code to scan, as it is now: whoever shows it asks again, or listens for `session.qr`."""
    query: QrQuery = exchange.query
    status = api.sessions.status(_session(api, exchange).session_id)
    if status.qr_code is None:
        raise Conflict(
            f"the session is not waiting for a code to be scanned: it is {status.state}", code="not_pairing"
        )
    match query.format or _accepted_form(exchange):
        case "json":
            answer = Answer(QrView(status.qr_code, status.qr_expires_at))
        case "png":
            answer = Answer(draw.png(status.qr_code), media_type="image/png")
        case "svg":
            answer = Answer(draw.svg(status.qr_code), media_type="image/svg+xml")
        case _:
            text = draw.half_blocks(status.qr_code)
            answer = Answer(text.encode(), media_type="text/plain; charset=utf-8")
    return msgspec.structs.replace(answer, headers={"Cache-Control": "no-store"})


def _accepted_form(exchange: Exchange) -> str:
    accepted = exchange.request.accept_mimetypes
    if not accepted:
        return "json"
    best = accepted.best_match(list(QR_FORMS))
    if best is None:
        raise Refused("not_acceptable", f"the code can be had as {', '.join(QR_FORMS)}")
    return QR_FORMS[best]


class PairingCode(msgspec.Struct, frozen=True):
    code: str


async def pairing_code(api: Api, exchange: Exchange) -> Answer:
    """A code for the phone with that number, where nobody can scan one."""
    body: PairingBody = exchange.body
    session_id = _session(api, exchange).session_id
    return Answer(PairingCode(await api.sessions.calls.pairing_code(session_id, body.phone_number)))


# --- what it can, and what it is in ---------------------------------------------------------------


class ProviderCapabilities(msgspec.Struct, frozen=True):
    provider: str
    capabilities: Capabilities


class CapabilitiesList(msgspec.Struct, frozen=True):
    items: list[ProviderCapabilities]
    next: str | None


async def all_capabilities(api: Api, _: Exchange) -> Answer:
    """The same for every token: what there is to choose among."""
    found = api.sessions.capabilities_of_all()
    items = [{"provider": name, "capabilities": _in_order(can)} for name, can in found.items()]
    return Answer({"items": items, "next": None})


async def capabilities(api: Api, exchange: Exchange) -> Answer:
    return Answer(_in_order(api.sessions.capabilities(_session(api, exchange).session_id)))


def _in_order(can: Capabilities) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(can)
    return {name: sorted(value) if isinstance(value, list) else value for name, value in told.items()}


async def groups(api: Api, exchange: Exchange) -> Answer:
    found = await api.sessions.calls.groups(_session(api, exchange).session_id)
    return Answer({"items": found, "next": None})


async def group(api: Api, exchange: Exchange) -> Answer:
    session_id = _session(api, exchange).session_id
    return Answer(await api.sessions.calls.group(session_id, exchange.path["groupId"]))


async def mark_read(api: Api, exchange: Exchange) -> Answer:
    session = _session(api, exchange)
    body: ReadBody = exchange.body
    typing = body.typing is True
    await api.sessions.calls.mark_read(session.session_id, MessageId(body.message_id), typing=typing)
    return Answer({"messageId": body.message_id, "read": True, "typing": typing})


def _session(api: Api, exchange: Exchange) -> Session:
    return api.session(exchange.principal, exchange.path["sessionId"])
