"""The document that is served, and whether it tells the truth about the API that is served."""

import json
import re
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
from wad.http.routes import OPERATIONS
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
    said = done.stdout.decode()
    assert done.returncode == 0, said[-20_000:]
    tested = re.search(r"Tested:\s+(\d+)", said)
    assert tested, said[-20_000:]
    assert int(tested[1]) == len(OPERATIONS) - 2  # all but the event stream, and the document itself


async def test_the_document_describes_what_is_served(autojump_clock):
    """Every operation with its method and path, its bodies and its problems, and no reference into nowhere."""
    async with front() as ask:
        document = (await ask("GET", "/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert described == {(op.path, op.method) for op in OPERATIONS}
    for op in OPERATIONS:
        answers = document["paths"][op.path][op.method.lower()]["responses"]
        assert answers.keys() == {str(status) for status in op.answers.keys() | op.refusals}
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names <= document["components"]["schemas"].keys()


async def test_no_secret_can_be_read(autojump_clock):
    """No schema of an answer holds a credential's value."""
    async with front() as ask:
        schemas = (await ask("GET", "/openapi.json")).json["components"]["schemas"]
    assert schemas["SessionView"]["properties"]["credentials"]["additionalProperties"]["$ref"].endswith(
        "/Secret"
    )
    assert schemas["SettingsView"]["properties"]["flowSecret"]["anyOf"][0].get("type") != "string"
    assert schemas["Secret"]["properties"] == {"set": {"type": "boolean", "default": True}}
