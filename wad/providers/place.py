"""What a provider kind is given of the process that it lives in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wad.events import Fact
from wad.providers.http import Pools


def _unheard(_: Fact) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The same for all kinds of a process; each takes from it what it needs."""

    pools: Pools  # connections of HTTP, shared by all sessions
    public_url: str | None = (
        None  # where providers reach wad's webhooks (`http.public_url`), without a last slash
    )
    data_dir: Path  # the process's own; a kind keeps what it has to in a directory of its name
    publish: Callable[[Fact], None] = field(default=_unheard)  # facts, such as `BridgeStarted`
