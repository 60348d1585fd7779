"""The daemon as a process against the sandbox, with faults. What is shared tells as much of a failure as a test does."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("daemon", "load", "shop", "town")))
