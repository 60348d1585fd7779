"""The contract of a storage engine: rows in tables, a batch of writes made durable at once, and reads.

The engine knows tables, columns and indexes, and nothing of sessions or messages: `wad.store.records` turns
those into rows, and `wad.store.store.Store` is what the rest of wad talks to.

Rules, the same for every engine, checked by tests/conformance/test_store.py:

- `write` returns once every write of the batch is durable (SQLite: synchronous=FULL; MongoDB: w=majority,
  j=true). Each write of a batch succeeds or fails alone, so that one caller's conflict is not another's.
- Writes of one batch come from callers who do not know of each other, so an engine may order them: deletes first,
  then inserts, puts and updates, as all three do. A caller's own writes must not need another order.
- Every write may be repeated: an insert names its own key and `rev`, an update its row's `rev` and the one it
  leaves, a put a `seq` that a newer one surpasses. An engine that lost an answer repeats the write and tells its own
  work by that.
- A store that cannot answer in time raises StoreUnavailable; what was being written is then not known.
- Times are integers: milliseconds since 1970, UTC. Sealed and encoded values are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Scalar: TypeAlias = str | int | bytes | None
Row: TypeAlias = dict[str, Any]  # column -> Scalar
Where: TypeAlias = Mapping[str, Scalar | tuple[str, ...] | tuple[int, ...]]  # see `Query`


class Index(msgspec.Struct, frozen=True):
    """`partial` names a column: rows in which it is null are left out of the index. Numbers there are not negative."""

    columns: tuple[str, ...]
    unique: bool = False
    partial: str | None = None

    @property
    def name(self) -> str:
        return "_".join(self.columns)


class Table(msgspec.Struct, frozen=True):
    """`columns` maps each column to its SQLite type; the first one is the primary key."""

    name: str
    columns: dict[str, Literal["TEXT", "INTEGER", "BOOLEAN", "BLOB"]]
    indexes: tuple[Index, ...] = ()

    @property
    def key(self) -> str:
        return next(iter(self.columns))


class Insert(msgspec.Struct, frozen=True):
    """Add a row. Its result is None, or the name of the unique index in the way (`key` for the primary key).

    A row that is there already with the same key and the same `rev` is this one: None. So is, in a table without
    `rev`, one with the same key.
    """

    table: str
    row: Row


class Put(msgspec.Struct, frozen=True):
    """Have this row stand, whatever stood under its key: unless that has a `seq` as high as the row's own.

    Its result is None. Nothing has to be read before, and of two puts the one with the higher `seq` stands, in
    whatever order they arrive. Only for tables with `seq` and without unique indexes.
    """

    table: str
    row: Row


class Update(msgspec.Struct, frozen=True):
    """Set `changes` where the row with `key` still has `rev`; `changes` carries the new one.

    Its result is whether the row has the new `rev` now, whoever asks for the second time included; or the name
    of the unique index in the way.
    """

    table: str
    key: str
    rev: int
    changes: Row


class Delete(msgspec.Struct, frozen=True):
    """Remove the rows in which every column of `where` has its value. Its result is None."""

    table: str
    where: Where


Write: TypeAlias = Insert | Put | Update | Delete
Result: TypeAlias = str | bool | None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of `table` where every column of `where` has its value, or one of its values if that is a tuple.

    `after` and `before` bound the `order` column, both exclusive; `minimum` bounds others, inclusive.
    Null never matches a range. A `None` in `where` asks for rows without a value.
    """

    table: str
    where: Where = {}
    minimum: Mapping[str, int] = {}
    order: str | None = None  # None: by the primary key
    descending: bool = False
    after: Scalar = None
    before: Scalar = None
    limit: int | None = None
    columns: tuple[str, ...] | None = None  # None: all


class StoreUnusable(Exception):
    """The store cannot be used as it is configured, and waiting will not help: the daemon exits with 78 on it."""


class Engine(Protocol):
    name: str

    async def prepare(self, tables: Sequence[Table]) -> None:
        """Make the tables and indexes that are not there yet."""

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        """Make *writes* durable together; a result each, in their order."""

    async def find(self, query: Query) -> list[Row]: ...

    async def count(self, table: str, where: Where, by: str) -> dict[Any, int]:
        """How many rows match *where*, for each value of the column *by*."""

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        """Remove at most *limit* rows whose *column* is below *before*; how many went."""

    async def ping(self) -> None:
        """Return if the store answers, else raise StoreUnavailable."""

    async def close(self) -> None:
        """Let go of connections and files. Nothing else is called afterwards."""
