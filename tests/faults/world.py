"""One daemon with a session over every provider, what it talks to, and a fault proxy on each way there.

`World.proxies` has one for each provider, `flow`, `webhooks` (from the providers to the daemon) and, where that is the
store, `mongo`. All of it but the daemon, MongoDB and WhatsApp Web is in this process, and outlives their deaths.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.meta.place import BusinessShop, Dialog360Shop
from tests.acceptance.shop import Shop, until
from tests.acceptance.town import Town, town
from tests.acceptance.twilio.place import TwilioShop
from tests.acceptance.web.place import Web
from tests.faults.load import Chat, Load, chats_of
from tests.faults.proxy import Proxy, fault_proxy
from tests.store.secantus import OPTIONS, Secantus

STORES = ("sqlite", "mongo")
#: The kind of session that stands for each provider.
SHOPS: dict[str, type[Shop]] = {
    "cloud_api": Shop,
    "dialog360": Dialog360Shop,
    "meta_business": BusinessShop,
    "twilio": TwilioShop,
    "baileys": Web,
}
#: Seconds for a session to be connected again: the first waits of the backoff, a start of Node, a login.
COMES_BACK = 90
MASTER_KEY = "Zm9yIHRoZSBmYXVsdCBtYXRyaXgsIDMyIGJ5dGVzLi4="
FLOW_SECRET = "whsec_Zm9yIHRoZSBmYXVsdCBtYXRyaXgsIGEgc2VjcmV0IQ=="
#: Statuses come soon, and webhooks are repeated soon and for long.
_TOWN: dict[str, Any] = {"statuses": {"sent": 0.01, "read": 0.03}, "retryDelays": [0.1, 0.2, 0.3, 0.5]}


@dataclass
class Seen:
    """What earlier rows have counted already."""

    messages: set[str] = field(default_factory=set)
    entries: int = 0  # of the sandbox's ledger
    frames: set[tuple[str, str]] = field(default_factory=set)  # of WhatsApp Web's record
    log: int = 0  # bytes
    given_up: set[str] = field(
        default_factory=set
    )  # texts that a provider gave up on, and that may still come in


@dataclass
class World:
    """What a fault has to play with."""

    store: str
    directory: Path
    here: Town
    daemon: Daemon
    proxies: dict[str, Proxy]
    led: dict[str, str]  # the URL over each proxy
    mongo: Secantus | None
    shops: dict[str, Shop] = field(default_factory=dict)  # by provider
    chats: list[Chat] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)  # what nothing may show
    lives: int = 0  # of the daemon
    armed: bool = False  # with a failpoint, in this life
    seen: Seen = field(default_factory=Seen)
    _texts: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def data_dir(self) -> Path:
        return self.directory / "var"

    @property
    def web(self) -> Web | None:
        shop = self.shops.get("baileys")
        return shop if isinstance(shop, Web) else None

    def load(self, **more: Any) -> Load:
        return Load(self.chats, self._texts, **more)

    # --- the daemon's lives -------------------------------------------------------------------------

    async def start(self, **environ: str) -> None:
        """Start it, with *environ* besides, and return once it is ready; its sessions need not be connected."""
        self.launch(**environ)
        try:
            await self.daemon.until_ready()
        except RuntimeError:
            if not self.armed:  # else its point was passed before anybody saw that it was ready
                raise

    def launch(self, **environ: str) -> None:
        """Start it, with *environ* besides."""
        self.lives += 1
        self.armed = "WAD_FAILPOINT" in environ
        self.daemon.launch(**environ)

    def kill(self) -> None:
        self.daemon.kill()

    async def stop(self) -> int:
        return await self.daemon.stop()

    async def connected(self, *providers: str, seconds: float = COMES_BACK) -> None:
        """Return once the sessions of *providers*, by default all, are connected."""
        async with trio.open_nursery() as nursery:
            for provider in providers or self.shops:
                nursery.start_soon(self._connected, self.shops[provider], seconds)

    async def _connected(self, shop: Shop, seconds: float) -> None:
        async def status() -> dict[str, Any]:
            try:
                return await shop.status()
            except httpx.TransportError:
                return {}

        await until(status, lambda s: bool(s.get("isConnected")), seconds=seconds, what=shop.session_id)


@asynccontextmanager
async def world(
    directory: Path, store: str, *, providers: Collection[str] = tuple(SHOPS), **config: Any
) -> AsyncIterator[World]:
    """All of it, with every session connected. *config* stands in the daemon's configuration besides."""
    await trio.Path(directory).mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(town(directory, web="baileys" in providers, **_TOWN))
        mongo = await stack.enter_async_context(_mongo(directory)) if store == "mongo" else None
        daemon = Daemon(directory, {})
        stack.callback(daemon.end)
        ways = {each: here.sandbox_url for each in providers if each != "baileys"}
        ways |= {"flow": here.flow.url, "webhooks": daemon.url}
        if here.web is not None:
            ways["baileys"] = here.web["web_socket_url"]
        if mongo is not None:
            ways["mongo"] = f"mongodb://127.0.0.1:{mongo.port}/"
        proxies = {
            name: await stack.enter_async_context(fault_proxy(*_host(url))) for name, url in ways.items()
        }
        led = {name: _led(ways[name], proxy) for name, proxy in proxies.items()}
        http = {**daemon.config["http"], "public_url": led["webhooks"]}
        daemon.configure(http=http, **_config(here, led, directory, store), **config)
        made = World(store, directory, here, daemon, proxies, led, mongo)
        made.secrets |= {MASTER_KEY, FLOW_SECRET, *_tokens(daemon)}
        await made.start()
        # No connection is kept: over kills and restarts it would be the daemon's before.
        api = await stack.enter_async_context(daemon.client(limits=httpx.Limits(max_keepalive_connections=0)))
        for provider in providers:
            shop = SHOPS[provider](here, daemon, api, provider.replace("_", "-"))
            made.shops[provider] = shop
            await shop.open()
            if not isinstance(shop, Web):
                made.secrets |= _secrets_of(shop)
            made.chats += await chats_of(shop)
        yield made


