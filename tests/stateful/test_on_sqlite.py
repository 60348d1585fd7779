"""Outbox and inbox over SQLite in a file."""

from __future__ import annotations

import pytest

from tests.stateful.outbox import OutboxMachine
from tests.stateful.playing import play
from tests.store.harness import Place


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_sends(place: Place) -> None:
    """Whatever happens to a message, each is in one place, went out once, and in its order."""
    play(OutboxMachine, place)
