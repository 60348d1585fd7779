"""Measure wad on this machine: `python -m bench`. Prints tables, and writes every figure to a JSON file.

The daemon has the first core; the callers, Graph and the flow have the second. Rounds of the ceiling and of wad
follow each other, so that what else the machine does troubles both alike; each figure is the median of its rounds.
`python -m bench soak` is another thing (bench/soak.py).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.footprint import measure_footprint
from bench.inbound import measure_inbound
from bench.process import REST, mongo
from bench.report import Figures, at, medians, tenths, whole
from bench.report import table as drawn
from bench.sending import CALLERS, VARIANTS, measure_ceiling, measure_wad
from bench.soak import main as soak
from bench.web import measure_web, web_tables
from bench.wire import clock
from bench.world import World

PARTS = ("send", "inbound", "footprint", "web")
USUAL = ("send", "inbound", "footprint")  # web takes Node, and as long as the others together


def main() -> None:
    asked = _arguments()
    os.sched_setaffinity(0, REST)
    gc.disable()  # ours are latencies of others
    world = World()
    found: Figures = {"machine": _machine(asked), "rounds": asked.rounds}
    if "send" in asked.parts:
        found |= _sending(world, asked)
    if "inbound" in asked.parts:
        rounds = [
            measure_inbound(world, asked.messages, directory=asked.dir) for _ in _rounds(asked, "inbound")
        ]
        found["inbound"] = medians(rounds)
    if "footprint" in asked.parts:
        counts = [0, *asked.sessions]
        rounds = [
            {str(count): measure_footprint(world, count, directory=asked.dir) for count in counts}
            for _ in _rounds(asked, "footprint")
        ]
        found["footprint"] = medians(rounds)
    if "web" in asked.parts:
        rounds = [
            measure_web(world, asked.open, asked.messages // 4, directory=asked.dir)
            for _ in _rounds(asked, "web")
        ]
        found["web"] = medians(rounds)
    asked.json.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(_tables(found)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all but web by default"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which each figure is the median")
    parser.add_argument("--messages", type=int, default=4000, help="for each figure")
    parser.add_argument("--sessions", type=int, nargs="*", default=[1000, 10_000], help="that do nothing")
    parser.add_argument(
        "--open", type=int, nargs="*", default=[1, 10, 50, 200], help="of WhatsApp Web, by steps"
    )
    parser.add_argument("--dir", help="where stores are made; the system's temporary directory by default")
    parser.add_argument("--mongo", help="URI of a MongoDB to send over as well, or `secantus`")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    asked = parser.parse_args()
    asked.parts = asked.parts or list(USUAL)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return asked


def _rounds(asked: argparse.Namespace, what: str) -> range:
    print(f"{what}: {asked.rounds} rounds", file=sys.stderr)
    return range(asked.rounds)


def _sending(world: World, asked: argparse.Namespace) -> Figures:
    rounds: list[Figures] = []
    with mongo(asked.mongo) as uri:
        stores = {"wad": "embedded", "memory": "memory"} | ({"mongo": uri} if uri else {})
        for _ in _rounds(asked, "send"):
            one = {"ceiling": measure_ceiling(world, asked.messages)}
            for name, store in stores.items():
                one[name] = measure_wad(world, asked.messages, store=store, directory=asked.dir)
            rounds.append(one)
    return medians(rounds)


# --- what is said ---------------------------------------------------------------------------------


def _tables(found: Figures) -> list[str]:
    machine = found["machine"]
    lines = [
        f"{machine['at']}, medians of {found['rounds']}. {machine['cpu']}, {machine['cores']} cores.",
        f"Python {machine['python']}; fdatasync of 4 KiB {machine['fdatasync_us']:.0f} µs.",
        "",
    ]
    if "wad" in found:
        lines += [_send_table(found), _latency_table(found["wad"])]
    if "inbound" in found:
        lines.append(_inbound_table(found["inbound"]))
    if "footprint" in found:
        lines.append(_footprint_table(found["footprint"]))
    if "web" in found:
        lines += web_tables(found["web"])
    return lines


def _send_table(found: Figures) -> str:
    """Rates, and what they are of the ceiling: of the quicker variant of it."""
    best = {str(n): max(found["ceiling"][v][str(n)]["per_second"] for v in VARIANTS) for n in CALLERS}

    def rates(figures: Figures) -> list[str]:
        return [whole(figures[str(n)]["per_second"]) for n in CALLERS]

    def ratios(figures: Figures) -> list[str]:
        return [f"{figures[str(n)]['per_second'] / best[str(n)]:.2f}" for n in CALLERS]

    def cost(figures: Figures) -> str:
        return whole(figures["64"]["cpu_us"])

    rows = [
        [f"ceiling, {variant}", *rates(found["ceiling"][variant]), cost(found["ceiling"][variant])]
        for variant in VARIANTS
    ]
    labels = {
        "wad": "wad, durable (SQLite)",
        "memory": "wad, store in memory",
        "mongo": f"wad, {found['machine']['mongo']}",
    }
    for name, label in labels.items():
        if name in found:
            rows.append([label, *rates(found[name]), cost(found[name])])
            rows.append(["... of the ceiling", *ratios(found[name]), ""])
    most = max(best.values())
    of_wad = max(found["wad"][str(n)]["per_second"] for n in CALLERS)
    rows.append([f"the most: wad {whole(of_wad)}, ceiling {whole(most)}", f"{of_wad / most:.2f}", "", "", ""])
    heads = ["messages/s, both 202 and accepted", *(f"{n} callers" for n in CALLERS), "µs CPU each at 64"]
    return drawn("### Sending", heads, rows)


def _latency_table(figures: Figures) -> str:
    labels = {
        "1": "1 caller, without pause",
        "half": f"{figures['half']['per_second']:,.0f}/s offered (half of the most)",
        "16": "16 callers, without pause",
        "64": "64 callers, without pause",
        "bulk100": "send-bulk of 100",
        "bulk1000": "send-bulk of 1000",
    }
    return drawn(
        "### Sending, durable: latencies in ms",
        ["", "messages/s", "202 p50", "202 p99", "202→accepted p50", "p99"],
        [
            [
                label,
                whole(figures[key]["per_second"]),
                *_latency(figures[key], "answer", "answer_to_accepted"),
            ]
            for key, label in labels.items()
        ],
    )


def _inbound_table(figures: Figures) -> str:
    return drawn(
        "### Receiving: webhook → flow → reply, latencies in ms",
        ["", "messages/s", "ack p50", "p99", "to flow p50", "p99", "to reply p50", "p99", "µs CPU each"],
        [
            [
                label,
                whole(figures[key]["per_second"]),
                *_latency(figures[key], "ack", "to_flow", "to_reply"),
                whole(figures[key]["cpu_us"]),
            ]
            for key, label in (("most", "16 callers, without pause"), ("half", "half of that offered"))
        ],
    )


def _latency(figures: Figures, *names: str) -> list[str]:
    return [tenths(figures[name][quantile]) for name in names for quantile in ("p50_ms", "p99_ms")]


def _footprint_table(figures: Figures) -> str:
    empty = figures["0"]["rss_mib"]

    def row(each: dict[str, Any]) -> list[str]:
        own = (each["rss_mib"] - empty) / each["sessions"] * 1024 if each["sessions"] else 0.0
        return [
            whole(each["sessions"]),
            f"{each['ready_s']:.2f}",
            f"{each['proven_s']:.2f}",
            tenths(each["rss_mib"]),
            tenths(own) if own else "",
            f"{each['idle_cpu_share']:.1%}",
        ]

    return drawn(
        "### Sessions that do nothing (cloud_api, restored)",
        ["sessions", "s to /readyz 200", "s until all are proven", "RSS MiB", "KiB each", "CPU idle"],
        [row(each) for each in figures.values()],
    )


def _machine(asked: argparse.Namespace) -> Figures:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "fdatasync_us": _fdatasync(asked.dir) * 1e6,
        "mongo": "SecantusDB (a test server)" if asked.mongo == "secantus" else "durable (MongoDB)",
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _fdatasync(directory: str | None) -> float:
    """The median second of making 4 KiB durable: what the disk asks for each commit."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            began = clock()
            os.fdatasync(file.fileno())
            took.append(clock() - began)
    return at(0.5, took)


if __name__ == "__main__":
    if sys.argv[1:2] == ["soak"]:  # no figure to compare: a run that holds, or does not
        sys.exit(soak(sys.argv[2:]))
    main()
