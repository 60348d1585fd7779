"""Which session cannot send what it has, which one could in its place, and which messages may go from one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import trio

from wad.actors.breaker import BreakerState
from wad.actors.session import SessionActor
from wad.actors.takeover import files_of
from wad.models import (
    WAITING_FOR_PERSON,
    DesiredState,
    MessageState,
    OutboundMessage,
    Pending,
    SessionState,
)
from wad.supervisor.balancer import Why

#: How often one message may move.
MOST_MOVES: Final = 5
#: States that pass by themselves, mostly.
UNREACHABLE: Final = (SessionState.CREATED, SessionState.CONNECTING)
_MAY_WAIT: Final = (MessageState.QUEUED, MessageState.SCHEDULED)


def stuck(actor: SessionActor) -> Why | None:
    """What keeps the session from sending, where that will not pass in a moment."""
    session = actor.session
    if session.state in WAITING_FOR_PERSON:
        return Why.WAITS_FOR_PERSON
    if session.state is SessionState.DISCONNECTED or session.desired_state is DesiredState.DISCONNECTED:
        return Why.DISCONNECTED
    if session.state is SessionState.PAIRING:
        return Why.PAIRING
    if actor.outbox.breaker.state(trio.current_time()) in (BreakerState.OPEN, BreakerState.ISOLATED):
        return Why.BREAKER_OPEN
    return None


def is_ready(actor: SessionActor) -> bool:
    """Whether it can send what another one could not."""
    session = actor.session
    return session.state is SessionState.CONNECTED and not session.settings.drained and stuck(actor) is None


def may_repeat(actor: SessionActor) -> bool:
    return actor.session.settings.duplicates == "at_least_once"


def doubts_of(actor: SessionActor) -> Iterator[Pending]:
    """What waits for proof."""
    return (
        item for item in actor.outbox.lanes.items() if item.state == MessageState.UNKNOWN and item.may_move
    )


def may_move(message: OutboundMessage, actor: SessionActor) -> bool:
    """Whether *message*, which *actor* has, surely did not go out (or may go out twice), and can be sent by another."""
    is_bound = (
        message.quotes is not None
        or message.provider_message_id is not None
        or message.type == "reaction"
        or any(True for _ in files_of(message.content))
    )
    is_certain = message.state in _MAY_WAIT and not message.may_have_gone_out
    repeats = message.state in (*_MAY_WAIT, MessageState.UNKNOWN) and may_repeat(actor)
    return (
        message.chosen is not None
        and message.is_open
        and message.moves < MOST_MOVES
        and (is_certain or repeats)
        and not is_bound
    )
