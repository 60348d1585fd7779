"""What a caller may rely on, of a real daemon that is killed in the middle of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import trio

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.shop import API, TAKEN, Shop, a_phone, shop, walk
from tests.acceptance.town import running, town

#: Messages that one session may have waiting here.
QUEUE = 8


#: What a row calls to have the daemon killed and started again.
Kill: TypeAlias = Callable[[], Awaitable[None]]


class OneKill:
    """One kill -9 and one start for all rows: each comes here, and goes on when the daemon is back."""

    def __init__(self, daemon: Daemon, rows: int) -> None:
        self._daemon = daemon
        self._missing = rows
        self._done = trio.Event()

    @asynccontextmanager
    async def row(self) -> AsyncIterator[Kill]:
        """The kill, for one row. A row that fails before it came there does not keep the others waiting."""
        came = False

        async def kill() -> None:
            nonlocal came
            came = True
            await self._one_less()
            await self._done.wait()

        try:
            yield kill
        finally:
            if not came:
                await self._one_less()

    async def _one_less(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._daemon.kill()
            await self._daemon.start()
            self._done.set()


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def ids(answers: list[httpx.Response]) -> set[str]:
    return {answer.json()["messageId"] for answer in answers}


async def at_once(times: int, ask: Callable[[], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """The answers to the same request, made *times* times side by side."""
    answers: list[httpx.Response] = []

    async def one() -> None:
        answers.append(await ask())

    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(one)
    return answers


# --- rows: each before and after the kill -----------------------------------------------------------


async def the_same_key_is_the_same_message(its: Shop, kill: Kill) -> None:
    """Twenty at once, and again after the kill: one message, once on the wire."""
    to = a_phone()

    async def ask() -> httpx.Response:
        return await its.send("only once", to, key="order-1234")

    answers = await at_once(20, ask)
    assert {answer.status_code for answer in answers} == {202}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers].count(None) == 1
    [message_id] = ids(answers)
    await its.until(message_id, "read")
    await kill()
    again = await at_once(5, ask)
    assert {answer.headers.get("Idempotency-Replayed") for answer in again} == {"true"}
    assert ids(again) == {message_id}
    other = await its.send("something else", to, key="order-1234")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await its.sends()) == 1


async def a_batch_with_a_key_is_the_same_batch(its: Shop, kill: Kill) -> None:
    """Its messages go out once and in order within a chat, however often it is sent."""
    to = a_phone()
    body = {"messages": [{"sessionId": its.session_id, "to": to, "text": str(n)} for n in range(QUEUE)]}

    async def ask() -> httpx.Response:
        return await its.api.post(f"{API}/send-bulk", json=body, headers={"Idempotency-Key": "batch-1"})

    first = await ask()
    await kill()
    second = await ask()
    assert (first.status_code, second.status_code) == (202, 202)
    taken = [item["messageId"] for item in first.json()["items"]]
    assert [item["messageId"] for item in second.json()["items"]] == taken
    assert all(item["replayed"] for item in second.json()["items"])
    for message_id in taken:
        await its.until(message_id, *TAKEN, "unknown")
    on_the_wire = [send["callbackData"] for send in await its.sends()]
    assert on_the_wire == [message_id for message_id in taken if message_id in on_the_wire]
    assert len(on_the_wire) == len(set(on_the_wire))


async def a_full_queue_says_so(its: Shop, kill: Kill) -> None:
    """429 with Retry-After, also after the kill; room that a cancelled message leaves is taken again."""
    waiting = [await its.taken(sendAt=soon(3600)) for _ in range(QUEUE)]
    await _check_full(its)
    await kill()
    await its.until_status(isConnected=True)
    await _check_full(its)
    cancelled = await its.api.post(f"{API}/messages/{waiting[0]}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    await its.taken(sendAt=soon(3600))
    await _check_full(its)
    assert await its.sends() == []


async def _check_full(its: Shop) -> None:
    answer = await its.send()
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full"), answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await its.status())["queue"]["depth"] == QUEUE
    bulk = await its.api.post(
        f"{API}/send-bulk",
        json={"messages": [{"sessionId": its.session_id, "to": a_phone(), "text": "x"}]},
    )
    [item] = bulk.json()["items"]
    assert (bulk.status_code, item["status"], item["problem"]["code"]) == (202, 429, "queue_full")


async def what_is_cancelled_stays_so(its: Shop, kill: Kill) -> None:
    """While it waits it can be cancelled, once; what has gone out cannot."""
    scheduled = await its.taken("never", sendAt=soon(5))
    cancelled = await its.api.post(f"{API}/messages/{scheduled}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled"), cancelled.text
    gone = await its.taken("gone")
    await its.until(gone, "read")
    for message_id in (scheduled, gone):
        refused = await its.api.post(f"{API}/messages/{message_id}/cancel")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_cancellable")
    await kill()
    assert (await its.message(scheduled))["status"] == "cancelled"
    later = await its.taken("a sentinel", sendAt=soon(5))  # due after it would have been
    await its.until(later, *TAKEN)
    assert [send["body"]["text"]["body"] for send in await its.sends()] == ["gone", "a sentinel"]


async def what_is_scheduled_goes_out_at_its_time(its: Shop, kill: Kill) -> None:
    """Not before it, once, and also where its time came while nobody could send it."""
    await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=10"})
    times = {
        await its.taken(text, sendAt=at, queue=True): at
        for text, at in (("missed", soon(0.5)), ("to come", soon(5)))
    }
    for message_id in times:
        assert (await its.message(message_id))["status"] == "scheduled"
    await kill()
    await its.connect()
    for message_id, at in times.items():
        await its.until(message_id, *TAKEN)
        [send] = [send for send in await its.sends() if send["callbackData"] == message_id]
        assert send["at"] >= datetime.fromisoformat(at).timestamp()


async def who_waits_is_told_what_became_of_it(its: Shop, kill: Kill) -> None:
    """200 with the provider's id; a wait that ends too early is a 202, and the message goes out all the same."""
    answer = await its.send(wait=20)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=20"), answer.text
    assert answer.headers["Location"] == f"{API}/messages/{answer.json()['messageId']}"
    [send] = await its.sends()
    assert answer.json()["providerMessageId"] == send["wamid"]
    await its.fault("delay", seconds=3, after="before")
    early = await its.send(wait=0.1)
    assert early.status_code == 202, early.text
    assert early.json()["status"] in ("queued", "sending")
    await its.until(early.json()["messageId"], *TAKEN)
    await kill()
    assert (await its.message(answer.json()["messageId"]))["status"] == "read"


