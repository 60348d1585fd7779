"""Bulk in the store: the backlog that a session reads in pages, and what is told of a bulk by its name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import msgspec
import pytest

from tests.store.made import a_message, a_session
from wad.models import MessageQuery, MessageState, OutboundMessage, Priority, ShopId, utc_now

NOW = utc_now()
HOUR = timedelta(hours=1)


@pytest.fixture
async def s1(store):
    await store.add_session(a_session("s1"))
    await store.add_session(a_session("s2"))


def bulk(session_id: str = "s1", **changes) -> OutboundMessage:
    return a_message(session_id, priority=Priority.BULK, **changes)


def scheduled(at, **changes) -> OutboundMessage:
    return bulk(state=MessageState.SCHEDULED, send_at=at, due_at=at, **changes)


@dataclass
class Row:
    """One message, and where it shows."""

    label: str
    message: OutboundMessage
    in_backlog: bool = False
    goes_now: bool = False


async def test_the_backlog_is_the_bulk_that_waits_and_nothing_else(store, s1):
    """What goes now comes first, in its order; then what has waited for its time. The rest is what an actor loads."""
    rows = [
        Row("bulk", bulk(), in_backlog=True, goes_now=True),
        Row("normal", a_message()),
        Row("due", scheduled(NOW - HOUR), in_backlog=True, goes_now=True),
        Row("tomorrow", scheduled(NOW + 24 * HOUR), in_backlog=True),
        Row("tried again in an hour", bulk(due_at=NOW + HOUR), in_backlog=True),
        Row("being sent", bulk(state=MessageState.SENDING)),
        Row("in doubt", bulk(state=MessageState.UNKNOWN, due_at=NOW + HOUR)),
        Row("last", bulk(), in_backlog=True, goes_now=True),
        Row("sent", bulk(state=MessageState.SENT)),
        Row("another session's", bulk("s2")),
    ]
    await store.add_messages([row.message for row in rows])
    label = {row.message.message_id: row.label for row in rows}
    goes = [label[item.message_id] for item in await store.backlog_page("s1", NOW, 100)]
    assert goes == ["bulk", "last", "due"]
    assert set(goes) == {row.label for row in rows if row.goes_now}
    in_backlog = {row.label for row in rows if row.in_backlog}
    assert {label[item.message_id] for item in await store.backlog_after("s1", 0, 100)} == in_backlog
    assert await store.backlog_size("s1") == len(in_backlog)
    assert await store.backlog_due("s1", NOW) == NOW + HOUR
    assert await store.backlog_due("s1", NOW + 24 * HOUR) is None
    loaded = {label[item.message_id] for item in await store.open_messages("s1")}
    assert loaded == {"normal", "being sent", "in doubt"}


async def test_the_backlog_is_read_in_pages(store, s1):
    """No more than is asked for; and by seq from a place on."""
    messages = await store.add_messages([bulk() for _ in range(7)])
    ids = [message.message_id for message in messages]
    assert [item.message_id for item in await store.backlog_page("s1", NOW, 3)] == ids[:3]
    after = await store.backlog_after("s1", messages[2].seq, 3)
    assert [item.message_id for item in after] == ids[3:6]


async def test_a_message_leaves_the_backlog_as_it_is_claimed_and_comes_back_as_it_is_queued(store, s1):
    """The row says it itself, whoever writes it."""
    [queued] = await store.add_messages([bulk()])
    sending = queued.moved(MessageState.SENDING, NOW)
    assert await store.save_message(queued, sending)
    assert await store.backlog_size("s1") == 0
    again = sending.moved(MessageState.QUEUED, NOW, due_at=NOW + HOUR)
    assert await store.save_message(sending, again)
    assert await store.backlog_size("s1") == 1
    assert await store.backlog_page("s1", NOW, 10) == []
    other = msgspec.structs.replace(again.moved(MessageState.QUEUED, NOW), session_id="s2")
    assert await store.save_message(again, other)
    assert (await store.backlog_size("s1"), await store.backlog_size("s2")) == (0, 1)


async def test_what_is_overdue_is_found_in_the_backlog(store, s1):
    """By `expiresAt`, which a person's retry may move."""
    old, moved, _ = await store.add_messages(
        [bulk(expires_at=NOW - HOUR), bulk(expires_at=NOW - HOUR), bulk(expires_at=NOW + HOUR)]
    )
    later = moved.moved(MessageState.QUEUED, NOW, expires_at=NOW + HOUR)
    assert await store.save_message(moved, later)
    assert await store.backlog_overdue("s1", NOW, 10) == [old.message_id]


