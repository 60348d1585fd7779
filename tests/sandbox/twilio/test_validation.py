"""What a send may look like: Twilio's parameters and their limits, each with the code of its refusal."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from twilio.rest.api.v2010.account.message import MessageList

from tests.sandbox.twilio.place import MG, SENDER, TO_ANA, twilio_place
from wad.sandbox import Settings
from wad.sandbox.twilio.templates import catalogue
from wad.sandbox.twilio.validate import PARAMETERS

[CITA] = [template.sid for template in catalogue().values() if template.name == "cita"]
IMAGE = "https://example.com/a.png"

#: label → the form, beside From, To and Body (None: without it)
TAKEN: dict[str, dict[str, Any]] = {
    "a text at the limit": {"Body": "x" * 1600},
    "a caption": {"MediaUrl": IMAGE},
    "media alone": {"Body": None, "MediaUrl": IMAGE},
    "a location": {"Body": "Zócalo", "PersistentAction": "geo:19.4326,-99.1332|Plaza de la Constitución"},
    "a location without a label": {"PersistentAction": "geo:-90,180"},
    "a template": {"Body": None, "ContentSid": CITA, "ContentVariables": '{"1": "lunes"}'},
    "a template with a blank body": {"Body": "", "ContentSid": CITA, "ContentVariables": '{"1": "lunes"}'},
    "a messaging service": {"From": None, "MessagingServiceSid": MG},
    "a callback with overrides": {"StatusCallback": "http://127.0.0.1:9/x?id=1#rc=5&rp=all"},
    "a validity at the limit": {"ValidityPeriod": "36000"},
    "switches": {
        "SmartEncoded": "true", "ShortenUrls": "false", "ForceDelivery": "true", "ProvideFeedback": "true",
        "RiskCheck": "disable", "ContentRetention": "retain", "AddressRetention": "obfuscate", "Attempt": "1",
    },
    "an escaped JSON of no variables": {"Body": None, "ContentSid": CITA, "ContentVariables": "{}"},
}  # fmt: skip


@pytest.mark.parametrize("label", TAKEN)
async def test_what_the_reference_allows_is_taken(label: str) -> None:
    """201 and a sid: SM, or MM with media."""
    async with twilio_place(Settings(statuses={})) as here:
        answer = await here.form(**TAKEN[label])
        assert answer.status_code == 201, answer.text
        assert answer.json()["sid"].startswith("MM" if "MediaUrl" in TAKEN[label] else "SM")
        assert len(here.sandbox.ledger.entries("send")) == 1


#: label → (the form, code, a piece of the message)
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "nobody to send to": ({"To": None}, 21604, "'To'"),
    "a phone without its channel": ({"To": TO_ANA.removeprefix("whatsapp:")}, 21910, "same channel"),
    "To is a name": ({"To": "whatsapp:Ana"}, 21211, "whatsapp:Ana"),
    "To has no plus": ({"To": "whatsapp:5215512345678"}, 21211, "not a valid phone number"),
    "To is a user nobody knows": ({"To": "whatsapp:MX.404"}, 21211, "not a valid"),
    "To is From": ({"To": SENDER}, 63031, "same To and From"),
    "nobody to send as": ({"From": None}, 21603, "'From'"),
    "From without its channel": ({"From": SENDER.removeprefix("whatsapp:")}, 21910, "same channel"),
    "From is no sender of the account": ({"From": "whatsapp:+15550109999"}, 63007, "specified From address"),
    "From and a service": ({"MessagingServiceSid": MG}, 20422, "one of From and MessagingServiceSid"),
    "a service that is not there": ({"From": None, "MessagingServiceSid": "MG" + "0" * 32}, 21701, "not exist"),
    "nothing to say": ({"Body": None}, 21619, "must be specified"),
    "a blank body": ({"Body": "  "}, 21619, "must be specified"),
    "a body too long": ({"Body": "x" * 1601}, 21617, "1600"),
    "two media": ({"MediaUrl": [IMAGE, IMAGE]}, 21623, "Number of media"),
    "media that is no URL": ({"MediaUrl": "a.png"}, 21620, "Invalid media"),
    "a template with a body": ({"ContentSid": CITA}, 20422, "without Body"),
    "an unknown template": ({"Body": None, "ContentSid": "HX" + "0" * 32}, 21655, "ContentSid"),
    "a template by name": ({"Body": None, "ContentSid": "cita"}, 21655, "ContentSid"),
    "variables without a template": ({"ContentVariables": "{}"}, 21654, "ContentSid"),
    "variables that are no JSON": ({"Body": None, "ContentSid": CITA, "ContentVariables": "1=x"}, 21656, "invalid"),
    "variables that are a list": ({"Body": None, "ContentSid": CITA, "ContentVariables": "[1]"}, 21656, "invalid"),
    "a variable that is a number": (
        {"Body": None, "ContentSid": CITA, "ContentVariables": '{"1": 1}'}, 21656, "invalid",
    ),
    "a callback that is no URL": ({"StatusCallback": "/status"}, 21609, "StatusCallback"),
    "a callback of elsewhere": ({"StatusCallback": "https://example.com/x"}, 21609, "loopback"),
    "a place that is none": ({"PersistentAction": "geo:here"}, 20422, "PersistentAction"),
    "a validity of eleven hours": ({"ValidityPeriod": "39600"}, 20422, "ValidityPeriod"),
    "a switch that is none": ({"ShortenUrls": "yes"}, 20422, "ShortenUrls"),
    "a time without a schedule": ({"SendAt": "2027-01-01T00:00:00Z"}, 20422, "go together"),
    "a schedule without a service": (
        {"SendAt": "2027-01-01T00:00:00Z", "ScheduleType": "fixed"}, 20422, "MessagingServiceSid",
    ),
    "a name that is not Twilio's": ({"ReplyTo": "SM1"}, 20422, "ReplyTo is not a parameter"),
    "a name in another case": ({"statusCallback": "http://127.0.0.1:9/x"}, 20422, "statusCallback"),
    "a text twice": ({"Body": ["a", "b"]}, 20422, "more than once"),
}  # fmt: skip


@pytest.mark.parametrize("label", REFUSED)
async def test_what_the_reference_forbids_is_refused(label: str) -> None:
    """400 with Twilio's code, and nothing was sent; the ledger has the call and its code."""
    form, code, words = REFUSED[label]
    async with twilio_place() as here:
        answer = await here.form(**form)
        found = answer.json()
        assert (answer.status_code, found["code"]) == (400, code), found
        assert words in found["message"]
        assert here.sandbox.ledger.entries("send") == []
        [call] = here.sandbox.ledger.entries("call", operation="messages")
        assert (call["status"], call["code"]) == (400, code)


async def test_a_send_is_a_form() -> None:
    """JSON is another media type, and 415."""
    async with twilio_place() as here:
        answer = await here.api("POST", "/Messages.json", json={"To": TO_ANA})
        assert (answer.status_code, answer.json()["code"]) == (415, 20415)


def test_the_parameters_are_those_that_twilio_publishes() -> None:
    """By the names in its own SDK, which is generated from its API's description."""
    published = set(re.findall(r'^\s+"(\w+)": ', inspect.getsource(MessageList._create), re.MULTILINE))
    assert len(published) > 20
    assert set(PARAMETERS) == published
