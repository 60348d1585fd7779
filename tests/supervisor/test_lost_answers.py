"""The store fails over what a person asks of a dead letter: they are told 503, and what is on disk takes its way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.actors.test_inbox import FlowService, house_with, message, receive
from tests.house import House, draft, shop
from tests.simulated import failing, refusal
from tests.supervisor.test_hanging_up import hang_up
from wad import failpoints
from wad.errors import StoreUnavailable, Verdict
from wad.models import MessageId, MessageState, Priority, SessionId
from wad.supervisor.sessions import Sessions


@pytest.fixture(params=["store.writing", "store.written"], ids=["not written", "written, and nobody heard"])
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The point at which the store fails, once."""
    monkeypatch.setattr(failpoints, "_armed", None)
    return str(request.param)


async def a_dead_letter(house: House, sessions: Sessions, priority: Priority = Priority.NORMAL) -> MessageId:
    house.world.script["*"] = [failing(refusal(Verdict.REJECTED, "bad_recipient"))]
    sent = await sessions.messages.send(draft(priority=priority))
    await trio.sleep(60)
    return sent.message.message_id


async def retry(sessions: Sessions, message_id: MessageId, fault: str) -> None:
    failpoints.arm({failpoints.VARIABLE: f"{fault}:error"})
    with pytest.raises(StoreUnavailable):
        await sessions.messages.retry_dead_letter(message_id)


@pytest.mark.parametrize("priority", Priority)
async def test_a_message_that_is_tried_again_is_sent_though_nobody_heard_that_it_is(
    fault: str, priority: Priority, autojump_clock: MockClock
) -> None:
    """Where it is on disk it goes out; where it is not it is the dead letter that it was. Nothing is left to count."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        message_id = await a_dead_letter(house, sessions, priority)
        await retry(sessions, message_id, fault)
        await trio.sleep(60)
        stored = await house.store().message(message_id)
        assert stored is not None
        was_written = fault == "store.written"
        assert (stored.state, stored.dead) == (
            (MessageState.ACCEPTED, False) if was_written else (MessageState.FAILED, True)
        )
        assert house.world.bodies() == (["hola"] if was_written else [])
        outbox = sessions.actors.get(SessionId("shop")).outbox
        assert outbox.is_idle
        assert outbox.depth == 0


async def test_what_a_customer_wrote_is_delivered_again_though_nobody_heard_that_it_is(
    fault: str, autojump_clock: MockClock
) -> None:
    flow = FlowService()
    flow.answers = [400] * 5
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(3600)
        [dead] = await house.store().dead_letters()
        await retry(sessions, dead.message_id, fault)
        await trio.sleep(60)
        was_written = fault == "store.written"
        assert house.world.bodies() == (["re: hola"] if was_written else [])
        assert len(await house.store().dead_letters()) == int(not was_written)
        assert not len(sessions.actors.get(SessionId("shop")).inbox.lanes)


async def test_a_dead_letter_on_its_way_again_is_sent_though_who_asked_hung_up(
    autojump_clock: MockClock,
) -> None:
    house = House()
    cancelled = 0
    async with house.run() as sessions:
        await shop(sessions)
        for step in [*range(12)] * 3:
            message_id = await a_dead_letter(house, sessions)
            cancelled += await hang_up(step, lambda m=message_id: sessions.messages.retry_dead_letter(m))
            await trio.sleep(60)
            stored = await house.store().message(message_id)
            assert stored is not None
            assert stored.dead or stored.state is MessageState.ACCEPTED
    assert 1 < cancelled < 36
