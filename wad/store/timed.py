"""An engine that tells how long each of its operations took, whatever came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import trio

from wad.store.base import Engine, Query, Result, Row, Table, Where, Write

#: Told the operation's name and its seconds.
Told: TypeAlias = Callable[[str, float], None]


class Timed:
    """*engine*, as it is, with *told* hearing of every operation but those of opening and closing."""

    def __init__(self, engine: Engine, told: Told) -> None:
        self._engine = engine
        self._told = told
        self.name = engine.name

    @contextmanager
    def _time(self, operation: str) -> Iterator[None]:
        started = trio.current_time()
        try:
            yield
        finally:
            self._told(operation, trio.current_time() - started)

    async def prepare(self, tables: Sequence[Table]) -> None:
        await self._engine.prepare(tables)

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        with self._time("write"):
            return await self._engine.write(writes)

    async def find(self, query: Query) -> list[Row]:
        with self._time("find"):
            return await self._engine.find(query)

    async def count(self, table: str, where: Where, by: str) -> dict[Any, int]:
        with self._time("count"):
            return await self._engine.count(table, where, by)

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        with self._time("purge"):
            return await self._engine.purge(table, column, before, limit=limit, where=where)

    async def ping(self) -> None:
        with self._time("ping"):
            await self._engine.ping()

    async def close(self) -> None:
        await self._engine.close()
