"""Repeatable benchmarks: `python -m bench`. What the figures mean is in docs/benchmarks.md."""
