"""A shop with two numbers: conversations stay on theirs, and one number's end is not the shop's; also under kill -9.

The count goes by the sandbox's ledger and by what callers were answered, never by wad's own word alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.load import WENT_OUT, settled
from tests.acceptance.shop import API, Shop, a_phone, until
from tests.acceptance.town import Town, running, town

SHOP = "centro"
EACH = 4  # messages to each customer


class TwoNumbers:
    """The shop, and who asks it to send."""

    def __init__(self, here: Town, daemon: Daemon, api: httpx.AsyncClient) -> None:
        self.here = here
        self.api = api
        self.north, self.south = (Shop(here, daemon, api, name) for name in ("north", "south"))
        self.customers = [a_phone() for _ in range(12)]
        self.taken: dict[str, str] = {}  # message id -> text

    async def open(self) -> None:
        for number in (self.north, self.south):
            await number.open(shopId=SHOP)

    async def greet(self) -> None:
        """Each customer writes to the south, and then to the north: that is where the conversation is."""
        for number in (self.south, self.north):
            for customer in self.customers:
                await number.writes(customer, "buenas")
            await until(lambda number=number: self._heard(number), lambda heard: heard == len(self.customers))

    async def _heard(self, number: Shop) -> int:
        query = {"sessionId": number.session_id, "direction": "inbound", "limit": 100}
        return len((await self.api.get(f"{API}/messages", params=query)).json()["items"])

    async def send(self, text: str, to: str) -> dict[str, Any]:
        answer = await self.api.post(f"{API}/send", json={"shopId": SHOP, "to": to, "text": text})
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        self.taken[found["messageId"]] = text
        return found

    async def send_many(self) -> None:
        """Some messages to each customer, numbered so that their texts sort as they were taken."""
        for _ in range(EACH):
            for customer in self.customers:
                await self.send(f"{len(self.taken):04}", customer)

    async def revoke(self, number: Shop) -> None:
        """The network takes the number's token no more."""
        match = {"phoneNumberId": number.number}
        await self.here.fault("error", code=190, times=None, name="revoked", match=match)

    async def restore(self, number: Shop) -> None:
        await self.here.control("DELETE", "/faults/revoked")
        await number.connect()

    async def sends(self) -> list[dict[str, Any]]:
        """What the network took of these messages, from both numbers."""
        return [send for send in await self.here.ledger("send") if send["callbackData"] in self.taken]


async def test_a_shops_traffic_outlives_one_of_its_numbers(tmp_path: Path) -> None:
    """Nothing lost, nothing twice, each conversation in its order, by way of two kills; and it comes back after all."""
    limits = {"settle_window": "3s", "requests_per_second": 100_000, "request_burst": 100_000}
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, limits=limits) as daemon,
        daemon.client() as api,
    ):
        shop = TwoNumbers(here, daemon, api)
        await shop.open()
        stranger = await api.post(f"{API}/send", json={"shopId": SHOP, "to": a_phone(), "text": "hola"})
        assert (stranger.status_code, stranger.json()["code"]) == (409, "no_able_session")
        assert {each["why"] for each in stranger.json()["sessions"]} == {"window_closed"}

        await shop.greet()
        first = await shop.send(f"{len(shop.taken):04}", shop.customers[0])
        assert first["balancing"] == {
            "chosen": {"sessionId": "north", "why": "customer_wrote_to_it"},
            "others": [{"sessionId": "south", "why": "conversation_elsewhere"}],
        }

        # A slow number has much to give when it is revoked; the daemon is killed in the middle of it, twice.
        await api.patch(shop.north.path, json={"settings": {"rate": 5, "burst": 1}})
        await shop.send_many()
        await shop.revoke(shop.north)
        for after in (0.1, 0.4):
            await trio.sleep(after)
            daemon.kill()
            await daemon.start()
        await shop.send_many()
        await settled(daemon)
        await here.until_quiet()
        messages = {m["messageId"]: m for m in await settled(daemon) if m["messageId"] in shop.taken}
        sends = await shop.sends()

        assert messages.keys() == shop.taken.keys()
        on_the_wire = Counter(send["callbackData"] for send in sends)
        assert set(on_the_wire.values()) == {1}
        assert {each for each, m in messages.items() if m["status"] in WENT_OUT} == on_the_wire.keys()
        doubtful = [m for m in messages.values() if m["status"] not in WENT_OUT]
        assert {m["status"] for m in doubtful} <= {"unknown"}
        assert len(doubtful) <= 2 * len(shop.customers)  # what was in hand when it was killed
        order: dict[str, list[str]] = defaultdict(list)
        for send in sends:
            order[send["to"]].append(send["body"]["text"]["body"])
        assert all(texts == sorted(texts) for texts in order.values()), order
        moved = [
            m for m in messages.values() if any("moved from north" in (s["note"] or "") for s in m["history"])
        ]
        assert moved
        assert {m["sessionId"] for m in moved} == {"south"}

        # Healed, the number has its conversations again; drained, it gives new ones away and keeps its own word.
        await shop.restore(shop.north)
        again = await shop.send(f"{len(shop.taken):04}", shop.customers[0])
        assert again["sessionId"] == "north"
        drained = await api.patch(shop.north.path, json={"settings": {"drained": True}})
        assert drained.json()["settings"]["drained"] is True
        other = await shop.send(f"{len(shop.taken):04}", shop.customers[1])
        assert other["balancing"]["others"] == [{"sessionId": "north", "why": "drained"}]
        named = await shop.north.send(to=shop.customers[1])
        assert (named.status_code, named.json()["reason"]["code"]) == (409, "drained")
        assert (await shop.north.status())["drained"] is True
        counted = await daemon.metrics()
        assert counted['wad_balanced_total{policy="sticky",why="customer_wrote_to_it"}'] >= 1
