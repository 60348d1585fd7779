"""The matrix: every fault on every store, under load over every provider, and the count after each.

A fault is a function that does harm to a world and mends it again; `@fault` gives it its label. One world serves rows
one after the other, for as long as they hold: after one that did not, the next has a world of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import trio

from tests.faults.count import Allowed, Counters, Tally, count
from tests.faults.load import Load
from tests.faults.world import COMES_BACK, SHOPS, STORES, World, world

#: Where the faults are.
MODULES = ("process", "storage", "network", "provider", "mongo", "flow")
#: Messages that are answered 202 before a fault, and after it.
BEFORE, AFTER = 10, 20
#: Seconds that any one row may take.
PATIENCE = 1800

Strike = Callable[[World, Load], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and what is allowed to come of it besides what always is."""

    label: str
    strike: Strike
    stores: tuple[str, ...]
    providers: tuple[str, ...]
    allowed: Allowed
    lacks: Callable[[], str | None]
    in_gate: bool


FAULTS: dict[str, Fault] = {}


def fault(
    label: str,
    *,
    stores: Collection[str] = STORES,
    providers: Collection[str] = tuple(SHOPS),
    outbound: Collection[str] = (),
    inbound: Collection[str] = (),
    logs: Collection[str] = (),
    unproven: bool = False,
    missed: bool = False,
    lacks: Callable[[], str | None] = lambda: None,
    in_gate: bool = False,
) -> Callable[[Strike], Strike]:
    """Make a row of it. *providers* are those it concerns; *lacks* says what is missing here to have it.

    It is called with load on its way, and has everything work again when it returns: `World.connected` is waited for.
    """

    def register(strike: Strike) -> Strike:
        assert label not in FAULTS, label
        allowed = Allowed(frozenset(outbound), frozenset(inbound), frozenset(logs), unproven, missed)
        FAULTS[label] = Fault(label, strike, tuple(stores), tuple(providers), allowed, lacks, in_gate)
        return strike

    return register


def faults() -> dict[str, Fault]:
    """Every fault, by its label."""
    for name in MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(f"tests.faults.{name}")
    return FAULTS


@dataclass
class Result:
    fault: str
    store: str
    providers: str
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    left_out: str | None = None

    @property
    def verdict(self) -> str:
        if self.left_out is not None:
            return f"left out: {self.left_out}"
        return "FAILED" if self.tally.findings else "holds"


async def run(
    directory: Path,
    store: str,
    rows: Iterable[Fault],
    *,
    providers: Collection[str] = tuple(SHOPS),
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Each of *rows* on *store*, one after the other."""
    results: list[Result] = []
    todo = [row for row in rows if store in row.stores and set(row.providers) & set(providers)]
    while todo:
        async with world(directory / f"{store}-{len(results)}", store, providers=providers) as its:
            while todo:
                row = todo.pop(0)
                concerned = "all" if set(row.providers) >= set(providers) else ", ".join(row.providers)
                result = Result(row.label, store, concerned, left_out=row.lacks())
                results.append(result)
                if result.left_out is None:
                    await _one(its, row, result)
                tell(result)
                if result.tally.findings:
                    break
    return results


async def _one(its: World, row: Fault, result: Result) -> None:
    started = time.monotonic()
    try:
        with trio.fail_after(PATIENCE):
            result.tally = await strike(its, row)
    except Exception as error:  # noqa: BLE001  told as the row's finding
        result.tally.findings += [f"{type(each).__name__}: {each}" for each in _leaves(error)]
        result.tally.findings.append(f"the daemon's last words: {its.daemon.tail(1500)}")
    result.seconds = time.monotonic() - started


async def strike(its: World, row: Fault) -> Tally:
    """Load, the fault, more load, and the count."""
    load = its.load()
    counters = await Counters.of(its)
    async with load.running():
        await load.until_more(BEFORE)
        await row.strike(its, load)
        await its.connected()
        await load.until_more(AFTER, seconds=COMES_BACK)
    return await count(its, load, row.allowed, counters)


def _leaves(error: BaseException) -> list[BaseException]:
    """What is in the groups that nurseries make."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


# --- the table --------------------------------------------------------------------------------------

_HEAD = ("fault", "store", "providers", "sends", "inbound", "unknown", "lost", "twice", "seconds", "verdict")


def cells(result: Result) -> tuple[str, ...]:
    tally = result.tally
    numbers = (tally.sends, tally.inbound, tally.unknown, tally.lost, tally.twice)
    return (
        result.fault,
        result.store,
        result.providers,
        *map(str, numbers),
        f"{result.seconds:.0f}",
        result.verdict,
    )


def table(results: Iterable[Result]) -> str:
    """In Markdown."""
    lines = [_HEAD, tuple("---" for _ in _HEAD), *(cells(each) for each in results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


class Progress:
    """Tells of each row as it ends."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out

    def __call__(self, result: Result) -> None:
        numbers = cells(result)
        self._out.write("  ".join(numbers) + "\n")
        for each in result.tally.findings:
            self._out.write(f"    {each}\n")
        self._out.flush()
