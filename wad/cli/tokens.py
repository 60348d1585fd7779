"""`wad token new`: a token that nobody can guess, and the stanza of the configuration that lets it in."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

import click

from wad.cli.command import Group, json_option
from wad.cli.show import show_json
from wad.cli.stop import Stop


@click.group(cls=Group)
def token() -> None:
    """Make tokens for the API."""


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise click.BadParameter("should be 1 to 64 letters, digits, dots, underscores or hyphens")
    return value


@token.command(
    "new",
    examples="""
    wad token new                                        for an operator: sees everything
    wad token new --name shop9 --shop shop-9             for a shop: sees that shop alone
    wad token new --name ops --out /etc/wad/ops-token    into a file that only its owner reads
    """,
)
@click.option("--name", default="ops", show_default=True, callback=_name, help="What logs call its holder.")
@click.option(
    "--shop", "shops", multiple=True, metavar="SHOP", help="It may see this shop alone (repeatable)."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the token there, mode 0600, and not to the screen.",
)
@json_option
def token_new(name: str, shops: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Make a token, and the configuration that lets it in.

    wad stores nothing: the token counts from the next start with these lines in its file.
    """
    value = f"wad_{secrets.token_urlsafe(32)}"
    if out is not None:
        _write(out, value)
    written = f"file:{out.resolve()}" if out else value
    entry = {"name": name, "token": written, "scope": "shop", "shops": list(shops)}
    if not shops:
        entry = {"name": name, "token": written, "scope": "admin"}
    if as_json:
        show_json(entry)
        return
    if out is None:
        click.echo(value)
    else:
        click.echo(f"written to {out}", err=True)
    click.echo("\n# for the configuration:\nauth:\n  tokens:")
    click.echo(f"    - {json.dumps(entry)}")  # JSON is YAML


def _write(path: Path, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{value}\n")
    except FileExistsError:
        raise Stop(
            os.EX_CANTCREAT, f"{path} exists", next_step="name another file, or remove this one first"
        ) from None
    except OSError as error:
        raise Stop(os.EX_CANTCREAT, f"{path} cannot be made: {error.strerror}") from error
