"""kill -9 at random moments, under load in both directions over Twilio; then every message is counted."""

from __future__ import annotations

import os
import random
from pathlib import Path

import trio

from tests.acceptance.load import Load, count
from tests.acceptance.town import Town, running, town
from tests.acceptance.twilio.place import twilio_shop

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS_TWILIO", "8"))


async def test_nothing_is_lost_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    """Each 202 in one place, no message twice on the wire; what is in doubt is settled by callback or by the list.

    Twilio gives up on a webhook that finds nobody: what customers wrote to a dead daemon is read from its list.
    """
    chance = random.Random(os.environ.get("WAD_KILL_SEED", "2026"))
    limits = {"settle_window": "5s", "requests_per_second": 100_000, "request_burst": 100_000}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, limits=limits) as daemon,
        twilio_shop(here, daemon) as its,
    ):
        load = Load(here, daemon, number=its.number)
        for _ in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(chance.uniform(0.05, 0.8))
                daemon.kill()
                await trio.sleep(chance.uniform(0.0, 0.2))  # customers write on
                nursery.cancel_scope.cancel()
            await daemon.start()
        await its.until_status(isConnected=True)
        await count(here, daemon, load, told_until_taken=False)
        assert await _missed(here)  # or this test would have shown nothing of the list
    assert len(load.acknowledged) > ROUNDS


async def _missed(here: Town) -> set[str]:
    """The events of customers' messages that no webhook brought."""
    events = {event["eventId"] for event in await here.ledger("event", event="message")}
    heard = {each for d in await here.ledger("delivery") if d["status"] == 200 for each in d["events"]}
    return events - heard
