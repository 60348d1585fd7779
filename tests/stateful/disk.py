"""A store's engine that outlives the daemon on it, and fails as it is told.

What the dead write is not written: a daemon's life has an engine of its own over the shared one, and it may end in the
middle of a write, which is done then, or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import trio

from wad.errors import StoreUnavailable
from wad.store.base import Engine, Query, Result, Row, Table, Update, Where, Write

#: `refuse`: nothing is done; `lose_answer`: what a write asks is done, and nobody hears of it.
Fault: TypeAlias = Literal["refuse", "lose_answer"]


@dataclass
class Disk:
    """The engine that all lives share, and what is wrong with it."""

    engine: Engine
    fault: Fault | None = None


@dataclass
class Fuse:
    """How many more writes a life has; the last of them is carried out, or not."""

    writes: int
    last_is_written: bool


class LifesEngine:
    """The disk as one life of the daemon sees it."""

    def __init__(self, disk: Disk, died: Callable[[], None]) -> None:
        self._disk = disk
        self._died = died
        self.name = disk.engine.name
        self.dead = False
        self.fuse: Fuse | None = None

    async def prepare(self, tables: Sequence[Table]) -> None:
        raise AssertionError("whoever opened the disk did that")

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        if not self.dead and self.fuse is not None:
            self.fuse.writes -= 1
            if self.fuse.writes <= 0:
                self.dead = True
                if self.fuse.last_is_written and self._disk.fault != "refuse":
                    await self._disk.engine.write(writes)
                self._died()
        if self.dead:
            await trio.lowlevel.checkpoint()  # which ends it, unless it is shielded
            return [True if isinstance(write, Update) else None for write in writes]
        await self._answer()
        results = await self._disk.engine.write(writes)
        if self._disk.fault == "lose_answer":
            raise StoreUnavailable("the store took it, and its answer was lost")
        return results

    async def find(self, query: Query) -> list[Row]:
        await self._answer()
        return await self._disk.engine.find(query)

    async def count(self, table: str, where: Mapping[str, Any], by: str) -> dict[Any, int]:
        await self._answer()
        return await self._disk.engine.count(table, where, by)

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        await self._answer()
        return 0  # nothing is old here

    async def ping(self) -> None:
        await self._answer()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()  # the disk stays

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._disk.fault == "refuse" and not self.dead:
            raise StoreUnavailable("the store is down")
