"""A business number at the sandbox, a flow service, and the daemon between them."""

from __future__ import annotations

import json
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import hypercorn
import trio
from hypercorn.trio import serve as serve_asgi
from quart import Response, request
from quart_trio import QuartTrio

from tests.acceptance.daemon import NO_TLS, Daemon
from wad.sandbox import READY, Config, WebConfig, create_sandbox, serve_sandbox

NUMBER = READY.phone_number_id
CREDENTIALS = {
    "accessToken": READY.access_token,
    "phoneNumberId": NUMBER,
    "appSecret": READY.app_secret,
    "verifyToken": READY.verify_token,
}
#: Quick phones and an impatient network: what takes Meta seconds takes it milliseconds.
QUICK = {
    "enforceWindow": False,
    "statuses": {"sent": 0.01, "delivered": 0.02, "read": 0.03},
    "retryDelays": [0.1, 0.2, 0.3, 0.5],
}


Answer: TypeAlias = Response | tuple[str, int]
Answering: TypeAlias = Answer | Callable[[dict[str, Any]], Awaitable[Answer]]


class Flow:
    """A flow service that answers `re: <text>`. `down` makes it answer 503; what is in `script` comes first.

    Each path is a flow of its own: a script is by path, `/` where a session has no `flowUrl`.
    """

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.events: list[dict[str, Any]] = []
        self.refused = 0
        self.down = False
        self.script: dict[str, list[Answering]] = defaultdict(list)
        self.url = ""
        self.app = QuartTrio("flow")
        for rule in ("/", "/<path:_>"):
            self.app.add_url_rule(rule, rule, view_func=self._answer, methods=["POST"])

    async def _answer(self, _: str = "") -> Answer:
        event = json.loads(await request.get_data())
        if self.down:
            self.refused += 1
            return "", 503
        self.events.append(event)
        if self.script[request.path]:
            answer = self.script[request.path].pop(0)
            return answer if isinstance(answer, tuple | Response) else await answer(event)
        if event["type"] != "message.received":
            return "", 204
        if event["data"]["contentType"] != "text":
            return "", 204
        said = event["data"]["text"]["body"]
        self.heard[said] += 1
        return Response(json.dumps({"replies": [{"text": f"re: {said}"}]}), content_type="application/json")