@asynccontextmanager
async def _mongo(directory: Path) -> AsyncIterator[Secantus]:
    (directory / "mongo").mkdir()
    server = Secantus(directory / "mongo")
    await trio.to_thread.run_sync(server.start)
    try:
        yield server
    finally:
        server.stop()


def _config(here: Town, led: dict[str, str], directory: Path, store: str) -> dict[str, Any]:
    """The daemon's configuration, in which every way leads over its proxy."""
    over_http = {"timeout": "5s"}
    named = {
        name: {"base_url": led[name] + ("/360dialog" if name == "dialog360" else ""), **over_http}
        for name in ("cloud_api", "dialog360", "meta_business", "twilio")
        if name in led
    }
    config = here.config(**named)
    if here.web is not None:
        config["providers"]["baileys"]["web_socket_url"] = led["baileys"]
    config["flow"] = {"url": led["flow"], "secret": FLOW_SECRET, "timeout": "5s"}
    config["secrets"] = {"master_key": MASTER_KEY}
    config["limits"] = {
        "settle_window": "15s",
        "requests_per_second": 100_000,
        "request_burst": 100_000,
    }
    config["store"] = {"url": "embedded", "data_dir": str(directory / "var")}
    if store == "mongo":
        config["store"] |= {"url": f"{led['mongo']}?{OPTIONS}&directConnection=true", "database": "wad"}
    return config


def _tokens(daemon: Daemon) -> set[str]:
    return {each["token"] for each in daemon.config["auth"]["tokens"]}


def _secrets_of(shop: Shop) -> set[str]:
    """The values of its credentials that are secret; ids are told."""
    return {
        value for name, value in shop.credentials.items() if name.lower().endswith(("token", "secret", "key"))
    }


def _host(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _led(url: str, proxy: Proxy) -> str:
    """*url*, over *proxy*."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{proxy.address[0]}:{proxy.address[1]}").geturl()
