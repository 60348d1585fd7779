"""How wad talks to systemd: what it is doing, that it is alive, and the sockets it is handed.

All of it is a no-op where there is no systemd: what the environment does not offer is not used. The variables are
taken out of the environment, so that no child process (a bridge) mistakes them for its own.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import msgspec
import trio

from wad.config.problems import ConfigError, Problem

log: Final = logging.getLogger("wad.notify")
#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_FD: Final = 3


class Notifier:
    """Tells systemd about this process (sd_notify(3)). Never fails its caller: systemd is not worth dying for."""

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        """*address* is that of $NOTIFY_SOCKET: a path, or `@` and an abstract name."""
        self._address = address and ("\0" + address[1:] if address.startswith("@") else address)
        #: What WatchdogSec= says, where it is for this process.
        self.watchdog_seconds = watchdog_seconds if self._address else None

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The notifier that *environ* describes, taken out of it."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        if address and not address.startswith(("/", "@")):
            log.warning("notify_socket_ignored", extra={"reason": "neither a path nor an abstract name"})
            address = ""
        ours = pid in ("", str(os.getpid()))
        seconds = int(microseconds) / 1e6 if ours and microseconds.isdecimal() and int(microseconds) else None
        return cls(address or None, seconds)

    def ready(self, status: str) -> None:
        """Started, or reloaded: units that wait for this one go on."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`. Its writer leaves out secrets and numbers."""
        self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """SIGHUP came; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def extend(self, seconds: float) -> None:
        """Ask for *seconds* from now to finish starting or stopping. To be repeated while there is progress."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def alive(self) -> None:
        """One ping of the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
                channel.connect(self._address)
                channel.sendall("\n".join(assignments).encode())
        except OSError as error:
            log.warning(
                "notify_failed", extra={"operation": assignments[0].partition("=")[0], "error": error}
            )


def _line(text: str) -> str:
    """A line break would begin another assignment."""
    return " ".join(text.split())


async def watchdog(notifier: Notifier) -> None:
    """Ping systemd's watchdog at a third of its time, until cancelled.

    It runs in the event loop, so a loop that stands still sends nothing: the ping itself is the proof. A store or a
    provider that does not answer is no reason to keep silent: a restart would not mend it.
    """
    if notifier.watchdog_seconds is None:
        return
    while True:
        notifier.alive()
        await trio.sleep(notifier.watchdog_seconds / 3)


class Handed(msgspec.Struct, frozen=True):
    """A listening socket that systemd opened, and the name that its unit gives it (FileDescriptorName=).

    Whoever serves on it passes the object on, or `socket.detach()` where only a number is taken (hypercorn's
    `fd://N`): with `fileno()` two objects would close one descriptor, the second whatever has it by then.
    """

    name: str
    socket: socket.socket


def take_sockets(environ: MutableMapping[str, str], *, first: int = _FIRST_FD) -> list[Handed]:
    """The listening sockets of a .socket unit, in its order; none where they are not for this process.

    Raises ConfigError where one is of another kind than wad can serve on.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    handed: list[Handed] = []
    problems: list[Problem] = []
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else f"fd{first + index}"
        try:
            listener = _listener(first + index)
        except (OSError, ValueError) as error:
            problems.append(
                Problem(f"socket {name}", f"systemd handed over what wad cannot serve on: {error}")
            )
        else:
            handed.append(Handed(name, listener))
    if problems:
        for each in handed:
            each.socket.close()
        raise ConfigError(problems)
    return handed


def _listener(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    found = socket.socket(fileno=fd)
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.detach()  # it stays open: it may be somebody else's
        raise ValueError("not a listening stream socket (ListenStream=, Accept=no)")
    found.setblocking(False)
    return found
