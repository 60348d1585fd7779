"""Opening a store: the right key, the right schema, the right URL, or a refusal that says what to do."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from tests.store.made import a_message, a_session, an_event, an_item
from wad.models import InboxState, MessageQuery, SessionId
from wad.secrets import Vault, WrongMasterKey
from wad.store.base import Delete, Insert, Query, StoreUnusable
from wad.store.open import open_store

durable = pytest.mark.parametrize("place", ["sqlite", "secantus"], indirect=True)


async def filled(place) -> tuple[str, str]:
    """One message and one stray inbox item, stored at *place*."""
    async with place.open() as store:
        await store.add_session(a_session())
        message, stray = a_message(), an_item("", state=InboxState.DEAD)
        await store.add_messages([message])
        await store.add_inbox([stray])
        await store.add_events([an_event()])
        return message.message_id, stray.message_id


@durable
async def test_a_wrong_master_key_is_refused_before_anything_is_written(place):
    """And the store is as good as before for the right one."""
    message_id, _ = await filled(place)
    with pytest.raises(WrongMasterKey, match="master_key"):
        async with place.open(Vault(os.urandom(32))):
            pytest.fail("it was opened")
    async with place.open() as store:
        assert (await store.message(message_id)).content["text"] == {"body": "Hola"}


@durable
async def test_master_keys_rotate(place):
    """Opened once with the new key and the old beside it, it needs the old one no more."""
    message_id, stray_id = await filled(place)
    new = os.urandom(32)
    async with place.open(Vault(new, [place.master])) as store:
        assert (await store.message(message_id)).content["text"] == {"body": "Hola"}
    async with place.open(Vault(new)) as store:
        assert (await store.message(message_id)).content["text"] == {"body": "Hola"}
        assert (await store.inbox_item(stray_id)).event.content["text"] == {"body": "Buenas"}
        assert len(await store.events_after(0)) == 1
        assert (await store.session("s1")).credentials["accessToken"] == "EAAsecret"
    with pytest.raises(WrongMasterKey):
        async with place.open():
            pytest.fail("the old key still opens it")


@durable
async def test_a_rotation_that_was_cut_short_is_finished_at_the_next_opening(place):
    """Some keys wrapped anew, some not, and the proof still the old one."""
    message_id, _ = await filled(place)
    new = os.urandom(32)
    async with place.open() as store:
        await store.add_session(a_session("s0"))
        session = await store.session("s0")
        again = Vault(new, [place.master]).rewrapped("s0", session.data_key)
        assert await store.save_session(session, replace(session, data_key=again, rev=1))
    async with place.open(Vault(new, [place.master])):
        pass
    async with place.open(Vault(new)) as store:
        assert (await store.session("s0")).credentials["accessToken"] == "EAAsecret"
        assert (await store.message(message_id)).content["text"] == {"body": "Hola"}


@durable
async def test_a_store_of_a_newer_wad_is_refused(place):
    """Before a table is touched; an older wad must not guess what new rows mean."""
    async with place.open() as store:
        await store._engine.write(
            [Delete("meta", {"name": "schema"}), Insert("meta", {"name": "schema", "value": b"99"})]
        )
    with pytest.raises(StoreUnusable, match="schema 99, and this wad"):
        async with place.open():
            pytest.fail("it was opened")


@pytest.mark.parametrize(
    "url",
    ["mongodb://user:p@ss:word@127.0.0.1/x", "mongodb://127.0.0.1:notaport", "nonsense", "mongodb://"],
)
async def test_a_url_that_pymongo_does_not_take_is_unusable_and_not_repeated(url, tmp_path):
    """It may hold a password, so the error names the setting and not its value."""
    with pytest.raises(StoreUnusable, match=r"store\.url") as caught:
        async with open_store(url, data_dir=tmp_path, vault=Vault(bytes(32))):
            pytest.fail("it was opened")
    assert "p@ss" not in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("place", ["memory", "sqlite", "secantus"], indirect=True)
@pytest.mark.parametrize("target", ["memory", "sqlite"])
async def test_a_dump_is_loaded_into_another_store(place, target, tmp_path):
    """Rows move as they are sealed; the other store reads them with the same master key, strays and events too."""
    vault = Vault(place.master)
    async with place.open(vault) as source:
        await source.add_session(a_session(is_connected=True))
        messages = await source.add_messages([a_message(key=f"k{n}") for n in range(3)])
        item, stray = an_item(), an_item("", state=InboxState.DEAD)
        await source.add_inbox([item, stray])
        await source.add_events([event := an_event()])
        await source.set_keys(SessionId("s1"), {"session": {"a": "1", "b": "2"}})
        dump = [row async for row in source.dump()]
        session = await source.session("s1")

    url = "memory" if target == "memory" else "embedded"
    async with open_store(url, data_dir=tmp_path / "other", vault=Vault(place.master)) as other:
        for _ in range(2):  # once more changes nothing
            stood = [await other.load(table, [row]) for table, row in dump]
            assert set(stood) == {1}
        assert await other.session("s1") == session
        assert set(await other.messages([m.message_id for m in messages])) == {m.message_id for m in messages}
        assert sorted(await other.find_messages(MessageQuery()), key=lambda m: m.seq)[:3] == messages
        assert await other.inbox_item(item.message_id) == item
        assert await other.inbox_item(stray.message_id) == stray
        assert await other.events_after(0) == [event]
        assert await other.keys(SessionId("s1"), "session", ["a", "b"]) == {"a": "1", "b": "2"}
        assert await other.message_by_idempotency("ops", "k1") == messages[1]

    [meta] = [row for table, row in dump if table == "meta" and row["name"] == "canary"]
    assert dump[0] == ("meta", meta)  # the proof comes first, so nothing is half loaded
    async with open_store("memory", vault=Vault(os.urandom(32))) as stranger:
        with pytest.raises(WrongMasterKey):
            await stranger.load("meta", [meta])
        assert await stranger._engine.find(Query(table="sessions")) == []


async def test_a_dump_of_a_newer_wad_is_refused(tmp_path):
    """Columns that this wad does not know would be lost."""
    async with open_store("memory", vault=Vault(bytes(32))) as store:
        with pytest.raises(ValueError, match="novelty"):
            await store.load("media", [{"mediaId": "m", "novelty": 1}])
