"""What a stop writes back: the last state of every session, though it was not written at once."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.house import House, draft, shop
from tests.simulated import failing, hang, refusal
from wad.errors import Verdict
from wad.models import SessionId, SessionState


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_state_that_was_not_written_yet_is_written_by_a_stop(
    hangs: bool, autojump_clock: MockClock
) -> None:
    """Also where a send in hand takes all of the grace."""
    house = House()
    async with house.run(grace=1.0) as sessions:
        await shop(sessions)
        if hangs:
            house.world.script["+521"] = [hang]
            await sessions.messages.send(draft(to="+521"))
            await trio.testing.wait_all_tasks_blocked()
        house.world.script["*"] = [failing(refusal(Verdict.NEEDS_PERSON, "bad_credentials"))]
        sent = await sessions.messages.send(draft())
        await sessions.messages.wait_for(sent.message, 5)
        assert sessions.status(SessionId("shop")).state is SessionState.BAD_CREDENTIALS
    stored = await house.store().session("shop")
    assert stored is not None
    assert stored.state is SessionState.BAD_CREDENTIALS
    assert stored.reason is not None
    assert stored.reason.needs_person
    assert stored.phone_number == "+5215500000001"
