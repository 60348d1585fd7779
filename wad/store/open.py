"""Opening a store: the engine its URL names, its tables, its schema's version, and the proof of the master key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from wad.models import new_rev
from wad.secrets import Vault
from wad.store.base import Delete, Engine, Insert, Query, StoreUnusable, Update
from wad.store.core import log
from wad.store.memory import MemoryEngine
from wad.store.store import Store
from wad.store.tables import META, SCHEMA, TABLES

FILE: Final = "wad.db"


@asynccontextmanager
async def open_store(
    url: str, *, database: str = "wad", data_dir: Path = Path("var"), vault: Vault
) -> AsyncIterator[Store]:
    """The store at *url*: `embedded` (SQLite under *data_dir*), `memory`, or a MongoDB URI.

    Raises `WrongMasterKey` or `StoreUnusable` where waiting will not help, `StoreUnavailable` where it may.
    """
    async with store_at(url, database=database, data_dir=data_dir, vault=vault) as (store, reach):
        await reach()
        yield store


@asynccontextmanager
async def store_at(
    url: str, *, database: str, data_dir: Path, vault: Vault
) -> AsyncIterator[tuple[Store, Callable[[], Awaitable[None]]]]:
    """As `open_store`, for who has to live while the store is away: and what reaches it, to be called until it does.

    Until then every operation of the store raises `StoreUnavailable`, and a patient one waits. Reaching it raises what
    `open_store` raises, and may be repeated.
    """
    engine = await _engine(url, database, data_dir)
    reached = trio.Event()
    store = Store(engine, vault, reached=reached)
    try:
        yield store, partial(_reach, engine, vault, reached)
    finally:
        await store.close()


async def _reach(engine: Engine, vault: Vault, reached: trio.Event) -> None:
    await engine.ping()
    await engine.prepare([META])
    await _check_schema(engine)
    await engine.prepare(TABLES)
    await _check_master(engine, vault)
    reached.set()


async def _engine(url: str, database: str, data_dir: Path) -> Engine:
    """Heavy drivers are imported only by those who use them."""
    match url:
        case "memory":
            return MemoryEngine()
        case "embedded":
            from wad.store.sqlite import open_sqlite

            return await open_sqlite(data_dir / FILE)
        case _ if url.startswith(("mongodb://", "mongodb+srv://")):
            from wad.store.mongo import open_mongo

            return await open_mongo(url, database)
        case _:
            raise StoreUnusable("store.url is neither `embedded`, `memory` nor a mongodb:// URI")


async def _check_schema(engine: Engine) -> None:
    """Refuse what a newer wad wrote. Migrations of an older one will stand here."""
    rows = await engine.find(Query(table="meta", where={"name": "schema"}))
    version = int(rows[0]["value"]) if rows else SCHEMA
    if version > SCHEMA:
        raise StoreUnusable(
            f"this store has schema {version}, and this wad knows {SCHEMA}: it was written by a newer wad"
        )
    if not rows:
        await engine.write([Insert("meta", {"name": "schema", "value": str(SCHEMA).encode()})])


async def _check_master(engine: Engine, vault: Vault) -> None:
    """Prove the master key; after a rotation, wrap every data key by the new one, the proof last."""
    canary = await _meta(engine, "canary")
    if canary is None:
        await engine.write([Insert("meta", {"name": "canary", "value": vault.canary()})])
        canary = await _meta(engine, "canary")  # another node's may have come first
        assert canary is not None
    if vault.check_canary(canary):
        return
    await _rewrap(engine, vault)
    await _set_meta(engine, "canary", vault.canary())


async def _rewrap(engine: Engine, vault: Vault) -> None:
    system = await _meta(engine, "systemKey")
    if system is not None and (again := vault.rewrapped("", system)) is not None:
        await _set_meta(engine, "systemKey", again)
    after: str | None = None
    count = 0
    while rows := await engine.find(
        Query(table="sessions", after=after, limit=500, columns=("sessionId", "dataKey", "rev"))
    ):
        writes = [
            Update("sessions", row["sessionId"], row["rev"], {"dataKey": again, "rev": new_rev()})
            for row in rows
            if (again := vault.rewrapped(row["sessionId"], row["dataKey"])) is not None
        ]
        if not all(result is True for result in await engine.write(writes)):
            continue  # another node changed a session meanwhile: read the page again
        count += len(writes)
        after = rows[-1]["sessionId"]
    log.info("data_keys_rewrapped", extra={"count": count})


async def _meta(engine: Engine, name: str) -> bytes | None:
    rows = await engine.find(Query(table="meta", where={"name": name}))
    return bytes(rows[0]["value"]) if rows else None


async def _set_meta(engine: Engine, name: str, value: bytes) -> None:
    """Deletes go first in a batch, so this replaces."""
    with trio.CancelScope(shield=True):
        await engine.write([Delete("meta", {"name": name}), Insert("meta", {"name": name, "value": value})])
