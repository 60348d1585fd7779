"""Checks of the machine: its clock, its limits, and Node."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Iterator
from typing import Final

import trio

from wad.cli.doctor.finding import Finding
from wad.config import Config
from wad.node.find import NodeMissing, find_node, program
from wad.providers.registry import installed

_BUILT: Final = 1764547200.0  # 2025-12-01: a clock before this version was written is wrong
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


def machine(config: Config | None) -> Iterator[Finding]:
    yield _clock()
    yield _open_files(config)
    yield from _node(config)


def _clock() -> Finding:
    """Signatures, tokens and TLS rest on it, and a customer's 24 hours are counted by it."""
    now = time.time()
    if now < _BUILT:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now))
        return Finding("clock", "fail", f"it says {shown}", "set it, and run an NTP service")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "adjtimex") and libc.adjtimex(ctypes.create_string_buffer(512)) == _TIME_ERROR:
        return Finding(
            "clock", "warn", "the kernel knows of no NTP service that keeps it", "timedatectl set-ntp true"
        )
    return Finding("clock", "ok", "kept by NTP" if hasattr(libc, "adjtimex") else "plausible")


def _open_files(config: Config | None) -> Finding:
    most = (config or Config()).http.max_connections
    needed = most + 256  # the pools, the store and the logs
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < needed:
        step = "ulimit -n 65536, or LimitNOFILE= in the unit"
        return Finding("open files", "warn", f"{limit}, and {most} connections need {needed}", step)
    return Finding("open files", "ok", f"{limit}")


def _node(config: Config | None) -> Iterator[Finding]:
    """Only for sessions of the provider `baileys`. Looked for as they look for it."""
    named = config.providers.baileys.node if config is not None else None
    step = "as it says; only baileys sessions need it"
    try:
        node = trio.run(find_node, str(named) if named else None)
    except NodeMissing as missing:
        yield Finding("node", "warn", str(missing), step)
    else:
        yield Finding("node", "ok", f"{node.path}, v{'.'.join(map(str, node.version))}")
    try:
        program("bridge")
    except NodeMissing as missing:
        yield Finding("baileys", "warn", str(missing), step)
    else:
        yield Finding("baileys", "ok", "its packages are installed")


def packages() -> Iterator[Finding]:
    """The providers that are installed, by their entry points."""
    found = installed()
    if found.providers:
        yield Finding("providers", "ok", ", ".join(found.providers))
    else:
        step = "install it: pip install -e ., in the directory of pyproject.toml"
        yield Finding("providers", "fail", "there are none: wad runs without being installed", step)
    for name, why in found.broken.items():
        yield Finding("providers", "warn", f"{name} cannot be used: {why}", "mend that package, or remove it")
    for name, why in found.ignored.items():
        yield Finding("providers", "warn", f"somebody's {name} is not used: {why}", "remove that package")
