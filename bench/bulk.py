"""A bulk of 100,000 from one number: `python -m bench.bulk [COUNT]`. What it costs in memory, and whom it holds up.

It is taken while the session's breaker is isolated, so that all of it waits; then the daemon is started again with
that; then it goes out, as fast as Graph takes it, while a person writes an answer ten times a second.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.process import daemon
from bench.report import at
from bench.wire import clock
from bench.world import AUTHORIZATION, Call, World, creates, post, run_callers

SIZE = 1000  # messages of one request
API = "/api/whatsapp"
SESSION = "bench-00000"


def bulk(count: int) -> Iterator[Call]:
    for first in range(0, count, SIZE):
        messages = [
            {"sessionId": SESSION, "to": f"+52155{number:08}", "text": f"Oferta {number}"}
            for number in range(first, first + SIZE)
        ]
        body = msgspec.json.encode({"bulkId": "bench", "messages": messages})
        yield Call("bulk", post(f"{API}/send-bulk", body, AUTHORIZATION))


def replies() -> Iterator[Call]:
    number = 0
    while True:
        number += 1
        body = {"sessionId": SESSION, "to": f"+52199{number:08}", "text": "re", "priority": "reply"}
        yield Call("reply", post(f"{API}/send", msgspec.json.encode(body), AUTHORIZATION))


def ask(world: World, port: int, request: bytes, expected: int = 200) -> tuple[float, bytes]:
    """How long it took, and what came back."""
    [call] = run_callers(
        world, port, iter([Call("", request)]), callers=1, expected=expected, done=lambda done: len(done) == 1
    )
    return call.seconds, call.body


def get(path: str) -> bytes:
    return f"GET {API}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{AUTHORIZATION}\r\n\r\n".encode()


def breaker(action: str) -> bytes:
    return post(f"{API}/sessions/{SESSION}/breaker", msgspec.json.encode({"action": action}), AUTHORIZATION)


def tell(what: str, **figures: float) -> None:
    told = "  ".join(f"{name} {figure:.1f}" for name, figure in figures.items())
    print(f"{what:34} {told}", flush=True)


def main(count: int) -> None:
    world = World()
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        with daemon(world, place) as wad:
            run_callers(
                world, wad.port, creates(1), callers=1, expected=201, done=lambda _: world.probes >= 1
            )
            ask(world, wad.port, breaker("isolate"))
            tell("before", rss_mib=wad.rss)
            began = clock()
            run_callers(
                world, wad.port, bulk(count), callers=1, expected=202, seconds=900,
                done=lambda done: len(done) == count // SIZE,
            )  # fmt: skip
            took = clock() - began
            tell("all of it taken", seconds=took, per_second=count / took, rss_mib=wad.rss)
            seconds, _ = ask(world, wad.port, get("/bulks/bench"))
            tell("its progress asked", milliseconds=seconds * 1000)
        with daemon(world, place) as wad:
            seconds, body = ask(world, wad.port, get(f"/sessions/{SESSION}/status"))
            depth = msgspec.json.decode(body)["queue"]["depth"]
            tell("started with all of it", seconds=wad.seconds_to_ready, rss_mib=wad.rss, depth=depth)
            ask(world, wad.port, breaker("close"))
            began, most = clock(), 0.0

            def gone(_: list[Call]) -> bool:
                nonlocal most
                most = max(most, wad.rss)
                return len(world.accepted) >= count + len(_)

            world.forget()
            calls = replies()
            answered = run_callers(
                world, wad.port, _until(calls, lambda: len(world.accepted) >= count), callers=16, rate=10,
                expected=202, seconds=1800, done=gone,
            )  # fmt: skip
            took = clock() - began
            tell("all of it sent", seconds=took, per_second=count / took, rss_mib=wad.rss, most_mib=most)
            waits = []
            for call in answered:
                message_id = msgspec.json.decode(call.body)["messageId"]
                waits.append(max(0.0, world.accepted[message_id] - call.answered) * 1000)
            tell(
                f"{len(waits)} replies meanwhile, ms",
                p50=at(0.5, waits),
                p99=at(0.99, waits),
                most=max(waits),
            )
            _, body = ask(world, wad.port, get("/bulks/bench"))
            counts = msgspec.json.decode(body)["counts"]
            tell("and in the end", **{state: n for state, n in counts.items() if n})


def _until(calls: Iterator[Call], over) -> Iterator[Call]:
    for call in calls:
        if over():
            return
        yield call


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
