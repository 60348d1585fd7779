"""What every storage engine does alike: the rules of wad/store/base.py, on rows."""

from __future__ import annotations

import pytest
import trio

from tests.store.harness import engine, place, secantus, store
from wad.store.base import Delete, Engine, Insert, Put, Query, Update

__all__ = ["engine", "place", "secantus", "store"]

BYTES = bytes(range(256))


def message(key: str, rev: int = 1, **columns):
    return {"messageId": key, "sessionId": "s1", "seq": 1, "createdAt": 1000, "rev": rev, **columns}


async def rows(engine: Engine, table: str = "messages", **query):
    return await engine.find(Query(table=table, **query))


async def keys(engine: Engine, **query) -> list[str]:
    return [row["messageId"] for row in await rows(engine, **query)]


# --- insert ---------------------------------------------------------------------------------------


async def test_a_row_comes_back_as_it_was_written(engine):
    """Text of any script, integers to 2**63, bytes and null survive; columns not given are null."""
    row = message("m1", rev=2**62 - 1, chat="niño ✓ 日本 \0 '\"$.", seq=2**63 - 1, body=BYTES)
    assert await engine.write([Insert("messages", row)]) == [None]
    [found] = await rows(engine)
    assert {column: found[column] for column in row} == row
    assert found["phone"] is None
    assert {type(found["seq"]), type(found["rev"]), type(found["body"])} == {int, bytes}


async def test_an_insert_may_be_repeated(engine):
    """The same key with the same rev is the same insert, whose answer was lost."""
    insert = Insert("messages", message("m1", rev=7))
    assert await engine.write([insert]) == [None]
    assert await engine.write([insert]) == [None]
    assert await engine.write([insert, insert]) == [None, None]
    assert len(await rows(engine)) == 1


async def test_another_row_with_the_same_key_is_refused(engine):
    """A key that is taken says `key`, and the standing row stays."""
    await engine.write([Insert("messages", message("m1", rev=1, chat="first"))])
    assert await engine.write([Insert("messages", message("m1", rev=2, chat="second"))]) == ["key"]
    assert [row["chat"] for row in await rows(engine)] == ["first"]


async def test_in_a_table_without_rev_the_key_alone_says_what_a_row_is(engine):
    """Events, parked statuses and media are the same row whenever they have the same key."""
    insert = Insert("events", {"seq": 5, "type": "first", "createdAt": 1})
    other = Insert("events", {"seq": 5, "type": "second", "createdAt": 1})
    assert await engine.write([insert]) == [None]
    assert await engine.write([other, Insert("events", {"seq": 6, "type": "third", "createdAt": 1})]) == [
        None,
        None,
    ]
    assert [row["type"] for row in await rows(engine, "events")] == ["first", "third"]


async def test_a_unique_index_in_the_way_is_named(engine):
    """The caller learns which rule refused the row."""
    first = message("m1", idempotencyScope="a", idempotencyKey="k", providerMessageId="p")
    assert await engine.write([Insert("messages", first)]) == [None]
    for columns, name in [
        ({"idempotencyScope": "a", "idempotencyKey": "k"}, "idempotencyScope_idempotencyKey"),
        ({"providerMessageId": "p"}, "sessionId_providerMessageId"),
        ({"idempotencyScope": "b", "idempotencyKey": "k"}, None),
        ({"sessionId": "s2", "providerMessageId": "p"}, None),
    ]:
        key = f"m{columns}"
        assert await engine.write([Insert("messages", message(key, **columns))]) == [name], columns


async def test_rows_without_a_value_are_not_in_a_partial_unique_index(engine):
    """Any number of messages may have no idempotency key, and no provider's id yet."""
    inserts = [Insert("messages", message(f"m{n}", idempotencyScope="a")) for n in range(5)]
    assert await engine.write(inserts) == [None] * 5


async def test_each_write_of_a_batch_stands_or_falls_alone(engine):
    """One caller's conflict is not another's, wherever in the batch it is, and however long the batch."""
    await engine.write([Insert("messages", message("m7", rev=1)), Insert("messages", message("x", rev=1))])
    batch = [Insert("messages", message(f"m{n}", rev=2)) for n in range(150)]
    mixed = [
        *batch,
        Update("messages", "x", 1, {"chat": "new", "rev": 2}),
        Update("messages", "y", 1, {"rev": 2}),
    ]
    results = await engine.write(mixed)
    assert results == ["key" if n == 7 else None for n in range(150)] + [True, False]
    assert len(await rows(engine)) == 151


