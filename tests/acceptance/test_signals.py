"""How the daemon ends, and begins again: SIGTERM, SIGTERM twice, SIGHUP, and what is there after a restart."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import trio
import yaml

from tests.acceptance.daemon import TOKEN
from tests.acceptance.load import Load, count
from tests.acceptance.shop import API, Shop, a_phone, shop, until
from tests.acceptance.town import running, town

ROUNDS = 2


async def test_a_drain_under_load_finishes_what_is_in_hand(tmp_path: Path) -> None:
    """It ends with 0, every 202 is kept, nothing is sent twice, and no send was ever in doubt."""
    # Half a second between tries: every event of the load would knock ten times at a daemon that is away.
    async with town(tmp_path, retryDelays=[0.5]) as here, running(here, tmp_path) as daemon:
        await here.settle_in(daemon)
        load = Load(here, daemon)
        for _ in range(ROUNDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.until_more(25)
                assert await daemon.stop() == 0
                nursery.cancel_scope.cancel()
            await daemon.start()
        outbound = await count(here, daemon, load)
        steps = {step["status"] for message in outbound.values() for step in message["history"]}
        assert "unknown" not in steps
        assert set(load.refused) <= {503}
        for mishap in ("ended_at_once", "connection_failed", "request_failed", "actor_crashed"):
            assert daemon.logged(mishap) == []


async def test_a_stop_waits_for_a_provider_that_hangs_no_longer_than_the_grace(tmp_path: Path) -> None:
    """What is cut off is in doubt on disk: it is not sent again, and its status still settles it."""
    async with (
        town(tmp_path, statuses={}) as here,
        running(here, tmp_path, supervisor={"grace": "1s"}, limits={"settle_window": "5s"}) as daemon,
        shop(here, daemon) as its,
    ):
        await its.fault("hang", after="accept", match={"to": (went_out := a_phone())})
        await its.fault("hang", after="before", match={"to": (did_not := a_phone())})
        one = await its.taken("one", went_out)
        two = await its.taken("two", did_not)
        behind = await its.taken("three", did_not)
        await its.until(two, "sending")
        await until(its.sends, lambda sends: len(sends) == 1, what="one on the wire")
        assert await daemon.stop() == 0

        await daemon.start()
        for message_id in (one, two):
            assert "unknown" in [step["status"] for step in (await its.message(message_id))["history"]]
        await its.until(behind, "accepted")
        [wamid] = [send["wamid"] for send in await its.sends() if send["callbackData"] == one]
        await here.control("POST", "/status", wamid=wamid, status="delivered")
        assert (await its.until(one, "delivered"))["deadLetter"] is False
        await until(
            lambda: its.message(two), lambda m: m["deadLetter"] is True, what="a dead letter", seconds=90
        )
        assert [send["callbackData"] for send in await its.sends()] == [one, behind]


async def test_a_hanging_send_that_ends_within_the_grace_has_its_result(tmp_path: Path) -> None:
    """The stop waits for it: the provider's late answer is on disk before the process ends."""
    async with town(tmp_path) as here, running(here, tmp_path) as daemon, shop(here, daemon) as its:
        await its.fault("delay", seconds=2, after="before")
        message_id = await its.taken()
        await its.until(message_id, "sending")
        assert await daemon.stop() == 0
        await daemon.start()
        message = await its.until(message_id, "read")
        assert "unknown" not in {step["status"] for step in message["history"]}
        assert len(await its.sends()) == 1


async def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """It is as safe as a kill -9: the send in hand is in doubt, and is not repeated."""
    async with (
        town(tmp_path, statuses={}) as here,  # the first would settle it, and leave nothing to wait for
        running(here, tmp_path) as daemon,
        shop(here, daemon) as its,
    ):
        await its.fault("hang", after="accept")
        message_id = await its.taken()
        await until(its.sends, lambda sends: len(sends) == 1, what="it on the wire")
        daemon.signal(signal.SIGTERM)

        async def stopping() -> int:
            return len(daemon.logged("stopping"))

        await until(stopping, lambda lines: lines == 1, what="stopping")
        assert daemon.is_running
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 128 + signal.SIGTERM
        await daemon.start()
        await here.control("POST", "/status", wamid=(await its.sends())[0]["wamid"], status="read")
        await its.until(message_id, "read")
        assert len(await its.sends()) == 1


async def test_a_sighup_brings_new_rules_and_keeps_the_old_where_they_are_broken(tmp_path: Path) -> None:
    """Sessions live on through it, and a mistake in the file is a line in the log."""
    rules = tmp_path / "rules.yaml"

    def answer_with(text: str) -> None:
        rules.write_text(
            yaml.safe_dump({"rules": [{"match": {"type": "text"}, "replies": [{"text": text}]}]})
        )

    answer_with("the first answer")
    flow = {"url": None, "rules": str(rules)}
    token = "wad_of_a_shop_that_comes_later"
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, flow=flow) as daemon,
        shop(here, daemon) as its,
    ):

        async def answers(number: int, last: str) -> None:
            await its.writes(a_phone(), "hola")
            sends = await until(its.sends, lambda sends: len(sends) >= number, what=f"answer {number}")
            assert sends[-1]["body"]["text"]["body"] == last

        async def reload(event: str, times: int = 1) -> None:
            daemon.signal(signal.SIGHUP)

            async def told() -> int:
                return len(daemon.logged(event))

            await until(told, lambda lines: lines == times, what=event)

        await answers(1, "the first answer")
        answer_with("the second answer")
        await reload("reloaded")
        await answers(2, "the second answer")
        rules.write_text("rules: [{match: {colour: red}}]")
        await reload("not_reloaded")
        await answers(3, "the second answer")
        config = daemon.config_file.read_text()
        daemon.config_file.write_text("flow: [")
        await reload("not_reloaded", 2)
        daemon.config_file.write_text(config)
        await answers(4, "the second answer")
        assert (await its.status())["restarts"] == 0

        async def asks() -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await its.api.get("/api/whatsapp/sessions", headers=headers)).status_code

        assert await asks() == 401
        auth = yaml.safe_load(config)["auth"]["tokens"]
        other = {"name": "later", "token": token, "scope": "shop", "shops": ["shop-1"]}
        daemon.config_file.write_text(
            yaml.safe_dump(yaml.safe_load(config) | {"auth": {"tokens": [*auth, other]}})
        )
        answer_with("x" * 5000)
        await reload("reloaded", 2)
        assert await asks() == 200
        assert await its.status()
        [warning] = daemon.logged("reply_unsendable")
        assert warning["provider"] == "cloud_api"
        assert warning["detail"].startswith("/rules/0/replies/0/text/body:")
        daemon.config_file.write_text(config)
        await reload("reloaded", 3)
        assert await asks() == 401


