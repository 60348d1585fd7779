"""Credentials checked by a table: what is needed, what may be there, and what each looks like. Never what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from wad.errors import FieldError

_LONGEST: Final = 4096


class Shape(msgspec.Struct, frozen=True):
    """`fits` tells whether a value is one; `name` says what that is."""

    fits: Callable[[str], bool]
    name: str


#: Goes into an HTTP header or a key: a line break would forge a header.
printable: Final = Shape(
    lambda value: value.isascii() and value.isprintable() and " " not in value,
    "printable ASCII without spaces",
)
#: Goes into a path.
digits: Final = Shape(lambda value: value.isascii() and value.isdigit(), "digits only")


class Credential(msgspec.Struct, frozen=True):
    shape: Shape
    required: bool = False


def check(credentials: Mapping[str, str], known: Mapping[str, Credential]) -> list[FieldError]:
    """What is missing, unknown or malformed."""
    errors = [
        FieldError(f"/credentials/{name}", "is required")
        for name, expected in known.items()
        if expected.required and not credentials.get(name)
    ]
    for name, value in credentials.items():
        at = f"/credentials/{str(name).replace('~', '~0').replace('/', '~1')}"
        expected_of = known.get(name)
        if expected_of is None:
            errors.append(
                FieldError(at, f"is not a credential of this provider; known are {', '.join(known)}")
            )
        elif not isinstance(value, str):
            errors.append(FieldError(at, "must be a string"))
        elif value and not (len(value) <= _LONGEST and expected_of.shape.fits(value)):
            errors.append(FieldError(at, f"must be {expected_of.shape.name}, up to {_LONGEST} characters"))
    return errors
