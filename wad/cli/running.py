"""Running what is asynchronous in a command: `trio.run`, and every expected failure of a start as a `Stop`."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from wad.cli.stop import Stop

R = TypeVar("R")


def run(main: Callable[[], Awaitable[R]], *, bind: str | None = None) -> R:
    """`trio.run(main)`, where what a person can mend becomes a line with the next step.

    *bind* is the address that *main* listens on, where its errors do not name it.
    Anything else is a bug of ours, and goes up with its trace.
    """
    import trio

    try:
        return trio.run(main)
    except BaseException as error:
        only = _only(error)
        stop = only if isinstance(only, Stop) else _stop(only, bind)
        if stop is not None:
            raise stop from error
        if isinstance(only, KeyboardInterrupt):
            raise only from None
        raise


def _only(error: BaseException) -> BaseException:
    """The one error in all those groups that nurseries wrap round it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _stop(error: BaseException, bind: str | None) -> Stop | None:
    from wad.cli.configuration import bad, bad_rules
    from wad.config import ConfigError
    from wad.errors import InvalidRequest, StoreUnavailable
    from wad.secrets import WrongMasterKey
    from wad.store.base import StoreUnusable

    match error:
        case ConfigError():
            return bad(error, None)
        case InvalidRequest():  # of all that a start reads, only the rules raise it
            return bad_rules(error)
        case WrongMasterKey():
            return Stop(
                os.EX_CONFIG,
                "the master key is not the one this store was sealed with",
                next_step="restore the right key (secrets.master_key, or master-key in the data directory);"
                " without it nobody can read what is stored",
            )
        case StoreUnusable():
            return Stop(
                os.EX_CONFIG,
                f"the store cannot be opened: {error}",
                next_step="one process at a time may use it: stop the other; `wad doctor` looks at the rest",
            )
        case StoreUnavailable():
            return Stop(
                os.EX_TEMPFAIL,
                f"the store does not answer: {error.detail}",
                next_step="is it running, and is store.url right?",
            )
        case OSError(errno=errno.EADDRINUSE):
            return Stop(
                os.EX_UNAVAILABLE,
                _not_bound(error, bind),
                next_step="`ss -ltnp` shows by whom; or choose another (http.bind, WAD_HTTP__BIND, --bind)",
            )
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EADDRNOTAVAIL):
            return Stop(
                os.EX_NOPERM,
                _not_bound(error, bind),
                next_step="ports below 1024 need a privilege: use one above, or systemd's wad.socket",
            )
        case _:
            return None


def _not_bound(error: OSError, bind: str | None) -> str:
    return f"cannot listen on {bind}: {error.strerror}" if bind else str(error.strerror)
