"""The document that is served, and whether it tells the truth about the API that is served."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from tests.house import House
from tests.http.front import TOKENS, SignedProvider, front
from wad.config.model import Http
from wad.content import CONTENT_TYPES
from wad.http import auth
from wad.http.server import serve_http
from wad.http.sockets import bind
from wad.providers.base import Capabilities

HERE = Path(__file__).parent


class AbleProvider(SignedProvider):
    """It sends whatever has the right shape."""

    capabilities = Capabilities(
        content_types=frozenset(CONTENT_TYPES),
        groups=True,
        reply_context=True,
        read_receipts=True,
        typing=True,
        media_upload=True,
        user_ids=True,
    )

    def check_send(self, to, content):
        return []


async def test_schemathesis_finds_nothing(monkeypatch):
    """Every status, media type, schema and header that comes is declared; what is declared wrong is refused."""
    monkeypatch.setattr(auth, "FAILURES", 10**9)  # it guesses a lot
    async with front(House(world=AbleProvider())) as ask, trio.open_nursery() as nursery:
        for session_id in ("shop", "shop-1", "shop-2"):
            await ask.session(session_id)
        stop = trio.Event()
        serve = partial(serve_http, shutdown_trigger=stop.wait, on_shutdown=ask.stream.close)
        [address] = await nursery.start(serve, ask.app, Http(), bind(["127.0.0.1:0"], backlog=64))
        run = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"]
        run += ["run", f"{address}/openapi.json", "--no-color"]
        run += ["--header", f"Authorization: Bearer {TOKENS['ops']}"]
        with trio.fail_after(240):
            done = await trio.run_process(
                run,
                check=False,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                env={
                    "SCHEMATHESIS_HOOKS": "tests.http.schemathesis_hooks",
                    "PATH": "",
                    "PYTHONPATH": str(HERE.parents[1]),
                },
            )
        stop.set()
    assert done.returncode == 0, done.stdout.decode()[-20_000:]
