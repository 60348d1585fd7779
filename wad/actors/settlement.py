"""Whether a send that may have gone out is among those that the provider says it took.

The provider names those that look like it. One of them is it only if nothing else of ours could be that one: never the
likeliest, and never none for sure, for a list can lag behind.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from wad.actors.services import Services
from wad.errors import ProviderError
from wad.models import MessageQuery, MessageState, OutboundMessage
from wad.providers.base import Accepted, Connection

#: Seconds after an attempt before its message is looked for: lists show a message some seconds after it was taken.
LOOK_AFTER: Final = 30.0
#: Attempts that are further apart than this cannot be each other's message: one may take 35 s, and what it left behind
#: at the provider a minute.
_APART: Final = timedelta(minutes=5)
#: Messages in doubt that are looked through, of one person.
_RIVALS: Final = 100


async def look_up(services: Services, connection: Connection, message: OutboundMessage) -> Accepted | str:
    """The provider's message that *message* is; else why none of them certainly is."""
    since = attempts_of(message)[-1]
    try:
        found = await connection.find(message, since)
    except ProviderError as error:
        return f"the provider could not be asked for it ({error.code}: {error.detail})"
    known = await services.patient.messages_by_provider_id(
        message.session_id, [one.provider_message_id for one in found]
    )
    free = [
        one
        for one in found
        if one.provider_message_id not in known and one.provider_message_id not in message.former_ids
    ]
    if not free:
        return "the provider's list does not show it"
    if len(free) > 1:
        return f"the provider's list shows {len(free)} messages that it may be"
    if await _has_rival(services, message, since):
        return "the provider's list shows one message that it may be, and so may another one in doubt"
    return free[0]


def attempts_of(message: OutboundMessage) -> list[datetime]:
    """When each attempt to send it began."""
    began = [step.at for step in message.history if step.state is MessageState.SENDING]
    return began or [message.created_at]


async def _has_rival(services: Services, message: OutboundMessage, since: datetime) -> bool:
    """Whether another message of ours looks the same, went to the same person, and is in doubt since the same time."""
    doubtful = await services.patient.find_messages(
        MessageQuery(
            session_id=message.session_id,
            direction="outbound",
            state=MessageState.UNKNOWN,
            to=message.chat,
            limit=_RIVALS,
        )
    )
    return any(
        isinstance(other, OutboundMessage)
        and other.message_id != message.message_id
        and other.content == message.content
        and any(abs(at - since) < _APART for at in attempts_of(other))
        for other in doubtful
    )
