"""A shop: a number of its own at the sandbox, its session at the daemon, and who sends for it over the API."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.town import Town
from wad.sandbox import READY

API = "/api/whatsapp"
#: The provider has the message, however far it is.
TAKEN = ("accepted", "sent", "delivered", "read")
_phones = itertools.count(1)


def a_phone() -> str:
    """Of a customer whom nobody has written to yet."""
    return f"+521557{next(_phones):07}"


def in_a_month() -> str:
    """Later than any test lasts, and sooner than a `sendAt` may be at most."""
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


class Shop:
    """One session, and all that a test asks of it."""

    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient, name: str) -> None:
        self.here = here
        self.daemon = daemon
        self.api = api
        self.session_id = name
        self.number = str(10**14 + zlib.crc32(name.encode()))
        self.token = f"EAAtoken{self.number}"
        self.secrets = {"appSecret": str(READY.app_secret), "verifyToken": str(READY.verify_token)}

    @property
    def credentials(self) -> dict[str, str]:
        return {"accessToken": self.token, "phoneNumberId": self.number, **self.secrets}

    async def open(self, **more: Any) -> None:
        """Make the number, the session, and the way of its webhooks; it is connected then."""
        await self.make(**more)
        await self.connect()
        await self.listen()

    async def make(self, **more: Any) -> None:
        """Make the number and the session."""
        await self.here.control("POST", "/numbers", phoneNumberId=self.number, accessToken=self.token)
        made = await self.api.post(
            f"{API}/sessions",
            json={
                "sessionId": self.session_id,
                "provider": "cloud_api",
                "credentials": self.credentials,
                **more,
            },
        )
        assert made.status_code == 201, made.text

    async def connect(self) -> None:
        connected = await self.api.post(f"{self.path}/connect", headers={"Prefer": "wait=20"})
        assert (connected.status_code, connected.json()["isConnected"]) == (200, True), connected.text

    async def listen(self) -> None:
        """Lead the number's webhooks to the session."""
        url = f"{self.daemon.public_url}/webhooks/cloud_api/{self.session_id}"
        await self.here.control("POST", "/numbers", phoneNumberId=self.number, callbackUrl=url)

    # --- asking -----------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return f"{API}/sessions/{self.session_id}"

    async def send(
        self,
        text: str = "hola",
        to: str | None = None,
        *,
        wait: float | None = None,
        key: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        headers = {} if wait is None else {"Prefer": f"wait={wait:g}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        body = {"sessionId": self.session_id, "to": to or a_phone(), "text": text, **more}
        return await self.api.post(f"{API}/send", json=body, headers=headers)

    async def taken(self, text: str = "hola", to: str | None = None, **more: Any) -> str:
        """The id of a message that was answered 202."""
        answer = await self.send(text, to, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["messageId"])

    async def message(self, message_id: str) -> dict[str, Any]:
        answer = await self.api.get(f"{API}/messages/{message_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.get(f"{self.path}/status")).json()
        return found

    async def until(self, message_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The message, once it is in one of *states*."""
        return await until(
            lambda: self.message(message_id), lambda m: m["status"] in states, seconds=seconds, what=states
        )

    async def until_status(self, seconds: float = 60, **fields: Any) -> dict[str, Any]:
        """The session's status, once it has these fields."""
        return await until(self.status, lambda s: fields.items() <= s.items(), seconds=seconds, what=fields)

    # --- the other side ---------------------------------------------------------------------------

    async def fault(self, kind: str, *, times: int | None = 1, match: Any = None, **more: Any) -> None:
        """The next sends of this number go wrong so."""
        match = {"operation": "messages", "phoneNumberId": self.number, **(match or {})}
        await self.here.fault(kind, times=times, match=match, **more)

    async def writes(self, phone: str, text: str, **more: Any) -> dict[str, Any]:
        """A customer writes to this number."""
        return await self.here.writes(phone, text, phoneNumberId=self.number, **more)

    async def sends(self) -> list[dict[str, Any]]:
        """What the network took from this number."""
        return await self.here.ledger("send", phoneNumberId=self.number)


@asynccontextmanager
async def shop(here: Town, daemon: Daemon, name: str = "shop", **more: Any) -> AsyncIterator[Shop]:
    async with daemon.client() as api:
        made = Shop(here, daemon, api, name)
        await made.open(**more)
        yield made


# --- waiting, and tables ----------------------------------------------------------------------------

T = TypeVar("T")


async def until(
    look: Callable[[], Awaitable[T]], good: Callable[[T], bool], *, seconds: float = 60, what: object = ""
) -> T:
    """What *look* sees, once it is *good*. The deadline only ends a test that has failed."""
    deadline = trio.current_time() + seconds
    pause = 0.02
    while not good(seen := await look()):
        assert trio.current_time() < deadline, f"not {what} after {seconds:g} s, but {seen}"
        await trio.sleep(pause)
        pause = min(2 * pause, 0.5)
    return seen


class Labelled(Protocol):
    @property
    def label(self) -> str: ...


Row = TypeVar("Row", bound=Labelled)


async def walk(rows: Collection[Row], check: Callable[[Row], Awaitable[None]]) -> None:
    """Check every row, side by side, and name each one that fails."""
    failed: dict[str, Exception] = {}

    async def one(row: Row) -> None:
        try:
            await check(row)
        except Exception as error:  # noqa: BLE001  told below, with its row
            failed[row.label] = error

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(one, row)
    if failed:
        told = "\n\n".join(
            f"{label}: {type(each).__name__}: {each}"
            for label, error in failed.items()
            for each in _leaves(error)
        )
        raise AssertionError(f"{len(failed)} of {len(rows)} rows failed\n\n{told}")


def _leaves(error: Exception) -> Iterator[Exception]:
    """What is in the groups that nurseries make."""
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
