"""What Twilio tells of: an event, and how often and how patiently its URL is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs

from wad.sandbox.twilio.accounts import Sender

Parameters: TypeAlias = dict[str, str]

_MOST_RETRIES: Final = 5
#: Seconds to connect, and for the whole of an attempt: Twilio's own.
_CONNECT, _TOTAL = 5.0, 15.0


@dataclass(slots=True)
class Event:
    """Something that happened, and who is told."""

    event_id: str
    kind: Literal["message", "status"]
    sender: Sender
    chat: str  # the customer's user id
    at: float
    params: Parameters
    url: str | None  # with its fragment
    method: str = "POST"
    type: str | None = None
    wamid: str | None = None
    status: str | None = None
    callback_data: str | None = None
    token: str = ""  # I-Twilio-Idempotency-Token: the same each time
    tried: list[Callable[[], None]] = field(default_factory=list)  # called once, after the first attempt

    @property
    def lane(self) -> str:
        """Events of one lane are told in order, unless one fails."""
        return f"{self.sender.address}/{self.chat}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the fragment of a URL asks for.

    https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
    """

    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})  # kinds of failures: ct, rt, 4xx, 5xx or all
    connect: float = _CONNECT
    read: float = _TOTAL
    total: float = _TOTAL


def overrides(url: str) -> Overrides:
    asked = {name: values[0] for name, values in parse_qs(url.partition("#")[2]).items()}

    def seconds(name: str, default: float) -> float:
        return int(asked[name]) / 1000 if asked.get(name, "").isdigit() else default

    retries = asked.get("rc", "")
    return Overrides(
        retries=min(int(retries), _MOST_RETRIES) if retries.isdigit() else 1,
        policy=frozenset(asked.get("rp", "ct").split(",")),
        connect=seconds("ct", _CONNECT),
        read=seconds("rt", _TOTAL),
        total=seconds("tt", _TOTAL),
    )
