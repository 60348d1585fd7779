"""A bridge that dies, by kill -9 and by its own end: what becomes of its passengers, and of the other bridges'."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio

from tests.acceptance.web.place import a_person, bridges, needs_node, until, web, web_town

pytestmark = needs_node

#: Makes V8 run out of memory when it is told to, in the bridge itself and by nothing but allocation.
GLUTTON = """
process.on('SIGUSR2', () => {
    const eaten = []
    for (;;) eaten.push(new Array(100_000).fill(Math.random()))
})
"""


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
