"""Answers that are wrong on purpose. How they break on a real wire is `tests/sandbox/test_faults.py`: it is the same code."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sandbox.twilio.place import AC, SENDER, TO_ANA, TwilioPlace, twilio_place


async def script(here: TwilioPlace, fault: dict[str, Any], **match: Any) -> None:
    await here.post("faults", {"match": {"operation": "messages"} | match, "fault": fault})


#: label → (fault, HTTP status, a piece of the body, Retry-After, whether Twilio took the message)
ANSWERED: dict[str, tuple[dict[str, Any], int, str, str, bool]] = {
    "throttled": ({"kind": "error", "code": 20429, "retryAfter": 2}, 429, '"code":20429', "2", False),
    "the queue is full": ({"kind": "error", "code": 21611}, 429, '"code":21611', "", False),
    "an error of ours to choose": (
        {"kind": "error", "code": 99999, "http": 418, "message": "x"}, 418, '"message":"x"', "", False,
    ),
    "an internal error": ({"kind": "error", "code": 20500}, 500, '"status":500', "", False),
    "5xx in HTML": ({"kind": "http", "status": 502, "html": True}, 502, "<!DOCTYPE html>", "", False),
    "5xx after it counted": ({"kind": "http", "status": 503, "after": "accept"}, 503, "", "", True),
    "200 and no JSON": ({"kind": "garbage"}, 200, "not json", "", True),
    "late, but it counted": ({"kind": "delay", "seconds": 0.01, "after": "accept"}, 201, '"sid":"SM', "", True),
    "undelivered afterwards": ({"kind": "fail", "code": 63049}, 201, '"sid":"SM', "", True),
}  # fmt: skip


@pytest.mark.parametrize("label", ANSWERED)
async def test_a_wrong_answer_is_whole_and_wrong(label: str) -> None:
    """As scripted; once, and then Twilio is itself again."""
    fault, status, words, retry_after, counts = ANSWERED[label]
    async with twilio_place() as here:
        await script(here, fault)
        answer = await here.form()
        assert (answer.status_code, answer.headers.get("retry-after", "")) == (status, retry_after)
        assert words in answer.text
        assert len(here.sandbox.ledger.entries("send")) == counts
        assert (await here.form()).status_code == 201


#: label → (fault, what the client is raised, whether Twilio took the message)
BROKEN: dict[str, tuple[dict[str, Any], type[httpx.TransportError], bool]] = {
    "answer lost after the send counted": ({"kind": "cut"}, httpx.RemoteProtocolError, True),
    "cut before the send counted": ({"kind": "cut", "after": "before"}, httpx.RemoteProtocolError, False),
    "reset": ({"kind": "cut", "reset": True}, httpx.ReadError, True),
    "half an answer": ({"kind": "truncate"}, httpx.RemoteProtocolError, True),
}


@pytest.mark.parametrize("label", BROKEN)
async def test_a_broken_answer_says_nothing_of_the_message(label: str) -> None:
    """The ledger knows whether it counts, and so does the list."""
    fault, error, counts = BROKEN[label]
    async with twilio_place() as here:
        await script(here, fault)
        with pytest.raises(error):
            await here.form()
        assert len(here.sandbox.ledger.entries("send")) == counts
        assert len(await here.sdk.messages.list_async(to=TO_ANA)) == counts


#: label → (match, whether it applies to a text from SENDER to Ana)
MATCHES: dict[str, tuple[dict[str, Any], bool]] = {
    "the sender": ({"phoneNumberId": SENDER}, True),
    "another number": ({"phoneNumberId": "106540352242922"}, False),
    "the recipient": ({"to": "+5215512345678"}, True),
    "the recipient's address": ({"to": TO_ANA}, True),
    "another recipient": ({"to": "+5215587654321"}, False),
    "the type": ({"type": "text"}, True),
    "another type": ({"type": "template"}, False),
}


@pytest.mark.parametrize("label", MATCHES)
async def test_a_script_matches_what_it_says(label: str) -> None:
    """A sender is a number as Meta's are; a script for one leaves the other alone."""
    match, applies = MATCHES[label]
    async with twilio_place() as here:
        await script(here, {"kind": "error", "code": 20503}, **match)
        assert (await here.form()).status_code == (503 if applies else 201)


async def test_faults_reach_every_operation() -> None:
    """The account, the list, one message, its media, typing and templates: each can fail by name."""
    async with twilio_place() as here:
        sid = (await here.writes(type="image"))["wamid"]
        calls = {
            "account": ("GET", f"/2010-04-01/Accounts/{AC}.json"),
            "list": ("GET", f"/2010-04-01/Accounts/{AC}/Messages.json"),
            "message": ("GET", f"/2010-04-01/Accounts/{AC}/Messages/{sid}.json"),
            "media.url": ("GET", f"/2010-04-01/Accounts/{AC}/Messages/{sid}/Media.json"),
            "media.download": ("GET", "/twiliocdn/a/b/c"),
            "read": ("POST", "/v2/Indicators/Typing.json"),
            "content": ("GET", "/v1/Content"),
        }
        for operation, (method, path) in calls.items():
            await here.post(
                "faults", {"match": {"operation": operation}, "fault": {"kind": "error", "code": 20500}}
            )
            assert (await here.client.request(method, path)).status_code == 500, operation


async def test_a_script_can_be_for_one_method_only() -> None:
    """A message cannot be deleted, and is there to be read."""
    async with twilio_place() as here:
        sid = (await here.writes(text="hola"))["wamid"]
        await script(here, {"kind": "error", "code": 20500}, operation="message", method="DELETE")
        assert (await here.api("GET", f"/Messages/{sid}.json")).status_code == 200
        assert (await here.api("DELETE", f"/Messages/{sid}.json")).status_code == 500
