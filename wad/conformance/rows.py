"""Tables that become tests: a row for each harness and each label, named `[cloud_api-image by link]`.

Which harnesses a test is for, its parameter `harness` says: all of them, or those of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, get_type_hints

import pytest

from wad.conformance.harness import Harness

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=Harness)
_TABLE: Final = "conformance_table"


def rows(name: str, table: Callable[[H], Mapping[str, Any]]) -> Callable[[F], F]:
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
    name, _ = getattr(metafunc.function, _TABLE, (None, None))
    found = list(_cases(metafunc.function, harnesses))
    if name is None:
        metafunc.parametrize("harness", [_param(each, each.name, each) for each, _, _ in found])
    else:
        cases = [_param(each, f"{each.name}-{label}", each, row) for each, label, row in found]
        metafunc.parametrize(("harness", name), cases)


def has_cases(test: Callable[..., Any], harnesses: Sequence[Harness]) -> bool:
    """Whether *test* would run at all."""
    return any(True for _ in _cases(test, harnesses))


def _cases(test: Callable[..., Any], harnesses: Sequence[Harness]) -> Iterator[tuple[Harness, str, Any]]:
    kind = get_type_hints(test)["harness"]
    _, table = getattr(test, _TABLE, (None, None))
    for harness in harnesses:
        if isinstance(harness, kind):
            for label, row in ({"": None} if table is None else table(harness)).items():
                yield harness, label, row


def _param(harness: Harness, label: str, *values: Any) -> Any:
    return pytest.param(*values, id=label, marks=pytest.mark.trio(run=harness.run))
