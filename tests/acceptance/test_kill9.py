"""kill -9 at random moments, under load in both directions; then every message is counted.

The count goes by the sandbox's ledger and by what callers were answered, never by wad's own word alone.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.acceptance.daemon import CALLERS_DIE, Daemon
from tests.acceptance.town import all_messages, running, town
from tests.store.secantus import Secantus

pytestmark = CALLERS_DIE

ROUNDS = int(os.environ.get("WAD_KILL_ROUNDS", "30"))
CHATS = 12
ENDS = {"accepted", "sent", "delivered", "read", "failed", "cancelled", "expired", "unknown"}


class Callers:
    """Who sends over the API, and remembers what was answered."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.acknowledged: dict[str, str] = {}  # message id -> text
        self.refused: Counter[int] = Counter()
        self._number = 0

    async def chat_away(self, chat: int) -> None:
        """One chat, one message after the other, until the daemon is gone."""
        async with self._daemon.client() as client:
            while True:
                self._number += 1
                text = f"{chat}:{self._number:06}"
                try:
                    answer = await client.post(
                        "/api/whatsapp/send",
                        json={"sessionId": "shop", "to": f"+52155000000{chat:02}", "text": text},
                    )
                except httpx.TransportError:
                    return  # not acknowledged: it may be there or not
                if answer.status_code == 202:
                    self.acknowledged[answer.json()["messageId"]] = text
                else:
                    self.refused[answer.status_code] += 1
                await trio.sleep(0.002)


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    if request.param == "sqlite":
        yield {}
        return
    directory = tmp_path / "mongo"
    directory.mkdir()
    server = Secantus(directory)
    server.start()
    try:
        yield {
            "store": {"url": server.uri, "database": "wad", "data_dir": str(tmp_path / "var")},
            "secrets": {"master_key": "A" * 43 + "="},
        }
    finally:
        server.stop()


async def settled(daemon: Daemon) -> list[dict[str, Any]]:
    """Every message, once none is on its way any more."""
    with trio.fail_after(120):
        while True:
            messages = await all_messages(daemon)
            if all(m["status"] in ENDS | {"done", "dead"} for m in messages) and not any(
                m["status"] == "unknown" and not m["deadLetter"] for m in messages
            ):
                return messages
            await trio.sleep(0.3)


async def test_nothing_is_lost_and_nothing_is_sent_twice(store: dict[str, Any], tmp_path: Path) -> None:
    """Thirty kills: each 202 in one place, no message twice on the wire, each webhook's 200 with one effect."""
    chance = random.Random(os.environ.get("WAD_KILL_SEED", "2026"))
    limits = {"settle_window": "5s", "requests_per_second": 100_000, "request_burst": 100_000}
    written = 0
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, limits=limits, **store) as daemon,
    ):
        await here.settle_in(daemon)
        callers = Callers(daemon)
        for _ in range(ROUNDS):
            async with trio.open_nursery() as load:
                for chat in range(CHATS):
                    load.start_soon(callers.chat_away, chat)

                async def customers() -> None:
                    nonlocal written
                    while True:
                        written += 1
                        await here.writes(f"+52155000000{written % CHATS:02}", f"in-{written:06}")
                        await trio.sleep(0.005)

                load.start_soon(customers)
                await trio.sleep(chance.uniform(0.05, 0.8))
                daemon.kill()
                load.cancel_scope.cancel()
            await daemon.start()
        await here.until_quiet()
        messages = await settled(daemon)
        sends = await here.ledger("send")
        deliveries = await here.ledger("delivery")
        events = {event["eventId"]: event for event in await here.ledger("event")}

    outbound = {m["messageId"]: m for m in messages if m["direction"] == "outbound"}
    on_the_wire = Counter(send["callbackData"] for send in sends)

    # Every 202 is in exactly one place, and every message that the network saw is one of ours.
    assert len(callers.acknowledged) > ROUNDS
    assert callers.acknowledged.keys() <= outbound.keys()
    assert on_the_wire.keys() <= outbound.keys()
    # Nothing was sent twice, whatever happened.
    assert [each for each, count in on_the_wire.items() if count > 1] == []
    # A message is believed to have gone out if and only if it did: its status webhook settled what was in doubt.
    went_out = {
        each for each, m in outbound.items() if m["status"] in ENDS - {"unknown", "failed", "expired"}
    }
    assert went_out == on_the_wire.keys()
    assert {m["status"] for m in outbound.values()} <= {"accepted", "sent", "delivered", "read", "unknown"}

    # Every customer's message was answered 200 in the end, and each of those had its effect, once.
    acknowledged = {e for d in deliveries if d["status"] == 200 for e in d["events"]}
    assert acknowledged == events.keys()
    taken = {
        item["text"]["body"]
        for event in events.values()
        if event["event"] == "message"
        for item in event["items"]
    }
    replies = Counter(
        m["text"]["body"].removeprefix("re: ")
        for m in outbound.values()
        if m["text"]["body"].startswith("re: ")
    )
    assert set(replies) == taken
    assert set(replies.values()) == {1}

    # A chat's messages went out in the order in which they were taken.
    order: dict[str, list[str]] = defaultdict(list)
    for send in sends:
        text = send["body"]["text"]["body"]
        if not text.startswith("re: "):
            order[send["to"]].append(text)
    for texts in order.values():
        assert texts == sorted(texts)
