"""A simulated WhatsApp network, for flow authors and for the tests.

It shares no code with the rest of wad, but for `wad.node`, which runs a Node process and knows nothing of WhatsApp:
it is the peer that wad is measured against.
"""

from wad.sandbox.ledger import Ledger, read_ledger
from wad.sandbox.provision import READY, READY_DIALOG360, READY_SECOND, NumberSpec
from wad.sandbox.sandbox import Config, Sandbox
from wad.sandbox.serve import create_sandbox, serve_sandbox
from wad.sandbox.settings import Batch, Settings
from wad.sandbox.twilio.accounts import READY_SENDER, SenderSpec
from wad.sandbox.web.emulator import WebConfig

__all__ = [
    "READY",
    "READY_DIALOG360",
    "READY_SECOND",
    "READY_SENDER",
    "Batch",
    "Config",
    "Ledger",
    "NumberSpec",
    "Sandbox",
    "SenderSpec",
    "Settings",
    "WebConfig",
    "create_sandbox",
    "read_ledger",
    "serve_sandbox",
]
