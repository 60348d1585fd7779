"""The command as a whole: its help, its cost, its exit statuses, its completion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from tests.cli.conftest import COMMAND, Wad, environment
from wad.cli import wad as everything


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


ALL = [pytest.param(path, id=" ".join(path)) for path in commands(everything)]

#: The commands that contract with users: they stay.
NAMED = {
    *("serve", "check", "sandbox", "demo", "qr", "send", "tail", "doctor", "version"),
    *(
        f"sessions {verb}"
        for verb in ("list", "create", "connect", "disconnect", "breaker", "logout", "status", "delete")
    ),
    *("dead-letters list", "dead-letters retry", "token new", "store export", "store import"),
}


def test_every_promised_command_is_there():
    """Scripts call them by these names."""
    assert {" ".join(path) for path in commands(everything)} >= NAMED


@pytest.mark.parametrize("path", ALL)
def test_every_command_explains_itself(wad: Wad, path: tuple[str, ...]):
    """Its help says what it does, and its first sentence fits the list of commands."""
    shown = wad(*path, "--help")
    assert shown.status == 0
    assert "Usage: wad " + " ".join(path) in shown.out
    command: click.Command = everything
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert not command.get_short_help_str(62).endswith("...")


@pytest.mark.parametrize(
    "path", [path for path in ALL if not isinstance(everything.commands[path.values[0][0]], click.Group)]
)
def test_everything_that_prints_can_print_json(path: tuple[str, ...]):
    """A program that calls wad never has to read text for people."""
    command = everything.commands[path[0]]
    assert any("--json" in parameter.opts for parameter in command.params)


def test_help_loads_nothing_heavy():
    """`wad --help` and completion are for people who wait: they load click, and none of what a daemon needs."""
    heavy = {
        "trio",
        "httpx",
        "quart",
        "hypercorn",
        "pydantic",
        "msgspec",
        "yaml",
        "cryptography",
        "structlog",
        "pymongo",
    }
    code = "import sys, wad.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["nonsense"], "No such command 'nonsense'", id="an unknown command"),
        pytest.param(["sessions", "list", "--colour"], "No such option", id="an unknown option"),
        pytest.param(["send", "shop"], "Missing argument", id="an argument left out"),
        pytest.param(["sandbox", "--bind", "8081"], "should be HOST:PORT", id="a value that cannot be"),
        pytest.param(
            ["dead-letters", "retry", "--token-file", "token"], "name the messages", id="nothing named"
        ),
    ],
)
def test_a_wrong_call_is_64_and_says_what_is_wrong(wad: Wad, arguments: list[str], said: str, elsewhere):
    """EX_USAGE, as sysexits has it; click's own 2 means a usage error nowhere else."""
    (elsewhere / "token").write_text("some-token")
    ran = wad(*arguments)
    assert (ran.status, said in ran.err, ran.out) == (64, True, "")


def test_with_json_a_wrong_call_is_json_too(wad: Wad):
    """Whoever reads JSON gets JSON, on stderr."""
    ran = wad("sessions", "list", "--limit", "none", "--json")
    assert ran.status == 64
    assert ran.problem["exit"] == 64
    assert "--limit" in ran.problem["error"]


def test_no_command_shows_the_help(wad: Wad):
    """A person who types `wad` wants to know what there is."""
    ran = wad()
    assert ran.status == 64
    assert "wad demo" in ran.err


def test_version_is_one_line_and_what_it_runs_on(wad: Wad):
    assert wad("version").out.splitlines()[0] == "wad 0.1.0"
    assert {"wad", "python", "trio", "sqlite"} <= wad("version", "--json").json.keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_it(shell: str):
    """docs/cli.md says how; click makes the script."""
    script = subprocess.run(
        [*COMMAND],
        env=environment(_WAD_COMPLETE=f"{shell}_source"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0
    assert "_WAD_COMPLETE" in script.stdout
