"""Restart with backoff, give up past the intensity, and never lose sight of a crash."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from wad.supervisor.policy import RestartPolicy
from wad.supervisor.supervise import RestartIntensityExceeded, supervise


class Full(Random):
    """Jitter at its most, so that delays are exact."""

    def uniform(self, a: float, b: float) -> float:
        return b


POLICY = RestartPolicy(intensity=3, period=60.0, initial=1.0, most=300.0, random=Full())


async def test_a_run_that_returns_is_over(autojump_clock: MockClock) -> None:
    """Ending normally is not a crash."""
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    await supervise(run, POLICY, lambda error, delay: pytest.fail("no crash"))
    assert runs == 1


async def test_delays_double(autojump_clock: MockClock) -> None:
    """1, 2 and 4 seconds before restarts 1, 2 and 3."""
    starts: list[float] = []
    told: list[float | None] = []

    async def run() -> None:
        starts.append(trio.current_time())
        if len(starts) < 4:
            raise RuntimeError("a bug")

    await supervise(run, POLICY, lambda error, delay: told.append(delay))
    assert starts == [0.0, 1.0, 3.0, 7.0]
    assert told == [1.0, 2.0, 4.0]


async def test_more_than_the_intensity_within_the_period_ends_the_trying(autojump_clock: MockClock) -> None:
    """The fourth crash within a minute is one too many where the intensity is three."""
    told: list[float | None] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:

            async def crash() -> None:
                raise RuntimeError("a bug")

            nursery.start_soon(crash)

    with pytest.raises(RestartIntensityExceeded) as exceeded:
        await supervise(run, POLICY, lambda error, delay: told.append(delay))
    assert isinstance(exceeded.value.__cause__, RuntimeError)  # unwrapped from its nurseries
    assert told == [1.0, 2.0, 4.0, None]


async def test_crashes_far_apart_are_forgiven(autojump_clock: MockClock) -> None:
    """A crash older than the period does not count, for the intensity or for the delay."""
    told: list[float | None] = []

    async def run() -> None:
        if len(told) < 10:
            await trio.sleep(61)
            raise RuntimeError("a bug")

    await supervise(run, POLICY, lambda error, delay: told.append(delay))
    assert told == [1.0] * 10


async def test_a_crash_during_cancellation_is_told_and_the_cancellation_goes_on(
    autojump_clock: MockClock,
) -> None:
    """`except*` would swallow it: the hook must hear of it, once, and nothing runs again."""
    told: list[BaseException] = []
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("a bug in the clean-up")

    with trio.move_on_after(1) as scope:
        await supervise(run, POLICY, lambda error, delay: told.append(error))
    assert scope.cancelled_caught
    assert runs == 1
    assert [str(error) for error in told] == ["a bug in the clean-up"]
