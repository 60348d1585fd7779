"""Rows in dictionaries: a verified fake for tests and demonstrations. Nothing survives the process.

It passes the conformance suite of the durable engines, uses no thread and no timer, and so works under
Trio's `autojump_clock`. `fault` makes it fail as a real store does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import trio

from wad.errors import StoreUnavailable
from wad.store.base import (
    Delete,
    Index,
    Insert,
    Put,
    Query,
    Result,
    Row,
    Scalar,
    Table,
    Update,
    Where,
    Write,
)
from wad.store.tables import TABLES


class _Rows:
    """One table's rows by key, its unique indexes, and its rows grouped by the first column of each index."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.by_key: dict[Any, Row] = {}
        self.unique: dict[Index, dict[tuple[Scalar, ...], Any]] = {i: {} for i in table.indexes if i.unique}
        self.groups: dict[str, dict[Scalar, dict[Any, None]]] = {
            index.columns[0]: defaultdict(dict) for index in table.indexes
        }

    def insert(self, given: Row) -> Result:
        row = {column: given.get(column) for column in self.table.columns}
        key = row[self.table.key]
        standing = self.by_key.get(key)
        if standing is not None:
            return None if standing.get("rev") == row.get("rev") else "key"
        if (taken := self._taken(row, key)) is not None:
            return taken
        self._add(key, row)
        return None

    def put(self, given: Row) -> None:
        row = {column: given.get(column) for column in self.table.columns}
        key = row[self.table.key]
        standing = self.by_key.get(key)
        if standing is not None:
            if standing["seq"] >= row["seq"]:
                return
            self._remove(key)
        self._add(key, row)

    def update(self, write: Update) -> Result:
        row = self.by_key.get(write.key)
        if row is None:
            return False
        if row["rev"] != write.rev:
            return bool(row["rev"] == write.changes["rev"])
        changed = {**row, **write.changes}
        if (taken := self._taken(changed, write.key)) is not None:
            return taken
        self._remove(write.key)
        self._add(write.key, changed)
        return True

    def delete(self, where: Where) -> None:
        for row in list(self.matching(where)):
            self._remove(row[self.table.key])

    def matching(self, where: Where) -> Iterator[Row]:
        candidates: Iterable[Row] = self.by_key.values()
        if self.table.key in where:
            wanted = where[self.table.key]
            keys = wanted if isinstance(wanted, tuple) else (wanted,)
            candidates = [self.by_key[key] for key in dict.fromkeys(keys) if key in self.by_key]
        else:
            groups = [
                group.get(value, {})
                for column, group in self.groups.items()
                if column in where and not isinstance(value := where[column], tuple)
            ]
            if groups:
                candidates = [self.by_key[key] for key in min(groups, key=len)]
        return (row for row in candidates if _matches(row, where))

    def _taken(self, row: Row, key: Any) -> str | None:
        for index, holders in self.unique.items():
            values = _values(row, index)
            if values is not None and holders.get(values, key) != key:
                return index.name
        return None

    def _add(self, key: Any, row: Row) -> None:
        self.by_key[key] = row
        for index, holders in self.unique.items():
            if (values := _values(row, index)) is not None:
                holders[values] = key
        for column, group in self.groups.items():
            group[row[column]][key] = None

    def _remove(self, key: Any) -> None:
        row = self.by_key.pop(key)
        for index, holders in self.unique.items():
            if (values := _values(row, index)) is not None:
                del holders[values]
        for column, group in self.groups.items():
            del group[row[column]][key]


def _values(row: Row, index: Index) -> tuple[Scalar, ...] | None:
    """What a unique index holds of *row*; None where it leaves the row out."""
    if index.partial is not None and row[index.partial] is None:
        return None
    return tuple(row[column] for column in index.columns)


def _matches(row: Row, where: Where) -> bool:
    return all(
        row[column] in wanted if isinstance(wanted, tuple) else row[column] == wanted
        for column, wanted in where.items()
    )


class MemoryEngine:
    """The contract of `wad.store.base.Engine`, in this process's memory.

    `fault`: `refuse` fails every call and does nothing; `lose_answer` does what a write asks and fails then.
    """

    name = "memory"

    def __init__(self, tables: Sequence[Table] = TABLES) -> None:
        self.fault: Literal["refuse", "lose_answer"] | None = None
        self.batches: list[int] = []  # the size of each write: tests count flushes
        self._tables = {table.name: _Rows(table) for table in tables}

    async def prepare(self, tables: Sequence[Table]) -> None:
        await trio.lowlevel.checkpoint()
        for table in tables:
            self._tables.setdefault(table.name, _Rows(table))

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        await self._answer()
        self.batches.append(len(writes))
        results: dict[int, Result] = {}
        for kind in (Delete, Insert, Put, Update):
            for at, write in enumerate(writes):
                if isinstance(write, kind):
                    results[at] = self._apply(write)
        if self.fault == "lose_answer":
            raise StoreUnavailable("the store took it, and its answer was lost")
        return [results[at] for at in range(len(writes))]

    def _apply(self, write: Write) -> Result:
        rows = self._tables[write.table]
        match write:
            case Insert(row=row):
                return rows.insert(row)
            case Put(row=row):
                rows.put(row)
                return None
            case Update():
                return rows.update(write)
            case Delete(where=where):
                rows.delete(where)
                return None

    async def find(self, query: Query) -> list[Row]:
        await self._answer()
        rows = self._tables[query.table]
        order = query.order or rows.table.key
        found = [row for row in rows.matching(query.where) if _in_range(row, query, order)]
        found.sort(key=lambda row: row[order], reverse=query.descending)
        columns = query.columns or tuple(rows.table.columns)
        return [{column: row[column] for column in columns} for row in found[: query.limit]]

    async def count(self, table: str, where: Where, by: str) -> dict[Any, int]:
        await self._answer()
        counts: dict[Any, int] = {}
        for row in self._tables[table].matching(where):
            counts[row[by]] = counts.get(row[by], 0) + 1
        return counts

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        await self._answer()
        rows = self._tables[table]
        old = [r for r in rows.matching(where) if r[column] is not None and r[column] < before][:limit]
        for row in old:
            rows.delete({rows.table.key: row[rows.table.key]})
        return len(old)

    async def ping(self) -> None:
        await self._answer()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.fault == "refuse":
            raise StoreUnavailable("the store is down")


def _in_range(row: Row, query: Query, order: str) -> bool:
    value = row[order]
    if query.after is not None and not (value is not None and value > query.after):
        return False
    if query.before is not None and not (value is not None and value < query.before):
        return False
    return all(row[column] is not None and row[column] >= low for column, low in query.minimum.items())
