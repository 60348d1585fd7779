"""A session's own keys: what its connection asks for by name, and writes in order.

A connection may set keys from many tasks at once. One write is in the air at a time, so that an older value never
comes after a newer one; what is set meanwhile goes together with the next. A message costs its key writes one
flush or two of the store, however many chats are busy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import trio

from wad.actors.services import Services
from wad.models import SessionId


class SessionKeys:
    """The `wad.providers.base.Keys` of one session. An outage of the store is waited out."""

    __slots__ = ("_changes", "_lock", "_session_id", "_store", "_unwritten", "_written")

    def __init__(self, services: Services, session_id: SessionId) -> None:
        self._store = services.patient
        self._session_id = session_id
        self._lock = trio.Lock()
        self._unwritten: dict[tuple[str, str], str | None] = {}
        self._changes = 0  # calls of `set`; and how many of them are on disk
        self._written = 0

    async def get(self, kind: str, names: Sequence[str]) -> dict[str, str]:
        """Those of *names* that there are; what is being written counts already, for it was set."""
        # Taken beforehand too: it may be written, and so not be here any more, by the time that an older row arrives.
        being_written = {
            key: self._unwritten[key] for name in names if (key := (kind, name)) in self._unwritten
        }
        found = await self._store.keys(self._session_id, kind, names)
        for name in names:
            key = (kind, name)
            if key in self._unwritten or key in being_written:
                value = self._unwritten[key] if key in self._unwritten else being_written[key]
                if value is None:
                    found.pop(name, None)
                else:
                    found[name] = value
        return found

    async def set(self, values: Mapping[str, Mapping[str, str | None]]) -> None:
        for kind, named in values.items():
            for name, value in named.items():
                self._unwritten[kind, name] = value
        self._changes += 1
        mine = self._changes
        async with self._lock:
            if self._written < mine:  # else the one before took it along
                await self._write()

    async def _write(self) -> None:
        batch, changes = dict(self._unwritten), self._changes
        values: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        for (kind, name), value in batch.items():
            values[kind][name] = value
        await self._store.set_keys(self._session_id, values)
        self._written = changes
        for key, value in batch.items():
            if key in self._unwritten and self._unwritten[key] is value:
                del self._unwritten[key]

    async def clear(self) -> None:
        async with self._lock:
            self._unwritten.clear()
            self._written = self._changes
            await self._store.clear_keys(self._session_id)
