"""Sessions that are changed, stopped and deleted in the middle of their work: only they notice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from tests.acceptance.daemon import crashes
from tests.acceptance.shop import API, TAKEN, Shop, a_phone, in_a_month, shop, until, walk
from tests.acceptance.town import all_messages, running, town


class Senders:
    """Chats that send one message after the other for as long as the block is open; `taken` are the 202s, in order."""

    def __init__(self, its: Shop, chats: int = 6) -> None:
        self._its = its
        self._phones = [a_phone() for _ in range(chats)]
        self._scope = trio.CancelScope()
        self.taken: dict[str, list[str]] = defaultdict(list)  # phone -> message ids

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for phone in self._phones:
                    nursery.start_soon(self._send, phone)

    async def _send(self, phone: str) -> None:
        number = 0
        while not self._scope.cancel_called:
            number += 1
            with trio.CancelScope(shield=True):  # an answer that nobody saw could not be counted
                answer = await self._its.send(f"{phone} {number:04}", phone, queue=True)
            assert answer.status_code == 202, answer.text
            self.taken[phone].append(answer.json()["messageId"])
            await trio.sleep(0.01)

    async def until_more(self, messages: int) -> None:
        enough = len(self.all) + messages

        async def so_far() -> int:
            return len(self.all)

        await until(so_far, lambda many: many >= enough, what=f"{enough} messages taken")

    def stop(self) -> None:
        self._scope.cancel()

    @property
    def all(self) -> list[str]:
        return [message_id for ids in self.taken.values() for message_id in ids]


async def _check_all_went_out(its: Shop, senders: Senders) -> None:
    """Once each, in the order of each chat, and none of them ever in doubt."""
    await until(
        its.sends, lambda sends: len(sends) >= len(senders.all), what=f"{len(senders.all)} on the wire"
    )
    sends = await its.sends()
    assert Counter(send["callbackData"] for send in sends) == Counter(senders.all)
    for phone, ids in senders.taken.items():
        assert [send["callbackData"] for send in sends if f"+{send['waId']}" == phone] == ids
    messages = await all_messages(its.daemon, sessionId=its.session_id, direction="outbound")
    assert "unknown" not in {step["status"] for message in messages for step in message["history"]}


# --- rows -----------------------------------------------------------------------------------------------


async def stopped_and_started(its: Shop) -> None:
    """Disconnected, it sends nothing more; connected, it goes on where it was."""
    senders = Senders(its)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(senders.run)
        for _ in range(3):
            await senders.until_more(12)
            stopped = await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=20"})
            assert (stopped.status_code, stopped.json()["state"]) == (200, "disconnected"), stopped.text
            before = len(await its.sends())
            await senders.until_more(12)
            assert len(await its.sends()) == before
            await its.connect()
        senders.stop()
    await _check_all_went_out(its, senders)


async def with_other_settings(its: Shop) -> None:
    """A change waits for what is in hand: nothing is cut off, nothing is sent twice."""
    senders = Senders(its)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(senders.run)
        for rate in (50, 500, 5000):
            await senders.until_more(12)
            changed = await its.api.patch(its.path, json={"settings": {"rate": rate}})
            assert (changed.status_code, changed.json()["settings"]["rate"]) == (200, rate), changed.text
        senders.stop()
    await its.until_status(isConnected=True)
    await _check_all_went_out(its, senders)


async def with_a_new_token(its: Shop) -> None:
    """The old token ends: the session says that it needs a person, and goes on with what the person gives it."""
    senders = Senders(its)
    new = f"EAAnew{its.number}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(senders.run)
        await senders.until_more(12)
        await its.here.control("POST", "/numbers", phoneNumberId=its.number, accessTokens=[new])
        status = await its.until_status(state="bad_credentials", isConnected=False)
        assert (status["reason"]["code"], status["reason"]["needsPerson"]) == ("bad_credentials", True)
        await senders.until_more(12)
        changed = await its.api.patch(its.path, json={"credentials": {"accessToken": new}})
        assert changed.status_code == 200, changed.text
        await its.until_status(state="connected", isConnected=True, reason=None)
        await senders.until_more(12)
        senders.stop()
    await _check_all_went_out(its, senders)


async def deleted(its: Shop) -> None:
    """With sends in hand and customers writing: it is gone, all of it, and its id is free again."""
    await its.fault("delay", seconds=1, after="accept", times=3)
    in_hand = [await its.taken(f"in hand {n}") for n in range(3)]
    waiting = await its.taken("scheduled", sendAt=in_a_month(), key="a-key")
    await its.writes(a_phone(), "is anybody there?")
    await until(its.sends, lambda sends: len(sends) >= 4, what="those in hand, and the answer")
    gone = await its.api.delete(its.path)
    assert gone.status_code == 204, gone.text
    for path in (its.path, f"{its.path}/status", *(f"{API}/messages/{each}" for each in (*in_hand, waiting))):
        assert (await its.api.get(path)).status_code == 404, path
    assert (await its.send()).status_code == 404
    assert (await its.api.delete(its.path)).status_code == 404
    webhook = f"{its.daemon.url}/webhooks/cloud_api/{its.session_id}"
    assert (await its.here.client.post(webhook, content=b"{}")).status_code == 404
    await its.open()
    assert await all_messages(its.daemon, sessionId=its.session_id) == []
    again = await its.send("scheduled", key="a-key")
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (202, None)
    await its.until(again.json()["messageId"], "read")


async def made_by_many_at_once(its: Shop) -> None:
    """One id is one session, whoever comes first."""
    answers: list[httpx.Response] = []
    body = {"sessionId": "only-one", "provider": "cloud_api", "credentials": its.credentials}

    async def create() -> None:
        answers.append(await its.api.post(f"{API}/sessions", json=body))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(create)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {201: 1, 409: 9}
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert codes == {"session_exists"}
    assert (await its.api.delete(f"{API}/sessions/only-one")).status_code == 204


async def left_alone(its: Shop) -> None:
    """What happens to the others is nothing to this one."""
    senders = Senders(its, chats=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(senders.run)
        await senders.until_more(60)
        senders.stop()
    await _check_all_went_out(its, senders)
    status = await its.status()
    assert (status["state"], status["restarts"]) == ("connected", 0)
    await its.until(senders.all[-1], *TAKEN)


@dataclass(frozen=True)
class Change:
    check: Callable[[Shop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


CHANGES = [
    Change(check)
    for check in (
        stopped_and_started,
        with_other_settings,
        with_a_new_token,
        deleted,
        made_by_many_at_once,
        left_alone,
    )
]


async def test_a_session_changes_under_load_and_only_it_notices(tmp_path: Path) -> None:
    """A shop for each change, all at once: no message is lost, none is sent twice, no actor crashes."""
    async with town(tmp_path) as here, running(here, tmp_path) as daemon:

        async def check(change: Change) -> None:
            async with shop(here, daemon, change.label.replace("_", "-")) as its:
                await change.check(its)

        await walk(CHANGES, check)
        assert crashes(await daemon.metrics()) == 0
        for mishap in ("request_failed", "connection_failed", "actor_crashed"):
            assert daemon.logged(mishap) == []
