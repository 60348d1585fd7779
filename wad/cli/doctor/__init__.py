"""`wad doctor`: looks at all that a daemon needs, and says what is in the way and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from wad.cli.command import command, json_option
from wad.cli.show import show_json
from wad.redaction import escaped

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(
    examples="""
    wad doctor
    wad doctor --config /etc/wad/wad.yaml --online
    """
)
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="FILE",
              help="The configuration; else as `wad serve` finds it.")  # fmt: skip
@click.option(
    "--online", is_flag=True, help="Also reach for the providers, and for http.public_url from here."
)
@json_option
def doctor(config_path: Path | None, online: bool, as_json: bool) -> int:
    """Find out what stands in the way of a daemon.

    Looks at configuration, data directory, keys, store, ports, a running daemon, webhooks, clock and Node, and
    changes nothing. Exit status 1 where something has to be mended before wad can work; warnings alone are 0.
    """
    from wad.cli.doctor.checks import examined

    findings = examined(config_path, os.environ, online=online)
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        show_json({"ok": not failed, "checks": [finding.as_json() for finding in findings]})
        return int(failed)
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level], bold=True)
        click.echo(f"{level}  {finding.check:{width}}  {escaped(finding.detail)}")
        if finding.next_step:
            click.echo(f"{'':4}  {'':{width}}  next: {finding.next_step}")
    return int(failed)
