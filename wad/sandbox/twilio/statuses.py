"""What becomes of a message that Twilio took: its statuses, and what the callback of each says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from wad.sandbox.settings import Settings
from wad.sandbox.twilio.accounts import PREFIX, Record
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.resources import API

BAD: Final = frozenset({"failed", "undelivered"})
_RANK: Final = {"sending": 1, "sent": 2, "delivered": 3, "read": 4}
#: What ends a message before it was on its way to a phone: `failed`, where the rest is `undelivered`.
_FAILED: Final = frozenset({63003, 63017, 63018, 63024, 63038})


def rank(status: str) -> int:
    """How far along a status is: the furthest is the message's."""
    return _RANK.get(status, 0)


def statuses(failure: TwilioError | None, settings: Settings) -> Iterator[tuple[str, float]]:
    """Those to come, and seconds after the send."""
    if failure is not None:
        yield "failed" if failure.code in _FAILED else "undelivered", settings.statuses.get("sent", 0.0)
        return
    for status, delay in settings.statuses.items():
        if status != "played":  # Twilio does not tell
            yield status, delay


def callback_data(url: str | None) -> str | None:
    """What a gateway says of a message in its StatusCallback: the one parameter of the query, else all of it."""
    if url is None:
        return None
    query = urlsplit(url).query
    pairs = parse_qsl(query, keep_blank_values=True)
    return pairs[0][1] if len(pairs) == 1 else query or None


def status_parameters(record: Record, status: str, error: TwilioError | None) -> dict[str, str]:
    said = {
        "AccountSid": record.account_sid,
        "ApiVersion": API,
        "ChannelInstallSid": record.sender.install_sid,
        "ChannelPrefix": "whatsapp",
        "ChannelToAddress": record.address.removeprefix(PREFIX)[:-4] + "XXXX",
        "From": record.sender.address,
        "MessageSid": record.sid,
        "MessageStatus": status,
        "SmsSid": record.sid,
        "SmsStatus": status,
        "StructuredMessage": "false",
        "To": record.address,
    }
    if status in ("delivered", "read", "undelivered"):
        said["EventType"] = status.upper()
    if record.service_sid is not None:
        said["MessagingServiceSid"] = record.service_sid
    if error is not None:
        said |= {
            "ErrorCode": str(error.code),
            "ErrorMessage": error.message,
            "ChannelStatusMessage": error.message,
        }
    return said
