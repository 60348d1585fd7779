"""What happens to the process itself: it is killed, stopped, frozen, starved, and its clock jumps."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import trio

from tests.acceptance.shop import API
from tests.acceptance.web.place import bridges, kill
from tests.faults.load import Load
from tests.faults.matrix import Strike, fault
from tests.faults.world import World

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS", "30"))
#: Of so many kills, one waits until every session is back, and has the bridge killed first.
BRIDGE_EVERY = 4
#: The points that load passes by itself.
POINTS = (
    "send.queued",
    "send.claimed",
    "send.answered",
    "send.recorded",
    "inbound.stored",
    "flow.answered",
    "flow.kept",
    "flow.queued",
    "store.writing",
    "store.written",
)
#: Seconds for a point to be passed under load.
PASSED = 20.0
#: Seconds that something stands still: longer than any lease.
STILL = 20.0


def chance() -> random.Random:
    return random.Random(os.environ.get("WAD_KILL_SEED", "2026"))


async def ends(world: World, seconds: float = PASSED) -> None:
    """Return once the daemon has ended."""
    await world.daemon.ended(seconds)


# --- kill -9 ----------------------------------------------------------------------------------------


@fault("nothing")
async def nothing(world: World, load: Load) -> None:
    """The load itself: what is counted wrong here is the count's fault."""
    await trio.sleep(1)


@fault("kill -9, again and again", logs=["bridge_lost"], in_gate=True)
async def kills(world: World, load: Load) -> None:
    """At each point that load passes, and at random moments; and of bridges, while the load goes on over the gap."""
    moments = chance()
    points = list(POINTS)
    for number in range(ROUNDS):
        if world.armed:
            await ends(world)
        else:
            if number % BRIDGE_EVERY == 0:
                await world.connected()
                for pid in bridges(world.daemon):
                    kill(pid)
            await trio.sleep(moments.uniform(0.05, 0.8))
            world.kill()
        if points and number < ROUNDS - 1 and not world.armed:
            await world.start(WAD_FAILPOINT=f"{points.pop(0)}:kill:{moments.randint(1, 10)}")
        else:
            await world.start()


def killed_at(point: str, *, passing: int = 3) -> Strike:
    async def strike(world: World, load: Load) -> None:
        assert await world.stop() == 0
        await world.start(WAD_FAILPOINT=f"{point}:kill:{passing}")
        await ends(world)
        await world.start()

    return strike


for _point in POINTS:
    fault(f"kill -9 at {_point}")(killed_at(_point))


async def away_and_back(world: World, point: str, seconds: float) -> None:
    """MongoDB goes, so that the spool fills, and comes back, so that it empties."""
    assert world.mongo is not None
    assert await world.stop() == 0
    await world.start(WAD_FAILPOINT=f"{point}:kill")
    await trio.to_thread.run_sync(world.mongo.kill)
    await trio.sleep(seconds)
    await trio.to_thread.run_sync(world.mongo.start)


@fault("kill -9 at inbound.spooled", stores=["mongo"])
async def killed_spooling(world: World, load: Load) -> None:
    await away_and_back(world, "inbound.spooled", 10)
    await ends(world)
    await world.start()


@fault("kill -9 at spool.stored", stores=["mongo"])
async def killed_replaying(world: World, load: Load) -> None:
    await away_and_back(world, "spool.stored", 10)
    await ends(world)
    await world.start()


@fault("kill -9 at session.emptied", providers=["cloud_api"])
async def killed_deleting(world: World, load: Load) -> None:
    """The deletion is asked for again, and is done; nobody else hears of it."""
    async with guest(world, "session.emptied") as (api, path):
        await dies(world, api.delete, path)
        await world.start()


