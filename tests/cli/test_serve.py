"""`wad serve` and `wad sandbox`: they start with nothing prepared, say where they are, and end when told to."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import httpx
import yaml

from tests.cli.conftest import COMMAND, PATIENCE, Running, Wad, environment, free_port, started, until


def test_the_first_start_makes_what_it_needs_and_says_where(elsewhere: Path):
    """A newcomer has nothing to prepare; the token's file is his alone, and SIGTERM ends it with 0."""
    with started("serve", cwd=elsewhere, env={"WAD_HTTP__BIND": '["127.0.0.1:0"]'}) as (places, process):
        token_file = elsewhere / places["tokenFile"]
        assert token_file == elsewhere / "var" / "admin-token"
        assert token_file.stat().st_mode & 0o077 == 0
        assert httpx.get(f"{places['addresses'][0]}/readyz").json()["status"] == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_people_are_told_every_place_and_the_next_command(elsewhere: Path):
    """And the command that is printed works as it stands."""
    serve = subprocess.Popen([*COMMAND, "serve"], cwd=elsewhere, env=environment(WAD_HTTP__BIND='["127.0.0.1:0"]'),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    assert serve.stdout is not None
    try:
        shown: list[str] = []
        while not shown or not shown[-1].startswith("ready; "):
            shown.append(serve.stdout.readline())
            assert shown[-1], shown
        command = shown[-1].partition(": wad ")[2].split()
        subprocess.run([*COMMAND, *command], cwd=elsewhere, env=environment(), check=True)
    finally:
        serve.terminate()
        serve.communicate(timeout=PATIENCE)
    assert {line.split()[0] for line in shown if line.strip()} >= {
        "console",
        "API",
        "docs",
        "metrics",
        "health",
        "token",
    }


def test_a_taken_port_is_one_line_and_69(running: Running, elsewhere: Path):
    """Not 78: when the other one goes, systemd's next try succeeds."""
    taken = running.url.removeprefix("http://")
    ran = subprocess.run([*COMMAND, "serve"], cwd=elsewhere, env=environment(WAD_HTTP__BIND=f'["{taken}"]'),
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert ran.returncode == 69
    assert f"cannot listen on {taken}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_store_in_use_is_one_line_and_78(running: Running, elsewhere: Path):
    """Two daemons over one store would send everything twice."""
    env = environment(WAD_STORE__DATA_DIR=str(running.token_file.parent), WAD_HTTP__BIND='["127.0.0.1:0"]')
    ran = subprocess.run(
        [*COMMAND, "serve"], cwd=elsewhere, env=env, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "in use" in ran.stderr, "Traceback" in ran.stderr) == (78, True, False)


def test_a_mongodb_that_does_not_answer_is_75(elsewhere: Path):
    """Once it has been waited for: the next start may find it, and a service manager is to try again."""
    env = environment(
        WAD_STORE__WAIT="100ms",
        WAD_HTTP__BIND='["127.0.0.1:0"]',
        WAD_STORE__URL="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
        WAD_SECRETS__MASTER_KEY="A" * 43 + "=",
        WAD_AUTH__TOKENS="[{name: ops, token: some-token, scope: admin}]",
    )
    ran = subprocess.run(
        [*COMMAND, "serve"], cwd=elsewhere, env=env, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "does not answer" in ran.stderr, "Traceback" in ran.stderr) == (75, True, False)


# --- sandbox ----------------------------------------------------------------------------------------


def test_the_sandbox_says_what_a_gateway_has_to_know(running: Running):
    """Its address, and the credentials of its number; the fixture's daemon lives on them."""
    assert running.number.keys() == {"phoneNumberId", "accessToken", "appSecret", "verifyToken"}
    assert httpx.get(f"{running.sandbox}/").headers["Content-Type"].startswith("text/html")


def test_the_sandbox_says_how_each_provider_gets_in(elsewhere: Path):
    """A line of configuration and a command for each, to be copied as they stand, with the gateway that was named."""
    callback = "--callback=http://127.0.0.1:1/webhooks/cloud_api"
    with (elsewhere / "sandbox.log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "sandbox", "--bind=127.0.0.1:0", "--no-web", callback],
            cwd=elsewhere,
            env=environment(),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "Ctrl-C" in (elsewhere / "sandbox.log").read_text())
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    said = (elsewhere / "sandbox.log").read_text()
    for provider in ("meta_business", "dialog360", "twilio"):
        assert f"\n    {provider}: {{base_url: " in said
    for provider in ("cloud_api", "meta_business", "dialog360", "twilio"):
        assert f"--provider {provider} \\\n    --credential " in said
    assert 'public_url: "http://127.0.0.1:1"' in said
    assert "webhooks go to http://127.0.0.1:1/webhooks/<provider>" in said


def test_what_the_sandbox_prints_for_a_configuration_is_one(wad: Wad, elsewhere: Path):
    """Every provider with its URL, and Twilio's need of a public one: `wad check` takes the lines as they stand."""
    command = [*COMMAND, "sandbox", "--no-web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        command, cwd=elsewhere, env=environment(), stdout=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout is not None
        said = "".join(iter(sandbox.stdout.readline, "and a session of each that is wanted:\n"))
        sandbox.send_signal(signal.SIGINT)
        assert sandbox.stdout.read().count("wad sessions create") == 3
        assert sandbox.wait(PATIENCE) == 0
    file = elsewhere / "wad.yaml"
    file.write_text(said.partition("in its configuration:\n")[2])
    config = yaml.safe_load(file.read_text())
    assert {*config["providers"]} == {"meta_business", "dialog360", "twilio"}
    assert config["http"] == {"public_url": "http://127.0.0.1:8080"}
    ran = wad("check", "--config", str(file))
    assert ran.status == 0, ran.err


def test_the_sandbox_calls_back_as_soon_as_somebody_is_there(elsewhere: Path):
    """Started first or second: it tries on until the daemon shakes hands."""
    port = free_port()
    callback = f"http://127.0.0.1:{port}/webhooks/cloud_api"
    with started("sandbox", "--bind=127.0.0.1:0", f"--callback={callback}", cwd=elsewhere) as (
        sandbox,
        process,
    ):
        env = {
            "WAD_HTTP__BIND": f'["127.0.0.1:{port}"]',
            "WAD_PROVIDERS__CLOUD_API__VERIFY_TOKEN": sandbox["credentials"]["verifyToken"],
        }
        with started("serve", cwd=elsewhere, env=env):
            until(lambda: f"webhooks go to {callback}" in (elsewhere / "sandbox.log").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_a_taken_address_of_the_sandbox_is_69(wad: Wad, running: Running):
    taken = running.sandbox.removeprefix("http://")
    ran = wad("sandbox", "--bind", taken)
    assert (ran.status, f"cannot listen on {taken}" in ran.err) == (69, True)


def test_a_ledger_that_cannot_be_written_is_73(wad: Wad):
    assert wad("sandbox", "--bind", "127.0.0.1:0", "--ledger", "/nowhere/ledger.jsonl").status == 73
