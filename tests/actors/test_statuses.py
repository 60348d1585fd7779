"""Statuses move a message forward only, settle what was in doubt, and wait for a message not known yet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from tests.simulated import lost_answer
from wad.errors import StoreUnavailable
from wad.events import MessageMoved
from wad.models import MessageId, MessageState, OutboundMessage, SessionId, StatusUpdate
from wad.store.base import Result, Write
from wad.store.store import Retention
from wad.supervisor.sessions import Sessions


def status(
    state: MessageState, *, provider_id: str = "p-1", message_id: MessageId | None = None
) -> StatusUpdate:
    return StatusUpdate(provider_message_id=provider_id, message_id=message_id, state=state, at=now())


async def receive(sessions: Sessions, *statuses: StatusUpdate) -> None:
    await sessions.actors.get(SessionId("shop")).received(statuses)


async def stored(house: House, message_id: MessageId) -> OutboundMessage:
    message = await house.store().message(message_id)
    assert message is not None
    return message


STEPS = (MessageState.SENT, MessageState.DELIVERED, MessageState.READ)


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
@pytest.mark.parametrize("together", [True, False])
async def test_any_order_ends_in_the_furthest_state(
    autojump_clock: MockClock, order: tuple[MessageState, ...], together: bool
) -> None:
    """Disorder is normal: the state never goes back, in one batch or in three, once or twice."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await sessions.messages.wait_for(sent, 10)
        provider_id = (await stored(house, sent.message_id)).provider_message_id
        assert provider_id is not None
        updates = [status(state, provider_id=provider_id) for state in order]
        for _ in range(2):
            if together:
                await receive(sessions, *updates)
            else:
                for update in updates:
                    await receive(sessions, update)
        message = await stored(house, sent.message_id)
        assert message.state is MessageState.READ
        seen = [step.state for step in message.history]
        assert seen == sorted(seen, key=list(MessageState).index)
        assert len(seen) == len(set(seen))


async def test_a_status_with_our_id_settles_what_was_in_doubt(autojump_clock: MockClock) -> None:
    """The answer was lost, the status proves that the provider has it: accepted after all, and never sent again."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(30)
        assert (await stored(house, sent.message_id)).state is MessageState.UNKNOWN
        await receive(sessions, status(MessageState.SENT, provider_id="p-9", message_id=sent.message_id))
        await trio.sleep(1000)
        message = await stored(house, sent.message_id)
        assert (message.state, message.provider_message_id, message.dead) == (MessageState.SENT, "p-9", False)
        assert await house.store().dead_letters() == []
    assert len(house.world.ledger) == 1


async def test_who_hangs_up_while_a_status_is_written_keeps_nobody_from_hearing_of_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brought again it moves nothing any more, so what was written is told the first time."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await sessions.messages.wait_for(sent, 10)
        write = house._engine.write

        async def slow(writes: Sequence[Write]) -> list[Result]:
            await trio.sleep(1)
            return await write(writes)

        monkeypatch.setattr(house._engine, "write", slow)
        with trio.move_on_after(0.5):
            await receive(sessions, status(MessageState.SENT, message_id=sent.message_id))
        assert (await stored(house, sent.message_id)).state is MessageState.SENT
        assert [fact.message.state for fact in house.facts_of(MessageMoved)][-1] is MessageState.SENT


async def test_a_status_that_the_store_took_without_saying_so_is_told_when_it_comes_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bringer was refused and brings it again; it moves nothing then, and has still to be heard of."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await sessions.messages.wait_for(sent, 10)
        write = house._engine.write

        async def silent(writes: Sequence[Write]) -> list[Result]:
            await write(writes)
            raise StoreUnavailable("no answer")

        told = status(MessageState.SENT, message_id=sent.message_id)
        monkeypatch.setattr(house._engine, "write", silent)
        with pytest.raises(StoreUnavailable):
            await receive(sessions, told)
        monkeypatch.setattr(house._engine, "write", write)
        assert (await stored(house, sent.message_id)).state is MessageState.SENT
        for _ in range(2):
            await receive(sessions, told)
        states = [fact.message.state for fact in house.facts_of(MessageMoved)]
        assert states.count(MessageState.SENT) == 1


async def test_proof_that_comes_late_takes_a_dead_letter_back(autojump_clock: MockClock) -> None:
    """After the window it was given up as unknown; the truth still counts."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(700)
        assert (await stored(house, sent.message_id)).dead
        await receive(sessions, status(MessageState.DELIVERED, message_id=sent.message_id))
        message = await stored(house, sent.message_id)
        assert (message.state, message.dead) == (MessageState.DELIVERED, False)


async def test_a_status_before_the_answer_waits_for_it(autojump_clock: MockClock) -> None:
    """Without our id in it, an early status is parked under the provider's, across a restart as well."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, status(MessageState.DELIVERED, provider_id="p-early"))
    async with house.run() as sessions:
        await trio.sleep(1)
        house.world.next_id = "p-early"
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
        message = await stored(house, sent.message_id)
        assert [step.state for step in message.history] == ["queued", "sending", "accepted", "delivered"]
        assert await house.store().parked("shop") == set()


async def test_a_status_of_somebody_elses_message_is_forgotten_in_time(
    autojump_clock: MockClock,
) -> None:
    """Another application sends from the same number: its statuses never find a message, and do not pile up."""
    house = House()
    async with house.run() as sessions, trio.open_nursery() as nursery:
        await shop(sessions)
        nursery.start_soon(sessions.look_after, Retention())
        parked = sessions.actors.get(SessionId("shop")).statuses
        await receive(sessions, *(status(MessageState.READ, provider_id=f"p-{n}") for n in range(50)))
        await trio.sleep(2 * 86400)
        await receive(sessions, status(MessageState.SENT, provider_id="p-later"))
        assert len(parked._parked) == 51
        await trio.sleep(1.5 * 86400)
        assert parked._parked.keys() == {"p-later"}
        nursery.cancel_scope.cancel()


async def test_a_restart_joins_what_a_crash_left_apart(autojump_clock: MockClock) -> None:
    """The status came before the answer; wad recorded the answer, and died before it could join the two."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await sessions.messages.wait_for(sent, 10)
        provider_id = (await stored(house, sent.message_id)).provider_message_id
        assert provider_id is not None
        early = status(MessageState.DELIVERED, provider_id=provider_id)
        house.die()
    await house.store().park("shop", [early])
    async with house.run():
        await trio.sleep(60)
        assert (await stored(house, sent.message_id)).state is MessageState.DELIVERED
        assert await house.store().parked("shop") == set()


