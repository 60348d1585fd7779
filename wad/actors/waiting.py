"""Why a message that is on its way has not left yet, and until when: told from memory, when somebody asks.

Several things may hold it. What holds it longest is told; asked again after that, it tells what is left. That another
message of the chat goes first is told where nothing else holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

from wad.actors.breaker import BreakerState
from wad.actors.session import SessionActor
from wad.models import (
    WAITING_FOR_PERSON,
    DesiredState,
    MessageState,
    OutboundMessage,
    SessionState,
    Waiting,
)

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
_TURN: Final = Waiting("turn", None, "it is the session's next, or others of the session go first")
#: The limiter's words (`Pacing.longest`), for people.
_LIMITS: Final = {
    "paused": "the provider asked the account to pause",
    "app_paused": "the provider asked everybody who sends by the same app to pause",
    "number_paused": "the provider asked {number} to pause",
    "marketing_paused": "the provider asked {number} to send no marketing for a while",
    "pair_delayed": "the provider says that this recipient gets too much at once",
    "pair_rate": "one recipient gets one message in so many seconds, once the burst is used up",
    "slowed": "the provider says that {number} sends too fast",
    "rate": "{number} sends as fast as it may",
}


def waiting_for(actor: SessionActor, message: OutboundMessage, now: datetime) -> Waiting | None:
    """What holds *message*, which is *actor*'s; None where it does not wait for its turn."""
    if message.state not in (MessageState.SCHEDULED, MessageState.QUEUED):
        return None
    held = [*_by_session(actor), *_by_breaker(actor, now), *_by_limits(actor, message, now)]
    if message.due_at is not None and message.due_at > now:
        held.append(_due(message, message.due_at))
    if held:
        return max(held, key=lambda one: one.until or _FOREVER)
    return _behind(actor, message) or _TURN


def _by_session(actor: SessionActor) -> Iterator[Waiting]:
    if actor.outbox.may_send:
        return
    session, retry_at = actor.session, actor.connecting.next_retry_at
    detail = session.reason.detail if session.reason is not None else f"the session is {session.state}"
    if session.state in WAITING_FOR_PERSON:
        yield Waiting("needs_person", retry_at, detail)
    elif session.desired_state is DesiredState.DISCONNECTED:
        yield Waiting("disconnected", None, "the session is wanted disconnected")
    elif session.state is SessionState.PAIRING:
        yield Waiting("pairing", None, "a phone has to pair the session")
    else:
        yield Waiting("not_connected", retry_at, detail)


def _by_breaker(actor: SessionActor, now: datetime) -> Iterator[Waiting]:
    clock, breaker = trio.current_time(), actor.outbox.breaker
    if breaker.state(clock) is BreakerState.ISOLATED:
        yield Waiting("breaker_isolated", None, "sends are held until somebody closes the breaker")
    elif (seconds := breaker.wait(clock)) > 0:
        until = now + timedelta(seconds=seconds)
        yield Waiting("breaker_open", until, "too many calls to the provider failed")


def _by_limits(actor: SessionActor, message: OutboundMessage, now: datetime) -> Iterator[Waiting]:
    seconds, why = actor.outbox.pacing.longest(message, trio.current_time())
    if why is not None:
        number = "the number" if message.number is None else message.number.name
        yield Waiting(why, now + timedelta(seconds=seconds), _LIMITS[why].format(number=number))


def _due(message: OutboundMessage, due_at: datetime) -> Waiting:
    if message.state is MessageState.SCHEDULED:
        return Waiting("scheduled", due_at, "sendAt has not come")
    error = message.error
    return Waiting("retry", due_at, f"after {error.code}: {error.detail}" if error else "it is tried again")


def _behind(actor: SessionActor, message: OutboundMessage) -> Waiting | None:
    lanes = actor.outbox.lanes
    first = lanes.first(message.lane)
    if first is not None and first != message.message_id:
        return Waiting("chat", None, f"{first} of the same chat goes first")
    if lanes.in_hand(message.lane):
        return Waiting("chat", None, "another message of the same chat is being sent")
    return None
