"""The check of a `POST Messages.json`: what Twilio refuses before it has looked at who writes to whom.

Knows names, limits and shapes only. Whether a sender, a service or a template exists is for `traffic.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from wad.sandbox.twilio.accounts import PREFIX
from wad.sandbox.twilio.errors import TwilioError, parameter

LONGEST: Final = 1600
_MOST_VARIABLES: Final = 100
_MOST_MEDIA: Final = 1  # of a WhatsApp message; an MMS carries ten
_ADDRESS: Final = re.compile(r"whatsapp:(\+[1-9][0-9]{6,14}|[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128})")
_SENDER: Final = re.compile(r"whatsapp:\+[1-9][0-9]{6,14}")
_PLACE: Final = re.compile(r"geo:(-?\d{1,2}(?:\.\d+)?),(-?\d{1,3}(?:\.\d+)?)(?:\|(.+))?")


def _sid(prefix: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(prefix + "[0-9a-fA-F]{32}", value) is not None


def _one_of(*allowed: str) -> Callable[[str], bool]:
    return lambda value: value in allowed


def _number(value: str, least: float, most: float) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", value) is not None and least <= float(value) <= most


_BOOLEAN: Final = _one_of("true", "false")


def _anything(_: str) -> bool:
    return True


#: Twilio's published parameters, and what their values may be; `PersistentAction` and `MediaUrl` may come repeatedly.
PARAMETERS: Final[dict[str, Callable[[str], bool]]] = {
    "To": _anything,  # these have errors of their own, below
    "From": _anything,
    "MessagingServiceSid": _anything,
    "Body": _anything,
    "MediaUrl": _anything,
    "ContentSid": _anything,
    "ContentVariables": _anything,
    "StatusCallback": _anything,
    "PersistentAction": lambda value: _PLACE.fullmatch(value) is not None,
    "ApplicationSid": _sid("AP"),
    "MaxPrice": lambda value: _number(value, 0, 10**6),
    "ProvideFeedback": _BOOLEAN,
    "Attempt": lambda value: value.isdigit() and _number(value, 1, 10**6),
    "ValidityPeriod": lambda value: value.isdigit() and _number(value, 1, 36_000),
    "ForceDelivery": _BOOLEAN,
    "ContentRetention": _one_of("retain", "discard"),
    "AddressRetention": _one_of("retain", "obfuscate"),
    "SmartEncoded": _BOOLEAN,
    "TrafficType": _one_of("free"),
    "ShortenUrls": _BOOLEAN,
    "ScheduleType": _one_of("fixed"),
    "SendAt": lambda value: _time(value) is not None,
    "SendAsMms": _BOOLEAN,
    "MessageIntent": _anything,
    "RiskCheck": _one_of("enable", "disable"),
    "FallbackFrom": _anything,
}
_REPEATED: Final = ("PersistentAction", "MediaUrl")


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A form that passed."""

    to: str
    sender: str | None
    service_sid: str | None
    body: str
    media: list[str]
    place: tuple[float, float, str | None] | None
    content_sid: str | None
    variables: dict[str, str]
    status_callback: str | None
    send_at: float | None
    form: dict[str, Any]  # as it came, for the ledger

    @property
    def type(self) -> str:
        return type_of(self.form)


def type_of(form: Mapping[str, Any]) -> str:
    """What is to be sent, in the words of fault scripts and of the ledger."""
    for name, kind in (("ContentSid", "template"), ("PersistentAction", "location"), ("MediaUrl", "media")):
        if form.get(name):
            return kind
    return "text"


def check_send(pairs: Iterable[tuple[str, str]]) -> Send:
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise parameter(f"{name} is not a parameter of this resource")
        if not PARAMETERS[name](value):
            raise parameter(f"{value!r} is not a value of {name}")
        given.setdefault(name, []).append(value)
    for name, values in given.items():
        if len(values) > 1 and name not in _REPEATED:
            raise parameter(f"{name} is given more than once")
    # A blank value says nothing, as everywhere at Twilio.
    one = {name: values[0] for name, values in given.items() if values[0].strip()}
    media = [url for url in given.get("MediaUrl", ()) if url]
    _check_to(one.get("To"))
    _check_from(one.get("From"), one.get("MessagingServiceSid"))
    _check_what(one, media)
    if "StatusCallback" in one and not is_url(one["StatusCallback"]):
        raise TwilioError(21609)
    if ("ScheduleType" in one) != ("SendAt" in one):
        raise parameter("ScheduleType and SendAt go together")
    if "SendAt" in one and "MessagingServiceSid" not in one:
        raise parameter("SendAt needs a MessagingServiceSid")
    place = _PLACE.fullmatch(one.get("PersistentAction", ""))
    return Send(
        to=one["To"],
        sender=one.get("From"),
        service_sid=one.get("MessagingServiceSid"),
        body=one.get("Body", ""),
        media=media,
        place=None if place is None else (float(place[1]), float(place[2]), place[3]),
        content_sid=one.get("ContentSid"),
        variables=_variables(one.get("ContentVariables")),
        status_callback=one.get("StatusCallback"),
        send_at=_time(one["SendAt"]) if "SendAt" in one else None,
        form={name: values if name in _REPEATED else values[0] for name, values in given.items()},
    )


def _check_to(to: str | None) -> None:
    if to is None:
        raise TwilioError(21604)
    if not to.startswith(PREFIX):
        raise TwilioError(21910)
    if _ADDRESS.fullmatch(to) is None:
        raise TwilioError(21211, f"The 'To' number {to} is not a valid phone number.")


def _check_from(sender: str | None, service_sid: str | None) -> None:
    if sender is None and service_sid is None:
        raise TwilioError(21603)
    if sender is not None and service_sid is not None:
        raise parameter("give one of From and MessagingServiceSid")
    if sender is not None and not sender.startswith(PREFIX):
        raise TwilioError(21910)
    if sender is not None and _SENDER.fullmatch(sender) is None:
        raise TwilioError(21212, f"The 'From' number {sender} is not a valid phone number.")
    if service_sid is not None and not _sid("MG")(service_sid):
        raise TwilioError(21701)


def _check_what(one: dict[str, str], media: list[str]) -> None:
    if "ContentSid" in one:
        if not _sid("HX")(one["ContentSid"]):
            raise TwilioError(21655)
        if "Body" in one or media:
            raise parameter("a ContentSid goes without Body and MediaUrl")
    elif "ContentVariables" in one:
        raise TwilioError(21654)
    elif "Body" not in one and not media:
        raise TwilioError(21619)
    if len(one.get("Body", "")) > LONGEST:
        raise TwilioError(21617)
    if len(media) > _MOST_MEDIA:
        raise TwilioError(21623)
    for url in media:
        if not is_url(url):
            raise TwilioError(21620)


def _variables(given: str | None) -> dict[str, str]:
    """A JSON object in a string, its values strings."""
    if given is None:
        return {}
    try:
        found = msgspec.json.decode(given, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TwilioError(21656) from None
    if len(found) > _MOST_VARIABLES:
        raise TwilioError(21656)
    return found


def is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _time(value: str) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None
