"""Faults of MongoDB: it dies, it stalls, it steps down, it does what it was asked and says that it did not.

Commands fail by mongod's own `failCommand`; the rest is done to its process and to the way there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pymongo
import trio

from tests.faults.load import Load
from tests.faults.matrix import Strike, fault
from tests.faults.proxy import Line
from tests.faults.world import World
from tests.store.secantus import Secantus

STANDS: Final = 4.0
LONG: Final = 20.0
WRITES: Final = ["insert", "update", "delete"]
EVERYTHING: Final = [*WRITES, "find", "aggregate", "getMore"]
#: Of one core, what an outage may cost while callers go on and webhooks are spooled: a busy loop takes all of it.
BUSY: Final = 0.5


def process(fall: Callable[[Secantus], None], rise: Callable[[Secantus], None], seconds: float) -> Strike:
    async def strike(world: World, load: Load) -> None:
        assert world.mongo is not None
        await trio.to_thread.run_sync(fall, world.mongo)
        await trio.sleep(seconds)
        await trio.to_thread.run_sync(rise, world.mongo)

    return strike


async def killed_often(world: World, load: Load) -> None:
    for _ in range(4):
        await process(Secantus.kill, Secantus.start, 0.2)(world, load)
        await trio.sleep(1)


async def away(world: World, load: Load) -> None:
    """For long enough to fill what waits; and waiting costs little CPU time."""
    proxy = world.proxies["mongo"]
    await proxy.go_away()
    spent = await _cpu(world.daemon.pid, LONG)
    await proxy.come_back()
    assert spent < BUSY * LONG, f"{spent:.1f} s of CPU time in {LONG:g} s away"


async def flapping(world: World, load: Load) -> None:
    """There for a second, and gone for one."""
    proxy = world.proxies["mongo"]
    for _ in range(6):
        await proxy.go_away()
        await trio.sleep(1)
        await proxy.come_back()
        await trio.sleep(1)


async def slow(world: World, load: Load) -> None:
    """200 ms there, and 200 ms back."""
    proxy = world.proxies["mongo"]
    proxy.up = proxy.down = Line(latency=0.2)
    await trio.sleep(2 * STANDS)
    proxy.heal()


async def silent(world: World, load: Load) -> None:
    """Connections stand, and nothing comes over them, for longer than any operation waits."""
    proxy = world.proxies["mongo"]
    proxy.up = proxy.down = Line(swallow=0)
    await trio.sleep(8)
    proxy.heal()
    proxy.reset()


async def answers_lost(world: World, load: Load) -> None:
    """What was asked is done, and nobody hears of it."""
    proxy = world.proxies["mongo"]
    for _ in range(int(STANDS / 0.2)):
        proxy.cut = 3
        await trio.sleep(0.2)
    proxy.heal()


def failing(commands: list[str], *, seconds: float = STANDS, **how: Any) -> Strike:
    """Every one of *commands* fails so."""

    async def strike(world: World, load: Load) -> None:
        mongo = world.mongo
        assert mongo is not None
        await trio.to_thread.run_sync(lambda: mongo.fail(commands, times=None, **how))
        await trio.sleep(seconds)
        await trio.to_thread.run_sync(mongo.heal)

    return strike


def now_and_then(commands: list[str], **how: Any) -> Strike:
    """One of *commands* after the other fails so, and is done when it is asked again."""

    async def strike(world: World, load: Load) -> None:
        mongo = world.mongo
        assert mongo is not None
        for _ in range(int(STANDS / 0.1)):
            await trio.to_thread.run_sync(lambda: mongo.fail(commands, times=1, **how))
            await trio.sleep(0.1)
        await trio.to_thread.run_sync(mongo.heal)

    return strike


async def stepping_down(world: World, load: Load) -> None:
    """The primary is none for some seconds."""
    mongo = world.mongo
    assert mongo is not None

    def step_down() -> None:
        with pymongo.MongoClient[dict[str, Any]](mongo.uri) as client:
            client.admin.command({"replSetStepDown": 3, "force": True})

    for _ in range(2):
        await trio.to_thread.run_sync(step_down)
        await trio.sleep(STANDS)


async def _cpu(pid: int, seconds: float) -> float:
    """CPU time that the process uses in the next *seconds*."""
    before = _ticks(pid)
    await trio.sleep(seconds)
    return (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


FAULTS: Final[dict[str, Strike]] = {
    "killed, and started again": process(Secantus.kill, Secantus.start, STANDS),
    "killed four times": killed_often,
    "frozen": process(Secantus.freeze, Secantus.thaw, 8),
    "away for 20 s": away,
    "flapping": flapping,
    "slow": slow,
    "silent": silent,
    "answers are lost": answers_lost,
    "NotWritablePrimary": failing(WRITES, errorCode=10107),
    "PrimarySteppedDown": now_and_then(EVERYTHING, errorCode=189),
    "ShutdownInProgress": failing(EVERYTHING, errorCode=91),
    "WriteConflict": now_and_then(WRITES, errorCode=112),
    "the connection closes on a write": now_and_then(WRITES, closeConnection=True),
    "the connection closes on a read": now_and_then(["find", "aggregate"], closeConnection=True),
    "writes that block": failing(["insert"], blockConnection=True, blockTimeMS=3000),
    "a write concern that times out": now_and_then(
        WRITES, writeConcernError={"code": 64, "errmsg": "timed out"}
    ),
    "a write concern that no nodes satisfy": failing(
        WRITES, writeConcernError={"code": 100, "errmsg": "not enough data-bearing nodes"}
    ),
    "disk full": failing(WRITES, errorCode=14031),
    "stepping down": stepping_down,
}

for _label, _strike in FAULTS.items():
    fault(f"MongoDB: {_label}", stores=["mongo"], in_gate=_label == "killed, and started again")(_strike)
