"""One Node child: calls both ways over its stdin and stdout, its events in order, its heartbeat, its end.

The protocol stands in `lines.js`. A child lives as long as its block: on leaving, its stdin is closed, which ends
it, and it is killed where that takes too long. When it ends before, all who wait for it hear `ChildGone`; what to
do then is up to whoever opened it.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import trio

log: Final = logging.getLogger("wad.node.child")

#: A call's answer.
Handler = Callable[[dict[str, Any]], Awaitable[Any]]
#: One event: its name and its arguments. On return it is kept, and the child may forget it.
EventHandler = Callable[[str, dict[str, Any]], Awaitable[None]]

#: Bytes of one line. The largest honest one is a batch of pre-keys, 150 KB; a group's list can be some MB.
_LONGEST: Final = 64 << 20
_LONGEST_LOG: Final = 1 << 20
_CHUNK: Final = 1 << 16
#: Seconds between two pings, and how long an answer may take. What blocks a child longer is no pairing (0.2 s).
_PING_EVERY: Final = 5.0
_PING_LIMIT: Final = 10.0
#: Seconds that a child has to end by itself.
_GRACE: Final = 2.0
#: Calls of the child's that are handled at a time; the others wait. A shard of 20 sessions pairs with some dozens.
_AT_A_TIME: Final = 256
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "error": logging.ERROR}
#: Fields of the child's log that ours has too, by our names.
_SHOWN: Final = {"session": "session_id", "reason": "reason", "error": "detail", "count": "count"}


class ChildError(Exception):
    """The child's refusal of a call; raised by a handler, ours of the child's call."""

    def __init__(self, code: str, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data: Mapping[str, Any] = data or {}


class ChildGone(Exception):
    """The child has ended, or ends: the call may or may not have been carried out."""


class ChildTimeout(Exception):
    """The child did not answer the call in its time. The child lives on, and a late answer is ignored."""


class Child:
    """A running child. Made by `open_child`."""

    def __init__(
        self,
        process: trio.Process,
        *,
        name: str,
        calls: Mapping[str, Handler],
        on_event: EventHandler | None,
        nursery: trio.Nursery,
    ) -> None:
        self.name = name
        self._process = process
        self._calls = calls
        self._on_event = on_event
        self._nursery = nursery
        self._ids = count(1)
        self._waiting: dict[int, _Answer] = {}
        self._handling = trio.CapacityLimiter(_AT_A_TIME)
        self._lanes: dict[Any, deque[tuple[int, str, dict[str, Any]]]] = {}
        self._acks = _Acks()
        # A line goes out whole: a caller that is cancelled meanwhile must not cut it.
        self._out, self._lines = trio.open_memory_channel[bytes](64)
        self._ended = trio.Event()
        self._talked = trio.Event()  # stdout is read to its end

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it."""
        return self._process.returncode

    async def call(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60.0,  # noqa: ASYNC109  it tells a slow child from a gone one
    ) -> Any:
        """What the child answers to *name*.

        Raises ChildError where it refuses, ChildTimeout after *timeout* seconds, ChildGone where it is no more.
        """
        if not self.running:
            raise ChildGone(f"the {self.name} has ended")
        number = next(self._ids)
        answer = self._waiting[number] = _Answer()
        try:
            with trio.move_on_after(timeout):
                await self._say({"id": number, "call": name, "args": args or {}})
                await answer.here.wait()
                return answer.value()
        finally:
            del self._waiting[number]
        raise ChildTimeout(f"no answer to {name} within {timeout:g} s")

    async def wait(self) -> int:
        """Wait until the child has ended; its return code."""
        await self._ended.wait()
        return await self._process.wait()

    def kill(self) -> None:
        """End it at once. It is over when `wait` returns."""
        if self._process.returncode is None:
            self._process.kill()

    async def run(self) -> None:
        """Serve the child until it ends. Once, by `open_child`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._log)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._read)
                await self._process.wait()
                # What it said last is still in the pipe; what a grandchild holds open is not waited for.
                with trio.move_on_after(_GRACE):
                    await self._talked.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    async def stop(self) -> None:
        """Close its stdin, which ends it; kill it where that takes too long."""
        with trio.CancelScope(shield=True):
            stdin = self._process.stdin
            assert stdin is not None
            self._out.close()
            await stdin.aclose()
            with trio.move_on_after(_GRACE):
                await self._process.wait()
            self.kill()
            await self._process.wait()
            self._end()

    def _end(self) -> None:
        self._ended.set()
        for answer in self._waiting.values():
            answer.give(ChildGone(f"the {self.name} ended ({self._process.returncode}) before it answered"))

    async def _say(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            await self._out.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ChildGone(f"the {self.name} takes nothing more") from error

    async def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with self._lines:
            try:
                async for line in self._lines:
                    await stdin.send_all(line)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it ended, or is being stopped: `run` tells

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            async with aclosing(_lines(stdout, _LONGEST)) as lines:
                async for line in lines:
                    self._take(json.loads(line))
        except (ValueError, RecursionError, trio.BrokenResourceError) as error:
            # The two sides do not agree any more on what was said; a fresh child costs less than a guess.
            log.error(  # noqa: TRY400  the traceback would show the line
                "node_child_unreadable", extra={"operation": self.name, "error": type(error).__name__}
            )
            self.kill()
        finally:
            self._talked.set()

    def _take(self, line: dict[str, Any]) -> None:
        match line:
            case {"event": str(name), "seq": int(seq), "args": dict(args)}:
                self._acks.began(seq)
                self._queue(seq, name, args)
            case {"id": int(number), "call": str(name), "args": dict(args)}:
                self._nursery.start_soon(self._serve, number, name, args)
            case {"id": int(number), "ok": value}:
                if (answer := self._waiting.get(number)) is not None:
                    answer.give(value)
            case {"id": int(number), "error": {"code": str(code), "message": str(message), **rest}}:
                if (answer := self._waiting.get(number)) is not None:
                    data = rest.get("data")
                    answer.give(ChildError(code, message, data if isinstance(data, dict) else {}))
            case _:
                raise ValueError("a line of no known form")

    async def _serve(self, number: int, name: str, args: dict[str, Any]) -> None:
        handler = self._calls.get(name, _unknown)
        reply: dict[str, Any]
        try:
            async with self._handling:
                reply = {"ok": await handler(args)}
        except ChildError as error:
            reply = {"error": {"code": error.code, "message": error.message, "data": dict(error.data)}}
        except Exception as error:
            # Told to both: the child acts on the code, and a person reads the log.
            log.exception("node_call_failed", extra={"operation": name})
            reply = {"error": {"code": "internal", "message": type(error).__name__, "data": {}}}
        try:
            await self._say({"id": number, **reply})
        except ChildGone:
            return  # nobody is left to hear it

    def _queue(self, seq: int, name: str, args: dict[str, Any]) -> None:
        """Events of one session are handled one after another; those of others do not wait for them."""
        lane = args.get("session")
        if (waiting := self._lanes.get(lane)) is not None:
            waiting.append((seq, name, args))
            return
        self._lanes[lane] = deque([(seq, name, args)])
        self._nursery.start_soon(self._run_lane, lane)

    async def _run_lane(self, lane: Any) -> None:
        waiting = self._lanes[lane]
        try:
            while waiting:
                seq, name, args = waiting.popleft()
                if self._on_event is not None:
                    await self._on_event(name, args)
                if (kept := self._acks.kept(seq)) is not None:
                    await self._say({"ack": kept})
        except ChildGone:
            return  # handled, and nobody is left to hear it
        finally:
            del self._lanes[lane]

    async def _beat(self) -> None:
        while True:
            await trio.sleep(_PING_EVERY)
            try:
                await self.call("ping", timeout=_PING_LIMIT)
            except ChildGone:
                return
            except ChildTimeout:
                log.error(  # noqa: TRY400  a traceback of ours says nothing about it
                    "node_child_frozen", extra={"operation": self.name, "pid": self.pid}
                )
                self.kill()
                return

    async def _log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        try:
            async with aclosing(_lines(stderr, _LONGEST_LOG)) as lines:
                async for line in lines:
                    self._said(line)
        except ValueError:
            # Who writes so into a log is beside himself, and what he wrote is nothing to show.
            log.error("node_child_unreadable", extra={"operation": self.name})  # noqa: TRY400
            self.kill()

    def _said(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            level, text = str(said["level"]), str(said["msg"])
        except (ValueError, LookupError, TypeError):
            said, level, text = (
                {},
                "warning",
                line.decode(errors="replace"),
            )  # Node itself: a crash, a warning
        shown = {ours: said[theirs] for theirs, ours in _SHOWN.items() if theirs in said}
        # The child's own text is prose, and so loses what it quotes.
        shown["detail"] = f"{text}: {shown['detail']}" if "detail" in shown else text
        log.log(
            _LEVELS.get(level, logging.WARNING),
            "node_child_said",
            extra={"operation": self.name, "pid": self.pid, **shown},
        )


async def _unknown(_: dict[str, Any]) -> Any:
    raise ChildError("unknown_call", "the parent has no such call")


class _Answer:
    """What a call waits for."""

    def __init__(self) -> None:
        self.here = trio.Event()
        self._value: Any = None

    def give(self, value: Any) -> None:
        if not self.here.is_set():
            self._value = value
            self.here.set()

    def value(self) -> Any:
        if isinstance(self._value, ChildError | ChildGone):
            raise self._value
        return self._value


class _Acks:
    """Which number may be acknowledged, where events end in another order than they began."""

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}  # in order of arrival: whether it is kept

    def began(self, seq: int) -> None:
        self._open[seq] = False

    def kept(self, seq: int) -> int | None:
        """*seq* is handled: the highest number up to which all are, where that moved."""
        self._open[seq] = True
        highest = None
        for number, done in list(self._open.items()):
            if not done:
                break
            highest = number
            del self._open[number]
        return highest


async def _lines(stream: trio.abc.ReceiveStream, longest: int) -> AsyncGenerator[bytes, None]:
    """The lines of *stream*, without their ends. What follows the last end is not one."""
    parts: list[bytes] = []
    size = 0
    while chunk := bytes(await stream.receive_some(_CHUNK)):
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            parts.append(piece)
            line = b"".join(parts)
            parts, size = [], 0
            if line.strip():
                yield line
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > longest:
                raise ValueError(f"a line of more than {longest} bytes")


@asynccontextmanager
async def open_child(
    command: Sequence[str | Path],
    *,
    name: str,
    calls: Mapping[str, Handler] | None = None,
    on_event: EventHandler | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Child]:
    """Run *command* (Node, its flags, the program) for the time of the block.

    *calls* are what the child may call; each runs in a task of its own. *on_event* gets the events, those of one
    session (`args["session"]`) in order. What it raises is a bug, and ends the block. *env* is the whole environment.
    """
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        # Ctrl-C is for wad, which ends its children when it has drained.
        start_new_session=True,
    )
    try:
        async with trio.open_nursery() as nursery:
            child = Child(process, name=name, calls=calls or {}, on_event=on_event, nursery=nursery)
            nursery.start_soon(child.run)
            try:
                yield child
            finally:
                await child.stop()
                nursery.cancel_scope.cancel()
    finally:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            await trio.aclose_forcefully(stream)
