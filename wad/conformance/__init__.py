"""What every provider has to keep, whichever it is: a test suite that a provider's own package runs.

A provider brings a harness, which is its words, and names it in a test module:

    from wad.conformance import HttpHarness, ProviderSuite

    class EchoHarness(HttpHarness): ...

    class TestConformance(ProviderSuite):
        harnesses = (EchoHarness(),)

One over HTTP brings an `HttpHarness`, one that keeps a socket a `SocketHarness`; what only one of them has, such as
signatures of webhooks or pairing, is asked of that one alone.

`pip install wad[conformance]` brings what it runs on; pytest has to be told `trio_mode = true`.
"""

from __future__ import annotations

import pytest

# Before any of them is imported: a failing assertion shows its values here as in anybody's own tests.
_SUITES = (
    "answers",
    "capabilities",
    "failures",
    "fuzz",
    "http",
    "inbound",
    "life",
    "secrecy",
    "sends",
    "webhooks",
)
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in (*_SUITES, "world")))

from wad.conformance.harness import Beyond, Doubt, Harness, Refusal, Said, Told  # noqa: E402
from wad.conformance.http import HttpHarness, HttpWorld  # noqa: E402
from wad.conformance.socket import Lasting, SocketHarness, SocketWorld  # noqa: E402
from wad.conformance.suite import ProviderSuite  # noqa: E402
from wad.conformance.world import GROUP, PHONE, Heard, World  # noqa: E402

__all__ = [
    "GROUP",
    "PHONE",
    "Beyond",
    "Doubt",
    "Harness",
    "Heard",
    "HttpHarness",
    "HttpWorld",
    "Lasting",
    "ProviderSuite",
    "Refusal",
    "Said",
    "SocketHarness",
    "SocketWorld",
    "Told",
    "World",
]
