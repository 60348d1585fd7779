"""`wad demo`: a daemon and a simulated WhatsApp in one process, set up and talking, on this machine alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import click

from wad.cli.command import command, json_option
from wad.cli.running import run

_DATA_DIR: Final = Path("var/demo")


@command(
    examples="""
    wad demo
    wad demo --once    end as soon as the conversation has worked; exit status 0 says that it has
    """
)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=_DATA_DIR, show_default=True,
              metavar="DIR", help="Where it keeps its state, its rules and its log.")  # fmt: skip
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535),
              help="Of the API. A taken one: the next that is free.")  # fmt: skip
@click.option("--once", is_flag=True, help="End when the conversation has worked.")
@json_option
def demo(data_dir: Path, port: int, once: bool, as_json: bool) -> None:
    """See wad at work, with a simulated WhatsApp.

    A shop's number is set up, a message goes out, a customer writes, and a rule answers. Then it stays up for you to play with: a chat page on which you are the customer, the API, the metrics.
    Nothing reaches the real WhatsApp or the internet. Started again, it goes on with what it had.
    """
    # Before the imports: they take a second, and nobody should wonder whether anything happens.
    click.echo(
        "wad demo: a shop's number on a simulated WhatsApp. Nothing leaves this machine.\n", err=as_json
    )
    from wad.cli.demo.stage import play

    run(partial(play, data_dir, port, once=once, as_json=as_json))
