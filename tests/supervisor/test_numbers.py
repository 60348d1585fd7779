"""Which of its session's numbers a message leaves from."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.business import ONE, TWO, BusinessHouse, business, wrote
from tests.house import House, draft, shop
from wad.errors import InvalidRequest
from wad.models import Address, MessageState, SessionId
from wad.supervisor.sending import Draft

SHOP = SessionId("shop")
ANA = "+5215512345678"
REPLY = {"type": "text", "text": {"body": "hola"}}


async def test_a_message_leaves_from_the_number_that_is_asked_for(autojump_clock: MockClock) -> None:
    """By its number or by its provider's id; the message says which it is."""
    house = BusinessHouse()
    async with business(house) as sessions:
        for asked in (ONE.phone, TWO.id):
            sent = await sessions.messages.send(draft(number=asked))
            await sessions.messages.wait_for(sent.message, 10)
            stored = await sessions._services.store.message(sent.message.message_id)
            assert stored is not None
            assert stored.number == sent.message.number == (ONE if asked == ONE.phone else TWO)
        assert house.graph.sent == [("1", ANA), ("2", ANA)]


async def test_a_conversation_stays_on_the_number_that_the_customer_wrote_to(
    autojump_clock: MockClock,
) -> None:
    """Whichever is better; the latest counts; what another customer does, or a group, is nothing to it."""
    house = BusinessHouse()
    async with business(house) as sessions:
        actor = sessions.actors.get(SHOP)

        async def number_now(to: str = ANA) -> Any:
            return (await sessions.messages.send(draft(to=to))).message.number

        assert await number_now() == ONE  # the best
        await actor.received([wrote(TWO, "wamid.1")])
        assert await number_now() == TWO
        await actor.received([wrote(ONE, "wamid.2", phone="+5215500000009")])
        await actor.received([wrote(ONE, "wamid.3", chat="g", chat_kind="group")])
        assert await number_now() == TWO
        await actor.received([wrote(ONE, "wamid.4")])
        assert await number_now() == ONE
        assert await number_now("+5215500000010") == ONE


async def test_an_answer_leaves_from_the_number_that_was_written_to(autojump_clock: MockClock) -> None:
    """The flow's reply, a quote, a reaction, and marking read: not from the one that was written to since."""
    house = BusinessHouse()
    async with business(house) as sessions:
        actor = sessions.actors.get(SHOP)
        await actor.received([wrote(TWO, "wamid.1"), wrote(ONE, "wamid.2")])
        store = sessions._services.store
        asked = await store.inbox_by_dedupe("shop", "m:wamid.1")
        assert asked is not None
        await sessions.actors._queue_replies(actor, asked, [REPLY])
        quoted = await sessions.messages.send(draft(reply_to=asked.message_id))
        content = {"type": "reaction", "reaction": {"messageId": asked.message_id, "emoji": "👍"}}
        reacted = await sessions.messages.send(Draft(session_id=SHOP, to=Address(phone=ANA), content=content))
        assert quoted.message.number == reacted.message.number == TWO
        await trio.sleep(5)
        assert house.graph.sent == [("2", ANA)] * 3
        await sessions.calls.mark_read(SHOP, asked.message_id, typing=False)
        assert house.graph.asked[-1][1] == "2/messages"


async def test_two_numbers_of_a_session_do_not_wait_for_each_other(autojump_clock: MockClock) -> None:
    """To one customer: each pair of number and customer has its own order, and its own limit."""
    house = BusinessHouse()
    house.graph.refusals["POST", "1/messages"] = 131056  # too much for this pair
    async with business(house) as sessions:
        first = (await sessions.messages.send(draft(number="1"))).message
        second = (await sessions.messages.send(draft(number="2"))).message
        assert (await sessions.messages.wait_for(second, 10)).state is MessageState.ACCEPTED
        held = await sessions._services.store.message(first.message_id)
        assert held is not None
        assert held.state is MessageState.QUEUED


REFUSED = [
    ("one that it does not have", {"number": "+529990000000"}, "which has +525512340001, +525512340002"),
    ("an id that it does not have", {"number": "99"}, "which has +525512340001, +525512340002"),
]


@pytest.mark.parametrize(("more", "detail"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_another_number_is_refused_by_name(
    more: dict[str, Any], detail: str, autojump_clock: MockClock
) -> None:
    """With those that there are."""
    async with business(BusinessHouse()) as sessions:
        with pytest.raises(InvalidRequest) as caught:
            await sessions.messages.send(draft(**more))
        [error] = caught.value.errors
        assert error.pointer == "/from"
        assert detail in error.detail


async def test_a_group_wants_its_number_named(autojump_clock: MockClock) -> None:
    """Only one of the session's numbers is in it; where the credentials name one, that is it."""
    group = {"to": Address(group_id="g"), "content": REPLY}
    async with business(BusinessHouse()) as sessions:
        with pytest.raises(InvalidRequest) as caught:
            await sessions.messages.send(Draft(session_id=SHOP, **group))
        assert [error.pointer for error in caught.value.errors] == ["/from"]
        sent = await sessions.messages.send(Draft(session_id=SHOP, number="2", **group))
        assert sent.message.number == TWO
    async with business(BusinessHouse(), phoneNumberId="2") as sessions:
        assert (await sessions.messages.send(Draft(session_id=SHOP, **group))).message.number == TWO


async def test_what_was_accepted_before_it_connected_leaves_from_the_best(autojump_clock: MockClock) -> None:
    """Nobody knew its numbers then: the connection chooses."""
    house = BusinessHouse()
    house.graph.refusals["GET", "102290129340398/phone_numbers"] = 80007
    async with business(house) as sessions:
        sent = await sessions.messages.send(draft())
        assert sent.message.number is None
        house.graph.refusals.clear()
        assert (await sessions.messages.wait_for(sent.message, 600)).state is MessageState.ACCEPTED
        assert house.graph.sent == [("1", ANA)]


OWN = [
    ("its own", "+5215500000001", None),
    ("another", "+5215500000002", "is not the number of this session, which is +5215500000001"),
]


@pytest.mark.parametrize(("asked", "detail"), [row[1:] for row in OWN], ids=[row[0] for row in OWN])
async def test_a_session_of_one_number_sends_from_that(
    asked: str, detail: str | None, autojump_clock: MockClock
) -> None:
    """Named or not; any other is refused."""
    async with House().run() as sessions:
        await shop(sessions)
        if detail is None:
            assert (await sessions.messages.send(draft(number=asked))).message.number is None
            return
        with pytest.raises(InvalidRequest) as caught:
            await sessions.messages.send(draft(number=asked))
        assert [(error.pointer, error.detail) for error in caught.value.errors] == [("/from", detail)]
