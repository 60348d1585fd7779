"""A message that has not left yet says why, and until when where anybody knows."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from tests.simulated import failing, hang, refusal
from wad.actors.limiter import PAIR_BURST
from wad.actors.services import Limits
from wad.errors import ProviderError, Scope, Verdict
from wad.models import MessageId, SessionId, Waiting
from wad.supervisor.sessions import Sessions

SHOP = SessionId("shop")


async def waiting(house: House, sessions: Sessions, message_id: MessageId) -> Waiting | None:
    message = await house.store().message(message_id)
    assert message is not None
    return sessions.messages.waiting(message)


async def sent(sessions: Sessions, body: str = "hola", **more: object) -> MessageId:
    return (await sessions.messages.send(draft(body, **more))).message.message_id  # type: ignore[arg-type]


async def test_the_time_that_was_asked_for(autojump_clock: MockClock) -> None:
    """`scheduled`, until then."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        due = now() + timedelta(hours=1)
        message = await sent(sessions, send_at=due)
        assert await waiting(house, sessions, message) == Waiting("scheduled", due, "sendAt has not come")
        await trio.sleep(3601)
        assert await waiting(house, sessions, message) is None


async def test_a_retry_and_what_stands_behind_it(autojump_clock: MockClock) -> None:
    """`retry` tells the error and the time of the next attempt; `chat` names what goes first."""
    house = House()
    house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "number_in_maintenance", retry_after=60.0))]
    async with house.run() as sessions:
        await shop(sessions)
        first = await sent(sessions)
        second = await sent(sessions)
        failed = now()
        await trio.sleep(1)
        held = await waiting(house, sessions, first)
        assert held is not None
        assert (held.reason, held.until) == ("retry", failed + timedelta(seconds=60))
        assert held.detail == "after number_in_maintenance: scripted not_sent"
        behind = await waiting(house, sessions, second)
        assert behind == Waiting("chat", None, f"{first} of the same chat goes first")


async def test_one_that_is_in_the_air(autojump_clock: MockClock) -> None:
    """It waits for nothing; what comes after it in the chat waits for it."""
    house = House()
    house.world.script["*"] = [hang]
    async with house.run(grace=1) as sessions:
        await shop(sessions)
        first, second = await sent(sessions), await sent(sessions)
        await trio.sleep(1)
        assert await waiting(house, sessions, first) is None
        behind = await waiting(house, sessions, second)
        assert behind == Waiting("chat", None, "another message of the same chat is being sent")


async def test_the_limit_of_one_recipient(autojump_clock: MockClock) -> None:
    """wad's own count, until it is repaid far enough."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        messages = [await sent(sessions) for _ in range(PAIR_BURST + 1)]
        await trio.sleep(3)
        held = await waiting(house, sessions, messages[-1])
        assert held is not None
        assert held.until is not None
        assert (held.reason, 0 < (held.until - now()).total_seconds() < 6) == ("pair_rate", True)


THROTTLES = [
    pytest.param(Scope.ACCOUNT, "paused", id="the account"),
    pytest.param(Scope.PAIR, "pair_delayed", id="one recipient"),
]


@pytest.mark.parametrize(("scope", "reason"), THROTTLES)
async def test_a_pause_that_the_provider_asked_for(
    autojump_clock: MockClock, scope: Scope, reason: str
) -> None:
    """For as long as it asked; the retry is due no later."""
    house = House()
    throttle = refusal(Verdict.THROTTLED, "throttled", scope=scope, retry_after=900.0)
    house.world.script["*"] = [failing(throttle)]
    async with house.run() as sessions:
        await shop(sessions)
        message = await sent(sessions)
        asked = now()
        await trio.sleep(5)
        held = await waiting(house, sessions, message)
        assert held is not None
        assert held.until == asked + timedelta(seconds=900)
        assert held.reason == reason


async def test_a_session_that_may_not_send(autojump_clock: MockClock) -> None:
    """Isolated, being tried, in need of a person, or disconnected: in these words."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.isolate(SHOP, by="ops")
        message = await sent(sessions)
        told = []

        async def look() -> None:
            held = await waiting(house, sessions, message)
            told.append(held and (held.reason, held.until is not None))

        await look()
        house.world.connects[SHOP] = [refusal(Verdict.NOT_SENT, "provider_unreachable")] * 20
        await sessions.update(SHOP, credentials={"key": "new"})
        await sessions.close_breaker(SHOP, by="ops")
        await trio.sleep(1)
        await look()
        person: list[ProviderError] = [refusal(Verdict.NEEDS_PERSON, "bad_credentials")]
        house.world.connects[SHOP] = list(person)
        await sessions.connect(SHOP, wait=5)
        await look()
        await sessions.disconnect(SHOP, wait=5)
        await look()
        await sessions.connect(SHOP, wait=5)
        await trio.sleep(1)
        await look()
    assert told == [
        ("breaker_isolated", False),
        ("not_connected", True),
        ("needs_person", False),
        ("disconnected", False),
        None,
    ]


async def test_more_than_the_number_may_send(autojump_clock: MockClock) -> None:
    """Its rate, or its turn among the session's others."""
    house = House(limits=Limits(send_concurrency=1))
    async with house.run() as sessions:
        await shop(sessions, rate=1.0, burst=1)
        messages = [await sent(sessions, to=f"+52155000000{number:02}") for number in range(3)]
        await trio.sleep(0.5)
        held = await waiting(house, sessions, messages[-1])
        assert held is not None
        assert held.reason == "rate"
