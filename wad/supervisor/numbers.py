"""Which of its session's numbers a message leaves from: the one asked for, else the one that its customer wrote to."""

from __future__ import annotations

from wad.actors.session import SessionActor
from wad.errors import FieldError, InvalidRequest
from wad.models import Address, InboundMessage, Number, Session
from wad.store.store import Store


async def number_for(
    store: Store, actor: SessionActor, *, asked: str | None, answers: Number | None, to: Address
) -> Number | None:
    """*asked*: an id or a number in E.164. *answers*: the number of the message that it quotes, or replies to.

    None where the session is one number, or where the choice is left to the connection. Raises InvalidRequest for
    a number that is not the session's.
    """
    session = actor.session
    if not actor.kind.capabilities.numbers:
        _check_own(session, asked)
        return None
    if asked is None and answers is None:
        if to.group_id is not None:
            _check_alone(session)
        else:
            last = await store.last_inbound(session.session_id, phone=to.phone, user_id=to.user_id)
            if last is not None and isinstance(last.event, InboundMessage):
                answers = last.event.number
    return actor.kind.number_for(session, asked, answers)


def named_number(actor: SessionActor, asked: str | None) -> Number | None:
    """The number that is asked for, else the one that stands for all; None where the session is one."""
    if actor.kind.capabilities.numbers:
        return actor.kind.number_for(actor.session, asked, None)
    _check_own(actor.session, asked)
    return None


def _check_own(session: Session, asked: str | None) -> None:
    if asked is None:
        return
    own = [name for name in (session.phone_number, session.connection_data.get("phoneNumberId")) if name]
    if not own:
        raise _refused("cannot be looked up: the session has not connected yet")
    if asked not in own:
        raise _refused(f"is not the number of this session, which is {own[0]}")


def _check_alone(session: Session) -> None:
    """A group has one of the session's numbers in it, and nobody else can send there."""
    if len(session.connection_data.get("numbers", ())) > 1 and "phoneNumberId" not in session.credentials:
        raise _refused("is required: a group has one of the session's numbers in it")


def _refused(detail: str) -> InvalidRequest:
    return InvalidRequest("the session has no such number", [FieldError("/from", detail)])
