"""kill -9 at random moments, under load in both directions; then every message is counted."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import trio

from tests.acceptance.load import Load, count
from tests.acceptance.town import running, town

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS", "30"))


async def test_nothing_is_lost_and_nothing_is_sent_twice(store: dict[str, Any], tmp_path: Path) -> None:
    """Thirty kills: each 202 in one place, no message twice on the wire, each webhook's 200 with one effect."""
    chance = random.Random(os.environ.get("WAD_KILL_SEED", "2026"))
    limits = {"settle_window": "5s", "requests_per_second": 100_000, "request_burst": 100_000}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, limits=limits, **store) as daemon,
    ):
        await here.settle_in(daemon)
        load = Load(here, daemon)
        for _ in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(chance.uniform(0.05, 0.8))
                daemon.kill()
                nursery.cancel_scope.cancel()
            await daemon.start()
        await count(here, daemon, load)
    assert len(load.acknowledged) > ROUNDS
