"""`wad check` reads the configuration as `wad serve` would; `wad version` says what runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wad import __version__
from wad.cli.command import command, config_option, json_option
from wad.cli.show import fields, show_json
from wad.redaction import escaped

if TYPE_CHECKING:
    from wad.config import Config


@command(
    examples="""
    wad check                              what `wad serve` would run with
    wad check --config /etc/wad/wad.yaml
    """
)
@config_option
@json_option
def check(config: Config, config_file: Path | None, as_json: bool) -> None:
    """Check the configuration, and start nothing.

    Every problem is told at once, with its path; then those of the rules. Makes nothing and reaches for no network. Exit status 78 where
    something is wrong.
    """
    from wad.cli.configuration import check_rules
    from wad.providers.registry import installed

    check_rules(config)
    providers = installed()
    found = {
        "file": str(config_file) if config_file else None,
        "node": config.node.id,
        "bind": list(config.http.bind),
        "publicUrl": config.http.public_url,
        "store": config.store.shown_url,
        "dataDir": str(config.store.data_dir) if config.store.kind == "embedded" else None,
        "tokens": [token.name for token in config.auth.tokens],
        "providers": list(providers.providers),
        "brokenProviders": dict(providers.broken),
        "ignoredProviders": dict(providers.ignored),
        "flow": config.flow.url or (f"rules in {config.flow.rules}" if config.flow.rules else None),
    }
    if as_json:
        show_json({"ok": True, **found})
        return
    click.echo("the configuration is fine")
    fields(
        {
            "file": config_file or "none: the defaults",
            "node": found["node"],
            "API": ", ".join(config.http.bind),
            "public URL": found["publicUrl"] or "none: providers cannot reach the webhooks",
            "store": f"{found['store']}{f' in {config.store.data_dir}' if found['dataDir'] else ''}",
            "tokens": ", ".join(token.name for token in config.auth.tokens)
            or "one for the admin, made on the first start",
            "providers": ", ".join(providers.providers) or "none: wad is not installed",
            "flow": found["flow"] or "none: messages wait in the API and in the event stream",
        }
    )
    warnings = [f"the provider {name} cannot be used: {why}" for name, why in providers.broken.items()]
    warnings += [f"somebody's provider {name} is not used: {why}" for name, why in providers.ignored.items()]
    for warning in warnings:
        click.echo(f"{click.style('warning', fg='yellow')}: {escaped(warning)}")


@command()
@json_option
def version(as_json: bool) -> None:
    """Print the version of wad, and of what it runs on."""
    import platform
    import sqlite3
    from importlib import metadata

    versions = {
        "wad": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "sqlite": sqlite3.sqlite_version,
        **{name: metadata.version(name) for name in ("trio", "quart", "hypercorn", "httpx", "pymongo")},
    }
    if as_json:
        show_json(versions)
        return
    click.echo(f"wad {__version__}")
    others = [f"{name} {number}" for name, number in versions.items() if name != "wad"]
    click.echo(click.style(", ".join(others), dim=True))
