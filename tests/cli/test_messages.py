"""`wad send`, `wad dead-letters ...` and `wad tail` against a running daemon."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.cli.conftest import (
    ANA,
    COMMAND,
    PATIENCE,
    Running,
    Wad,
    checked,
    environment,
    free_port,
    started,
    until,
)

#: Somebody who never wrote: Meta takes a message for them, and then says that the window is closed.
STRANGER = "+5215500000001"


def stream(ask: Wad, *options: str) -> list[dict[str, Any]]:
    ran = ask("tail", "--json", *options)
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


# --- sending ----------------------------------------------------------------------------------------


def test_a_message_is_sent(ask: Wad, shop: str):
    """Without --wait the command ends when it is on disk; with it, when WhatsApp has it."""
    assert ask("send", shop, ANA, "hola", "--json").status == 0
    sent = ask("send", shop, ANA, "hola", "--wait", "--json")
    assert sent.status == 0
    assert sent.json["providerMessageId"].startswith("wamid.")


def test_the_same_key_sends_once(ask: Wad, shop: str):
    """However often a script runs: an outage of its own network cannot make it two messages."""
    first, second = (ask("send", shop, ANA, "pedido listo", "--key=order-7", "--json").json for _ in range(2))
    assert first["messageId"] == second["messageId"]


def test_a_text_can_come_from_stdin(running: Running, shop: str):
    """Lines and all: a shell's quoting is no place for a letter."""
    send = [*COMMAND, "send", shop, ANA, "-", "--json", *running.options]
    ran = subprocess.run(
        send, input="línea 1\nlínea 2", text=True, capture_output=True, env=environment(), check=True
    )
    message_id = json.loads(ran.stdout)["messageId"]
    headers = {"Authorization": f"Bearer {running.token_file.read_text().strip()}"}
    message = httpx.get(f"{running.url}/api/whatsapp/messages/{message_id}", headers=headers).json()
    assert message["text"]["body"] == "línea 1\nlínea 2"


def test_a_shop_is_named_in_place_of_a_session(ask: Wad, running: Running):
    """Exactly one of the two; and the number that it is to leave from, if one is meant."""
    create = ["sessions", "create", "of-a-shop", "--provider=cloud_api", "--shop=shop-7", "--no-connect"]
    assert ask(*create, *running.credentials()).status == 0
    sent = ask("send", "--shop=shop-7", "--queue", ANA, "hola", "--json")
    assert sent.problem["problem"]["sessions"][0]["sessionId"] == "of-a-shop"
    refused = ask("send", "--shop=shop-7", "--from=+15550009999", ANA, "hola", "--json")
    assert refused.problem["problem"]["errors"][0]["pointer"] == "/from"
    for named in (["of-a-shop", "--shop=shop-7"], []):
        assert ask("send", *named, ANA, "hola").status == 64


def test_a_session_meant_to_be_disconnected_refuses_unless_asked_to_queue(ask: Wad, running: Running):
    """And the refusal names the way out."""
    create = ["sessions", "create", "resting", "--provider=cloud_api", "--no-connect", *running.credentials()]
    assert ask(*create).status == 0
    refused = ask("send", "resting", ANA, "hola")
    assert (refused.status, "--queue" in refused.err) == (65, True)
    assert ask("send", "resting", ANA, "hola", "--queue", "--json").json["status"] == "queued"


def test_a_message_that_does_not_go_out_in_time_stays_queued_and_is_not_an_error(ask: Wad, running: Running):
    """The daemon has it and goes on trying: a script that took this for a failure would send it twice."""
    create = ["sessions", "create", "waiting", "--provider=cloud_api", "--no-connect", *running.credentials()]
    assert ask(*create).status == 0
    ran = ask("send", "waiting", ANA, "hola", "--queue", "--wait", "--timeout=0.3")
    assert (ran.status, "do not send it again" in ran.err) == (0, True)


# --- dead letters -----------------------------------------------------------------------------------


def test_a_message_that_fails_becomes_a_dead_letter_that_can_be_tried_again(ask: Wad, shop: str):
    message_id = ask("send", shop, STRANGER, "hola", "--json").json["messageId"]
    [event] = stream(ask, "--types=message.dead_letter", "--after=0", "--count=1")
    assert event["data"]["messageId"] == message_id
    assert message_id in ask("dead-letters", "list", "--direction=outbound").out
    retried = ask("dead-letters", "retry", message_id, "--json")
    assert (retried.status, retried.json["items"][0]["messageId"]) == (0, message_id)


