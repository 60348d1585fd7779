"""Connections here are cut on purpose, with httpx at both ends of them in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.secantus import Secantus


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a cut leaves to the collector (httpx's body generators, sockets) is no finding about the daemon,
    which is another process.
    """
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a daemon's configuration says of the store, for each kind of store."""
    if request.param == "sqlite":
        yield {}
        return
    directory = tmp_path / "mongo"
    directory.mkdir()
    server = Secantus(directory)
    server.start()
    try:
        yield {
            "store": {"url": server.uri, "database": "wad", "data_dir": str(tmp_path / "var")},
            "secrets": {"master_key": "A" * 43 + "="},
        }
    finally:
        server.stop()
