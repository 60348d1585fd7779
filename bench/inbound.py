"""Receiving: a signed webhook, its 200, the flow service's answer, and that answer sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from bench.process import Process, daemon
from bench.report import Figures, milliseconds
from bench.sending import open_numbers, own_cpu
from bench.wire import clock
from bench.world import Call, World, run_callers, webhooks

#: Meta posts webhooks side by side; it does not say how many.
CALLERS = 16
_serial = count(1_000_000, 1_000_000)


def answered(world: World, subject: Process, calls: Iterator[Call], messages: int, **how: float) -> Figures:
    """Post *messages* webhooks, and wait until Graph has the reply to every one."""
    world.forget()
    cpu, own, started = subject.cpu, own_cpu(), clock()
    made = run_callers(
        world,
        subject.port,
        calls,
        done=lambda _: len(world.replied) >= messages,
        expected=200,
        **how,
    )
    took, cpu, own = clock() - started, subject.cpu - cpu, own_cpu() - own
    return {
        "messages": messages,
        "per_second": messages / took,
        "ack": milliseconds(call.seconds for call in made),
        "to_flow": milliseconds(world.asked[call.key] - call.due for call in made),
        "to_reply": milliseconds(world.replied[call.key] - call.due for call in made),
        "cpu_us": cpu / messages * 1e6,
        "cpu_share": cpu / took,
        "world_cpu_share": own / took,
    }


def measure_inbound(world: World, messages: int, *, directory: str | None = None) -> Figures:
    """As fast as it goes, and at half of that."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as made,
        daemon(world, Path(made), flow={"url": world.flow_url}) as subject,
    ):
        open_numbers(world, subject)
        answered(world, subject, webhooks(next(_serial), 300), 300, callers=CALLERS)
        most = answered(world, subject, webhooks(next(_serial), messages), messages, callers=CALLERS)
        half = answered(
            world,
            subject,
            webhooks(next(_serial), messages),
            messages,
            callers=CALLERS,
            rate=most["per_second"] / 2,
        )
    return {"most": most, "half": half}
