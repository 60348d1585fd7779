"""What a provider can do wrong, each with the state, the code and the HTTP answer that it must lead to.

The count goes by the sandbox's ledger: whatever goes wrong, no message is on the wire twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.acceptance.daemon import free_port
from tests.acceptance.shop import TAKEN, Shop, a_phone, shop, until, walk
from tests.acceptance.town import running, town
from wad.sandbox import serve_sandbox

#: What the daemon gives a provider to answer, and a doubt to be settled.
PATIENCE = "2s"
DOUBT = "6s"
#: Long enough for every wait that ends by itself.
WAIT = 25

READ = "read"
LOST = "unknown"  # and a dead letter: no proof came


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row: *fault* befalls the first send of a shop, and no other."""

    label: str
    fault: dict[str, Any]
    code: str  # of the failure, in the message's history
    provider_code: str | None = None
    end: str = READ
    on_the_wire: int = 1
    attempts: int = 1
    session: str = "connected"
    answer: tuple[int, str | None]  # to who waits: the status, and the message's state or the problem's code


def error(code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "error", "code": code, **more}


def delayed(label: str, fault: dict[str, Any], code: str, provider_code: str | None = None) -> Fault:
    """It surely did not go out: it goes out a little later."""
    return Fault(
        label=label, fault=fault, code=code, provider_code=provider_code, attempts=2, answer=(200, None)
    )


def refused(label: str, fault: dict[str, Any], code: str, provider_code: str | None) -> Fault:
    """It surely did not go out, and never will."""
    return Fault(
        label=label,
        fault=fault,
        code=code,
        provider_code=provider_code,
        end="failed",
        on_the_wire=0,
        answer=(422, code),
    )


def doubtful(label: str, fault: dict[str, Any], code: str, provider_code: str | None = None) -> list[Fault]:
    """Nobody knows whether it went out: it did not, in the first row, and it did in the second."""
    unknown = partial(Fault, code=code, provider_code=provider_code, answer=(202, "unknown"))
    return [
        unknown(
            label=f"{label}, before the send was taken",
            fault={**fault, "after": "before"},
            end=LOST,
            on_the_wire=0,
        ),
        unknown(label=f"{label}, after the send was taken", fault={**fault, "after": "accept"}),
    ]


def waits_for_a_person(
    label: str, fault: dict[str, Any], code: str, provider_code: str | None = None
) -> Fault:
    """The account's trouble: the message keeps its place, and goes out once somebody mended it."""
    return Fault(
        label=label,
        fault=fault,
        code=code,
        provider_code=provider_code,
        session="bad_credentials",
        answer=(202, "queued"),
    )