async def test_of_two_inserts_in_one_batch_one_wins(engine):
    """A unique index holds within a batch as well."""
    results = await engine.write(
        [
            Insert("messages", message("m1", rev=1, idempotencyScope="a", idempotencyKey="k")),
            Insert("messages", message("m2", rev=2, idempotencyScope="a", idempotencyKey="k")),
            Insert("messages", message("m3", rev=3)),
            Insert("messages", message("m3", rev=4)),
        ]
    )
    assert sorted(results[:2], key=str) == [None, "idempotencyScope_idempotencyKey"]
    assert sorted(results[2:], key=str) == [None, "key"]
    assert len(await rows(engine)) == 2


# --- put ------------------------------------------------------------------------------------------


def key(name: str, seq: int, value: bytes = b"v", **columns):
    return {
        "id": f"s1/session/{name}",
        "sessionId": "s1",
        "kind": "session",
        "seq": seq,
        "value": value,
        **columns,
    }


async def values(engine: Engine) -> dict[str, tuple[int, bytes]]:
    return {
        row["id"].rpartition("/")[2]: (row["seq"], bytes(row["value"]))
        for row in await rows(engine, "baileys_keys")
    }


async def test_a_put_stands_whatever_stood_there(engine):
    """Without a read before: a new row, or in place of an older one, in all its columns."""
    assert await engine.write([Put("baileys_keys", key("a", 1, BYTES, kind="old"))]) == [None]
    [found] = await rows(engine, "baileys_keys")
    assert found == key("a", 1, BYTES, kind="old")
    assert await engine.write([Put("baileys_keys", key("a", 2, b"new"))]) == [None]
    [found] = await rows(engine, "baileys_keys")
    assert found == key("a", 2, b"new")


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 1)])
async def test_of_two_puts_the_later_one_stands_in_whatever_order_they_arrive(engine, order, together):
    """A write that was given up on may still arrive, after one that came after it."""
    puts = [Put("baileys_keys", key("a", seq, b"%d" % seq)) for seq in order]
    if together:
        assert await engine.write(puts) == [None] * 3
    else:
        for put in puts:
            assert await engine.write([put]) == [None]
    assert await values(engine) == {"a": (3, b"3")}


async def test_a_put_may_be_repeated(engine):
    """Its answer was lost: the same again changes nothing, nor does it where a newer one stands."""
    old, new = Put("baileys_keys", key("a", 1, b"old")), Put("baileys_keys", key("a", 2, b"new"))
    for write in (old, old, new, new, old):
        assert await engine.write([write]) == [None]
    assert await values(engine) == {"a": (2, b"new")}


async def test_a_batch_may_hold_puts_beside_everything_else(engine):
    """Deletes go first: what is put in the same batch stays. Nobody else's row is touched."""
    await engine.write(
        [
            Put("baileys_keys", key("a", 1)),
            Put("baileys_keys", key("b", 1)),
            Insert("messages", message("m1")),
        ]
    )
    results = await engine.write(
        [
            Put("baileys_keys", key("a", 2, b"again")),
            Delete("baileys_keys", {"id": ("s1/session/a", "s1/session/b")}),
            Update("messages", "m1", 1, {"chat": "new", "rev": 2}),
            Insert("messages", message("m1", rev=9)),
        ]
    )
    assert results == [None, None, True, "key"]
    assert await values(engine) == {"a": (2, b"again")}


async def test_a_thousand_puts_are_one_batch(engine):
    """As many keys as a pairing makes at once, some of them there already."""
    await engine.write([Put("baileys_keys", key(str(n), 1)) for n in range(0, 812, 2)])
    assert await engine.write([Put("baileys_keys", key(str(n), 2)) for n in range(812)]) == [None] * 812
    assert await values(engine) == {str(n): (2, b"v") for n in range(812)}


