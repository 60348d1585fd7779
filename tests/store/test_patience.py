"""The patient view waits an outage out, and says so once."""

from __future__ import annotations

import logging

import pytest
import trio

from tests.store.made import a_message, a_session
from wad.errors import Conflict, StoreUnavailable
from wad.models import MessageState, utc_now
from wad.secrets import Vault
from wad.store.memory import MemoryEngine
from wad.store.store import Store


@pytest.fixture
async def store() -> Store:
    store = Store(MemoryEngine(), Vault(bytes(32)))
    await store.add_session(a_session())
    return store


async def test_patient_calls_complete_once_the_store_is_back(autojump_clock, store, caplog):
    """Reads and writes wait, nothing is done twice, and the log tells of the outage once and of its end once."""
    caplog.set_level(logging.INFO)
    [queued] = await store.add_messages([a_message()])
    sending = queued.moved(MessageState.SENDING, utc_now())
    patient = store.patient()
    store._engine.fault = "lose_answer"
    done: list[object] = []

    async def call(what, *args) -> None:
        done.append(await what(*args))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(call, patient.save_message, queued, sending)
        await trio.sleep(60)
        assert done == []
        store._engine.fault = None
    assert done == [True] * 20
    assert [record.message for record in caplog.records] == ["store_away", "store_back"]
    assert caplog.records[1].seconds == pytest.approx(60, abs=2)


async def test_patient_reads_wait_too(autojump_clock, store):
    """An actor that loads its work during an outage loads it afterwards."""
    store._engine.fault = "refuse"
    found: list[object] = []

    async def load() -> None:
        found.append(await store.patient().open_messages("s1"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        await trio.sleep(10)
        with pytest.raises(StoreUnavailable):
            await store.open_messages("s1")
        store._engine.fault = None
    assert found == [[]]


async def test_patience_waits_at_most_two_seconds_between_tries(autojump_clock, store):
    """After the longest outage an actor is back within two seconds."""
    store._engine.fault = "refuse"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.patient().session, "s1")
        await trio.sleep(1000.0)
        store._engine.fault = None
    assert trio.current_time() - 1000 <= 2


async def test_patience_is_for_outages_alone(autojump_clock, store):
    """Any other error comes through at once."""
    with pytest.raises(Conflict):
        await store.patient().add_session(a_session())


async def test_a_patient_call_can_be_cancelled(autojump_clock, store):
    """An actor that is stopped during an outage stops."""
    store._engine.fault = "refuse"
    with trio.move_on_after(5) as scope:
        await store.patient().session("s1")
    assert scope.cancelled_caught


async def test_a_view_says_what_it_is(store):
    """For logs and debuggers."""
    assert repr(store) == "<Store memory>"
    assert repr(store.patient()) == "<Store memory patient>"
