"""The daemon as its users have it: a process, its configuration file, its port and its signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml

TOKEN = "wad_test_" + "t" * 32


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """`wad serve` over a configuration of its own. It can be killed and started again."""

    def __init__(
        self, directory: Path, config: dict[str, Any], *, environ: dict[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "wad.log"
        self._config = directory / "wad.yaml"
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "http": {"bind": [f"127.0.0.1:{self.port}"]},
            "store": {"url": "embedded", "data_dir": str(directory / "var")},
            "auth": {"tokens": [{"name": "test", "token": TOKEN, "scope": "admin"}]},
            "limits": {"requests_per_second": 100_000, "request_burst": 100_000},
            **config,
        }
        self._config.write_text(yaml.safe_dump(config))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, **more
        )

    async def start(self) -> None:
        """Start it, and return once it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  forks in a millisecond
                [sys.executable, "-m", "wad", "serve", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                env=self._environ,
            )
        await self.until_ready()

    async def until_ready(self, seconds: float = 60) -> None:
        assert self._process is not None
        async with httpx.AsyncClient() as client:
            with trio.fail_after(seconds):
                while True:
                    if self._process.poll() is not None:
                        raise RuntimeError(f"it ended with {self._process.returncode}: {self.tail()}")
                    try:
                        if (await client.get(f"{self.url}/readyz")).status_code == 200:
                            return
                    except httpx.TransportError:
                        pass
                    await trio.sleep(0.05)

    def tail(self, most: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-most:]

    def kill(self) -> None:
        """As a power cut for the process: no code of its runs any more."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        if self._process is None or self._process.poll() is not None:
            return -1
        self._signal(signum)
        with trio.fail_after(90):
            return await trio.to_thread.run_sync(self._process.wait)

    def _signal(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)

    def end(self) -> None:
        """For the end of a test, however it went."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