# --- update ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "update", "result", "chat"),
    [
        pytest.param(1, (1, 2), True, "new", id="the row is as the caller saw it"),
        pytest.param(2, (1, 2), True, "old", id="this very update was made already"),
        pytest.param(3, (1, 2), False, "old", id="somebody else was first"),
        pytest.param(None, (1, 2), False, None, id="there is no such row"),
    ],
)
async def test_an_update_is_a_compare_and_set_on_rev(engine, standing, update, result, chat):
    """It happens where the row is the one the caller knows, and says whether the row is now as it leaves it."""
    if standing is not None:
        await engine.write([Insert("messages", message("m1", rev=standing, chat="old"))])
    before, after = update
    assert await engine.write([Update("messages", "m1", before, {"chat": "new", "rev": after})]) == [result]
    assert [row["chat"] for row in await rows(engine)] == ([] if chat is None else [chat])


async def test_an_update_changes_what_it_names_and_nothing_else(engine):
    """Also to null, and back out of a partial index."""
    await engine.write([Insert("messages", message("m1", chat="c", open=1, body=BYTES))])
    await engine.write([Update("messages", "m1", 1, {"open": None, "state": "sent", "rev": 2})])
    [row] = await rows(engine)
    assert (row["open"], row["state"], row["rev"], row["chat"], row["body"]) == (None, "sent", 2, "c", BYTES)
    assert await rows(engine, where={"open": 1}) == []


async def test_of_two_updates_of_a_row_in_one_batch_one_wins(engine):
    """However an engine bundles them, no caller is told that it won when it lost."""
    await engine.write([Insert("messages", message("m1")), Insert("messages", message("m2"))])
    results = await engine.write(
        [
            Update("messages", "m1", 1, {"chat": "a", "rev": 10}),
            Update("messages", "m1", 1, {"chat": "b", "rev": 11}),
            Update("messages", "m2", 1, {"chat": "c", "rev": 12}),
        ]
    )
    assert sorted(results[:2]) == [False, True]
    assert results[2] is True
    [winner] = await rows(engine, where={"messageId": "m1"})
    assert winner["chat"] == ("a" if results[0] else "b")


async def test_an_update_that_meets_a_unique_index_names_it_and_changes_nothing(engine):
    """The others of its batch go through."""
    await engine.write(
        [
            Insert("messages", message("m1", providerMessageId="p")),
            Insert("messages", message("m2")),
            Insert("messages", message("m3")),
        ]
    )
    results = await engine.write(
        [
            Update("messages", "m2", 1, {"providerMessageId": "p", "rev": 2}),
            Update("messages", "m3", 1, {"providerMessageId": "q", "rev": 3}),
        ]
    )
    assert results == ["sessionId_providerMessageId", True]
    assert [row["rev"] for row in await rows(engine)] == [1, 1, 3]


async def test_one_of_many_at_once_wins_a_compare_and_set(store, engine):
    """Concurrent batches and concurrent writes of one batch are the same race, with one winner."""
    await engine.write([Insert("messages", message("m1"))])
    won: list[int] = []

    async def try_it(rev: int) -> None:
        [result] = await store._committing.commit([Update("messages", "m1", 1, {"rev": rev})])
        if result:
            won.append(rev)

    async with trio.open_nursery() as nursery:
        for rev in range(100, 150):
            nursery.start_soon(try_it, rev)
    assert [row["rev"] for row in await rows(engine)] == won


# --- delete ---------------------------------------------------------------------------------------


async def test_a_delete_takes_the_rows_of_all_its_values(engine):
    """Every column has to fit; a tuple means one of these."""
    await engine.write([Insert("messages", message(f"m{n}", rev=n)) for n in range(1, 6)])
    assert await engine.write([Delete("messages", {"messageId": ("m1", "m2", "m3"), "rev": (1, 3, 5)})]) == [
        None
    ]
    assert await keys(engine) == ["m2", "m4", "m5"]
    assert await engine.write([Delete("messages", {"messageId": "m2"})] * 2) == [None, None]
    assert await keys(engine) == ["m4", "m5"]


async def test_in_one_batch_deletes_come_before_inserts(engine):
    """So that a row can be replaced in one write, also where a unique index would be in the way."""
    await engine.write([Insert("messages", message("m1", idempotencyScope="a", idempotencyKey="k"))])
    results = await engine.write(
        [
            Insert("messages", message("m2", idempotencyScope="a", idempotencyKey="k")),
            Delete("messages", {"messageId": "m1"}),
        ]
    )
    assert results == [None, None]
    assert await keys(engine) == ["m2"]


