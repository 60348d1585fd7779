"""Play one seed, the same way each time: Trio's own dice are the seed's too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
import trio.testing
from trio._core import _run

from tests.simulation.story import Story


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Trio shuffles what is runnable; here it sorts it first, and shuffles by *seed* (made for Hypothesis)."""
    allowed, _run._ALLOW_DETERMINISTIC_SCHEDULING = _run._ALLOW_DETERMINISTIC_SCHEDULING, True
    dice, _run._r = _run._r, random.Random(seed)
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r = allowed, dice


def play(seed: int) -> tuple[Story, list[str]]:
    """The story of *seed*, and every promise that was broken in it."""

    async def main() -> list[str]:
        await story.play()
        return await story.verdict()

    with TemporaryDirectory() as directory, _deterministic(seed):
        story = Story(seed, Path(directory))
        return story, trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
