"""A session's stored document: changed at once in memory, then written, one write at a time.

Every write is a compare-and-set on what was last known to be stored, and carries all that memory has changed
since: so a write that is lost, or whose answer is, costs nothing but another one.
"""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from wad.actors.services import Services
from wad.errors import StoreUnavailable
from wad.models import Session, SessionState, new_rev


class Document:
    """`session` is what memory knows; the store has it as of the last `write`."""

    __slots__ = ("_lock", "_services", "_stored", "session")

    def __init__(self, services: Services, stored: Session) -> None:
        # This actor's writes carry the next epoch: whatever an earlier life still does is older. And whatever was
        # true when the state was written, nothing is proven yet, and no code can be scanned any more.
        proven = stored.state in (SessionState.CONNECTED, SessionState.DEGRADED, SessionState.PAIRING)
        self.session = msgspec.structs.replace(
            stored,
            owner=services.node,
            epoch=stored.epoch + 1,
            state=SessionState.CONNECTING if proven else stored.state,
            reason=None if proven else stored.reason,
            is_connected=False,
            qr_code=None,
        )
        self._stored = stored
        self._services = services
        self._lock: trio.Lock | None = None

    @property
    def stored(self) -> Session:
        """What the store was last known to have."""
        return self._stored

    @property
    def is_stored(self) -> bool:
        return self.session is self._stored

    def put(self, **changes: Any) -> None:
        """Change it in memory; the next `write` has it."""
        self.session = msgspec.structs.replace(self.session, **changes)

    async def write(self, *, patiently: bool, **changes: Any) -> Session:
        """Write *changes*, and what memory changed since the last write; the session as it is then.

        Raises StoreUnavailable, but for *patiently*.
        """
        store = self._services.patient if patiently else self._services.store
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            for _ in range(3):
                before = self.session
                new = msgspec.structs.replace(
                    before, **changes, updated_at=self._services.now(), rev=new_rev()
                )
                if await store.save_session(self._stored, new):
                    self._stored = new
                    if self.session is before:
                        self.session = new
                    else:  # memory moved while we wrote: that is written next
                        self.put(**changes, updated_at=new.updated_at, rev=new.rev)
                    return self.session
                stored = await store.session(before.session_id)
                if stored is None:  # deleted meanwhile
                    self._stored = self.session
                    return self.session
                self._stored = stored
            raise StoreUnavailable("the session's document is being changed by somebody else")
