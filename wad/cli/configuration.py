"""The configuration, for commands: loaded, or every problem of it printed with its path, and exit status 78."""

from __future__ import annotations

import os
from pathlib import Path

from wad.cli.stop import Stop
from wad.config import Config, ConfigError, ensure_secrets, find, load


def loaded(path: Path | None) -> tuple[Config, Path | None]:
    """The configuration and the file it came from, if from any."""
    file = find(path, os.environ)
    try:
        return load(path, os.environ), file
    except ConfigError as error:
        raise bad(error, file) from error


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
