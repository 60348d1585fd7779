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
#: An attempt that is older by this cannot have left what was taken since: it may take 35 s, and what it left behind at the
#: provider a minute.
_APART: Final = timedelta(minutes=5)
#: Where a message may be that is looked at in full: its attempt went out, and its answer is not recorded. Of others the
#: newest are looked at, whatever they are.
_LOOKED_AT: Final = (MessageState.SENDING, MessageState.UNKNOWN, MessageState.QUEUED, None)
#: Messages in each of those that are looked through, of one person.
_RIVALS: Final = 100


async def look_up(services: Services, connection: Connection, message: OutboundMessage) -> Accepted | str:
    """The provider's message that *message* is; else why none of them certainly is."""
    since = attempts_of(message)[-1]
    try:
        found = await connection.find(message, since)
    except ProviderError as error:
        return f"the provider could not be asked for it ({error.code}: {error.detail})"
    # Rivals before what is known: one whose answer is recorded in between is known then.
    has_rival = await _has_rival(services, message, since)
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
    if has_rival:
        return "the provider's list shows one message that it may be, and so may another one in doubt"
    return free[0]


def attempts_of(message: OutboundMessage) -> list[datetime]:
    """When each attempt to send it began."""
    began = [step.at for step in message.history if step.state is MessageState.SENDING]
    return began or [message.created_at]


async def _has_rival(services: Services, message: OutboundMessage, since: datetime) -> bool:
    """Whether another message of ours looks the same, went to the same person, and has no answer: since then, or later."""
    for state in _LOOKED_AT:
        query = MessageQuery(
            session_id=message.session_id,
            direction="outbound",
            state=state,
            to=message.chat,
            limit=_RIVALS,
        )
        for other in await services.patient.find_messages(query):
            if (
                isinstance(other, OutboundMessage)
                and other.message_id != message.message_id
                and other.content == message.content
                and _is_in_doubt(other)
                and any(at > since - _APART for at in attempts_of(other))
            ):
                return True
    return False


def _is_in_doubt(message: OutboundMessage) -> bool:
    """Whether the provider may have taken an attempt of it whose answer nobody has, wherever *message* is by now."""
    if message.state in (MessageState.SENDING, MessageState.UNKNOWN) or message.may_have_gone_out:
        return True
    was = any(step.state is MessageState.UNKNOWN for step in message.history)
    return was and message.provider_message_id is None  # a person has discarded it
