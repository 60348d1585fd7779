"""Phone numbers and the ids of the WhatsApp world: how they look, and how new ones are made."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final

#: The calling codes that are not three digits long (ITU-T E.164). The rest are.
_SHORT_CODES: Final = frozenset(
    [
        "1",
        "7",
        "20",
        "27",
        "30",
        "31",
        "32",
        "33",
        "34",
        "36",
        "39",
        "40",
        "41",
        "43",
        "44",
        "45",
        "46",
        "47",
        "48",
        "49",
        "51",
        "52",
        "53",
        "54",
        "55",
        "56",
        "57",
        "58",
        "60",
        "61",
        "62",
        "63",
        "64",
        "65",
        "66",
        "81",
        "82",
        "84",
        "86",
        "90",
        "91",
        "92",
        "93",
        "94",
        "95",
        "98",
    ]
)

#: How long a whole number is where that is fixed. Elsewhere 8 to 15 digits will do.
_LENGTHS: Final = {"1": (11,), "52": (12, 13), "55": (12, 13), "34": (11,), "57": (12,), "91": (12,)}

_REGIONS: Final = {
    "1": "US",
    "52": "MX",
    "55": "BR",
    "34": "ES",
    "57": "CO",
    "91": "IN",
    "44": "GB",
    "49": "DE",
}

_DIGITS: Final = str.maketrans("", "", "+-() ")


def digits_of(phone: str) -> str:
    return phone.translate(_DIGITS)


def country_code(digits: str) -> str:
    for length in (1, 2):
        if digits[:length] in _SHORT_CODES:
            return digits[:length]
    return digits[:3]


def is_plausible(digits: str) -> bool:
    """Whether a number of this length can exist: a `to` that lost its + usually cannot."""
    return len(digits) in _LENGTHS.get(country_code(digits), range(8, 16))


def as_wa_id(digits: str) -> str:
    """What WhatsApp calls the number: Mexican ones carry a 1 after the country code."""
    if len(digits) == 12 and digits.startswith("52"):
        return f"521{digits[2:]}"
    return digits


def user_id_of(wa_id: str) -> str:
    region = _REGIONS.get(country_code(wa_id), "US")
    number = int.from_bytes(hashlib.sha256(wa_id.encode()).digest()[:8], "big")
    return f"{region}.{number:020}"


def new_wamid(digits: str, *, inbound: bool) -> str:
    """An id of the shape WhatsApp gives: the other side's number and a random tail, in base64."""
    tail = secrets.token_hex(10 if inbound else 9).upper().encode()
    mark = b"\x15\x02\x00\x12\x18" if inbound else b"\x15\x02\x00\x11\x18"
    who = digits.encode()
    raw = b"\x1d\x18" + bytes([len(who)]) + who + mark + bytes([len(tail)]) + tail + b"\x00"
    return f"wamid.{base64.b64encode(raw).decode()}"


def new_group_id(digits: str) -> str:
    return (
        base64.b64encode(f"capi_group:{digits}:{secrets.randbelow(10**18):018}".encode()).decode().rstrip("=")
    )
