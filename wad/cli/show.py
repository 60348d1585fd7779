"""What a command prints: JSON for programs, lines and tables for people, and progress on stderr.

Texts of customers reach the terminal, so everything is escaped that could move its cursor.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from wad.redaction import escaped

#: People read seconds; `--json` has all of it.
_FRACTION: Final = re.compile(r"(?<=\d\d:\d\d:\d\d)\.\d+Z$")
_COLOURS: Final = {
    "connected": "green", "accepted": "green", "sent": "green", "delivered": "green", "read": "green",
    "degraded": "yellow", "connecting": "yellow", "pairing": "yellow", "queued": "yellow", "unknown": "yellow",
    "failed": "red", "logged_out": "red", "bad_credentials": "red", "dead": "red", "expired": "red",
}  # fmt: skip


def show_json(value: Any) -> None:
    """One JSON document: indented for a terminal, one line for a pipe."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell; the last one is not padded."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    for number, line in enumerate([headers, *cells]):
        padded = [f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(_styled(cell, heading=number == 0) for cell in padded).rstrip())


def fields(pairs: Mapping[str, Any]) -> None:
    """One line a field; those without a value are left out."""
    shown = {name: _cell(value) for name, value in pairs.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        click.echo(f"{click.style(f'{name:{width}}', bold=True)}  {_styled(value)}")


def progress(text: str) -> None:
    """A line about what goes on: on stderr, so that it never mixes with what a program reads."""
    click.echo(click.style(escaped(text), dim=True), err=True)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return escaped(_FRACTION.sub("Z", value))
        case _:
            return escaped(str(value))


def _styled(padded: str, *, heading: bool = False) -> str:
    if heading:
        return click.style(padded, bold=True)
    colour = _COLOURS.get(padded.strip())
    return click.style(padded, fg=colour) if colour else padded
