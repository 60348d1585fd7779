"""A business account on a scripted peer: each of its paths answers as a test says, however often it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.providers.meta import APP_SECRET, TOKEN, WABA_ID, session
from wad.conformance.peer import Exchange, Peer, Received, Script, answering, serving
from wad.conformance.world import Heard as Silent
from wad.models import Credentials, Session, Settings
from wad.providers.base import Proof
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.providers.meta.business import BusinessConnection
from wad.providers.meta_business import MetaBusiness

WABA = f"/v26.0/{WABA_ID}"
PUBLIC = "https://wa.example.com"
OWN = f"{PUBLIC}/webhooks/meta_business/tienda-1"


def number(number_id: str, phone: str = "", **more: Any) -> dict[str, Any]:
    """A number as Meta lists it: fit to send, but for what *more* says."""
    return {
        "id": number_id,
        "display_phone_number": phone or f"+1 555-000-{int(number_id):04}",
        "verified_name": "Tienda",
        "quality_rating": "GREEN",
        "status": "CONNECTED",
        "throughput": {"level": "STANDARD"},
        "health_status": {"can_send_message": "AVAILABLE", "entities": []},
        **more,
    }


def blocked(**error: Any) -> dict[str, Any]:
    said = {"error_code": 141006, "error_description": "No payment method.", "possible_solution": "Add one."}
    entity = {"entity_type": "WABA", "can_send_message": "BLOCKED", "errors": [{**said, **error}]}
    return {"can_send_message": "BLOCKED", "entities": [entity]}


def app(url: str | None = None, *, of: str = "9") -> dict[str, Any]:
    entry: dict[str, Any] = {"whatsapp_business_api_data": {"id": of, "name": "wad", "link": ""}}
    return entry if url is None else {**entry, "override_callback_uri": url}


def refusing(code: int, message: str = "No") -> Script:
    return answering(400, {"error": {"code": code, "message": message}})


OK = answering(200, {"success": True})


class Heard(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.proofs: list[Proof] = []

    def proven(self, proof: Proof) -> None:
        self.proofs.append(proof)


@dataclass
class Desk:
    """What answers: by method and the end of the path; what is scripted for one is used up before."""

    peer: Peer
    kind: MetaBusiness
    connection: BusinessConnection
    heard: Heard
    routes: dict[tuple[str, str], Script]

    def asked(self, method: str, end: str) -> list[Received]:
        return [each for each in self.peer.received if each.method == method and each.path.endswith(end)]

    @property
    def posts(self) -> list[str]:
        """Where something was posted, below the API's version."""
        return [each.path.removeprefix("/v26.0/") for each in self.peer.received if each.method == "POST"]


def stored(
    known: Mapping[str, Any] | None = None, *, override: bool = False, **credentials: str | None
) -> Session:
    held = {"accessToken": TOKEN, "wabaId": WABA_ID, "appSecret": APP_SECRET, "verifyToken": "agreed"}
    given = {name: value for name, value in {**held, **credentials}.items() if value is not None}
    return msgspec.structs.replace(
        session(),
        provider="meta_business",
        credentials=Credentials(given),
        settings=Settings(callback_override=override),
        connection_data=dict(known or {}),
    )


@asynccontextmanager
async def desk(
    numbers: list[dict[str, Any]] | None = None,
    *,
    apps: list[dict[str, Any]] | None = None,
    of: Session | None = None,
    public_url: str | None = PUBLIC,
    seconds: float = 5.0,
    **account: Any,
) -> AsyncIterator[Desk]:
    """An account with *numbers* and *apps*, which says *account* of itself."""
    listed = [number("1")] if numbers is None else numbers
    routes: dict[tuple[str, str], Script] = {
        ("GET", WABA): answering(200, {"id": WABA_ID, "name": "Tienda", **account}),
        ("GET", f"{WABA}/phone_numbers"): answering(200, {"data": listed}),
        ("GET", f"{WABA}/subscribed_apps"): answering(200, {"data": [app()] if apps is None else apps}),
        ("POST", f"{WABA}/subscribed_apps"): OK,
    }
    heard = Heard()

    async def answer(exchange: Exchange) -> None:
        asked = exchange.request
        script = routes.get((asked.method, asked.path))
        if script is None and asked.method == "POST":
            script = answering(200, {"messages": [{"id": "wamid.1"}]})
        assert script is not None, f"nobody expected {asked.method} {asked.target}"
        await script(exchange)

    async with serving() as peer, Pools() as pools:
        peer.otherwise = answer
        kind = MetaBusiness(MetaConfig(base_url=peer.url, timeout=seconds), pools, public_url=public_url)
        async with kind.open(of or stored(), heard) as connection:
            assert isinstance(connection, BusinessConnection)
            yield Desk(peer, kind, connection, heard, routes)
