"""The daemon as its users have it: a process, its configuration file, its port and its signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import trio
import yaml
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "wad_test_" + "t" * 32
#: httpx loads the certificates of all the world's authorities for each client otherwise, which takes 50 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
#: As systemd starts a socket-activated service: the listening socket is descriptor 3.
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """`wad serve` over a configuration of its own. It can be killed and started again."""

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any],
        *,
        environ: dict[str, str] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        """With *listener* it is handed that socket to serve on, and binds none of its own."""
        self.port = free_port() if listener is None else int(listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "wad.log"
        self.config_file = directory / "wad.yaml"
        self._listener = listener
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.config: dict[str, Any] = {
            "http": {"bind": [f"127.0.0.1:{self.port}"], "public_url": self.url},
            "store": {"url": "embedded", "data_dir": str(directory / "var")},
            "auth": {"tokens": [{"name": "test", "token": TOKEN, "scope": "admin"}]},
            "limits": {"requests_per_second": 100_000, "request_burst": 100_000},
            **config,
        }
        self.configure()

    def configure(self, **sections: Any) -> None:
        """Write the file anew, with *sections* in place of those it had."""
        self.config |= sections
        self.config_file.write_text(yaml.safe_dump(self.config))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def public_url(self) -> str:
        """Where providers reach it."""
        return str(self.config["http"]["public_url"])

    def client(self, token: str = TOKEN, **more: Any) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, verify=NO_TLS, **more)

    # --- its life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, and return once it is ready."""
        self.launch()
        await self.until_ready()

    def launch(self, **environ: str) -> None:
        """Start it, with *environ* besides in this life, and return at once."""
        command = [sys.executable, "-m", "wad", "serve", "--config", str(self.config_file)]
        handed: list[int] = []
        if self._listener is not None:
            handed = [self._listener.fileno()]
            command = [sys.executable, "-c", _HAND_OVER, str(handed[0]), *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environ | environ, pass_fds=handed
            )

    async def until_ready(self, seconds: float = 60) -> None:
        assert self._process is not None
        async with self.client() as client:
            with trio.fail_after(seconds):
                while True:
                    if self._process.poll() is not None:
                        raise RuntimeError(f"it ended with {self._process.returncode}: {self.tail()}")
                    try:
                        if (await client.get("/readyz")).status_code == 200:
                            return
                    except httpx.TransportError:
                        pass
                    await trio.sleep(0.05)

    def kill(self) -> None:
        """As a power cut for the process: no code of its runs any more."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        if self._process is None or self._process.poll() is not None:
            return -1
        self.signal(signum)
        return await self.ended()

    async def ended(self, seconds: float = 90) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process is not None
        with trio.fail_after(seconds):
            while True:
                if (status := self._process.poll()) is not None:
                    return status
                await trio.sleep(0.02)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, signum: signal.Signals) -> None:
        os.kill(self.pid, signum)

    def end(self) -> None:
        """For the end of a test, however it went."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    # --- what it tells ----------------------------------------------------------------------------

    def tail(self, most: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-most:]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that name, of all its lives."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line.get("event") == event]

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels: `wad_store_up`, `wad_dead_letters{direction="outbound"}`."""
        async with self.client() as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return {
            sample.name + _labels(sample.labels): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


def crashes(metrics: dict[str, float]) -> float:
    """How many actors were restarted."""
    return sum(value for name, value in metrics.items() if name.startswith("wad_session_restarts_total"))


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{labels[name]}"' for name in sorted(labels)) + "}" if labels else ""
