"""`wad qr ID` against a session that pairs: drawn live, until a phone has scanned it or nobody did."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import click
import pytest
import trio

from tests.cli.conftest import PATIENCE
from tests.house import House
from tests.http.front import TOKENS, front
from tests.simulated import SocketProvider, refusal
from wad.cli import run
from wad.config import Config
from wad.errors import Verdict
from wad.http import qr
from wad.http.server import serve_http


@asynccontextmanager
async def pairing(session_id: str = "shop") -> AsyncIterator[tuple[SocketProvider, str]]:
    """A session that waits for its phone, over HTTP: its world, and the daemon's URL."""
    world = SocketProvider()
    async with front(House(world=world)) as ask, trio.open_nursery() as nursery:
        listening = socket.create_server(("127.0.0.1", 0))
        serving = partial(
            serve_http, ask.app, Config().http, [listening], shutdown_trigger=trio.sleep_forever
        )
        [url] = await nursery.start(serving)
        made = await ask(
            "POST", "/sessions", {"provider": "simulated", "sessionId": session_id, "credentials": {}}
        )
        assert made.status == 201
        yield world, url
        nursery.cancel_scope.cancel()


class Command:
    """`wad qr` in a thread, and what it has printed so far."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("WAD_TOKEN", TOKENS["ops"])
        self._url = url
        self._capsys = capsys
        self.out = self.err = ""
        self.status: int | None = None

    async def run(self, *arguments: str) -> None:
        call = partial(run, ["qr", "shop", "--url", self._url, *arguments])
        self.status = await trio.to_thread.run_sync(call)

    async def shows(self, text: str) -> None:
        """Wait until it has printed *text*."""
        with trio.fail_after(PATIENCE):
            while text not in self.out:
                await trio.sleep(0.02)
                self.read()

    def read(self) -> None:
        out, err = self._capsys.readouterr()
        self.out += click.unstyle(out)
        self.err += err


async def test_a_code_is_drawn_anew_until_a_phone_has_scanned_it(monkeypatch, capsys):
    """Each code once, and at the end that it is connected."""
    async with pairing() as (world, url), trio.open_nursery() as nursery:
        command = Command(url, monkeypatch, capsys)
        nursery.start_soon(command.run)
        await command.shows(qr.half_blocks("qr-1"))
        world.show("shop", "qr-2")
        await command.shows(qr.half_blocks("qr-2"))
        await world.scan("shop")
        await command.shows("shop is connected")
    assert command.status == 0
    command.read()
    assert command.out.count(qr.half_blocks("qr-1")) == command.out.count(qr.half_blocks("qr-2")) == 1


async def test_a_code_that_nobody_scanned_is_no_success(monkeypatch, capsys):
    """It says what became of the session, and what to do."""
    async with pairing() as (world, url), trio.open_nursery() as nursery:
        command = Command(url, monkeypatch, capsys)
        nursery.start_soon(command.run)
        await command.shows(qr.half_blocks("qr-1"))
        world.drop("shop", refusal(Verdict.NEEDS_PERSON, "pairing_expired"))
    command.read()
    assert command.status == 69
    assert "it is logged_out" in command.err
    assert "wad sessions connect shop" in command.err


async def test_the_code_itself_is_json(monkeypatch, capsys):
    """Once, for programs that draw it themselves."""
    async with pairing() as (_, url):
        command = Command(url, monkeypatch, capsys)
        await command.run("--json")
    command.read()
    assert command.status == 0
    assert '"qr": "qr-1"' in command.out or '"qr":"qr-1"' in command.out
