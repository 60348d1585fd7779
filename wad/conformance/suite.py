"""The whole suite, as one class. A subclass names the harnesses that it is run for."""

from __future__ import annotations

from typing import ClassVar

import pytest

from wad.conformance.capabilities import DeclaredCapabilities
from wad.conformance.failures import Failures
from wad.conformance.fuzz import Fuzzed
from wad.conformance.harness import Harness
from wad.conformance.rows import spread
from wad.conformance.secrecy import Secrecy
from wad.conformance.sends import Sends
from wad.conformance.webhooks import Webhooks


class ProviderSuite(DeclaredCapabilities, Sends, Failures, Secrecy, Webhooks, Fuzzed):
    """Every test takes a `harness`; pytest names it `test_x[<provider>-<row>]`."""

    harnesses: ClassVar[tuple[Harness, ...]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "harness" in metafunc.fixturenames:
            spread(metafunc, self.harnesses)
