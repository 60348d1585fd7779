"""Bulks over HTTP: what a name gathers, how far it is, stopping it, and that it is never in memory as a whole."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import trio

from tests.house import House, now
from tests.http.front import Front, Reply, SignedProvider, front
from tests.simulated import failing, refusal
from wad.actors.services import Limits
from wad.errors import Verdict
from wad.store.store import Retention

PAGE = 20


def house(**limits) -> House:
    return House(world=SignedProvider(), limits=Limits(bulk_page=PAGE, **limits))


async def send_bulk(ask: Front, count: int, name: str = "sale", session: str = "shop", **more) -> Reply:
    messages = [
        {"sessionId": session, "to": f"+5215512{n:06}", "text": f"b{n}", **more} for n in range(count)
    ]
    return await ask("POST", "/send-bulk", {"bulkId": name, "messages": messages})


def known(reply: Reply) -> dict[str, int]:
    """The states that any message is in."""
    assert reply.status == 200, reply.body
    return {state: count for state, count in reply.json["counts"].items() if count}


async def test_a_bulk_tells_how_far_it_is(autojump_clock):
    """Its states and its dead letters, when it began, and when the last of it leaves; to the end."""
    async with front(house()) as ask:
        await ask.session(settings={"rate": 1, "burst": 1})
        began = now()
        ask.house.world.script["+5215512000003"] = [failing(refusal(Verdict.REJECTED, "bad_recipient"))]
        sent = await send_bulk(ask, 100)
        assert {item["status"] for item in sent.json["items"]} == {202}
        await trio.sleep(50.5)
        half = await ask("GET", "/bulks/sale")
        assert (half.json["bulkId"], half.json["total"], half.json["dead"]) == ("sale", 100, 1)
        assert datetime.fromisoformat(half.json["beganAt"]) == began
        left = half.json["counts"]["queued"]
        assert 45 <= left <= 52
        leaves = datetime.fromisoformat(half.json["lastLeavesAt"]) - now()
        assert abs(leaves - timedelta(seconds=left)) < timedelta(seconds=3)
        await trio.sleep(60)
        done = await ask("GET", "/bulks/sale")
        assert known(done) == {"accepted": 99, "failed": 1}
        assert done.json["lastLeavesAt"] is None
        assert len(done.json["counts"]) == 12
        message = (await ask("GET", "/messages", bulkId="sale", status="failed")).json["items"]
        assert [(each["bulkId"], each["priority"]) for each in message] == [("sale", "bulk")]


async def test_a_page_of_it_is_in_memory_and_what_is_counted_is_all_of_it(autojump_clock):
    """Where nothing may leave, and after a restart as well; then everything goes, and once."""
    world = house()
    async with front(world) as ask:
        await ask.session(settings={"rate": 10, "burst": 1})
        await ask("POST", "/sessions/shop/breaker", {"action": "isolate"})
        await send_bulk(ask, 300)
        await send_bulk(ask, 1, to="+5215512000000")
        status = (await ask("GET", "/sessions/shop/status")).json
        assert status["queue"]["depth"] == 301
        assert len(ask.sessions.actors.get("shop").outbox.lanes) <= PAGE
        ask.house.die()
    async with front(world) as ask:
        await trio.sleep(1)
        outbox = ask.sessions.actors.get("shop").outbox
        assert (outbox.depth, len(outbox.lanes)) == (301, PAGE)
        told = await ask("GET", "/bulks/sale")
        assert (known(told), told.json["lastLeavesAt"]) == ({"queued": 301}, None)  # nobody can tell
        await ask("POST", "/sessions/shop/breaker", {"action": "close"})
        await trio.sleep(5)
        assert len(outbox.lanes) <= PAGE * 3 // 2
        await trio.sleep(60)
        assert (outbox.depth, len(outbox.lanes)) == (0, 0)
    assert sorted(world.world.bodies()) == sorted([*(f"b{n}" for n in range(300)), "b0"])


async def test_replies_and_other_messages_overtake_a_bulk(autojump_clock):
    """They do not wait behind what is on disk, nor for room in it."""
    async with front(house(queue_per_session=2)) as ask:
        await ask.session(settings={"rate": 2, "burst": 1})
        await send_bulk(ask, 200)
        await trio.sleep(10)
        began = trio.current_time()
        sent = await ask.send("urgent", to="+5215599999999", prefer="wait=20", priority="reply")
        assert (sent.status, sent.json["status"]) == (200, "accepted")
        assert trio.current_time() - began < 5  # the bulk takes a minute and a half


async def test_bulk_has_a_bound_of_its_own(autojump_clock):
    """429 with Retry-After beyond it, for each message; what is not bulk has its own room still."""
    async with front(house(bulk_per_session=50)) as ask:
        await ask.session()
        await ask("POST", "/sessions/shop/breaker", {"action": "isolate"})
        items = (await send_bulk(ask, 60)).json["items"]
        assert [item["status"] for item in items] == [202] * 50 + [429] * 10
        assert (items[-1]["problem"]["code"], items[-1]["problem"]["retryAfter"]) == ("queue_full", 1)
        refused = await ask.send("x", priority="bulk")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await ask.send("x")).status == 202


async def test_a_bulk_is_stopped_by_one_call(autojump_clock):
    """What went out stands; what waits, in memory or on disk or for its time, is cancelled and never goes."""
    async with front(house()) as ask:
        await ask.session(settings={"rate": 5, "burst": 1})
        await send_bulk(ask, 100)
        await send_bulk(ask, 50, sendAt=(now() + timedelta(hours=1)).isoformat())
        await send_bulk(ask, 10, name="other")
        await trio.sleep(4.1)
        gone = len(ask.house.world.ledger)
        stopped = await ask("POST", "/bulks/sale/cancel")
        assert (stopped.status, stopped.json["cancelled"]) == (200, 150 - gone)
        assert stopped.json["bulk"]["counts"]["cancelled"] == 150 - gone
        assert stopped.json["bulk"]["lastLeavesAt"] is None
        assert (await ask("POST", "/bulks/sale/cancel")).json["cancelled"] == 0
        assert (await ask("GET", "/sessions/shop/status")).json["queue"]["depth"] == 10
        await trio.sleep(7200)
        assert len(ask.house.world.ledger) == gone + 10
        assert ask.sessions.actors.get("shop").outbox.is_idle


async def test_a_bulk_for_later_goes_at_its_time(autojump_clock):
    """However many have the same one, and however soon the next life begins."""
    world = house()
    at = now() + timedelta(hours=2)
    async with front(world) as ask:
        await ask.session()
        await send_bulk(ask, 100, sendAt=at.isoformat(), expiresAt=(at + timedelta(hours=1)).isoformat())
        assert ask.sessions.actors.get("shop").outbox.depth == 100
        assert len(ask.sessions.actors.get("shop").outbox.lanes) == 0
        told = await ask("GET", "/bulks/sale")
        assert datetime.fromisoformat(told.json["lastLeavesAt"]) == at
        [first, *_] = (await ask("GET", "/messages", bulkId="sale", status="scheduled")).json["items"]
    async with front(world) as ask:
        assert (await ask("POST", f"/messages/{first['messageId']}/cancel")).json["status"] == "cancelled"
        await trio.sleep(7100)
        assert world.world.ledger == []
        await trio.sleep(200)
        assert len(world.world.ledger) == 99


async def test_bulk_on_disk_expires_where_its_session_may_not_send(autojump_clock):
    """As dead letters, like everything that waits too long."""
    async with front(house()) as ask, trio.open_nursery() as nursery:
        nursery.start_soon(ask.sessions.look_after, Retention())
        await ask.session()
        await ask("POST", "/sessions/shop/disconnect")
        await send_bulk(ask, 60, ttl=600, queue=True)
        await trio.sleep(1000)
        told = await ask("GET", "/bulks/sale")
        assert (known(told), told.json["dead"]) == ({"expired": 60}, 60)
        assert ask.sessions.actors.get("shop").outbox.is_idle
        nursery.cancel_scope.cancel()


async def test_bulk_on_disk_moves_to_another_number_of_the_shop(autojump_clock):
    """All that wad had placed in the session that cannot send; once each."""
    async with front(house()) as ask:
        await ask.session("a", shopId="shop-9", settings={"rate": 1, "burst": 1})
        messages = [{"shopId": "shop-9", "to": f"+5215512{n:06}", "text": f"b{n}"} for n in range(80)]
        await ask("POST", "/send-bulk", {"bulkId": "sale", "messages": messages})
        await trio.sleep(2)
        await ask.session("b", shopId="shop-9")
        await ask("POST", "/sessions/a/disconnect")
        await trio.sleep(30)
        assert known(await ask("GET", "/bulks/sale")) == {"accepted": 80}
        assert len({message.message_id for message in ask.house.world.ledger}) == 80
        assert len(ask.house.world.ledger) == 80
        for session_id in ("a", "b"):
            assert ask.sessions.actors.get(session_id).outbox.is_idle


async def test_a_bulk_is_its_shops_alone(autojump_clock):
    """Two shops may use one name; who sees both sees the sum, and `shopId` tells them apart."""
    async with front(house()) as ask:
        for session_id, shop in (("nine", "shop-9"), ("eight", "shop-8")):
            await ask.session(session_id, shopId=shop)
        await send_bulk(ask.as_("shop9"), 3, session="nine")
        await send_bulk(ask.as_("shop8"), 2, session="eight")
        await send_bulk(ask.as_("shop8"), 1, name="other", session="eight")
        await trio.sleep(1)
        for who, total in (("shop9", 3), ("shop8", 2), ("chain", 5), ("ops", 5)):
            assert (await ask.as_(who)("GET", "/bulks/sale")).json["total"] == total, who
        assert (await ask("GET", "/bulks/sale", shopId="shop-8")).json["total"] == 2
        for path, query in (("/bulks/other", {}), ("/bulks/sale", {"shopId": "shop-8"}), ("/bulks/none", {})):
            assert (await ask.as_("shop9")("GET", path, **query)).status == 404, path
            assert (await ask.as_("shop9")("POST", f"{path}/cancel", **query)).status == 404, path
        first = (await ask("GET", "/bulks", limit="2")).json
        rest = (await ask("GET", "/bulks", limit="2", cursor=first["next"])).json
        listed = [(each["bulkId"], each["shopId"]) for each in (*first["items"], *rest["items"])]
        assert listed == [("other", "shop-8"), ("sale", "shop-8"), ("sale", "shop-9")]
        assert rest["next"] is None
        mine = (await ask.as_("shop9")("GET", "/bulks")).json["items"]
        assert [each["bulkId"] for each in mine] == ["sale"]


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ñ", ".a", 5])
async def test_a_bulk_has_a_name_that_fits_a_path(name, autojump_clock):
    """Of up to 64 letters, digits, dots, dashes and underscores."""
    async with front() as ask:
        await ask.session()
        refused = await ask("POST", "/send-bulk", {"bulkId": name, "messages": [{}]})
        assert (refused.status, refused.pointers) == (422, {"/bulkId"})


async def test_what_says_its_priority_keeps_it_in_a_bulk(autojump_clock):
    """A name alone makes it bulk; without one nothing changes."""
    async with front() as ask:
        await ask.session()
        await send_bulk(ask, 1, priority="normal")
        plain = {"sessionId": "shop", "to": "+5215512345678", "text": "x"}
        await ask("POST", "/send-bulk", {"messages": [plain]})
        items = (await ask("GET", "/messages")).json["items"]
        assert [(each["priority"], each["bulkId"]) for each in items] == [
            ("normal", None),
            ("normal", "sale"),
        ]
