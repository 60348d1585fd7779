"""What waits in a session's queue when its provider is changed: goes by the new one, or ends with the reason.

A row is of the provider that it names. At its turn, or when the new provider begins, it becomes the new one's, or a
dead letter that a person may try again after a change back. What an earlier attempt may have brought to the old
provider is never sent anew: nobody there can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from wad.errors import NotSupported
from wad.models import Failure, MessageState, OutboundMessage, Session, given_up
from wad.providers.base import ProviderKind, check_send


def taken_over(
    message: OutboundMessage, session: Session, kind: ProviderKind, now: datetime
) -> OutboundMessage:
    """*message*, which waits and names another provider, as *kind*'s own; or as the dead letter that it becomes."""
    if message.may_have_gone_out and session.settings.duplicates == "at_most_once":
        doubt = Failure("unknown_outcome", f"it was {message.provider}'s, which may have sent it")
        return given_up(message, MessageState.FAILED, now, error=doubt)
    if (error := _unfit(message, kind)) is not None:
        return given_up(message, MessageState.FAILED, now, error=error)
    note = f"goes by {kind.name} in place of {message.provider}"
    if message.quotes is not None:
        note += f", and quotes nothing: it named a message of {message.provider}'s"
    return message.moved(message.state, now, error=message.error, note=note, provider=kind.name, quotes=None)


def _unfit(message: OutboundMessage, kind: ProviderKind) -> Failure | None:
    """Why *kind* cannot send *message*; None where it can."""
    try:
        errors = check_send(kind, message.to, message.content)
    except NotSupported as error:
        return Failure(error.code, error.detail)
    if message.number is not None and not kind.capabilities.numbers:
        lacking = NotSupported(kind.name, "numbers")
        return Failure(lacking.code, f"{lacking.detail}: it was to leave from {message.number.phone}")
    if errors:
        told = "; ".join(f"{error.pointer} {error.detail}" for error in errors)
        return Failure("invalid_request", f"{kind.name} would refuse it: {told}")
    if message.type == "reaction":
        return Failure("message_unknown", f"it reacts to a message that only {message.provider} knows")
    if any(True for _ in files_of(message.content)):
        return Failure(
            "media_unknown", f"its file is {message.provider}'s; upload it again, and send a new message"
        )
    return None


def files_of(value: Any) -> Iterator[str]:
    """The ids of files anywhere in a content."""
    match value:
        case dict():
            for key, part in value.items():
                if key == "mediaId" and isinstance(part, str):
                    yield part
                else:
                    yield from files_of(part)
        case list():
            for part in value:
                yield from files_of(part)
        case _:
            pass
