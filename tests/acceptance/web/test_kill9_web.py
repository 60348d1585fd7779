"""kill -9 of bridges and of the daemon at random moments, under load in both directions; then every message is counted."""

from __future__ import annotations

import logging
import os
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from tests.acceptance.web.load import Load, count
from tests.acceptance.web.place import (
    a_person,
    bridges,
    come_back,
    errors,
    kill,
    needs_node,
    until,
    web,
    web_town,
)

pytestmark = needs_node
log = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS", "30"))
#: Of the rounds on the embedded store, so many on MongoDB: what differs there is the store, not what Node does.
MONGO_SHARE = 10
#: Two bridges: one with two passengers, one with one.
SESSIONS = ("uno", "dos", "tres")
#: Makes V8 run out of memory when it is told to, in the bridge itself and by nothing but allocation.
GLUTTON = """
process.on('SIGUSR2', () => {
    const eaten = []
    for (;;) eaten.push(new Array(100_000).fill(Math.random()))
})
"""


async def test_nothing_is_lost_and_nothing_is_shown_twice(store: dict[str, Any], tmp_path: Path) -> None:
    """What is promised, and what the kills may do.

    Each 202 is one message in wad, goes out under one id, and is shown once to everybody it is for. A frame that left
    just before a kill leaves again under the same id; the recipient's phone shows one. What it could not decipher (the
    kill took the ratchet back) it asks for, and is given.

    Everything that people said has one row and one answer, whatever WhatsApp was told. No window is left: the bridge
    has a message in its spool before its key is spent, so before WhatsApp can be told that it came. A copy that comes
    again after that is refused as a known one (487), and the row is made of the spool.

    A chat keeps its order both ways, but for what the account itself had to ask for again.
    """
    chance = random.Random(os.environ.get("WAD_KILL_SEED", "2026"))
    rounds = max(ROUNDS // MONGO_SHARE, 1) if store else ROUNDS
    async with (
        web_town(tmp_path, baileys={"sessions_per_bridge": 2}, **store) as (here, daemon),
        AsyncExitStack() as stack,
    ):
        numbers = [await stack.enter_async_context(web(here, daemon, name)) for name in SESSIONS]
        load = Load(here, daemon, numbers)
        await load.prepare()
        for _ in range(rounds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(chance.uniform(0.05, 0.8))
                match chance.choice(["daemon", "daemon", "bridge", "bridge", "bridge", "stop"]):
                    case "daemon":
                        daemon.kill()
                    case "bridge":
                        kill(chance.choice(sorted(bridges(daemon))))
                        await trio.sleep(chance.uniform(0.0, 0.3))  # the load goes on over the gap
                    case _:
                        assert await daemon.stop() == 0
                nursery.cancel_scope.cancel()
            if not daemon.is_running:
                await daemon.start()
            await come_back(*numbers)
        counted = await count(load)
    log.info("%d kills: %s", rounds, counted.numbers())
    counted.check()
    assert errors(daemon) <= {"bridge_lost"}  # nothing was caught on its way to nowhere
    assert len(load.acknowledged) > rounds


async def test_a_bridge_that_dies_takes_nobody_else_down(tmp_path: Path) -> None:
    """By kill -9, and by V8's own end when memory runs out: its session is back, and the other's never left."""
    glutton = tmp_path / "glutton.cjs"
    glutton.write_text(GLUTTON)
    async with (
        web_town(
            tmp_path,
            baileys={"sessions_per_bridge": 1},
            environ={"NODE_OPTIONS": f"--require={glutton}"},
        ) as (here, daemon),
        web(here, daemon, "uno") as mine,
    ):
        [pid] = bridges(daemon)
        async with web(here, daemon, "dos") as other:
            [others] = bridges(daemon).keys() - {pid}
            since = (await other.status())["since"]
            for signum in (signal.SIGKILL, signal.SIGUSR2):
                os.kill(pid, signum)
                await until_gone(pid)
                await mine.until_status(isConnected=True)
                message = await mine.taken("sigo", f"+{(ana := a_person())}")
                assert await mine.shown(message, ana) == {"type": "text", "text": "sigo"}
                [pid] = bridges(daemon).keys() - {others}
            first, second = [line["detail"] for line in daemon.logged("bridge_lost")]
            assert ("SIGKILL" in first, "SIGABRT" in second) == (True, True)
            assert await other.noted("disconnected") == []
            assert (await other.status())["since"] == since
            assert len(await mine.noted("disconnected")) == 2


async def until_gone(pid: int) -> None:
    async def gone() -> bool:
        return not await trio.Path(f"/proc/{pid}").exists()

    await until(gone, bool, what="gone")