async def test_a_status_that_overtakes_the_answer_is_not_undone_by_it(autojump_clock: MockClock) -> None:
    """The webhook arrives while the send is still waiting for its response: the state stays ahead."""
    house = House()
    house.world.latency = 5.0
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
        assert (await stored(house, sent.message_id)).state is MessageState.SENDING
        await receive(sessions, status(MessageState.DELIVERED, provider_id="p-x", message_id=sent.message_id))
        await trio.sleep(10)
        message = await stored(house, sent.message_id)
        assert message.state is MessageState.DELIVERED
        assert sessions.status(SessionId("shop")).queue.depth == 0


async def test_a_failure_after_acceptance_is_a_dead_letter_but_not_after_delivery(
    autojump_clock: MockClock,
) -> None:
    """`failed` counts until the message is known to have arrived."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        for first, expected in (
            (MessageState.SENT, MessageState.FAILED),
            (MessageState.DELIVERED, MessageState.DELIVERED),
        ):
            sent = (await sessions.messages.send(draft())).message
            await trio.sleep(1)
            await receive(sessions, status(first, message_id=sent.message_id))
            await receive(sessions, status(MessageState.FAILED, message_id=sent.message_id))
            message = await stored(house, sent.message_id)
            assert message.state is expected
            assert message.dead is (expected is MessageState.FAILED)


async def test_another_sessions_message_cannot_be_moved(autojump_clock: MockClock) -> None:
    """Our id echoed to a number that did not send it moves nothing."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await shop(sessions, "other")
        sent = (await sessions.messages.send(draft(session_id="other"))).message
        await trio.sleep(1)
        await receive(sessions, status(MessageState.READ, message_id=sent.message_id))
        assert (await stored(house, sent.message_id)).state is MessageState.ACCEPTED


async def test_a_retried_message_is_not_moved_by_what_became_of_its_former_attempt(
    autojump_clock: MockClock,
) -> None:
    """Our id comes back with the statuses of every attempt: one that failed is told of again, and means nothing now.

    Before the retry has its turn, while it is in the air, and once it is accepted; its own statuses count.
    """
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await sessions.messages.wait_for(sent, 10)
        former = (await stored(house, sent.message_id)).provider_message_id
        assert former is not None

        async def hear_of_the_former() -> None:
            for state in (MessageState.FAILED, MessageState.SENT):
                await receive(sessions, status(state, provider_id=former, message_id=sent.message_id))

        await receive(sessions, status(MessageState.FAILED, provider_id=former, message_id=sent.message_id))
        assert (await stored(house, sent.message_id)).dead
        house.world.latency = 5.0
        sessions.actors.get(SessionId("shop")).outbox.allow(False)
        await sessions.messages.retry_dead_letter(sent.message_id)
        await hear_of_the_former()
        assert (await stored(house, sent.message_id)).state is MessageState.QUEUED
        sessions.actors.get(SessionId("shop")).outbox.allow(True)
        await trio.sleep(2)
        await hear_of_the_former()
        assert (await stored(house, sent.message_id)).state is MessageState.SENDING
        await trio.sleep(5)
        await hear_of_the_former()
        message = await stored(house, sent.message_id)
        assert message.state is MessageState.ACCEPTED
        own = message.provider_message_id
        assert own not in (None, former)
        await receive(
            sessions, status(MessageState.DELIVERED, provider_id=str(own), message_id=sent.message_id)
        )
        assert (await stored(house, sent.message_id)).state is MessageState.DELIVERED
    assert len(house.world.ledger) == 2


async def test_a_failure_of_one_of_two_attempts_waits_until_it_is_known_whose_it_is(
    autojump_clock: MockClock,
) -> None:
    """Of the first nobody knows the provider's id: its answer was lost. A person retried it."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1000)
        assert (await stored(house, sent.message_id)).dead
        house.world.latency = 5.0
        house.world.next_id = "p-second"
        await sessions.messages.retry_dead_letter(sent.message_id)
        await trio.sleep(1)
        for provider_id in ("p-first", "p-second"):
            failed = status(MessageState.FAILED, provider_id=provider_id, message_id=sent.message_id)
            await receive(sessions, failed)
            assert (await stored(house, sent.message_id)).state is MessageState.SENDING
        await trio.sleep(10)
        message = await stored(house, sent.message_id)
        assert (message.state, message.provider_message_id) == (MessageState.FAILED, "p-second")


async def test_a_late_failure_of_the_first_attempt_does_not_undo_the_second(
    autojump_clock: MockClock,
) -> None:
    """Once the second is accepted, its id tells them apart."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1000)
        await sessions.messages.retry_dead_letter(sent.message_id)
        await trio.sleep(5)
        await receive(
            sessions, status(MessageState.FAILED, provider_id="p-first", message_id=sent.message_id)
        )
        assert (await stored(house, sent.message_id)).state is MessageState.ACCEPTED
