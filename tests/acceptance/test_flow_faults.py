"""What a flow service can do wrong: the customer is answered once, or the message waits where a person finds it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from quart import Response

from tests.acceptance.daemon import crashes, free_port
from tests.acceptance.shop import API, Shop, a_phone, shop, until, walk
from tests.acceptance.town import Answering, all_messages, running, town

FLOW_TIMEOUT = "1s"


def replies(*texts: str) -> Response:
    return Response(
        json.dumps({"replies": [{"text": text} for text in texts]}), content_type="application/json"
    )


async def hang(_: dict[str, Any]) -> Any:
    await trio.sleep_forever()


async def _inbound(its: Shop) -> list[dict[str, Any]]:
    """What customers wrote to the shop, the oldest first."""
    return (await all_messages(its.daemon, sessionId=its.session_id, direction="inbound"))[::-1]


async def _until_tried(its: Shop) -> dict[str, Any]:
    """The customer's message, once the flow was asked for it."""

    async def look() -> dict[str, Any]:
        found = await _inbound(its)
        return found[0] if found else {"attempts": 0}

    return await until(look, lambda message: message["attempts"] > 0, what="tried")


@dataclass(frozen=True)
class Fault:
    """One answer that is wrong, and what the message says of it; the next try is answered well."""

    label: str
    answer: Answering
    code: str
    comes_again: bool = True  # within seconds; a flow that has too much to do gets 15 s

    async def check(self, its: Shop) -> None:
        its.here.flow.script[f"/{its.session_id}"].append(self.answer)
        await its.writes(a_phone(), f"hola, {its.session_id}")
        message = await _until_tried(its)
        if message["status"] == "received":  # else it was tried again already
            assert message["error"]["code"] == self.code, message
        if self.comes_again:
            await until(its.sends, lambda sends: len(sends) == 1, what="one answer")
            assert [send["body"]["text"]["body"] for send in await its.sends()] == [
                f"re: hola, {its.session_id}"
            ]
            [message] = await until(
                lambda: _inbound(its), lambda them: them[0]["status"] == "done", what="done"
            )
            assert message["attempts"] == 2
        else:
            assert message["status"] == "received", message
            assert await its.sends() == []


FAULTS = [
    Fault("a 500", ("", 500), "flow_failed"),
    Fault("a 503 of a proxy", ("<html>", 503), "flow_failed"),
    Fault("a 400", ("", 400), "flow_refused"),
    Fault("a 404", ("", 404), "flow_refused"),
    Fault("a redirect", Response("", 302, {"Location": "/elsewhere"}), "flow_refused"),
    Fault("a page", ("<html></html>", 200), "flow_bad_answer"),
    Fault("a list", ("[]", 200), "flow_bad_answer"),
    Fault("a reply that cannot be sent", replies(""), "flow_bad_answer"),
    Fault("one good reply and a bad one", replies("hola", ""), "flow_bad_answer"),
    Fault("too many replies", replies(*("hola" for _ in range(46))), "flow_bad_answer"),
    Fault("a flood", ("x" * 300_000, 200), "flow_bad_answer"),
    Fault("a 429", ("", 429), "flow_busy", comes_again=False),
    Fault("silence", hang, "flow_timeout", comes_again=False),
]


# --- what is no fault, and what is the end -----------------------------------------------------------


async def several_replies(its: Shop) -> None:
    """They go out in their order, and no reply is one, too."""
    its.here.flow.script[f"/{its.session_id}"] += [replies("one", "two", "three"), ("", 204), ("", 200)]
    customer = a_phone()
    for text in ("first", "second", "third"):
        await its.writes(customer, text)
    await until(
        lambda: _inbound(its), lambda them: [m["status"] for m in them] == ["done"] * 3, what="all done"
    )
    await until(its.sends, lambda sends: len(sends) == 3, what="three replies")
    assert [send["body"]["text"]["body"] for send in await its.sends()] == ["one", "two", "three"]


