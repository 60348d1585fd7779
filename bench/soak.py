"""`python -m bench soak`: a daemon under mixed load, with something going wrong all the time; does it stay as it was?

It is the world of the fault matrix (tests/faults): a session over every provider that is an API, a fault proxy on each
way there. For minutes messages go both ways, are scheduled and cancelled, listeners come and go, sessions are
opened anew. One fault follows the other, and in the first quarter the daemon is killed twice, without warning.
In the end the ledger has to balance, as after any fault, and what the daemon holds must not have grown: memory,
descriptors, threads.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import trio

from bench.report import table, tenths, whole
from tests.acceptance.shop import API
from tests.faults.count import Allowed, Counters, Tally, count
from tests.faults.load import Load
from tests.faults.matrix import Fault, faults
from tests.faults.world import SHOPS, STORES, World, world

#: Over WhatsApp Web there are more processes than one to look at.
PROVIDERS: Final = tuple(name for name in SHOPS if name != "baileys")
#: One after the other, as rows of the matrix; the last ones where the store is MongoDB.
FAULTS: Final = (
    "answer: 503 of a proxy, the send taken",
    "the way to the flow: nobody listens",
    "answer: 429 with Retry-After",
    "the way of webhooks: connections break all the time",
    "the way to the providers: some answers are lost",
    "flow: a 500",
    "webhooks: duplicated",
    "answer: an internal error",
    "the way to the providers: it flaps",
    "webhooks: reordered",
    "the way to the providers: requests break in the middle",
    "the way to the flow: answers are lost",
)
OF_MONGO: Final = ("MongoDB: away for 20 s", "MongoDB: PrimarySteppedDown", "MongoDB: answers are lost")
#: Seconds between two faults, two looks at the process, and of one chat between two of our messages.
CALM, LOOK, PAUSE = 3.0, 5.0, 0.25
#: Seconds for all webhooks to come in at last: minutes of faults leave thousands to be repeated.
QUIET: Final = 900
#: When the daemon is killed, as parts of the whole time; what is compared comes after that.
KILLS: Final = (0.1, 0.2)
#: The daemon's malloc has one heap for all threads. It keeps what a burst took and gave back, and with a heap for each
#: thread that is another 10 to 15 MiB, which come with the bursts: the growth that is looked for would drown in it.
ONE_HEAP: Final = {"MALLOC_ARENA_MAX": "1"}
#: MiB that SQLite's page caches hold when they are full: of the writer 16, of each of 4 readers 2. Until then they grow
#: with the database, page for page.
STORE_CACHES: Final = 24.0
#: What else the last third may have more than the second.
#: MiB: objects that wait for the collector, which looks after 10,000 new ones (4 between two looks), and what the one heap
#: keeps between what is used of it (5 after minutes). It is 3 KiB for each message of a third of ten minutes.
MORE_RSS: Final = 8.0
#: Each side keeps a connection for 4 or 5 s after its last use, so that the fewest are as many as the calmest seconds of a
#: third used. One descriptor lost with each hundredth request is far more.
MORE_FDS: Final = 24.0
MORE_THREADS: Final = 4.0  # a thread stays for 10 s after its last work; four read SQLite at once
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One look at the daemon's process, and at its queues."""

    at: float
    rss: float  # MiB
    threads: int
    fds: int
    cpu: float  # seconds, of this life
    outbox: float
    inbox: float
    store: float  # MiB of the database


