"""MongoDB goes away and comes back: nothing that was acknowledged is lost, nothing that was refused goes out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.shop import Shop, a_phone, shop, until, walk
from tests.acceptance.town import all_messages, running, town
from tests.store.secantus import Secantus, is_installed


@dataclass(frozen=True)
class Outage:
    label: str
    goes: Callable[[Secantus], None]
    comes: Callable[[Secantus], None]


OUTAGES = [
    Outage("killed: it refuses connections", Secantus.kill, Secantus.start),
    Outage("frozen: it keeps them, and says nothing", Secantus.freeze, Secantus.thaw),
]


@pytest.mark.skipif(not is_installed(), reason="SecantusDB is not installed")
async def test_an_outage_is_told_and_waited_out(tmp_path: Path) -> None:
    """Writes answer 503 with Retry-After, webhooks 200, no actor restarts, and afterwards everything goes on."""

    async def check(outage: Outage) -> None:
        directory = tmp_path / outage.label.partition(":")[0]
        (directory / "mongo").mkdir(parents=True)
        mongo = Secantus(directory / "mongo")
        await trio.to_thread.run_sync(mongo.start)
        try:
            await _check(outage, mongo, directory)
        finally:
            mongo.stop()

    await walk(OUTAGES, check)


async def _check(outage: Outage, mongo: Secantus, directory: Path) -> None:
    store = {"url": mongo.uri, "database": "wad", "data_dir": str(directory / "var")}
    async with (
        town(directory) as here,
        running(here, directory, store=store, secrets={"master_key": "A" * 43 + "="}) as daemon,
        shop(here, daemon) as its,
    ):
        # What is under way when it happens: one to come, one whose answer is on its way, one from a customer.
        soon = datetime.now(UTC) + timedelta(seconds=2)
        scheduled = await its.taken("scheduled", sendAt=soon.isoformat())
        await its.fault("delay", seconds=3, after="accept", match={"to": (slow := a_phone())})
        under_way = await its.taken("under way", slow)
        await until(its.sends, lambda sends: len(sends) == 1, what="one on the wire")
        acknowledged = {scheduled, under_way}

        await trio.to_thread.run_sync(outage.goes, mongo)
        await its.writes(a_phone(), "can you hear me?")
        await _check_refusals(its)
        status = await its.status()
        assert (status["restarts"], status["state"]) == (0, "connected"), status
        await trio.to_thread.run_sync(outage.comes, mongo)

        await daemon.until_ready()
        acknowledged.add(await its.taken("after it"))
        for message_id in acknowledged:
            await its.until(message_id, "read")
        await until(its.sends, lambda sends: len(sends) >= 4, what="the answer to the customer")
        await here.until_quiet()
        texts = ["scheduled", "under way", "after it", "re: can you hear me?"]
        assert await _on_the_wire(its) == Counter(texts)
        assert here.flow.heard == {"can you hear me?": 1}
        assert (await its.status())["restarts"] == 0
        assert crashes(await daemon.metrics()) == 0

        # What was refused stays refused, even if the server did get to store it.
        assert await daemon.stop() == 0
        await daemon.start()
        sentinel = await its.taken("a sentinel")
        await its.until(sentinel, "read")
        assert await _on_the_wire(its) == Counter([*texts, "a sentinel"])
        outbound = await all_messages(daemon, direction="outbound")
        assert {m["text"]["body"] for m in outbound} == {*texts, "a sentinel"}


async def _check_refusals(its: Shop) -> None:
    """What needs the store says when to come back; what does not is answered."""
    refused: dict[str, httpx.Response] = {}
    needs_the_store: dict[str, Any] = {
        "send": ("POST", "/send", {"sessionId": "shop", "to": a_phone(), "text": "refused"}),
        "send with a wait": ("POST", "/send", {"sessionId": "shop", "to": a_phone(), "text": "refused"}),
        "bulk": ("POST", "/send-bulk", {"messages": [{"sessionId": "shop", "to": a_phone(), "text": "refused"}]}),
        "create": ("POST", "/sessions", {"provider": "cloud_api", "credentials": its.credentials}),
        "change": ("PATCH", "/sessions/shop", {"settings": {"rate": 5}}),
        "messages": ("GET", "/messages", None),
        "a message": ("GET", "/messages/msg_" + "0" * 32, None),
    }  # fmt: skip

    async def ask(label: str, method: str, path: str, body: Any) -> None:
        headers = {"Prefer": "wait=20"} if "wait" in label else {}
        refused[label] = await its.api.request(method, f"/api/whatsapp{path}", json=body, headers=headers)

    async with trio.open_nursery() as nursery:
        for label, (method, path, body) in needs_the_store.items():
            nursery.start_soon(ask, label, method, path, body)
        ready = await its.api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "no_store")
    assert "Retry-After" in ready.headers
    for label, answer in refused.items():
        assert answer.status_code == 503, (label, answer.text)
        assert int(answer.headers["Retry-After"]) >= 1, label
        problem = answer.json()
        assert (problem["code"], problem["retryable"]) == ("store_unavailable", True), label
    alive = await its.api.get("/healthz")
    assert alive.status_code == 200


@pytest.mark.skipif(not is_installed(), reason="SecantusDB is not installed")
async def test_what_customers_write_meanwhile_waits_on_disk(tmp_path: Path) -> None:
    """All of it is answered 200 until the spool is full, survives a kill -9, and is answered once and in order."""
    (tmp_path / "mongo").mkdir()
    mongo = Secantus(tmp_path / "mongo")
    await trio.to_thread.run_sync(mongo.start)
    store = {
        "url": mongo.uri,
        "database": "wad",
        "data_dir": str(tmp_path / "var"),
        "spool_max_size": "64KiB",
    }
    try:
        async with (
            town(tmp_path) as here,
            running(here, tmp_path, store=store, secrets={"master_key": "A" * 43 + "="}) as daemon,
            shop(here, daemon) as its,
        ):
            customers = [a_phone() for _ in range(4)]
            await trio.to_thread.run_sync(mongo.kill)
            written = [f"{n:03}" for n in range(40)]
            for n, text in enumerate(written):
                await its.writes(customers[n % 4], text)
            await here.until_quiet()
            answers = {each["status"] for each in await here.ledger("delivery")}
            assert answers == {200}
            assert (await its.api.get("/readyz")).json()["spooled"] >= 10
            assert (await daemon.metrics())["wad_spool_depth"] >= 10

            # What does not fit any more is refused, and comes again.
            large = [f"{n} {os.urandom(1900).hex()}" for n in range(40)]
            for text in large:
                await its.writes(a_phone(), text)
            written += large
            await until(
                lambda: here.ledger("delivery"),
                lambda deliveries: any(each["status"] == 503 for each in deliveries),
                what="refused",
            )
            daemon.kill()
            daemon.launch()
            await _check_waiting(daemon)
            await trio.to_thread.run_sync(mongo.start)
            await daemon.until_ready()
            assert len(daemon.logged("spool_found")) == 1
            await until(its.sends, lambda sends: len(sends) >= len(written), what="every answer")
            await here.until_quiet()
            assert await _on_the_wire(its) == Counter(f"re: {text}" for text in written)
            assert here.flow.heard == Counter(written)
            for phone in customers:
                heard = [
                    e["data"]["text"]["body"] for e in here.flow.events if e["data"]["from"]["phone"] == phone
                ]
                assert heard == sorted(heard)
            assert (await daemon.metrics())["wad_spool_depth"] == 0
            assert crashes(await daemon.metrics()) == 0
    finally:
        mongo.stop()


async def _check_waiting(daemon: Daemon) -> None:
    """A start that finds no MongoDB waits for it, says so, and refuses what it cannot keep."""
    async with daemon.client() as client:

        async def status() -> str:
            try:
                return str((await client.get("/readyz")).json()["status"])
            except httpx.TransportError:
                return "not listening"

        await until(status, lambda status: status == "no_store", what="what it waits for")
        assert (await client.get("/healthz")).status_code == 200
        for method, path in (("GET", "/api/whatsapp/sessions"), ("POST", "/webhooks/cloud_api")):
            refused = await client.request(method, path)
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True), refused.text
        assert (await daemon.metrics())["wad_store_up"] == 0


async def _on_the_wire(its: Shop) -> Counter[str]:
    return Counter(send["body"]["text"]["body"] for send in await its.sends())
