"""The SQL of the embedded engine. Pure: names come from `wad.store.tables` alone, values are always bound.

Names are not quoted: SQLite takes a quoted name that it does not know for a text, and finds nothing instead of
failing.
"""
# ruff: noqa: S608  the names are ours

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final

from wad.store.base import Query, Scalar, Table, Where

_ROWS: Final = 64  # most rows of one statement: 64 x 20 values, far below SQLite's limit of 32,766


def create(table: Table) -> Iterator[str]:
    """The statements that make *table* and its indexes, where they are not there."""
    columns = ", ".join(
        f"{name} {kind}{' PRIMARY KEY' if name == table.key else ''}" for name, kind in table.columns.items()
    )
    yield f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})"
    for index in table.indexes:
        yield (
            f"CREATE {'UNIQUE ' if index.unique else ''}INDEX IF NOT EXISTS {table.name}_{index.name} "
            f"ON {table.name} ({', '.join(index.columns)})"
            + (f" WHERE {index.partial} IS NOT NULL" if index.partial else "")
        )


def where(where: Where) -> tuple[str, list[Scalar]]:
    terms, values = ["1"], list[Scalar]()
    for column, wanted in where.items():
        if wanted is None:
            terms.append(f"{column} IS NULL")
        elif isinstance(wanted, tuple):
            terms.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
        else:
            terms.append(f"{column} = ?")
            values.append(wanted)
    return " AND ".join(terms), values


def select(table: Table, query: Query, columns: tuple[str, ...]) -> tuple[str, list[Scalar]]:
    condition, values = where(query.where)
    order = query.order or table.key
    for column, operator, bound in (
        (order, ">", query.after),
        (order, "<", query.before),
        *((column, ">=", low) for column, low in query.minimum.items()),
    ):
        if bound is not None:
            condition += f" AND {column} {operator} ?"
            values.append(bound)
    sql = (
        f"SELECT {', '.join(columns)} FROM {table.name} WHERE {condition} "
        f"ORDER BY {order}{' DESC' if query.descending else ''}"
    )
    if query.limit is not None:
        sql += " LIMIT ?"
        values.append(query.limit)
    return sql, values


@functools.lru_cache(256)
def insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"


@functools.lru_cache(256)
def put(table: str, columns: tuple[str, ...], rows: int) -> str:
    """The first column is the key. Rows of one key are taken in their order."""
    row = f"({', '.join('?' * len(columns))})"
    sets = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)} "
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {sets} WHERE excluded.seq > {table}.seq"
    )


@functools.lru_cache(256)
def update(table: str, key: str, columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * (2 + len(columns)))})"
    sets = ", ".join(f"{column} = v.column{at}" for at, column in enumerate(columns, 3))
    return (
        f"UPDATE OR IGNORE {table} SET {sets} FROM (VALUES {', '.join([row] * rows)}) AS v "
        f"WHERE {table}.{key} = v.column1 AND {table}.rev = v.column2"
    )


def chunks(places: Sequence[int]) -> Iterator[Sequence[int]]:
    """Runs of 64, 32, 16, ... so that few statements of different lengths have to be prepared."""
    at, size = 0, _ROWS
    while at < len(places):
        while size > len(places) - at:
            size //= 2
        yield places[at : at + size]
        at += size
