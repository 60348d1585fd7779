"""Calls in threads: their results, their errors, and their share of the interpreter."""

from __future__ import annotations

import sys
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


async def test_a_thread_is_not_kept_waiting_by_a_busy_loop():
    """It may ask for the interpreter lock within one turn of the loop; who set it shorter keeps that."""
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        Threads()
        assert sys.getswitchinterval() == pytest.approx(0.0001)
        sys.setswitchinterval(0.00001)
        Threads()
        assert sys.getswitchinterval() == pytest.approx(0.00001)
    finally:
        sys.setswitchinterval(before)
