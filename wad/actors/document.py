"""A session's stored document: changed at once in memory, then written, one write at a time.

The state is a part of it. A change of state is known at once to whoever subscribed or waits for one; it is written
a moment later, for most pass by, and what was written is what the flow is told of. Every write is a compare-and-set on what was last known to be stored, and carries all that memory has changed
since: so a write that is lost, or whose answer is, costs nothing but another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import trio

from wad.actors.services import Services
from wad.errors import StoreUnavailable
from wad.events import SessionStateChanged
from wad.models import FlowEvent, Reason, Session, SessionState, Status, new_rev
from wad.providers.base import Pairing

#: Seconds between a change of state and its writing: what passes by, such as `connecting`, is not worth a write.
SAVE_AFTER: Final = 0.5


class Document:
    """`session` is what memory knows; the store has it as of the last `write`."""

    __slots__ = (
        "_changed",
        "_lock",
        "_nursery",
        "_services",
        "_status",
        "_stored",
        "_tell",
        "is_saving",
        "last_seen",
        "qr_expires_at",
        "session",
        "since",
    )

    def __init__(
        self,
        services: Services,
        stored: Session,
        *,
        status: Callable[[], Status],
        tell: Callable[[Sequence[FlowEvent]], Awaitable[None]],
    ) -> None:
        """*status* makes the snapshot that a change is told with; *tell* stores facts for the flow."""
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
        self.since = stored.updated_at
        self.qr_expires_at: datetime | None = None
        self.last_seen: datetime | None = None  # written with the next change: one for each would be a waste
        self.is_saving = False  # whether a change of state is still to be written
        self._stored = stored
        self._services = services
        self._status = status
        self._tell = tell
        self._lock: trio.Lock | None = None
        self._changed: trio.Event | None = None
        self._nursery: trio.Nursery | None = None

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def close(self) -> None:
        self._nursery = None

    def put(self, **changes: Any) -> None:
        """Change it in memory; the next `write` has it."""
        self.session = msgspec.structs.replace(self.session, **changes)

    # --- the state ----------------------------------------------------------------------------------

    def be(self, state: SessionState, reason: Reason | None, pairing: Pairing | None = None) -> None:
        """Be in *state* because of *reason*: at once in memory, soon on disk."""
        before = self.session
        qr, self.qr_expires_at = (pairing.qr, pairing.expires_at) if pairing is not None else (None, None)
        if (before.state, before.reason, before.qr_code) == (state, reason, qr):
            return
        if before.state is not state:
            self.since = self._services.now()
        self.put(state=state, reason=reason, is_connected=state is SessionState.CONNECTED, qr_code=qr)
        self._services.events.publish(SessionStateChanged(self._status(), before.state))
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        self._save_soon()

    async def change_of_state(self) -> None:
        """Return when the state, or its reason, is another one."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def _save_soon(self) -> None:
        if not self._is_stored and not self.is_saving and self._nursery is not None:
            self.is_saving = True
            self._nursery.start_soon(self._save)

    async def _save(self) -> None:
        try:
            await trio.sleep(SAVE_AFTER)
            while not self._is_stored:
                await self.save_now()
        finally:
            self.is_saving = False

    async def save_now(self) -> None:
        """Write the state, if it is still to be written, and what the flow wants to hear of it."""
        if not self.is_saving or self._is_stored:
            return
        before = self._stored
        after = await self.write(patiently=True)
        await self._tell(list(self._changes_for_flow(before, after)))

    def _changes_for_flow(self, before: Session, after: Session) -> Iterator[FlowEvent]:
        if (before.state, before.reason) != (after.state, after.reason):
            status = msgspec.to_builtins(self._status())
            yield FlowEvent(type="session.state", dedupe_key=f"s:{after.rev}", data=status)
        if after.qr_code is not None and after.qr_code != before.qr_code:
            data = {
                "sessionId": after.session_id,
                "qr": after.qr_code,
                "expiresAt": msgspec.to_builtins(self.qr_expires_at),
            }
            yield FlowEvent(type="session.qr", dedupe_key=f"q:{after.rev}", data=data)

    # --- the store ----------------------------------------------------------------------------------

    @property
    def _is_stored(self) -> bool:
        return self.session is self._stored

    async def write(self, *, patiently: bool, **changes: Any) -> Session:
        """Write *changes*, and what memory changed since the last write; the session as it is then.

        Raises StoreUnavailable, but for *patiently*.
        """
        store = self._services.patient if patiently else self._services.store
        if self.last_seen is not None:
            changes.setdefault("last_seen", self.last_seen)
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
