"""The contract of a storage engine: rows in tables, a batch of writes made durable at once, and reads.

The engine knows tables, columns and indexes, and nothing of sessions or messages: `wad.store.records` turns
those into rows, and `wad.store.store.Store` is what the rest of wad talks to.

Rules, the same for every engine, checked by tests/conformance/test_store.py:

- `write` returns once every write of the batch is durable (SQLite: synchronous=FULL; MongoDB: w=majority,
  j=true). Each write of a batch succeeds or fails alone, so that one caller's conflict is not another's.
- Every write may be repeated: an insert names its own key, an update its row's `rev` and the one it leaves.
- A store that cannot answer in time raises StoreUnavailable; what was being written is then not known.
- Times are integers: milliseconds since 1970, UTC. Sealed and encoded values are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Scalar: TypeAlias = str | int | bytes | None
Row: TypeAlias = dict[str, Any]  # column -> Scalar


class Index(msgspec.Struct, frozen=True):
    """`partial` names a column: rows in which it is null are left out of the index."""

    columns: tuple[str, ...]
    unique: bool = False
    partial: str | None = None

    @property
    def name(self) -> str:
        return "_".join(self.columns)


class Table(msgspec.Struct, frozen=True):
    """`columns` maps each column to its SQLite type; the first one is the primary key."""

    name: str
    columns: dict[str, Literal["TEXT", "INTEGER", "BLOB"]]
    indexes: tuple[Index, ...] = ()

    @property
    def key(self) -> str:
        return next(iter(self.columns))


class Insert(msgspec.Struct, frozen=True):
    """Add a row. Its result is the name of the unique index in the way (`key` for the primary key), or None."""

    table: str
    row: Row


class Update(msgspec.Struct, frozen=True):
    """Set `changes` where the row with `key` still has `rev`; `changes` carries the new one.

    Its result is whether the row has the new `rev` now, whoever asks for the second time included.
    """

    table: str
    key: str
    rev: int
    changes: Row


class Delete(msgspec.Struct, frozen=True):
    """Remove the rows in which every column of `where` has its value. Its result is how many there were."""

    table: str
    where: Mapping[str, Scalar]


Write: TypeAlias = Insert | Update | Delete
Result: TypeAlias = str | bool | int | None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of `table` where every column of `where` has its value, or one of its values if that is a tuple.

    `after` and `before` bound the `order` column, both exclusive. Null never matches a range.
    """

    table: str
    where: Mapping[str, Scalar | tuple[Scalar, ...]] = {}
    order: str | None = None  # None: by the primary key
    descending: bool = False
    after: Scalar = None
    before: Scalar = None
    limit: int | None = None
    columns: tuple[str, ...] | None = None  # None: all


class Engine(Protocol):
    name: str

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        """Make *writes* durable together; a result each, in their order."""

    async def find(self, query: Query) -> list[Row]: ...

    async def count(self, table: str, where: Mapping[str, Scalar | tuple[Scalar, ...]], by: str) -> dict[Any, int]:
        """How many rows match *where*, for each value of the column *by*."""

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Mapping[str, Scalar]) -> int:
        """Remove at most *limit* rows whose *column* is below *before*; how many went."""

    async def ping(self) -> None:
        """Return if the store answers, else raise StoreUnavailable."""
