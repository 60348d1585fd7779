"""The code to scan, drawn: as an image, or with characters for a terminal."""

from __future__ import annotations

import io
from itertools import zip_longest
from typing import Final

import segno

#: Modules of light around the code: the standard asks for 4. A terminal has no room, and phones make do with 2.
_QUIET: Final = 4
_QUIET_IN_TEXT: Final = 2
#: Pixels of one module: some 500 in all, which a phone reads from a screen at arm's length.
_SCALE: Final = 8
#: Two modules, one above the other, as (upper is light, lower is light). Light is what is written: terminals are dark.
_HALVES: Final = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def _code(text: str) -> segno.QRCode:
    """The least error correction makes the smallest code; a screen does not get dirty."""
    return segno.make_qr(text, error="l", boost_error=False)


def png(text: str) -> bytes:
    drawn = io.BytesIO()
    _code(text).save(drawn, kind="png", scale=_SCALE, border=_QUIET)
    return drawn.getvalue()


def svg(text: str) -> bytes:
    drawn = io.BytesIO()
    _code(text).save(drawn, kind="svg", scale=_SCALE, border=_QUIET, light="#fff")
    return drawn.getvalue()


def half_blocks(text: str) -> str:
    """Lines of blocks, two modules a character, to be read light on dark."""
    rows = [[not module for module in row] for row in _code(text).matrix_iter(border=_QUIET_IN_TEXT)]
    beyond = [False] * len(rows[0])
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=beyond)
    return (
        "\n".join("".join(_HALVES[up, low] for up, low in zip(*pair, strict=True)) for pair in pairs) + "\n"
    )
