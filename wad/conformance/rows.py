"""Tables that become tests: a row for each harness and each label, named `[cloud_api-image by link]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import pytest

from wad.conformance.harness import Harness

F = TypeVar("F", bound=Callable[..., Any])
Table = Callable[[Harness], Mapping[str, Any]]
_TABLE: Final = "conformance_table"


def rows(name: str, table: Table) -> Callable[[F], F]:
    """Run the test once for each row of *table*, which it takes as *name*."""

    def mark(test: F) -> F:
        setattr(test, _TABLE, (name, table))
        return test

    return mark


def labels(name: str, known: Mapping[str, Any]) -> Callable[[F], F]:
    """As `rows`, with a table that is the same for every harness."""
    return rows(name, lambda _: known)


def spread(metafunc: pytest.Metafunc, harnesses: Sequence[Harness]) -> None:
    """One test for each harness; for each of its rows, where the test has a table."""
    name, table = getattr(metafunc.function, _TABLE, (None, None))
    if name is None or table is None:
        metafunc.parametrize("harness", [pytest.param(each, id=each.name) for each in harnesses])
        return
    found = [
        pytest.param(harness, row, id=f"{harness.name}-{label}")
        for harness in harnesses
        for label, row in table(harness).items()
    ]
    nothing = pytest.mark.skip(reason="no harness has a row for it")
    metafunc.parametrize(
        ("harness", name), found or [pytest.param(harnesses[0], None, id="none", marks=nothing)]
    )
