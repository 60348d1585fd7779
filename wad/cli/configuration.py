"""The configuration, for commands: loaded, or every problem of it printed with its path, and exit status 78."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from wad.cli.stop import Stop
from wad.config import Config, ConfigError, ProviderSection, ensure_secrets, find, load
from wad.errors import InvalidRequest


def loaded(path: Path | None) -> tuple[Config, Path | None]:
    """The configuration and the file it came from, if from any."""
    file = find(path, os.environ)
    try:
        return load(path, os.environ, others=sections), file
    except ConfigError as error:
        raise bad(error, file) from error


def sections() -> Mapping[str, type[ProviderSection] | None]:
    """Those of every provider that is installed."""
    from wad.providers.registry import installed

    return installed().sections


def with_secrets(config: Config, file: Path | None) -> tuple[Config, list[Path]]:
    """*config* with a master key and a token, and the files that were made for them just now."""
    try:
        return ensure_secrets(config)
    except ConfigError as error:
        raise bad(error, file) from error


def bad(error: ConfigError, file: Path | None) -> Stop:
    count = len(error.problems)
    return Stop(
        os.EX_CONFIG,
        f"the configuration {f'in {file} ' if file else ''}cannot be used: "
        f"{count} {'problem' if count == 1 else 'problems'}",
        details=[str(problem) for problem in error.problems],
        next_step="mend them, then `wad check` looks again; config/wad.yaml explains every key",
        problems=[{"path": problem.path, "detail": problem.detail} for problem in error.problems],
    )


def check_rules(config: Config) -> None:
    """The file of `flow.rules` can be used; the daemon would not start otherwise."""
    from wad.content import parse_reply
    from wad.flow.rules import Rules

    if config.flow.rules is None:
        return
    try:
        Rules.load(config.flow.rules, parse_reply)
    except InvalidRequest as error:
        raise bad_rules(error) from error
    except OSError as error:
        raise Stop(os.EX_CONFIG, f"{config.flow.rules} cannot be read: {error.strerror}") from error


def bad_rules(error: InvalidRequest) -> Stop:
    return Stop(
        os.EX_CONFIG,
        f"the rules cannot be used: {error.detail}",
        details=[f"{each.pointer}: {each.detail}" for each in error.errors],
        next_step="mend the file; config/rules.yaml shows all that rules can do",
    )
