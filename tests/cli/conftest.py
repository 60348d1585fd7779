"""Commands in this process, and a daemon and a sandbox in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from wad.cli import run

COMMAND = [sys.executable, "-m", "wad"]
#: Seconds that a process may take to start or to stop. Each takes one or two; a busy machine takes longer.
PATIENCE = 60.0
#: Ana, who is on the sandbox's WhatsApp from the start.
ANA = "+5215512345678"


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        """The error that `--json` puts on stderr: its last line."""
        return json.loads(self.err.splitlines()[-1])


Wad = Callable[..., Ran]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and nothing of wad's in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("WAD_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def wad(capsys: pytest.CaptureFixture[str], log_restored: None) -> Wad:
    """Run a command in this process."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        status = run(arguments)
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return call


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("WAD_")} | more


@contextmanager
def started(
    *arguments: str, cwd: Path, env: Mapping[str, str] = {}
) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    """A command that stays up and says where in one line of JSON; that, and its process. SIGTERM ends it."""
    log = cwd / f"{arguments[0]}.log"
    with (
        log.open("a") as err,
        subprocess.Popen(
            [*COMMAND, *arguments, "--json"],
            cwd=cwd,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"it did not start: {log.read_text()}"
            yield json.loads(line), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)


@dataclass(frozen=True)
class Running:
    """A daemon over a sandbox, with one session that is connected."""

    url: str
    token_file: Path
    sandbox: str
    number: Mapping[str, str]

    @property
    def options(self) -> tuple[str, ...]:
        return ("--url", self.url, "--token-file", str(self.token_file))

    def credentials(self, **other: str) -> list[str]:
        """The number's credentials as options of `sessions create`."""
        return [f"--credential={name}={value}" for name, value in {**self.number, **other}.items()]

    def inbound(self, text: str) -> None:
        """Let Ana write to the number."""
        said = {"from": {"phone": ANA}, "text": text}
        checked(httpx.post(f"{self.sandbox}/_sandbox/inbound", json=said))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("daemon")
    with started("sandbox", "--bind", "127.0.0.1:0", cwd=place) as (sandbox, _):
        env = {
            "WAD_HTTP__BIND": '["127.0.0.1:0"]',
            "WAD_PROVIDERS__CLOUD_API__BASE_URL": sandbox["url"],
        }
        with started("serve", cwd=place, env=env) as (daemon, _):
            yield Running(
                daemon["addresses"][0], place / daemon["tokenFile"], sandbox["url"], sandbox["credentials"]
            )


@pytest.fixture
def ask(wad: Wad, running: Running) -> Wad:
    """Run a command against the running daemon."""
    return lambda *arguments: wad(*arguments, *running.options)


@pytest.fixture(scope="session")
def _shop(running: Running) -> str:
    """A session that is connected, its webhooks wired; Ana has just written to it."""
    for command in (
        ["create", "shop", "--provider=cloud_api", "--shop=shop-9", *running.credentials()],
        ["connect", "shop"],
    ):
        subprocess.run([*COMMAND, "sessions", *command, *running.options], check=True, env=environment())
    number = {
        "phoneNumberId": running.number["phoneNumberId"],
        "callbackUrl": f"{running.url}/webhooks/cloud_api",
    }
    checked(httpx.post(f"{running.sandbox}/_sandbox/numbers", json=number))
    running.inbound("hola")
    return "shop"


@pytest.fixture
def shop(_shop: str) -> str:
    return _shop


def checked(answer: httpx.Response) -> None:
    assert answer.is_success, answer.text


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], object]) -> None:
    """Wait for another process to have done something."""
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.02)
