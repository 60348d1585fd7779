"""A real Baileys, carried by wad's bridge: what a gateway is to the simulated WhatsApp Web."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from wad.node.child import Child, open_child
from wad.node.find import find_node, program
from wad.sandbox.web.emulator import Access


class Client:
    """One session in a bridge of its own. What it hears is in `heard`; its keys are kept here."""

    def __init__(self, access: Access, directory: Path) -> None:
        self._access = access
        self._directory = directory
        self._keys: dict[str, dict[str, str]] = defaultdict(dict)
        self._stirred = trio.Event()
        self._child: Child
        self.heard: list[tuple[str, dict[str, Any]]] = []

    async def call(self, name: str, **args: Any) -> Any:
        return await self._child.call(name, {"session": "shop", **args})

    async def open(self) -> None:
        """Connect: with what is kept, else by pairing."""
        settings = {
            "url": self._access.web_socket_url,
            "rootKey": self._access.noise_root_key,
            "version": None,
            "browser": ["Ubuntu", "Chrome", "22.04.4"],
            "spool": str(self._directory),
            "mediaDir": str(self._directory),
            "markOnline": True,
        }
        await self.call("open", creds=self._keys["creds"].get("creds"), settings=settings)

    async def send(self, jid: str, content: dict[str, Any], *, name: str = "3EB0000000000000000001") -> Any:
        return await self.call("send", id=name, jid=jid, content=content, quoted=None, check=False)

    async def until(
        self, event: str, good: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The arguments of the next such event, which may have come already; each is given once."""
        with trio.fail_after(30):
            while True:
                for place, (name, args) in enumerate(self.heard):
                    if name == event and good(args):
                        del self.heard[place]
                        return args
                self._stirred = trio.Event()
                await self._stirred.wait()

    async def _hear(self, event: str, args: dict[str, Any]) -> None:
        self.heard.append((event, args))
        self._stirred.set()

    async def _get(self, args: dict[str, Any]) -> Any:
        kept = self._keys[args["type"]]
        return {name: kept[name] for name in args["ids"] if name in kept}

    async def _set(self, args: dict[str, Any]) -> Any:
        for kind, values in args["data"].items():
            for name, value in values.items():
                if value is None:
                    self._keys[kind].pop(name, None)
                else:
                    self._keys[kind][name] = value
        return {}

    async def _set_creds(self, args: dict[str, Any]) -> Any:
        self._keys["creds"]["creds"] = args["creds"]
        return {}

    async def _message(self, args: dict[str, Any]) -> None:
        return None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Client]:
        node = await find_node()
        calls = {
            "keys.get": self._get,
            "keys.set": self._set,
            "creds.set": self._set_creds,
            "message.get": self._message,
        }
        env = {**os.environ, "NODE_EXTRA_CA_CERTS": self._access.extra_ca}
        command = [node.path, program("bridge")]
        async with open_child(
            command, name="bridge", calls=calls, on_event=self._hear, env=env
        ) as self._child:
            yield self
