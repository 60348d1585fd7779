"""What pytest runs of the matrix: the rows that the gate has time for, or with `WAD_FAULTS=all` every one.

In the gate: the kills, because what they find nothing else does, and one row of each way to lose an answer. The rest
takes the better part of an hour: `python -m tests.faults`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.matrix import Progress, faults, run
from tests.sandbox.web.place import needs_node

#: What a cut leaves to the collector (httpx's body generators, sockets) is no finding about the daemon, which is another
#: process.
MARKS = [
    needs_node,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
EVERYTHING = os.environ.get("WAD_FAULTS") == "all"


async def check(directory: Path, store: str) -> None:
    """Run the rows on *store*, and fail on every one that does not hold."""
    rows = [row for row in faults().values() if row.in_gate or EVERYTHING]
    results = await run(directory, store, rows, tell=Progress())
    failed = [each for each in results if each.tally.findings]
    told = "\n".join(
        f"{each.fault} on {store}: {finding}" for each in failed for finding in each.tally.findings
    )
    assert not failed, told
