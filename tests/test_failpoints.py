"""The points at which a test has the daemon die: every one is somewhere, and a wrong name is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wad import failpoints
from wad.errors import StoreUnavailable


@pytest.fixture(autouse=True)
def unarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_armed", None)


def test_each_point_is_passed_in_one_place() -> None:
    """The list and the code name the same points."""
    wad = Path(failpoints.__file__).parent
    passed = [
        name for path in wad.rglob("*.py") for name in re.findall(r'\breach\("([^"]+)"\)', path.read_text())
    ]
    assert sorted(passed) == sorted(failpoints.POINTS)


def test_it_happens_at_the_passing_that_was_asked_for() -> None:
    """Not before, and not again."""
    failpoints.arm({"WAD_FAILPOINT": "send.claimed:error:2"})
    failpoints.reach("send.queued")
    failpoints.reach("send.claimed")
    with pytest.raises(OSError, match=r"send\.claimed"):
        failpoints.reach("send.claimed")
    failpoints.reach("send.claimed")


def test_the_store_fails_as_a_store_does() -> None:
    """Whoever calls it knows what to do then."""
    failpoints.arm({"WAD_FAILPOINT": "store.writing:error"})
    with pytest.raises(StoreUnavailable):
        failpoints.reach("store.writing")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("send.clamied:kill", "there is no point 'send.clamied'; there are send.queued, send.claimed"),
        ("send.claimed:explode", "'explode' cannot happen at a point; kill, pause, error can"),
        ("send.claimed", "'' cannot happen at a point"),
        ("send.claimed:kill:0", "'0' is no number of a passing"),
        ("send.claimed:kill:often", "'often' is no number of a passing"),
    ],
)
def test_what_cannot_be_is_told_with_what_can(text: str, told: str) -> None:
    """A typing error would be a test that shows nothing."""
    with pytest.raises(ValueError, match=re.escape(told)):
        failpoints.arm({"WAD_FAILPOINT": text})


def test_a_point_costs_nothing_where_none_is_named() -> None:
    """Unset is as it was."""
    failpoints.arm({})
    for name in failpoints.POINTS:
        failpoints.reach(name)