@fault("kill -9 at session.moved", providers=["cloud_api"])
async def killed_moving(world: World, load: Load) -> None:
    """The change of provider is on disk: the next life goes by it."""
    async with guest(world, "session.moved") as (api, path):
        there = {"accountSid": "AC" + "0" * 32, "authToken": "f" * 32, "from": "whatsapp:+15550009999"}
        await dies(world, partial(api.patch, json={"provider": "twilio", "credentials": there}), path)
        await world.start()
        assert (await api.get(path)).json()["provider"] == "twilio"


@asynccontextmanager
async def guest(world: World, point: str) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A session besides, in a life that ends at *point*. It is deleted in the end."""
    shop = world.shops["cloud_api"]
    assert await world.stop() == 0
    await world.start(WAD_FAILPOINT=f"{point}:kill")
    credentials = {**shop.credentials, "phoneNumberId": "109999999999999"}
    made = await shop.api.post(
        f"{API}/sessions",
        json={"sessionId": "guest", "provider": "cloud_api", "credentials": credentials, "connect": False},
    )
    assert made.status_code == 201, made.text
    path = f"{API}/sessions/guest"
    yield shop.api, path
    assert (await shop.api.delete(path)).status_code == 204
    assert (await shop.api.get(path)).status_code == 404


async def dies(world: World, ask: Callable[[str], Awaitable[object]], path: str) -> None:
    """Have *ask* end the daemon."""
    with suppress(httpx.TransportError):
        await ask(path)
    await ends(world)


# --- it fails where it stands -----------------------------------------------------------------------


def failing_at(point: str) -> Strike:
    async def strike(world: World, load: Load) -> None:
        assert await world.stop() == 0
        await world.start(WAD_FAILPOINT=f"{point}:error:5")
        await load.until_more(20)

    return strike


fault("an error at store.writing")(failing_at("store.writing"))
fault("an error at store.written")(failing_at("store.written"))
fault("a bug at send.answered", logs=["actor_crashed"])(failing_at("send.answered"))
fault("a bug at flow.answered", logs=["actor_crashed"], inbound=["dead"])(failing_at("flow.answered"))


# --- it stands still --------------------------------------------------------------------------------


@fault("SIGSTOP, SIGCONT", missed=True)
async def frozen(world: World, load: Load) -> None:
    """For longer than any lease, and than Twilio waits: who stands still does not know what was given up on."""
    world.daemon.signal(signal.SIGSTOP)
    await trio.sleep(STILL)
    world.daemon.signal(signal.SIGCONT)


@fault("SIGSTOP at send.claimed, SIGCONT", missed=True)
async def frozen_before_the_wire(world: World, load: Load) -> None:
    assert await world.stop() == 0
    await world.start(WAD_FAILPOINT="send.claimed:pause:3")
    await trio.sleep(STILL)
    world.daemon.signal(signal.SIGCONT)


@fault("bridge: kill -9", providers=["baileys"], logs=["bridge_lost"])
async def bridge_killed(world: World, load: Load) -> None:
    for _ in range(3):
        for pid in bridges(world.daemon):
            kill(pid)
        await trio.sleep(1)
        await world.connected("baileys")


@fault("bridge: SIGSTOP, SIGCONT", providers=["baileys"], logs=["bridge_lost", "node_child_frozen"])
async def bridge_frozen(world: World, load: Load) -> None:
    pids = list(bridges(world.daemon))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await trio.sleep(STILL)
    for pid in pids:
        if await trio.Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)


# --- it is asked to -----------------------------------------------------------------------------------


@fault("SIGTERM")
async def asked_to_end(world: World, load: Load) -> None:
    """What is in hand is finished: it ends with 0."""
    for _ in range(3):
        await load.until_more(10)
        assert await world.stop() == 0
        await world.start()


@fault("SIGTERM twice")
async def asked_to_end_at_once(world: World, load: Load) -> None:
    world.daemon.signal(signal.SIGTERM)
    await trio.sleep(0.05)
    if world.daemon.is_running:
        world.daemon.signal(signal.SIGTERM)
    await world.daemon.ended()
    await world.start()


@fault("SIGHUP, again and again")
async def reloaded(world: World, load: Load) -> None:
    for _ in range(20):
        world.daemon.signal(signal.SIGHUP)
        await trio.sleep(0.1)


# --- it has too little --------------------------------------------------------------------------------


#: Trio's own words.
_NO_ROOM = "accept returned EMFILE (Too many open files); retrying in 0.1 seconds"


@fault("no file descriptors", logs=["bridge_lost", _NO_ROOM], missed=True)
async def no_descriptors(world: World, load: Load) -> None:
    """Nothing can be accepted or connected; what is open goes on. Afterwards everything does."""
    pid = world.daemon.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    soft = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, hard))
    await trio.sleep(5)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


# --- its clock ----------------------------------------------------------------------------------------


CLOCK = Path(__file__).parent / "clock"


def clock_jumps(by: timedelta) -> Strike:
    async def strike(world: World, load: Load) -> None:
        """The wall clock is elsewhere for some seconds, and then it is right again."""
        clock = trio.Path(world.directory / "clock")
        await _set(clock, 0)
        path = os.pathsep.join([str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])])
        assert await world.stop() == 0
        await world.start(PYTHONPATH=path, WAD_TEST_CLOCK=str(clock))
        await load.until_more(10)
        await _set(clock, by.total_seconds())
        await load.until_more(30)
        await _set(clock, 0)
        await load.until_more(10)
        assert await world.stop() == 0
        await world.start()

    return strike


async def _set(clock: trio.Path, seconds: float) -> None:
    """At once: nobody reads half of it."""
    new = clock.with_suffix(".new")
    await new.write_text(f"{seconds:.0f}")
    await new.replace(clock)


for _by, _label in (
    (timedelta(hours=1), "an hour on"),
    (timedelta(hours=-1), "an hour back"),
    (timedelta(days=1), "a day on"),
    (timedelta(days=-1), "a day back"),
):
    # What may wait a day has waited one, by that clock.
    _ends = ["expired"] if abs(_by) >= timedelta(days=1) else []
    fault(f"the clock: {_label}", outbound=_ends)(clock_jumps(_by))


# --- under strace -------------------------------------------------------------------------------------

FLUSHES = ("fdatasync", "fsync")


def no_strace() -> str | None:
    return None if shutil.which("strace") else "strace is not installed (apt-get install strace)"


async def _traced(world: World, inject: str, until: Callable[[], object]) -> None:
    """*inject* into the flushes of the daemon until *until* has returned."""
    async with trio.open_nursery() as nursery:
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(world.daemon.pid)]
        for call in FLUSHES:
            command += ["-e", f"inject={call}:{inject}"]
        command += ["-e", "trace=" + ",".join(FLUSHES)]
        process = await nursery.start(partial(trio.run_process, command, check=False, capture_stderr=True))
        await until()  # type: ignore[misc]
        if process.returncode is None:
            process.terminate()


@fault("kill -9 at the Nth flush", stores=["sqlite"], lacks=no_strace)
async def killed_at_a_flush(world: World, load: Load) -> None:
    """For each of the first twenty: the flush is what makes a commit durable, and it does not happen."""
    for number in range(1, min(ROUNDS, 20) + 1):
        await _traced(world, f"signal=SIGKILL:when={number}", partial(ends, world, 60))
        await world.start()


@fault("the disk: EIO", stores=["sqlite"], lacks=no_strace)
async def disk_fails(world: World, load: Load) -> None:
    """503 and never a 202, not ready, and well again once the disk is."""

    async def while_it_lasts() -> None:
        await trio.sleep(3)
        async with world.daemon.client() as api:
            assert (await api.get("/readyz")).status_code == 503
            assert (await api.get("/healthz")).status_code == 200

    await _traced(world, "error=EIO", while_it_lasts)
    await world.daemon.until_ready()