async def a_flow_that_is_gone(its: Shop) -> None:
    """410: nothing more is sent there until somebody gives another address; what was refused is a dead letter."""
    its.here.flow.script[f"/{its.session_id}"].append(("", 410))
    await its.writes(a_phone(), "the last one")
    [message] = await until(
        lambda: _inbound(its), lambda them: them and them[0]["status"] == "dead", what="dead"
    )
    assert (message["error"]["code"], message["deadLetter"]) == ("flow_gone", True)
    assert (await its.until_status(isConnected=True))["reason"]["code"] == "flow_gone"
    heard = len(its.here.flow.events)
    await its.writes(a_phone(), "unheard")
    await until(lambda: _inbound(its), lambda them: len(them) == 2, what="it stored")
    mine = [event for event in its.here.flow.events[heard:] if event["data"]["sessionId"] == its.session_id]
    assert mine == []

    url = f"{its.here.flow.url}/{its.session_id}/again"
    changed = await its.api.patch(its.path, json={"settings": {"flowUrl": url}})
    assert changed.status_code == 200, changed.text
    retried = await its.api.post(f"{API}/dead-letters/{message['messageId']}/retry")
    assert retried.status_code == 200, retried.text
    await until(its.sends, lambda sends: len(sends) == 1, what="the answer")
    assert (await its.sends())[0]["body"]["text"]["body"] == "re: the last one"
    assert (await its.status())["reason"] is None


async def one_chat_waits_for_nobody_else(its: Shop) -> None:
    """While one customer's message hangs in the flow, the others are answered."""
    its.here.flow.script[f"/{its.session_id}"].append(hang)
    slow = a_phone()
    await its.writes(slow, "slow")
    await until(lambda: _heard(its), lambda texts: texts == ["slow"], what="the slow one at the flow")
    await its.writes(slow, "behind it")
    for number in range(5):
        await its.writes(a_phone(), f"quick {number}")
    sends = await until(its.sends, lambda sends: len(sends) == 5, what="five answers")
    assert {send["body"]["text"]["body"] for send in sends} == {f"re: quick {number}" for number in range(5)}


async def _heard(its: Shop) -> list[str]:
    events = [event["data"] for event in its.here.flow.events if event["data"]["sessionId"] == its.session_id]
    return [data["text"]["body"] for data in events]


async def nobody_there(its: Shop) -> None:
    """A port that nobody listens on: the message waits, and is delivered once somebody does."""
    url = f"http://127.0.0.1:{free_port()}/"
    await its.api.patch(its.path, json={"settings": {"flowUrl": url}})
    await its.writes(a_phone(), "hola")
    assert (await _until_tried(its))["error"]["code"] == "flow_unreachable"
    await its.api.patch(its.path, json={"settings": {"flowUrl": f"{its.here.flow.url}/{its.session_id}"}})
    await until(its.sends, lambda sends: len(sends) == 1, what="the answer")


@dataclass(frozen=True)
class Trouble:
    check: Callable[[Shop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


TROUBLES = [
    Trouble(check)
    for check in (
        several_replies,
        a_flow_that_is_gone,
        one_chat_waits_for_nobody_else,
        nobody_there,
    )
]


async def test_every_fault_of_a_flow_ends_in_one_answer_or_where_a_person_finds_it(tmp_path: Path) -> None:
    """A shop with a flow of its own for each, all at once."""
    rows: list[Fault | Trouble] = [*FAULTS, *TROUBLES]
    async with town(tmp_path, statuses={}) as here:
        config = here.config()
        config["flow"]["timeout"] = FLOW_TIMEOUT
        async with running(here, tmp_path, **config) as daemon:

            async def check(row: Fault | Trouble) -> None:
                name = f"shop-{rows.index(row)}"
                settings = {"flowUrl": f"{here.flow.url}/{name}"}
                async with shop(here, daemon, name, settings=settings) as its:
                    await row.check(its)

            await walk(rows, check)
            assert crashes(await daemon.metrics()) == 0
