"""Group commit: callers await one flush that carries the writes of many, so durability costs a batch, not a write.

While a batch is being made durable, the next one gathers. Nothing runs while there is nothing to write: the
first caller starts the flusher, which ends when no batch is left.

The flusher is a Trio *system* task, not one of the callers: a caller that is cancelled takes nobody's writes
with it, there is no leadership to hand on, and no nursery to thread through every constructor. It cannot crash
the program, because whatever an engine raises is handed to the callers of that batch.
A cancelled caller's writes happen all the same; it only does not learn of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from wad.errors import StoreUnavailable
from wad.failpoints import reach
from wad.store.base import Engine, Result, Write

#: Writes of one flush. More would make the first of them wait too long: 1,000 take SQLite some 40 ms.
MAX_BATCH: Final = 1000
#: Writes that may wait for a flush. A store this far behind is not available, whatever it says.
MAX_WAITING: Final = 20_000


class _Entry:
    """One caller's writes, and what became of them."""

    __slots__ = ("done", "error", "results", "writes")

    def __init__(self, writes: Sequence[Write]) -> None:
        self.writes = writes
        self.results: list[Result] = []
        self.error: Exception | None = None
        self.done = trio.Event()


class GroupCommit:
    """Hands batches to an engine, one at a time."""

    def __init__(self, engine: Engine, *, max_batch: int = MAX_BATCH, max_waiting: int = MAX_WAITING) -> None:
        self._engine = engine
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._entries: list[_Entry] = []
        self._waiting = 0
        self._idle: trio.Event | None = None  # set when the running flusher ends; None: none runs

    @property
    def waiting(self) -> int:
        """Writes that wait for a flush or are in one."""
        return self._waiting

    async def commit(self, writes: Sequence[Write]) -> list[Result]:
        """The results of *writes*, once they are durable. Raises what the engine raised for them."""
        if not writes:
            await trio.lowlevel.checkpoint()
            return []
        if self._waiting and self._waiting + len(writes) > self._max_waiting:
            raise StoreUnavailable(f"{self._waiting} writes wait for the store already", retry_after=1.0)
        entry = _Entry(writes)
        self._entries.append(entry)
        self._waiting += len(writes)
        if self._idle is None:
            self._idle = trio.Event()
            trio.lowlevel.spawn_system_task(self._flush_all, name="wad.store.commit")
        await entry.done.wait()
        if entry.error is not None:
            if isinstance(
                entry.error, StoreUnavailable
            ):  # a batch's error belongs to many: each gets its own
                raise StoreUnavailable(
                    entry.error.detail, retry_after=entry.error.retry_after
                ) from entry.error
            raise entry.error
        return entry.results

    async def drained(self) -> None:
        """Return once nothing is being written. Whoever closes the engine waits for this, shielded."""
        while self._idle is not None:
            await self._idle.wait()

    async def _flush_all(self) -> None:
        assert self._idle is not None
        batch: list[_Entry] = []
        try:
            while self._entries:
                batch = self._next_batch()
                await self._flush(batch)
                # Let those just answered put their next writes into the batch about to go: without this,
                # every second flush is nearly empty.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
        finally:  # reached with entries only when the whole program is being torn down
            for entry in (*batch, *self._entries):
                if not entry.done.is_set():
                    self._settle(entry, StoreUnavailable("the store is closing"))
            self._entries = []
            self._idle.set()
            self._idle = None

    def _next_batch(self) -> list[_Entry]:
        size = count = 0
        for entry in self._entries:
            if count and size + len(entry.writes) > self._max_batch:
                break
            size += len(entry.writes)
            count += 1
        batch, self._entries = self._entries[:count], self._entries[count:]
        return batch

    async def _flush(self, batch: list[_Entry]) -> None:
        try:
            reach("store.writing")
            results = await self._engine.write([write for entry in batch for write in entry.writes])
            reach("store.written")
        except StoreUnavailable as error:
            for entry in batch:
                self._settle(entry, error)
        except Exception as error:  # noqa: BLE001  handed on: one of the writes cannot be stored at all
            if len(batch) == 1:
                self._settle(batch[0], error)
            else:  # find whose it is: every write may be repeated
                for entry in batch:
                    await self._flush([entry])
        else:
            at = 0
            for entry in batch:
                entry.results = results[at : at + len(entry.writes)]
                at += len(entry.writes)
                self._settle(entry, None)

    def _settle(self, entry: _Entry, error: Exception | None) -> None:
        self._waiting -= len(entry.writes)
        entry.error = error
        entry.done.set()
