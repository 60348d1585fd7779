"""Sending: how many messages a second are both answered 202 and taken by Graph, and how long each of that takes."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from bench.process import Process, ceiling, daemon
from bench.report import Figures, milliseconds
from bench.wire import clock
from bench.world import NUMBERS, Call, World, bulks, creates, run_callers, sends

CALLERS = (1, 16, 64)
VARIANTS = ("await", "background")
_serial = count(1_000_000, 1_000_000)


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def sent(world: World, subject: Process, calls: Iterator[Call], messages: int, **how: float) -> Figures:
    """Make *calls*, which are *messages* in all, and wait until Graph has every one."""
    world.forget()
    cpu, own, started = subject.cpu, own_cpu(), clock()
    made = run_callers(
        world,
        subject.port,
        calls,
        done=lambda _: len(world.accepted) >= messages,
        expected=202,
        **how,
    )
    took, cpu, own = clock() - started, subject.cpu - cpu, own_cpu() - own
    out = [world.accepted[message_id] - call.answered for call in made for message_id in _ids(call)]
    return {
        "messages": messages,
        "per_second": messages / took,
        "answer": milliseconds(call.seconds for call in made),
        "answer_to_accepted": milliseconds(max(0.0, seconds) for seconds in out),
        "cpu_us": cpu / messages * 1e6,
        "cpu_share": cpu / took,
        "world_cpu_share": own / took,
    }


def _ids(call: Call) -> list[str]:
    answer = msgspec.json.decode(call.body)
    return [item["messageId"] for item in answer.get("items", (answer,))]


def measure_ceiling(world: World, messages: int) -> Figures:
    found: Figures = {}
    with tempfile.TemporaryDirectory() as directory:
        for variant in VARIANTS:
            with ceiling(world, Path(directory), variant) as subject:
                sent(world, subject, sends(next(_serial), 300), 300, callers=16)
                found[variant] = {
                    str(callers): sent(
                        world, subject, sends(next(_serial), messages), messages, callers=callers
                    )
                    for callers in CALLERS
                }
    return found


def open_numbers(world: World, subject: Process) -> None:
    """Create the sessions that the load is spread over, and wait until Graph has proven each."""
    before = world.probes
    run_callers(
        world,
        subject.port,
        creates(NUMBERS),
        callers=1,
        expected=201,
        done=lambda _: world.probes >= before + NUMBERS,
    )


def measure_wad(
    world: World, messages: int, *, store: str = "embedded", directory: str | None = None
) -> Figures:
    """`/send` by so many callers, at a set rate, and in bulk."""
    found: Figures = {}
    with (
        tempfile.TemporaryDirectory(dir=directory) as made,
        daemon(world, Path(made), store=store) as subject,
    ):
        open_numbers(world, subject)
        sent(world, subject, sends(next(_serial), 300), 300, callers=16)
        for callers in CALLERS:
            found[str(callers)] = sent(
                world, subject, sends(next(_serial), messages), messages, callers=callers
            )
        half = found["64"]["per_second"] / 2
        found["half"] = sent(world, subject, sends(next(_serial), messages), messages, callers=64, rate=half)
        for size in (100, 1000):
            many = max(2, messages // size)
            found[f"bulk{size}"] = sent(
                world, subject, bulks(next(_serial), many, size), many * size, callers=1
            )
    return found
