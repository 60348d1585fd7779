"""Group commit: one flush carries the writes of many callers, and each gets what is theirs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from wad.errors import StoreUnavailable
from wad.store.base import Insert, Result, Write
from wad.store.commit import GroupCommit
from wad.store.memory import MemoryEngine


class Gate(MemoryEngine):
    """The memory engine, whose writes wait until the test lets one through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Semaphore(0)
        self.poison: str | None = None

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        await self.gate.acquire()
        if self.poison in [write.row["messageId"] for write in writes if isinstance(write, Insert)]:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return await super().write(writes)

    def open(self, flushes: int = 1000) -> None:
        for _ in range(flushes):
            self.gate.release()


def insert(key: str, rev: int = 1) -> Insert:
    return Insert("messages", {"messageId": key, "sessionId": "s1", "seq": 1, "rev": rev})


async def test_writes_that_come_during_a_flush_share_the_next_one(autojump_clock):
    """Durability costs a flush a batch, and not a flush a write."""
    engine = Gate()
    committing = GroupCommit(engine)
    results: dict[int, list[Result]] = {}

    async def caller(number: int) -> None:
        results[number] = await committing.commit([insert(f"m{number % 50}", rev=number)])

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(caller, number)
            if number == 0:
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert committing.waiting == 100
        engine.open()
    assert engine.batches == [1, 99]
    assert sorted(results) == list(range(100))
    assert sorted(result[0] or "new" for result in results.values()) == ["key"] * 50 + ["new"] * 50
    assert committing.waiting == 0


async def test_a_caller_gets_the_results_of_its_own_writes_in_their_order(autojump_clock):
    """However they were bundled."""
    engine = Gate()
    committing = GroupCommit(engine)
    got: dict[str, list[Result]] = {}

    async def caller(name: str, keys: list[str]) -> None:
        got[name] = await committing.commit([insert(key, rev=hash(name)) for key in keys])

    engine.open()
    await committing.commit([insert("b"), insert("d")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "one", ["a", "b", "c"])
        nursery.start_soon(caller, "two", ["d"])
        nursery.start_soon(caller, "none", [])
        nursery.start_soon(caller, "three", ["d", "e"])
    assert got == {"one": [None, "key", None], "two": ["key"], "none": [], "three": ["key", None]}


async def test_a_batch_is_bounded_and_a_big_caller_goes_alone(autojump_clock):
    """The first of a batch does not wait for ever; a call that is bigger than a batch is not cut."""
    engine = Gate()
    committing = GroupCommit(engine, max_batch=10)
    async with trio.open_nursery() as nursery:
        for start, count in [(0, 1), (100, 6), (200, 4), (300, 1), (400, 25), (500, 2)]:
            nursery.start_soon(committing.commit, [insert(f"m{start + n}") for n in range(count)])
            await wait_all_tasks_blocked()
        engine.open()
    assert engine.batches == [1, 10, 1, 25, 2]


@pytest.mark.parametrize("when", ["gathering", "being flushed"])
async def test_a_cancelled_caller_takes_nobodys_writes_with_it(autojump_clock, when):
    """Its own happen all the same, and the others learn their results."""
    engine = Gate()
    committing = GroupCommit(engine)
    others: list[list[Result]] = []

    async def other(key: str) -> None:
        others.append(await committing.commit([insert(key)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other, "first")
        await wait_all_tasks_blocked()
        if when == "being flushed":
            engine.open(1)
            await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(other, "beside")
            async with trio.open_nursery() as doomed:
                doomed.start_soon(committing.commit, [insert("cancelled")])
                await wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        nursery.start_soon(other, "after")
        await wait_all_tasks_blocked()
        engine.open()
    await committing.drained()
    assert others == [[None]] * 3
    assert set(engine._tables["messages"].by_key) == {"first", "beside", "cancelled", "after"}


async def test_all_callers_cancelled_leave_it_ready_for_the_next(autojump_clock):
    """No leader to lose: the flusher is nobody's task."""
    engine = Gate()
    committing = GroupCommit(engine)
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(committing.commit, [insert(f"m{number}")])
    engine.open()
    assert await committing.commit([insert("next")]) == [None]
    assert len(engine._tables["messages"].by_key) == 6


async def test_a_store_that_is_down_is_told_to_every_caller_of_the_batch(autojump_clock):
    """Each gets an error of its own; the next batch is tried anew."""
    engine = Gate()
    committing = GroupCommit(engine)
    engine.fault = "refuse"
    errors: list[StoreUnavailable] = []

    async def caller(key: str) -> None:
        with pytest.raises(StoreUnavailable) as caught:
            await committing.commit([insert(key)])
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(caller, f"m{number}")
        engine.open()
    assert len({id(error) for error in errors}) == 10
    engine.fault = None
    assert await committing.commit([insert("m1")]) == [None]


async def test_a_write_that_cannot_be_stored_at_all_is_its_callers_alone(autojump_clock):
    """A value that no engine takes (a lone surrogate) fails one caller and not the batch."""
    engine = Gate()
    committing = GroupCommit(engine)
    engine.poison = "bad"
    good: list[list[Result]] = []

    async def caller(key: str) -> None:
        good.append(await committing.commit([insert(key)]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "first")
        await wait_all_tasks_blocked()
        for key in "abc":
            nursery.start_soon(caller, key)

        async def bad() -> None:
            with pytest.raises(UnicodeEncodeError):
                await committing.commit([insert("bad")])

        nursery.start_soon(bad)
        await wait_all_tasks_blocked()
        engine.open()
    assert good == [[None]] * 4


async def test_a_store_too_far_behind_is_unavailable(autojump_clock):
    """Never an unbounded backlog in memory; what waits already is still written."""
    engine = Gate()
    committing = GroupCommit(engine, max_waiting=10)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(committing.commit, [insert(f"m{number}")])
        await wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable) as caught:
            await committing.commit([insert("more")])
        assert caught.value.retry_after
        engine.open()
    assert await committing.commit([insert("more")]) == [None]
    assert len(engine._tables["messages"].by_key) == 11


async def test_nothing_runs_when_nothing_is_to_be_written(autojump_clock):
    """An idle store has no task; `drained` returns at once."""
    committing = GroupCommit(MemoryEngine())
    await committing.commit([insert("m1")])
    await committing.drained()
    before = trio.lowlevel.current_statistics().tasks_living
    await committing.drained()
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert committing._idle is None


def test_a_program_that_ends_amid_a_flush_tells_the_waiting():
    """When Trio itself is torn down, nobody hangs and nothing hides the reason."""

    async def main() -> None:
        engine = Gate()
        committing = GroupCommit(engine)
        trio.lowlevel.spawn_system_task(committing.commit, [insert("m1")])
        await wait_all_tasks_blocked()

    trio.run(main)
