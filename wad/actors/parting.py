"""How a session parts from its provider: for now, from its phone, or for another provider.

Each begins by sending nothing more and waiting for what is in hand, so that nothing is in doubt over it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from wad.errors import ProviderError, WadError
from wad.models import DesiredState, Reason, SessionState

if TYPE_CHECKING:
    from wad.actors.session import SessionActor
    from wad.providers.base import Connection

log: Final = logging.getLogger("wad.actors")
#: Seconds that a logout may take: a round trip, and a slow one.
LOGOUT_TIMEOUT: Final = 15.0
_UNTOLD: Final = "WhatsApp could not be told, so the phone may list the device still; remove it there"


class Parting:
    """Made for one request of the actor's mailbox."""

    def __init__(self, actor: SessionActor) -> None:
        self._actor = actor

    @property
    def _connection(self) -> Connection:
        assert self._actor.connection is not None
        return self._actor.connection

    async def disconnect(self) -> None:
        """For now: the pairing stays."""
        await self._hold()
        await self._connection.disconnect()
        self._actor.document.be(SessionState.DISCONNECTED, None)

    async def logout(self) -> None:
        """From its phone. Where the other side cannot be told, the keys go all the same, and the reason says so."""
        await self._hold()
        detail = await self._unpair() or "logged out as asked"
        await self._connection.disconnect()
        await self.forget_pairing(detail)

    async def forget_pairing(self, detail: str) -> None:
        """Remove the keys, and be `logged_out`: the next `connect` pairs anew."""
        actor = self._actor
        await actor.keys.clear()
        await actor.kind.forget(actor.session.session_id)
        actor.document.put(connection_data={})
        actor.document.be(SessionState.LOGGED_OUT, Reason("logged_out", detail, needs_person=True))

    async def change_provider(self, write: Callable[[], Awaitable[None]]) -> None:
        """For another one: from *write* on, whatever happens, the next life has it (`settle_formers`)."""
        await self._hold()
        actor = self._actor
        paired = actor.kind.capabilities.pairing and actor.session.state is SessionState.CONNECTED
        try:
            await write()
        except WadError:  # it stays what it was
            if actor.session.desired_state is DesiredState.CONNECTED and not actor.connecting.stays:
                await actor.connecting.at_once()
            raise
        if paired and (untold := await self._unpair()) is not None:
            log.warning("not_logged_out", extra={"session_id": actor.session.session_id, "detail": untold})
        await actor.reopen()

    async def settle_formers(self) -> None:
        """Carry out what changes of provider leave to do: an earlier life may have died over it."""
        actor = self._actor
        formers = actor.session.formers
        if all(former.settled for former in formers):
            return
        await actor.keys.clear()
        for former in formers:
            if not former.settled:
                await actor.forget_at(former.provider, actor.session.session_id)
        await actor.outbox.take_over()
        settled = tuple(msgspec.structs.replace(former, settled=True) for former in formers)
        await actor.change(store_patiently=True, formers=settled)

    async def _hold(self) -> None:
        """Send nothing more, and return once what is in hand has its result on disk."""
        self._actor.connecting.stop()
        outbox = self._actor.outbox
        outbox.allow(False)
        await outbox.drain()
        outbox.resume()

    async def _unpair(self) -> str | None:
        """Log out. Why WhatsApp could not be told, where it could not."""
        with trio.move_on_after(LOGOUT_TIMEOUT):
            try:
                await self._connection.logout()
            except ProviderError as error:
                return f"{_UNTOLD}: {error.detail}"
            return None
        return f"{_UNTOLD}: no answer within {LOGOUT_TIMEOUT:.0f} s"
