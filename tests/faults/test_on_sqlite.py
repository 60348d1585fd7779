"""The fault matrix on the store of this name (`tests.faults.gate` says which rows)."""

from __future__ import annotations

from pathlib import Path

from tests.faults.gate import MARKS, check

pytestmark = MARKS


async def test_nothing_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """Whatever goes wrong, and over every provider: each row under load both ways, then the ledger is counted."""
    await check(tmp_path, "sqlite")
