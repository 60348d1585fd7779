"""Sessions in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import trio

from wad.errors import Conflict
from wad.failpoints import reach
from wad.models import Session, new_rev
from wad.store import records
from wad.store.base import Delete, Insert, Query, Update
from wad.store.core import PAGE, Core, check_revs

_END_OF_TIME: Final = 2**63 - 1


class SessionStore(Core):
    """Adds, saves, lists and removes sessions; gives each the data key that seals what is its own."""

    async def add_session(self, session: Session) -> Session:
        """Store a new session under a data key of its own; as stored."""
        keys = self._vault.fresh()  # not the vault's own: should the id be taken, its key must stay
        data_key = keys.new_key(session.session_id)
        session = msgspec.structs.replace(session, data_key=data_key, rev=new_rev())
        [taken] = await self._write([Insert("sessions", records.session_row(session, keys))])
        if taken is not None:
            raise Conflict(f"there is a session {session.session_id!r} already", code="session_exists")
        self._vault.learn(session.session_id, data_key)
        return session

    async def session(self, session_id: str) -> Session | None:
        rows = await self._find(Query(table="sessions", where={"sessionId": session_id}))
        return records.session_of(rows[0], self._vault) if rows else None

    async def save_session(self, old: Session, new: Session) -> bool:
        """Write what differs in *new*, which has a `rev` of its own, where the row is still *old*."""
        check_revs(old, new)
        await self._need_keys([old.session_id])
        changes = records.session_changes(old, new, self._vault)
        [saved] = await self._write([Update("sessions", old.session_id, old.rev, changes)])
        return saved is True

    async def delete_session(self, session_id: str) -> None:
        """Remove all that is kept of a session, its row last: a crash in between is mended by a repetition."""
        for table, order in (
            ("messages", "seq"),
            ("inbox", "seq"),
            ("parked", "createdAt"),
            ("events", "seq"),
            ("media", "expiresAt"),
            ("baileys_keys", "seq"),
        ):
            await self._remove(table, order, _END_OF_TIME, {"sessionId": session_id})
        reach("session.emptied")
        with trio.CancelScope(shield=True):  # whoever asks knows whether it is still there
            await self._write([Delete("sessions", {"sessionId": session_id})])
        self._vault.forget(session_id)

    async def sessions(self, *, after: str | None = None, limit: int = 50) -> list[Session]:
        """By session id. *after* is the last one seen."""
        rows = await self._find(Query(table="sessions", where={}, after=after, limit=limit))
        return [records.session_of(row, self._vault) for row in rows]

    async def all_sessions(self) -> AsyncIterator[list[Session]]:
        """Every session, in pages."""
        after: str | None = None
        while True:
            page = await self.sessions(after=after, limit=PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].session_id

    async def count_sessions(self) -> int:
        return sum((await self._count("sessions", {}, by="provider")).values())
