"""MongoDB alone: outages, faults in the middle of a write, and what an answer that never came means.

Faults are SecantusDB's `failCommand`, which fails commands as mongod's does. Real clocks, real sockets; nothing
here asserts how long something takes.
"""

from __future__ import annotations

import os

import pymongo
import pytest
import trio

from tests.store.harness import Place
from tests.store.made import a_message, a_session, an_item
from tests.store.secantus import OPTIONS, Secantus, is_installed
from wad.errors import StoreUnavailable
from wad.models import Credentials, MessageState, utc_now
from wad.secrets import Vault
from wad.store.base import Insert, Query, Update
from wad.store.mongo import MongoEngine, _compressors, open_mongo
from wad.store.store import Store
from wad.store.tables import TABLES

pytestmark = pytest.mark.skipif(not is_installed(), reason="SecantusDB is not installed")

place_on_secantus = pytest.mark.parametrize("place", ["secantus"], indirect=True)


@pytest.fixture
def server(secantus):
    """The shared server, with its fail points off again afterwards."""
    yield secantus
    secantus.heal()


@pytest.fixture
async def engine(server: Secantus, tmp_path):
    """An engine over the shared server."""
    place = Place("secantus", server.uri, tmp_path)
    engine = await open_mongo(server.uri, place.database)
    await engine.prepare(TABLES)
    yield engine
    server.heal()
    await engine.close()
    place.forget()


def message(key: str, rev: int = 1, **columns):
    return {"messageId": key, "sessionId": "s1", "seq": 1, "rev": rev, **columns}


async def keys(engine: MongoEngine) -> list[str]:
    return [row["messageId"] for row in await engine.find(Query(table="messages"))]


FAULTS = [
    pytest.param({"errorCode": 10107}, id="NotWritablePrimary"),
    pytest.param({"errorCode": 189}, id="PrimarySteppedDown"),
    pytest.param({"errorCode": 91}, id="ShutdownInProgress"),
    pytest.param({"errorCode": 112}, id="WriteConflict"),
    pytest.param({"closeConnection": True}, id="connection closed"),
    pytest.param({"writeConcernError": {"code": 64, "errmsg": "timed out"}}, id="write concern: timed out"),
    pytest.param({"writeConcernError": {"code": 100, "errmsg": "no nodes"}}, id="write concern: impossible"),
    pytest.param({"writeConcernError": {"code": 91, "errmsg": "down"}}, id="write concern: shutting down"),
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_passes_is_not_seen_by_the_caller(server, engine, fault):
    """The same write is made again, and is done once: an insert, a refused one, an update, a lost race."""
    await engine.write([Insert("messages", message("old")), Insert("messages", message("lost", rev=9))])
    server.fail(["insert"], times=1, **fault)
    inserts = [Insert("messages", message("new")), Insert("messages", message("old", rev=2))]
    assert await engine.write(inserts) == [None, "key"]
    server.fail(["update"], times=1, **fault)
    updates = [
        Update("messages", "old", 1, {"chat": "moved", "rev": 5}),
        Update("messages", "lost", 1, {"rev": 6}),
    ]
    assert await engine.write(updates) == [True, False]
    assert sorted(await keys(engine)) == ["lost", "new", "old"]


@pytest.mark.parametrize("fault", FAULTS[:5])
async def test_reads_pass_over_a_fault_too(server, engine, fault):
    """A list or a count survives an election."""
    await engine.write([Insert("messages", message("m1"))])
    server.fail(["find"], times=1, **fault)
    assert await keys(engine) == ["m1"]
    server.fail(["aggregate"], times=1, **fault)
    assert await engine.count("messages", {}, by="sessionId") == {"s1": 1}


@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[3], FAULTS[4], FAULTS[5]])
async def test_a_fault_that_lasts_is_unavailable(server, engine, fault):
    """Never a success that is not durable; once it has passed, the same write can be made."""
    engine._budget = 0.6
    server.fail(["insert"], times=None, **fault)
    with pytest.raises(StoreUnavailable, match="MongoDB"):
        await engine.write([Insert("messages", message("m1"))])
    server.heal()
    engine._budget = 5.0
    assert await engine.write([Insert("messages", message("m1"))]) == [None]
    assert await keys(engine) == ["m1"]


