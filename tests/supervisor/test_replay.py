"""While the store is away webhooks wait in the spool, and afterwards the store has each of them once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.supervisor.test_webhooks import CloudHouse, entry, number, posted, received, take
from wad.errors import NotFound
from wad.events import MessageReceived
from wad.models import InboxState, SessionId
from wad.secrets import Vault
from wad.store.spool import Spool, open_spool
from wad.supervisor.replay import replay
from wad.supervisor.sessions import Sessions
from wad.supervisor.webhooks import NOBODY

MASTER = b"m" * 32


@asynccontextmanager
async def away(directory: Path) -> AsyncIterator[tuple[CloudHouse, Sessions, Spool]]:
    """Two numbers whose store has just gone away. The clock is the real one: the spool is a file."""
    house = CloudHouse()
    async with (
        open_spool(directory, Vault(MASTER), max_size=1 << 20) as house.spool,
        house.pools,
        house.run() as sessions,
    ):
        assert house.spool is not None
        await number(sessions, "one", "111")
        await number(sessions, "two", "222")
        house._engine.fault = "refuse"
        yield house, sessions, house.spool
        house._engine.fault = None


async def emptied(sessions: Sessions, spool: Spool) -> None:
    """Return once nothing is in *spool* any more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay, spool, sessions.webhooks)
        with trio.fail_after(20):
            while spool.depth:  # noqa: ASYNC110  it has no event for it, as nobody else waits
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


async def test_what_came_meanwhile_is_stored_once_and_in_order(tmp_path: Path) -> None:
    """Repeated by the provider or not; and what comes while the spool is emptied stands behind it."""
    async with away(tmp_path) as (house, sessions, spool):
        before = sessions.status(SessionId("one")).last_inbound_at
        for n in range(10):
            taken = await take(sessions, posted(entry("111", f"w{n}", f"{n}"), entry("222", f"x{n}", f"{n}")))
            assert taken.messages == 2
        await take(sessions, posted(entry("111", "w3", "3")))
        assert (spool.depth, received(house)) == (11, [])
        assert sessions.status(SessionId("one")).last_inbound_at != before
        house._engine.fault = None
        await take(sessions, posted(entry("111", "w10", "10")))
        assert spool.depth == 12
        await emptied(sessions, spool)
        await take(sessions, posted(entry("111", "w11", "11")))
        assert spool.depth == 0
        assert [text for name, text in received(house) if name == "one"] == [str(n) for n in range(12)]
        assert [text for name, text in received(house) if name == "two"] == [str(n) for n in range(10)]


async def test_the_next_life_takes_up_what_was_left(tmp_path: Path) -> None:
    """A row that the store has, and that a crash kept in the spool, is stored once."""
    async with away(tmp_path) as (house, sessions, spool):
        await take(sessions, posted(entry("111", "w1", "a")))
        house._engine.fault = "lose_answer"
        with pytest.raises(Exception, match="lost"):
            await sessions.webhooks.take_again(await spool.oldest())
    async with open_spool(tmp_path, Vault(MASTER), max_size=1 << 20) as house.spool:
        assert house.spool is not None
        async with house.pools, house.run() as sessions:
            await emptied(sessions, house.spool)
            store = house.store()
            found = await store.inbox_by_dedupe(SessionId("one"), "m:w1")
            assert found is not None


async def test_what_no_session_takes_any_more_is_kept_for_nobody(tmp_path: Path) -> None:
    """It was verified and answered when it came; it holds up nothing behind it."""
    async with away(tmp_path) as (house, sessions, spool):
        await take(sessions, posted(entry("111", "w1", "to one")), session_id="one")
        await take(sessions, posted(entry("222", "w2", "to two")), session_id="two")
        house._engine.fault = None
        await sessions.delete(SessionId("one"))
        with pytest.raises(NotFound):
            await take(sessions, posted(entry("111", "w3")), session_id="one")
        await emptied(sessions, spool)
        items = [fact.item for fact in house.facts_of(MessageReceived)]
        assert {(item.session_id, item.state) for item in items} == {
            (NOBODY, InboxState.DEAD),
            (SessionId("two"), InboxState.DONE),
        }
