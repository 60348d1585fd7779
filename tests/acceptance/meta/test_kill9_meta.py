"""kill -9 at random moments, under load in both directions over 360dialog and over a whole account; then the count."""

from __future__ import annotations

import os
import random
from pathlib import Path

import trio

from tests.acceptance.load import Load, count
from tests.acceptance.meta.place import BusinessShop, Dialog360Shop, meta_shop
from tests.acceptance.town import running, town

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS_META", "6"))


async def test_nothing_is_lost_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """Each 202 in one place, no message twice on the wire, each webhook's 200 with one effect; on both at once."""
    chance = random.Random(os.environ.get("WAD_KILL_SEED", "2026"))
    limits = {"settle_window": "5s", "requests_per_second": 100_000, "request_burst": 100_000}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, limits=limits) as daemon,
        meta_shop(Dialog360Shop, here, daemon, "at-360dialog") as number,
        meta_shop(BusinessShop, here, daemon, "at-meta") as account,
    ):
        loads = [
            Load(here, daemon, number.session_id, number=number.number),
            Load(here, daemon, account.session_id, number=account.number, first=1_000_000),
        ]
        for _ in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                for load in loads:
                    nursery.start_soon(load.run)
                await trio.sleep(chance.uniform(0.05, 0.8))
                daemon.kill()
                nursery.cancel_scope.cancel()
            await daemon.start()
        for its in (number, account):
            await its.until_status(isConnected=True)
        await count(here, daemon, *loads)
    for load in loads:
        assert len(load.acknowledged) > ROUNDS
