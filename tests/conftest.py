"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes tells of the machine, not of wad.
settings.register_profile("wad", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wad")
