"""A session's own keys: written in order, many together, and never lost to a cancelled caller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.store.made import a_session
from wad.actors.keys import SessionKeys
from wad.actors.services import Services
from wad.events import Events
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import SessionId
from wad.secrets import Vault
from wad.store.base import Query, Result, Row, Write
from wad.store.memory import MemoryEngine
from wad.store.open import open_store
from wad.store.store import Store

S1 = SessionId("s1")


def services(store: Store) -> Services:
    return Services(store=store, patient=store.patient(), events=Events(), flows=Flows(FlowDefaults()))


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def keys(engine: MemoryEngine) -> SessionKeys:
    store = Store(engine, Vault(bytes(32)))
    await store.add_session(a_session("s1"))
    engine.batches.clear()
    services = Services(store=store, patient=store.patient(), events=Events(), flows=Flows(FlowDefaults()))
    return SessionKeys(services, S1)


async def test_what_is_set_is_there_and_none_removes(keys: SessionKeys) -> None:
    """Several kinds in one call."""
    await keys.set({"session": {"a.0": "1", "b.0": "2"}, "pre-key": {"7": "k"}})
    assert await keys.get("session", ["a.0", "b.0", "c.0"]) == {"a.0": "1", "b.0": "2"}
    assert await keys.get("pre-key", ["7"]) == {"7": "k"}
    await keys.set({"session": {"a.0": None}, "pre-key": {"7": "other"}})
    assert await keys.get("session", ["a.0", "b.0"]) == {"b.0": "2"}
    assert await keys.get("pre-key", ["7"]) == {"7": "other"}
    await keys.clear()
    assert await keys.get("session", ["b.0"]) == {}


async def test_what_many_set_at_once_goes_together(keys: SessionKeys, engine: MemoryEngine) -> None:
    """While one write is in the air the next one gathers, the latest value of each key."""
    async with trio.open_nursery() as nursery:
        for n in range(50):
            nursery.start_soon(keys.set, {"session": {f"{n}.0": "new"}, "creds": {"creds": str(n)}})
    assert sum(engine.batches) <= 52
    assert len(engine.batches) <= 2
    assert len(await keys.get("session", [f"{n}.0" for n in range(50)])) == 50


async def test_a_key_that_is_being_written_is_the_new_one(keys: SessionKeys) -> None:
    """Whoever set it a moment ago reads it, though it is not on disk yet."""
    await keys.set({"session": {"a.0": "old", "b.0": "old"}})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.set, {"session": {"a.0": "new", "b.0": None}})
        await trio.lowlevel.checkpoint()
        assert await keys.get("session", ["a.0", "b.0"]) == {"a.0": "new"}


class Crossing(MemoryEngine):
    """Once it has a `gate`: writes wait until somebody has read, who gets his rows after they are written."""

    gate: trio.Event | None = None

    async def write(self, writes: Sequence[Write]) -> list[Result]:
        if self.gate is not None:
            await self.gate.wait()
        return await super().write(writes)

    async def find(self, query: Query) -> list[Row]:
        rows = await super().find(query)
        if self.gate is not None and query.table == "baileys_keys":
            self.gate.set()
            await wait_all_tasks_blocked()
        return rows


async def test_a_row_that_was_read_before_a_write_does_not_count_after_it() -> None:
    """The write may end while the row is on its way: a ratchet would be turned back."""
    engine = Crossing()
    store = Store(engine, Vault(bytes(32)))
    await store.add_session(a_session("s1"))
    keys = SessionKeys(services(store), S1)
    await keys.set({"session": {"a.0": "old", "b.0": "old"}})
    async with trio.open_nursery() as nursery:
        engine.gate = trio.Event()
        nursery.start_soon(keys.set, {"session": {"a.0": "new", "b.0": None}})
        await wait_all_tasks_blocked()
        assert await keys.get("session", ["a.0", "b.0"]) == {"a.0": "new"}


async def test_an_older_value_never_comes_after_a_newer_one(
    keys: SessionKeys, engine: MemoryEngine, autojump_clock: MockClock
) -> None:
    """An outage is waited out, and what was set during it comes last."""
    engine.fault = "lose_answer"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.set, {"creds": {"creds": "old"}})
        await trio.sleep(0.05)
        nursery.start_soon(keys.set, {"creds": {"creds": "new"}})
        await trio.sleep(5)
        engine.fault = None
    assert await keys.get("creds", ["creds"]) == {"creds": "new"}


async def test_a_caller_that_is_cancelled_leaves_no_older_value_behind(tmp_path: Path) -> None:
    """A write that was handed over happens. So it is waited for: the removal that comes next must come after it."""
    async with open_store("embedded", data_dir=tmp_path, vault=Vault(bytes(32))) as store:
        for session_id in ("s1", "s2"):
            await store.add_session(a_session(session_id))
        keys, others = (SessionKeys(services(store), SessionId(session_id)) for session_id in ("s1", "s2"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others.set, {"pre-key": {str(n): "x" * 200 for n in range(5000)}})
            await wait_all_tasks_blocked()  # the store is busy with that, so what comes now gathers
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as cancelled:
                    cancelled.start_soon(keys.set, {"session": {"a.0": "1"}})
                    await wait_all_tasks_blocked()
                    scope.cancel()
            await keys.set({"session": {"a.0": None}})
        assert await keys.get("session", ["a.0"]) == {}
