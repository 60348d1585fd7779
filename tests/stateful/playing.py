"""Plays a state machine on a store: a few hundred steps in the gate, many more when asked to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.stateful.daemon import MASTER
from tests.stateful.disk import Disk
from tests.stateful.portal import Portal
from tests.store.harness import Place
from wad.secrets import Vault
from wad.store.base import Delete
from wad.store.tables import TABLES
from wad.supervisor.webhooks import NOBODY

#: How many plays, where WAD_EXAMPLES does not say it: what a store's speed leaves room for in the gate.
EXAMPLES: Final = {"memory": 40, "sqlite": 15, "secantus": 10, "mongodb": 10}
STEPS: Final = 40


def budget(examples: int) -> settings:
    """A failure prints the steps that it takes, and what makes Hypothesis play them again."""
    return settings(
        max_examples=int(os.environ.get("WAD_EXAMPLES", examples)),
        stateful_step_count=STEPS,
        print_blob=True,
    )


def play(machine: Callable[[Portal, Disk], RuleBasedStateMachine], place: Place) -> None:
    """Every play begins with an empty store; the store itself is opened once, for that takes longest."""
    with Portal() as portal:
        engine = portal.enter(place.open(Vault(MASTER)))._engine

        def begin() -> RuleBasedStateMachine:
            portal(engine.write, [Delete(table, {"sessionId": ("shop", NOBODY)}) for table in _OF_SESSIONS])
            return machine(portal, Disk(engine))

        run_state_machine_as_test(begin, settings=budget(EXAMPLES[place.kind]))


_OF_SESSIONS: Final = [table.name for table in TABLES if "sessionId" in table.columns]
