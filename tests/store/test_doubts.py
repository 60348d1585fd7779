"""A message that was refused with 503 does not go out by itself, even if it reached the store."""

from __future__ import annotations

import pytest
import trio

from tests.store.made import a_message, a_session, an_item
from wad.errors import StoreUnavailable
from wad.models import MessageQuery, MessageState, utc_now
from wad.secrets import Vault
from wad.store import doubts
from wad.store.base import Delete, Insert
from wad.store.doubts import SETTLED_AFTER, Doubts
from wad.store.memory import MemoryEngine
from wad.store.store import Store


@pytest.fixture
async def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def store(engine) -> Store:
    store = Store(engine, Vault(bytes(32)))
    await store.add_session(a_session())
    return store


def stored(engine: MemoryEngine, table: str = "messages") -> set[str]:
    return set(engine._tables[table].by_key)


async def refused(store: Store, *messages) -> None:
    """Add *messages* while the engine loses its answers: they arrive, and the caller is told 503."""
    store._engine.fault = "lose_answer"
    with pytest.raises(StoreUnavailable):
        await store.add_messages(messages)
    store._engine.fault = None


async def test_a_refused_message_that_arrived_is_hidden_and_then_erased(autojump_clock, engine, store):
    """No read shows it, and the next write that gets through removes it."""
    message = a_message(key="k")
    await refused(store, message)
    assert stored(engine) == {message.message_id}
    assert await store.open_messages("s1") == []
    assert await store.message(message.message_id) is None
    assert await store.message_by_idempotency("ops", "k") is None
    assert await store.find_messages(MessageQuery()) == []
    await store.add_inbox([an_item()])  # any write
    assert stored(engine) == set()


async def test_the_callers_second_try_is_the_one_that_stands(autojump_clock, engine, store):
    """Same idempotency key, new message: it is new, and it stays."""
    await refused(store, a_message(key="k"))
    second = a_message(key="k")
    [standing] = await store.add_messages([second])
    assert standing.message_id == second.message_id
    await trio.sleep(2 * SETTLED_AFTER)
    await store.add_inbox([an_item()])
    assert stored(engine) == {second.message_id}


async def test_the_same_message_may_be_added_again(autojump_clock, engine, store):
    """A reply has a fixed id: its second insert is not taken for the doubtful first."""
    reply = a_message()
    await refused(store, reply)
    [standing] = await store.add_messages([reply])
    for _ in range(3):
        await trio.sleep(SETTLED_AFTER)
        await store.add_inbox([an_item()])
    assert await store.message(reply.message_id) == standing


async def test_a_second_try_beside_others_erasures_keeps_what_it_was_told(autojump_clock, engine, store):
    """Many callers come back at once after an outage; whoever erases, everyone's 202 stands."""
    messages = [a_message(key=f"k{n}") for n in range(50)]
    await refused(store, *messages)
    told: list[str] = []

    async def again(key: str) -> None:
        [standing] = await store.add_messages([a_message(key=key)])
        told.append(standing.message_id)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(again, f"k{number}")
    assert stored(engine) == set(told)
    assert len(told) == 50


async def test_an_insert_that_arrives_after_its_erasure_is_erased_too(autojump_clock, engine, store):
    """A stalled server may work off its socket buffer late: hidden all the while, and erased again later."""
    store._engine.fault = "refuse"
    message = a_message()
    with pytest.raises(StoreUnavailable):
        await store.add_messages([message])
    [(rev, _)] = store._doubts._rows.items()
    store._engine.fault = None
    await store.add_inbox([an_item()])  # erases nothing: it is not there yet
    engine._tables["messages"].insert(
        {"messageId": message.message_id, "sessionId": "s1", "rev": rev, "open": 1}
    )
    assert await store.open_messages("s1") == []
    await trio.sleep(2 * SETTLED_AFTER)
    await store.add_inbox([an_item()])
    assert stored(engine) == set()
    assert len(store._doubts) == 0


async def test_a_message_that_an_actor_took_is_not_erased(autojump_clock, engine, store):
    """Erasure is by the insert's rev: what moved on meanwhile stays."""
    message = a_message()
    await refused(store, message)
    row = engine._tables["messages"].by_key[message.message_id]
    row["rev"] += 1
    await store.add_inbox([an_item()])
    assert stored(engine) == {message.message_id}


async def test_a_store_that_closes_erases_first(autojump_clock, engine, store):
    """A drain leaves nothing doubtful behind."""
    await refused(store, a_message())
    await store.close()
    assert stored(engine) == set()


