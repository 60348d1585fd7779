"""Named points at which a test has the daemon die, fail or stand still: `WAD_FAILPOINT=send.claimed:kill:3`.

    kill    the process is gone, as by kill -9
    pause   it stands still, as by SIGSTOP, until it gets SIGCONT
    error   what is done there fails

each when that point is passed the third time, or the first. Never in production; unset, a point costs a comparison.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

from wad.errors import StoreUnavailable

log: Final = logging.getLogger("wad.failpoints")

VARIABLE: Final = "WAD_FAILPOINT"
#: What is done at each point, and what is not yet.
POINTS: Final = {
    "send.queued": "a message is on disk, and its caller has no answer yet",
    "send.claimed": "it is marked as being sent, and no byte has left",
    "send.answered": "its provider has answered, and that is not on disk",
    "send.recorded": "what became of it is on disk, and nobody has been told",
    "inbound.stored": "what a customer wrote is on disk, and its provider has no answer yet",
    "inbound.spooled": "it is in the spool, and its provider has no answer yet",
    "flow.answered": "the flow has answered, and that is not on disk",
    "flow.kept": "its answer is on disk, and no reply is queued",
    "flow.queued": "its replies are queued, and the message is not done",
    "spool.stored": "what waited in the spool is in the store, and still in the spool, too",
    "store.writing": "a batch of writes is about to be made durable",
    "store.written": "it is durable, and nobody has been told",
    "session.moved": "a change of provider is on disk, and nothing has followed from it",
    "session.emptied": "what a deleted session had is gone, and the session is still there",
    "media.written": "a customer's file is on disk, and not under its name yet",
}
_ACTIONS: Final = ("kill", "pause", "error")


class Armed:
    """One point, and what happens there."""

    def __init__(self, name: str, act: Callable[[str], None], left: int) -> None:
        self.name = name
        self._act = act
        self._left = left

    def reached(self) -> None:
        self._left -= 1
        if not self._left:
            self._act(self.name)


_armed: Armed | None = None


def reach(name: str) -> None:
    """The point *name* is passed."""
    if _armed is not None and _armed.name == name:
        _armed.reached()


def arm(environ: Mapping[str, str]) -> None:
    """Take up what *environ* says. Raises ValueError where that names no point, or nothing that can happen there."""
    global _armed  # noqa: PLW0603  one a process
    text = environ.get(VARIABLE)
    if not text:
        return
    name, _, rest = text.partition(":")
    action, _, number = rest.partition(":")
    if name not in POINTS:
        raise ValueError(f"{VARIABLE}: there is no point {name!r}; there are {', '.join(POINTS)}")
    if action not in _ACTIONS:
        raise ValueError(f"{VARIABLE}: {action!r} cannot happen at a point; {', '.join(_ACTIONS)} can")
    if number and not (number.isdecimal() and int(number)):
        raise ValueError(f"{VARIABLE}: {number!r} is no number of a passing; the first is 1")
    acts: dict[str, Callable[[str], None]] = {"kill": _kill, "pause": _pause, "error": _fail}
    _armed = Armed(name, acts[action], int(number or 1))
    log.warning("failpoint_armed", extra={"operation": name, "detail": action})


def _kill(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pause(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _fail(name: str) -> None:
    if name.startswith(("store.", "spool.")):
        raise StoreUnavailable(f"failpoint {name}")
    raise OSError(errno.EIO, f"failpoint {name}")