@dataclass
class Soak:
    its: World
    load: Load
    seconds: float
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    cancelled: int = 0
    streams: int = 0
    events: int = 0

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    async def run(self, rows: Sequence[Fault]) -> None:
        async with self.load.running(), trio.open_nursery() as nursery:
            for task in (self._schedule, self._ask, self._reopen, self._sample):
                nursery.start_soon(task)
            for n in range(4):
                nursery.start_soon(self._listen, n)
            await self._go_wrong(rows)
            nursery.cancel_scope.cancel()
        await self.its.connected()
        await self.its.here.until_quiet(QUIET)  # what the providers still repeat

    # --- what goes wrong ----------------------------------------------------------------------------

    async def _go_wrong(self, rows: Sequence[Fault]) -> None:
        kills = [part * self.seconds for part in KILLS]
        for row in itertools.cycle(rows):
            await trio.sleep(CALM)
            if self.spent >= self.seconds:
                return
            if kills and self.spent >= kills[0]:
                kills.pop(0)
                await self._note("kill -9")
                self.its.kill()
                await self.its.start()
                await self.its.connected()
            await self._note(row.label)
            await row.strike(self.its, self.load)

    async def _note(self, what: str) -> None:
        self.struck.append(what)
        print(f"{self.spent:5.0f} s  {len(self.load.acknowledged):6,} sent  {what}", file=sys.stderr)

    # --- what is asked of it meanwhile --------------------------------------------------------------

    async def _schedule(self) -> None:
        """Messages of every priority, for later; every second one is cancelled in time."""
        shops = itertools.cycle(self.its.shops.values())
        for number, priority in enumerate(itertools.cycle(("reply", "normal", "bulk"))):
            at = datetime.now(UTC) + timedelta(seconds=10)
            more: dict[str, Any] = {"priority": priority, "sendAt": at.isoformat()}
            message_id = None
            try:
                answer = await next(shops).send(f"soak-{number}", f"+52156{number:08}", **more)
                if answer.status_code == 202:
                    message_id = answer.json()["messageId"]
                    self.load.acknowledged[message_id] = f"soak-{number}"
                if message_id is not None and number % 2:
                    async with self.its.daemon.client() as api:
                        gone = await api.post(f"{API}/messages/{message_id}/cancel")
                    self.cancelled += gone.is_success
            except httpx.TransportError:
                pass  # it is being killed: the message is there, or not
            await trio.sleep(0.5)

    async def _ask(self) -> None:
        """As a dashboard does, all the time."""
        for path in itertools.cycle(
            ("sessions", "messages?limit=50", "dead-letters", "sessions/cloud-api/status")
        ):
            try:
                async with self.its.daemon.client() as api:
                    await api.get(f"{API}/{path}")
            except httpx.TransportError:
                pass  # as above
            await trio.sleep(0.5)

    async def _listen(self, number: int) -> None:
        """A listener that comes, stays for a while, and goes without a word."""
        while True:
            self.streams += 1
            with trio.move_on_after(7.0 + 3 * number):
                try:
                    async with self.its.daemon.client() as api, api.stream("GET", f"{API}/events") as stream:
                        async for line in stream.aiter_lines():
                            self.events += line.startswith("id:")
                except httpx.TransportError:
                    pass  # as above
            await trio.sleep(0.5)

    async def _reopen(self) -> None:
        """One session after the other gets other settings, and with them a new connection."""
        for number, shop in enumerate(itertools.cycle(self.its.shops.values())):
            await trio.sleep(20.0)
            try:
                async with self.its.daemon.client() as api:
                    await api.patch(shop.path, json={"settings": {"rate": 1000 + number}})
            except httpx.TransportError:
                pass  # as above

    # --- looking ------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        while True:
            try:
                metrics = await self.its.daemon.metrics()
                size = await trio.to_thread.run_sync(database, self.its.data_dir / "wad.db")
                self.samples.append(look(self.its.daemon.pid, self.spent, metrics, size))
            except (httpx.TransportError, FileNotFoundError, ProcessLookupError, AssertionError):
                pass  # between two lives
            await trio.sleep(LOOK)


def look(pid: int, at: float, metrics: dict[str, float], store: float) -> Sample:
    there = Path(f"/proc/{pid}")
    fields = (there / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        at,
        int((there / "statm").read_text().split()[1]) * _PAGE / 2**20,
        int(fields[17]),
        len(list((there / "fd").iterdir())),
        (int(fields[11]) + int(fields[12])) / _TICK,
        _sum(metrics, "wad_outbox_depth"),
        _sum(metrics, "wad_inbox_depth"),
        store,
    )


def database(file: Path) -> float:
    """MiB of SQLite's pages, whether they are in the file yet or in its log; 0 where the store is another."""
    if not file.exists():
        return 0.0
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return float(pages * size / 2**20)


def _sum(metrics: dict[str, float], name: str) -> float:
    return sum(value for sample, value in metrics.items() if sample.partition("{")[0] == name)


# --- the verdict ------------------------------------------------------------------------------------


def third(samples: Sequence[Sample], number: int, seconds: float) -> list[Sample]:
    return [
        s
        for s in samples
        if seconds * (number - 1) / 3 <= s.at < seconds * number / 3 or (number == 3 and s.at >= seconds)
    ]


