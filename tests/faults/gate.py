"""What pytest runs of the matrix: the rows that the gate has time for, or with `WAD_FAULTS=all` every one.

In the gate: the kills, because what they find nothing else does, and one row of each way to lose an answer. The rest
takes the better part of an hour: `python -m tests.faults`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.matrix import Progress, faults, run

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
