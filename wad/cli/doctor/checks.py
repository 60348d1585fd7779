"""All checks of `wad doctor`, in the order in which things have to be right. None of them changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wad.cli.configuration import sections
from wad.cli.doctor.finding import Finding
from wad.cli.doctor.machine import machine, packages
from wad.cli.doctor.network import daemon, ports, providers, public_url
from wad.cli.doctor.stored import data_dir, files, keys, rules, store
from wad.config import ConfigError, find, load


def examined(path: Path | None, environ: Mapping[str, str], *, online: bool) -> list[Finding]:
    """Everything found, in the order in which things have to be right."""
    try:
        config = load(path, environ, others=sections)
    except ConfigError as error:
        return [
            *(Finding("config", "fail", str(problem)) for problem in error.problems),
            Finding("config", "fail", "nothing else was looked at", "mend these, then look again"),
            *packages(),
            *machine(None),
        ]
    file = find(path, environ)
    running = daemon(config, start="wad serve" if path is None else f"wad serve --config {path}")
    return [
        Finding("config", "ok", f"{file or 'no file: the defaults'}"),
        *packages(),
        *data_dir(config),
        *files(config),
        *keys(config),
        *rules(config),
        *store(config),
        *ports(config, is_running=running.level == "ok"),
        running,
        *public_url(config, online=online),
        *machine(config),
        *(providers(config) if online else ()),
    ]
