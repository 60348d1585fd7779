"""What the handlers work with: everything that the daemon made, passed in by hand."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from wad.config import Config
from wad.events import Events
from wad.http.auth import Gate, Principal
from wad.http.events import EventStream
from wad.http.pages import Pages
from wad.models import Session, SessionId
from wad.store.store import Store
from wad.supervisor.sessions import Sessions


class Api(msgspec.Struct, frozen=True, kw_only=True):
    sessions: Sessions
    store: Store
    config: Config
    stream: EventStream
    events: Events
    gate: Gate
    uploads: trio.CapacityLimiter
    metrics: Callable[[], bytes]
    draining: Callable[[], bool]
    restored: Callable[[], bool]
    pages: Pages

    def session(self, principal: Principal, session_id: str) -> Session:
        """The session, or NotFound, where the principal may not see it as well."""
        session = self.sessions.session(SessionId(session_id))
        principal.require_sight(session.shop_id, f"there is no session {session_id!r}")
        return session
