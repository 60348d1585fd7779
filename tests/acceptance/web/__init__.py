"""WhatsApp Web from end to end: the daemon as a process, its bridges, real Baileys, and a simulated WhatsApp."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("place", "load")))
