"""Where a demo lives: its directory, its files, its ports."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from wad.cli.show import progress
from wad.cli.stop import Stop

_HOST: Final = "127.0.0.1"
_TRIED: Final = 20  # ports after the one wanted, before any free one will do


@contextmanager
def settled(directory: Path) -> Iterator[None]:
    """*directory* is there, with its rules, and no other demo lives in it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        rules = directory / "rules.yaml"
        if not rules.exists():
            rules.write_bytes(files("wad.cli.demo").joinpath("rules.yaml").read_bytes())
    except OSError as error:
        raise Stop(
            os.EX_CANTCREAT,
            f"{directory} cannot be used: {error.strerror}",
            next_step="name a directory of yours: wad demo --data-dir /tmp/wad-demo",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Stop(
            os.EX_UNAVAILABLE,
            f"another demo runs in {directory}",
            next_step="use that one, or give this one a place of its own with --data-dir",
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def free_port(wanted: int, *, but: int | None = None, what: str) -> int:
    """*wanted*, or one near it that nobody listens on, and a word about that."""
    for port in [*range(wanted, min(wanted + _TRIED, 65536)), 0]:
        if port != but and (found := _bindable(port)):
            if wanted not in (found, but):
                progress(f"port {wanted} is taken; the {what} takes {found}")
            return found
    raise Stop(os.EX_UNAVAILABLE, f"there is no free port for the {what}")


def _bindable(port: int) -> int | None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def write_config(
    directory: Path, *, port: int, graph_url: str, number: dict[str, Any], web: dict[str, Any]
) -> Path:
    """The daemon's configuration, as a file: what the demo runs is what anybody could run.

    *number* is the simulated one, and *web* WhatsApp Web, as the sandbox describes them.
    """
    settings: dict[str, Any] = {
        "http": {"bind": [f"{_HOST}:{port}"]},
        "store": {"url": "embedded", "data_dir": str(directory)},
        "flow": {"rules": str(directory / "rules.yaml")},
        "providers": {
            "cloud_api": {
                "base_url": graph_url,
                "app_secret": number["appSecret"],
                "verify_token": number["verifyToken"],
            }
        },
        "guard": {"allow": ["127.0.0.0/8"]},
    }
    if web["running"]:
        settings["providers"]["baileys"] = {
            "web_socket_url": web["webSocketUrl"],
            "noise_root_key": web["noiseRootKey"],
            "extra_ca": web["extraCa"],
        }
    path = directory / "wad.yaml"
    head = "# Written by `wad demo` at every start. Its secrets open nothing but the simulation.\n"
    path.write_text(head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
