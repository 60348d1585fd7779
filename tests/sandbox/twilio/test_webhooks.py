"""How what happens reaches its URL: signed as Twilio signs, once and again as the URL asks, and wrongly where told to."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio

from tests.sandbox.twilio.place import AUTH_TOKEN, CALLBACK, HOOK, SENDER, TwilioPlace, twilio_place
from wad.sandbox import READY_SENDER, Settings
from wad.sandbox.twilio.signing import signature

QUIET = Settings(statuses={}, retry_delays=[1, 2, 4])
NUMBER = READY_SENDER.number
REFUSED = httpx.ConnectError("refused")


async def put(here: TwilioPlace, **changes: Any) -> None:
    await here.post("twilio/senders", {"number": NUMBER, **changes})


async def fault(here: TwilioPlace, kind: str, event: str = "message", **more: Any) -> None:
    match = {"operation": "webhook", "event": event, "phoneNumberId": SENDER}
    await here.post("faults", {"match": match, "fault": {"kind": kind, **more}})


# --- signatures -------------------------------------------------------------------------------------


def test_the_signature_is_that_of_twilios_own_example() -> None:
    """https://www.twilio.com/docs/usage/webhooks/webhooks-security, which every SDK is tested by."""
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, params.items()) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


#: label → (the webhook's URL, its method, a shared key, the secret it is signed with)
KEY = {"id": "webhooks_sharedkey_1", "secret": "a shared secret"}
SIGNED: dict[str, tuple[str, str, dict[str, str] | None, str]] = {
    "the account's token": (HOOK, "POST", None, AUTH_TOKEN),
    "a query, and a fragment that counts for nothing": (f"{HOOK}?a=1&b=%20+#rc=2", "POST", None, AUTH_TOKEN),
    "a port": ("http://localhost:8080/x", "POST", None, AUTH_TOKEN),
    "GET": (f"{HOOK}?a=1", "GET", None, AUTH_TOKEN),
    "a shared key": (HOOK, "POST", KEY, KEY["secret"]),
    "GET with a shared key": (HOOK, "GET", KEY, KEY["secret"]),
}


@pytest.mark.parametrize("label", SIGNED)
async def test_a_webhook_is_signed_as_the_sdk_verifies_it(label: str, autojump_clock: object) -> None:
    """Over the URL as it was given, and over every parameter, blank ones and those beyond ASCII too."""
    url, method, key, secret = SIGNED[label]
    async with twilio_place(QUIET) as here:
        await put(here, webhookUrl=url, webhookMethod=method, **({} if key is None else {"sharedKey": key}))
        await here.writes(text="ñandú + 👋 & más")
        await here.writes(type="audio")
        await here.settled()
        for heard in here.webhook.heard:
            assert heard.is_signed(secret)
            assert not heard.is_signed(f"{secret}x")
            assert heard.method == method
            assert "#" not in heard.url
        assert [heard.params["Body"] for heard in here.webhook.heard] == ["ñandú + 👋 & más", ""]


#: label → (what is posted, whether the SDK takes it)
RAW: dict[str, tuple[dict[str, Any], bool]] = {
    "a form with names of tomorrow": ({"params": {"MessageSid": "SM1", "Mood": "", "Ñ": "ñ"}}, True),
    "JSON, by the hash of its body": ({"json": {"a": "ñ"}}, True),
    "a form, signed wrongly": ({"params": {"MessageSid": "SM1"}, "signature": "wrong"}, False),
    "a form, not signed": ({"params": {"MessageSid": "SM1"}, "signature": "missing"}, False),
    "JSON, signed wrongly": ({"json": {}, "signature": "wrong"}, False),
}


@pytest.mark.parametrize("label", RAW)
async def test_anything_can_be_posted_by_hand(label: str) -> None:
    """Any parameters or JSON, signed rightly, wrongly or not at all; what it was answered comes back."""
    spec, right = RAW[label]
    async with twilio_place() as here:
        here.webhook.answers = [418]
        answer = await here.post("twilio/raw", {"phoneNumberId": SENDER, **spec})
        assert answer["status"] == 418
        [heard] = here.webhook.heard
        assert heard.is_signed(AUTH_TOKEN) is right


# --- again ------------------------------------------------------------------------------------------

