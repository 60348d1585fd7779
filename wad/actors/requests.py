"""What an actor can be asked to do. Each may be repeated without harm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from wad.actors.mailbox import Request
from wad.providers.base import Connection

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Connect(Request[None]):
    """Prove the account now: `connect` was asked for. The stored desired state says so already."""


@dataclass(frozen=True, slots=True)
class Disconnect(Request[None]):
    """Stop sending. Answered once what is in hand has its result on disk."""


@dataclass(frozen=True, slots=True)
class Logout(Request[None]):
    """Unpair, as far as the other side can be told, and forget the keys."""


@dataclass(frozen=True, slots=True)
class Reopen(Request[None]):
    """The session's provider, credentials or settings are others now: take a new connection."""


@dataclass(frozen=True, slots=True)
class ChangeProvider(Request[None]):
    """Let go of the provider, `write` that it is another one, and begin with that one."""

    write: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Probe(Request[None]):
    """Prove the account again, without a change of state meanwhile."""


@dataclass(frozen=True, slots=True)
class Call(Request[R], Generic[R]):
    """Use the connection for something besides sending. Runs beside everything else."""

    work: Callable[[Connection], Awaitable[R]]
