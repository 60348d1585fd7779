"""What becomes of a message that surely did not go out: another try, when, and when there is none any more.

Synchronous: it decides, and the outbox carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from wad.actors.services import Services
from wad.errors import ProviderError
from wad.models import Failure, MessageState, OutboundMessage, Session, given_up

#: Seconds before attempt 2, 3, ... on average; the last one repeats.
RETRY_AFTER: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: What failed together shall not come back together: a pause is anything from this to twice its average (full jitter).
#: Not from 0: at once is no pause, and what comes next in the chat had to hold for nothing.
_LEAST: Final = 0.5
#: As long as a provider may have us wait.
_MOST: Final = 3600.0
#: How long a message that is being retried may keep the rest of its chat waiting, for the sake of order. One that has
#: to wait for longer is passed at once.
HOLD: Final = timedelta(minutes=15)


class Retry:
    """One session's way of trying again."""

    __slots__ = ("_services", "_session")

    def __init__(self, services: Services, session: Callable[[], Session]) -> None:
        self._services = services
        self._session = session

    def after(self, sending: OutboundMessage, error: ProviderError) -> OutboundMessage:
        """*sending*, whose attempt ended with *error*: `queued` until its time, or a dead letter."""
        now = self._services.now()
        pause = self.pause(sending)
        if error.retry_after is not None:
            pause = max(pause, min(error.retry_after, _MOST))
        due_at = now + timedelta(seconds=pause)
        failure = Failure.of(error)
        if self.is_worn_out(sending):
            note = "gave up: too many attempts"
            return given_up(sending, MessageState.FAILED, now, error=failure, note=note)
        if due_at >= sending.expires_at:
            return given_up(sending, MessageState.EXPIRED, now, error=failure)
        return sending.moved(MessageState.QUEUED, now, error=failure, due_at=due_at)

    def pause(self, sending: OutboundMessage) -> float:
        """Seconds before the next attempt."""
        average = RETRY_AFTER[min(sending.attempts, len(RETRY_AFTER)) - 1]
        return self._services.random.uniform(_LEAST, 2 * average)

    def is_worn_out(self, sending: OutboundMessage) -> bool:
        """Whether it was its last attempt."""
        retry = self._session().settings.retry or {}
        return sending.attempts >= retry.get("maxAttempts", self._services.limits.max_attempts)


def may_hold(message: OutboundMessage) -> bool:
    """Whether *message*, which is tried again, keeps the rest of its chat waiting till then."""
    until = message.due_at or message.updated_at
    return until - (message.send_at or message.created_at) < HOLD
