"""Keeping house: purging what is old, and moving everything to another store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from wad.errors import Conflict
from wad.store.base import Delete, Insert, Query, Row, Where
from wad.store.core import PAGE
from wad.store.events import EventStore
from wad.store.records import ms
from wad.store.tables import BY_NAME, TABLES


class Retention(msgspec.Struct, frozen=True):
    """Days that rows are kept after they came. Open rows are kept for ever."""

    messages: float = 30  # at least 7: idempotency keys live in them
    inbox: float = 30  # at least 8: they de-duplicate, and Meta redelivers for 7
    dead_letters: float = 90
    events: float = 7
    parked: float = 3

    def __post_init__(self) -> None:
        if self.messages < 7:
            raise ValueError("messages are kept 7 days at least: idempotency keys live in them")
        if self.inbox < 8:
            raise ValueError("the inbox is kept 8 days at least: providers redeliver for 7")


class KeepingStore(EventStore):
    """Purge, dump and load."""

    async def purge(self, now: datetime, retention: Retention) -> int:
        """Remove what is older than *retention* says, in steps that let commits through; how many rows."""

        def before(days: float) -> int:
            return ms(now - timedelta(days=days))

        settled: Where = {"open": None, "dead": None}
        removed = 0
        for table, column, until, where in (
            ("messages", "createdAt", before(retention.messages), settled),
            ("messages", "createdAt", before(retention.dead_letters), {"open": None, "dead": 1}),
            ("inbox", "createdAt", before(retention.inbox), settled),
            ("inbox", "createdAt", before(retention.dead_letters), {"open": None, "dead": 1}),
            ("parked", "createdAt", before(retention.parked), {}),
            ("events", "createdAt", before(retention.events), {}),
            ("media", "expiresAt", ms(now), {}),
        ):
            removed += await self._remove(table, column, until, where)
        return removed

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Every row as it is stored, sealed values included; in the order in which `load` wants them."""
        for table in TABLES:
            after: Any = None
            while True:
                rows = await self._find(Query(table=table.name, after=after, limit=PAGE))
                for row in rows:
                    yield table.name, row
                if len(rows) < PAGE:
                    break
                after = rows[-1][table.key]

    async def load(self, table: str, rows: Sequence[Row]) -> int:
        """Store rows of a dump that the same master key can open; how many of them stand now."""
        if table == "meta":
            return await self._load_meta(rows)
        known = BY_NAME[table].columns
        if unknown := {column for row in rows for column in row} - known.keys():
            raise ValueError(f"{table} has no columns {sorted(unknown)}: a dump of a newer wad?")
        results = await self._write([Insert(table, row) for row in rows])
        return sum(taken is None for taken in results)

    async def _load_meta(self, rows: Sequence[Row]) -> int:
        """The dump's system key takes the place of this store's, if nothing is sealed under that yet."""
        for row in rows:
            match row["name"]:
                case "canary":
                    self._vault.check_canary(row["value"])
                case "systemKey":
                    own = await self._find(Query(table="meta", where={"name": "systemKey"}))
                    if own and own[0]["value"] != row["value"]:
                        if await self.last_event_seq() or await self._count("inbox", {}, by="sessionId"):
                            raise Conflict("a dump is loaded into an empty store only")
                        await self._write([Delete("meta", {"name": "systemKey"})])
                    await self._write([Insert("meta", row)])
                    self._vault.forget("")
                case _:
                    pass  # the schema's version is this store's own; `load` refuses unknown columns
        return len(rows)
