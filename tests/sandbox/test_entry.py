"""The ways in, and the wall around: a command that says what a gateway needs, and no import from wad's core."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path

import httpx
import trio

from wad.sandbox import READY, READY_SENDER

PACKAGE = Path(str(files("wad.sandbox")))


def test_the_sandbox_imports_nothing_of_wad() -> None:
    """It is the peer that wad is measured against: a shared mistake would hide from every test.

    `wad.node` starts a Node process and speaks JSON lines with it, and knows nothing of what is said.
    """
    foreign = {
        f"{path.name}: {name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
        if name.split(".")[0] == "wad" and not name.startswith(("wad.sandbox", "wad.node."))
    }
    assert foreign == set()


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            return [node.module or ""]
        case _:
            return []


async def test_the_command_says_what_a_gateway_needs_and_stops_when_told(tmp_path: Path) -> None:
    """URL, ids and tokens on stdout once it serves; a signal ends it, and the ledger is there."""
    ledger = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "wad.sandbox", "--bind", "127.0.0.1:0", "--no-web"]
    command += ["--ledger", str(ledger)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        said = ""
        with trio.fail_after(30):
            while "whatsapp:" not in said:
                said += (await process.stdout.receive_some()).decode()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)[0]  # type: ignore[index]
        for words in (
            *(READY.phone_number_id, READY.access_token, READY.app_secret, READY.verify_token),
            *(READY_SENDER.account_sid, READY_SENDER.auth_token, f"whatsapp:{READY_SENDER.number}"),
        ):
            assert str(words) in said
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(
                f"{url}/v26.0/{READY.phone_number_id}",
                headers={"Authorization": f"Bearer {READY.access_token}"},
            )
        assert answer.json()["id"] == READY.phone_number_id
        process.send_signal(signal.SIGINT)
        with trio.fail_after(10):
            assert await process.wait() == 0
    assert ledger.read_text().count("\n") == 1


async def test_a_taken_port_is_told_in_a_sentence() -> None:
    """Not in a traceback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        result = await trio.run_process(
            [sys.executable, "-m", "wad.sandbox", "--bind", f"127.0.0.1:{port}"],
            capture_stderr=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.decode().count("\n") == 1
    assert "cannot listen" in result.stderr.decode()
