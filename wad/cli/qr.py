"""`wad qr ID`: the code to scan, in the terminal, drawn anew whenever it changes."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final

import click

from wad.cli.api import Api, api_options
from wad.cli.command import command
from wad.cli.refusal import Refusal
from wad.cli.sessions import path_of
from wad.cli.show import progress, show_json
from wad.cli.stop import Stop

_EVERY: Final = 1.5  # seconds; WhatsApp changes the code after 20 to 60
#: Seconds that a session which is connecting has to show its first code.
_FIRST: Final = 30.0
#: States that lead to a code, or to another one.
_ON_THE_WAY: Final = ("connecting", "pairing")


@command(
    examples="""
    wad qr tienda-1           until it is paired
    wad qr tienda-1 --json    the code itself, once
    """
)
@click.argument("session_id", metavar="ID")
@api_options
def qr(api: Api, session_id: str, as_json: bool) -> None:
    """Draw the QR code that pairs a session.

    Anew whenever it changes, until somebody has scanned it. In WhatsApp on the phone: Settings, Linked devices, Link a device.
    """
    code: dict[str, Any] | None = _first(api, session_id)
    if as_json:
        show_json(code)
        return
    drawn: str | None = None
    while True:
        if code is not None and code["qr"] != drawn:
            if drawn is not None and sys.stdout.isatty():
                click.clear()
            drawn = code["qr"]
            _draw(api.text(path_of(session_id, "/qr")))
            progress("scan it with WhatsApp on the phone; Ctrl-C ends this")
        time.sleep(_EVERY)
        code = _current(api, session_id)
        if code is None and (status := _status(api, session_id))["state"] not in _ON_THE_WAY:
            break
    if status["state"] != "connected":
        reason = status["reason"] or {}
        why = f": {reason['detail']} ({reason['code']})" if reason else ""
        raise Stop(
            os.EX_UNAVAILABLE,
            f"{session_id} was not paired; it is {status['state']}{why}",
            next_step=f"`wad sessions connect {session_id}` begins anew",
        )
    click.echo(f"{session_id} is connected")


def _draw(blocks: str) -> None:
    """Light on dark, whatever the terminal's own colours are; without colours where nobody looks."""
    for line in blocks.splitlines():
        click.secho(line, fg="bright_white", bg="black")


def _first(api: Api, session_id: str) -> dict[str, Any]:
    """The first code; one of a session that is connecting is waited for."""
    ends = time.monotonic() + _FIRST
    while True:
        try:
            code: dict[str, Any] = api.get(path_of(session_id, "/qr"))
        except Refusal as error:
            if error.code != "not_pairing" or time.monotonic() > ends:
                raise
            if _status(api, session_id)["state"] not in _ON_THE_WAY:
                raise
        else:
            return code
        time.sleep(_EVERY)


def _current(api: Api, session_id: str) -> dict[str, Any] | None:
    try:
        code: dict[str, Any] = api.get(path_of(session_id, "/qr"))
    except Refusal as error:
        if error.code == "not_pairing":
            return None
        raise
    return code


def _status(api: Api, session_id: str) -> dict[str, Any]:
    status: dict[str, Any] = api.get(path_of(session_id, "/status"))
    return status
