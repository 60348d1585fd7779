"""A SHA-256 as providers write it: in hex or in base64, and Meta in both."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

_SIZE: Final = hashlib.sha256().digest_size


def sha256_digests(text: str) -> list[bytes]:
    """What *text* may stand for; nothing where it is no hash at all."""
    found = []
    for decode in (
        bytes.fromhex,
        lambda value: base64.b64decode(value + "=" * (-len(value) % 4), validate=True),
    ):
        try:
            if len(digest := decode(text)) == _SIZE:
                found.append(digest)
        except (ValueError, binascii.Error):
            continue
    return found
