"""A shop on Twilio: a sender of its own with an account of its own, its session, and who sends for it over the API."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.acceptance.daemon import Daemon
from tests.acceptance.shop import API, Shop, until
from tests.acceptance.town import Town

#: How Twilio is told, in a webhook's URL, to try as often as it can.
PATIENT = "#rc=5&rp=all"


class TwilioShop(Shop):
    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient, name: str) -> None:
        super().__init__(here, daemon, api, name)
        made_up = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        self.phone = f"+1555{zlib.crc32(name.encode()) % 10**7:07}"
        self.number = f"whatsapp:{self.phone}"
        self.account = f"AC{made_up}"
        self.token = made_up[::-1]

    @property
    def credentials(self) -> dict[str, str]:
        return {"accountSid": self.account, "authToken": self.token, "from": self.number}

    @property
    def webhook(self) -> str:
        return f"{self.daemon.public_url}/webhooks/twilio/{self.session_id}"

    async def make(self, **more: Any) -> None:
        await self.put(accountSid=self.account, authToken=self.token)
        made = await self.api.post(
            f"{API}/sessions",
            json={
                "sessionId": self.session_id,
                "provider": "twilio",
                "credentials": self.credentials,
                **more,
            },
        )
        assert made.status_code == 201, made.text

    async def listen(self, overrides: str = "") -> None:
        """Lead what customers write to the session; by default as Twilio does: it tries twice, and not for long."""
        await self.put(webhookUrl=self.webhook + overrides)

    async def put(self, **changes: Any) -> None:
        await self.here.control("POST", "/twilio/senders", number=self.phone, **changes)

    async def arrived(self, count: int = 1) -> list[dict[str, Any]]:
        """What came in, oldest first, once it is so much."""

        async def look() -> list[dict[str, Any]]:
            answer = await self.api.get(
                f"{API}/messages", params={"sessionId": self.session_id, "direction": "inbound"}
            )
            found: list[dict[str, Any]] = answer.json()["items"][::-1]
            return found

        found = await until(look, lambda items: len(items) >= count, what=f"{count} messages in")
        assert len(found) == count, found
        return found

    async def raw(self, **spec: Any) -> dict[str, Any]:
        """What the session's webhook answers to this."""
        return await self.here.control("POST", "/twilio/raw", phoneNumberId=self.number, **spec)


@asynccontextmanager
async def twilio_shop(
    here: Town, daemon: Daemon, name: str = "shop", **more: Any
) -> AsyncIterator[TwilioShop]:
    """A session that is connected."""
    # No connection is kept: over kills and restarts it would be the daemon's before.
    async with daemon.client(limits=httpx.Limits(max_keepalive_connections=0)) as api:
        made = TwilioShop(here, daemon, api, name)
        await made.open(**more)
        yield made
