"""The house with a business account of two numbers in it: Meta's kind over an API in memory that remembers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.house import House
from tests.providers.meta import APP_SECRET, TOKEN, WABA_ID
from tests.providers.waba import app, number
from wad.models import Credentials, InboundMessage, Number, Person, SessionId
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.providers.meta_business import MetaBusiness
from wad.supervisor.sessions import NewSession, Sessions

ONE, TWO = Number("1", "+525512340001"), Number("2", "+525512340002")
CREDENTIALS = {"accessToken": TOKEN, "wabaId": WABA_ID, "appSecret": APP_SECRET, "verifyToken": "agreed"}


class Graph(httpx.AsyncBaseTransport):
    """An account with two numbers; whatever is done with it succeeds, unless `refusals` say otherwise."""

    def __init__(self) -> None:
        self.numbers = [number("1", "+52 55 1234 0001"), number("2", "+52 55 1234 0002")]
        self.asked: list[tuple[str, str, Any]] = []  # method, path below the version, body
        self.answers: dict[tuple[str, str], Any] = {}
        self.refusals: dict[tuple[str, str], int] = {}

    @property
    def sent(self) -> list[tuple[str, str]]:
        """From which number, and to whom."""
        return [
            (path.partition("/")[0], body.get("to") or body.get("recipient"))
            for method, path, body in self.asked
            if path.endswith("/messages") and body.get("type")
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        path = request.url.path.removeprefix("/v26.0/")
        is_json = request.headers.get("Content-Type") == "application/json"
        body = json.loads(request.content) if is_json else {}
        self.asked.append((request.method, path, body))
        asked = request.method, path
        if asked in self.refusals:
            code = self.refusals[asked]
            return httpx.Response(400, json={"error": {"code": code, "message": "No"}})
        return httpx.Response(200, json=self.answers.get(asked) or self._answer(*asked))

    def _answer(self, method: str, path: str) -> Any:
        match method, path.removeprefix(f"{WABA_ID}/"):
            case "GET", "phone_numbers":
                return {"data": self.numbers}
            case "GET", "subscribed_apps":
                return {"data": [app()]}
            case "GET", _:
                return {"id": WABA_ID, "name": "Tienda", "data": [{"about": "Hola"}]}
            case _:
                return {"success": True, "id": "77", "messages": [{"id": f"wamid.{len(self.asked)}"}]}


class BusinessHouse(House):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.graph = Graph()
        self._pools = Pools(transport=lambda origin: self.graph)
        self.world = MetaBusiness(  # type: ignore[assignment]
            MetaConfig(), self._pools, public_url="https://wa.example.com"
        )

    @asynccontextmanager
    async def run(self, *, grace: float = 35.0) -> AsyncIterator[Sessions]:
        async with self._pools, super().run(grace=grace) as sessions:
            yield sessions


@asynccontextmanager
async def business(house: BusinessHouse, **credentials: str) -> AsyncIterator[Sessions]:
    """One life of *house*, with a connected session `shop`."""
    async with house.run() as sessions:
        await sessions.create(
            NewSession(
                provider="meta_business",
                session_id=SessionId("shop"),
                credentials=Credentials({**CREDENTIALS, **credentials}),
            )
        )
        await sessions.connect(SessionId("shop"), wait=60)
        yield sessions


def wrote(to: Number, wamid: str = "wamid.in", phone: str = "+5215512345678", **more: Any) -> InboundMessage:
    """A customer's message to one of the numbers."""
    return InboundMessage(
        provider_message_id=wamid,
        chat=more.pop("chat", phone),
        sender=Person(phone=phone),
        number=to,
        content={"type": "text", "text": {"body": "hola"}},
        **more,
    )
