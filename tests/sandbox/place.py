"""A sandbox with a listener, in memory: the control API, the Graph API, and what the callback heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import trio

from wad.sandbox import READY, READY_SECOND, Config, Sandbox, Settings, create_sandbox

NUMBER = READY.phone_number_id
SECOND = READY_SECOND.phone_number_id
TOKEN = {"Authorization": f"Bearer {READY.access_token}"}
ANA = "+5215512345678"
CALLBACK = "http://127.0.0.1:9/hook"

#: Statuses come at once, so that a test need not wait for them.
AT_ONCE = Settings(statuses={"sent": 0.0, "delivered": 0.0, "read": 0.0})


class Hook:
    """A callback: an ASGI application that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.answers: list[int] = []  # for the next POSTs; 200 when there are no more
        self.verify_token = READY.verify_token
        self.challenge: Callable[[str], str] = lambda challenge: challenge
        self.in_hand = 0
        self.most_in_hand = 0
        self.pause = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["method"] == "GET":
            query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
            right = query["hub.mode"] == "subscribe" and query["hub.verify_token"] == self.verify_token
            status = 200 if right else 403
            answer = self.challenge(query["hub.challenge"]).encode()
        else:
            self.in_hand += 1
            self.most_in_hand = max(self.most_in_hand, self.in_hand)
            await trio.sleep(self.pause)
            self.in_hand -= 1
            self.heard.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
            self.times.append(trio.current_time())
            status, answer = self.answers.pop(0) if self.answers else 200, b""
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    def values(self) -> list[dict[str, Any]]:
        """The `value` of every change of every POST, in order."""
        return [
            change["value"]
            for _, body in self.heard
            for entry in msgspec.json.decode(body)["entry"]
            for change in entry["changes"]
        ]

    def statuses(self) -> list[dict[str, Any]]:
        return [status for value in self.values() for status in value.get("statuses", ())]

    def messages(self) -> list[dict[str, Any]]:
        return [message for value in self.values() for message in value.get("messages", ())]


class Place:
    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient, hook: Hook) -> None:
        self.sandbox = sandbox
        self.client = client
        self.hook = hook

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.client.request(method, f"/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def post(self, path: str, body: Any = None) -> Any:
        return await self.control("POST", path, {} if body is None else body)

    async def graph(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.client.request(method, f"/v26.0/{path}", **{"headers": TOKEN, **options})

    async def send(self, **body: Any) -> httpx.Response:
        """A text to Ana, or whatever *body* makes of it."""
        whole = {"messaging_product": "whatsapp", "to": ANA, "type": "text", "text": {"body": "hola"}, **body}
        if whole["type"] not in ("text", None) and "text" not in body:
            del whole["text"]
        whole = {name: value for name, value in whole.items() if value is not None}
        return await self.graph("POST", f"{NUMBER}/messages", json=whole)

    async def settled(self) -> None:
        answer = await self.post("settle", {"seconds": 1000})
        assert answer["settled"], answer


@asynccontextmanager
async def place(
    settings: Settings = AT_ONCE, *, window: bool = True, callback: bool = True, **config: Any
) -> AsyncIterator[Place]:
    """A sandbox in memory, whose webhooks arrive in memory too. With *window*, Ana's 24 hours are open."""
    hook = Hook()
    outward = httpx.AsyncClient(transport=httpx.ASGITransport(hook))
    sandbox = create_sandbox(Config(settings=settings, **config), client=outward)
    inward = httpx.ASGITransport(sandbox.app)
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(transport=inward, base_url="http://sandbox") as client,
    ):
        await nursery.start(sandbox.run)
        here = Place(sandbox, client, hook)
        if callback:
            await here.post("numbers", {"phoneNumberId": NUMBER, "callbackUrl": CALLBACK})
        if window:
            await here.post("customers", {"phone": ANA, "windows": {NUMBER: "open"}})
        yield here
        nursery.cancel_scope.cancel()
