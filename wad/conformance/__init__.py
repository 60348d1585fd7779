"""What every provider over HTTP has to keep, whichever it is: a test suite that a provider's own package runs.

A provider brings a harness, which is its words on the wire, and names it in a test module:

    from wad.conformance import ProviderSuite

    class TestConformance(ProviderSuite):
        harnesses = (EchoHarness(),)

`pip install wad[conformance]` brings what it runs on; pytest has to be told `trio_mode = true`.
"""

from __future__ import annotations

import pytest

# Before any of them is imported: a failing assertion shows its values here as in anybody's own tests.
_SUITES = ("capabilities", "failures", "fuzz", "secrecy", "sends", "webhooks", "world")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _SUITES))

from wad.conformance.harness import Harness, Refusal, Said, Told  # noqa: E402
from wad.conformance.suite import ProviderSuite  # noqa: E402

__all__ = ["Harness", "ProviderSuite", "Refusal", "Said", "Told"]
