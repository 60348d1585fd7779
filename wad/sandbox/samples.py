"""Media for whoever has none at hand. The picture and the document are real; the rest only has the right magic."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import cache
from typing import Final

_WIDTH, _HEIGHT = 320, 200
_SUN: Final = (230, 60, 34)  # centre and radius


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def picture() -> bytes:
    """A PNG of a sunset over water."""
    rows = bytearray()
    horizon = _HEIGHT * 2 // 3
    for y in range(_HEIGHT):
        rows.append(0)
        shade = y / _HEIGHT
        for x in range(_WIDTH):
            if y >= horizon:
                glint = 46 if abs(x - _SUN[0]) < (y - horizon) // 2 + 6 and y % 5 < 2 else 0
                rows += bytes((20 + glint * 3, 70 + glint * 2, 110 + glint))
            elif (x - _SUN[0]) ** 2 + (y - _SUN[1]) ** 2 < _SUN[2] ** 2:
                rows += b"\xff\xe0\x8a"
            else:
                rows += bytes((int(70 + 180 * shade), int(110 + 60 * shade), int(190 - 60 * shade)))
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + _chunk(b"IEND", b"")
    )


@cache
def document() -> bytes:
    """A PDF of one page with one line."""
    stream = b"BT /F1 24 Tf 60 700 Td (A document from the sandbox) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def sample(kind: str) -> tuple[str, bytes]:
    """A mime type and a file that pass for this message type."""
    match kind:
        case "image":
            return "image/png", picture()
        case "document":
            return "application/pdf", document()
        case "audio":
            return "audio/ogg; codecs=opus", b"OggS\x00\x02" + bytes(58)
        case "video":
            return "video/mp4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
        case "sticker":
            return "image/webp", base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
        case _:
            raise AssertionError(f"no sample of type {kind}")
