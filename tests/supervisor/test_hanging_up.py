"""Whoever asks, or carries what came in, may hang up at any moment: what is on disk by then takes its way all the same."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from tests.actors.test_inbox import FlowService, house_with, message, receive
from tests.house import House, draft, shop
from tests.supervisor.shops import a_shop
from wad.models import Credentials, InboxItem, MessageQuery, OutboundMessage, SessionId
from wad.supervisor.sessions import NewSession

#: After how many steps of the scheduler each caller hangs up: from none to more than one of these calls takes. Several
#: times, for Trio runs what is ready in an order of its own, and a call may be quick.
STEPS = [*range(15)] * 6


async def hang_up(after: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Cancel *call* after so many steps of the scheduler; whether it was still going on then."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            ended = trio.Event()

            async def cancel() -> None:
                for _ in range(after):
                    await trio.lowlevel.checkpoint()
                if not ended.is_set():
                    scope.cancel()

            nursery.start_soon(cancel)
            await call()
            ended.set()
    return scope.cancel_called


async def test_a_message_on_disk_is_sent_though_its_caller_hung_up(autojump_clock: MockClock) -> None:
    house = House()
    cancelled = 0
    async with house.run() as sessions:
        await shop(sessions)
        for step in STEPS:
            cancelled += await hang_up(step, lambda step=step: sessions.messages.send(draft(f"{step}")))
        await trio.sleep(600)
        stored = await house.store().find_messages(MessageQuery(session_id="shop", limit=500))
    assert [each.message_id for each in stored if each.state.value != "accepted"] == []
    assert 1 < cancelled < len(STEPS)
    assert len(stored) > len(STEPS) - cancelled  # of some who hung up the message was on its way to the disk


async def test_what_came_in_is_answered_though_who_carried_it_hung_up(autojump_clock: MockClock) -> None:
    flow = FlowService()
    house = house_with(flow)
    cancelled = 0
    async with house.run() as sessions:
        await shop(sessions)
        for number, step in enumerate(STEPS):
            cancelled += await hang_up(step, lambda n=number: receive(sessions, message(n, f"{n}")))
        await trio.sleep(600)
        stored = await house.store().find_messages(MessageQuery(session_id="shop", limit=500))
    theirs = [each for each in stored if isinstance(each, InboxItem)]
    ours = [each for each in stored if isinstance(each, OutboundMessage)]
    assert {each.state.value for each in theirs} == {"done"}
    assert len(ours) == len(theirs)
    assert 1 < cancelled < len(STEPS)
    assert len(theirs) > len(STEPS) - cancelled


async def test_what_moves_from_a_session_is_sent_though_who_deletes_it_hung_up(
    autojump_clock: MockClock,
) -> None:
    """Whichever of the two sessions has it by then."""
    cancelled = 0
    steps = [*range(35)] * 2
    a, b = SessionId("a"), SessionId("b")
    async with a_shop("a") as numbers:
        for step in steps:
            await numbers.open("b")
            for session in (a, b):
                await numbers.sessions.disconnect(session, wait=10)
            await numbers.sessions.messages.send(draft(f"{step}", session_id=b, queue=True, chosen="weight"))
            cancelled += await hang_up(step, lambda: numbers.sessions.delete(b))
            await numbers.sessions.connect(a, wait=10)
            await trio.sleep(60)
            if b in numbers.sessions.actors:
                await numbers.sessions.delete(b)
        assert numbers.world.went_out() == [("a", f"{step}") for step in steps]
    assert 1 < cancelled < len(steps)


async def test_a_session_lives_or_there_is_none_though_who_created_it_hung_up(
    autojump_clock: MockClock,
) -> None:
    house = House()
    cancelled = 0
    async with house.run() as sessions:
        for number, step in enumerate(STEPS):
            new = NewSession(
                provider="simulated",
                session_id=SessionId(f"{number}"),
                credentials=Credentials(key=f"{number}"),
            )
            cancelled += await hang_up(step, lambda new=new: sessions.create(new))
        await trio.sleep(10)
        stored = [each.session_id async for page in house.store().all_sessions() for each in page]
        assert sorted(stored) == sorted(actor.session.session_id for actor in sessions.actors)
    assert 1 < cancelled < len(STEPS)
    assert len(stored) > len(STEPS) - cancelled
