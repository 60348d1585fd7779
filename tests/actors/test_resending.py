"""A provider that takes a message once however often it comes under one id: what may have gone out is resent."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, paired
from tests.simulated import Behaviour, SocketProvider, failing, hang, lost_answer, own_id, refusal
from wad.actors.services import Limits
from wad.errors import Verdict
from wad.models import MessageId, MessageState, OutboundMessage, SessionId, StatusUpdate, new_rev

SHOP = SessionId("shop")


async def stored(house: House, message_id: MessageId) -> OutboundMessage:
    message = await house.store().message(message_id)
    assert message is not None
    return message


def never_heard_of() -> Behaviour:
    """It did not arrive, and nobody knows."""
    return failing(refusal(Verdict.UNKNOWN, "timeout"))


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_lost_answer_is_asked_for_again_under_the_same_id(
    autojump_clock: MockClock, arrived: bool
) -> None:
    """Whether it had arrived or not, the recipient sees it once; the history tells of it, and nothing is unknown."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["*"] = [lost_answer(socket) if arrived else never_heard_of()]
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(5)
        message = await stored(house, sent.message_id)
        assert [step.state.value for step in message.history] == [
            "queued", "sending", "queued", "sending", "accepted",
        ]  # fmt: skip
        assert message.history[2].note == "it may have gone out: resent under the same id"
        assert (message.attempts, message.maybe_duplicate) == (2, False)
        assert message.provider_message_id == own_id(sent)
    assert socket.seen == ["hola"]
    assert len(socket.ledger) == (2 if arrived else 1)


@pytest.mark.parametrize("arrived", [True, False])
async def test_what_a_killed_process_had_in_the_air_is_resent_by_the_next(
    autojump_clock: MockClock, arrived: bool
) -> None:
    """The row says `sending`: nobody saw its end. Under the same id it may go again."""
    socket = SocketProvider()
    house = House(world=socket)

    async def killed(message: OutboundMessage) -> None:
        if arrived:
            socket.ledger.append(message)
        await hang(message)

    socket.script["*"] = [killed]
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
        in_the_air = await stored(house, sent.message_id)
        assert in_the_air.state is MessageState.SENDING
    left = await stored(house, sent.message_id)  # by a stop, which could write what it knew; a kill cannot
    killed_there = msgspec.structs.replace(in_the_air, rev=new_rev())
    assert await house.store().save_message(left, killed_there)
    async with house.run() as sessions:
        await trio.sleep(5)
        message = await stored(house, sent.message_id)
        assert [step.state.value for step in message.history] == [
            "queued", "sending", "queued", "sending", "accepted",
        ]  # fmt: skip
    assert socket.seen == ["hola"]


async def test_what_a_stop_cut_off_is_resent_by_the_next_life(autojump_clock: MockClock) -> None:
    """A stop that ran out of grace has time to write what it knows."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["*"] = [hang]
    async with house.run(grace=2) as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
    assert (await stored(house, sent.message_id)).state is MessageState.QUEUED
    async with house.run() as sessions:
        await trio.sleep(5)
    assert socket.seen == ["hola"]


async def test_its_chat_waits_for_it(autojump_clock: MockClock) -> None:
    """What comes later in the chat does not overtake a message that is being resent; other chats go on."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["+5215512345678"] = [never_heard_of(), never_heard_of()]
    async with house.run() as sessions:
        await paired(house, sessions)
        for body in ("first", "second"):
            await sessions.messages.send(draft(body))
        await sessions.messages.send(draft("elsewhere", to="+5215500000077"))
        await trio.sleep(30)
    assert socket.seen == ["elsewhere", "first", "second"]


async def test_attempts_that_run_out_leave_it_unknown(autojump_clock: MockClock) -> None:
    """Not `failed`: nobody knows whether it went out. A dead letter, once."""
    socket = SocketProvider()
    house = House(world=socket, limits=Limits(max_attempts=3))
    socket.script["*"] = [never_heard_of()] * 10
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(3600)
        message = await stored(house, sent.message_id)
        assert (message.state, message.dead, message.attempts) == (MessageState.UNKNOWN, True, 3)
        assert message.error is not None
        assert message.error.code == "timeout"
        assert len(await house.store().dead_letters()) == 1
        assert len(socket.script["*"]) == 7


async def test_it_is_not_resent_once_it_is_too_old(autojump_clock: MockClock) -> None:
    """`expiresAt` holds for it as for any other; what came of it is unknown."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["*"] = [never_heard_of()] * 100
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft(expires_at=now() + timedelta(seconds=20)))).message
        await trio.sleep(3600)
        message = await stored(house, sent.message_id)
        assert (message.state, message.dead) == (MessageState.UNKNOWN, True)


async def test_a_status_that_comes_while_it_waits_is_joined_once_it_is_accepted(
    autojump_clock: MockClock,
) -> None:
    """The recipient's receipt may be faster than our second attempt."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["*"] = [lost_answer(socket)]
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(0.5)
        receipt = StatusUpdate(provider_message_id=own_id(sent), state=MessageState.DELIVERED, at=now())
        await sessions.actors.get(SHOP).received([receipt])
        await trio.sleep(5)
        assert (await stored(house, sent.message_id)).state is MessageState.DELIVERED


async def test_a_dead_letter_is_retried_under_the_same_id(autojump_clock: MockClock) -> None:
    """The provider knows it by that, and tells of it by that."""
    socket = SocketProvider()
    house = House(world=socket)
    socket.script["*"] = [failing(refusal(Verdict.REJECTED, "refused"))]
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
        await sessions.messages.retry_dead_letter(sent.message_id)
        await trio.sleep(5)
        message = await stored(house, sent.message_id)
        assert (message.state, message.provider_message_id) == (MessageState.ACCEPTED, own_id(sent))
        receipt = StatusUpdate(provider_message_id=own_id(sent), state=MessageState.READ, at=now())
        await sessions.actors.get(SHOP).received([receipt])
        assert (await stored(house, sent.message_id)).state is MessageState.READ
