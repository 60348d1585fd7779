"""The bridges: Node processes, each with a shard of the sessions. Started on demand, watched, ended when empty.

A process that dies takes its own sessions down, for the time of a restart, and nobody else's. Which session is where is
decided once, when it first connects, and holds while it stays: a dead bridge comes back with the same passengers.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

import msgspec
import trio

from wad.errors import ProviderError, Verdict
from wad.events import BridgeEnded, BridgeStarted, Fact
from wad.node.child import Child, ChildError, ChildGone, ChildTimeout, open_child
from wad.node.find import Node, NodeMissing, find_node, program

log: Final = logging.getLogger("wad.providers.baileys")

#: Megabytes of a bridge's heap: for Baileys, for each session (1.4 measured, and room for bursts), and at least.
_HEAP: Final = 100
_HEAP_EACH: Final = 3
_HEAP_LEAST: Final = 192
#: Seconds that a bridge runs on without sessions: a session that reconnects spares it a start of half a second.
_IDLE: Final = 30.0
#: Seconds for a start: 0.5 measured, more on a loaded machine with a cold disk.
_START: Final = 30.0
#: Seconds before restarts: the first at once, or nearly; then doubling. A bridge that ran for long starts over.
_FIRST: Final = 0.25
_MOST: Final = 30.0
_STEADY: Final = 60.0
#: A pause longer than this is not waited for by those who connect: they have a backoff of their own.
_SHORT: Final = 2.0


class Rider(Protocol):
    """A session, as its bridge sees it."""

    @property
    def name(self) -> str:
        """What the bridge calls it: fit for a file's name."""

    async def happened(self, event: str, args: dict[str, Any]) -> None:
        """An event; on return it is kept."""

    async def asked(self, call: str, args: dict[str, Any]) -> Any:
        """A call of the bridge's, of those in `CALLS`."""

    def dropped(self, error: ProviderError) -> None:
        """The bridge is gone. It comes back by itself; the session has to be opened again."""


#: What a bridge may ask a session for.
CALLS: Final = ("keys.get", "keys.set", "creds.set", "message.get")


class BridgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    sessions_per_bridge: int = 20
    node: str | None = None
    extra_ca: Path | None = None


class _Bridge:
    """One process, or the want of one. `child` is there while it runs, `failure` while it cannot be had."""

    def __init__(self, name: str, room: int) -> None:
        self.name = name
        self.room = room
        self.riders: dict[str, Rider] = {}
        self.child: Child | None = None
        self.failure: ProviderError | None = None
        self.empty_since = trio.current_time()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        state = "up" if self.child is not None else "down"
        return f"<Bridge {self.name} {state} {len(self.riders)}/{self.room}>"

    def become(self, child: Child | None, failure: ProviderError | None) -> None:
        self.child, self.failure = child, failure
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        await self._changed.wait()

    def drop(self, error: ProviderError) -> None:
        for rider in list(self.riders.values()):
            rider.dropped(error)


