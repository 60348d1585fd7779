"""What surely did not go out is tried again: when, how often, and what is left of it all at the end."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from statistics import mean

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from tests.simulated import failing, refusal
from wad.actors.retry import RETRY_AFTER
from wad.errors import Verdict
from wad.models import MessageState, OutboundMessage

NOT_SENT = refusal(Verdict.NOT_SENT, "number_in_maintenance")


async def worn_out(seed: int, **settings: object) -> OutboundMessage:
    """A message that never went out, at its end."""
    house = House(seed=seed)
    house.world.script["*"] = [failing(NOT_SENT)] * 100
    async with house.run() as sessions:
        await shop(sessions, **settings)
        message = (await sessions.messages.send(draft())).message.message_id
        await trio.sleep(25 * 3600)
    found = await house.store().message(message)
    assert found is not None
    return found


def waits_of(message: OutboundMessage) -> list[float]:
    """Seconds between each failure and the attempt after it; the history tells both, and when that was due."""
    steps = message.history
    found = []
    for failed, tried in pairwise(steps):
        if failed.state is MessageState.QUEUED and failed.error is not None:
            assert tried.state is MessageState.SENDING
            assert failed.due_at is not None
            assert timedelta(0) <= tried.at - failed.due_at < timedelta(milliseconds=1)
            found.append((failed.due_at - failed.at).total_seconds())
    return found


async def test_pauses_grow_and_no_two_messages_come_back_together(autojump_clock: MockClock) -> None:
    """Full jitter: each from half a second to twice its average, all over that range."""
    pauses = [waits_of(await worn_out(seed, retry={"maxAttempts": 13})) for seed in range(12)]
    assert {len(each) for each in pauses} == {12}
    averages = [RETRY_AFTER[min(n, len(RETRY_AFTER) - 1)] for n in range(12)]
    for average, tried in zip(averages, zip(*pauses, strict=True), strict=True):
        assert all(0.5 <= pause <= 2 * average for pause in tried)
        assert len(set(tried)) == len(tried)
    shares = [pause / average for each in pauses for pause, average in zip(each, averages, strict=True)]
    assert 0.8 < mean(shares) < 1.3
    assert min(shares) < 0.3
    assert max(shares) > 1.7


BOUNDS = [
    pytest.param({"maxAttempts": 3}, MessageState.FAILED, 3, "gave up: too many attempts", id="by attempts"),
    pytest.param({"maxAge": 60}, MessageState.EXPIRED, None, None, id="by age"),
]


@pytest.mark.parametrize(("retry", "state", "attempts", "note"), BOUNDS)
async def test_it_ends_as_a_dead_letter_that_tells_everything(
    autojump_clock: MockClock,
    retry: dict[str, float],
    state: MessageState,
    attempts: int | None,
    note: str | None,
) -> None:
    """Each attempt, its error and its wait; and why there is no other one."""
    message = await worn_out(1, retry=retry)
    assert (message.state, message.dead) == (state, True)
    last = message.history[-1]
    assert (last.state, last.note, last.error and last.error.code) == (state, note, "number_in_maintenance")
    tries = [step for step in message.history if step.state is MessageState.SENDING]
    assert len(tries) == message.attempts == (attempts or message.attempts)
    assert len(waits_of(message)) == message.attempts - 1
    if state is MessageState.EXPIRED:
        assert last.at < message.expires_at == message.created_at + timedelta(seconds=60)


async def test_a_provider_may_ask_for_an_hour_and_for_no_more(autojump_clock: MockClock) -> None:
    """`Retry-After`; and what waits so long holds nobody of its chat."""
    house = House()
    house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "busy", retry_after=9999.0))]
    async with house.run() as sessions:
        await shop(sessions)
        first = (await sessions.messages.send(draft("first"))).message.message_id
        await trio.sleep(1)
        asked = now() - timedelta(seconds=1)
        await sessions.messages.send(draft("second"))
        await trio.sleep(1)
        assert house.world.bodies() == ["second"]
        held = await house.store().message(first)
        assert held is not None
        assert held.due_at == asked + timedelta(seconds=3600)
        await trio.sleep(3600)
        assert house.world.bodies() == ["second", "first"]
