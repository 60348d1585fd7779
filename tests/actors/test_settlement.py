"""A provider that keeps a list of messages: what may have gone out is looked for in it, and nothing is guessed."""

from __future__ import annotations

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, shop
from tests.simulated import Behaviour, ListingProvider, failing, hang, lost_answer, refusal
from wad.actors.services import Limits
from wad.actors.settlement import LOOK_AFTER
from wad.errors import Verdict
from wad.models import MessageId, MessageState, OutboundMessage, SessionId, StatusUpdate, new_rev
from wad.store.store import Retention
from wad.supervisor.sessions import Sessions

SHOP = SessionId("shop")
WINDOW = Limits().settle_window.total_seconds()


async def stored(house: House, message_id: MessageId) -> OutboundMessage:
    message = await house.store().message(message_id)
    assert message is not None
    return message


def never_heard_of() -> Behaviour:
    """It did not arrive, and nobody knows."""
    return failing(refusal(Verdict.UNKNOWN, "timeout"))


async def in_doubt(house: House, sessions: Sessions, *, arrived: bool, body: str = "hola") -> MessageId:
    assert isinstance(house.world, ListingProvider)
    house.world.script["*"] = [lost_answer(house.world) if arrived else never_heard_of()]
    sent = (await sessions.messages.send(draft(body))).message
    await trio.sleep(1)
    assert (await stored(house, sent.message_id)).state is MessageState.UNKNOWN
    return sent.message_id


def states(message: OutboundMessage) -> list[str]:
    return [step.state.value for step in message.history]


async def test_what_the_list_shows_was_accepted(autojump_clock: MockClock) -> None:
    """Half a minute later: long before the window for proof is over. It is not sent again."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(LOOK_AFTER)
        message = await stored(house, sent)
        assert states(message) == ["queued", "sending", "unknown", "accepted"]
        assert message.provider_message_id == f"p-1-{sent[-6:]}"
        assert (message.history[-1].note, message.due_at, message.dead) == ("found in the list", None, False)
        assert world.looks == [message.history[1].at]
        await trio.sleep(2 * WINDOW)
    assert len(world.looks) == len(world.ledger) == 1


async def test_a_list_that_lags_is_looked_at_once_more(autojump_clock: MockClock) -> None:
    """At the end of the window."""
    house = House(world=(world := ListingProvider()))
    world.shows_from = 300.0
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(LOOK_AFTER)
        assert (await stored(house, sent)).state is MessageState.UNKNOWN
        await trio.sleep(WINDOW)
        assert (await stored(house, sent)).state is MessageState.ACCEPTED
    assert len(world.looks) == 2


async def test_what_the_list_does_not_show_stays_unknown(autojump_clock: MockClock) -> None:
    """It is no proof that it did not go out, so it is not sent again; the dead letter says what was seen."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=False)
        await trio.sleep(WINDOW + 1)
        message = await stored(house, sent)
        assert (message.state, message.dead, message.attempts) == (MessageState.UNKNOWN, True, 1)
        assert message.history[-1].note == "no proof came: the provider's list does not show it"
        assert len(await house.store().dead_letters()) == 1
    assert (len(world.looks), world.ledger) == (2, [])


async def test_two_that_it_may_be_are_none(autojump_clock: MockClock) -> None:
    """Somebody else wrote the same with the same number at the same time: which of them is ours?"""
    house = House(world=(world := ListingProvider()))
    world.others = ["somebody-elses"]
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(WINDOW + 1)
        message = await stored(house, sent)
        assert (message.state, message.dead) == (MessageState.UNKNOWN, True)
        assert message.history[-1].note == (
            "no proof came: the provider's list shows 2 messages that it may be"
        )


async def test_one_that_is_another_message_of_ours_is_not_it(autojump_clock: MockClock) -> None:
    """The same text was sent, and accepted, before and after: their ids are known."""
    house = House(world=ListingProvider())
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.messages.send(draft())
        await trio.sleep(1)
        sent = await in_doubt(house, sessions, arrived=True)
        await sessions.messages.send(draft())
        await trio.sleep(LOOK_AFTER)
        message = await stored(house, sent)
        assert (message.state, message.provider_message_id) == (MessageState.ACCEPTED, f"p-2-{sent[-6:]}")


