"""What becomes of a send that may have gone out, and of what waited too long: time decides, where proof does not.

    sending ── no answer ──▶ unknown ──┬─ accepted   proof came: a status, or an entry in the provider's list
                  │                    ├─ queued     no proof in time, and the session would rather send twice
                  │                    └─ unknown    no proof in time: a dead letter
                  └──▶ queued, under the same id     where the provider takes a message once, however often it comes

Nothing is carried out here, but for the look at the provider's list: the outbox does that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from wad.actors.retry import Retry
from wad.actors.services import Services
from wad.actors.settlement import LOOK_AFTER, look_up
from wad.errors import ProviderError
from wad.models import Failure, MessageState, OutboundMessage, Pending, Session, given_up
from wad.providers.base import Accepted, Connection, ProviderKind


class Doubt:
    """One session's way with it."""

    __slots__ = ("_kind", "_retry", "_services", "_session")

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        kind: Callable[[], ProviderKind],
        retry: Retry,
    ) -> None:
        self._services = services
        self._session = session
        self._kind = kind
        self._retry = retry

    def after(
        self, sending: OutboundMessage, note: str | None, error: ProviderError | None = None
    ) -> OutboundMessage:
        """A send that may have gone out: `unknown`, or `queued` again under the same id."""
        now = self._services.now()
        failure = Failure.of(error) if error else Failure("unknown_outcome", note or "", None, False)
        if self._settlement_of(sending) != "resend":
            until = now + self._services.limits.settle_window
            return sending.moved(MessageState.UNKNOWN, now, error=failure, note=note, due_at=until)
        due_at = now + timedelta(seconds=self._retry.pause(sending))
        if self._retry.is_worn_out(sending) or due_at >= sending.expires_at:
            note = "gave up: it was sent again under the same id, and no answer came"
            return sending.moved(MessageState.UNKNOWN, now, error=failure, note=note, dead=True, due_at=None)
        note = "it may have gone out: resent under the same id"
        return sending.moved(MessageState.QUEUED, now, error=failure, note=note, due_at=due_at, resent=True)

    def first_look(self, item: Pending) -> datetime | None:
        """When its turn comes: for one in doubt the end of its window, or before that a look at the provider's list."""
        if (
            item.state != MessageState.UNKNOWN
            or item.due_at is None
            or self._kind().capabilities.settlement != "list"
        ):
            return item.due_at
        since = item.due_at - self._services.limits.settle_window
        return min(item.due_at, since + timedelta(seconds=LOOK_AFTER))

    async def settle(
        self, connection: Connection, message: OutboundMessage
    ) -> Accepted | OutboundMessage | None:
        """The proof that there is now, or what becomes of *message* without; None: it goes on waiting for proof."""
        note = "no proof came"
        if self._settlement_of(message) == "list":
            found = await look_up(self._services, connection, message)
            if isinstance(found, Accepted):
                return found
            note = f"{note}: {found}"
        now = self._services.now()
        if message.due_at is not None and message.due_at > now:
            return None
        return self._without_proof(message, note, now)

    def overdue(self, message: OutboundMessage, now: datetime) -> OutboundMessage | None:
        """What *message* is now, where it waited too long for a session that may not send; None where it may wait on.

        For its turn past its `expiresAt`, or for proof past its window. What is to be looked for, or sent again, waits on.
        """
        if not message.is_open or message.state is MessageState.SENDING:  # on the wire: its answer decides
            return None
        if message.state is not MessageState.UNKNOWN:
            return self.expired(message, now) if message.expires_at <= now else None
        if message.due_at is None or message.due_at > now or self._can_do_more_for(message):
            return None
        return _unproven(message, "no proof came", now)

    @staticmethod
    def expired(message: OutboundMessage, now: datetime) -> OutboundMessage:
        """*message* as the dead letter that it is once its `expiresAt` is over."""
        return given_up(message, MessageState.EXPIRED, now, error=message.error)

    def _without_proof(self, message: OutboundMessage, note: str, now: datetime) -> OutboundMessage:
        """The window for proof is over: a dead letter, or another try where the session asked for that."""
        resends = self._settlement_of(message) == "resend"  # an older wad, which could not, sent it
        if (resends or self._session().settings.duplicates == "at_least_once") and message.expires_at > now:
            why = "under the same id" if resends else "as the session's `duplicates` says"
            return message.moved(
                MessageState.QUEUED,
                now,
                note=f"{note}; sent again, {why}",
                maybe_duplicate=message.maybe_duplicate or not resends,
                resent=message.resent or resends,
                due_at=None,
            )
        return _unproven(message, note, now)

    def _can_do_more_for(self, message: OutboundMessage) -> bool:
        """Whether something besides waiting can be done about *message*, which is in doubt."""
        sends_again = self._session().settings.duplicates == "at_least_once"
        return sends_again or self._settlement_of(message) != "callback"

    def _settlement_of(self, message: OutboundMessage) -> str:
        """How it is found out whether *message* went out. A provider that did not get it can only be waited with."""
        is_ours = message.provider == self._session().provider
        return self._kind().capabilities.settlement if is_ours else "callback"


def _unproven(message: OutboundMessage, note: str, now: datetime) -> OutboundMessage:
    """*message* as the dead letter that it is without proof."""
    return message.moved(MessageState.UNKNOWN, now, error=message.error, note=note, dead=True, due_at=None)
