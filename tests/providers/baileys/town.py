"""wad's whole inside over real bridges and a simulated WhatsApp Web, both in Node, on loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
import trio

from wad.actors.services import Limits, Services
from wad.events import Events, Fact
from wad.flow.delivery import FlowDefaults, Flows
from wad.guard import Guard
from wad.models import (
    Address,
    Content,
    Credentials,
    InboxItem,
    MessageId,
    MessageQuery,
    OutboundMessage,
    SessionId,
    SessionState,
    Settings,
    Status,
)
from wad.node.child import Child, open_child
from wad.node.find import NodeMissing, find_node, program
from wad.providers.baileys.kind import Baileys, BaileysConfig
from wad.providers.place import Place
from wad.providers.pools import Pools
from wad.sandbox.web.certificate import certificate
from wad.secrets import Vault
from wad.store.memory import MemoryEngine
from wad.store.store import Store
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sending import Draft
from wad.supervisor.sessions import NewSession, Sessions, open_sessions

T = TypeVar("T")

SHOP = "15550000001"
ANA = "5215512345678"
LEO = "5215587654321"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")


async def until(
    look: Callable[[], Awaitable[T | None]] | Callable[[], T | None], *, seconds: float = 30
) -> T:
    """What *look* gives, once it gives something: two processes are on their way."""
    with trio.fail_after(seconds):
        while True:
            found: Any = look()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await trio.sleep(0.02)


@dataclass
class Life:
    """One life of the daemon."""

    sessions: Sessions
    kind: Baileys
    store: Store

    def status(self, session_id: str = "shop") -> Status:
        return self.sessions.status(SessionId(session_id))

    async def in_state(self, state: SessionState, session_id: str = "shop") -> Status:
        return await until(lambda: status if (status := self.status(session_id)).state is state else None)

    async def send(
        self, content: Content, to: str | Address = f"+{ANA}", *, session_id: str = "shop", **more: Any
    ) -> OutboundMessage:
        address = Address(phone=to) if isinstance(to, str) else to
        draft = Draft(session_id=SessionId(session_id), to=address, content=content, **more)
        return (await self.sessions.messages.send(draft)).message

    async def message(self, message_id: MessageId, *states: str) -> OutboundMessage:
        """The message once it is in one of *states*."""

        async def look() -> OutboundMessage | None:
            found = await self.store.message(message_id)
            return found if found is not None and found.state in states else None

        return await until(look)

    async def received(self, count: int = 1, session_id: str = "shop") -> list[InboxItem]:
        """The first *count* messages that came in, oldest first."""

        async def look() -> list[InboxItem] | None:
            query = MessageQuery(session_id=session_id, direction="inbound", limit=500)
            found = [each for each in await self.store.find_messages(query) if isinstance(each, InboxItem)]
            return found[::-1] if len(found) >= count else None

        return await until(look)


@dataclass
class Town:
    """What outlives the daemon: WhatsApp, the store, and the files."""

    whatsapp: Child
    config: BaileysConfig
    directory: Path
    allowed: tuple[str, ...] = ()
    facts: list[Fact] = field(default_factory=list)
    presences: list[dict[str, Any]] = field(default_factory=list)  # what accounts' clients show of themselves

    def __post_init__(self) -> None:
        self._engine = MemoryEngine()
        self._master = os.urandom(32)

    @asynccontextmanager
    async def daemon(self, *, limits: Limits | None = None) -> AsyncIterator[Life]:
        store = Store(self._engine, Vault(self._master))
        events = Events()
        events.subscribe(self.facts.append)
        async with Pools(guard=Guard(self.allowed).network()) as pools:
            services = Services(
                store=store,
                patient=store.patient(),
                events=events,
                flows=Flows(FlowDefaults()),
                limits=limits or Limits(),
                random=Random(1),
            )
            place = Place(pools=pools, data_dir=self.directory / "var", publish=events.publish)
            kind = Baileys(self.config, place)
            async with (
                kind.running(),
                open_sessions(
                    services,
                    {kind.name: kind},
                    RestartPolicy(random=Random(1)),
                    check_url=lambda url: None,
                    grace=10.0,
                ) as sessions,
            ):
                await sessions.restore()
                yield Life(sessions, kind, store)

    async def begin(self, life: Life, session_id: str = "shop", **settings: Any) -> None:
        """Create a session, which then connects."""
        new = NewSession(
            provider="baileys",
            session_id=SessionId(session_id),
            credentials=Credentials(),
            settings=Settings(**settings),
        )
        await life.sessions.create(new)

    async def create(self, life: Life, session_id: str = "shop", **settings: Any) -> Status:
        """Create a session; its status once it waits for a phone."""
        await self.begin(life, session_id, **settings)
        return await life.in_state(SessionState.PAIRING, session_id)

    async def pair(self, life: Life, session_id: str = "shop", phone: str = SHOP, **settings: Any) -> Status:
        """Create a session, and have *phone* scan its code."""
        status = await self.create(life, session_id, **settings)
        await self.whatsapp.call("scan", {"qr": status.qr_code, "phone": phone})
        return await life.in_state(SessionState.CONNECTED, session_id)

    async def heard(self, message: OutboundMessage, phone: str = ANA, account: str = SHOP) -> dict[str, Any]:
        """What the ledger has of *message*, once *phone* has read it."""

        async def look() -> dict[str, Any] | None:
            for entry in (await self.whatsapp.call("ledger"))["entries"]:
                if entry["direction"] == "out" and entry["id"] == message.provider_message_id:
                    recipient = entry["recipients"].get(phone)
                    if (
                        entry["account"] == account
                        and recipient
                        and recipient["shown"]
                        and recipient["content"]
                    ):
                        return {**entry, "recipient": recipient}
            return None

        return await until(look)

    async def say(self, content: dict[str, Any], *, sender: str = ANA, **where: Any) -> str:
        args = {"from": sender, "content": content, **(where or {"to": SHOP})}
        return str((await self.whatsapp.call("say", args))["id"])


@asynccontextmanager
async def open_town(directory: Path, **config: Any) -> AsyncIterator[Town]:
    try:
        node, emulator = await find_node(), program("emulator")
    except NodeMissing as error:
        pytest.skip(str(error))
    keys = certificate(directory / "tls")
    presences: list[dict[str, Any]] = []

    async def told(event: str, args: dict[str, Any]) -> None:
        if event == "presence":
            presences.append(args)

    async with open_child([node.path, emulator], name="emulator", on_event=told) as whatsapp:
        tls = {"certFile": str(keys.chain), "keyFile": str(keys.key)}
        network = await whatsapp.call("start", {"tls": tls, "dir": str(directory / "whatsapp")})
        yield Town(
            whatsapp,
            BaileysConfig(
                web_socket_url=network["url"],
                noise_root_key=network["rootKey"],
                extra_ca=keys.authority,
                **config,
            ),
            directory,
            presences=presences,
        )
