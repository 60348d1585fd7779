"""The provider `baileys`: WhatsApp Web, by the library of that name. One linked device, one session.

It is unofficial: WhatsApp may ban a number that it takes for a machine's (docs/providers/baileys.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from wad.errors import FieldError
from wad.models import Address, Content, Session, SessionId
from wad.providers.baileys import content as contents
from wad.providers.baileys.bridges import BridgeConfig, Bridges
from wad.providers.baileys.connection import BaileysConnection, Settings, wire_name
from wad.providers.baileys.shelf import SWEEP_EVERY, Shelf
from wad.providers.base import Connection, Link, ProviderKind
from wad.providers.place import Place


class BaileysConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The section `providers.baileys`."""

    web_socket_url: str = "wss://web.whatsapp.com/ws/chat"
    sessions_per_bridge: int = 20
    node: str | None = None
    client_version: str | None = None
    noise_root_key: str | None = None
    extra_ca: Path | None = None

    @property
    def version(self) -> tuple[int, int, int] | None:
        if self.client_version is None:
            return None
        major, minor, patch = map(int, self.client_version.split("."))
        return major, minor, patch


class Baileys(ProviderKind):
    """The kind: one a process, with the bridges and the files that all its sessions share."""

    name = "baileys"
    capabilities = contents.CAPABILITIES

    def __init__(self, config: BaileysConfig, place: Place) -> None:
        self.shelf = Shelf(place.data_dir / "baileys", place.pools)
        self.bridges = Bridges(
            BridgeConfig(
                sessions_per_bridge=config.sessions_per_bridge, node=config.node, extra_ca=config.extra_ca
            ),
            publish=place.publish,
        )
        self._settings = Settings(
            url=config.web_socket_url,
            version=config.version,
            root_key=config.noise_root_key,
            spool=self.shelf.spool,
        )

    def __repr__(self) -> str:
        return f"<Baileys {self.bridges!r}>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.bridges.running(), trio.open_nursery() as nursery:
            await self.shelf.make()
            nursery.start_soon(self._sweep)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    async def _sweep(self) -> None:
        while True:
            await self.shelf.sweep()
            await trio.sleep(SWEEP_EVERY)

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return [
            FieldError(f"/credentials/{name}", "is not a credential: baileys has none, a phone pairs it")
            for name in credentials
        ]

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        return contents.check_send(to, content)

    @asynccontextmanager
    async def open(self, session: Session, link: Link) -> AsyncIterator[Connection]:
        connection = BaileysConnection(
            session, link, bridges=self.bridges, shelf=self.shelf, settings=self._settings
        )
        try:
            yield connection
        finally:
            await connection.leave()

    async def forget(self, session_id: SessionId) -> None:
        """Remove its spool: what that holds is sealed with a key that has gone with the others."""
        await self.shelf.forget_spool(wire_name(session_id))
