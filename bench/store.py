"""Durable inserts and compare-and-sets a second, on each engine, by 1 and by 64 callers at once.

    python bench/store.py [--seconds 3] [--engines memory,sqlite,mongodb] [--mongo URI] [--dir DIR] [--busy]

Every operation is one `Store.add_messages` of one message, or one `Store.save_message`, awaited until it is
durable, sealing included. MongoDB without --mongo is SecantusDB in a process of its own with
`--sync-on-commit`: a stand-in for tests, whose figures say nothing of a real mongod. The directory should be on
the disk that a deployment would use.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import tracemalloc
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.store.secantus import Secantus, is_installed
from wad.models import (
    Address,
    Credentials,
    Idempotency,
    MessageState,
    OutboundMessage,
    Session,
    new_message_id,
    next_seq,
    utc_now,
)
from wad.secrets import Vault
from wad.store.open import open_store
from wad.store.store import Store

TEXT = (
    "Hola Ana, su pedido {} va en camino y llega hoy entre las 3 y las 5 de la tarde. Gracias por su compra."
)


def message(number: int) -> OutboundMessage:
    now = utc_now()
    return OutboundMessage(
        message_id=new_message_id(),
        session_id=f"s{number % 100}",
        provider="cloud_api",
        to=Address(phone=f"+521551{number % 10**7:07}"),
        content={"type": "text", "text": {"body": TEXT.format(number)}},
        seq=next_seq(),
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(days=1),
        idempotency=Idempotency("bench", new_message_id(), "f" * 64) if number % 2 else None,
    )


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(name: str, callers: int, seconds: float, once) -> None:
    """*once(n)* does one operation; False when there is nothing left to do."""
    done, latencies = 0, []

    async def caller() -> None:
        nonlocal done
        while trio.current_time() < end:
            started = time.perf_counter()
            if not await once():
                return
            latencies.append(time.perf_counter() - started)
            done += 1

    used, started = cpu(), time.perf_counter()
    end = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    took, used = time.perf_counter() - started, cpu() - used
    latencies.sort()
    at = [latencies[int(len(latencies) * q)] * 1000 for q in (0.5, 0.99)]
    print(
        f"{name:34} {callers:3} callers {done / took:9,.0f}/s   p50 {at[0]:7.2f} ms   p99 {at[1]:7.2f} ms"
        f"   {used / done * 1e6:5.0f} µs CPU each",
        flush=True,
    )


async def bench(label: str, store: Store, seconds: float) -> None:
    now = utc_now()
    for number in range(100):
        await store.add_session(
            Session(
                session_id=f"s{number}",
                provider="cloud_api",
                credentials=Credentials(accessToken="x" * 200),
                created_at=now,
                updated_at=now,
            )
        )
    for callers in (1, 64):
        made: list[OutboundMessage] = []

        async def insert(made=made) -> bool:
            made += await store.add_messages([message(len(made))])
            return True

        async def move(made=made) -> bool:
            if not made:
                return False
            old = made.pop()
            if old.state is MessageState.QUEUED:
                new = old.moved(MessageState.SENDING, utc_now(), attempts=1)
            else:
                new = old.moved(MessageState.ACCEPTED, utc_now(), provider_message_id=new_message_id())
            assert await store.save_message(old, new)
            if old.state is MessageState.QUEUED:
                made.insert(0, new)
            return True

        await measure(f"{label}: add_messages", callers, seconds, insert)
        await measure(f"{label}: save_message", callers, seconds, move)


@asynccontextmanager
async def busy_loop(is_busy: bool):
    """An event loop that never idles, as at full load: half a millisecond of Python at every turn."""

    async def burn() -> None:
        while True:
            for _ in range(20_000):
                pass
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        if is_busy:
            nursery.start_soon(burn)
        yield
        nursery.cancel_scope.cancel()


async def add_sessions(store: Store, count: int) -> None:
    now = utc_now()
    some = [
        Session(
            session_id=f"restored-{number:05}",
            provider="cloud_api",
            shop_id=f"shop-{number % 500}",
            phone_number=f"+52155{number:08}",
            credentials=Credentials(accessToken="x" * 200, phoneNumberId=str(number), appSecret="y" * 32),
            created_at=now,
            updated_at=now,
        )
        for number in range(count)
    ]
    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(500)

        async def add(session: Session) -> None:
            async with limit:
                await store.add_session(session)

        for session in some:
            nursery.start_soon(add, session)


async def restored(label: str, open_it) -> None:
    """Every session read as a daemon that starts does: once for the time, once for the memory."""
    async with open_it() as store:
        started = time.perf_counter()
        kept = [session async for page in store.all_sessions() for session in page]
        took = time.perf_counter() - started
    del kept
    tracemalloc.start()
    async with open_it() as store:
        kept = [session async for page in store.all_sessions() for session in page]
        size = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    print(
        f"{label + ': all_sessions':34} {len(kept):6,} sessions in {took:.2f} s, {size:,.0f} B each",
        flush=True,
    )


async def main(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=args.dir) as directory:
        for engine in args.engines.split(","):
            url, server = engine, None
            if engine == "sqlite":
                url = "embedded"
            elif engine == "mongodb":
                url = args.mongo
                if url is None:
                    if not is_installed():
                        print("mongodb: left out; give --mongo URI or install SecantusDB")
                        continue
                    server = Secantus(Path(directory))
                    server.start()
                    url = server.uri
            label = "SecantusDB" if server else engine
            master, where = os.urandom(32), {"data_dir": Path(directory), "database": f"bench{os.getpid()}"}

            def open_it(url=url, master=master, where=where):
                return open_store(url, vault=Vault(master), **where)

            try:
                async with (
                    open_it() as store,
                    busy_loop(args.busy),
                ):
                    await bench(label, store, args.seconds)
                    if engine != "memory":
                        await add_sessions(store, args.sessions)
                if engine != "memory":
                    await restored(label, open_it)
            finally:
                if server:
                    server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--engines", default="memory,sqlite,mongodb")
    parser.add_argument("--mongo", help="URI of a real MongoDB; its database bench<pid> is left behind")
    parser.add_argument("--dir", help="where the files are made; the system's temporary directory by default")
    parser.add_argument("--busy", action="store_true", help="beside an event loop that never idles")
    parser.add_argument("--sessions", type=int, default=10_000, help="for all_sessions")
    trio.run(main, parser.parse_args())
