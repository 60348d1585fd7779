"""The whole suite, as one class. A subclass names the harnesses that it is run for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import ClassVar

import pytest

from wad.conformance.answers import Answers
from wad.conformance.capabilities import DeclaredCapabilities
from wad.conformance.failures import Failures
from wad.conformance.fuzz import Fuzzed
from wad.conformance.harness import Harness
from wad.conformance.inbound import ComesIn
from wad.conformance.life import Life
from wad.conformance.rows import has_cases, spread
from wad.conformance.secrecy import Secrecy
from wad.conformance.sends import Sends
from wad.conformance.webhooks import Webhooks


class _EveryProvider(DeclaredCapabilities, Sends, Failures, ComesIn, Secrecy):
    """Whichever way it is reached."""


class _OverHttp(Answers, Webhooks, Fuzzed):
    """Of an `HttpHarness`."""


class ProviderSuite(_EveryProvider, _OverHttp, Life):
    """Every test takes a `harness`; pytest names it `test_x[<provider>-<row>]`."""

    harnesses: ClassVar[Sequence[Harness]] = ()

    def __init_subclass__(cls) -> None:
        """A test that has no row for any of the harnesses is none."""
        for name, test in inspect.getmembers(cls, inspect.isfunction):
            if name.startswith("test_") and not has_cases(test, cls.harnesses):
                setattr(cls, name, None)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        spread(metafunc, self.harnesses)

    @classmethod
    def teardown_class(cls) -> None:
        for harness in cls.harnesses:
            harness.close()
