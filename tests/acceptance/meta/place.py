"""Shops that reach their numbers by other ways than the Cloud API: over 360dialog, or by their whole account."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from tests.acceptance.daemon import Daemon
from tests.acceptance.shop import API, Shop, until
from tests.acceptance.town import Town


class MetaShop(Shop):
    """What the two have in common: a session is made, and what came in is looked at."""

    provider: str

    async def make(self, **more: Any) -> None:
        await self.put()
        made = await self.api.post(
            f"{API}/sessions",
            json={
                "sessionId": self.session_id,
                "provider": self.provider,
                "credentials": self.credentials,
                **more,
            },
        )
        assert made.status_code == 201, made.text

    async def put(self) -> None:
        """Make what the session needs at the sandbox."""
        raise NotImplementedError

    @property
    def webhook(self) -> str:
        return f"{self.daemon.public_url}/webhooks/{self.provider}/{self.session_id}"

    async def arrived(self, count: int = 1) -> list[dict[str, Any]]:
        """What came in, oldest first, once it is so much."""
        query = {"sessionId": self.session_id, "direction": "inbound"}

        async def look() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await self.api.get(f"{API}/messages", params=query)).json()[
                "items"
            ]
            return found[::-1]

        return await until(look, lambda items: len(items) >= count, what=f"{count} messages in")

    async def raw(self, body: Any, signature: str) -> int:
        """What the session's webhook answers to *body*, signed so."""
        spec = {"body": body, "signature": signature, "phoneNumberId": self.number}
        return int((await self.here.control("POST", "/raw", **spec))["status"])


class Dialog360Shop(MetaShop):
    """A number that 360dialog has."""

    provider = "dialog360"

    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient, name: str) -> None:
        super().__init__(here, daemon, api, name)
        self.key = f"D360key{self.number}"
        self.secret = f"secret{self.number}"

    @property
    def credentials(self) -> dict[str, str]:
        return {"apiKey": self.key, "webhookSecret": self.secret}

    async def put(self) -> None:
        spec = {"phoneNumberId": self.number, "accessToken": self.token, "apiKey": self.key}
        await self.here.control("POST", "/numbers", **spec, wabaId=f"9{self.number}", appId="360")

    async def listen(self) -> None:
        """Lead the webhooks to the session, by 360dialog's own call."""
        answer = await self.here.client.post(
            f"{self.here.sandbox_url}/360dialog/v1/configs/webhook",
            headers={"D360-API-KEY": self.key},
            json={"url": self.webhook, "headers": {"X-Secret": self.secret}},
        )
        assert answer.status_code == 200, answer.text


class BusinessShop(MetaShop):
    """An account of two numbers, with an app of its own whose callback is the session's."""

    provider = "meta_business"

    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient, name: str) -> None:
        super().__init__(here, daemon, api, name)
        number = zlib.crc32(name.encode())
        self.waba, self.app = str(3 * 10**14 + number), str(4 * 10**14 + number)
        self.second = str(2 * 10**14 + number)
        self.phones = {
            self.number: f"+525510{number % 10**6:06}",
            self.second: f"+525511{number % 10**6:06}",
        }
        self.secrets = {"appSecret": f"{number:032x}", "verifyToken": f"verify{number}"}

    @property
    def credentials(self) -> dict[str, str]:
        return {"accessToken": self.token, "wabaId": self.waba, **self.secrets}

    async def put(self) -> None:
        for number, phone in self.phones.items():
            spec = {"phoneNumberId": number, "accessToken": self.token, "displayPhoneNumber": phone}
            account = {"wabaId": self.waba, "appId": self.app, **self.secrets}
            await self.here.control("POST", "/numbers", **spec, **account)

    async def listen(self, url: str | None = None) -> None:
        """Have the app's callback lead to the session (or to *url*), by Meta's own call."""
        asked = {
            "object": "whatsapp_business_account",
            "callback_url": url or self.webhook,
            "verify_token": self.secrets["verifyToken"],
            "access_token": f"{self.app}|{self.secrets['appSecret']}",
        }
        await self.graph("POST", f"{self.app}/subscriptions", json=asked)

    async def graph(self, method: str, path: str, **options: Any) -> Any:
        """What Meta answers to a call of the account's owner that is right."""
        answer = await self.here.client.request(
            method,
            f"{self.here.sandbox_url}/v26.0/{path}",
            headers={"Authorization": f"Bearer {self.token}"},
            **options,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """An answer of the session's own routes that is a success."""
        answer = await self.api.request(method, f"{self.path}{path}", **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


S = TypeVar("S", bound=MetaShop)


@asynccontextmanager
async def meta_shop(
    kind: type[S], here: Town, daemon: Daemon, name: str = "shop", **more: Any
) -> AsyncIterator[S]:
    """A session that is connected."""
    # No connection is kept: over kills and restarts it would be the daemon's before.
    async with daemon.client(limits=httpx.Limits(max_keepalive_connections=0)) as api:
        made = kind(here, daemon, api, name)
        await made.open(**more)
        yield made
