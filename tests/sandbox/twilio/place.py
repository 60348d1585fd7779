"""A sandbox in memory with Twilio's own SDK in front of it, and a webhook that keeps what it hears."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import trio
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator, get_signature_algorithm
from twilio.rest import Client

from tests.sandbox.place import ANA, AT_ONCE, Place
from wad.sandbox import READY_SENDER, Config, Settings, create_sandbox

SENDER = f"whatsapp:{READY_SENDER.number}"
AC, AUTH_TOKEN = str(READY_SENDER.account_sid), str(READY_SENDER.auth_token)
SK, SECRET = str(READY_SENDER.api_key_sid), str(READY_SENDER.api_key_secret)
MG = str(READY_SENDER.messaging_service_sid)
TO_ANA = f"whatsapp:{ANA}"
HOOK = "http://127.0.0.1:9/inbound"
CALLBACK = "http://127.0.0.1:9/status?messageId=msg_1"
#: An empty TwiML document: what a webhook should answer.
TWIML = b"<?xml version='1.0'?><Response/>"


class SdkTransport(AsyncHttpClient):
    """The SDK's requests over an httpx client, whatever host of Twilio's they are for."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(logging.getLogger("twilio"), is_async=True)
        self._client = client

    async def request(  # noqa: PLR0917  the SDK's signature
        self, method: str, uri: str, params: Any = None, data: Any = None, headers: Any = None,
        auth: Any = None, timeout: Any = None, allow_redirects: bool = False,  # noqa: ASYNC109
    ) -> Response:  # fmt: skip
        parts = urlsplit(uri)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = await self._client.request(
            method, path, params=params or None, data=data, headers=headers, auth=auth
        )
        return Response(answer.status_code, answer.text, answer.headers)


class Heard:
    """One request that the webhook was sent."""

    def __init__(self, method: str, url: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.url, self.headers, self.body = method, url, headers, body
        form = parse_qsl(body.decode(), keep_blank_values=True)
        self.params = dict(form or parse_qsl(urlsplit(url).query, keep_blank_values=True))

    def is_signed(self, secret: str) -> bool:
        """By the word of Twilio's own SDK."""
        algorithm = get_signature_algorithm(self.headers.get("x-twilio-webhooks-signature-settings"))
        json = self.headers.get("content-type") == "application/json"
        params: Any = (
            self.body.decode() if json else dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        )
        given = self.headers.get("x-twilio-signature", "")
        return bool(RequestValidator(secret).validate(self.url, params, given, algorithm))


class Webhook:
    """A URL that wants to hear: it keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int | Exception] = []  # for the next requests; 200 when there are no more
        self.pauses: list[float] = []  # seconds before the next answers
        self.on_heard: Callable[[], None] = lambda: None
        self.body, self.content_type = TWIML, "text/xml"

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await trio.sleep(self.pauses.pop(0) if self.pauses else 0)
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        self.on_heard()
        self.heard.append(
            Heard(request.method, str(request.url), dict(request.headers), await request.aread())
        )
        return httpx.Response(answer, content=self.body, headers={"Content-Type": self.content_type})

    @property
    def statuses(self) -> list[str]:
        return [heard.params["MessageStatus"] for heard in self.heard if "MessageStatus" in heard.params]


class TwilioPlace(Place):
    """What a test asks of the control API, of the API itself, and of its SDK."""

    def __init__(self, sandbox: Any, client: httpx.AsyncClient, webhook: Webhook) -> None:
        super().__init__(sandbox, client, webhook)  # type: ignore[arg-type]  # another kind of hook
        self.webhook = webhook
        self.sdk = self.client_of(AC, AUTH_TOKEN)

    def client_of(self, user: str, password: str, account: str = AC) -> Client:
        return Client(user, password, account, http_client=SdkTransport(self.client))

    async def api(self, method: str, path: str, **more: Any) -> httpx.Response:
        request = {"auth": (AC, AUTH_TOKEN), **more}
        return await self.client.request(method, f"/2010-04-01/Accounts/{AC}{path}", **request)

    async def form(self, **params: Any) -> httpx.Response:
        """A text to Ana, or what *params* make of it; None leaves one out."""
        whole = {"From": SENDER, "To": TO_ANA, "Body": "hola", **params}
        data = {name: value for name, value in whole.items() if value is not None}
        return await self.api("POST", "/Messages.json", data=data)

    async def writes(self, **message: Any) -> dict[str, Any]:
        """Ana writes to the sender."""
        said: dict[str, Any] = await self.post(
            "inbound", {"phoneNumberId": SENDER, "from": {"phone": ANA}, **message}
        )
        return said


@asynccontextmanager
async def twilio_place(
    settings: Settings = AT_ONCE, *, window: bool = True, **config: Any
) -> AsyncIterator[TwilioPlace]:
    """With *window*, Ana's 24 hours with the sender are open."""
    webhook = Webhook()
    outward = httpx.AsyncClient(transport=httpx.MockTransport(webhook))
    sandbox = create_sandbox(Config(settings=settings, **config), client=outward)
    inward = httpx.ASGITransport(sandbox.app)
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(transport=inward, base_url="http://sandbox") as client,
    ):
        await nursery.start(sandbox.run)
        here = TwilioPlace(sandbox, client, webhook)
        await here.post("twilio/senders", {"number": READY_SENDER.number, "webhookUrl": HOOK})
        if window:
            await here.post("customers", {"phone": ANA, "windows": {SENDER: "open"}})
        yield here
        nursery.cancel_scope.cancel()
