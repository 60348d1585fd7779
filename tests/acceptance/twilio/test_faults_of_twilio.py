"""What Twilio can do wrong, each with the state, the code and the HTTP answer that it must lead to.

The count goes by the sandbox's ledger: whatever goes wrong, no message is on the wire twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import crashes
from tests.acceptance.shop import TAKEN, until, walk
from tests.acceptance.town import running, town
from tests.acceptance.twilio.place import TwilioShop, twilio_shop

#: What the daemon gives Twilio to answer, and a doubt to be settled.
PATIENCE = "2s"
DOUBT = "4s"
WAIT = 25  # long enough for every wait that ends by itself

OUT = "accepted"  # by Twilio's list: its callbacks are lost
LOST = "unknown"  # and a dead letter: no proof came


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row: *fault* befalls the first send of a shop, and no other."""

    label: str
    fault: dict[str, Any]
    code: str  # of the failure, in the message's history
    provider_code: str | None = None
    end: tuple[str, ...] = TAKEN
    on_the_wire: int = 1
    attempts: int = 1
    needs_person: bool = False
    answer: tuple[int, str | None]  # to who waits: the status, and the message's state or the problem's code


def error(code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "error", "code": code, **more}


def refused(number: int, code: str, **more: Any) -> Fault:
    """It surely did not go out, and never will."""
    return Fault(
        label=f"{number}",
        fault=error(number, **more),
        code=code,
        provider_code=str(number),
        end=("failed",),
        on_the_wire=0,
        answer=(422, code),
    )


def later(number: int, code: str) -> Fault:
    """Twilio took it, and found out afterwards."""
    return Fault(
        label=f"{number} by callback",
        fault={"kind": "fail", "code": number},
        code=code,
        provider_code=str(number),
        end=("failed",),
        answer=(200, None),
    )


def waits_for_a_person(number: int, code: str) -> Fault:
    """The account's trouble: the message keeps its place, and goes out once somebody mended it."""
    return Fault(
        label=f"{number}",
        fault=error(number),
        code=code,
        provider_code=str(number),
        needs_person=True,
        answer=(202, "queued"),
    )


def doubtful(label: str, fault: dict[str, Any], code: str) -> list[Fault]:
    """Nobody knows whether it went out, until Twilio's list is asked: it did not, in the first row, and it did in the second."""
    unknown = partial(Fault, code=code, answer=(202, "unknown"))
    return [
        unknown(
            label=f"{label}, before it counted",
            fault={**fault, "after": "before"},
            end=(LOST,),
            on_the_wire=0,
        ),
        unknown(label=f"{label}, after it counted", fault={**fault, "after": "accept"}, end=(OUT,)),
    ]


FAULTS = [
    Fault(
        label="20429 with Retry-After",
        fault=error(20429, retryAfter=1),
        code="app_throttled",
        provider_code="20429",
        attempts=2,
        answer=(200, None),
    ),
    refused(21211, "recipient_unreachable"),
    refused(21610, "recipient_opted_out"),
    refused(21655, "template_not_found"),
    refused(63016, "reply_window_closed"),
    refused(99999, "provider_rejected", http=400),
    later(63016, "reply_window_closed"),
    later(63024, "recipient_unreachable"),
    later(63049, "marketing_capped"),
    waits_for_a_person(20003, "bad_credentials"),
    waits_for_a_person(20005, "account_suspended"),
    waits_for_a_person(63007, "sender_unknown"),
    *doubtful("503 in HTML", {"kind": "http", "status": 503, "html": True}, "provider_garbled"),
    *doubtful("hang", {"kind": "hang"}, "provider_timeout"),
    *doubtful("cut", {"kind": "cut"}, "connection_lost"),
    *doubtful("200 with garbage", {"kind": "garbage"}, "provider_garbled"),
    Fault(
        label="20500, of which Twilio says that it may have sent",
        fault=error(20500),
        code="provider_failed",
        provider_code="20500",
        end=(LOST,),
        on_the_wire=0,
        answer=(202, "unknown"),
    ),
    Fault(
        label="an answer cut in half",
        fault={"kind": "truncate"},
        code="connection_lost",
        end=(OUT,),
        answer=(202, "unknown"),
    ),
]  # fmt: skip


async def test_every_fault_has_its_state_its_code_and_its_answer(tmp_path: Path) -> None:
    """Never a 2xx for a failure, never two on the wire; a doubt ends by Twilio's list, or as a dead letter."""
    limits = {"settle_window": DOUBT}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, twilio={"timeout": PATIENCE}, limits=limits) as daemon,
    ):

        async def check(row: Fault) -> None:
            async with twilio_shop(here, daemon, f"shop-{FAULTS.index(row)}") as its:
                await _check(its, row)

        await walk(FAULTS, check)
        assert crashes(await daemon.metrics()) == 0
        assert daemon.logged("request_failed") == []


async def _check(its: TwilioShop, row: Fault) -> None:
    if row.answer == (202, "unknown"):
        match = {"operation": "webhook", "event": "status", "phoneNumberId": its.number}
        await its.here.fault("lose", times=None, match=match)
    await its.fault(**row.fault)
    answer = await its.send(wait=WAIT)
    status, word = row.answer
    assert answer.status_code == status, answer.text
    body = answer.json()
    told = body["status" if status < 300 else "code"]
    assert told == word if word else told in TAKEN, answer.text
    message_id = body["messageId"]

    session = await its.status()
    assert session["restarts"] == 0, session
    assert session["isConnected"] is not row.needs_person, session
    if row.needs_person:
        assert (session["reason"]["code"], session["reason"]["needsPerson"]) == (row.code, True)
        await its.connect()

    message = await its.until(message_id, *row.end)
    if row.end in ((LOST,), ("failed",)):
        message = await until(
            partial(its.message, message_id), lambda m: m["deadLetter"] is True, what="a dead letter"
        )
    failure = next(step["error"] for step in message["history"] if step["error"])
    assert (failure["code"], failure.get("providerCode")) == (row.code, row.provider_code), message
    assert message["attempts"] == row.attempts, message

    sends = await its.sends()
    assert len(sends) == row.on_the_wire, sends
    if row.on_the_wire:
        assert sends[0]["callbackData"] == message_id
        assert sends[0]["wamid"] == message["providerMessageId"]