# --- find, count, purge ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({}, "abcdef", id="all, by key"),
        pytest.param({"descending": True}, "fedcba", id="backwards"),
        pytest.param({"order": "seq"}, "fedcba", id="by another column"),
        pytest.param({"where": {"state": "queued"}}, "acf", id="one value"),
        pytest.param({"where": {"state": ("sent", "failed")}}, "bde", id="one of some"),
        pytest.param({"where": {"state": ("queued",), "chat": "x"}}, "af", id="both"),
        pytest.param({"where": {"messageId": ("e", "a", "zz")}}, "ae", id="by keys"),
        pytest.param({"where": {"messageId": ()}}, "", id="none of none"),
        pytest.param({"where": {"chat": None}}, "ce", id="without a value"),
        pytest.param({"where": {"open": 1, "sessionId": "s1"}, "order": "seq"}, "fca", id="by a partial index"),
        pytest.param({"after": "b", "before": "e"}, "cd", id="between keys, both out"),
        pytest.param({"order": "seq", "after": 2, "limit": 2}, "dc", id="a page"),
        pytest.param({"order": "seq", "descending": True, "before": 5, "limit": 3}, "cde", id="a page backwards"),
        pytest.param({"minimum": {"createdAt": 1003}}, "cdef", id="from a time on, itself in"),
        pytest.param({"order": "dueAt", "after": 0}, "b", id="null is in no range"),
        pytest.param({"minimum": {"dueAt": 0}}, "b", id="null is above no minimum"),
    ],
)  # fmt: skip
async def test_a_query_finds(engine, query, found):
    """The same rows in the same order on every engine."""
    table = [
        ("a", 6, "queued", "x", 1, 1001, None),
        ("b", 5, "sent", "x", None, 1002, 77),
        ("c", 4, "queued", None, 1, 1003, None),
        ("d", 3, "failed", "y", None, 1004, None),
        ("e", 2, "sent", None, None, 1005, None),
        ("f", 1, "queued", "x", 1, 1006, None),
    ]
    await engine.write(
        [
            Insert(
                "messages",
                message(key, seq=seq, state=state, chat=chat, open=is_open, createdAt=at, dueAt=due),
            )
            for key, seq, state, chat, is_open, at, due in table
        ]
    )
    assert "".join(await keys(engine, **query)) == found


async def test_a_query_for_some_columns_brings_those(engine):
    """Bodies stay where they are when nobody asked for them."""
    await engine.write([Insert("messages", message("m1", body=BYTES))])
    assert await rows(engine, columns=("messageId", "chat")) == [{"messageId": "m1", "chat": None}]


async def test_rows_are_counted_by_a_column(engine):
    """A value that no row has is not there; a number is the key of a number."""
    await engine.write(
        [Insert("messages", message(f"m{n}", sessionId=f"s{n % 2}", open=1 if n else None)) for n in range(5)]
    )
    assert await engine.count("messages", {"open": 1}, by="sessionId") == {"s0": 2, "s1": 2}
    assert await engine.count("messages", {}, by="open") == {1: 4, None: 1}
    assert await engine.count("messages", {"sessionId": "other"}, by="open") == {}


async def test_purging_takes_old_rows_a_few_at_a_time(engine):
    """At most the limit, only below the bound, only what fits; the number says whether to come again."""
    await engine.write(
        [Insert("messages", message(f"m{n}", createdAt=n, open=1 if n == 1 else None)) for n in range(10)]
    )

    async def purge() -> int:
        return await engine.purge("messages", "createdAt", 5, limit=3, where={"open": None})

    assert [await purge(), await purge(), await purge()] == [3, 1, 0]
    assert await keys(engine) == ["m1", "m5", "m6", "m7", "m8", "m9"]


# --- opening --------------------------------------------------------------------------------------


async def test_a_store_opened_again_has_what_was_written(place):
    """Tables and indexes are made once; opening again leaves rows alone."""
    if place.kind == "memory":
        pytest.skip("memory ends with its process")
    async with place.open() as store:
        await store._engine.write(
            [Insert("messages", message("m1", idempotencyScope="a", idempotencyKey="k"))]
        )
    async with place.open() as store:
        assert await keys(store._engine) == ["m1"]
        again = Insert("messages", message("m2", idempotencyScope="a", idempotencyKey="k"))
        assert await store._engine.write([again]) == ["idempotencyScope_idempotencyKey"]


async def test_it_answers_a_ping(engine):
    """A store that is there says so."""
    await engine.ping()