class Bridges:
    """All of a process. Sessions `board` and `leave`; the rest follows."""

    def __init__(
        self, config: BridgeConfig, *, publish: Callable[[Fact], None], random: Random | None = None
    ) -> None:
        self._config = config
        self._publish = publish
        self._random = random or Random()  # noqa: S311  for jitter
        self._names = count(1)
        self._bridges: list[_Bridge] = []
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Bridges {self._bridges}>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The time in which bridges may run."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    @property
    def pids(self) -> dict[str, int]:
        """The running processes, by bridge."""
        return {bridge.name: bridge.child.pid for bridge in self._bridges if bridge.child is not None}

    async def board(self, rider: Rider, *, dedicated: bool = False) -> Child:
        """The process that carries *rider* from now on. Raises ProviderError where none can be had."""
        bridge = self._seat(rider, dedicated=dedicated)
        with trio.move_on_after(_START):
            while True:
                if bridge.child is not None:
                    return bridge.child
                if bridge.failure is not None:
                    raise bridge.failure
                await bridge.changed()
        raise _down(f"it did not start within {_START:.0f} s")

    def leave(self, rider: Rider) -> None:
        """*rider* needs no process any more. Twice is once."""
        for bridge in self._bridges:
            if bridge.riders.get(rider.name) is rider:
                del bridge.riders[rider.name]
                bridge.empty_since = trio.current_time()

    def _seat(self, rider: Rider, *, dedicated: bool) -> _Bridge:
        """Where it sits already, else the fullest bridge with room, else a new one."""
        for bridge in self._bridges:
            if rider.name in bridge.riders:
                bridge.riders[rider.name] = rider
                return bridge
        room = 1 if dedicated else self._config.sessions_per_bridge
        free = [bridge for bridge in self._bridges if bridge.room == room and len(bridge.riders) < room]
        bridge = max(free, key=lambda each: len(each.riders)) if free else self._start(room)
        bridge.riders[rider.name] = rider
        return bridge

    def _start(self, room: int) -> _Bridge:
        if self._nursery is None:
            raise RuntimeError("bridges are used inside their `running`")
        bridge = _Bridge(f"bridge-{next(self._names)}", room)
        self._bridges.append(bridge)
        self._nursery.start_soon(self._keep, bridge)
        return bridge

    # --- one bridge ---------------------------------------------------------------------------------

    async def _keep(self, bridge: _Bridge) -> None:
        """Have a process for *bridge* until it has been empty for a while, or there is no Node to run it."""
        pause, restart = _FIRST, False
        try:
            while bridge.riders or not restart:
                started = trio.current_time()
                try:
                    why = await self._run(bridge, restart=restart)
                except NodeMissing as error:
                    bridge.become(None, ProviderError(Verdict.NEEDS_PERSON, str(error), code="node_missing"))
                    bridge.drop(bridge.failure or _down(str(error)))
                    return
                if why is None:
                    return
                if trio.current_time() - started > _STEADY:
                    pause = _FIRST
                wait = pause * self._random.uniform(0.5, 1.0)
                bridge.become(None, _down(why) if wait > _SHORT else None)
                bridge.drop(_down(why))
                await trio.sleep(wait)
                bridge.become(None, None)
                pause, restart = min(pause * 2, _MOST), True
        finally:
            self._bridges.remove(bridge)

    async def _run(self, bridge: _Bridge, *, restart: bool) -> str | None:
        """One process, from its start to its end: why it ended, or None where it was not needed any more."""
        node, main = await find_node(self._config.node), program("bridge")
        pid = 0
        try:
            async with open_child(
                _command(node, main, bridge.room),
                name=bridge.name,
                calls={name: self._asked(bridge, name) for name in CALLS},
                on_event=self._happened(bridge),
                env=_environment(self._config.extra_ca),
            ) as child:
                pid = child.pid
                try:
                    await child.call("stats", timeout=_START)
                except (ChildGone, ChildTimeout):
                    child.kill()
                    ended = _ending(await child.wait())
                    self._publish(BridgeEnded(bridge.name, pid, ended, expected=False))
                    return f"it does not start: {ended}"
                self._publish(BridgeStarted(bridge.name, pid, restart))
                bridge.become(child, None)
                why = await self._watch(bridge, child)
        except OSError as error:
            return f"it cannot be started: {error}"
        finally:
            bridge.child = None
        self._publish(BridgeEnded(bridge.name, pid, why or "no session needs it", expected=why is None))
        return why

    async def _watch(self, bridge: _Bridge, child: Child) -> str | None:
        """Return when it ends, or when it has been empty for a while."""
        while True:
            with trio.move_on_after(_IDLE):
                return _ending(await child.wait())
            if not bridge.riders and trio.current_time() - bridge.empty_since >= _IDLE:
                bridge.child = None  # whoever boards from now on gets another one
                bridge.room = 0
                return None

    def _happened(self, bridge: _Bridge) -> Callable[[str, dict[str, Any]], Any]:
        async def happened(event: str, args: dict[str, Any]) -> None:
            rider = bridge.riders.get(args.get("session", ""))
            if rider is None:
                return  # it left, and the bridge has closed it: what the spool holds is told again when it is back
            try:
                await rider.happened(event, args)
            except Exception:  # a bug of ours must not end the bridge, which carries others
                log.exception("bridge_event_failed", extra={"session_id": rider.name, "operation": event})

        return happened

    @staticmethod
    def _asked(bridge: _Bridge, call: str) -> Callable[[dict[str, Any]], Any]:
        async def asked(args: dict[str, Any]) -> Any:
            rider = bridge.riders.get(args.get("session", ""))
            if rider is None:
                raise ChildError("no_session", "the session has left")
            return await rider.asked(call, args)

        return asked


def _command(node: Node, main: Path, room: int) -> list[str | Path]:
    heap = max(_HEAP + _HEAP_EACH * room, _HEAP_LEAST)
    # A small young generation: with its default of 16 MB an idle process keeps 16 MB more.
    return [node.path, f"--max-old-space-size={heap}", "--max-semi-space-size=1", main]


def _environment(extra_ca: Path | None) -> Mapping[str, str]:
    """Ours, without wad's own settings: they may hold secrets, and are of no use to a bridge."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAD_")}
    if extra_ca is not None:
        environment["NODE_EXTRA_CA_CERTS"] = str(extra_ca.absolute())
    return environment


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"it ended with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"it was ended by {name}" + (" (as when V8 runs out of memory)" if name == "SIGABRT" else "")


def _down(why: str) -> ProviderError:
    return ProviderError(
        Verdict.NOT_SENT, f"the process that holds the connection: {why}", code="bridge_down"
    )