async def test_two_of_ours_in_doubt_share_no_proof(autojump_clock: MockClock) -> None:
    """Of two equal ones the list shows one: it may be either. Neither is guessed, also once one is given up."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        first = await in_doubt(house, sessions, arrived=False)
        second = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(2 * WINDOW)
        for sent in (first, second):
            message = await stored(house, sent)
            assert (message.state, message.dead) == (MessageState.UNKNOWN, True)
            assert str(message.history[-1].note).endswith("and so may another one in doubt")
        assert len(world.ledger) == 1


async def test_an_attempt_that_was_followed_by_another_is_still_in_doubt(autojump_clock: MockClock) -> None:
    """It was sent again, and that was accepted: what the list shows besides may be its first attempt, or another message."""
    house = House(world=(world := ListingProvider()))
    world.shows_from = WINDOW + 5
    async with house.run() as sessions:
        await shop(sessions, duplicates="at_least_once")
        first = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(WINDOW - 20)
        second = await in_doubt(house, sessions, arrived=False)
        await trio.sleep(LOOK_AFTER + 10)
        assert states(await stored(house, first))[-2:] == ["sending", "accepted"]
        assert len(world.ledger) == 2
        assert (await stored(house, second)).state is MessageState.UNKNOWN


async def test_an_old_doubt_is_no_rival(autojump_clock: MockClock) -> None:
    """One that was given up long ago left nothing in the list of today."""
    house = House(world=ListingProvider())
    async with house.run() as sessions:
        await shop(sessions)
        await in_doubt(house, sessions, arrived=False)
        await trio.sleep(2 * WINDOW)
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(LOOK_AFTER)
        assert (await stored(house, sent)).state is MessageState.ACCEPTED


async def test_a_status_is_faster(autojump_clock: MockClock) -> None:
    """It settles the message, and nobody looks any more."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=True)
        status = StatusUpdate(
            provider_message_id="p-9",
            state=MessageState.DELIVERED,
            at=(await stored(house, sent)).updated_at,
            message_id=sent,
        )
        await sessions.actors.get(SHOP).received([status])
        await trio.sleep(WINDOW + 1)
        message = await stored(house, sent)
        assert (message.state, message.provider_message_id) == (MessageState.DELIVERED, "p-9")
    assert world.looks == []


async def test_a_list_that_cannot_be_read_says_so(autojump_clock: MockClock) -> None:
    """Not that it showed nothing; and it is read again at the end."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        await trio.sleep(1)
        world.list_fails = [refusal(Verdict.NOT_SENT, "provider_unreachable")] * 2
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(WINDOW + 1)
        message = await stored(house, sent)
        assert (message.state, message.dead) == (MessageState.UNKNOWN, True)
        assert "could not be asked for it (provider_unreachable" in str(message.history[-1].note)


@pytest.mark.parametrize("arrived", [True, False])
async def test_at_least_once_looks_before_it_sends_again(autojump_clock: MockClock, arrived: bool) -> None:
    """What the list shows is not sent twice, whatever the session's `duplicates` says."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions, duplicates="at_least_once")
        sent = await in_doubt(house, sessions, arrived=arrived)
        await trio.sleep(WINDOW + 1)
        message = await stored(house, sent)
        assert (message.state, message.maybe_duplicate) == (MessageState.ACCEPTED, not arrived)
        assert len(world.ledger) == 1


async def test_what_a_killed_process_had_in_the_air_is_looked_for_soon_after(
    autojump_clock: MockClock,
) -> None:
    """The row says `sending`: nobody saw its end."""
    house = House(world=(world := ListingProvider()))

    async def killed(message: OutboundMessage) -> None:
        world.ledger.append(message)
        await hang(message)

    world.script["*"] = [killed]
    async with house.run() as sessions:
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message
        await trio.sleep(1)
        in_the_air = await stored(house, sent.message_id)
    left = await stored(house, sent.message_id)  # by a stop, which could write what it knew; a kill cannot
    assert await house.store().save_message(left, msgspec.structs.replace(in_the_air, rev=new_rev()))
    async with house.run():
        await trio.sleep(LOOK_AFTER + 5)
        assert (await stored(house, sent.message_id)).state is MessageState.ACCEPTED
    assert len(world.ledger) == 1


async def test_a_restart_does_not_wait_for_a_look_that_is_overdue(autojump_clock: MockClock) -> None:
    """What was in doubt for minutes is looked for as soon as the session is connected."""
    house = House(world=(world := ListingProvider()))
    world.shows_from = 100.0
    async with house.run() as sessions:
        await shop(sessions)
        sent = await in_doubt(house, sessions, arrived=True)
        await trio.sleep(120)
        assert (await stored(house, sent)).state is MessageState.UNKNOWN
    async with house.run():
        await trio.sleep(5)
        assert (await stored(house, sent)).state is MessageState.ACCEPTED
    assert trio.current_time() < WINDOW


async def test_a_doubt_ends_though_its_session_may_not_send(autojump_clock: MockClock) -> None:
    """Nobody has to connect it for the truth to be told: it is unknown, and will stay so."""
    house = House()
    house.world.script["*"] = [never_heard_of()]
    async with house.run() as sessions, trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, Retention())
        await shop(sessions)
        sent = (await sessions.messages.send(draft())).message.message_id
        await trio.sleep(1)
        await sessions.disconnect(SHOP, wait=1)
        await trio.sleep(WINDOW / 2)
        assert (await stored(house, sent)).is_open
        await trio.sleep(WINDOW)
        message = await stored(house, sent)
        assert (message.state, message.dead, message.history[-1].note) == ("unknown", True, "no proof came")
        assert not sessions.actors.get(SHOP).busy
        nursery.cancel_scope.cancel()