class Town:
    """Everything around the daemon, in this process, so that it outlives the daemon's deaths."""

    def __init__(self, sandbox_url: str, flow: Flow, web: dict[str, str] | None = None) -> None:
        """*web* is `providers.baileys` of the configuration, where the town has WhatsApp Web."""
        self.sandbox_url = sandbox_url
        self.flow = flow
        self.web = web
        self.client = httpx.AsyncClient(timeout=60, verify=NO_TLS)

    def config(
        self,
        cloud_api: dict[str, Any] | None = None,
        meta_business: dict[str, Any] | None = None,
        dialog360: dict[str, Any] | None = None,
        twilio: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """A daemon's configuration that leads it here; what is said of a provider is added to its section."""
        http = {"base_url": self.sandbox_url, "rate": 10_000, "burst": 10_000}
        baileys = {} if self.web is None else {"baileys": {**self.web, "rate": 10_000, "burst": 10_000}}
        return {
            "providers": {
                "cloud_api": {**http, **(cloud_api or {})},
                "meta_business": {**http, **(meta_business or {})},
                "dialog360": {**http, "base_url": f"{self.sandbox_url}/360dialog", **(dialog360 or {})},
                "twilio": {**http, **(twilio or {})},
                **baileys,
            },
            "flow": {"url": self.flow.url},
            "guard": {"allow": ["127.0.0.0/8"]},
            **more,
        }

    async def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.client.request(method, f"{self.sandbox_url}/_sandbox{path}", json=body or None)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ledger(self, kind: str, *, after: int = 0, **fields: str) -> list[dict[str, Any]]:
        """The network's own record, of one kind, where its *fields* are these: what stands behind entry *after*."""
        entries: list[dict[str, Any]] = []
        while True:
            after = entries[-1]["n"] if entries else after
            answer = await self.client.get(
                f"{self.sandbox_url}/_sandbox/ledger",
                params={"kind": kind, "after": after, "limit": 1000, **fields},
            )
            page = answer.json()["entries"]
            entries += page
            if len(page) < 1000:
                return entries

    async def fault(
        self, kind: str, *, match: Any = None, times: int | None = 1, name: str = "", **more: Any
    ) -> None:
        """Have what *match* describes go wrong so, *times* times (None: for ever, or until its *name* is removed)."""
        script: Any = {"fault": {"kind": kind, **more}, "match": match or {}, "times": times, "id": name}
        await self.control("POST", "/faults", **script)

    async def writes(self, phone: str, text: str, **more: Any) -> dict[str, Any]:
        """A customer writes to the number."""
        body: Any = {
            "phoneNumberId": NUMBER,
            "from": {"phone": phone},
            "type": "text",
            "text": {"body": text},
            **more,
        }
        return await self.control("POST", "/inbound", **body)

    async def until_quiet(self, seconds: float = 120) -> None:
        """Return once no webhook is on its way."""
        with trio.fail_after(seconds):
            while True:
                waiting = (await self.control("GET", "/state"))["webhooks"]
                if not any(waiting[each] for each in ("scheduled", "waiting", "inFlight", "retrying")):
                    return
                await trio.sleep(0.1)

    async def settle_in(self, daemon: Daemon, session_id: str = "shop") -> None:
        """Create the session and lead the number's webhooks to it."""
        async with daemon.client() as client:
            made = await client.post(
                "/api/whatsapp/sessions",
                json={"sessionId": session_id, "provider": "cloud_api", "credentials": CREDENTIALS},
            )
            assert made.status_code == 201, made.text
            connected = await client.post(
                f"/api/whatsapp/sessions/{session_id}/connect", headers={"Prefer": "wait=20"}
            )
            assert connected.json()["isConnected"], connected.text
        await self.control(
            "POST",
            "/numbers",
            phoneNumberId=NUMBER,
            callbackUrl=f"{daemon.url}/webhooks/cloud_api/{session_id}",
        )


@asynccontextmanager
async def town(directory: Path, *, web: bool = False, **settings: Any) -> AsyncIterator[Town]:
    """With *web*, WhatsApp Web is there as well, which takes Node."""
    flow = Flow()
    sandbox = create_sandbox(
        Config(ledger=directory / "ledger.jsonl", web=WebConfig(directory=directory / "web") if web else None)
    )
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_sandbox, "127.0.0.1:0", sandbox=sandbox))
        config = hypercorn.Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        [flow.url] = await nursery.start(partial(serve_asgi, flow.app, config))
        access = sandbox.web and sandbox.web.emulator.access
        assert not web or access, "WhatsApp Web did not start"
        here = Town(url, flow, access.settings() if access else None)
        await here.control("PATCH", "/settings", **(QUICK | settings))
        try:
            yield here
        finally:
            with trio.CancelScope(shield=True):
                await here.client.aclose()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(
    here: Town,
    directory: Path,
    *,
    environ: dict[str, str] | None = None,
    listener: socket.socket | None = None,
    **config: Any,
) -> AsyncIterator[Daemon]:
    """A daemon that is led to *here*, ready."""
    daemon = Daemon(directory, here.config(**config), environ=environ, listener=listener)
    try:
        await daemon.start()
        yield daemon
    finally:
        daemon.end()


async def all_messages(daemon: Daemon, **query: Any) -> list[dict[str, Any]]:
    """Everything that the API lists, through its cursors."""
    messages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    async with daemon.client() as client:
        while True:
            answer = await client.get("/api/whatsapp/messages", params={"limit": 500, **query, **cursor})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            messages += page["items"]
            if not page.get("next") or not page["items"]:
                return messages
            cursor = {"cursor": page["next"]}
