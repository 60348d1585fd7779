"""Server-Sent Events as wad writes them: an id, and one line of JSON as data."""

from __future__ import annotations

import json
import os
from typing import Any, TypeAlias

from wad.cli.stop import Stop

Event: TypeAlias = tuple[str, dict[str, Any]]  # its id, and {"type", "timestamp", "data"}


class EventLines:
    """Takes the lines of a stream, and gives an event whenever one is complete."""

    def __init__(self) -> None:
        self._id = ""
        self._data = ""

    def take(self, line: str) -> Event | None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self._id = value
            case "data":
                self._data = value
            case "" if not line and self._data:
                data, self._data = self._data, ""
                return self._id, _parsed(data)
            case _:
                pass  # a comment, the event's type (it is in the data), the pause that the daemon suggests
        return None


def _parsed(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise Stop(os.EX_UNAVAILABLE, "the stream holds something that is no event of wad")
    return event
