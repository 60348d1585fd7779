"""What customers write: nobody's message is lost, each is answered once, and the right person gets the answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.acceptance.shop import Shop, a_phone, shop, until
from tests.acceptance.town import all_messages, running, town

PEOPLE = 200


@dataclass(frozen=True)
class Delivery:
    """A way for webhooks to come: the sandbox's settings, and faults with how many events each befalls."""

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[dict[str, Any], int], ...] = ()


TROUBLE = (
    ({"kind": "duplicate", "copies": 3}, 60),
    ({"kind": "reorder", "seconds": 0.3}, 60),
    ({"kind": "forge"}, 20),
)
DELIVERIES = [
    Delivery("one by one", {"batch": {"max": 1}}),
    Delivery("one by one, repeated, late and forged", {"batch": {"max": 1}}, TROUBLE),
    Delivery("in batches, repeated, late and forged", {"batch": {"max": 50, "linger": 0.1}}, TROUBLE),
]


async def test_two_hundred_people_at_once_are_each_answered_once(tmp_path: Path) -> None:
    """Each message is attributed to who wrote it, however it came, and its one answer goes there."""
    async with town(tmp_path) as here, running(here, tmp_path) as daemon:
        for delivery in DELIVERIES:
            await here.control("PATCH", "/settings", **delivery.settings)
            await here.control("DELETE", "/faults")
            async with shop(here, daemon, f"shop-{DELIVERIES.index(delivery)}") as its:
                for fault, times in delivery.faults:
                    match = {"operation": "webhook", "event": "message", "phoneNumberId": its.number}
                    await here.fault(**fault, times=times, match=match)
                await _check_crowd(its, delivery.label)
        metrics = await daemon.metrics()
    assert metrics['wad_dead_letters{direction="inbound"}'] == 0
    assert metrics['wad_inbound_total{provider="cloud_api",type="text"}'] == PEOPLE * len(DELIVERIES)
    assert metrics['wad_inbound_duplicates_total{provider="cloud_api"}'] >= 2 * 2 * 60
    assert metrics['wad_webhook_requests_total{provider="cloud_api",result="bad_signature"}'] == 2 * 20


async def _check_crowd(its: Shop, label: str) -> None:
    here = its.here
    #: By what each says: who they are, and what Meta tells of them. Every tenth hides their number.
    people: dict[str, dict[str, Any]] = {
        f"{its.session_id}: soy la persona {n}": {
            "phone": a_phone(),
            "name": f"Persona {n}",
            "showsPhone": n % 10 != 0,
        }
        for n in range(PEOPLE)
    }
    user_ids: dict[str, str] = {}

    async def write(text: str, person: dict[str, Any]) -> None:
        written = await its.writes(person["phone"], text, **{"from": person})
        user_ids[text] = written["userId"]

    async with trio.open_nursery() as everybody:
        for text, person in people.items():
            everybody.start_soon(write, text, person)

    async def answers() -> list[dict[str, Any]]:
        return [send for send in await its.sends() if send["body"]["text"]["body"].startswith("re: ")]

    await until(answers, lambda sends: len(sends) >= PEOPLE, what=f"{PEOPLE} answers, {label}")
    await here.until_quiet()

    # The flow was told of each once, and of who wrote it.
    events = {
        event["data"]["text"]["body"]: event["data"]
        for event in here.flow.events
        if event["data"]["sessionId"] == its.session_id
    }
    assert events.keys() == people.keys(), label
    assert {here.flow.heard[text] for text in people} == {1}, label
    for text, person in people.items():
        told = events[text]["from"]
        assert told["name"] == person["name"], label
        assert told["userId"] == user_ids[text], label
        assert told["phone"] == (person["phone"] if person["showsPhone"] else None), label

    # Each answer went to who wrote, and nobody got two.
    reached = Counter((send["userId"], send["body"]["text"]["body"]) for send in await its.sends())
    assert reached == Counter((user_ids[text], f"re: {text}") for text in people), label

    # The API tells the same.
    inbound = await all_messages(its.daemon, sessionId=its.session_id, direction="inbound")
    assert Counter(m["text"]["body"] for m in inbound) == Counter(list(people)), label
    assert {m["from"]["userId"]: m["text"]["body"] for m in inbound} == {
        user_ids[text]: text for text in people
    }
    assert {m["status"] for m in inbound} == {"done"}, label


async def test_what_came_while_the_flow_was_down_is_answered_after_kills(tmp_path: Path) -> None:
    """The flow is down, the daemon is killed twice, customers write on: then all are answered once, in order."""
    customers = [a_phone() for _ in range(10)]
    written: dict[str, list[str]] = defaultdict(list)

    async with town(tmp_path) as here, running(here, tmp_path) as daemon, shop(here, daemon) as its:

        async def all_write(what: str) -> None:
            async with trio.open_nursery() as nursery:
                for customer in customers:
                    written[customer].append(f"{customer} {what}")
                    nursery.start_soon(its.writes, customer, written[customer][-1])

        here.flow.down = True
        await all_write("1: the daemon lives")
        await all_write("2: and takes this too")
        await here.until_quiet()
        await until(_refused(here.flow), lambda refused: refused >= len(customers), what="tries")
        daemon.kill()
        await all_write("3: it is dead")
        await daemon.start()
        await here.until_quiet()
        before = here.flow.refused
        await until(_refused(here.flow), lambda refused: refused > before, what="tries after the restart")
        daemon.kill()
        await daemon.start()
        here.flow.down = False

        expected = sum(len(texts) for texts in written.values())
        await until(its.sends, lambda sends: len(sends) >= expected, what=f"{expected} answers", seconds=90)
        await here.until_quiet()
        said: dict[str, list[str]] = defaultdict(list)
        for send in await its.sends():
            said[f"+{send['waId']}"].append(send["body"]["text"]["body"])
        assert said == {customer: [f"re: {text}" for text in texts] for customer, texts in written.items()}
        assert set(here.flow.heard.values()) == {1}
        assert (await daemon.metrics())['wad_dead_letters{direction="inbound"}'] == 0


def _refused(flow: Any) -> Any:
    async def look() -> int:
        return int(flow.refused)

    return look