async def test_doubts_are_bounded(autojump_clock, engine, store, monkeypatch):
    """Past the bound a message is refused without being tried, until the store is back."""
    monkeypatch.setattr(doubts, "MAX_DOUBTS", 3)
    await refused(store, a_message(), a_message(), a_message())
    engine.fault = "refuse"
    with pytest.raises(StoreUnavailable):
        await store.add_messages([a_message()])
    assert len(store._doubts) == 3
    engine.fault = None
    with pytest.raises(StoreUnavailable, match="in doubt"):
        await store.add_messages([a_message()])  # they are erased, but not yet for good
    await trio.sleep(2 * SETTLED_AFTER)
    await store.add_messages([a_message()])
    assert len(store._doubts) == 0


async def test_a_patient_caller_leaves_no_doubt(autojump_clock, engine, store):
    """It goes on until its message stands, so there is nothing to erase."""
    engine.fault = "lose_answer"
    message = a_message()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.patient().add_messages, [message])
        await trio.sleep(3)
        engine.fault = None
    assert len(store._doubts) == 0
    assert await store.message(message.message_id) is not None


async def test_an_event_that_was_refused_is_new_when_its_provider_sends_it_again(
    autojump_clock, engine, store
):
    """One try arrived and nobody was told; the next that is answered takes its place, and wakes its actor."""
    first, second = an_item(provider_id="wamid.1"), an_item(provider_id="wamid.1")
    engine.fault = "lose_answer"
    with pytest.raises(StoreUnavailable):
        await store.add_inbox([first])
    engine.fault = "refuse"
    with pytest.raises(StoreUnavailable):
        await store.add_inbox([an_item(provider_id="wamid.1")])
    engine.fault = None
    assert [pending.message_id for pending in await store.open_inbox("s1")] == [first.message_id]
    assert await store.add_inbox([second]) == [True]
    assert stored(engine, "inbox") == {second.message_id}
    assert await store.add_inbox([an_item(provider_id="wamid.1")]) == [False]


async def test_an_event_that_arrives_after_its_erasure_is_not_in_the_way(
    autojump_clock, engine, store, monkeypatch
):
    """A stalled server works off its socket buffer in the middle of the redelivery, which is new all the same."""
    first, second = an_item(provider_id="wamid.1"), an_item(provider_id="wamid.1")
    sent: list[Insert] = []
    write = engine.write

    async def stalled(writes):
        sent.extend(writes)
        raise StoreUnavailable("timed out")

    async def late(writes):
        erasures = [each for each in writes if isinstance(each, Delete)]
        await write(erasures)
        if sent:
            await write([sent.pop()])
        return [None] * len(erasures) + await write(writes[len(erasures) :])

    monkeypatch.setattr(engine, "write", stalled)
    with pytest.raises(StoreUnavailable):
        await store.add_inbox([first])
    monkeypatch.setattr(engine, "write", late)
    assert await store.add_inbox([second]) == [True]
    assert stored(engine, "inbox") == {second.message_id}
    assert await store.add_inbox([an_item(provider_id="wamid.1")]) == [False]


async def test_a_refused_event_that_an_actor_took_up_meanwhile_is_not_new(autojump_clock, engine, store):
    """What has moved on stays, and its redelivery is a duplicate."""
    first = an_item(provider_id="wamid.1")
    engine.fault = "lose_answer"
    with pytest.raises(StoreUnavailable):
        await store.add_inbox([first])
    engine.fault = None
    assert await store.save_inbox(first, first.moved(first.state, attempts=1))
    assert await store.add_inbox([an_item(provider_id="wamid.1")]) == [False]


def test_claims_that_failed_are_due_again_and_claims_made_are_not_made_twice():
    """One caller carries the erasures, the others do not."""
    them = Doubts()
    them.add([{"messageId": "a", "rev": 1}, {"messageId": "b", "rev": 2}], now=100.0)
    assert sorted(them.claim(101.0)) == [1, 2]
    assert them.claim(101.0) == []
    them.failed([1])
    assert them.claim(102.0) == [1]
    them.erased([1, 2], issued_at=102.0)
    assert len(them) == 2
    assert sorted(them.claim(101.0 + SETTLED_AFTER)) == [1, 2]
    them.erased([1, 2], issued_at=101.0 + SETTLED_AFTER)
    assert len(them) == 0


async def test_moving_on_is_never_in_doubt(autojump_clock, engine, store):
    """A compare-and-set whose answer was lost is simply made again."""
    [queued] = await store.add_messages([a_message()])
    sending = queued.moved(MessageState.SENDING, utc_now())
    engine.fault = "lose_answer"
    with pytest.raises(StoreUnavailable):
        await store.save_message(queued, sending)
    engine.fault = None
    assert await store.save_message(queued, sending) is True
