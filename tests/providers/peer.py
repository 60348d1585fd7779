"""The scripted peer, where tests of long standing look for it; new ones import `wad.conformance.peer`."""

from wad.conformance.peer import (
    Exchange,
    Peer,
    Received,
    Script,
    answering,
    cut,
    cut_in_the_head,
    hang,
    hang_up,
    not_http,
    reset,
    serving,
    unused_port,
)

__all__ = [
    "Exchange",
    "Peer",
    "Received",
    "Script",
    "answering",
    "cut",
    "cut_in_the_head",
    "hang",
    "hang_up",
    "not_http",
    "reset",
    "serving",
    "unused_port",
]
