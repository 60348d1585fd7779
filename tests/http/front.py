"""The API over the whole inside of wad, in memory, on a mock clock: what the tests of this directory ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import trio

from tests.house import House, now
from tests.simulated import SimulatedProvider
from wad.actors.services import Services
from wad.config import Config
from wad.events import Events
from wad.http.app import App, create_app
from wad.http.events import EventStream
from wad.models import Session
from wad.providers.meta.webhooks import MetaWebhooks
from wad.supervisor.sessions import Sessions, open_sessions

API = "/api/whatsapp"
#: Whose token is whose: an admin, the token of one shop, the token of another, the token of two.
TOKENS = {name: f"wad_{name}_{'x' * 40}" for name in ("ops", "shop9", "shop8", "chain")}
CONFIG = {
    "auth": {
        "tokens": [
            {"name": "ops", "token": TOKENS["ops"], "scope": "admin"},
            {"name": "shop9", "token": TOKENS["shop9"], "scope": "shop", "shops": ["shop-9"]},
            {"name": "shop8", "token": TOKENS["shop8"], "scope": "shop", "shops": ["shop-8"]},
            {"name": "chain", "token": TOKENS["chain"], "scope": "shop", "shops": ["shop-8", "shop-9"]},
        ]
    }
}


class SignedProvider(SimulatedProvider):
    """The simulated provider with Meta's webhooks: a session's key is its phone number id."""

    webhooks = MetaWebhooks()

    def webhook_secret(self, session: Session | None) -> str | None:
        return session.credentials.get("appSecret") if session else "app-secret"

    def verify_token(self, session: Session | None) -> str | None:
        return session.credentials.get("verifyToken") if session else "agreed"


def form(*parts: tuple[str, str | None, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    """A multipart body of (name, filename, content type, content)."""
    lines = []
    for name, filename, kind, content in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        typed = f"Content-Type: {kind}\r\n" if kind is not None else ""
        lines.append(
            f'--xx\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{typed}\r\n'.encode() + content
        )
    return b"\r\n".join([*lines, b"--xx--\r\n"]), {"Content-Type": "multipart/form-data; boundary=xx"}


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pointers(self) -> set[str]:
        """The fields that a problem names."""
        return {error["pointer"] for error in self.json["errors"]}


@dataclass(frozen=True)
class Front:
    """An app, what is behind it, and whose token speaks."""

    app: App
    sessions: Sessions
    stream: EventStream
    house: House
    who: str | None = "ops"

    def as_(self, who: str | None) -> Front:
        return replace(self, who=who)

    def headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        token = {} if self.who is None else {"Authorization": f"Bearer {TOKENS.get(self.who, self.who)}"}
        return token | dict(more or {})

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Reply:
        """Ask once. *body* goes as JSON, *raw* as it is; paths under the API may leave its prefix out."""
        sent = self.headers(headers)
        if body is not None:
            raw = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if (
            not path.startswith(("/api", "/webhooks", "/console/", "//"))
            and path not in OUTSIDE
            and "/problems/" not in path
        ):
            path = API + path
        response = await self.app.test_client().open(
            path, method=method, data=raw, headers=sent, query_string=query or None
        )
        return Reply(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            await response.get_data(as_text=False),
        )

    async def session(self, session_id: str = "shop", **more: Any) -> Any:
        """A connected session, made over the API."""
        body = {"provider": "simulated", "sessionId": session_id, "credentials": {"key": session_id}, **more}
        made = await self("POST", "/sessions", body)
        assert made.status == 201, made.body
        await self("POST", f"/sessions/{session_id}/connect", headers={"Prefer": "wait=20"})
        return made.json

    async def send(
        self,
        text: str = "hola",
        session_id: str = "shop",
        *,
        prefer: str | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Reply:
        body = {"sessionId": session_id, "to": "+5215512345678", "text": text, **more}
        headers = {"Prefer": prefer, "Idempotency-Key": key}
        given = {name: value for name, value in headers.items() if value is not None}
        return await self("POST", "/send", body, headers=given)


OUTSIDE = ("/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/nowhere")


@asynccontextmanager
async def _unrestored(house: House) -> AsyncIterator[Sessions]:
    """A life of *house* in which nobody has called `restore` yet."""
    store = house.store()
    services = Services(
        store=store, patient=store.patient(), events=Events(), flows=house.flows, limits=house.limits, now=now
    )
    kinds = {house.world.name: house.world}
    async with open_sessions(services, kinds, house.policy, check_url=lambda url: None, grace=35) as sessions:
        yield sessions


@asynccontextmanager
async def front(
    house: House | None = None, config: Mapping[str, Any] | None = None, *, restore: bool = True
) -> AsyncIterator[Front]:
    """One life of the daemon with its API. *config* comes over the tokens above."""
    house = house or House(world=SignedProvider())
    life = house.run() if restore else _unrestored(house)
    async with life as sessions, trio.open_nursery() as nursery:
        services = sessions._services
        stream = EventStream(services.store, services.events, now=now)
        await nursery.start(stream.run)
        app = create_app(
            sessions=sessions,
            store=services.store,
            config=Config.model_validate({**CONFIG, **(config or {})}),
            events=services.events,
            stream=stream,
            metrics=lambda: b"# HELP wad_build_info What runs here.\n",
        )
        yield Front(app, sessions, stream, house)
        stream.close()
        nursery.cancel_scope.cancel()
