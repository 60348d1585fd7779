"""Many sessions that do nothing: how soon they are back after a start, and what they cost to keep."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.process import daemon, settle
from bench.report import Figures
from bench.sessions import fill
from bench.wire import clock
from bench.world import World


def measure_footprint(world: World, sessions: int, *, directory: str | None = None) -> Figures:
    """Restore *sessions*: seconds until /readyz says 200, until each is proven by its probe, and the memory then."""
    with tempfile.TemporaryDirectory(dir=directory) as made:
        fill(Path(made), sessions)
        world.probes = 0
        started = clock()
        with daemon(world, Path(made)) as subject:
            ready_rss = subject.rss
            world.loop.run(lambda: world.probes >= sessions, 300)
            proven = clock() - started
            settle(world, 3.0)  # the last states are written, and what was needed for that is freed
            cpu, rss = subject.cpu, subject.rss
            settle(world, 5.0)
            return {
                "sessions": sessions,
                "ready_s": subject.seconds_to_ready,
                "proven_s": proven,
                "rss_ready_mib": ready_rss,
                "rss_mib": rss,
                "idle_cpu_share": (subject.cpu - cpu) / 5.0,
            }
