"""Hundreds of worlds, each made of its seed. What breaks in one breaks in it again: `python -m tests.simulation SEED`."""

from __future__ import annotations

import os

import pytest

from tests.simulation.play import play

SEEDS = int(os.environ.get("WAD_SEEDS", "200"))
FIRST = int(os.environ.get("WAD_FIRST_SEED", "0"))
BLOCK = 20


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_every_promise_holds_whatever_fails(first: int) -> None:
    """Kills at any call of the store, lost answers, refusals, bugs, outages; callbacks late, twice or never."""
    broken = {}
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        _, faults = play(seed)
        if faults:
            broken[f"python -m tests.simulation {seed}"] = faults
    assert broken == {}


@pytest.mark.parametrize("seed", [3, 14])
def test_a_seed_is_the_same_world_each_time(seed: int) -> None:
    """Else a failure could not be looked at."""
    first, second = play(seed)[0], play(seed)[0]
    assert first.trace == second.trace


def test_the_worlds_are_hard() -> None:
    """A simulation in which nothing goes wrong would show nothing."""
    stories = [play(seed)[0] for seed in range(8)]
    told = "\n".join(line for story in stories for line in story.trace)
    for wanted in ("killed", "told to stop", "store refuse", "store lose_answer", "is cancelled", "eco: "):
        assert wanted in told
    assert sum(len(story.acknowledged) for story in stories) > 300
