"""Where the store's tests find their engines: in memory, in a file, and behind a socket.

MongoDB is SecantusDB, started once for all tests, and a real replica set where WAD_TEST_MONGO_URI names one.
Every test has an empty store under a master key of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.store.secantus import Secantus, is_installed
from wad.secrets import Vault
from wad.store.base import Engine
from wad.store.open import open_store
from wad.store.store import Store

REAL = os.environ.get("WAD_TEST_MONGO_URI")
KINDS = ["memory", "sqlite", "secantus", *(["mongodb"] if REAL else [])]


@dataclass
class Place:
    """Where one test's store is; it may be opened again and again."""

    kind: str
    url: str
    data_dir: Path
    database: str = field(default_factory=lambda: f"wad_test_{uuid.uuid4().hex[:12]}")
    master: bytes = field(default_factory=lambda: os.urandom(32))

    def open(self, vault: Vault | None = None) -> AbstractAsyncContextManager[Store]:
        return open_store(
            self.url, database=self.database, data_dir=self.data_dir, vault=vault or Vault(self.master)
        )

    def forget(self) -> None:
        if self.url.startswith("mongodb"):
            with pymongo.MongoClient[dict[str, Any]](self.url) as client:
                client.drop_database(self.database)


@pytest.fixture(scope="session")
def secantus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secantus]:
    """The server that all tests share. Who breaks it starts one of their own."""
    if not is_installed():
        pytest.skip("SecantusDB is not installed")
    server = Secantus(tmp_path_factory.mktemp("secantus"))
    server.start()
    yield server
    server.stop()


def place_of(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    match kind:
        case "memory":
            return Place(kind, "memory", tmp_path)
        case "sqlite":
            return Place(kind, "embedded", tmp_path / "data")
        case "secantus":
            return Place(kind, request.getfixturevalue("secantus").uri, tmp_path)
        case "mongodb":
            assert REAL is not None
            return Place(kind, REAL, tmp_path)
        case _:
            raise AssertionError(kind)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty place on every engine, or on those a test names."""
    found = place_of(request.param, tmp_path, request)
    yield found
    found.forget()


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """An open, empty store on every engine."""
    async with place.open() as opened:
        yield opened


@pytest.fixture
def engine(store: Store) -> Engine:
    """The engine under an open store: rows, below any record."""
    return store._engine
