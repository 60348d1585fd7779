"""Figures as they are kept (JSON) and as they are read (tables)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Figures = dict[str, Any]


def at(quantile: float, values: Iterable[float]) -> float:
    """The value below which *quantile* of *values* lie; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * quantile), len(ordered) - 1)] if ordered else 0.0


def milliseconds(values: Iterable[float]) -> Figures:
    values = list(values)
    return {"p50_ms": at(0.5, values) * 1000, "p99_ms": at(0.99, values) * 1000}


def medians(rounds: Sequence[Figures]) -> Figures:
    """Each figure's median over *rounds* that have the same figures."""
    first = rounds[0]
    found: Figures = {}
    for name, value in first.items():
        each = [figures[name] for figures in rounds]
        if isinstance(value, dict):
            found[name] = medians(each)
        elif isinstance(value, int | float):
            found[name] = median(each)
        else:
            found[name] = value
    return found


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: texts to the left, figures to the right."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]

    def drawn(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        ["", *("-" * (width + 1) + ("-" if not n else ":") for n, width in enumerate(widths)), ""]
    )
    return "\n".join([f"{title}", "", drawn(lines[0]), rule, *map(drawn, lines[1:]), ""])


def whole(value: float) -> str:
    return f"{value:,.0f}"


def tenths(value: float) -> str:
    return f"{value:,.1f}"
