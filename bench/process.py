"""A process under measurement: started on a core of its own, watched through /proc, ended by its pid."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import yaml

from bench.wire import Client, clock
from bench.world import APP_SECRET, TOKEN, World

#: The measured process has the first core, everything else the second.
CORES = sorted(os.sched_getaffinity(0))
SUBJECT = {CORES[0]}
REST = {CORES[-1]}
MASTER_KEY = bytes(range(32))
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """`with Process(...) as it`: it answers when the block is entered, and is gone when it is left."""

    def __init__(
        self,
        world: World,
        arguments: list[str],
        *,
        port: int,
        log: Path,
        health: str,
        cores: set[int] = SUBJECT,
    ) -> None:
        self._world, self._arguments, self._log, self._health = world, arguments, log, health
        self._cores = cores
        self.port = port
        self.seconds_to_ready = 0.0

    def __enter__(self) -> Self:
        started = clock()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, self._cores),  # noqa: PLW1509  no threads here
            )
        self._await_health(started + 120)
        self.seconds_to_ready = clock() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            # It drains towards the world, so the world has to turn.
            self._world.loop.run(lambda: self._process.poll() is not None, 60)
        except TimeoutError:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def cpu(self) -> float:
        return cpu_of(self.pid)

    @property
    def rss(self) -> float:
        """MiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE / 2**20

    def _await_health(self, end: float) -> None:
        ready = False
        client = Client(self._world.loop, self.port)
        request = f"GET {self._health} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

        def ask() -> None:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._arguments} ended: {self._log.read_text()[-3000:]}")
            try:
                client.ask(request, heard)
            except ConnectionRefusedError:
                self._world.loop.at(clock() + 0.01, ask)

        def heard(status: int, _body: bytes) -> None:
            nonlocal ready
            ready = status == 200
            if not ready:
                self._world.loop.at(clock() + 0.01, ask)

        ask()
        self._world.loop.run(lambda: ready, end - clock())
        client.close()


def cpu_of(pid: int) -> float:
    """Seconds of CPU so far, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_of(pid: int) -> dict[str, float]:
    """MiB: RSS, and PSS, in which a page that several processes have counts once."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    sizes = {line[0]: int(line[1]) / 1024 for line in lines}
    return {"rss_mib": sizes["Rss:"], "pss_mib": sizes["Pss:"]}


def daemon(world: World, directory: Path, *, store: str = "embedded", **more: Any) -> Process:
    """`wad serve` with its limits out of the way; its data is in *directory*."""
    port = free_port()
    plenty = {"rate": 100_000, "burst": 100_000, "pair_interval": "1ms", "pair_burst": 1000}
    config = {
        "http": {"bind": [f"127.0.0.1:{port}"]},
        "store": {"url": store, "data_dir": str(directory / "var"), "database": f"bench{os.getpid()}-{port}"},
        "auth": {"tokens": [{"name": "bench", "token": TOKEN, "scope": "admin"}]},
        "secrets": {"master_key": base64.b64encode(MASTER_KEY).decode()},
        "providers": {"cloud_api": {"base_url": world.graph_url, "app_secret": APP_SECRET, **plenty}},
        "limits": {"requests_per_second": 100_000, "request_burst": 100_000},
        **more,
    }
    path = directory / "wad.yaml"
    path.write_text(yaml.safe_dump(config))
    return Process(
        world, ["wad", "serve", "--config", str(path)], port=port, log=directory / "wad.log", health="/readyz"
    )


def ceiling(world: World, directory: Path, variant: str) -> Process:
    port = free_port()
    return Process(
        world,
        ["bench.ceiling", "--port", str(port), "--upstream", world.graph_url, "--variant", variant],
        port=port,
        log=directory / f"ceiling-{variant}.log",
        health="/healthz",
    )


@contextmanager
def mongo(asked: str | None) -> Iterator[str | None]:
    """The URI *asked* for; of a server of our own for `secantus`."""
    if asked != "secantus":
        yield asked
        return
    from tests.store.secantus import Secantus

    with tempfile.TemporaryDirectory() as directory:
        server = Secantus(Path(directory))
        server.start()
        try:
            yield server.uri
        finally:
            server.stop()


def settle(world: World, seconds: float) -> None:
    """Let *seconds* pass, in which the world goes on."""
    end = clock() + seconds
    world.loop.run(lambda: clock() >= end, seconds + 5)
