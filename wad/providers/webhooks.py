"""What taking webhooks needs, whoever's they are: a signature compared, and whatever has no place kept as it came."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from wad.models import AccountEvent

#: No reader that recurses is led deeper than this; providers' own payloads have some eight levels.
_DEPTH: Final = 32
_INT: Final = 2**63


def same(given: str | None, expected: str) -> bool:
    """In constant time. As bytes: texts that are not ASCII would be an error."""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def header(headers: Mapping[str, str], name: str) -> str | None:
    """*name*, given in lower case, whatever case *headers* came in."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def kept(kind: str, data: dict[str, Any]) -> AccountEvent:
    """An event under a key that a redelivery has too: where nobody gave it an id, what it says is its id."""
    canonical = msgspec.json.encode(data, order="deterministic")
    if not is_plain(data):
        data = {"json": canonical.decode()}
    return AccountEvent(type=kind, dedupe_key=f"e:{hashlib.sha256(canonical).hexdigest()}", data=data)


def is_plain(value: Any) -> bool:
    """Whether *value* can be stored and read by anybody: not too deep, and no number that is out of range."""
    level = [value]
    for _ in range(_DEPTH):
        nested = []
        for outer in level:
            for part in outer.values() if isinstance(outer, dict) else outer:
                if isinstance(part, dict | list):
                    nested.append(part)
                elif (isinstance(part, int) and not -_INT <= part < _INT) or (
                    isinstance(part, float) and not isfinite(part)
                ):
                    return False
        if not nested:
            return True
        level = nested
    return False
