"""The engine of a real deployment: MongoDB by the synchronous pymongo, in threads.

Acknowledged means `w: majority, j: true`, whatever the URI says; reads are the primary's, at majority.
Correctness rests on single documents alone: `_id`s that wad chooses, and updates that name the `rev` they
replace. No transaction, no findAndModify, and no faith in the driver's retries: what an error leaves unknown
is settled by doing the same write again, which tells its own work by its `rev`.

`wad.store.mongo_errors` has the table of what each error means.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pymongo
import trio
from bson.int64 import Int64
from pymongo import (
    ASCENDING,
    DESCENDING,
    DeleteMany,
    IndexModel,
    MongoClient,
    ReadPreference,
    ReplaceOne,
    UpdateOne,
)
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConfigurationError, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from wad.errors import StoreUnavailable
from wad.store.base import (
    Delete,
    Index,
    Insert,
    Put,
    Query,
    Result,
    Row,
    StoreUnusable,
    Table,
    Update,
    Where,
    Write,
)
from wad.store.mongo_errors import DUPLICATE, OURS, NotDurable, is_ours, may_pass
from wad.store.threads import Threads

T = TypeVar("T")
Document = dict[str, Any]

_BUDGET: Final = 5.0  # seconds for one operation, repetitions included; then 503
_PING: Final = 1.5  # for the question whether it is there: who asks has a load balancer waiting
_CONNECTIONS: Final = 32  # of the pool: 31 reads at once, and the one commit that never queues behind them

#: What the URI does not say.
_DEFAULTS: Final[dict[str, Any]] = {
    "appName": "wad",
    "retryWrites": True,
    "retryReads": True,
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 10_000,
    "maxPoolSize": _CONNECTIONS,
    "waitQueueTimeoutMS": 2000,
    "heartbeatFrequencyMS": 2000,
}
#: Durable is not the URI's to decide.
_SAFE: Final = WriteConcern("majority", wtimeout=5000, j=True)


class MongoEngine:
    """The contract of `wad.store.base.Engine` over one database. Made by `open_mongo`."""

    name = "mongodb"

    def __init__(self, client: MongoClient[Document], database: str, *, budget: float = _BUDGET) -> None:
        self._client = client
        self._db = client.get_database(
            database,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=_SAFE,
        )
        self._budget = budget
        self._tables: dict[str, Table] = {}
        self._threads = Threads()
        self._writing = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(_CONNECTIONS - 1)

    # --- the contract

    async def prepare(self, tables: Sequence[Table]) -> None:
        self._tables.update((table.name, table) for table in tables)
        for table in tables:
            await self._run(lambda table=table: self._make(table), self._writing)  # type: ignore[misc]

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        return await self._run(_Flush(self, writes), self._writing)

    async def find(self, query: Query) -> list[Row]:
        return await self._run(lambda: self._select(query), self._reading)

    async def count(self, table: str, where: Where, by: str) -> dict[Any, int]:
        def work() -> dict[Any, int]:
            pipeline: list[Document] = [
                {"$match": self.filter(table, where)},
                {"$group": {"_id": f"${by}", "count": {"$sum": 1}}},
            ]
            return {group["_id"]: int(group["count"]) for group in self._db[table].aggregate(pipeline)}

        return await self._run(work, self._reading)

    async def purge(self, table: str, column: str, before: int, *, limit: int, where: Where) -> int:
        def work() -> int:
            condition = {**self.filter(table, where), column: {"$lt": before}}
            found = self._db[table].find(condition, {"_id": 1}).limit(limit)
            ids = [document["_id"] for document in found]
            if ids:
                self._db[table].delete_many({**self.filter(table, where), "_id": {"$in": ids}})
            return len(ids)

        return await self._run(work, self._writing)

    async def ping(self) -> None:
        await self._run(lambda: self._client.admin.command("ping"), self._reading, min(_PING, self._budget))

    async def close(self) -> None:
        await self._threads.run(self._client.close, self._writing)

    # --- threads, and time

    async def _run(
        self, work: Callable[[], T], limiter: trio.CapacityLimiter, budget: float | None = None
    ) -> T:
        """*work* in a thread. The deadline is for the wait for a thread: one that runs is never abandoned."""
        seconds = self._budget if budget is None else budget
        with trio.move_on_after(seconds):
            return await self._threads.run(partial(self._within, seconds, work), limiter)
        raise StoreUnavailable("MongoDB: every connection is busy", retry_after=2.0)

    def _within(self, seconds: float, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + seconds
        wait = 0.05
        while True:
            try:
                with pymongo.timeout(max(0.001, deadline - time.monotonic())):
                    return work()
            except (PyMongoError, NotDurable) as error:
                if is_ours(error):
                    raise
                if not may_pass(error) or time.monotonic() + wait >= deadline:
                    text = re.split(r" \(configured timeouts|, Timeout:", str(error))[0]  # then come pages
                    raise StoreUnavailable(f"MongoDB: {text}", retry_after=2.0) from error
            time.sleep(wait)
            wait = min(2 * wait, 0.5)

    # --- documents

    def collection(self, table: str) -> Collection[Document]:
        return self._db[table]

    def table(self, name: str) -> Table:
        return self._tables[name]

    def filter(self, table: str, where: Where) -> Document:
        key = self._tables[table].key
        return {
            "_id" if column == key else column: _one_of(wanted) if isinstance(wanted, tuple) else wanted
            for column, wanted in where.items()
        }

    def _make(self, table: Table) -> None:
        models = [_index(table, index) for index in table.indexes]
        if models:
            self._db[table.name].create_indexes(models)

    def _select(self, query: Query) -> list[Row]:
        table = self._tables[query.table]
        order = "_id" if query.order in (None, table.key) else str(query.order)
        condition = self.filter(query.table, query.where)
        bounds: defaultdict[str, Document] = defaultdict(dict)
        if query.after is not None:
            bounds[order]["$gt"] = query.after
        if query.before is not None:
            bounds[order]["$lt"] = query.before
        for column, low in query.minimum.items():
            bounds[column]["$gte"] = low
        columns = query.columns or tuple(table.columns)
        cursor = self._db[query.table].find({**condition, **bounds}, {**dict.fromkeys(columns, 1), "_id": 0})
        cursor.sort(order, DESCENDING if query.descending else ASCENDING)
        if query.limit is not None:
            cursor.limit(query.limit)
        return [{column: _plain(document.get(column)) for column in columns} for document in cursor]


class _Flush:
    """One batch. May be called again after an error: what is done already is not done twice."""

    def __init__(self, engine: MongoEngine, writes: Sequence[Write]) -> None:
        self._engine = engine
        self._results: list[Result] = [None] * len(writes)
        self._deletes: defaultdict[str, list[Delete]] = defaultdict(list)
        self._inserts: defaultdict[str, list[tuple[int, Insert]]] = defaultdict(list)
        self._puts: defaultdict[str, list[Put]] = defaultdict(list)
        self._updates: defaultdict[str, list[tuple[int, Update]]] = defaultdict(list)
        for at, write in enumerate(writes):
            match write:
                case Delete(table=table):
                    self._deletes[table].append(write)
                case Insert(table=table):
                    self._inserts[table].append((at, write))
                case Put(table=table):
                    self._puts[table].append(write)
                case Update(table=table):
                    self._updates[table].append((at, write))

    def __call__(self) -> list[Result]:
        for table in list(self._deletes):
            self._delete(table, self._deletes[table])
            del self._deletes[table]
        for table in list(self._inserts):
            self._insert(table, self._inserts[table])
            del self._inserts[table]
        for table in list(self._puts):
            self._put(table, self._puts[table])
            del self._puts[table]
        for table, updates in self._updates.items():
            while updates:
                some, updates[:] = _different_rows(updates)
                try:
                    self._update(table, some)
                except BaseException:
                    updates[:0] = some
                    raise
        return self._results

    def _delete(self, table: str, deletes: Sequence[Delete]) -> None:
        requests = [DeleteMany(self._engine.filter(table, delete.where)) for delete in deletes]
        self._bulk(lambda: self._engine.collection(table).bulk_write(requests, ordered=False))

    def _insert(self, table: str, inserts: Sequence[tuple[int, Insert]]) -> None:
        spec = self._engine.table(table)
        flags = [column for column, kind in spec.columns.items() if kind == "BOOLEAN"]
        documents = []
        for _, insert in inserts:
            document = {"_id": insert.row[spec.key], **insert.row}
            for column in flags:
                if document.get(column) is not None:
                    document[column] = bool(document[column])
            documents.append(document)
        taken = self._bulk(lambda: self._engine.collection(table).insert_many(documents, ordered=False))
        if not taken:
            return
        standing = self._revs(table, (documents[place]["_id"] for place in taken))
        for place, index in taken.items():
            document = documents[place]
            key = document["_id"]
            if key not in standing:
                result: str | None = index
            else:
                result = None if standing[key] == document.get("rev") else "key"
            self._results[inserts[place][0]] = result

    def _put(self, table: str, puts: Sequence[Put]) -> None:
        """One that finds a newer row in its place tries to insert its own, and is refused: as it should be."""
        key = self._engine.table(table).key
        newest = {put.row[key]: put.row for put in sorted(puts, key=lambda put: int(put.row["seq"]))}
        requests = [
            ReplaceOne({"_id": _id, "seq": {"$lt": row["seq"]}}, {"_id": _id, **row}, upsert=True)
            for _id, row in newest.items()
        ]
        self._bulk(lambda: self._engine.collection(table).bulk_write(requests, ordered=False))

    def _update(self, table: str, updates: Sequence[tuple[int, Update]]) -> None:
        requests = [
            UpdateOne({"_id": update.key, "rev": update.rev}, {"$set": update.changes})
            for _, update in updates
        ]
        matched = 0

        def write() -> None:
            nonlocal matched
            done = self._engine.collection(table).bulk_write(requests, ordered=False)
            matched = done.matched_count

        taken = self._bulk(write)
        standing = (
            None
            if matched == len(updates) and not taken
            else self._revs(table, (update.key for _, update in updates))
        )
        for place, (at, update) in enumerate(updates):
            won = standing is None or standing.get(update.key) == update.changes["rev"]
            self._results[at] = True if won else taken.get(place, False)

    def _revs(self, table: str, keys: Iterable[Any]) -> dict[Any, int | None]:
        found = self._engine.collection(table).find({"_id": {"$in": list(keys)}}, {"rev": 1})
        return {document["_id"]: document.get("rev") for document in found}

    def _bulk(self, write: Callable[[], object]) -> dict[int, str]:
        """Do *write*; the places of the duplicate keys in it, with the index each met."""
        try:
            write()
        except BulkWriteError as error:
            details: Mapping[str, Any] = error.details or {}
            errors = details.get("writeErrors", [])
            if others := [each["code"] for each in errors if each["code"] != DUPLICATE]:
                if OURS.intersection(others):
                    raise
                raise NotDurable(f"a write failed with code {others[0]}") from error
            if failed := details.get("writeConcernErrors"):
                raise NotDurable(f"write concern: {failed[0].get('errmsg')}") from error
            return {each["index"]: _index_of(each) for each in errors}
        return {}


def _different_rows(
    updates: Sequence[tuple[int, Update]],
) -> tuple[list[tuple[int, Update]], list[tuple[int, Update]]]:
    """The first update of each row, and the others.

    A bulk write tells only how many rows it matched, so none may hide another.
    """
    first: list[tuple[int, Update]] = []
    others: list[tuple[int, Update]] = []
    seen: set[str] = set()
    for each in updates:
        (others if each[1].key in seen else first).append(each)
        seen.add(each[1].key)
    return first, others


def _index(table: Table, index: Index) -> IndexModel:
    """A partial index asks for a bound rather than for existence: null is kept, and has no place in it.

    The planner sees that an equality implies such a bound; that it implies a `$type` it does not.
    """
    options: Document = {"name": index.name, "unique": index.unique}
    if index.partial is not None:
        lowest: str | int = "" if table.columns[index.partial] == "TEXT" else 0
        options["partialFilterExpression"] = {index.partial: {"$gte": lowest}}
    keys = [("_id" if column == table.key else column, ASCENDING) for column in index.columns]
    return IndexModel(keys, **options)


def _one_of(wanted: Sequence[Any]) -> Any:
    return wanted[0] if len(wanted) == 1 else {"$in": list(wanted)}


def _plain(value: Any) -> Any:
    return int(value) if type(value) is Int64 else value


def _index_of(error: Mapping[str, Any]) -> str:
    """The name of the index that a duplicate key error tells of, as our tables name it."""
    pattern = error.get("keyPattern")
    if pattern:
        name = "_".join(pattern)
    elif found := re.search(r"index: (\S+)", str(error.get("errmsg"))):  # before MongoDB 4.4
        name = found[1]
    else:
        raise RuntimeError(f"a duplicate key error that names no index: {error.get('errmsg')}")
    return "key" if name in ("_id", "_id_") else name


async def open_mongo(uri: str, database: str, *, budget: float = _BUDGET) -> MongoEngine:
    """A client for *uri*. Nothing has been asked of the server yet."""
    said = {name.lower() for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True)}
    options = {name: value for name, value in _DEFAULTS.items() if name.lower() not in said}
    if "compressors" not in said:
        options["compressors"] = ",".join(_compressors())

    def make() -> MongoClient[Document]:  # in a thread: mongodb+srv asks the DNS
        return MongoClient(uri, **options)

    try:
        client = await trio.to_thread.run_sync(make)
    except (ConfigurationError, InvalidURI, ValueError) as error:
        # Its text may quote the URI, password included.
        raise StoreUnusable(
            f"store.url: pymongo does not take it ({type(error).__name__}); are user and password percent-encoded?"
        ) from None
    return MongoEngine(client, database, budget=budget)


def _compressors() -> list[str]:
    """Those this Python can: the server picks the first it has too. Asking for others would warn."""
    modules = {"zstd": ("backports", "backports.zstd"), "snappy": ("snappy",), "zlib": ("zlib",)}
    return [name for name, parts in modules.items() if all(importlib.util.find_spec(part) for part in parts)]
