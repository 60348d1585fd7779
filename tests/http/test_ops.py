"""What operators and people look at: alive, ready, metrics, pages."""

import re

import pytest
import trio

from tests.house import House
from tests.http.front import front
from wad.store.memory import MemoryEngine


async def test_it_lives_and_is_ready(autojump_clock):
    """The body shows how far restoring came."""
    async with front() as ask:
        await ask.session()
        assert (await ask.as_(None)("GET", "/healthz")).json == {"status": "ok"}
        ready = await ask.as_(None)("GET", "/readyz")
        assert (ready.status, ready.json) == (
            200,
            {"status": "ready", "restored": 0, "of": 0, "needPairing": 0, "spooled": 0},
        )


async def test_until_the_sessions_are_back_nothing_is_promised(autojump_clock, monkeypatch):
    """503 with Retry-After for everything that needs them, webhooks too; a token is asked for all the same."""
    house = House()
    async with front(house) as ask:
        for name in ("a", "b"):
            await ask.session(name)
    async with front(house, restore=False) as ask:
        ready = await ask("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (503, "starting")
        assert ready.headers["retry-after"]
        for method, path in (("GET", "/sessions"), ("POST", "/send"), ("POST", "/webhooks/cloud_api")):
            reply = await ask(method, path, {})
            assert (reply.status, reply.json["code"]) == (503, "starting")
            assert reply.headers["retry-after"] == "1"
        assert (await ask.as_(None)("GET", "/sessions")).status == 401
        for path in ("/healthz", "/metrics", "/openapi.json", "/docs", "/"):
            assert (await ask("GET", path)).status == 200
        await ask.sessions.restore()
        ready = await ask("GET", "/readyz")
        assert (ready.status, ready.json["restored"], ready.json["of"]) == (200, 2, 2)
        assert len((await ask("GET", "/sessions")).json["items"]) == 2


async def test_who_is_leaving_is_not_ready(autojump_clock):
    """So that a balancer sends nobody any more."""
    async with front() as ask:
        ask.app.draining = True
        ready = await ask("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (503, "draining")


async def test_a_store_that_is_slow_to_say_hello_is_not_ready(autojump_clock, monkeypatch):
    """Within two seconds, or no."""

    async def slow(_):
        await trio.sleep(60)

    async with front() as ask:
        monkeypatch.setattr(MemoryEngine, "ping", slow)
        began = trio.current_time()
        assert (await ask("GET", "/readyz")).json["status"] == "no_store"
        assert trio.current_time() - began == 2


async def test_metrics_are_served_as_prometheus_wants_them(autojump_clock):
    """Text, in its version."""
    async with front() as ask:
        reply = await ask.as_(None)("GET", "/metrics")
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert reply.body.startswith(b"# HELP")


@pytest.mark.parametrize("path", ["/docs", "/problems/not_found"])
async def test_pages_run_and_load_nothing(path, autojump_clock):
    """A strict policy, and a page that fits it: the one style by its hash, no script, nothing from afar."""
    async with front() as ask:
        page = await ask.as_(None)("GET", path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        html = page.body.decode()
        assert "<script" not in html
        assert " style=" not in html
        assert not re.findall(r"""(?:src|href)=['"](?!/)""", html)
        import base64
        import hashlib

        [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy


async def test_the_docs_name_every_operation(autojump_clock):
    """The page is made from the table, too."""
    from wad.http.routes import OPERATIONS

    async with front() as ask:
        page = (await ask("GET", "/docs")).body.decode()
        assert all(op.path in page for op in OPERATIONS)
