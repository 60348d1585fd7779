"""Checks of the machine: its clock, its limits, and Node."""

from __future__ import annotations

import ctypes
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from wad.cli.doctor.finding import Finding
from wad.config import Config

_NODE: Final = 20  # the oldest that Baileys 7 runs on
_BUILT: Final = 1764547200.0  # 2025-12-01: a clock before this version was written is wrong
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


def machine(config: Config | None) -> Iterator[Finding]:
    yield _clock()
    yield _open_files(config)
    yield _node(config)


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


def _node(config: Config | None) -> Finding:
    """Only for sessions of the provider `baileys`."""
    named = config.providers.baileys.node if config is not None else None
    node = str(named) if named else shutil.which("node")
    step = f"only baileys sessions need it: install Node {_NODE} or newer, or set providers.baileys.node"
    if node is None:
        return Finding("node", "warn", "not found", step)
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        major = int(said.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding("node", "warn", f"{node} does not run: {error}", step)
    if major < _NODE:
        return Finding("node", "warn", f"{node} is {said.stdout.strip()}", step)
    return Finding("node", "ok", f"{node}, {said.stdout.strip()}")
