"""A breaker that a person isolates: nothing leaves until a person closes it, whatever happens meanwhile."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.house import House, draft, shop
from tests.simulated import failing, refusal
from wad.actors.breaker import MIN_CALLS
from wad.errors import Verdict
from wad.events import BreakerChanged, BreakerSet, SessionStateChanged
from wad.models import MessageState, Reason, SessionId, SessionState, Status

SHOP = SessionId("shop")
FOREVER = 1000  # seconds


def told(status: Status) -> tuple[SessionState, str | None, str]:
    return status.state, status.reason.code if status.reason else None, status.breaker


ISOLATED = (SessionState.DEGRADED, "breaker_isolated", "isolated")


async def test_an_isolated_session_takes_messages_and_sends_none(autojump_clock: MockClock) -> None:
    """They keep their place, and no attempt is counted; closed, they go in their order."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        assert told(await sessions.isolate(SHOP, by="ops")) == ISOLATED
        sent = [(await sessions.messages.send(draft(body))).message for body in ("one", "two")]
        await trio.sleep(FOREVER)
        assert house.world.ledger == []
        waiting = await house.store().message(sent[0].message_id)
        assert waiting is not None
        assert (waiting.state, waiting.attempts) == (MessageState.QUEUED, 0)
        status = await sessions.close_breaker(SHOP, by="ops")
        assert told(status) == (SessionState.CONNECTED, None, "closed")
        await trio.sleep(1)
    assert house.world.bodies() == ["one", "two"]


async def test_whatever_it_was_about_to_send_goes_once_it_is_closed(autojump_clock: MockClock) -> None:
    """Isolated at any step between the send and the wire, the message waits, and not for a time that nobody knows."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        for steps in range(12):
            await sessions.messages.send(draft(str(steps)))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            sessions.actors.get(SHOP).outbox.isolate()  # at this very step
            await trio.sleep(60)
            await sessions.close_breaker(SHOP, by="ops")
            await trio.sleep(60)
    assert house.world.bodies() == [str(steps) for steps in range(12)]


async def test_isolation_outlives_a_restart_and_new_credentials(autojump_clock: MockClock) -> None:
    """A person said so, and only a person takes it back."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.isolate(SHOP, by="ops")
    async with house.run() as sessions:
        await sessions.messages.send(draft())
        await trio.sleep(5)
        assert told(sessions.status(SHOP)) == ISOLATED
        await sessions.update(SHOP, credentials={"key": "new"}, settings={"rate": 5.0})
        await trio.sleep(FOREVER)
        assert told(sessions.status(SHOP)) == ISOLATED
        assert house.world.ledger == []
        await sessions.close_breaker(SHOP, by="ops")
        await trio.sleep(1)
        assert house.world.bodies() == ["hola"]
    async with house.run() as sessions:
        await trio.sleep(5)
        assert told(sessions.status(SHOP)) == (SessionState.CONNECTED, None, "closed")


async def test_closing_ends_what_failing_calls_began(autojump_clock: MockClock) -> None:
    """A person who knows that the provider is back need not wait; and new credentials know nothing of the old."""
    house = House()
    down = [failing(refusal(Verdict.NOT_SENT, health=True))] * MIN_CALLS
    async with house.run() as sessions:
        await shop(sessions)
        house.world.script["*"] += down
        for number in range(MIN_CALLS):
            await sessions.messages.send(draft(to=f"+52155000000{number:02}"))
        await wait_all_tasks_blocked()
        await trio.sleep(0.5)
        assert told(sessions.status(SHOP)) == (SessionState.DEGRADED, "breaker_open", "open")
        assert sessions.status(SHOP).breaker == "open"
        await sessions.close_breaker(SHOP, by="ops")
        assert sessions.status(SHOP).breaker == "closed"
        await trio.sleep(3)
    assert len(house.world.ledger) == MIN_CALLS


async def test_another_account_begins_with_a_closed_breaker(autojump_clock: MockClock) -> None:
    """What spoke against the old credentials' account does not hold the new one's sends."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        house.world.script["*"] += [failing(refusal(Verdict.NOT_SENT, health=True))] * MIN_CALLS
        for number in range(MIN_CALLS):
            await sessions.messages.send(draft(to=f"+52155000000{number:02}"))
        await trio.sleep(0.5)
        assert sessions.status(SHOP).breaker == "open"
        await sessions.update(SHOP, credentials={"key": "new"})
        assert sessions.status(SHOP).breaker == "closed"


async def test_it_is_told_who_did_it(autojump_clock: MockClock) -> None:
    """One fact for the log, with the token's name; and the session's state, for whoever listens, if it changed."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        house.facts.clear()
        for _ in range(2):
            await sessions.isolate(SHOP, by="night-shift")
        assert [(fact.state, fact.by) for fact in house.facts_of(BreakerSet)] == [
            ("isolated", "night-shift"),
            ("isolated", "night-shift"),
        ]
        assert [(fact.previous, fact.state) for fact in house.facts_of(BreakerChanged)] == [
            ("closed", "isolated")
        ]
        [change] = house.facts_of(SessionStateChanged)
        assert change.status.reason == Reason(
            "breaker_isolated", "sends are held until somebody closes the breaker", needs_person=True
        )


async def test_another_session_of_the_account_goes_on(autojump_clock: MockClock) -> None:
    """Each has a breaker of its own."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await shop(sessions, "other")
        await sessions.isolate(SHOP, by="ops")
        await sessions.messages.send(draft(session_id="other"))
        await trio.sleep(1)
    assert house.world.bodies() == ["hola"]