async def test_a_server_that_does_not_answer_in_time_is_unavailable(server, engine):
    """The wait ends with the budget, and the late insert is the same insert."""
    engine._budget = 0.6
    server.fail(["insert"], times=1, blockConnection=True, blockTimeMS=2000)
    with pytest.raises(StoreUnavailable):
        await engine.write([Insert("messages", message("m1"))])
    server.heal()
    engine._budget = 5.0
    assert await engine.write([Insert("messages", message("m1"))]) == [None]


async def test_a_command_that_is_wrong_is_not_called_an_outage(server, engine):
    """Patience with our own mistakes would wait for ever."""
    server.fail(["find"], times=1, errorCode=2)
    with pytest.raises(pymongo.errors.OperationFailure):
        await engine.find(Query(table="messages"))


@pytest.mark.parametrize(
    "code", [13, 18, 14031, 1], ids=["Unauthorized", "AuthenticationFailed", "disk full", "internal"]
)
async def test_what_an_operator_has_to_mend_is_unavailable_at_once(server, engine, code):
    """No use in repeating it; a patient caller waits for the operator."""
    server.fail(["insert"], times=1, errorCode=code)
    with pytest.raises(StoreUnavailable):
        await engine.write([Insert("messages", message("m1"))])
    assert await engine.write([Insert("messages", message("m1"))]) == [None]


async def test_a_document_that_is_too_large_fails_its_caller_alone(server, engine):
    """Beside good writes at the same moment; 16 MiB is MongoDB's bound."""
    store = Store(engine, Vault(os.urandom(32)))
    await store.add_session(a_session())
    good: list[str] = []

    async def add() -> None:
        [stored] = await store.add_messages([a_message()])
        good.append(stored.message_id)

    async def bad() -> None:
        with pytest.raises(pymongo.errors.PyMongoError):
            await store.add_messages([a_message(reference="x" * (17 << 20))])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(add)
        nursery.start_soon(bad)
    assert set(await store.messages(good)) == set(good)
    assert len(good) == 3


async def test_what_is_acknowledged_is_asked_of_the_majority_and_the_journal(server, engine, monkeypatch):
    """Whatever the URI says: durability is not an option."""
    weak = await open_mongo(f"{server.uri}&w=1&journal=false&readConcernLevel=local", "wad_test_weak")
    try:
        assert weak._db.write_concern.document == {"w": "majority", "j": True, "wtimeout": 5000}
        assert weak._db.read_concern.document == {"level": "majority"}
    finally:
        await weak.close()


@pytest.mark.parametrize(
    ("said", "option", "value"),
    [
        ("", "maxPoolSize", 32),
        ("maxPoolSize=7", "maxPoolSize", 7),
        ("MAXPOOLSIZE=7", "maxPoolSize", 7),
        ("", "serverSelectionTimeoutMS", 5.0),
        ("serverSelectionTimeoutMS=100", "serverSelectionTimeoutMS", 0.1),
    ],
)
async def test_defaults_give_way_to_what_the_uri_says(said, option, value):
    """An operator's word comes first."""
    engine = await open_mongo(f"mongodb://127.0.0.1:1/?{said}", "x")
    options = engine._client.options
    found = {
        "maxPoolSize": options.pool_options.max_pool_size,
        "serverSelectionTimeoutMS": options.server_selection_timeout,
    }
    assert found[option] == value
    await engine.close()


def test_the_wire_is_compressed_by_what_this_python_has():
    """zlib always; asking for what is not installed would warn."""
    assert _compressors()[-1] == "zlib"


@place_on_secantus
async def test_the_sessions_collection_reads_as_it_is_documented(place):
    """Field by field, by whoever looks with mongosh; credentials are sealed."""
    async with place.open() as store:
        await store.add_session(
            a_session(shop_id="shop-9", is_connected=True, credentials=Credentials(accessToken="EAAcanary"))
        )
    with pymongo.MongoClient(place.url) as client:
        [document] = client[place.database]["sessions"].find({"sessionId": "s1"})
    for field in (
        *("sessionId", "phoneNumber", "provider", "isConnected", "lastSeen", "qrCode", "connectionData"),
        *("credentials", "shopId", "createdAt", "updatedAt"),
    ):
        assert field in document, field
    assert document["isConnected"] is True
    assert document["shopId"] == "shop-9"
    assert isinstance(document["createdAt"], int)
    assert b"EAAcanary" not in document["credentials"]
    assert "EAAcanary" not in repr(document)


