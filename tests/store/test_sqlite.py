"""SQLite alone: its files, its durability under kill -9, its indexes, and what it says when the disk fails."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.store.made import a_message, a_session, an_item, inbound
from wad.errors import StoreUnavailable
from wad.models import Credentials, Former, MessageQuery, SessionId, Settings, utc_now
from wad.secrets import Vault
from wad.store import sql
from wad.store.base import Query, StoreUnusable
from wad.store.open import FILE, open_store
from wad.store.sqlite import open_sqlite
from wad.store.tables import BY_NAME, TABLES

MASTER = os.urandom(32)


@pytest.fixture
async def store(tmp_path):
    async with open_store("embedded", data_dir=tmp_path / "data", vault=Vault(MASTER)) as opened:
        await opened.add_session(a_session())
        yield opened


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_files_are_for_their_owner_alone(store, data):
    """Directory 0700, every file 0600: the log and the lock as well."""
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert modes == dict.fromkeys((FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}.lock"), 0o600)


async def test_nothing_that_people_wrote_can_be_read_from_the_files(store, data):
    """Texts, credentials, secrets, answers: sealed in the file and in its log; ids and numbers are not."""
    words = [f"canary{n}-{os.urandom(8).hex()}" for n in range(7)]
    await store.add_session(
        a_session(
            "s2",
            credentials=Credentials(accessToken=words[0]),
            settings=Settings(flow_secret=words[1]),
            formers=(Former(provider="twilio", credentials={"authToken": words[6]}, since=utc_now()),),
        )
    )
    await store.add_messages(
        [a_message(content={"type": "text", "text": {"body": words[2] * 40}}, reference="seen-reference")]
    )
    event = inbound()
    event.content["text"]["body"] = words[3]
    item = an_item(event=event)
    await store.add_inbox([item])
    assert await store.save_inbox(item, item.moved(item.state, answer=[{"type": "text", "text": words[4]}]))
    await store.set_keys(SessionId("s2"), {"creds": {"creds": words[5]}})
    files = b"".join(path.read_bytes() for path in data.iterdir())
    assert b"seen-reference" in files
    for word in words:
        assert word.encode() not in files


async def test_a_second_process_is_kept_out(store, data):
    """Two daemons on one file would send everything twice."""
    with pytest.raises(StoreUnusable, match="in use"):
        await open_sqlite(data / FILE)


async def test_a_place_that_cannot_be_a_store_is_unusable(tmp_path):
    """A person has to mend it: waiting will not."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnusable, match="file"):
        await open_sqlite(tmp_path / "file" / FILE)