def compared(samples: Sequence[Sample], seconds: float) -> list[tuple[str, float, float, float]]:
    """What is held: its name, how much in the second and in the last third, and how much is too much."""
    second, last = third(samples, 2, seconds), third(samples, 3, seconds)
    grown = median(sample.store for sample in last) - median(sample.store for sample in second)
    caches = max(0.0, min(grown, STORE_CACHES))
    allowed = {"rss": MORE_RSS + caches, "fds": MORE_FDS, "threads": MORE_THREADS}
    rows = []
    for name, label in (("rss", "RSS, MiB"), ("fds", "open descriptors, the fewest"), ("threads", "threads")):
        middle = min if name == "fds" else median  # a leak raises the fewest; a fault raises all but those
        before, after = (middle([getattr(sample, name) for sample in some]) for some in (second, last))
        rows.append((label, before, after, before + allowed[name]))
    return rows


def report(soak: Soak, tally: Tally, seconds: float) -> tuple[str, list[str]]:
    """The tables, and what is wrong."""
    wrong = list(tally.findings)
    thirds = [third(soak.samples, number, seconds) for number in (1, 2, 3)]
    rows = [
        [
            label,
            *(tenths(median(getattr(s, name) for s in some)) for some in thirds),
            tenths(max(getattr(s, name) for s in soak.samples)),
        ]
        for name, label in (
            ("rss", "RSS, MiB"),
            ("fds", "open descriptors"),
            ("threads", "threads"),
            ("store", "the database, MiB"),
            ("outbox", "messages that wait"),
            ("inbox", "messages of customers that wait"),
        )
        if any(getattr(s, name) for s in soak.samples)  # MongoDB's database is its own
    ]
    for label, before, after, most in compared(soak.samples, seconds):
        if after > most:
            wrong.append(
                f"{label}: {before:.1f} in the second third, {after:.1f} in the last; {most:.1f} may be"
            )
    last = thirds[2]
    busy = (last[-1].cpu - last[0].cpu) / (last[-1].at - last[0].at)
    kills = soak.struck.count("kill -9")
    counts = [
        ["messages answered 202, of ours", whole(tally.sends)],
        ["... cancelled in time", whole(soak.cancelled)],
        ["messages of customers", whole(tally.inbound)],
        ["faults, and kills -9", f"{len(soak.struck) - kills}, {kills}"],
        ["event streams, and events on them", f"{soak.streams}, {whole(soak.events)}"],
        ["requests refused (429, 503)", whole(sum(soak.load.refused.values()))],
        ["lost", whole(tally.lost)],
        ["sent, taken or answered twice", whole(tally.twice)],
        ["unknown in the end", whole(tally.unknown)],
        ["CPU of one core, last third", f"{busy:.0%}"],
    ]
    heads = ["medians", "first third", "second", "last", "the most"]
    return "\n".join(
        [table("### Soak", ["", f"{seconds / 60:g} minutes"], counts), table("", heads, rows)]
    ), wrong


# --- the command ------------------------------------------------------------------------------------


async def _soak(options: argparse.Namespace, directory: Path) -> int:
    there = faults()
    rows = [there[label] for label in FAULTS + (OF_MONGO if options.store == "mongo" else ())]
    allowed = Allowed(
        outbound=frozenset({"cancelled"}).union(*(row.allowed.outbound for row in rows)),
        inbound=frozenset().union(*(row.allowed.inbound for row in rows)),
        # A message is given up in a window of seconds, and proven after it: these are told as errors meanwhile.
        log=frozenset({"message_dead_letter"}).union(*(row.allowed.log for row in rows)),
        unproven=any(row.allowed.unproven for row in rows),
        missed=True,  # Twilio tells a thing once, and its list is looked at after a gap of ours alone
    )
    seconds = options.minutes * 60
    os.environ |= ONE_HEAP
    async with world(directory, options.store, providers=PROVIDERS) as its:
        soak = Soak(its, its.load(pause=PAUSE), seconds)
        counters = await Counters.of(its)
        await soak.run(rows)
        tally = await count(its, soak.load, allowed, counters)
    text, wrong = report(soak, tally, seconds)
    print(text)
    for each in wrong:
        print(f"    {each}")
    print("it held, and holds no more than before" if not wrong else f"FAILED: {len(wrong)} findings")
    return 1 if wrong else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--store", choices=STORES, default="sqlite", help="mongo: SecantusDB, a test server")
    parser.add_argument("--dir", type=Path, help="kept afterwards: the log, the store, the sandbox's ledger")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wad-soak-") as made:
        return trio.run(partial(_soak, options, options.dir or Path(made)))
