"""The `wad` command: each command in a module of its own, which imports what is heavy only when it runs.

So `wad --help` and shell completion load click and nothing else of weight.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence

import click

from wad.cli.check import check, version
from wad.cli.command import Group
from wad.cli.dead_letters import dead_letters
from wad.cli.demo import demo
from wad.cli.doctor import doctor
from wad.cli.qr import qr
from wad.cli.sandbox import sandbox
from wad.cli.send import send
from wad.cli.serve import serve
from wad.cli.sessions import sessions
from wad.cli.stop import Stop
from wad.cli.store import store
from wad.cli.tail import tail
from wad.cli.tokens import token

__all__ = ["main", "run", "wad"]


@click.group(
    cls=Group,
    commands=[
        demo, serve, check, doctor,
        sessions, qr, send, tail, dead_letters,
        sandbox, store, token, version,
    ],
    examples="""
    wad demo                              see it work, with a simulated WhatsApp
    wad serve                             run it: http://127.0.0.1:8080, its state in ./var
    wad serve --config /etc/wad/wad.yaml  run it as it is configured
    wad sessions list                     ask a running one
    wad doctor                            find out what stands in the way
    """,
)  # fmt: skip
def wad() -> None:
    """Many WhatsApp numbers, one daemon, one HTTP API.

    The commands that talk to a running daemon find it by --url or $WAD_URL, and show the token of
    --token-file, of $WAD_TOKEN, or of ./var/admin-token.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status (of sysexits.h, where it failed)."""
    as_json = "--json" in arguments
    try:
        result = wad.main(
            list(arguments),
            prog_name="wad",
            standalone_mode=False,
            color=False if os.environ.get("NO_COLOR") else None,
        )
    except click.UsageError as error:
        if as_json and not isinstance(error, click.exceptions.NoArgsIsHelpError):
            _tell_json(error.format_message(), os.EX_USAGE)
        else:
            error.show()
        return os.EX_USAGE
    except Stop as stop:
        if as_json:
            _tell_json(stop.message, stop.status, **stop.facts)
        else:
            stop.show()
        return stop.status
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130  # 128 + SIGINT, as shells have it
    return result if isinstance(result, int) else os.EX_OK


def _tell_json(message: str, exit_code: int, **facts: object) -> None:
    click.echo(json.dumps({"error": message, "exit": exit_code, **facts}), err=True)


def main() -> None:
    """The entry point of the `wad` script and of `python -m wad`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a customer's taco must not end a command on a terminal without one
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