def test_waiting_for_a_message_that_fails_is_69(ask: Wad, running: Running, shop: str):
    """A script must not take it for sent. Here the network refuses at once, in its answer."""
    settings = f"{running.sandbox}/_sandbox/settings"
    checked(httpx.patch(settings, json={"failures": "answer"}))
    try:
        ran = ask("send", shop, STRANGER, "hola", "--wait", "--json")
    finally:
        checked(httpx.patch(settings, json={"failures": "webhook"}))
    assert (ran.status, ran.json["status"]) == (69, "failed")
    assert ran.problem["sent"]["error"]["code"] == "reply_window_closed"


def test_what_cannot_be_tried_again_is_told_and_the_rest_is(ask: Wad):
    """One mistyped id does not keep the others waiting."""
    ran = ask("dead-letters", "retry", "msg_none", "msg_nothing", "--json")
    assert ran.status == 65
    assert [each["problem"]["code"] for each in ran.json["items"]] == ["not_found"] * 2


# --- the event stream -------------------------------------------------------------------------------


def test_the_stream_begins_where_it_is_told(ask: Wad, shop: str):
    """`--after` an event's id: what came since, each once, in order."""
    events = stream(ask, "--after=0", "--count=3")
    assert stream(ask, f"--after={events[0]['id']}", "--count=2") == events[1:]


def test_people_read_one_line_an_event(ask: Wad, running: Running, shop: str):
    """Whose, from whom, what; and no control character of a customer reaches the terminal."""
    running.inbound("hola \x1b[31m rojo")
    received = ["tail", shop, "--types=message.received", "--after=0", "--count=2"]
    line = ask(*received).out.splitlines()[-1]
    assert f"{shop}  <- Ana Torres ({ANA})  hola \\x1b[31m rojo" in line


def test_a_terminal_that_cannot_show_it_is_no_reason_to_end(running: Running, shop: str):
    """Customers write in every script there is; somebody's terminal may know Latin-1 alone."""
    running.inbound("¡un 🌮!")
    tail = [*COMMAND, "tail", shop, "--types=message.received", "--after=0", "--count=3", *running.options]
    env = environment(PYTHONIOENCODING="latin-1")
    ran = subprocess.run(tail, env=env, capture_output=True, encoding="latin-1", check=True, timeout=PATIENCE)
    assert r"¡un \U0001f32e!" in ran.stdout


def test_a_stream_of_nothing_is_refused(ask: Wad):
    """A session mistyped would be silent for ever."""
    assert ask("tail", "nobody").status == 65
    assert ask("tail", "--types=weather").status == 65


def test_the_stream_comes_back_without_a_gap(elsewhere: Path):
    """The daemon is restarted under it: every event arrives once, those of between too."""
    port = free_port()
    env = {
        "WAD_HTTP__BIND": f'["127.0.0.1:{port}"]',
        "WAD_PROVIDERS__CLOUD_API__BASE_URL": "http://127.0.0.1:1",  # nothing is there: each session has its events
    }
    options = ["--url", f"http://127.0.0.1:{port}", "--token-file", "var/admin-token"]
    known = {"accessToken": "x", "phoneNumberId": "1", "appSecret": "a" * 32, "verifyToken": "x"}
    create = [*COMMAND, "sessions", "create", "--provider=cloud_api", *options]
    create += [f"--credential={name}={value}" for name, value in known.items()]
    listen = [*COMMAND, "tail", "--json", "--after=0", "--count=4", *options]

    heard = elsewhere / "heard.jsonl"
    with heard.open("w") as out, started("serve", cwd=elsewhere, env=env):
        subprocess.run(create, cwd=elsewhere, env=environment(), check=True)
        tail = subprocess.Popen(listen, cwd=elsewhere, env=environment(), stdout=out)
        until(heard.read_text)
    with started("serve", cwd=elsewhere, env=env):
        subprocess.run(create, cwd=elsewhere, env=environment(), check=True)
        assert tail.wait(PATIENCE) == 0
    ids = [int(json.loads(line)["id"]) for line in heard.read_text().splitlines()]
    assert ids == sorted(set(ids))
    assert len(ids) == 4
