"""What the kind says of itself, and how sessions are called where dots may not be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest

from wad.providers.baileys.connection import wire_name
from wad.providers.baileys.kind import Baileys, BaileysConfig
from wad.providers.place import Place
from wad.providers.pools import Pools


@pytest.fixture
async def kind(tmp_path: Path) -> AsyncIterator[Baileys]:
    async with Pools() as pools:
        yield Baileys(BaileysConfig(), Place(pools=pools, data_dir=tmp_path))


async def test_nothing_runs_and_nothing_is_written_before_a_session_connects(kind: Baileys, tmp_path: Path):
    """Ten thousand sessions of other providers need no Node."""
    async with kind.running():
        assert kind.bridges.pids == {}


@pytest.mark.parametrize(("written", "version"), [("2.3000.1043857760", (2, 3000, 1043857760)), (None, None)])
def test_the_client_version_is_three_numbers(written, version):
    assert BaileysConfig(client_version=written).version == version


def test_no_two_sessions_have_one_name_on_the_wire():
    """Ids are letters, digits, dots, dashes and low lines; a bridge makes a file's name of one."""
    ids = [first + "".join(rest) for first in "ad" for rest in product("ad._-", repeat=4)]

    names = {wire_name(session_id) for session_id in ids}

    assert len(names) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) for name in names)
    assert wire_name("tienda_1-b") == "tienda_1-b"
