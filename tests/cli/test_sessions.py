"""`wad sessions ...` and `wad qr` against a running daemon."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.cli.conftest import Running, Wad


def test_a_session_is_created_listed_looked_at_and_deleted(ask: Wad, running: Running):
    """The whole life of one, in the words of the help."""
    create = ["sessions", "create", "brief", "--provider=cloud_api", "--no-connect", *running.credentials()]
    created = ask(*create)
    assert (created.status, created.out) == (0, "created brief\n")
    assert ask(*create).status == 73
    assert "brief" in [each["sessionId"] for each in ask("sessions", "list", "--json").json["items"]]
    assert ask("sessions", "status", "brief", "--json").json["desiredState"] == "disconnected"
    assert ask("sessions", "delete", "brief", "--yes", "--json").json == {"deleted": "brief"}
    assert ask("sessions", "status", "brief").status == 65


def test_a_session_is_disconnected_and_connected_again(ask: Wad, shop: str):
    """Each command ends when it is so, and shows how it is."""
    assert ask("sessions", "disconnect", shop, "--json").json["state"] == "disconnected"
    connected = ask("sessions", "connect", shop)
    assert (connected.status, "connected" in connected.out) == (0, True)


def test_a_session_is_isolated_and_let_go(ask: Wad, shop: str):
    """It stays connected, and says what holds its sends."""
    isolated = ask("sessions", "breaker", shop, "isolate", "--json").json
    assert (isolated["breaker"], isolated["reason"]["code"]) == ("isolated", "breaker_isolated")
    assert ask("sessions", "breaker", shop, "close", "--json").json["breaker"] == "closed"


def test_a_session_is_logged_out(ask: Wad, running: Running):
    """One that pairs with no phone has nothing to unpair, and is disconnected."""
    ask("sessions", "create", "leaving", "--provider=cloud_api", *running.credentials())
    ran = ask("sessions", "logout", "leaving", "--yes", "--json")
    assert (ran.status, ran.json["state"], ran.json["desiredState"]) == (0, "disconnected", "disconnected")


@pytest.mark.parametrize("verb", ["delete", "logout"])
def test_what_cannot_be_undone_is_asked_first(ask: Wad, shop: str, monkeypatch, verb: str):
    """Nobody there to answer means no."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert ask("sessions", verb, shop).status == 130
    assert ask("sessions", "status", shop, "--json").json["desiredState"] == "connected"


def test_a_list_longer_than_a_page_is_fetched_whole(ask: Wad, running: Running):
    """Pages are the API's affair; `--limit` is the person's, and what is left is told."""
    names = [f"many-{number}" for number in range(5)]
    create = [
        "sessions",
        "create",
        "--provider=cloud_api",
        "--no-connect",
        "--shop=many",
        *running.credentials(),
    ]
    for name in names:
        assert ask(*create, name).status == 0
    assert [
        each["sessionId"] for each in ask("sessions", "list", "--shop=many", "--json").json["items"]
    ] == names
    some = ask("sessions", "list", "--shop=many", "--limit=2")
    assert ("many-1" in some.out, "many-2" in some.out, "more" in some.err) == (True, False, True)


def test_a_session_that_needs_a_person_is_69_with_the_reason(ask: Wad, running: Running):
    """Waiting would not help, so the command does not wait."""
    ask("sessions", "create", "wrong", "--provider=cloud_api", *running.credentials(accessToken="revoked"))
    ran = ask("sessions", "connect", "wrong", "--json")
    assert ran.status == 69
    assert (ran.json["state"], ran.problem["session"]["reason"]["needsPerson"]) == ("bad_credentials", True)


def test_credentials_need_not_stand_in_the_shells_history(
    ask: Wad, running: Running, elsewhere: Path, monkeypatch
):
    """From a file, from the environment; what cannot be read is told before anything is asked."""
    (elsewhere / "token.txt").write_text(running.number["accessToken"] + "\n")
    monkeypatch.setenv("NUMBER", running.number["phoneNumberId"])
    create = [
        "sessions",
        "create",
        "--provider=cloud_api",
        f"--credential=appSecret={running.number['appSecret']}",
    ]
    made = ask(
        *create, "--credential=accessToken=file:token.txt", "--credential=phoneNumberId=env:NUMBER", "--json"
    )
    assert made.status == 0, made.err
    assert ask("sessions", "connect", made.json["sessionId"]).status == 0
    for credential in ("accessToken=file:none.txt", "accessToken=env:NONE", "accessToken"):
        assert ask(*create, f"--credential={credential}").status == 64


def test_settings_are_json_where_they_look_like_it(ask: Wad, running: Running):
    """A rate is a number, a duplicate policy a word; the shell has only texts."""
    create = ["sessions", "create", "tuned", "--provider=cloud_api", "--no-connect", *running.credentials()]
    made = ask(*create, "--setting=rate=2.5", "--setting=duplicates=at_least_once", "--json")
    assert (made.json["settings"]["rate"], made.json["settings"]["duplicates"]) == (2.5, "at_least_once")
    assert "2.5 a second" in ask("sessions", "status", "tuned").out


def test_every_bad_field_is_told(ask: Wad):
    """As the API tells it, a line each."""
    ran = ask(
        "sessions", "create", "bad id", "--provider=cloud_api", "--phone=55", "--credential=accessToken=x"
    )
    assert ran.status == 65
    assert ["/sessionId" in ran.err, "/phoneNumber" in ran.err] == [True, True]


def test_a_session_that_does_not_pair_has_no_code(ask: Wad, shop: str):
    ran = ask("qr", shop)
    assert (ran.status, "not waiting for a code" in ran.err) == (65, True)