FAULTS = [
    # --- throttles: surely not sent
    delayed("130429 as a 429", error(130429, http=429), "number_throttled", "130429"),
    delayed("130429 as a 400", error(130429), "number_throttled", "130429"),
    delayed("4 with Retry-After", error(4, retryAfter=1), "app_throttled", "4"),
    delayed("80007 with Retry-After", error(80007, http=429, retryAfter=1), "account_throttled", "80007"),
    delayed("131056", error(131056), "pair_throttled", "131056"),
    delayed("429 of a proxy", {"kind": "http", "status": 429, "html": True}, "number_throttled"),
    delayed("131016", error(131016), "provider_unavailable", "131016"),
    # --- the account
    waits_for_a_person("190", error(190), "bad_credentials", "190"),
    waits_for_a_person("401 of a proxy", {"kind": "http", "status": 401, "html": True}, "bad_credentials"),
    waits_for_a_person("131031", error(131031), "account_locked", "131031"),
    waits_for_a_person("131042", error(131042), "payment_problem", "131042"),
    # --- the message, or its recipient
    refused("131026 in the answer", error(131026), "recipient_unreachable", "131026"),
    refused("131047 in the answer", error(131047), "reply_window_closed", "131047"),
    refused("100", error(100), "invalid_parameter", "100"),
    refused("132001", error(132001), "template_not_found", "132001"),
    refused("a 4xx that nobody knows", error(999999, http=400), "provider_rejected", "999999"),
    # --- nobody knows
    *doubtful("503 in HTML", {"kind": "http", "status": 503, "html": True}, "provider_garbled"),
    *doubtful("500, empty", {"kind": "http", "status": 500}, "provider_garbled"),
    *doubtful("302", {"kind": "http", "status": 302, "headers": {"Location": "/"}}, "provider_garbled"),
    *doubtful("hang", {"kind": "hang"}, "provider_timeout"),
    *doubtful("cut", {"kind": "cut"}, "connection_lost"),
    *doubtful("reset", {"kind": "cut", "reset": True}, "connection_lost"),
    *doubtful("200 with garbage", {"kind": "garbage"}, "provider_garbled"),
    *doubtful("200 with nothing", {"kind": "garbage", "body": ""}, "provider_garbled"),
    Fault(
        label="500 with 131000",
        fault=error(131000),
        code="provider_failed",
        provider_code="131000",
        end=LOST,
        on_the_wire=0,
        answer=(202, "unknown"),
    ),
    Fault(
        label="200 with an error in it",
        fault=error(131000, http=200),
        code="provider_failed",
        provider_code="131000",
        end=LOST,
        on_the_wire=0,
        answer=(202, "unknown"),
    ),
    Fault(
        label="an answer cut in half",
        fault={"kind": "truncate"},
        code="connection_lost",
        answer=(202, "unknown"),
    ),
    Fault(
        label="an answer that drips",
        fault={"kind": "drip", "seconds": 30},
        code="provider_timeout",
        answer=(202, "unknown"),
    ),
]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One row: *fault* meets every question whether the account is there, until it ends."""

    label: str
    fault: dict[str, Any]
    code: str
    state: str = "connecting"


PROBES = [
    Probe(label="probe: hang", fault={"kind": "hang"}, code="provider_timeout"),
    Probe(label="probe: cut", fault={"kind": "cut", "after": "before"}, code="connection_lost"),
    Probe(
        label="probe: 503 in HTML",
        fault={"kind": "http", "status": 503, "html": True},
        code="provider_garbled",
    ),
    Probe(label="probe: garbage", fault={"kind": "garbage"}, code="provider_garbled"),
    Probe(label="probe: 131000", fault=error(131000), code="provider_failed"),
    Probe(label="probe: 4", fault=error(4), code="app_throttled"),
    Probe(label="probe: 190", fault=error(190), code="bad_credentials", state="bad_credentials"),
    Probe(label="probe: 10", fault=error(10), code="permission_missing", state="bad_credentials"),
    Probe(label="probe: 33", fault=error(33), code="number_unknown", state="bad_credentials"),
    Probe(label="probe: 100", fault=error(100), code="number_unknown", state="bad_credentials"),
]

#: As many as open a breaker.
FAILURES = 10


@dataclass(frozen=True)
class Outage:
    label: str = "a provider that only fails"


ROWS: list[Fault | Probe | Outage] = [*FAULTS, *PROBES, Outage()]


async def test_every_fault_has_its_state_its_code_and_its_answer(tmp_path: Path) -> None:
    """Never a 2xx for a failure, never two on the wire, and a doubt ends with the proof or as a dead letter."""
    limits = {"settle_window": DOUBT}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, cloud_api={"timeout": PATIENCE}, limits=limits) as daemon,
    ):

        async def check(row: Fault | Probe | Outage) -> None:
            name = f"shop-{ROWS.index(row)}"
            if isinstance(row, Probe):
                async with daemon.client() as api:
                    await _check_probe(Shop(here, daemon, api, name), row)
                return
            async with shop(here, daemon, name) as its:
                await (_check(its, row) if isinstance(row, Fault) else _check_outage(its))

        await walk(ROWS, check)
        metrics = await daemon.metrics()
    throttled = {
        scope: metrics[f'wad_throttled_total{{provider="cloud_api",scope="{scope}"}}']
        for scope in ("number", "account", "app", "pair")
    }
    assert throttled == {"number": 3, "account": 1, "app": 1, "pair": 1}
    ends = {
        end: metrics[f'wad_message_outcomes_total{{outcome="{end}",provider="cloud_api"}}']
        for end in ("failed", "unknown")
    }
    assert ends["failed"] == sum(row.end == "failed" for row in FAULTS)
    assert ends["unknown"] == sum(row.answer == (202, "unknown") for row in FAULTS) + FAILURES
    assert metrics['wad_dead_letters{direction="inbound"}'] == 0


async def _check(its: Shop, row: Fault) -> None:
    in_doubt = row.answer == (202, "unknown")
    if in_doubt:  # so that the proof comes when we have seen the doubt
        await its.here.fault(
            "lose",
            name=its.session_id,
            times=None,
            match={"operation": "webhook", "phoneNumberId": its.number},
        )
    await its.fault(**row.fault)
    answer = await its.send(wait=WAIT)
    status, word = row.answer
    assert answer.status_code == status, answer.text
    body = answer.json()
    told = body["status" if status < 300 else "code"]
    assert told == word if word else told in TAKEN, answer.text
    message_id = body["messageId"]

    session = await its.status()
    assert (session["state"], session["restarts"]) == (row.session, 0), session
    assert session["isConnected"] is (row.session == "connected")
    if row.session == "bad_credentials":
        assert (session["reason"]["code"], session["reason"]["needsPerson"]) == (row.code, True)
        assert (body["reason"]["code"], body["reason"]["needsPerson"]) == (row.code, True), body
        await _mend(its)
    if in_doubt and row.on_the_wire:
        await its.here.control("DELETE", f"/faults/{its.session_id}")
        [sent] = await its.sends()
        await its.here.control("POST", "/status", wamid=sent["wamid"], status="read")

    message = await its.until(message_id, row.end)
    if row.end != READ:
        message = await until(
            partial(its.message, message_id), lambda m: m["deadLetter"] is True, what="a dead letter"
        )
    failure = next(step["error"] for step in message["history"] if step["error"])
    assert (failure["code"], failure.get("providerCode")) == (row.code, row.provider_code), message
    assert message["attempts"] == row.attempts, message
    assert message["deadLetter"] is (row.end != READ)

    sends = await its.sends()
    assert len(sends) == row.on_the_wire, sends
    if row.on_the_wire:
        assert sends[0]["callbackData"] == message_id
        assert sends[0]["wamid"] == message["providerMessageId"]


async def _mend(its: Shop) -> None:
    """While it waits, the session takes only what asks to be queued; a `connect` that finds proof ends it."""
    refused = await its.send()
    assert (refused.status_code, refused.json()["code"]) == (409, "session_unavailable"), refused.text
    assert refused.json()["reason"]["needsPerson"] is True
    await its.connect()


async def _check_probe(its: Shop, row: Probe) -> None:
    """`connected` is claimed on proof alone; what heals by itself takes messages meanwhile, what does not says so."""
    match = {"operation": "number", "phoneNumberId": its.number}
    await its.here.fault(**row.fault, match=match, times=None, name=its.session_id)
    await its.make()
    status = await until(
        its.status, lambda status: (status["reason"] or {}).get("code") == row.code, what=row.code
    )
    waits_for_a_person = row.state == "bad_credentials"
    assert (status["state"], status["isConnected"]) == (row.state, False)
    assert status["reason"]["needsPerson"] is waits_for_a_person
    assert (status["restarts"], status["nextRetryAt"] is None) == (0, waits_for_a_person)
    early = await its.send("early")
    assert early.status_code == (409 if waits_for_a_person else 202), early.text
    assert await its.sends() == []

    await its.here.control("DELETE", f"/faults/{its.session_id}")
    if waits_for_a_person:
        await its.connect()
        early = await its.send("early")
    await its.until_status(state="connected", isConnected=True, reason=None, nextRetryAt=None)
    await its.until(early.json()["messageId"], *TAKEN)
    assert len(await its.sends()) == 1


async def _check_outage(its: Shop) -> None:
    """The breaker opens: the session is degraded and takes messages, none of which is on the wire until it closes."""
    await its.fault("http", times=FAILURES, status=503, html=True)
    for _ in range(FAILURES):
        assert (await its.send(wait=WAIT)).json()["status"] == "unknown"
    status = await its.status()
    assert (status["state"], status["isConnected"], status["breaker"]) == ("degraded", False, "open")
    assert status["reason"]["code"] == "breaker_open"
    waiting = [await its.taken(f"later {number}") for number in range(3)]
    calls = await its.here.ledger("call", phoneNumberId=its.number, operation="messages")
    assert len(calls) == FAILURES
    assert await its.sends() == []
    for message_id in waiting:
        await its.until(message_id, *TAKEN)
    assert (await its.until_status(breaker="closed"))["isConnected"] is True
    assert len(await its.sends()) == 3


async def test_a_provider_that_nobody_can_reach_is_waited_for(tmp_path: Path) -> None:
    """A refused connection did not go out: the message stays, in its order, until the provider is back."""
    port = free_port()
    async with town(tmp_path) as here, trio.open_nursery() as nursery:
        serving = await nursery.start(_serve, port)
        elsewhere = f"http://127.0.0.1:{port}"
        async with running(here, tmp_path, cloud_api={"base_url": elsewhere}) as daemon:
            here.sandbox_url = elsewhere
            async with shop(here, daemon) as its:
                customer = a_phone()
                assert (await its.send("before", customer, wait=WAIT)).status_code == 200
                serving.cancel()
                answer = await its.send("first", customer, wait=1)
                assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
                assert answer.json()["reason"]["code"] == "provider_unreachable"
                second = await its.taken("second", customer)
                first = await its.message(answer.json()["messageId"])
                assert (first["error"]["code"], first["error"]["retryable"]) == ("provider_unreachable", True)
                assert first["nextAttemptAt"] is not None

                await nursery.start(_serve, port)
                await here.control("POST", "/numbers", phoneNumberId=its.number, accessToken=its.token)
                await its.until(second, *TAKEN)
                assert [each["body"]["text"]["body"] for each in await its.sends()] == ["first", "second"]
                assert (await its.status())["restarts"] == 0
        nursery.cancel_scope.cancel()


async def _serve(port: int, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """A sandbox on *port*, whose whole life is the scope it is started with."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_sandbox, f"127.0.0.1:{port}")
            task_status.started(scope)
