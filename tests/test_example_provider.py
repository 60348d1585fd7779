"""The provider that docs/adding-a-provider.md walks through: installed as a package of its own, in a daemon as it is."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.acceptance.daemon import Daemon
from tests.packages import installed_at
from wad.conformance.peer import Exchange, serving

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs/examples/wad-paloma"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
SECRET = "webhook-secret"
CREDENTIALS = {"account": "a1", "apiKey": "k", "webhookSecret": SECRET}
ANA = "+5215512345678"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Of processes that find it where `pip install` would have put it."""
    site = installed_at(
        tmp_path / "site",
        PROJECT["project"]["name"],
        entry_points=PROJECT["project"]["entry-points"]["wad.providers"],
        modules={"wad_paloma": (EXAMPLE / "wad_paloma.py").read_text()},
    )
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def test_it_keeps_the_suite(environ: dict[str, str]) -> None:
    """As its author runs it: `pytest`, in its own directory."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLE,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) > 100


async def paloma(exchange: Exchange) -> None:
    """What the carrier answers."""
    if exchange.request.path == "/account":
        await exchange.answer(200, {"number": "+5215500000001"})
    else:
        await exchange.answer(200, {"id": "text-1"})


def signed(*events: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"account": "a1", "events": events}).encode()
    return body, {"x-paloma-signature": hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()}


async def test_a_daemon_has_it_as_it_has_its_own(tmp_path: Path, environ: dict[str, str]) -> None:
    """A session, a send with its status, a customer's text; its section, its capabilities, its place in the API."""
    async with serving() as peer:
        peer.otherwise = paloma
        config = {"providers": {"paloma": {"base_url": peer.url, "rate": 50}}}
        daemon = Daemon(tmp_path, config, environ=environ)
        try:
            await daemon.start()
            async with daemon.client() as client:
                told = (await client.get("/api/whatsapp/capabilities")).json()["items"]
                [can] = [each["capabilities"] for each in told if each["provider"] == "paloma"]
                assert (can["contentTypes"], can["groups"]) == (["text"], False)
                new = {"sessionId": "shop", "provider": "paloma", "credentials": CREDENTIALS}
                created = await client.post("/api/whatsapp/sessions", json=new)
                assert created.status_code == 201, created.text
                await client.post("/api/whatsapp/sessions/shop/connect", headers={"Prefer": "wait=5"})

                send = {"sessionId": "shop", "to": ANA, "text": "Hola"}
                sent = await client.post("/api/whatsapp/send", json=send, headers={"Prefer": "wait=5"})
                assert (sent.status_code, sent.json()["providerMessageId"]) == (200, "text-1")
                message_id = sent.json()["messageId"]
                assert peer.last.json == {"to": ANA, "text": "Hola", "ref": message_id}
                image = {"sessionId": "shop", "to": ANA, "image": {"link": "https://wad.example/a.jpg"}}
                refused = await client.post("/api/whatsapp/send", json=image)
                assert (refused.status_code, refused.json()["capability"]) == (422, "image")

                body, headers = signed(
                    {"type": "delivered", "id": "text-1", "ref": message_id},
                    {"type": "text", "id": "text-2", "from": ANA, "text": "buenas"},
                )
                assert (await client.post("/webhooks/paloma/shop", content=body)).status_code == 401
                taken = await client.post("/webhooks/paloma/shop", content=body, headers=headers)
                assert taken.status_code == 200, taken.text
                message = (await client.get(f"/api/whatsapp/messages/{message_id}")).json()
                assert message["status"] == "delivered"
                assert message["provider"] == "paloma"
                listed = await client.get("/api/whatsapp/messages", params={"direction": "inbound"})
                assert [each["text"]["body"] for each in listed.json()["items"]] == ["buenas"]
            assert await daemon.stop() == 0
        finally:
            daemon.end()


def test_what_is_wrong_with_its_section_is_told_with_all_else(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """`wad check`: each mistake with its path, and what is installed by name."""
    file = tmp_path / "wad.yaml"
    file.write_text("http: {bnd: []}\nproviders: {paloma: {base_ulr: x}, palona: {}}\n")
    command = [sys.executable, "-m", "wad", "check", "--config", str(file)]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "http.bnd: unknown key" in done.stderr
    assert "providers.paloma.base_ulr: unknown key; did you mean base_url?" in done.stderr
    assert "providers.palona: unknown key; did you mean paloma?" in done.stderr
