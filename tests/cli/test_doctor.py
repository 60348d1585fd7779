"""`wad doctor`: each thing that can be in the way is found, told with its next step, and nothing is changed."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.conftest import Running, Wad
from wad.node.find import NodeMissing
from wad.secrets import Vault
from wad.store.open import open_store


@pytest.fixture(autouse=True)
def quiet_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The configured port: free unless a test takes it."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("WAD_HTTP__BIND", f'["127.0.0.1:{port}"]')
    return port


def looked_at(wad: Wad, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was found by name."""
    ran = wad("doctor", "--json", *options)
    return ran.status, {each["check"]: each for each in ran.json["checks"]}


def a_store(place: Path, key: bytes = bytes(32)) -> None:
    """A store of before in *place*, with its key beside it."""
    place.mkdir(mode=0o700)

    async def make() -> None:
        async with open_store("embedded", data_dir=place, vault=Vault(key)):
            pass

    trio.run(make)
    (place / "master-key").write_text(base64.b64encode(key).decode())
    (place / "master-key").chmod(0o600)


def test_a_fresh_machine_has_nothing_in_the_way(wad: Wad, elsewhere: Path):
    """Warnings tell of what will be missed; nothing fails, and nothing is made."""
    status, found = looked_at(wad)
    assert status == 0
    assert {each["level"] for each in found.values()} <= {"ok", "warn"}
    assert list(elsewhere.iterdir()) == []


def test_what_is_in_the_way_has_a_next_step(wad: Wad, elsewhere: Path, monkeypatch):
    """A check that only complains leaves a person where they were."""
    (elsewhere / "var").write_text("a file where a directory should be")
    monkeypatch.setenv("WAD_HTTP__PUBLIC_URL", "http://shop.example")
    _, found = looked_at(wad)
    troubles = [each for each in found.values() if each["level"] != "ok"]
    assert {"data dir", "public URL", "daemon"} <= {each["check"] for each in troubles}
    assert [each["check"] for each in troubles if not each["next"]] == []


def test_people_get_a_line_each_and_the_next_step_below(wad: Wad):
    lines = wad("doctor").out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("warn  public URL"))
    assert lines[at + 1].strip().startswith("next: set http.public_url")


def test_a_taken_port_fails(wad: Wad, quiet_port: int):
    """By somebody who is not wad."""
    with closing(socket.create_server(("127.0.0.1", quiet_port))):
        status, found = looked_at(wad)
    assert (status, found["port"]["level"], found["daemon"]["level"]) == (1, "fail", "warn")


def test_a_running_daemon_is_seen_on_its_own_port(wad: Wad, running: Running, monkeypatch):
    """Its port is not a taken one, its store not one that cannot be opened."""
    monkeypatch.setenv("WAD_HTTP__BIND", f'["{running.url.removeprefix("http://")}"]')
    monkeypatch.setenv("WAD_STORE__DATA_DIR", str(running.token_file.parent))
    status, found = looked_at(wad)
    assert (status, found["port"]["level"], found["store"]["level"]) == (0, "ok", "ok")
    assert found["daemon"]["detail"].startswith("ready")


def test_a_bad_configuration_is_told_and_the_rest_is_left(wad: Wad, monkeypatch):
    """What depends on it would be guesswork; the machine can be looked at all the same."""
    monkeypatch.setenv("WAD_LOG__LEVEL", "loud")
    ran = wad("doctor")
    assert ran.status == 1
    assert "log.level" in ran.out
    assert "clock" in ran.out
    assert "store" not in ran.out


def test_a_store_that_opens_is_told_with_what_is_in_it(wad: Wad, elsewhere: Path):
    a_store(elsewhere / "var")
    status, found = looked_at(wad)
    assert (status, found["store"]["level"], found["master key"]["level"]) == (0, "ok", "ok")
    assert "0 sessions" in found["store"]["detail"]


def test_a_place_for_files_that_cannot_be_written_fails(wad: Wad, elsewhere: Path):
    """Customers' files would be lost one by one."""
    place = elsewhere / "var" / "media"
    place.mkdir(parents=True, mode=0o700)
    assert looked_at(wad)[1]["files"]["level"] == "ok"
    place.chmod(0o755)
    assert looked_at(wad)[1]["files"]["level"] == "warn"
    place.rmdir()
    place.write_text("in the way")
    status, found = looked_at(wad)
    assert (status, found["files"]["level"], "mkdir" in found["files"]["next"]) == (1, "fail", True)