# --- a server that goes away ------------------------------------------------------------------------


@pytest.fixture
def own_server(tmp_path_factory):
    """A server that a test may kill."""
    server = Secantus(tmp_path_factory.mktemp("own"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def store(own_server):
    engine = await open_mongo(own_server.uri, "wad", budget=2.0)
    await engine.prepare(TABLES)
    store = Store(engine, Vault(os.urandom(32)))
    await store.add_session(a_session())
    yield store
    await store.close()


async def test_an_outage_is_told_to_callers_waited_out_by_the_patient_and_loses_nothing(own_server, store):
    """A kill -9 under load, and a restart: 503 meanwhile, then everything acknowledged is there, once."""
    acknowledged: set[str] = set()
    refused: set[str] = set()
    patient_ids: set[str] = set()
    over = trio.Event()

    async def caller() -> None:
        while not over.is_set():
            mine = a_message()
            try:
                [queued] = await store.add_messages([mine])
                acknowledged.add(queued.message_id)
                await store.save_message(queued, queued.moved(MessageState.SENDING, utc_now()))
            except StoreUnavailable:
                if mine.message_id not in acknowledged:
                    refused.add(mine.message_id)

    async def patient_caller() -> None:
        while not over.is_set():
            mine = a_message()
            await store.patient().add_messages([mine])
            patient_ids.add(mine.message_id)

    async def until(enough) -> None:
        with trio.fail_after(60):
            while not enough():  # noqa: ASYNC110  a server in another process sets no event
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(caller)
        for _ in range(4):
            nursery.start_soon(patient_caller)
        await until(lambda: len(acknowledged) > 100)
        await trio.to_thread.run_sync(own_server.kill)
        await until(lambda: refused)
        before = len(acknowledged), len(patient_ids)
        await trio.to_thread.run_sync(own_server.start)
        await until(lambda: len(acknowledged) > before[0] + 50 and len(patient_ids) > before[1] + 20)
        over.set()

    found = await store.messages([*acknowledged, *patient_ids])
    assert found.keys() == acknowledged | patient_ids
    open_ids = {pending.message_id for pending in await store.open_messages("s1")}
    assert not refused & open_ids  # none of them will go out by itself
    assert not refused & (await store.messages(list(refused))).keys()


async def test_a_server_that_stalls_is_unavailable_and_what_it_does_late_is_not_sent(own_server, store):
    """It wakes with our insert in its buffer: the refused message is hidden from then on, and erased."""
    await store.add_messages([first := a_message()])
    own_server.freeze()
    late = a_message(key="k")
    with pytest.raises(StoreUnavailable):
        await store.add_messages([late])
    own_server.thaw()
    again = a_message(key="k")
    [standing] = await store.patient().add_messages([again])
    assert standing.message_id == again.message_id
    assert {p.message_id for p in await store.open_messages("s1")} == {first.message_id, again.message_id}


async def test_inbound_that_was_refused_is_new_when_it_is_redelivered(own_server, store):
    """Across a stall: whether or not the first arrived, the redelivery stands and is told to be new."""
    own_server.freeze()
    with pytest.raises(StoreUnavailable):
        await store.add_inbox([an_item(provider_id="wamid.1")])
    own_server.thaw()
    second = an_item(provider_id="wamid.1")
    assert await store.patient().add_inbox([second]) == [True]
    assert [pending.message_id for pending in await store.open_inbox("s1")] == [second.message_id]


async def test_a_server_that_is_not_there_is_unavailable():
    """Not a crash and not a hang: at start the daemon decides whether to wait."""
    engine = await open_mongo(f"mongodb://127.0.0.1:1/?{OPTIONS}", "x", budget=0.3)
    with pytest.raises(StoreUnavailable, match=r"127[.]0[.]0[.]1:1"):
        await engine.ping()
    await engine.close()
