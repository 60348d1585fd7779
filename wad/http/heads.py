"""The head of a request, read strictly: what h11 forgives, and another reader in the way may understand otherwise, is refused.

h11 takes a line that ends with LF alone, a header folded over lines, and one length said twice; and counts no fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from h11 import LocalProtocolError
from h11._receivebuffer import ReceiveBuffer

#: Header fields of one request. A browser behind two proxies sends some thirty.
MOST_FIELDS: Final = 100


class StrictHead(ReceiveBuffer):
    """What an h11 connection has received: in the place of its own buffer. h11 makes answers of these errors."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head, or of a chunked body's trailer, once all of them are there."""
        there = bytes(self)
        lines: list[bytearray] | None = super().maybe_extract_lines()
        if lines is not None:
            _check(there[: len(there) - len(self)], lines)
        return lines


def _check(raw: bytes, lines: Sequence[bytearray]) -> None:
    if raw.count(b"\n") != raw.count(b"\r\n"):
        raise LocalProtocolError("a line ends with LF alone")
    if len(lines) > MOST_FIELDS + 1:
        raise LocalProtocolError("too many header fields", error_status_hint=431)
    if any(bytes(line[:1]) in (b" ", b"\t") for line in lines):
        raise LocalProtocolError("a header is folded over lines")
    lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
    if len(lengths) > 1 or any(b"," in line for line in lengths):
        raise LocalProtocolError("Content-Length is said more than once")
