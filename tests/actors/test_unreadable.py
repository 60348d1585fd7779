"""A message whose bytes are not those that were written: nobody can send it, and it holds up nobody."""

from __future__ import annotations

from datetime import timedelta

import trio
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from wad.models import MessageState, SessionId


async def test_what_cannot_be_read_ends_as_a_dead_letter_and_the_rest_goes_out(
    autojump_clock: MockClock,
) -> None:
    """No actor crashes over it; what stands behind it in its chat leaves."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        spoilt = (await sessions.messages.send(draft(send_at=now() + timedelta(hours=1)))).message
    row = house._engine._tables["messages"].by_key[spoilt.message_id]
    row["body"] = bytes(len(row["body"]))
    async with house.run() as sessions:
        actor = sessions.actors.get(SessionId("shop"))
        await trio.sleep(3700)
        after = (await sessions.messages.send(draft("after it"))).message
        await trio.sleep(5)
        assert actor.status().restarts == 0
    stored = await house.store().messages([spoilt.message_id, after.message_id])
    ended, sent = stored[spoilt.message_id], stored[after.message_id]
    assert (ended.state, ended.dead, ended.error and ended.error.code) == (
        MessageState.FAILED,
        True,
        "unreadable",
    )
    assert sent.state is MessageState.ACCEPTED
    assert [message.message_id for message in house.world.ledger] == [after.message_id]
