"""Which of a shop's numbers talked with whom, and a message's way from one number to another; on every engine."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from tests.store.made import a_message, a_session, an_item, inbound
from wad.errors import NotFound
from wad.models import Address, MessageState, new_rev, utc_now

replace = msgspec.structs.replace


async def a_shop(store, *names):
    for name in names:
        await store.add_session(a_session(name, shop_id="shop-1"))
    return names


def heard_by(session_id, phone="+1", **more):
    chat = more.pop("chat", None)
    event = inbound(phone=phone, **more)
    user_id = more.get("user_id")
    return an_item(
        session_id, shop_id="shop-1", event=replace(event, chat=chat or user_id or event.sender.phone)
    )


HEARD = [
    ("by phone", {"phone": "+1"}, {"a": 2, "b": 1}),
    ("by a user id that came with a phone: the same person", {"user_id": "MX.5"}, {"a": 5, "b": 4}),
    ("by a phone that came with a user id: the same person", {"phone": "+5"}, {"a": 5, "b": 4}),
    ("by both", {"phone": "+5", "user_id": "MX.5"}, {"a": 5, "b": 4}),
    ("by the JID of a number", {"jid": "1@s.whatsapp.net"}, {"a": 2, "b": 1}),
    ("who wrote to a group alone", {"phone": "+7"}, {}),
    ("nobody", {"phone": "+9"}, {}),
    ("a group", {"group_id": "g-1"}, {}),
]


@pytest.mark.parametrize(("to", "heard"), [row[1:] for row in HEARD], ids=[row[0] for row in HEARD])
async def test_when_somebody_last_wrote_to_each_session_is_known(store, to, heard):
    """A person is the same by phone and by user id, as far as any message named both; groups are not theirs."""
    sessions = await a_shop(store, "a", "b", "c")
    items = [
        heard_by("a"),
        heard_by("b"),
        heard_by("a"),
        heard_by("a", chat="g-1"),
        heard_by("b", "+5", user_id="MX.5"),
        heard_by("a", "+5"),
        heard_by("c", "+7", chat="g-1"),
    ]
    items = [
        replace(each, received_at=each.received_at + timedelta(seconds=n)) for n, each in enumerate(items)
    ]
    await store.add_inbox(items)
    found = await store.conversation("shop-1", sessions, Address(**to))
    assert found.heard == {name: items[which].received_at for name, which in heard.items()}


WROTE = [
    ("by phone", {"phone": "+1"}, ("b", 1)),
    ("by user id", {"user_id": "MX.5"}, ("a", 4)),
    ("by a phone that came with a user id: the same person", {"phone": "+5"}, ("a", 4)),
    ("a group", {"group_id": "g-1"}, ("b", 6)),
    ("somebody whom nothing has reached", {"phone": "+3"}, None),
    ("of another shop", {"phone": "+8"}, None),
]


@pytest.mark.parametrize(("to", "wrote"), [row[1:] for row in WROTE], ids=[row[0] for row in WROTE])
async def test_which_session_wrote_to_somebody_last_is_known(store, to, wrote):
    """What failed, was cancelled or is still to come in time does not count."""
    sessions = await a_shop(store, "a", "b")
    await store.add_session(a_session("z", shop_id="shop-2"))
    await store.add_inbox([heard_by("b", "+5", user_id="MX.5")])
    messages = [
        a_message("a", shop_id="shop-1", to=Address(phone="+1")),
        a_message("b", shop_id="shop-1", to=Address(phone="+1"), state=MessageState.ACCEPTED),
        a_message("a", shop_id="shop-1", to=Address(phone="+1"), state=MessageState.FAILED),
        a_message("a", shop_id="shop-1", to=Address(phone="+1"), state=MessageState.SCHEDULED),
        a_message("a", shop_id="shop-1", to=Address(phone="+5", user_id="MX.5")),
        a_message("a", shop_id="shop-1", to=Address(phone="+3"), state=MessageState.CANCELLED),
        a_message("b", shop_id="shop-1", to=Address(group_id="g-1")),
        a_message("z", shop_id="shop-2", to=Address(phone="+8")),
    ]
    await store.add_messages(messages)
    found = await store.conversation("shop-1", sessions, Address(**to))
    assert found.wrote == (None if wrote is None else (wrote[0], messages[wrote[1]].updated_at))


async def test_a_message_moves_to_another_session_in_one_write(store):
    """It is read and worked on there, sealed by that session's key; the first session knows it no more."""
    await a_shop(store, "a", "b")
    [old] = await store.add_messages([a_message("a", shop_id="shop-1", chosen="weight")])
    new = replace(
        old.moved(MessageState.QUEUED, utc_now(), note="moved"), session_id="b", provider="twilio", moves=1
    )
    assert await store.save_message(old, new)
    assert not await store.save_message(old, replace(new, rev=new_rev(), session_id="a"))
    assert await store.message(old.message_id) == new
    assert await store.open_messages("a") == []
    assert [each.message_id for each in await store.open_messages("b")] == [old.message_id]
    await store.delete_session("a")
    assert (await store.message(old.message_id)).content == old.content


async def test_a_message_does_not_move_to_a_session_that_is_not_there(store):
    """Nobody could ever read it again."""
    await a_shop(store, "a")
    [old] = await store.add_messages([a_message("a", shop_id="shop-1")])
    gone = replace(old.moved(MessageState.QUEUED, utc_now()), session_id="nobody")
    with pytest.raises(NotFound):
        await store.save_message(old, gone)
    assert await store.message(old.message_id) == old
