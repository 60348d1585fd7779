"""What every command has: examples under its help, and the options that several share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _WithExamples(click.Command):
    """A command whose help ends in examples: they teach more than the options do."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", _CONTEXT)
        super().__init__(*args, **kwargs)
        self.examples = inspect.cleandoc(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(_WithExamples):
    pass


class Group(_WithExamples, click.Group):
    """Commands in the order in which a newcomer meets them, not in the alphabet's."""

    command_class = Command

    def __init__(self, *args: Any, commands: Sequence[click.Command] = (), **kwargs: Any) -> None:
        super().__init__(*args, commands=commands, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def command(name: str | None = None, *, examples: str = "") -> Callable[[Callable[..., Any]], Command]:
    return click.command(name, cls=Command, examples=examples)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """`as_json`: print data for programs instead of text for people. Errors are JSON then as well."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too, on stderr.")(
        function
    )


def config_option(function: Callable[..., R]) -> Callable[..., R]:
    """`config`: the loaded configuration, and `config_file`: where it came from. A bad one ends the command, 78."""

    @click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The configuration; else $WAD_CONFIG, else /etc/wad/wad.yaml, else the defaults.",
    )
    @functools.wraps(function)
    def with_config(config_path: Path | None, **arguments: Any) -> R:
        from wad.cli.configuration import loaded

        config, config_file = loaded(config_path)
        return function(config=config, config_file=config_file, **arguments)

    return with_config
