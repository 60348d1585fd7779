"""What happens to the process itself: it is killed, stopped, frozen, starved."""

from __future__ import annotations

import os
import random

import trio

from tests.acceptance.web.place import bridges, kill
from tests.faults.load import Load
from tests.faults.matrix import fault
from tests.faults.world import World

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS", "30"))
#: Of so many kills, one waits for WhatsApp Web to be back, and has its bridge killed first.
BRIDGE_EVERY = 3


def chance() -> random.Random:
    return random.Random(os.environ.get("WAD_KILL_SEED", "2026"))


@fault("nothing", in_gate=False)
async def nothing(world: World, load: Load) -> None:
    """The load itself: what is counted wrong here is the count's fault."""
    await trio.sleep(1)


@fault("kill -9, again and again", logs=["bridge_lost"], in_gate=True)
async def kills(world: World, load: Load) -> None:
    """Thirty times at random moments; and of bridges, while the load goes on over the gap."""
    moments = chance()
    for number in range(ROUNDS):
        if number % BRIDGE_EVERY == 0:
            await world.connected()
            for pid in bridges(world.daemon):
                kill(pid)
        await trio.sleep(moments.uniform(0.05, 0.8))
        world.kill()
        await world.start()