#: label → (fragment, what the URL answers, seconds at which it is called)
AGAIN: dict[str, tuple[str, list[int | Exception], list[int]]] = {
    "taken": ("", [200], [0]),
    "any 2xx": ("", [204], [0]),
    "no connection: once more, by default": ("", [REFUSED, 200], [1]),
    "no connection: and no more than once": ("", [REFUSED, REFUSED, 200], []),
    "5xx: never, by default": ("", [503], [0]),
    "5xx where the URL asks for it": ("#rc=3&rp=5xx", [503, 500, 200], [0, 1, 3]),
    "4xx where the URL asks for it": ("#rc=2&rp=4xx,5xx", [404, 200], [0, 1]),
    "4xx where it asks for others": ("#rc=2&rp=5xx,ct", [404], [0]),
    "all": ("#rc=5&rp=all", [httpx.ReadTimeout(""), 500, 400, 200], [1, 3, 7]),
    "five times at most": ("#rc=9&rp=all", [500] * 9, [0, 1, 3, 7, 11, 15]),
    "none at all": ("#rc=0", [REFUSED], []),
}


@pytest.mark.parametrize("label", AGAIN)
async def test_a_request_is_repeated_as_its_url_asks(
    label: str, autojump_clock: trio.testing.MockClock
) -> None:
    """By the policy in the fragment; the same parameters, signature and token each time."""
    fragment, answers, times = AGAIN[label]
    async with twilio_place(QUIET) as here:
        await put(here, webhookUrl=HOOK + fragment)
        here.webhook.answers = list(answers)
        start = trio.current_time()
        called: list[float] = []
        here.webhook.on_heard = lambda: called.append(trio.current_time() - start)
        await here.writes(text="hola")
        await here.settled()
        assert called == times
        assert len({(each.body, each.headers["x-twilio-signature"]) for each in here.webhook.heard}) <= 1
        assert len({each.headers["i-twilio-idempotency-token"] for each in here.webhook.heard}) <= 1
        attempts = [entry["attempt"] for entry in here.sandbox.ledger.entries("delivery")]
        assert attempts == list(range(1, len(attempts) + 1))


async def test_a_url_that_hangs_is_given_up(autojump_clock: object) -> None:
    """After fifteen seconds, or as many as the URL says; that is a failure to read."""
    async with twilio_place(Settings(statuses={}, webhook_timeout=60)) as here:
        await put(here, webhookUrl=f"{HOOK}#tt=4000&rc=1&rp=rt")
        here.webhook.pauses = [100.0]
        start = trio.current_time()
        await here.writes(text="hola")
        await here.settled()
        assert trio.current_time() - start == 4 + 1
        assert [entry["error"] for entry in here.sandbox.ledger.entries("delivery")] == ["TooSlowError", None]


async def test_what_a_url_does_not_take_goes_to_the_fallback(autojump_clock: object) -> None:
    """With the reason and the URL that failed; a status does not."""
    async with twilio_place(Settings(statuses={"sent": 0.0})) as here:
        await put(here, fallbackUrl=f"{HOOK}/fallback")
        here.webhook.answers = [500]
        await here.writes(text="hola")
        await here.settled()
        first, second = here.webhook.heard
        assert second.url == f"{HOOK}/fallback"
        assert second.params == first.params | {"ErrorCode": "11200", "ErrorUrl": HOOK}
        assert second.is_signed(AUTH_TOKEN)
        here.webhook.answers = [500]
        await here.form(StatusCallback=CALLBACK)
        await here.settled()
        assert len(here.webhook.heard) == 3


#: label → (answer, its media type, the debugger's warning, messages it would send)
ANSWERS: dict[str, tuple[bytes, str, int | None, int]] = {
    "an empty document": (b"<Response/>", "text/xml", None, 0),
    "nothing": (b"", "text/plain", None, 0),
    "JSON": (b"{}", "application/json", 12300, 0),
    "XML that is no TwiML": (b"<ok/>", "application/xml", 12100, 0),
    "a message, by mistake": (b"<Response><Message>x</Message></Response>", "text/xml", None, 1),
}


@pytest.mark.parametrize("label", ANSWERS)
async def test_what_a_webhook_answers_is_looked_at(label: str, autojump_clock: object) -> None:
    """The ledger has what Twilio's debugger would say."""
    body, content_type, warning, replies = ANSWERS[label]
    async with twilio_place(QUIET) as here:
        here.webhook.body, here.webhook.content_type = body, content_type
        await here.writes(text="hola")
        await here.settled()
        [entry] = here.sandbox.ledger.entries("delivery")
        assert (entry["status"], entry["warning"], entry["replies"]) == (200, warning, replies)


