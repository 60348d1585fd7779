"""`python -m tests.faults`: run rows of the fault matrix, tell of each as it ends, and print the table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from tests.faults.matrix import Progress, Result, faults, run, table
from tests.faults.world import SHOPS, STORES


async def main(options: argparse.Namespace) -> int:
    rows = [row for label, row in faults().items() if not options.fault or label in options.fault]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="wad-faults-") as made:
        directory = options.directory or Path(made)
        for store in options.store or STORES:
            results += await run(
                directory, store, rows, providers=options.provider or tuple(SHOPS), tell=Progress()
            )
    if options.report is not None:
        options.report.write_text(table(results))
    failed = sum(bool(each.tally.findings) for each in results)
    print(f"{len(results) - failed} of {len(results)} rows hold")
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    made.add_argument("--store", action="append", choices=STORES, help="again for more; all, by default")
    made.add_argument(
        "--fault", action="append", choices=list(faults()), metavar="LABEL", help="as --list shows it"
    )
    made.add_argument("--provider", action="append", choices=list(SHOPS), help="sessions of these alone")
    made.add_argument("--report", type=Path, metavar="FILE", help="where the table goes, in Markdown")
    made.add_argument("--directory", type=Path, help="kept afterwards: logs, stores, the sandbox's ledger")
    made.add_argument("--list", action="store_true", help="the labels, and no more")
    return made


if __name__ == "__main__":
    options = parser().parse_args()
    if options.list:
        print("\n".join(faults()))
        sys.exit()
    sys.exit(trio.run(partial(main, options)))