async def what_expires_is_not_sent(its: Shop, kill: Kill) -> None:
    """A message whose time was over before its session could send ends as expired, a dead letter."""
    await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=10"})
    to = a_phone()
    message_id = await its.taken("too late", to, queue=True, expiresAt=(end := soon(1)))
    in_time = await its.taken("in time", to, queue=True)
    await kill()
    await trio.sleep(max(0.0, datetime.fromisoformat(end).timestamp() - time.time()))
    await its.connect()
    assert (await its.until(message_id, "expired"))["deadLetter"] is True
    await its.until(in_time, *TAKEN)
    assert [send["body"]["text"]["body"] for send in await its.sends()] == ["in time"]


async def a_dead_letter_is_retried_by_a_person_alone(its: Shop, kill: Kill) -> None:
    """It stays what it is over a kill; `retry` sends it, once, and takes it off the list."""
    await its.fault("error", code=131026)
    refused = await its.send("again, please", wait=20)
    assert refused.status_code == 422, refused.text
    message_id = refused.json()["messageId"]
    await kill()
    assert (await its.message(message_id))["deadLetter"] is True
    assert await its.sends() == []
    retried = await its.api.post(f"{API}/dead-letters/{message_id}/retry")
    assert retried.status_code == 200, retried.text
    assert (await its.until(message_id, "read"))["deadLetter"] is False
    again = await its.api.post(f"{API}/dead-letters/{message_id}/retry")
    assert again.status_code == 404, again.text
    assert len(await its.sends()) == 1


async def one_chat_keeps_its_order(its: Shop, kill: Kill) -> None:
    """What waited for the session goes out in the order it was taken, across the kill."""
    await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=10"})
    to = a_phone()
    for number in range(QUEUE // 2):
        await its.taken(str(number), to, queue=True)
    await kill()
    last = ""
    for number in range(QUEUE // 2, QUEUE):
        last = await its.taken(str(number), to, queue=True)
    await its.connect()
    await its.until(last, *TAKEN)
    assert [send["body"]["text"]["body"] for send in await its.sends()] == [str(n) for n in range(QUEUE)]


@dataclass(frozen=True)
class Promise:
    check: Callable[[Shop, Kill], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


PROMISES = [
    Promise(check)
    for check in (
        the_same_key_is_the_same_message,
        a_batch_with_a_key_is_the_same_batch,
        a_full_queue_says_so,
        what_is_cancelled_stays_so,
        what_is_scheduled_goes_out_at_its_time,
        who_waits_is_told_what_became_of_it,
        what_expires_is_not_sent,
        a_dead_letter_is_retried_by_a_person_alone,
        one_chat_keeps_its_order,
    )
]


async def test_every_promise_holds_over_a_kill(tmp_path: Path) -> None:
    """A shop for each promise, all at once, and one kill -9 in the middle of all of them."""
    limits: dict[str, Any] = {"queue_per_session": QUEUE, "settle_window": "5s"}
    async with town(tmp_path) as here, running(here, tmp_path, limits=limits) as daemon:
        one_kill = OneKill(daemon, len(PROMISES))

        async def check(promise: Promise) -> None:
            async with one_kill.row() as kill, shop(here, daemon, promise.label.replace("_", "-")) as its:
                await promise.check(its, kill)

        await walk(PROMISES, check)
        assert crashes(await daemon.metrics()) == 0