async def test_webhooks_do_not_leave_the_machine() -> None:
    """Not by a sender's URL, and not by a callback (`test_validation.py`)."""
    async with twilio_place() as here:
        spec = {"number": NUMBER, "webhookUrl": "https://example.com/x"}
        answer = await here.client.post("/_sandbox/twilio/senders", json=spec)
        assert (answer.status_code, "loopback" in answer.json()["error"]) == (400, True)
    async with twilio_place(allow_remote=True) as here:
        assert (await here.client.post("/_sandbox/twilio/senders", json=spec)).status_code == 200


# --- wrongly ----------------------------------------------------------------------------------------


def texts(here: TwilioPlace) -> list[str]:
    return [heard.params["Body"] for heard in here.webhook.heard]


async def test_events_are_duplicated_reordered_late_and_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Each as its script says; the next one is as it should be."""
    async with twilio_place(QUIET) as here:
        await fault(here, "duplicate", copies=3)
        await here.writes(text="thrice")
        await fault(here, "reorder")
        await here.writes(text="second")
        await here.writes(text="first")
        await fault(here, "lose")
        await here.writes(text="never")
        await fault(here, "late", seconds=60)
        await here.writes(text="late")
        await here.writes(text="last")
        await here.settled()
        assert texts(here) == ["thrice"] * 3 + ["first", "second", "last", "late"]
        assert len({heard.headers["i-twilio-idempotency-token"] for heard in here.webhook.heard[:3]}) == 1


@pytest.mark.parametrize("kind", ["wrong", "missing"])
async def test_a_forgery_comes_before_the_real_one(kind: str, autojump_clock: object) -> None:
    """The same parameters, which the SDK refuses; then those it takes."""
    async with twilio_place(QUIET) as here:
        await fault(here, "forge", signature=kind)
        await here.writes(text="hola")
        await here.settled()
        assert [heard.is_signed(AUTH_TOKEN) for heard in here.webhook.heard] == [False, True]


async def test_a_status_can_come_early_without_our_id_or_by_hand(autojump_clock: object) -> None:
    """Before the send is answered; without the query that has our id; and one that did not happen."""
    async with twilio_place(Settings(statuses={"sent": 5.0})) as here:
        await here.post("faults", {"match": {"operation": "messages"}, "fault": {"kind": "early_status"}})
        await here.form(StatusCallback=CALLBACK)
        assert here.webhook.statuses == ["sent"]
        await fault(here, "drop_callback_data", "status")
        sid = (await here.form(StatusCallback=f"{CALLBACK}#rc=1")).json()["sid"]
        await here.settled()
        assert here.webhook.heard[-1].url == CALLBACK.partition("?")[0]
        assert here.webhook.heard[-1].is_signed(AUTH_TOKEN)
        await here.post("status", {"wamid": sid, "status": "undelivered", "error": {"code": 63049}})
        await here.settled()
        assert here.webhook.heard[-1].params["ErrorCode"] == "63049"
        assert (await here.api("GET", f"/Messages/{sid}.json")).json()["status"] == "undelivered"


async def test_events_are_held_released_and_replayed(autojump_clock: object) -> None:
    """In any order, more than once, with those of the other numbers."""
    async with twilio_place(QUIET) as here:
        await here.post("webhooks/hold")
        for text in ("1", "2", "3"):
            await here.writes(text=text)
        assert texts(here) == []
        await here.post("webhooks/release", {"order": "reversed", "copies": 2})
        assert texts(here) == ["3", "2", "1"] * 2
        events = here.sandbox.ledger.entries("event")
        ids = [entry["eventId"] for entry in events]
        again = await here.post("webhooks/replay", {"eventIds": ids[:2], "order": "as_is"})
        assert texts(here)[6:] == ["1", "2"]
        assert [delivery["events"] for delivery in again["deliveries"]] == [[ids[0]], [ids[1]]]


async def test_a_chat_is_told_in_order_and_chats_side_by_side(autojump_clock: object) -> None:
    """One event of a chat is on the wire at a time; a slow one holds up no other chat."""
    async with twilio_place(QUIET) as here:
        here.webhook.pauses = [1.0] * 6
        for text in ("1", "2", "3"):
            for phone in ("+5215512345678", "+5215587654321"):
                await here.post("inbound", {"phoneNumberId": SENDER, "from": {"phone": phone}, "text": text})
        start = trio.current_time()
        await here.settled()
        assert trio.current_time() - start == 3
        by_sender: dict[str, list[str]] = {}
        for heard in here.webhook.heard:
            by_sender.setdefault(heard.params["From"], []).append(heard.params["Body"])
        assert list(by_sender.values()) == [["1", "2", "3"]] * 2
