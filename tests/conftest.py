"""What holds for every test."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from wad import log

# How long an example takes tells of the machine, not of wad.
settings.register_profile("wad", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wad")


@pytest.fixture
def log_restored() -> Iterator[None]:
    """For whoever sets up the log of this process: afterwards it is as it was."""
    root = logging.getLogger()
    before = (root.level, sys.excepthook, sys.unraisablehook, threading.excepthook)
    yield
    # Only ours: pytest takes its own handlers in and out with each phase of a test.
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, log._Handler)]
    root.level, sys.excepthook, sys.unraisablehook, threading.excepthook = before
    logging.getLogger("wad").setLevel(logging.NOTSET)
    logging.getLogger("hypercorn.error").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
