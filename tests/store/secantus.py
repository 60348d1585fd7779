"""A MongoDB server for tests: SecantusDB as a process of its own, over a real socket.

Its traps, and why the client's options look as they do:
- It acknowledges what a kill -9 then loses, unless it runs with `--sync-on-commit`.
- `retryWrites` slows it to a crawl after some thousand writes.
- After NotPrimary the driver finds it again only at the next heartbeat, so heartbeats come often.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymongo

_START = 20.0  # seconds; it takes 0.3 on an idle machine

OPTIONS = "retryWrites=false&serverMonitoringMode=poll&heartbeatFrequencyMS=500"


def is_installed() -> bool:
    return importlib.util.find_spec("secantus") is not None


class Secantus:
    """One server, its directory and its port; it can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        self.uri = f"mongodb://127.0.0.1:{self.port}/?{OPTIONS}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "secantus", "--port", str(self.port)),
                    *("--storage-path", str(self._directory / "data")),
                    *("--sync-on-commit", "--enable-test-commands", "--log-level", "WARNING"),
                ],
                cwd=self._directory,  # no secantusd.toml of somebody's is picked up
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "server.log").read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
            return True
        return False

    def kill(self) -> None:
        """As a power cut: nothing is written back."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def freeze(self) -> None:
        """The host stalls: connections stand, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def fail(self, commands: list[str], *, times: int | None = 1, **how: Any) -> None:
        """Have the next *times* of *commands* fail; None: every one. `how` as mongod's failCommand takes it."""
        self._configure(
            mode="alwaysOn" if times is None else {"times": times},
            data={"failCommands": commands, "appName": "wad", **how},
        )

    def heal(self) -> None:
        self._configure(mode="off")

    def _configure(self, **document: Any) -> None:
        with pymongo.MongoClient[dict[str, Any]](self.uri, appName="tests") as client:
            client.admin.command({"configureFailPoint": "failCommand", **document})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
