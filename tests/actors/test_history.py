"""A provider that knows what customers wrote: what came in while nobody listened is read at the start, once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, now, shop, text
from tests.simulated import ListingProvider, refusal
from wad.actors.requests import Probe
from wad.errors import StoreUnavailable, Verdict
from wad.models import ChatId, InboundMessage, InboxItem, MessageQuery, Person, SessionId, SessionState
from wad.supervisor.sessions import Sessions

SHOP = SessionId("shop")


def said(body: str) -> InboundMessage:
    return InboundMessage(
        provider_message_id=f"in-{body}",
        chat=ChatId("+5215512345678"),
        sender=Person(phone="+5215512345678"),
        content=text(body),
    )


async def heard(house: House) -> list[str]:
    """What is stored, in the order in which it came."""
    query = MessageQuery(session_id=SHOP, direction="inbound", limit=500)
    items = [item for item in await house.store().find_messages(query) if isinstance(item, InboxItem)]
    return [
        item.event.content["text"]["body"]
        for item in reversed(items)
        if isinstance(item.event, InboundMessage)
    ]


def at(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


async def test_what_came_while_wad_was_away_is_taken_in_once(autojump_clock: MockClock) -> None:
    """In order; what is there already, and what a webhook brings meanwhile, changes nothing."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        await trio.sleep(3 * 3600)
        await sessions.actors.get(SHOP).received([said("before")])
        last = now()
    await trio.sleep(5 * 3600)
    world.inbound = [(at(-9000), said("missed")), (at(-8000), said("too")), (last, said("before"))]
    async with house.run() as sessions:
        await sessions.actors.get(SHOP).received([said("at once")])
        await trio.sleep(5)
        await sessions.actors.get(SHOP).received([said("too")])
        assert await heard(house) == ["before", "at once", "missed", "too"]
    assert world.reads[-1] == last - timedelta(hours=1)


async def test_a_new_session_does_not_answer_what_was_written_to_its_predecessor(
    autojump_clock: MockClock,
) -> None:
    """What came before the session was made is not its own."""
    house = House(world=(world := ListingProvider()))
    world.inbound = [(at(-60), said("long ago"))]
    async with house.run() as sessions:
        session = await shop(sessions)
        await trio.sleep(5)
        assert await heard(house) == []
    assert world.reads == [session.created_at]


async def test_it_goes_no_further_back_than_a_week(autojump_clock: MockClock) -> None:
    """However long wad was away."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
    await trio.sleep(30 * 86400)
    async with house.run():
        await trio.sleep(5)
        assert now() - world.reads[-1] < timedelta(days=7, minutes=1)


async def prove(sessions: Sessions) -> None:
    """A probe, as the upkeep asks for one now and then."""
    await sessions.actors.ask_quietly(sessions.actors.get(SHOP), Probe())
    await trio.sleep(1)


async def test_it_is_read_once_a_life(autojump_clock: MockClock) -> None:
    """Not with every probe; a new life reads it again."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        await prove(sessions)
        assert len(world.reads) == 1
    async with house.run():
        await trio.sleep(5)
    assert len(world.reads) == 2


async def test_what_bad_credentials_refused_is_read_once_they_are_good(autojump_clock: MockClock) -> None:
    """From the newest message before the trouble on, however much came since the credentials were mended."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        await trio.sleep(3 * 3600)
        actor = sessions.actors.get(SHOP)
        await actor.received([said("before")])
        last = now()
        world.connects[SHOP] = [refusal(Verdict.NEEDS_PERSON, "bad_credentials")]
        await prove(sessions)
        assert actor.session.state is SessionState.BAD_CREDENTIALS
        await trio.sleep(5 * 3600)
        await actor.received([said("after")])
        await sessions.connect(SHOP, wait=5)
        await trio.sleep(1)
    assert world.reads[-1] == last - timedelta(hours=1)


async def test_a_list_that_cannot_be_read_is_read_with_the_next_proof(autojump_clock: MockClock) -> None:
    """The session is connected meanwhile: it can send and receive."""
    house = House(world=(world := ListingProvider()))
    world.list_fails = [refusal(Verdict.NOT_SENT, "provider_unreachable")]
    async with house.run() as sessions:
        await shop(sessions)
        assert sessions.actors.get(SHOP).session.state is SessionState.CONNECTED
        world.inbound = [(at(1), said("missed"))]
        await prove(sessions)
        assert await heard(house) == ["missed"]
    assert len(world.reads) == 2


async def test_what_the_store_did_not_take_is_read_once_it_does(autojump_clock: MockClock) -> None:
    """Its provider may not bring it again, and a session that is busy with others is asked for no proof."""
    house = House(world=(world := ListingProvider()))
    async with house.run() as sessions:
        await shop(sessions)
        await trio.sleep(1)
        actor = sessions.actors.get(SHOP)
        world.inbound = [(at(0), said("missed"))]
        house._engine.fault = "refuse"
        with pytest.raises(StoreUnavailable):
            await actor.take_in(world.name, [said("missed")])
        house._engine.fault = None
        await trio.sleep(60)
        assert await heard(house) == ["missed"]