async def test_a_file_that_is_no_database_is_unusable(tmp_path):
    """Whatever it is, it is not overwritten."""
    (tmp_path / FILE).write_bytes(b"precious " * 1000)
    with pytest.raises(StoreUnusable, match="not a database"):
        await open_sqlite(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == b"precious " * 1000


async def test_a_full_disk_is_unavailable_and_loses_nothing_acknowledged(store):
    """No room: 503 for what comes, not ready, reads go on, and with room again everything does."""
    [first] = await store.add_messages([a_message()])
    await store.ping()
    writer = store._engine._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count={pages}")
    big = a_message(content={"type": "text", "text": {"body": os.urandom(100_000).hex()}})
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        await store.add_messages([big])
    with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
        await store.ping()
    assert await store.message(first.message_id) == first
    writer.execute("PRAGMA max_page_count=1000000")
    await store.ping()
    assert await store._engine.find(Query(table="meta", where={"name": "room"})) == []
    [stored] = await store.add_messages([big])
    assert await store.message(big.message_id) == stored
    assert len(await store.find_messages(MessageQuery())) == 2


async def test_a_lock_that_somebody_holds_is_unavailable_and_passes(tmp_path):
    """A backup tool with a write lock delays, then 503s, and afterwards all is well."""
    engine = await open_sqlite(tmp_path / FILE, busy=0.05)
    await engine.prepare(TABLES)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        await engine.write([])
    other.execute("ROLLBACK")
    other.close()
    assert await engine.write([]) == []
    await engine.close()


async def test_a_wrong_statement_is_not_called_an_outage(store):
    """Patience with our own mistakes would wait for ever."""
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        await store._engine.find(Query(table="messages", where={"nonsense": 1}))


async def test_a_value_that_sqlite_cannot_take_fails_its_caller_alone(store):
    """A lone surrogate in a column, beside good messages at the same moment."""
    good: list[str] = []

    async def add() -> None:
        [stored] = await store.add_messages([a_message()])
        good.append(stored.message_id)

    async def bad() -> None:
        with pytest.raises(UnicodeEncodeError):
            await store.add_messages([a_message(key="\ud800")])

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(add)
            nursery.start_soon(bad)
    assert set(await store.messages(good)) == set(good)
    assert len(good) == 5


async def test_commits_are_durable_and_the_log_is_used(store):
    """The settings that the promise rests on."""
    writer = store._engine._writer
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(table="messages", where={"messageId": "m"}), "sqlite_autoindex_messages_1 (messageId=?)"),
        (
            Query(table="messages", where={"idempotencyScope": "a", "idempotencyKey": "k"}),
            "messages_idempotencyScope_idempotencyKey (idempotencyScope=? AND idempotencyKey=?)",
        ),
        (
            Query(table="messages", where={"sessionId": "s", "providerMessageId": ("p", "q")}),
            "messages_sessionId_providerMessageId (sessionId=? AND providerMessageId=?)",
        ),
        (
            Query(table="messages", where={"open": 1, "sessionId": "s"}, order="seq"),
            "messages_open_sessionId_seq (open=? AND sessionId=?)",
        ),
        (
            Query(table="messages", where={"dead": 1}, order="seq", descending=True, before=9, limit=50),
            "messages_dead_seq (dead=? AND seq<?)",
        ),
        (
            Query(table="messages", where={"sessionId": "s"}, order="seq", descending=True, limit=50),
            "messages_sessionId_seq (sessionId=?)",
        ),
        (
            Query(table="messages", where={"shopId": "x"}, order="seq", descending=True, before=9, limit=50),
            "messages_shopId_seq (shopId=? AND seq<?)",
        ),
        (
            Query(
                table="messages",
                where={"chat": "c", "shopId": "x", "sessionId": ("a", "b"), "state": ("sent", "read")},
                order="seq",
                descending=True,
                limit=1,
            ),
            "messages_chat_shopId_seq (chat=? AND shopId=?)",
        ),
        (
            Query(
                table="inbox",
                where={"sessionId": "s", "phone": "+1", "kind": "message"},
                order="seq",
                descending=True,
                limit=20,
            ),
            "inbox_phone_sessionId_seq (phone=? AND sessionId=?)",
        ),
        (Query(table="messages", order="seq", descending=True, before=9, limit=50), "messages_seq (seq<?)"),
        (
            Query(table="inbox", where={"sessionId": "s", "dedupeKey": "k"}),
            "inbox_sessionId_dedupeKey (sessionId=? AND dedupeKey=?)",
        ),
        (
            Query(table="inbox", where={"open": 1, "sessionId": "s"}, order="seq"),
            "inbox_open_sessionId_seq (open=? AND sessionId=?)",
        ),
        (
            Query(table="parked", where={"sessionId": "s", "providerMessageId": "p"}, order="createdAt"),
            "parked_sessionId_providerMessageId (sessionId=? AND providerMessageId=?)",
        ),
        (
            Query(table="baileys_keys", where={"id": ("s/k/1", "s/k/2")}),
            "sqlite_autoindex_baileys_keys_1 (id=?)",
        ),
        (
            Query(table="baileys_keys", where={"sessionId": "s"}, order="seq"),
            "baileys_keys_sessionId_kind (sessionId=?)",
        ),
        (Query(table="events", after=5, limit=500), "INTEGER PRIMARY KEY (rowid>?)"),
        (Query(table="sessions", after="s", limit=500), "sqlite_autoindex_sessions_1 (sessionId>?)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_query_has_its_index(store, query, index):
    """Without statistics, on the empty tables of a new store: the plan does not hang on what is in them."""
    table = BY_NAME[query.table]
    statement, values = sql.select(table, query, tuple(table.columns))
    plan = store._engine._writer.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    assert any(row[3].endswith(index) for row in plan), [row[3] for row in plan]


_WRITER = """
import os, sys, trio
from pathlib import Path
from tests.store.made import a_message, a_session
from wad.models import MessageState, utc_now
from wad.secrets import Vault
from wad.store.open import open_store

async def main():
    async with open_store("embedded", data_dir=Path(sys.argv[1]), vault=Vault(bytes(32))) as store:
        if await store.session("s1") is None:
            await store.add_session(a_session())

        async def caller():
            while True:
                [queued] = await store.add_messages([a_message()])
                os.write(1, f"queued {queued.message_id}\\n".encode())
                sending = queued.moved(MessageState.SENDING, utc_now())
                assert await store.save_message(queued, sending)
                os.write(1, f"sending {queued.message_id}\\n".encode())

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(caller)

trio.run(main)
"""


async def test_what_was_acknowledged_is_there_after_a_kill_9(tmp_path):
    """A process killed amid its commits, five times: every id it had been told of is stored, in that state."""
    acknowledged: dict[str, str] = {}
    for round_ in range(5):
        with subprocess.Popen(  # noqa: ASYNC220  nothing else runs here
            [sys.executable, "-c", _WRITER, str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
        ) as process:
            assert process.stdout is not None
            for count, line in enumerate(process.stdout):
                state, message_id = line.decode().split()
                acknowledged[message_id] = state
                if count == 200 + 137 * round_:
                    process.send_signal(signal.SIGKILL)
                    break
            for line in process.stdout:  # what it had been told before it died
                if line.endswith(b"\n"):
                    state, message_id = line.decode().split()
                    acknowledged[message_id] = state
        async with open_store("embedded", data_dir=tmp_path / "data", vault=Vault(bytes(32))) as store:
            found = await store.messages(list(acknowledged))
            missing = acknowledged.keys() - found.keys()
            assert not missing
            moved = [m for m, state in acknowledged.items() if state == "sending"]
            assert {found[message_id].state for message_id in moved} == {"sending"}
    assert len(acknowledged) > 1000


_KEY_WRITER = """
import os, sys, trio
from pathlib import Path
from tests.store.made import a_session
from wad.secrets import Vault
from wad.store.open import open_store

async def main():
    async with open_store("embedded", data_dir=Path(sys.argv[1]), vault=Vault(bytes(32))) as store:
        if await store.session("s1") is None:
            await store.add_session(a_session())
        n = int((await store.keys("s1", "creds", ["creds"])).get("creds", 0))
        while True:
            n += 1
            keys = {f"{i}.0": str(n) for i in range(100)}
            await store.set_keys("s1", {"creds": {"creds": str(n)}, "session": keys, "pre-key": {str(n): "k", str(n - 1): None}})
            os.write(1, f"{n}\\n".encode())

trio.run(main)
"""


async def test_what_one_call_sets_stands_or_falls_together_in_a_kill_9(tmp_path):
    """Identity, ratchets and what was used up are of one moment, and of one that was acknowledged or came after."""
    for round_ in range(5):
        with subprocess.Popen(  # noqa: ASYNC220  nothing else runs here
            [sys.executable, "-c", _KEY_WRITER, str(tmp_path / "data")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
        ) as process:
            assert process.stdout is not None
            for count, line in enumerate(process.stdout):
                acknowledged = int(line)
                if count == 20 + 17 * round_:
                    process.send_signal(signal.SIGKILL)
                    break
            for line in process.stdout:
                if line.endswith(b"\n"):
                    acknowledged = int(line)
        async with open_store("embedded", data_dir=tmp_path / "data", vault=Vault(bytes(32))) as store:
            [creds] = (await store.keys(SessionId("s1"), "creds", ["creds"])).values()
            ratchets = await store.keys(SessionId("s1"), "session", [f"{i}.0" for i in range(100)])
            unused = await store.keys(SessionId("s1"), "pre-key", [str(n) for n in range(int(creds) + 2)])
        assert int(creds) >= acknowledged
        assert set(ratchets.values()) == {creds}
        assert unused == {creds: "k"}


async def test_a_store_of_an_older_wad_gets_the_columns_that_it_lacks(tmp_path):
    """With its rows as they were: what they do not have is null."""
    path = tmp_path / "data"
    async with open_store("embedded", data_dir=path, vault=Vault(bytes(32))) as store:
        await store.add_session(a_session())
    with contextlib.closing(sqlite3.connect(path / FILE)) as db:
        for table, column in (("sessions", "formers"), ("messages", "lane")):
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.commit()
    async with open_store("embedded", data_dir=path, vault=Vault(bytes(32))) as store:
        session = await store.session(SessionId("s1"))
        assert session is not None
        assert session.formers == ()
        assert await store.add_messages([a_message()])
