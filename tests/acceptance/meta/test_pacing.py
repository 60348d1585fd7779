"""How fast each number goes, and how far Meta's "too much" reaches: against Meta's own counts and codes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.meta.place import BusinessShop, meta_shop
from tests.acceptance.shop import API, TAKEN, Shop, a_phone, until, walk
from tests.acceptance.town import Town, running, town

OFFER = {"name": "hello_world", "language": {"code": "en_US"}}
#: Messages from a number of 1,000 a second, and from one of 20, which takes ten seconds for them.
MANY, MORE = 70, 200


class Place:
    """Where a row opens shops of its own."""

    def __init__(self, here: Town, daemon: Daemon, name: str) -> None:
        self.here, self.daemon, self.name = here, daemon, name

    def business(self) -> Any:
        return meta_shop(BusinessShop, self.here, self.daemon, f"{self.name}-business")


class Neighbour(Shop):
    """A number by itself, of an account that has others."""

    waba: str

    async def make(self, **more: Any) -> None:
        await self.here.control("POST", "/numbers", phoneNumberId=self.number, wabaId=self.waba)
        await super().make(**more)


async def rates(its: BusinessShop, expected: dict[str, float]) -> None:
    """Have the session look at its account, until these are its rates."""
    await its.api.post(f"{its.path}/connect", headers={"Prefer": "wait=20"})
    await its.until_status(rates=expected)


async def many(its: BusinessShop, number: str, count: int = MANY) -> list[str]:
    """So many messages from *number*, each to somebody else."""
    body = {
        "messages": [
            {"sessionId": its.session_id, "to": a_phone(), "text": "hola", "from": number}
            for _ in range(count)
        ]
    }
    answer = await its.api.post(f"{API}/send-bulk", json=body)
    assert answer.is_success, answer.text
    return [str(each["messageId"]) for each in answer.json()["items"]]


async def left(its: BusinessShop) -> Counter[str]:
    """How many messages the network took from each number of the account."""
    return Counter(
        send["phoneNumberId"] for send in await its.here.ledger("send") if send["phoneNumberId"] in its.phones
    )


# --- rows -------------------------------------------------------------------------------------------


async def a_number_goes_as_fast_as_meta_lets_it(at: Place) -> None:
    """One of 1,000 a second has sent all, while one beside the app, of 20, has not; until Meta says otherwise."""
    async with at.business() as its:
        await at.here.control("POST", "/numbers", phoneNumberId=its.number, throughput="HIGH")
        await at.here.control("POST", "/numbers", phoneNumberId=its.second, onBusinessApp=True)
        await rates(its, {its.number: 1000.0, its.second: 20.0})
        slow = await many(its, its.second, MORE)
        await many(its, its.number)
        seen = await until(
            lambda: left(its), lambda sent: sent[its.number] == MANY, what="all of the quick one"
        )
        assert seen[its.second] < MORE
        held = await until(
            lambda: its.message(slow[-1]),
            lambda message: (
                (message["waiting"] or {}).get("reason") == "rate"
            ),  # there are moments between two turns
            what="held by the rate",
        )
        assert held["waiting"]["detail"] == f"{its.phones[its.second]} sends as fast as it may"
        await at.here.control(
            "POST", "/numbers", phoneNumberId=its.second, onBusinessApp=False, throughput="HIGH"
        )
        await rates(its, {its.number: 1000.0, its.second: 1000.0})
        await until(lambda: left(its), lambda sent: sent[its.second] == MORE, what="all of the other one")


async def too_fast_slows_one_number_of_an_account(at: Place) -> None:
    """130429: half the rate, for that number alone; and nothing is sent twice for it."""
    async with at.business() as its:
        await its.fault("error", code=130429)
        [message] = await many(its, its.number, 1)
        await its.until_status(rates={its.number: 40.0, its.second: 80.0})
        for number in its.phones:
            await many(its, number, 5)
        await its.until(message, *TAKEN)
        await until(lambda: left(its), lambda sent: sent == {its.number: 6, its.second: 5}, what="6 and 5")


async def calls_of_the_account_pause_every_session_of_it(at: Place) -> None:
    """80007: two sessions of one account wait for as long as Meta's header says, and tell why; another one does not."""
    async with at.daemon.client() as api:
        shops = [Neighbour(at.here, at.daemon, api, f"{at.name}-{n}") for n in range(3)]
        for its, waba in zip(shops, ("501", "501", "502"), strict=True):
            its.waba = waba
            await its.open()
        usage = json.dumps({"501": [{"type": "whatsapp", "estimated_time_to_regain_access": 7}]})
        await shops[0].fault("error", code=80007, headers={"X-Business-Use-Case-Usage": usage})
        refused = await shops[0].taken()
        await until(
            lambda: shops[0].message(refused), lambda message: message["error"] is not None, what="refused"
        )
        waits = {its.session_id: await its.taken() for its in shops}
        assert (await shops[2].until(waits[shops[2].session_id], *TAKEN))["attempts"] == 1
        for its in shops[:2]:
            held = (await its.message(waits[its.session_id]))["waiting"]
            assert held["reason"] == "paused"
            left = datetime.fromisoformat(held["until"]) - datetime.now(UTC)
            assert timedelta(minutes=5) < left <= timedelta(minutes=7)
        assert [len(await its.sends()) for its in shops] == [0, 0, 1]


