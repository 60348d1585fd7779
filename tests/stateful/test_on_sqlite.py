"""Outbox and inbox over SQLite in a file."""

from __future__ import annotations

import pytest

from tests.stateful.inbox import InboxMachine
from tests.stateful.outbox import OutboxMachine
from tests.stateful.playing import play
from tests.store.harness import Place


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_sends(place: Place) -> None:
    """Whatever happens to a message, each is in one place, went out once, and in its order."""
    play(OutboxMachine, place)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_what_customers_write(place: Place) -> None:
    """Whatever happens to it, each message has one row, the flow hears of it in its order, and one answer counts."""
    play(InboxMachine, place)
