"""Where webhooks wait on this machine's disk while MongoDB does not take them: one SQLite file in `store.data_dir`.

A provider that was answered 200 does not come again, so what is answered so is on a disk. The file is sealed by
a data key of its own, because the store's are in the store. A row leaves it once the store has what it brought,
so that a crash in between brings it twice at most, and twice is once. The embedded store needs none of this: it is
that disk itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

from wad.errors import StoreUnavailable
from wad.models import SessionId, WebhookRequest, new_rev, next_seq
from wad.secrets import Unreadable, Vault, WrongMasterKey
from wad.store.base import Delete, Insert, Query, StoreUnusable, Table
from wad.store.commit import GroupCommit
from wad.store.sqlite import SQLiteEngine, open_sqlite
from wad.store.tables import META

log: Final = logging.getLogger("wad.store")

FILE: Final = "spool.db"
_TABLE: Final = Table("spool", {"seq": "INTEGER", "size": "INTEGER", "sealed": "BLOB"})
#: Of one read: more would hold up what other sessions bring, and fill the memory.
_ROWS: Final = 200
_BYTES: Final = 8 << 20
#: Seconds after which a provider may ask again whether there is room.
_FULL: Final = 30.0
_NS: Final = 1_000_000_000
_OURS: Final = "spool"  # whose the data key is, as far as the vault is concerned


class Spooled(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was verified and answered, and is not in the store yet."""

    provider: str
    session_id: SessionId | None  # that its path names
    request: WebhookRequest
    seq: int = 0  # its place, by its arrival; nanoseconds since 1970


