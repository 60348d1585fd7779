"""A session of WhatsApp Web as its users have it: over the API on our side, over its phone and its people on the other."""

from __future__ import annotations

import itertools
import os
import signal
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.daemon import Daemon
from tests.acceptance.shop import API, Shop, until
from tests.acceptance.town import Town, running, town
from tests.sandbox.web.place import needs_node

__all__ = ["API", "LINKED_ROOM", "Web", "a_person", "bridges", "needs_node", "until", "web", "web_town"]

#: Seconds for a session to come back by itself: the first waits of the backoff, a start of Node, a login.
LINKED_ROOM = 60
_people = itertools.count(1)


def a_person() -> str:
    """The phone, in digits, of somebody whom nobody has written to yet."""
    return f"521558{next(_people):07}"


class Web(Shop):
    """One session of provider `baileys`, and the phone that it is linked to."""

    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient, name: str) -> None:
        super().__init__(here, daemon, api, name)
        self.phone = f"52155{zlib.crc32(name.encode()) % 10**8:08}"

    async def make(self, **more: Any) -> None:
        """Create the session, and return once it shows a code to scan."""
        await self.create(**more)
        await self.until_status(state="pairing")

    async def create(self, **more: Any) -> None:
        made = await self.api.post(
            f"{API}/sessions",
            json={"sessionId": self.session_id, "provider": "baileys", "credentials": {}, **more},
        )
        assert made.status_code == 201, made.text

    async def open(self, **more: Any) -> None:
        """Create the session, and scan its code with the phone; it is connected then."""
        await self.make(**more)
        await self.scan()

    async def scan(self) -> dict[str, Any]:
        """Scan the code that is shown now; the status, once connected."""
        await self.asks("scan", phone=self.phone, qr=(await self.qr())["qr"])
        return await self.until_status(state="connected")

    async def qr(self) -> dict[str, Any]:
        answer = await self.api.get(f"{self.path}/qr")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def connects(self, wait: float = 20) -> dict[str, Any]:
        """Ask for it, and what the status is then."""
        answer = await self.api.post(f"{self.path}/connect", headers={"Prefer": f"wait={wait:g}"})
        assert answer.status_code in (200, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stopped_by(self, code: str) -> dict[str, Any]:
        """The status, once it stopped for that reason, which only a person mends."""
        return await until(
            self.status,
            lambda s: s["reason"] is not None and s["reason"]["code"] == code and s["reason"]["needsPerson"],
            what=code,
        )

    async def noted(self, event: str) -> list[dict[str, Any]]:
        """What the network noted of the phone's clients: `linked`, `connected`, `disconnected`, ..."""
        return [
            each for each in await self.here.ledger("link", event=event) if each.get("phone") == self.phone
        ]

    async def uploaded(self, data: bytes, mime_type: str, filename: str = "file") -> str:
        """The id of a file, to be sent."""
        answer = await self.api.post(
            f"{API}/media", data={"sessionId": self.session_id}, files={"file": (filename, data, mime_type)}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["mediaId"])

    # --- the other side ---------------------------------------------------------------------------

    async def asks(self, path: str, **body: Any) -> dict[str, Any]:
        """What only the network, or a phone, can do."""
        return await self.here.control("POST", f"/web/{path}", **body)

    async def says(self, person: str, **content: Any) -> str:
        """*person* writes to the number, or to a group; the id of the message."""
        where = {} if "groupId" in content else {"to": self.phone}
        said = await self.here.control("POST", "/web/say", **{"from": person}, **where, **content)
        return str(said["id"])

    async def record(self) -> list[dict[str, Any]]:
        """What became of each message of this number, both ways, by the network's own record."""
        told = await self.here.control("GET", "/web/messages")
        return [each for each in told["entries"] if each["account"] == self.phone]

    async def written(self, message_id: str) -> dict[str, Any]:
        """The network's record of a message of ours."""
        message = await until(
            lambda: self.message(message_id),
            lambda m: m["providerMessageId"] is not None or m["status"] == "failed",
            what="sent",
        )
        assert message["status"] != "failed", message
        [found] = [
            each
            for each in await self.record()
            if each["direction"] == "out" and each["id"] == message["providerMessageId"]
        ]
        return found

    async def shown(self, message_id: str, person: str) -> dict[str, Any]:
        """What *person* reads of a message of ours, deciphered by their phone."""

        async def look() -> dict[str, Any]:
            found = (await self.written(message_id))["recipients"].get(person) or {}
            return dict(found)

        found = await until(look, lambda r: r.get("content") is not None, what=f"shown to {person}")
        assert found["shown"] == 1
        content: dict[str, Any] = found["content"]
        return content

    async def said(self, provider_message_id: str) -> dict[str, Any]:
        """The network's record of a message that was said to the number."""
        [found] = [
            each
            for each in await self.record()
            if each["direction"] == "in" and each["id"] == provider_message_id
        ]
        return found

    async def arrived(self, person: str, count: int = 1) -> list[dict[str, Any]]:
        """What came in from *person*, oldest first, once it is so many."""

        async def look() -> list[dict[str, Any]]:
            answer = await self.api.get(
                f"{API}/messages",
                params={"sessionId": self.session_id, "direction": "inbound", "limit": 500},
            )
            assert answer.status_code == 200, answer.text
            return [each for each in answer.json()["items"][::-1] if each["from"]["phone"] == f"+{person}"]

        found = await until(look, lambda items: len(items) >= count, what=f"{count} messages in")
        assert len(found) == count
        return found


def bridges(daemon: Daemon) -> dict[int, str]:
    """The daemon's bridges that run now: their process ids, and their command lines."""
    found: dict[int, str] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name is in brackets and may hold anything; what follows is state, parent, ...
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == daemon.pid and "bridge" in command:
            found[int(status.parent.name)] = command
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def web_town(
    directory: Path,
    *,
    baileys: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    **config: Any,
) -> AsyncIterator[tuple[Town, Daemon]]:
    """WhatsApp Web, and a daemon that is led there. *baileys* is added to that section of its configuration."""
    async with town(directory, web=True) as here:
        if baileys and here.web is not None:
            here.web = {name: value for name, value in {**here.web, **baileys}.items() if value is not None}
        async with running(here, directory, environ=environ, **config) as daemon:
            yield here, daemon


@asynccontextmanager
async def web(here: Town, daemon: Daemon, name: str = "shop", **more: Any) -> AsyncIterator[Web]:
    """A session that is connected."""
    async with unpaired(here, daemon, name) as made:
        await made.open(**more)
        yield made


@asynccontextmanager
async def unpaired(here: Town, daemon: Daemon, name: str = "shop") -> AsyncIterator[Web]:
    """A session that is not there yet."""
    # No connection is kept: over kills and restarts it would be the daemon's before.
    async with daemon.client(limits=httpx.Limits(max_keepalive_connections=0)) as api:
        yield Web(here, daemon, api, name)
