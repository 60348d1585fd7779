"""Calls in threads: their results, their errors, and a lender that lives only as long as they do."""

from __future__ import annotations

import threading

import pytest
import trio

from wad.store.threads import Threads


async def test_a_call_brings_its_result_or_its_error():
    """As if it had been made in place."""
    threads, limiter = Threads(), trio.CapacityLimiter(1)
    assert await threads.run(lambda: 1 + 1, limiter) == 2
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0, limiter)


async def test_a_running_call_is_not_abandoned_and_a_waiting_one_is():
    """A write that has begun is seen to its end; one that has no thread yet is given up."""
    threads, limiter = Threads(), trio.CapacityLimiter(1)
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        go_on.wait(10)
        done.append("slow")

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(threads.run, slow, limiter)
            await trio.to_thread.run_sync(begun.wait)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(threads.run, lambda: done.append("never"), limiter)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        nursery.cancel_scope.cancel()
        go_on.set()
    assert done == ["slow"]


async def test_nothing_lends_when_no_call_is_out():
    """An idle daemon has no task for it."""
    threads, limiter = Threads(), trio.CapacityLimiter(4)
    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(threads.run, lambda: None, limiter)
    with trio.fail_after(10):
        while threads._is_lending:  # noqa: ASYNC110  it tells nobody when it ends
            await trio.sleep(0.001)
    assert trio.lowlevel.current_statistics().tasks_living == before
