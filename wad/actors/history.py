"""What customers wrote while nobody listened, where the provider still knows: read with the next proof, stored once each.

A webhook that found nobody, a wrong secret or no store is not always tried again. The newest message that was stored before
that says from when on to look.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final

import trio

from wad.actors.services import Services
from wad.errors import ProviderError, StoreUnavailable
from wad.models import Inbound, InboxItem, MessageQuery, Session, next_seq
from wad.providers.base import Connection

log = logging.getLogger("wad.actors.history")

#: How far before the newest message: webhooks do not come in the order of the provider's clock.
_OVERLAP: Final = timedelta(hours=1)
#: As long as Meta, which does try again, keeps at it.
_MOST: Final = timedelta(days=7)
#: Seconds before it is read after something was refused: the first, doubling, and the longest.
_SOON: Final = (5.0, 60.0)


class History:
    """One session's. It outlives its runs: `away` says that something may be missed, `catch_up` reads what was."""

    __slots__ = ("_away_since", "_is_soon", "_receive", "_services", "_session")

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        receive: Callable[[Sequence[Inbound]], Awaitable[None]],
    ) -> None:
        self._services = services
        self._session = session
        self._receive = receive
        #: A `seq`: what has a lower one was stored while webhooks were sure to arrive. None: nothing is missed.
        self._away_since: int | None = next_seq()
        self._is_soon = False  # whether `catch_up_soon` runs

    def away(self) -> None:
        """From now on what comes in may be refused, or find nobody."""
        if self._away_since is None:
            self._away_since = next_seq()

    async def catch_up(self, connection: Connection) -> None:
        """Read what was missed, if anything. A failure is no reason not to be connected: the next proof tries again."""
        away_since, self._away_since = self._away_since, None
        if away_since is None:
            return
        try:
            since = await self._since(away_since)
            async with self._services.connecting, aclosing(connection.missed(since)) as missed:
                async for events in missed:
                    await self._receive(events)
        except (ProviderError, StoreUnavailable) as error:
            self._away_since = away_since
            log.warning(
                "inbound_history_unread",
                extra={"session_id": self._session().session_id, "code": error.code, "error": error.detail},
            )
        except BaseException:
            self._away_since = away_since
            raise

    async def catch_up_soon(self, connection: Connection) -> None:
        """Something was refused: read it as soon as it can be kept. Who is busy with others is asked for no proof."""
        self.away()
        if self._is_soon:
            return
        self._is_soon = True
        pause, longest = _SOON
        try:
            while self._away_since is not None:
                await trio.sleep(pause)
                pause = min(2 * pause, longest)
                await self.catch_up(connection)
        finally:
            self._is_soon = False

    async def _since(self, away_since: int) -> datetime:
        """What came before the session was made is not its own to answer."""
        session = self._session()
        newest = await self._services.patient.find_messages(
            MessageQuery(session_id=session.session_id, direction="inbound", after=away_since, limit=1)
        )
        known = [item.received_at - _OVERLAP for item in newest if isinstance(item, InboxItem)]
        return max([session.created_at, self._services.now() - _MOST, *known])
