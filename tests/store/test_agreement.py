"""Whatever is done to a store, memory and SQLite agree on every answer: the fake is verified by Hypothesis."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import trio
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wad.store.base import Delete, Insert, Put, Query, Update, Write
from wad.store.memory import MemoryEngine
from wad.store.sqlite import SQLiteEngine
from wad.store.tables import TABLES

KEYS = st.sampled_from(["a", "b", "c", "d"])
FEW = st.sampled_from([None, "x", "y"])
REVS = st.integers(1, 4)

rows = st.fixed_dictionaries(
    {
        "messageId": KEYS,
        "sessionId": st.sampled_from(["s1", "s2"]),
        "seq": st.integers(1, 5),
        "shopId": FEW,
        "idempotencyScope": st.sampled_from(["p", "q"]),
        "idempotencyKey": FEW,
        "providerMessageId": FEW,
        "open": st.sampled_from([None, 1]),
        "rev": REVS,
    }
)
inserts = st.builds(Insert, st.just("messages"), rows)
updates = st.builds(
    lambda key, rev, changes, new: Update("messages", key, rev, {**changes, "rev": new}),
    KEYS,
    REVS,
    st.fixed_dictionaries({}, optional={"providerMessageId": FEW, "open": st.sampled_from([None, 1])}),
    st.integers(5, 9) | REVS,
).filter(lambda update: update.rev != update.changes["rev"])
wheres = st.fixed_dictionaries(
    {},
    optional={
        "messageId": st.lists(KEYS, max_size=3).map(tuple) | KEYS,
        "sessionId": st.sampled_from(["s1", "s2"]),
        "shopId": FEW,
        "open": st.sampled_from([None, 1]),
    },
)
deletes = st.builds(Delete, st.just("messages"), wheres.filter(bool))
puts = st.builds(
    lambda name, seq: Put(
        "baileys_keys", {"id": name, "sessionId": "s1", "kind": "k", "seq": seq, "value": b"%d" % seq}
    ),
    KEYS,
    st.integers(1, 5),
)
unputs = st.builds(Delete, st.just("baileys_keys"), st.fixed_dictionaries({"id": KEYS}))
queries = st.builds(
    partial(Query, table="messages"),
    where=wheres,
    minimum=st.fixed_dictionaries({}, optional={"seq": st.integers(1, 5)}),
    after=st.none() | KEYS,
    before=st.none() | KEYS,
    descending=st.booleans(),
    limit=st.none() | st.integers(1, 3),
)


def _without_races(writes: list[Write]) -> list[Write]:
    """One write a row, and no value that two rows want: which of several wins is an engine's choice."""
    kept: dict[str, Write] = {}
    for write in writes:
        match write:
            case Insert(row=row):
                own = {"idempotencyKey": row["messageId"], "providerMessageId": row["messageId"]}
                kept.setdefault(row["messageId"], Insert("messages", {**row, **own}))
            case Update(key=key, rev=rev, changes=changes):
                more = {"providerMessageId": key} if "providerMessageId" in changes else {}
                kept.setdefault(key, Update("messages", key, rev, {**changes, **more}))
            case Delete():
                kept.setdefault("", write)
    return list(kept.values())


class Agreement(RuleBasedStateMachine):
    """The same writes to both, one batch after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.memory = MemoryEngine()
        self.sqlite = SQLiteEngine(self.directory / "wad.db")
        self.both("prepare", TABLES)

    def both(self, method: str, *args, **more):
        async def ask(engine):
            return await getattr(engine, method)(*args, **more)

        expected = trio.run(ask, self.memory)
        assert trio.run(ask, self.sqlite) == expected
        return expected

    @rule(write=inserts | updates | deletes)
    def write_one(self, write: Write) -> None:
        self.both("write", [write])

    @rule(writes=st.lists(inserts | updates | deletes, max_size=6).map(_without_races))
    def write_many(self, writes: list[Write]) -> None:
        self.both("write", writes)

    @rule(write=inserts | updates)
    def write_twice(self, write: Write) -> None:
        """An answer that was lost: the repetition answers the same and changes nothing."""
        [first] = self.both("write", [write])
        before = self.everything()
        assert self.both("write", [write]) == [first]
        assert self.everything() == before

    @rule(writes=st.lists(puts | unputs, max_size=6))
    def write_keys(self, writes: list[Write]) -> None:
        self.both("write", writes)

    @rule(query=queries)
    def find(self, query: Query) -> None:
        self.both("find", query)

    @rule(where=wheres, by=st.sampled_from(["sessionId", "open", "shopId"]))
    def count(self, where, by: str) -> None:
        self.both("count", "messages", where, by=by)

    @rule(before=st.integers(1, 6), where=st.sampled_from([{}, {"open": None}]))
    def purge(self, before: int, where) -> None:
        self.both("purge", "messages", "seq", before, limit=100, where=where)

    @invariant()
    def same_rows(self) -> None:
        self.everything()

    def everything(self):
        return self.both("find", Query(table="messages")), self.both("find", Query(table="baileys_keys"))

    def teardown(self) -> None:
        trio.run(self.sqlite.close)
        shutil.rmtree(self.directory)


Agreement.TestCase.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
test_memory_and_sqlite_agree = Agreement.TestCase
