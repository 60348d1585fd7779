"""Waiting for what becomes of a message: as long as it may still become something by itself."""

import trio
from trio.testing import MockClock

from tests.house import House, draft, shop
from tests.simulated import failing, refusal
from wad.errors import Verdict
from wad.models import MessageState, SessionId


async def test_nobody_waits_for_a_session_that_waits_for_a_person(autojump_clock: MockClock) -> None:
    """The message is back in its queue, and only somebody else's act will move it: the caller is told at once."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        house.world.script["*"] = [failing(refusal(Verdict.NEEDS_PERSON, "bad_credentials"))]
        sent = await sessions.messages.send(draft())
        before = trio.current_time()
        message = await sessions.messages.wait_for(sent.message, 25)
        assert message.state is MessageState.QUEUED
        assert trio.current_time() == before


async def test_who_waits_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """Whether the message came to its end, or the wait did, or several waited for the same."""
    house = House()
    house.world.latency = 2.0
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        seen: list[MessageState] = []

        async def wait(seconds: float) -> None:
            seen.append((await sessions.messages.wait_for(sent, seconds)).state)

        async with trio.open_nursery() as nursery:
            for seconds in (1, 10, 10):
                nursery.start_soon(wait, seconds)
        assert seen == [MessageState.SENDING, MessageState.ACCEPTED, MessageState.ACCEPTED]
        outbox = sessions.actors.get(SessionId("shop")).outbox
        assert not outbox.moves._waiting
        assert not outbox.moves._watchers
