"""WhatsApp Web by the two commands: what they say can be pasted, and stays good."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.sandbox.web.place import needs_node

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60


@contextmanager
def started(place: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


def a_port() -> int:
    """One that is free, and the one after it."""
    while True:
        with closing(socket.socket()) as one, closing(socket.socket()) as next_one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                next_one.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@needs_node
def test_what_was_pasted_stays_good(tmp_path: Path) -> None:
    """The port after the sandbox's own, the same key and the same certificate, start after start."""
    port = a_port()
    told: list[dict[str, Any]] = []
    for _ in range(2):
        with started(tmp_path, "wad", "sandbox", "--bind", f"127.0.0.1:{port}", "--json") as process:
            web = json.loads(line_of(process))["web"]
            told.append({name: web[name] for name in ("webSocketUrl", "noiseRootKey", "extraCa")})
            told[-1]["certificate"] = Path(web["extraCa"]).read_text()
    assert told[0] == told[1]
    assert told[0]["webSocketUrl"] == f"ws://127.0.0.1:{port + 1}/ws/chat"
    kept = tmp_path / "var" / "sandbox"
    assert sorted(each.name for each in kept.iterdir()) == ["authority.pem", "host-key.pem", "host.pem"]


@needs_node
def test_what_is_printed_is_a_configuration(tmp_path: Path) -> None:
    """Under `providers`, as YAML."""
    with started(tmp_path, "wad", "sandbox", "--bind", "127.0.0.1:0") as process:
        lines = []
        while "extra_ca" not in (line := line_of(process)):
            lines.append(line)
        lines.append(line)
    start = next(at for at, each in enumerate(lines) if each.strip() == "providers:")
    settings = yaml.safe_load("".join(lines[start:]))["providers"]["baileys"]
    assert Path(settings["extra_ca"]).is_file()
    assert len(bytes.fromhex(settings["noise_root_key"])) == 32


def test_it_can_be_left_out(tmp_path: Path) -> None:
    """Then nothing of it is said, or written."""
    with started(tmp_path, "wad", "sandbox", "--bind", "127.0.0.1:0", "--no-web", "--json") as process:
        assert json.loads(line_of(process))["web"] is None
    assert not list(tmp_path.iterdir())