class Spool:
    """Keeps webhooks in the order in which they came. Made by `open_spool`."""

    def __init__(self, engine: SQLiteEngine, vault: Vault, *, max_size: int) -> None:
        self._engine = engine
        self._vault = vault
        self._max_size = max_size
        self._committing = GroupCommit(engine)
        self._kept = 0  # rows on disk
        self._coming = 0  # rows on their way there
        self._size = 0  # bytes of both
        self._oldest: int | None = None  # its `seq`
        self._began = 0  # writes, ever
        self._is_sure = (
            True  # False from a write that failed, and may be done all the same, until rows are counted
        )
        self._more = trio.Event()  # set by the next row that is on disk

    @property
    def depth(self) -> int:
        """Webhooks that are not in the store yet. While there are any, those that come stand behind them."""
        return self._kept + self._coming

    def oldest_seconds(self) -> float:
        """How long the oldest of them has waited."""
        return max(0.0, (next_seq() - self._oldest) / _NS) if self._oldest is not None else 0.0

    async def add(self, webhook: Spooled) -> None:
        """Keep *webhook*; on return it is on disk. Raises StoreUnavailable where there is no room for it."""
        sealed = self._vault.seal(_OURS, "webhook", msgspec.msgpack.encode(webhook))
        if self._size + len(sealed) > self._max_size:
            raise StoreUnavailable(
                "the store is away, and the spool is full (store.spool_max_size)", retry_after=_FULL
            )
        if not self.depth:
            log.warning("spooling", extra={"provider": webhook.provider})
        self._coming += 1
        self._began += 1
        self._size += len(sealed)
        self._oldest = min(self._oldest or webhook.seq, webhook.seq)
        kept = False
        try:
            # Whoever brought it may hang up; that its row is counted does not depend on that.
            with trio.CancelScope(shield=True):
                row = {"seq": webhook.seq, "size": len(sealed), "sealed": sealed}
                await self._committing.commit([Insert("spool", row)])
            kept = True
        finally:
            self._coming -= 1
            if kept:
                self._kept += 1
                self._more.set()
            else:
                self._size -= len(sealed)
                self._oldest = self._oldest if self.depth else None
                self._is_sure = False
                self._more.set()

    async def until_some(self) -> None:
        """Return once there is something to read."""
        while not self._kept and self._is_sure:
            self._more = trio.Event()
            await self._more.wait()

    async def oldest(self) -> list[Spooled]:
        """The first rows, as many as one may hold in memory: none where a failed write was not done after all."""
        if not self._is_sure:
            await self._count()
        heads = await self._engine.find(Query(table="spool", limit=_ROWS, columns=("seq", "size")))
        chosen: list[int] = []
        room = _BYTES
        for head in heads:
            room -= head["size"]
            if chosen and room < 0:
                break
            chosen.append(head["seq"])
        rows = await self._engine.find(Query(table="spool", where={"seq": tuple(chosen)}))
        self._oldest = chosen[0] if chosen else self._oldest
        return [self._read(row["sealed"]) for row in rows]

    async def remove(self, webhooks: Sequence[Spooled]) -> None:
        """The store has them."""
        if not webhooks:
            return
        seqs = tuple(webhook.seq for webhook in webhooks)
        rows = await self._engine.find(Query(table="spool", where={"seq": seqs}, columns=("seq", "size")))
        self._began += 1
        try:
            await self._committing.commit([Delete("spool", {"seq": seqs})])
        except StoreUnavailable:
            self._is_sure = False
            raise
        self._kept -= len(rows)
        self._size -= sum(row["size"] for row in rows)
        if not self.depth:
            self._oldest = None
            log.info("spool_empty")

    async def load(self) -> None:
        """Count what an earlier life left, and show that the disk takes more. Raises StoreUnusable."""
        probe = new_rev()
        try:
            await self._engine.write([Insert("meta", {"name": f"probe{probe}", "value": bytes(4096)})])
            await self._engine.write([Delete("meta", {"name": f"probe{probe}"})])
        except StoreUnavailable as error:
            raise StoreUnusable(f"the spool cannot be written: {error.detail}") from error
        await self._count()
        if self._kept:
            log.warning("spool_found", extra={"count": self._kept})

    async def _count(self) -> None:
        """Count what is on disk, unless something is being written meanwhile: then the next one does."""
        began = None if self._coming else self._began
        sizes = await self._engine.count("spool", {}, "size")
        first = await self._engine.find(Query(table="spool", limit=1, columns=("seq",)))
        if self._coming or began != self._began:
            return
        self._kept = sum(sizes.values())
        self._size = sum(size * count for size, count in sizes.items())
        self._oldest = first[0]["seq"] if first else None
        self._is_sure = True

    async def close(self) -> None:
        with trio.CancelScope(shield=True):
            await self._committing.drained()
            await self._engine.close()

    def _read(self, sealed: bytes) -> Spooled:
        plain = self._vault.open(_OURS, "webhook", sealed)
        return msgspec.msgpack.decode(plain, type=Spooled)


@asynccontextmanager
async def open_spool(data_dir: Path, vault: Vault, *, max_size: int) -> AsyncIterator[Spool]:
    """The spool in *data_dir*. Raises WrongMasterKey, StoreUnusable."""
    engine = await open_sqlite(data_dir / FILE)
    spool = Spool(engine, vault := vault.fresh(), max_size=max_size)
    try:
        await engine.prepare([META, _TABLE])
        await _learn_key(engine, vault)
        await spool.load()
        yield spool
    finally:
        await spool.close()


async def _learn_key(engine: SQLiteEngine, vault: Vault) -> None:
    """Have *vault* know the file's own key, wrapped by today's master. An empty file may have a new one."""
    rows = await engine.find(Query(table="meta", where={"name": "dataKey"}))
    if rows:
        try:
            again = vault.rewrapped(_OURS, rows[0]["value"])
        except Unreadable as error:
            if await engine.find(Query(table="spool", limit=1, columns=("seq",))):
                raise WrongMasterKey(
                    f"the spool ({FILE}) holds webhooks that another secrets.master_key sealed: "
                    "restore that key, or add it to secrets.old_master_keys"
                ) from error
            again = vault.new_key(_OURS)
        vault.learn(_OURS, again or rows[0]["value"])
        if again is None:
            return
    else:
        again = vault.new_key(_OURS)
    await engine.write(
        [Delete("meta", {"name": "dataKey"}), Insert("meta", {"name": "dataKey", "value": again})]
    )