async def test_a_restart_brings_back_every_session_as_it_was_wanted(tmp_path: Path) -> None:
    """What was connected connects, what was disconnected stays so, with the messages that wait in it."""
    async with (
        town(tmp_path) as here,
        running(here, tmp_path) as daemon,
        shop(here, daemon, "open", shopId="shop-1", settings={"rate": 7}) as opened,
        shop(here, daemon, "closed") as closed,
        shop(here, daemon, "broken") as broken,
    ):
        await closed.api.post(f"{closed.path}/disconnect", headers={"Prefer": "wait=10"})
        waiting = await closed.taken("later", queue=True)
        match = {"operation": "number", "phoneNumberId": broken.number}
        await broken.fault("error", code=190)
        await here.fault("error", code=190, match=match, times=None, name="broken")
        kept = await broken.taken("when it is mended")
        await broken.until_status(state="bad_credentials")
        before = {one.session_id: await _session(one) for one in (opened, closed, broken)}

        assert await daemon.stop() == 0
        await daemon.start()
        ready = (await opened.api.get("/readyz")).json()
        assert (ready["restored"], ready["of"]) == (3, 3)
        await opened.until_status(state="connected", isConnected=True, desiredState="connected")
        await closed.until_status(state="disconnected", isConnected=False, desiredState="disconnected")
        await broken.until_status(state="bad_credentials", isConnected=False, desiredState="connected")
        for one in (opened, closed, broken):
            assert await _session(one) == before[one.session_id]
        assert (await closed.message(waiting))["status"] == "queued"

        await closed.connect()
        await closed.until(waiting, "read")
        await here.control("DELETE", "/faults/broken")
        await broken.connect()
        await broken.until(kept, "read")
        assert {len(await one.sends()) for one in (closed, broken)} == {1}


async def _session(one: Shop) -> dict[str, object]:
    """What nothing but an order may change."""
    answer = await one.api.get(one.path)
    names = ("sessionId", "shopId", "provider", "phoneNumber", "desiredState", "credentials", "settings")
    return {name: answer.json()[name] for name in (*names, "createdAt")}


async def test_without_a_configuration_that_holds_it_does_not_start(tmp_path: Path) -> None:
    """Every mistake is told at once, with exit status 78, and nothing is bound."""
    async with town(tmp_path) as here, running(here, tmp_path) as daemon:
        assert await daemon.stop() == 0
        daemon.configure(http={"bind": ["nowhere"], "colour": "red"}, auth={"tokens": [{"token": TOKEN}]})
        daemon.launch()
        assert await daemon.ended() == 78
        told = daemon.tail()
        for path in ("http.bind", "http.colour", "auth.tokens"):
            assert path in told
        assert TOKEN not in told


async def test_a_listener_that_comes_back_has_missed_nothing(tmp_path: Path) -> None:
    """Each step of each message is told once over a restart, also what the drain itself brought about."""
    heard: list[tuple[int, dict[str, Any]]] = []
    async with town(tmp_path) as here, running(here, tmp_path) as daemon, shop(here, daemon) as its:

        async def listen() -> None:
            """Until the daemon ends the stream; from where the last time left off."""
            since = {"Last-Event-ID": str(heard[-1][0])} if heard else {}
            query = {"types": "message.status"}
            async with its.api.stream("GET", f"{API}/events", params=query, headers=since) as stream:
                assert stream.status_code == 200
                number = 0
                async for line in stream.aiter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        number = int(value)
                    elif name == "data":
                        heard.append((number, json.loads(value)["data"]))

        async def steps() -> list[tuple[str, str]]:
            return [(data["messageId"], data["status"]) for _, data in heard]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            first = await its.taken("first")
            await until(steps, lambda them: (first, "read") in them, what="the first one read")
            await its.fault("delay", seconds=1, after="before")
            in_hand = await its.taken("in hand")
            await its.until(in_hand, "sending")
            assert await daemon.stop() == 0
        await daemon.start()
        last = await its.taken("last")
        await its.until(in_hand, "read")
        await its.until(last, "read")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            every = [
                (message_id, step["status"])
                for message_id in (first, in_hand, last)
                for step in (await its.message(message_id))["history"]
                if step["status"] not in ("queued", "sending")
            ]
            await until(steps, lambda them: set(every) <= set(them), what=every)
            assert sorted(await steps()) == sorted(every)
            numbers = [number for number, _ in heard]
            assert numbers == sorted(set(numbers))
            nursery.cancel_scope.cancel()