async def test_a_bulk_is_told_by_its_name_as_far_as_the_shop_is_ones_own(store, s1):
    """Counts by state, what waits where, and how many are dead letters."""
    await store.add_messages(
        [
            *(bulk(bulk_id="sale", shop_id=ShopId("a"), created_at=NOW - HOUR) for _ in range(3)),
            bulk("s2", bulk_id="sale", shop_id=ShopId("a"), state=MessageState.DELIVERED),
            bulk(bulk_id="sale", shop_id=ShopId("a"), state=MessageState.FAILED, dead=True),
            scheduled(NOW + HOUR, bulk_id="sale", shop_id=ShopId("a")),
            bulk("s2", bulk_id="sale", shop_id=ShopId("b")),
            bulk(bulk_id="other"),
            bulk(),
        ]
    )
    counts = await store.bulk("sale", shop_ids=["a"])
    assert {state: count for state, count in counts.states.items() if count} == {
        MessageState.QUEUED: 3,
        MessageState.DELIVERED: 1,
        MessageState.FAILED: 1,
        MessageState.SCHEDULED: 1,
    }
    assert (counts.dead, counts.waiting, counts.last_due, counts.began_at) == (
        1,
        {"s1": 4},
        NOW + HOUR,
        NOW - HOUR,
    )
    everywhere = await store.bulk("sale")
    assert (everywhere.states[MessageState.QUEUED], everywhere.waiting) == (4, {"s1": 4, "s2": 1})
    assert await store.bulk("sale", shop_ids=["c"]) is None
    assert await store.bulk("other", shop_ids=["a"]) is None
    found = await store.find_messages(MessageQuery(bulk_id="sale", state="failed"))
    assert [message.bulk_id for message in found] == ["sale"]


async def test_bulks_are_listed_newest_first_and_once_however_often_they_are_added_to(store, s1):
    """A shop's alone for a shop; by pages."""
    for name, shop in (("one", "a"), ("two", "b"), ("three", "a"), ("one", "a"), ("one", None)):
        await store.add_messages([bulk(bulk_id=name, shop_id=shop), bulk(bulk_id=name, shop_id=shop)])
    listed = await store.bulks()
    assert [(each.bulk_id, each.shop_id) for each in listed] == [
        ("one", None),
        ("three", "a"),
        ("two", "b"),
        ("one", "a"),
    ]
    assert [each.bulk_id for each in await store.bulks(shop_ids=["a"])] == ["three", "one"]
    assert [each.bulk_id for each in await store.bulks(after=listed[1].seq, limit=1)] == ["two"]


async def test_what_of_a_bulk_waits_in_a_session_is_read_in_pages(store, s1):
    """By state, in their order."""
    ids = [m.message_id for m in await store.add_messages([bulk(bulk_id="sale") for _ in range(5)])]
    first = await store.bulk_waiting("sale", "s1", MessageState.QUEUED, after=0, limit=3)
    rest = await store.bulk_waiting("sale", "s1", MessageState.QUEUED, after=first[-1].seq, limit=3)
    assert [message.message_id for message in (*first, *rest)] == ids
    assert await store.bulk_waiting("sale", "s2", MessageState.QUEUED, after=0, limit=3) == []


async def test_the_name_of_a_bulk_is_forgotten_with_its_last_message(store, s1):
    """Not before, however old it is."""
    await store.add_messages([bulk(bulk_id="old"), bulk("s2", bulk_id="gone")])
    await store.delete_session("s2")
    await store.purge_bulks(NOW - HOUR)
    assert len(await store.bulks()) == 2
    await store.purge_bulks(utc_now() + HOUR)
    assert [each.bulk_id for each in await store.bulks()] == ["old"]
