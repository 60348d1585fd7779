"""The keys that sessions of WhatsApp Web keep in the store: read and written by name, each write without a read.

What one call writes stands or falls together in the embedded store: its writes are one batch, and a batch is one
transaction. MongoDB has no such thing without transactions of its own: there every key is written, or not, by
itself. A call that returned is whole there too; one that failed, or that a crash of the primary cut, may have
written some of its keys, and has to be made again. The latest write of a key stands, however late an older one
arrives; only a key that was removed may come back, if a write that was given up on before arrives after that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import trio

from wad.models import SessionId, next_seq
from wad.store import records
from wad.store.base import Delete, Put, Query, Write
from wad.store.core import Core

_IDS: Final = 500  # of one Delete


class KeyStore(Core):
    """Gets, sets and clears keys. Calls of one session come one after the other (`wad.actors.keys`)."""

    async def keys(self, session_id: SessionId, kind: str, names: Collection[str]) -> dict[str, str]:
        """Those of *names* that there are."""
        name_of = {records.key_id(session_id, kind, name): name for name in names}
        rows = await self._find_all(Query(table="baileys_keys"), "id", name_of)
        await self._learn_keys([session_id])
        found = {
            name: records.key_of(row, session_id, kind, name, self._vault)
            for row in rows
            for name in [name_of[row["id"]]]
        }
        return {name: value for name, value in found.items() if value is not None}

    async def set_keys(self, session_id: SessionId, values: Mapping[str, Mapping[str, str | None]]) -> None:
        """Write {kind: {name: value}}; None removes. On return it is durable.

        A try is not cancelled: its writes would happen all the same, but after those of the next call.
        """
        await self._need_keys([session_id])
        seq = next_seq()
        gone: list[str] = []
        writes: list[Write] = []
        for kind, named in values.items():
            for name, value in named.items():
                if value is None:
                    gone.append(records.key_id(session_id, kind, name))
                else:
                    row = records.key_row(session_id, kind, name, value, seq=seq, vault=self._vault)
                    writes.append(Put("baileys_keys", row))
        parts = [tuple(gone[at : at + _IDS]) for at in range(0, len(gone), _IDS)]
        writes += [Delete("baileys_keys", {"id": part}) for part in parts]

        async def commit() -> None:
            with trio.CancelScope(shield=True):
                await self._commit(writes)

        await self._call("write", commit, self._writes)

    async def clear_keys(self, session_id: SessionId) -> None:
        """Remove every key of the session."""
        await self._write([Delete("baileys_keys", {"sessionId": session_id})])
