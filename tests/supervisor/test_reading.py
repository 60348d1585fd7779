"""Marking read, and showing that one types: a provider may be able to do either alone."""

from __future__ import annotations

import msgspec
import pytest
from trio.testing import MockClock

from tests.house import House, shop, text
from tests.simulated import CAPABILITIES, SimulatedProvider
from wad.errors import NotSupported
from wad.models import ChatId, InboundMessage, MessageQuery, Person, SessionId

SHOP = SessionId("shop")


@pytest.mark.parametrize(
    ("read_receipts", "typing"), [(True, True), (True, False), (False, True), (False, False)]
)
async def test_each_is_asked_for_as_declared(
    autojump_clock: MockClock, read_receipts: bool, typing: bool
) -> None:
    """Typing marks read as well, so it needs no other capability than its own."""
    world = SimulatedProvider()
    world.capabilities = msgspec.structs.replace(CAPABILITIES, read_receipts=read_receipts, typing=typing)
    house = House(world=world)
    async with house.run() as sessions:
        await shop(sessions)
        asked = InboundMessage(
            provider_message_id="in-1",
            chat=ChatId("+5215512345678"),
            sender=Person(phone="+5215512345678"),
            content=text("hola"),
        )
        await sessions.actors.get(SHOP).received([asked])
        (item,) = await house.store().find_messages(MessageQuery(session_id=SHOP, direction="inbound"))
        for wants, can, name in ((False, read_receipts, "readReceipts"), (True, typing, "typing")):
            if can:
                await sessions.calls.mark_read(SHOP, item.message_id, typing=wants)
            else:
                with pytest.raises(NotSupported) as caught:
                    await sessions.calls.mark_read(SHOP, item.message_id, typing=wants)
                assert caught.value.capability == name
    assert len(world.read) == read_receipts + typing