async def unwanted_marketing_is_told_and_waits(at: Place) -> None:
    """131048: the number's offers wait, an event says so once, and its other messages go on."""
    async with at.business() as its:
        await its.fault("error", code=131048, match={"type": "template"})
        offer = {"sessionId": its.session_id, "to": a_phone(), "from": its.number, "priority": "bulk"}
        first = (await its.api.post(f"{API}/send", json={**offer, "template": OFFER})).json()["messageId"]

        async def told() -> list[dict[str, Any]]:
            return [
                event["data"]
                for event in at.here.flow.events
                if event["type"] == "session.marketing_paused"
                and event["data"]["sessionId"] == its.session_id
            ]

        [event] = await until(told, bool, what="told")
        assert (event["number"], event["code"]) == (its.phones[its.number], "spam_throttled")
        answer = await its.api.post(f"{API}/send", json={**offer, "to": a_phone(), "template": OFFER})
        held = (await its.message(answer.json()["messageId"]))["waiting"]
        assert (held["reason"], held["until"] > event["until"][:19]) == ("marketing_paused", True)
        text = await its.taken("hola", offer["to"], **{"from": its.number})
        await its.until(text, *TAKEN)
        again = await its.message(first)
        assert (again["status"], again["error"]["providerCode"]) == ("queued", "131048")
        assert again["history"][-1]["nextAttemptAt"] == again["nextAttemptAt"]
        assert len(await told()) == 1


@dataclass(frozen=True)
class Row:
    check: Callable[[Place], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


ROWS = [
    Row(check)
    for check in (
        a_number_goes_as_fast_as_meta_lets_it,
        too_fast_slows_one_number_of_an_account,
        calls_of_the_account_pause_every_session_of_it,
        unwanted_marketing_is_told_and_waits,
    )
]


async def test_the_pace_is_metas_own(tmp_path: Path) -> None:
    """Each row with accounts of its own, at one daemon."""

    async def check(row: Row) -> None:
        await row.check(Place(here, daemon, f"shop-{ROWS.index(row)}"))

    as_told = {"rate": None, "burst": 10}
    async with town(tmp_path) as here:
        config = {
            "cloud_api": as_told,
            "meta_business": as_told,
            "flow": here.config()["flow"] | {"events": ["session.marketing_paused"]},
        }
        async with running(here, tmp_path, **config) as daemon:
            await walk(ROWS, check)
            assert crashes(await daemon.metrics()) == 0