def test_the_wrong_master_key_fails(wad: Wad, elsewhere: Path):
    """Found here, and not when the first customer writes."""
    a_store(elsewhere / "var")
    (elsewhere / "var" / "master-key").write_text(base64.b64encode(bytes(range(32))).decode())
    status, found = looked_at(wad)
    assert (status, found["store"]["level"]) == (1, "fail")


def test_a_broken_key_file_fails(wad: Wad, elsewhere: Path):
    a_store(elsewhere / "var")
    (elsewhere / "var" / "master-key").write_text("not a key")
    status, found = looked_at(wad)
    assert (status, found["master key"]["level"]) == (1, "fail")


def test_secrets_that_others_can_read_are_told(wad: Wad, elsewhere: Path):
    a_store(elsewhere / "var")
    (elsewhere / "var" / "master-key").chmod(0o644)
    (elsewhere / "var").chmod(0o755)
    _, found = looked_at(wad)
    assert (found["master key"]["level"], found["data dir"]["level"]) == ("warn", "warn")


def test_a_mongodb_that_does_not_answer_fails(wad: Wad, monkeypatch):
    monkeypatch.setenv("WAD_STORE__URL", "mongodb://ops:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100")
    monkeypatch.setenv("WAD_SECRETS__MASTER_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.setenv("WAD_AUTH__TOKENS", "[{name: ops, token: some-token, scope: admin}]")
    status, found = looked_at(wad)
    assert (status, found["store"]["level"]) == (1, "fail")
    assert "hunter2" not in str(found)


def test_broken_rules_fail(wad: Wad, elsewhere: Path, monkeypatch):
    """The daemon would not start with them."""
    (elsewhere / "rules.yaml").write_text("rules: hola")
    monkeypatch.setenv("WAD_FLOW__RULES", "rules.yaml")
    status, found = looked_at(wad)
    assert (status, found["rules"]["level"]) == (1, "fail")


def fake_node(place: Path, version: str) -> Path:
    path = place / "node"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "level"),
    [
        pytest.param("v20.0.0", "ok", id="the oldest that does"),
        pytest.param("v24.1.0", "ok", id="a new one"),
        pytest.param("v18.20.4", "warn", id="too old"),
        pytest.param("who knows", "warn", id="not Node"),
    ],
)
def test_node_is_only_ever_a_warning(wad: Wad, elsewhere: Path, monkeypatch, version: str, level: str):
    """Most never need it: only baileys sessions do."""
    monkeypatch.setenv("WAD_PROVIDERS__BAILEYS__NODE", str(fake_node(elsewhere, version)))
    status, found = looked_at(wad)
    assert (status, found["node"]["level"]) == (0, level)


def test_packages_of_node_that_are_not_installed_are_told(wad: Wad, monkeypatch):
    """Node alone is not enough: `pip install` brings no packages of npm's."""

    def missing(name: str) -> Path:
        raise NodeMissing("@whiskeysockets/baileys is not installed. Run: npm ci")

    monkeypatch.setattr(import_module("wad.cli.doctor.machine"), "program", missing)
    status, found = looked_at(wad)
    assert (status, found["baileys"]["level"]) == (0, "warn")
    assert "npm ci" in found["baileys"]["detail"]


def test_nothing_beyond_this_machine_is_tried_unless_asked_for(wad: Wad, running: Running, monkeypatch):
    """A check in a pipeline must not call Meta. `--online` says so; here it finds the sandbox in Meta's place."""
    for provider in ("CLOUD_API", "META_BUSINESS", "TWILIO", "DIALOG360"):
        monkeypatch.setenv(f"WAD_PROVIDERS__{provider}__BASE_URL", running.sandbox)
    monkeypatch.setenv("WAD_PROVIDERS__BAILEYS__WEB_SOCKET_URL", running.sandbox.replace("http", "ws"))
    assert "provider" not in looked_at(wad)[1]
    ran = wad("doctor", "--online")
    assert ran.out.count("can be reached") == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_made_fails(wad: Wad, monkeypatch):
    monkeypatch.setenv("WAD_STORE__DATA_DIR", "/proc/wad")
    status, found = looked_at(wad)
    assert (status, found["data dir"]["level"]) == (1, "fail")
