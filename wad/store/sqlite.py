"""The embedded engine: SQLite in a directory of its own, one writer thread, readers beside it.

WAL with `synchronous=FULL`: a commit is one fdatasync of the log, and what was acknowledged survives a crash
of the machine. Readers see the last commit and never wait for the writer.

A batch is a few statements of many rows rather than one a row: Python gives its interpreter lock up and takes
it back for each statement, and beside a busy event loop the taking back is what costs (`wad.store.threads`).
"""

from __future__ import annotations

import fcntl
import functools
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from wad.errors import StoreUnavailable
from wad.store import sql
from wad.store.base import (
    Delete,
    Insert,
    Put,
    Query,
    Result,
    Row,
    Scalar,
    StoreUnusable,
    Table,
    Update,
    Where,
    Write,
)
from wad.store.threads import Threads

T = TypeVar("T")

_READERS: Final = 4  # connections; a read takes some 100 µs, nearly all of it the hop to a thread
_BUSY: Final = 5.0  # seconds to wait for another process's lock before 503
_ROOM: Final = 64 * 1024  # bytes that must find a place before a store that could not write says that it can


class SQLiteEngine:
    """The contract of `wad.store.base.Engine` over one file. Made by `open_sqlite`."""

    name = "sqlite"

    def __init__(self, path: Path, *, busy: float = _BUSY) -> None:
        self._path = path
        self._busy = busy
        self._tables: dict[str, Table] = {}
        self._threads = Threads()
        self._writing = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(_READERS)
        self._writable = True  # False from a write that failed to the next ping that finds room
        self._lock = _locked(path)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its log the same mode
            self._writer = self._connect()
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._writer.execute("PRAGMA secure_delete=FAST")  # a deleted session's data key is overwritten
            self._writer.execute("PRAGMA cache_size=-16384")  # 16 MiB: message ids are random in their index
            self._writer.execute("PRAGMA wal_autocheckpoint=4000")  # pages: 16 MB, some 20,000 messages
            self._readers = [self._connect() for _ in range(_READERS)]
            for reader in self._readers:
                reader.execute("PRAGMA query_only=1")
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise StoreUnusable(f"{path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path,
            timeout=self._busy,
            isolation_level=None,  # transactions are begun and ended by hand
            check_same_thread=False,  # one thread at a time, but not always the same
            cached_statements=512,
        )

    # --- the contract

    async def prepare(self, tables: Sequence[Table]) -> None:
        await self._write(functools.partial(self._make, tables))
        self._tables.update((table.name, table) for table in tables)

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        return await self._write(functools.partial(self._flush, writes))

    async def find(self, query: Query) -> list[Row]:
        table = self._tables[query.table]
        columns = query.columns or tuple(table.columns)
        statement, values = sql.select(table, query, columns)
        rows = await self._read(lambda db: db.execute(statement, values).fetchall())
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def count(self, table: str, where: Where, by: str) -> dict[Any, int]:
        condition, values = sql.where(where)
        statement = f"SELECT {by}, count(*) FROM {table} WHERE {condition} GROUP BY 1"  # noqa: S608
        return dict(await self._read(lambda db: db.execute(statement, values).fetchall()))

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        condition, values = sql.where(where)
        statement = (
            f"DELETE FROM {table} WHERE rowid IN "  # noqa: S608
            f"(SELECT rowid FROM {table} WHERE {column} < ? AND {condition} LIMIT ?)"
        )
        return await self._write(lambda db: db.execute(statement, (before, *values, limit)).rowcount)

    async def ping(self) -> None:
        """On a full disk reads go on, but a store that cannot write is away: whether it still is, a write tells."""
        if self._writable:
            await self._read(lambda db: db.execute("SELECT 1").fetchone())
        else:
            room = (_ROOM,)
            await self._write(lambda db: db.execute("REPLACE INTO meta VALUES ('room', zeroblob(?))", room))
            await self._write(lambda db: db.execute("DELETE FROM meta WHERE name = 'room'"))
            self._writable = True

    async def close(self) -> None:
        await self._threads.run(self._close, self._writing)

    # --- threads

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._threads.run(functools.partial(self._transaction, work), self._writing)
        except StoreUnavailable:
            self._writable = False  # and stays so when a smaller one succeeds
            raise

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._threads.run(functools.partial(self._with_reader, work), self._reading)

    def _with_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        reader = self._readers.pop()
        try:
            with _unavailable():
                return work(reader)
        finally:
            self._readers.append(reader)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._writer
        with _unavailable():
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # some errors (disk full) have rolled it back already
                    db.execute("ROLLBACK")
                raise
            return result

    def _close(self) -> None:
        for reader in self._readers:
            reader.close()
        self._writer.close()  # the last one writes the log back and removes it
        os.close(self._lock)

    # --- writing

    def _make(self, tables: Sequence[Table], db: sqlite3.Connection) -> None:
        for table in tables:
            first, *indexes = sql.create(table)
            db.execute(first)
            there = {row[1] for row in db.execute(f"PRAGMA table_info({table.name})")}
            for column, kind in table.columns.items():
                if column not in there:  # an older wad made the table
                    db.execute(f"ALTER TABLE {table.name} ADD COLUMN {column} {kind}")
            for statement in indexes:
                db.execute(statement)

    def _flush(self, writes: Sequence[Write], db: sqlite3.Connection) -> list[Result]:
        results: list[Result] = [None] * len(writes)
        inserts: defaultdict[str, list[int]] = defaultdict(list)
        puts: defaultdict[str, list[Row]] = defaultdict(list)
        updates: defaultdict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for at, write in enumerate(writes):
            match write:
                case Delete(table=table, where=where):
                    condition, values = sql.where(where)
                    db.execute(f"DELETE FROM {table} WHERE {condition}", values)  # noqa: S608
                case Insert(table=table):
                    inserts[table].append(at)
                case Put(table=table, row=row):
                    puts[table].append(row)
                case Update(table=table, changes=changes):
                    updates[table, tuple(changes)].append(at)
        for table, places in inserts.items():
            for chunk in sql.chunks(places):
                rows = [write.row for at in chunk if isinstance(write := writes[at], Insert)]
                _place(results, chunk, self._insert(db, self._tables[table], rows))
        for table, rows in puts.items():
            self._put(db, self._tables[table], rows)
        for (table, columns), places in updates.items():
            for chunk in sql.chunks(places):
                some = [write for at in chunk if isinstance(write := writes[at], Update)]
                _place(results, chunk, self._update(db, self._tables[table], columns, some))
        return results

    def _insert(self, db: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> list[Result]:
        columns = tuple(table.columns)
        values = [row.get(column) for row in rows for column in columns]
        if db.execute(sql.insert(table.name, columns, len(rows)), values).rowcount == len(rows):
            return [None] * len(rows)
        return [self._why_not_inserted(db, table, row) for row in rows]

    def _put(self, db: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
        columns = tuple(table.columns)
        for places in sql.chunks(range(len(rows))):
            values = [rows[at].get(column) for at in places for column in columns]
            db.execute(sql.put(table.name, columns, len(places)), values)

    def _why_not_inserted(self, db: sqlite3.Connection, table: Table, row: Row) -> str | None:
        standing = self._rev(db, table, row[table.key])
        if standing is None:
            return self._taken(db, table, row)
        return None if standing == row.get("rev", 0) else "key"

    def _update(
        self, db: sqlite3.Connection, table: Table, columns: tuple[str, ...], updates: Sequence[Update]
    ) -> list[Result]:
        values = [v for u in updates for v in (u.key, u.rev, *u.changes.values())]
        statement = sql.update(table.name, table.key, columns, len(updates))
        if db.execute(statement, values).rowcount == len(updates):
            return [True] * len(updates)
        return [self._what_was_updated(db, table, update) for update in updates]

    def _what_was_updated(self, db: sqlite3.Connection, table: Table, update: Update) -> str | bool:
        rev = self._rev(db, table, update.key)
        if rev != update.rev:
            return bool(rev == update.changes["rev"])
        statement = f"SELECT * FROM {table.name} WHERE {table.key} = ?"  # noqa: S608
        row = dict(zip(table.columns, db.execute(statement, (update.key,)).fetchone(), strict=True))
        return self._taken(db, table, {**row, **update.changes})  # nothing else can have been in the way

    def _rev(self, db: sqlite3.Connection, table: Table, key: Scalar) -> int | None:
        """The `rev` of the row with *key*: None without such a row, 0 where the table has none."""
        rev = "rev" if "rev" in table.columns else "0"
        row = db.execute(f"SELECT {rev} FROM {table.name} WHERE {table.key} = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else int(row[0])

    def _taken(self, db: sqlite3.Connection, table: Table, row: Row) -> str:
        for index in table.indexes:
            if not index.unique or (index.partial is not None and row.get(index.partial) is None):
                continue
            condition, values = sql.where({column: row.get(column) for column in index.columns})
            holder = db.execute(
                f"SELECT {table.key} FROM {table.name} WHERE {condition}",  # noqa: S608
                values,
            ).fetchone()
            if holder is not None and holder[0] != row[table.key]:
                return index.name
        raise RuntimeError(f"a row of {table.name} was refused, and no unique index tells why")


# --- files and errors -------------------------------------------------------------------------------


#: Errors that are ours and not the disk's: a wrong statement, a value that does not fit. They go up as they are.
_OURS: Final = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn what a wait, a bigger disk or an operator can mend into `StoreUnavailable`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)  # absent where Python itself refuses
        if code & 0xFF in _OURS:
            raise
        raise StoreUnavailable(f"SQLite: {error} ({error.sqlite_errorname})", retry_after=2.0) from error


def _locked(path: Path) -> int:
    """Take the file beside *path* that keeps a second process out: two daemons would send everything twice."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreUnusable(f"{path} is in use by another wad process") from None
    return lock


async def open_sqlite(path: Path, *, busy: float = _BUSY) -> SQLiteEngine:
    """Open the store at *path*; its directory is made, readable by this user alone."""

    def make() -> SQLiteEngine:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return SQLiteEngine(path, busy=busy)
        except OSError as error:
            raise StoreUnusable(f"{path}: {error.strerror}") from error

    return await trio.to_thread.run_sync(make)


def _place(results: list[Result], places: Sequence[int], some: Sequence[Result]) -> None:
    for at, result in zip(places, some, strict=True):
        results[at] = result
