"""`wad serve`: the daemon in the foreground, and where it can be reached."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wad.cli.command import command, config_option, json_option
from wad.cli.running import run
from wad.cli.show import fields, progress, show_json
from wad.cli.stop import Stop

if TYPE_CHECKING:
    from wad.config import Config


@command(
    examples="""
    wad serve                              with an embedded store in ./var
    wad serve --config /etc/wad/wad.yaml
    WAD_HTTP__BIND='["0.0.0.0:8080"]' wad serve
    """
)
@config_option
@json_option
def serve(config: Config, config_file: Path | None, as_json: bool) -> None:
    """Run the daemon.

    SIGTERM and Ctrl-C let it finish what it has in hand; a second one ends it at once. Without a configuration
    it keeps its state in ./var, makes an admin token there, and listens on 127.0.0.1:8080.

    Exit status 69: the address is taken. 75: the store does not answer. 78: configuration or store have to be
    mended first.
    """
    from wad import daemon, failpoints, log
    from wad.cli.configuration import sections, with_secrets
    from wad.config import ensure_secrets, load

    config, made = with_secrets(config, config_file)
    for path in made:
        progress(f"made {path}, which only you can read")
    log.setup(config.log.level, config.log.format, secrets=config.secret_values())
    try:
        failpoints.arm(os.environ)
    except ValueError as error:
        raise Stop(os.EX_CONFIG, str(error)) from error
    run(
        partial(
            daemon.serve,
            config,
            reload=lambda: ensure_secrets(load(config_file, os.environ, others=sections))[0],
            task_status=_Places(config, config_file, as_json=as_json),
        )
    )


class _Places:
    """Hears that the daemon is up, and says where."""

    def __init__(self, config: Config, config_file: Path | None, *, as_json: bool) -> None:
        self._config = config
        self._file = config_file
        self._as_json = as_json

    def started(self, addresses: list[str] | None = None) -> None:
        token_file = self._token_file()
        if self._as_json:
            show_json(
                {"addresses": addresses, "tokenFile": token_file, "store": self._config.store.shown_url}
            )
            return
        address = (addresses or ["?"])[0]
        if address.startswith("unix:"):
            fields({"API": address, "token": token_file or "as configured"})
            return
        fields(
            {
                "console": f"{address}/",
                "API": f"{address}/api/whatsapp",
                "docs": f"{address}/docs",
                "metrics": f"{address}/metrics",
                "health": f"{address}/readyz",
                "token": token_file or "as configured",
                "config": self._file or "none: the defaults; `wad check` shows them",
            }
        )
        click.echo(f"\nready; in another terminal: wad sessions list{self._options(address)}")

    def _token_file(self) -> str | None:
        """The token that wad made for itself. One that an operator wrote is his to know."""
        from wad.config.first_start import ADMIN_TOKEN_FILE

        path = self._config.store.data_dir / ADMIN_TOKEN_FILE
        [first, *others] = self._config.auth.tokens
        made = not others and first.name == "admin" and path.exists()
        return str(path) if made else None

    def _options(self, address: str) -> str:
        """What a command needs to find this daemon, where the defaults do not lead to it."""
        from wad.cli.api import DEFAULT_TOKEN_FILE, DEFAULT_URL

        token_file = self._token_file()
        url = "" if address == DEFAULT_URL else f" --url {address}"
        named = token_file is None or Path(token_file) == DEFAULT_TOKEN_FILE
        return url + ("" if named else f" --token-file {token_file}")
