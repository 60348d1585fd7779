"""`wad qr ID`: the code to scan, in the terminal, drawn anew whenever it changes."""

from __future__ import annotations

import sys
import time
from typing import Final

import click

from wad.cli.api import Api, api_options
from wad.cli.command import command
from wad.cli.refusal import Refusal
from wad.cli.sessions import path_of
from wad.cli.show import progress, show_json

_EVERY: Final = 1.5  # seconds; WhatsApp changes the code after 20 to 60


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
    code = api.get(path_of(session_id, "/qr"))
    if as_json:
        show_json(code)
        return
    drawn: str | None = None
    while code is not None:
        if code["qr"] != drawn:
            if drawn is not None and sys.stdout.isatty():
                click.clear()
            drawn = code["qr"]
            click.echo(api.text(path_of(session_id, "/qr")))
            progress("scan it with WhatsApp on the phone; Ctrl-C ends this")
        time.sleep(_EVERY)
        code = _current(api, session_id)
    click.echo(f"{session_id} is {api.get(path_of(session_id, '/status'))['state']}")


def _current(api: Api, session_id: str) -> dict[str, str] | None:
    try:
        code: dict[str, str] = api.get(path_of(session_id, "/qr"))
    except Refusal as error:
        if error.code == "not_pairing":
            return None
        raise
    return code
