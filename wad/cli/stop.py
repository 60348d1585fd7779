"""How a command ends when it cannot go on: what is wrong, what to do next, and an exit status for scripts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from wad.redaction import escaped


class Stop(Exception):
    """*status* is the exit status, one of sysexits.h, as `os.EX_*` names them; *next_step* says what the person can do now.

    *details* are lines of their own, one for each thing wrong. *facts* are what `--json` shows besides.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        next_step: str | None = None,
        details: Iterable[str] = (),
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.next_step = next_step
        self.details = list(details)
        self.facts = facts
        if self.details:
            self.facts.setdefault("details", self.details)
        if next_step:
            self.facts.setdefault("next", next_step)

    def show(self) -> None:
        click.echo(f"{click.style('wad:', fg='red', bold=True)} {escaped(self.message)}", err=True)
        for detail in self.details:
            click.echo(f"  {escaped(detail)}", err=True)
        if self.next_step:
            click.echo(f"{click.style('next:', bold=True)} {self.next_step}", err=True)
