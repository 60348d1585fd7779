"""`wad store export|import`: nothing is lost on the way, nothing is opened, and nothing is overwritten."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from tests.cli.conftest import Wad
from tests.store.made import a_message, a_session
from wad.secrets import Vault
from wad.store.open import open_store
from wad.store.store import Store

T = TypeVar("T")


def within(place: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do *work* in the store of *place*, under the key that lies there."""

    async def main() -> T:
        vault = Vault(base64.b64decode((place / "master-key").read_text()))
        async with open_store("embedded", data_dir=place, vault=vault) as store:
            return await work(store)

    return trio.run(main)


async def rows(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """All that is stored, but for what each store notes about itself."""
    return [(table, row) async for table, row in store.dump() if row.get("name") != "canary"]


@pytest.fixture
def filled(elsewhere: Path) -> Path:
    """A store in ./var with a session and three messages."""
    place = elsewhere / "var"
    place.mkdir(mode=0o700)
    (place / "master-key").write_text(base64.b64encode(bytes(range(32))).decode())

    async def fill(store: Store) -> None:
        await store.add_session(a_session("shop"))
        await store.add_messages(
            [
                a_message("shop", content={"type": "text", "text": {"body": f"secret text {n}"}})
                for n in range(3)
            ]
        )

    within(place, fill)
    return place


@pytest.fixture
def other(elsewhere: Path, filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory with the same master key, where commands look now."""
    place = elsewhere / "other"
    place.mkdir(mode=0o700)
    shutil.copy(filled / "master-key", place)
    monkeypatch.setenv("WAD_STORE__DATA_DIR", str(place))
    return place


def exported(wad: Wad, filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setenv("WAD_STORE__DATA_DIR", str(filled))
        assert wad("store", "export", "out.jsonl").status == 0
    return Path("out.jsonl").resolve()


def test_what_is_exported_and_imported_is_the_same(wad: Wad, filled: Path, other: Path, monkeypatch):
    """Row for row, sealed values as they were: so ids, states and keys all survive a move."""
    file = exported(wad, filled, monkeypatch)
    ran = wad("store", "import", str(file), "--json")
    assert (ran.status, ran.json["rows"]["sessions"], ran.json["rows"]["messages"]) == (0, 1, 3)
    assert within(other, rows) == within(filled, rows)


def test_an_export_shows_no_text_and_only_its_owner_may_read_it(wad: Wad, filled: Path, monkeypatch):
    """It is a backup that may lie about: what was sealed stays sealed."""
    file = exported(wad, filled, monkeypatch)
    assert "secret text" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_export_goes_to_stdout_as_well(wad: Wad, filled: Path):
    """So that it can be piped; every line is JSON, and the last one counts the others."""
    lines = [json.loads(line) for line in wad("store", "export", "-").out.splitlines()]
    assert lines[0]["wad"] == "export"
    assert lines[-1] == {"end": True, "rows": len(lines) - 2}


def test_a_failed_export_leaves_the_file_of_last_time(wad: Wad, filled: Path, elsewhere: Path):
    """A backup is replaced by a whole one, or not at all."""
    target = elsewhere / "backup"
    target.mkdir()
    (target / "keep").write_text("")
    ran = wad("store", "export", str(target))
    assert (ran.status, [path.name for path in target.iterdir()]) == (74, ["keep"])
    assert not list(elsewhere.glob(".backup*"))


def test_an_import_does_not_go_over_what_is_there(wad: Wad, filled: Path, monkeypatch):
    """Two stores made one by accident could not be parted again."""
    file = exported(wad, filled, monkeypatch)
    before = within(filled, rows)
    assert wad("store", "import", str(file)).status == 73
    assert wad("store", "import", str(file), "--merge").status == 0
    assert within(filled, rows) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda lines: lines[:-1], id="the last line is missing"),
        pytest.param(lambda lines: lines[:-2] + lines[-1:], id="a row is missing"),
        pytest.param(lambda lines: lines[1:], id="the first line is missing"),
        pytest.param(lambda lines: [*lines[:3], b"{\n", *lines[3:]], id="a line is no JSON"),
        pytest.param(lambda lines: [*lines[:3], b"\xff\xfe\n", *lines[3:]], id="a line is no text"),
        pytest.param(
            lambda lines: [*lines[:3], b'{"table":"secrets","row":{}}\n', *lines[3:]],
            id="a table nobody knows",
        ),
        pytest.param(
            lambda lines: [lines[0].replace(b'"schema":1', b'"schema":2'), *lines[1:]], id="a newer schema"
        ),
        pytest.param(lambda lines: [], id="nothing at all"),
    ],
)
def test_a_damaged_file_is_noticed(wad: Wad, filled: Path, other: Path, monkeypatch, damage):
    """EX_DATAERR, also where most of it could be read: half a store is not a store."""
    file = exported(wad, filled, monkeypatch)
    file.write_bytes(b"".join(damage(file.read_bytes().splitlines(keepends=True))))
    assert wad("store", "import", str(file)).status == 65


def test_a_file_of_something_else_touches_no_store(wad: Wad, other: Path, elsewhere: Path):
    """The wrong file in the command is a slip, and slips leave no traces."""
    (elsewhere / "photo.jpg").write_bytes(bytes(range(256)))
    before = sorted(path.name for path in other.iterdir())
    assert wad("store", "import", "photo.jpg").status == 65
    assert sorted(path.name for path in other.iterdir()) == before


def test_an_import_under_another_master_key_is_refused(wad: Wad, filled: Path, other: Path, monkeypatch):
    """Nobody could ever read those rows."""
    file = exported(wad, filled, monkeypatch)
    (other / "master-key").write_text(base64.b64encode(bytes(32)).decode())
    ran = wad("store", "import", str(file))
    assert (ran.status, "master key" in ran.err) == (78, True)


def test_an_import_makes_no_master_key_of_its_own(wad: Wad, filled: Path, other: Path, monkeypatch):
    """A fresh key would open nothing of the file, and be in the way of the right one."""
    file = exported(wad, filled, monkeypatch)
    (other / "master-key").unlink()
    ran = wad("store", "import", str(file))
    assert (ran.status, str(other / "master-key") in ran.err) == (78, True)
    assert list(other.iterdir()) == []


def test_an_export_of_no_store_is_refused(wad: Wad, elsewhere: Path):
    """A directory mistyped is not an empty store."""
    assert wad("store", "export", "out.jsonl").status == 65
    assert not (elsewhere / "out.jsonl").exists()


def test_a_store_in_use_is_left_alone(wad: Wad, filled: Path):
    """Only one process may have it: the daemon has to be stopped first."""

    async def export(_: Store) -> Any:
        return await trio.to_thread.run_sync(wad, "store", "export", "-")

    ran = within(filled, export)
    assert (ran.status, "in use" in ran.err) == (78, True)
