"""What every provider has to keep, for each of wad's own: `pytest -k conformance --co` lists it by provider."""

from __future__ import annotations

from tests.conformance.baileys import BaileysHarness
from tests.conformance.meta_business import MetaBusinessHarness
from tests.conformance.providers import HARNESSES
from tests.conformance.simulated import SimulatedHarness
from wad.conformance import ProviderSuite


class TestConformance(ProviderSuite):
    harnesses = (*HARNESSES, MetaBusinessHarness(), BaileysHarness(), SimulatedHarness())
