"""The emulator's process: started with what it needs, its end noticed and said, started again on request.

What it knows lives and dies with it: a client that was linked before is answered 401 after, as by a phone that
was reset. So it does not come back by itself, which would look like that; `start_again` is somebody's decision.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from wad.node.child import Child, ChildError, ChildGone, ChildTimeout, open_child
from wad.node.find import NodeMissing, find_node, program
from wad.sandbox.web.certificate import certificate

#: The private key of the Noise root, the same on every start, so that a configuration stays good. It opens nothing.
_ROOT_KEY: Final = "30b2f2b65f1c4e0f9a7d3c5b8e6a1d4f72930c8be54d61fa0b3e7c9d2a815f46"
log: Final = logging.getLogger("wad.sandbox.web.emulator")

_START_WITHIN: Final = 30.0  # seconds; it takes half of one


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where WhatsApp Web listens, and where its certificate and media are."""

    bind: str = "127.0.0.1:0"
    directory: Path | None = None  # none: a temporary one
    node: str | None = None  # none: looked for


def next_port(bind: str) -> str:
    """Beside the sandbox's own: the same on every start, so that a configuration stays good. Port 0 stays 0."""
    host, _, port = bind.rpartition(":")
    return f"{host}:{int(port) + 1 if 0 < int(port) < 65535 else 0}"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has to know of this WhatsApp Web."""

    web_socket_url: str
    noise_root_key: str  # of the root, public, in hex
    extra_ca: str  # a PEM file for the media host
    media_url: str

    def settings(self) -> dict[str, str]:
        """As wad's configuration has it, under `providers.baileys`."""
        return {
            "web_socket_url": self.web_socket_url,
            "noise_root_key": self.noise_root_key,
            "extra_ca": self.extra_ca,
        }


class NotRunning(Exception):
    """There is no emulator that could do it. The text says why, and what to do."""


class Emulator:
    """Run it with `run`; then `call` it."""

    def __init__(
        self,
        config: WebConfig,
        *,
        on_event: Callable[[str, dict[str, Any]], Awaitable[None]],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        """*on_change* is called when it runs, and when it runs no more."""
        self._config = config
        self._on_event = on_event
        self._on_change = on_change
        self._child: Child | None = None
        self._port = int(config.bind.rpartition(":")[2])
        self._again = trio.Event()
        self._known = trio.Event()  # whether it runs
        self.access: Access | None = None
        self.directory: Path  # set by `run`
        self.missing: str | None = "it has not started yet"  # why it does not run

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it until cancelled. Started once it runs, or once it is known why it does not."""
        with ExitStack() as stack:
            self.directory = self._config.directory or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="wad-sandbox-"))
            )
            for passing in (self.files, self.directory / "media"):
                shutil.rmtree(passing, ignore_errors=True)  # of a sandbox that was killed
                stack.callback(shutil.rmtree, passing, ignore_errors=True)
            while True:
                await self._live(task_status)
                task_status = trio.TASK_STATUS_IGNORED
                self._again, self._known = trio.Event(), trio.Event()
                await self._again.wait()

    @property
    def files(self) -> Path:
        """What people have to say, until the end."""
        return self.directory / "files"

    async def start_again(self) -> None:
        """Have a new one in place of one that is gone; it knows nobody. Raises NotRunning where that fails."""
        if self._child is None:
            self._again.set()
            await self._known.wait()
        if self.missing is not None:
            raise NotRunning(self.missing)

    async def call(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        """What the emulator answers. A refusal is a ValueError, in its words."""
        child = self._child
        if child is None:
            raise NotRunning(f"WhatsApp Web is not there: {self.missing}")
        try:
            return await child.call(name, args)
        except ChildError as error:
            raise ValueError(error.message) from error
        except (ChildGone, ChildTimeout) as error:
            raise NotRunning(f"WhatsApp Web is not there: {error}") from error

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        """One life of the process. Why it did not begin, or why it is over, is in `missing`."""
        try:
            node = await find_node(self._config.node)
            command = [node.path, program("emulator")]
        except NodeMissing as error:
            self.missing = str(error)
            self._known.set()
            task_status.started()
            return
        async with open_child(command, name="emulator", on_event=self._on_event, env=os.environ) as child:
            try:
                self.access = await self._begin(child)
            except (ChildError, ChildGone, ChildTimeout) as error:
                self.missing = f"the emulator did not start: {error}"
            else:
                self._child, self.missing = child, None
                await self._on_change()
            self._known.set()
            task_status.started()
            if self._child is child:
                try:
                    status = await child.wait()
                    self.missing = f"the emulator has ended ({status}), and all it knew with it"
                    log.error("sandbox_emulator_ended", extra={"detail": self.missing})
                finally:
                    self._child = None
                await self._on_change()

    async def _begin(self, child: Child) -> Access:
        made = certificate(self.directory)
        host = self._config.bind.rpartition(":")[0].strip("[]")
        asked = {
            "host": host,
            "port": self._port,
            "tls": {"certFile": str(made.chain), "keyFile": str(made.key)},
            "rootKey": _ROOT_KEY,
            "dir": str(self.directory / "media"),
        }
        told = await child.call("start", asked, timeout=_START_WITHIN)
        self._port = int(told["url"].rpartition(":")[2].partition("/")[0])  # the same one after a new start
        return Access(
            web_socket_url=told["url"],
            noise_root_key=told["rootKey"],
            extra_ca=str(made.authority.resolve()),
            media_url=told["mediaUrl"],
        )
