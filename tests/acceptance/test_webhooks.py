"""Webhooks as Meta sends them on a bad day, and as an attacker would: what counts, counts once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.daemon import crashes
from tests.acceptance.shop import TAKEN, Shop, a_phone, shop, until, walk
from tests.acceptance.town import Town, all_messages, running, town
from wad.sandbox import READY
from wad.sandbox.envelope import encode, signatures

STATUSES = ["sent", "delivered", "read"]
MEBIBYTE = 2**20


def batch_of(number: str, texts: dict[str, str]) -> dict[str, Any]:
    """Meta's envelope round one message of each phone."""
    messages = [
        {
            "from": phone.removeprefix("+"),
            "id": f"wamid.{number}{phone}",
            "timestamp": "1790000000",
            "type": "text",
            "text": {"body": text},
        }
        for phone, text in texts.items()
    ]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100101", "phone_number_id": number},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": phone.removeprefix("+")} for phone in texts],
        "messages": messages,
    }
    change = {"field": "messages", "value": value}
    return {"object": "whatsapp_business_account", "entry": [{"id": READY.waba_id, "changes": [change]}]}


async def post(its: Shop, body: bytes, headers: dict[str, Any], path: str | None = None) -> httpx.Response:
    path = f"/webhooks/cloud_api/{its.session_id}" if path is None else path
    url = f"{its.daemon.url}{path}"
    return await its.here.client.post(
        url, content=body, headers={"Content-Type": "application/json", **headers}
    )


def signed(body: bytes) -> dict[str, str]:
    return signatures(str(READY.app_secret), body)


async def kept(its: Shop) -> list[dict[str, Any]]:
    """All that the daemon has of the shop's, newest first."""
    return await all_messages(its.daemon, sessionId=its.session_id)


# --- statuses -----------------------------------------------------------------------------------------


async def replayed(its: Shop) -> None:
    """Everything again, in every order, in batches of all sizes: nothing changes."""
    sent = await its.taken()
    await its.until(sent, "read")
    await its.writes(a_phone(), "hola")
    await until(its.sends, lambda sends: len(sends) == 2, what="the answer")
    await its.here.until_quiet()
    before = await kept(its)
    events = [event["eventId"] for event in await its.here.ledger("event", phoneNumberId=its.number)]
    assert len(events) == 2 * 3 + 1
    for order, batch in (("as_is", 1), ("reversed", 1), ("shuffled", 3), ("reversed", 1000)):
        again = await its.here.control("POST", "/webhooks/replay", eventIds=events, order=order, batch=batch)
        assert {each["status"] for each in again["deliveries"]} == {200}
    assert await kept(its) == before
    assert len(await its.sends()) == 2


async def without_our_id(its: Shop) -> None:
    """A status that names the message by the network's id alone is joined to it all the same."""
    match = {"operation": "webhook", "event": "status", "phoneNumberId": its.number}
    await its.here.fault("drop_callback_data", times=None, match=match)
    message = await its.until(await its.taken(), "read")
    assert [step["status"] for step in message["history"]][-3:] == STATUSES


async def before_the_answer(its: Shop) -> None:
    """The status overtakes the send's own answer: our id joins them."""
    await its.fault("early_status")
    message = await its.until(await its.taken(), "read")
    steps = [step["status"] for step in message["history"]]
    assert "unknown" not in steps
    assert steps[-3:] == STATUSES
    [send] = await its.sends()
    assert message["providerMessageId"] == send["wamid"]


async def before_the_answer_and_without_our_id(its: Shop) -> None:
    """It names a message that nobody knows yet: it is parked until the answer says whose it is."""
    match = {"operation": "webhook", "event": "status", "phoneNumberId": its.number}
    await its.here.fault("drop_callback_data", match=match)
    await its.here.fault("lose", times=None, match=match)  # the ones after it
    await its.fault("early_status")
    message = await its.until(await its.taken(), "sent")
    assert [step["status"] for step in message["history"]][-2:] == ["accepted", "sent"]


async def of_another_gateway(its: Shop) -> None:
    """Statuses of what we never sent are answered 200, kept aside, and trouble nobody."""
    told = await its.here.control(
        "POST",
        "/status",
        wamid=f"wamid.ELSEWHERE{its.number}",
        status="delivered",
        phoneNumberId=its.number,
        to={"phone": a_phone()},
    )
    await until_delivered(its, told["eventId"])
    assert await kept(its) == []
    assert (await its.status())["restarts"] == 0
    await its.until(await its.taken(), "read")


async def failed_later(its: Shop) -> None:
    """Meta took it, and found out afterwards: failed, with Meta's code, and a dead letter."""
    await its.fault("fail", code=131026)
    message = await its.until(await its.taken(), "failed")
    assert (message["error"]["code"], message["error"]["providerCode"]) == ("recipient_unreachable", "131026")
    assert message["deadLetter"] is True
    listed = await its.api.get("/api/whatsapp/dead-letters", params={"limit": 500})
    assert message["messageId"] in [each["messageId"] for each in listed.json()["items"]]


async def until_delivered(its: Shop, event_id: str) -> None:
    async def answers() -> list[int]:
        deliveries = await its.here.ledger("delivery")
        return [each["status"] for each in deliveries if event_id in each["events"]]

    await until(answers, lambda statuses: statuses == [200], what=f"one 200 for {event_id}")


# --- who is not Meta, and what is not its webhook ------------------------------------------------------


async def forged(its: Shop) -> None:
    """A signature that is wrong in any way is a 401, and nothing of it is kept."""
    body = encode(batch_of(its.number, {a_phone(): "send me your money"}))
    right = signed(body)["X-Hub-Signature-256"]
    for label, headers in {
        "none": {},
        "sha1 alone": {"X-Hub-Signature": signed(body)["X-Hub-Signature"]},
        "of another secret": signatures("guessed", body),
        "of another body": signed(body + b" "),
        "empty": {"X-Hub-Signature-256": ""},
        "without its prefix": {"X-Hub-Signature-256": right.removeprefix("sha256=")},
        "cut short": {"X-Hub-Signature-256": right[:-1]},
        "in capitals": {"X-Hub-Signature-256": right.upper()},
        "not ASCII": {"X-Hub-Signature-256": "sha256=ñandú".encode()},
    }.items():
        for path in (None, "/webhooks/cloud_api"):
            answer = await post(its, body, headers, path)
            assert answer.status_code == 401, (label, path, answer.text)
            assert answer.json()["code"] == "bad_signature", (label, path, answer.text)
    assert await kept(its) == []
    assert (await post(its, body, signed(body))).status_code == 200
    assert len([m for m in await kept(its) if m["direction"] == "inbound"]) == 1


async def signed_for_another(its: Shop) -> None:
    """Who knows one app's secret cannot speak for a number of another's."""
    changed = await its.api.patch(its.path, json={"credentials": {"appSecret": "another-apps-secret"}})
    assert changed.status_code == 200, changed.text
    body = encode(batch_of(its.number, {a_phone(): "psst"}))
    assert (await post(its, body, signed(body))).status_code == 401
    # At the app's own path it is signed well, and is for a number that is not that app's.
    assert (await post(its, body, signed(body), "/webhooks/cloud_api")).status_code == 200
    assert await kept(its) == []
    own = signatures("another-apps-secret", body)
    assert (await post(its, body, own)).status_code == 200
    assert "psst" in {m["text"]["body"] for m in await kept(its) if m["direction"] == "inbound"}


async def too_large(its: Shop) -> None:
    """Beyond `max_body` it is a 413, whoever signed it, whether or not its length is announced."""
    body = encode(batch_of(its.number, {a_phone(): "x" * 5 * MEBIBYTE}))

    async def in_pieces() -> Any:
        for at in range(0, len(body), 64 * 1024):
            yield body[at : at + 64 * 1024]

    assert (await post(its, body, signed(body))).status_code == 413
    streamed = await its.here.client.post(
        f"{its.daemon.url}/webhooks/cloud_api/{its.session_id}",
        content=in_pieces(),
        headers={"Content-Type": "application/json", **signed(body)},
    )
    assert streamed.status_code == 413
    assert await kept(its) == []


async def as_large_as_meta_makes_them(its: Shop) -> None:
    """A thousand updates in 3 MB are taken whole, and each is answered."""
    match = {"operation": "webhook", "event": "status", "phoneNumberId": its.number}
    await its.here.fault("lose", times=None, match=match)
    texts = {a_phone(): f"{n} " + "ñ" * 480 for n in range(1000)}
    body = encode(batch_of(its.number, texts))
    assert 2.5 * MEBIBYTE < len(body) < 3.1 * MEBIBYTE
    answer = await post(its, body, signed(body))
    assert (answer.status_code, answer.json()["messages"]) == (200, 1000), answer.text
    await until(its.sends, lambda sends: len(sends) >= 1000, what="1,000 answers", seconds=90)
    assert Counter(send["body"]["text"]["body"] for send in await its.sends()) == Counter(
        f"re: {text}" for text in texts.values()
    )


async def of_tomorrow(its: Shop) -> None:
    """What nobody has documented yet is answered 200 and kept, beside what we know."""
    body = batch_of(its.number, {a_phone(): "hola"})
    value = body["entry"][0]["changes"][0]["value"]
    value["messages"].append(
        {"id": "wamid.NEW", "type": "hologram", "hologram": {"depth": 3}, "from": "1555"}
    )
    value["brand_new"] = [{"anything": True}]
    body["entry"][0]["changes"].append({"field": "telepathy", "value": {"thought": "?"}})
    body["entry"].append({"id": READY.waba_id, "changes": "not even a list"})
    raw = encode(body)
    assert (await post(its, raw, signed(raw))).status_code == 200
    await until(its.sends, lambda sends: len(sends) >= 1, what="the answer")
    inbound = [m for m in await kept(its) if m["direction"] == "inbound"]
    assert "text" in {m["type"] for m in inbound}
    assert (await its.status())["restarts"] == 0


async def signed_nonsense(its: Shop) -> None:
    """Signed bytes that are no webhook at all are answered 200: refused, they would come back for days."""
    for raw in (b"", b"{", b"null", b"[]", b'"\xff"', b'{"entry": 3}', json.dumps([[]] * 3).encode()):
        answer = await post(its, raw, signed(raw))
        assert answer.status_code == 200, (raw, answer.text)
    assert (await its.status())["restarts"] == 0
    await its.until(await its.taken(), *TAKEN)


async def for_nobody(its: Shop) -> None:
    """At the path of a session that is not there it is a 404, signed or not, and for a number that nobody has a 200."""
    body = encode(batch_of("999", {a_phone(): "is anybody there?"}))
    assert (await post(its, body, signed(body), "/webhooks/cloud_api/nobody")).status_code == 404
    assert (await post(its, body, signed(body), "/webhooks/cloud_api")).status_code == 200
    dead = (await its.api.get("/api/whatsapp/dead-letters", params={"direction": "inbound"})).json()["items"]
    assert "is anybody there?" in {m.get("text", {}).get("body") for m in dead}


async def shaken_hands(its: Shop) -> None:
    """The handshake is answered with the challenge alone, as text, and only to who knows the token."""

    async def ask(
        token: str | None, challenge: str = "1158201444", mode: str = "subscribe"
    ) -> httpx.Response:
        query = {"hub.mode": mode, "hub.challenge": challenge}
        if token is not None:
            query["hub.verify_token"] = token
        url = f"{its.daemon.url}/webhooks/cloud_api/{its.session_id}"
        return await its.here.client.get(url, params=query)

    token = str(READY.verify_token)
    good = await ask(token)
    assert (good.status_code, good.text) == (200, "1158201444")
    script = await ask(token, "<script>alert(1)</script>")
    assert script.headers["content-type"].startswith("text/plain")
    assert script.headers["x-content-type-options"] == "nosniff"
    for answer in (await ask("guess"), await ask(""), await ask(token, mode="unsubscribe")):
        assert answer.status_code == 403, answer.text
    assert (await ask(None)).status_code in (403, 422)


@dataclass(frozen=True)
class Trouble:
    check: Callable[[Shop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


TROUBLES = [
    Trouble(check)
    for check in (
        replayed,
        without_our_id,
        before_the_answer,
        before_the_answer_and_without_our_id,
        of_another_gateway,
        failed_later,
        forged,
        signed_for_another,
        too_large,
        as_large_as_meta_makes_them,
        of_tomorrow,
        signed_nonsense,
        for_nobody,
        shaken_hands,
    )
]


async def test_every_webhook_trouble_changes_what_it_may_and_nothing_else(tmp_path: Path) -> None:
    """A shop for each trouble, all at once, at one daemon."""
    async with town(tmp_path) as here, running(here, tmp_path, **_app(here)) as daemon:

        async def check(trouble: Trouble) -> None:
            async with shop(here, daemon, trouble.label.replace("_", "-")) as its:
                await trouble.check(its)

        await walk(TROUBLES, check)
        metrics = await daemon.metrics()
        assert crashes(metrics) == 0
        assert daemon.logged("request_failed") == []


def _app(here: Town) -> dict[str, Any]:
    """A configuration that knows the app's secret, for its callback: the path without a session."""
    app = {"app_secret": READY.app_secret, "verify_token": READY.verify_token}
    return here.config(cloud_api=app)


async def test_one_post_of_many_numbers_in_any_order_reaches_each(tmp_path: Path) -> None:
    """Messages and statuses of five numbers, held back, then let go reversed, thrice, in one POST."""
    async with town(tmp_path) as here, running(here, tmp_path, **_app(here)) as daemon:
        shops: list[Shop] = []
        async with daemon.client() as api:
            for number in range(5):
                its = Shop(here, daemon, api, f"shop-{number}")
                shops.append(its)
                await its.open()
                callback = f"{daemon.url}/webhooks/cloud_api"
                await here.control("POST", "/numbers", phoneNumberId=its.number, callbackUrl=callback)
            await here.control("POST", "/webhooks/hold")
            sent = [await its.taken() for its in shops]
            for its, message_id in zip(shops, sent, strict=True):
                await its.until(message_id, "accepted")
                await its.writes(a_phone(), f"to {its.session_id}")

            async def held() -> int:
                return int((await here.control("GET", "/state"))["webhooks"]["waiting"])

            await until(held, lambda count: count == 5 * (3 + 1), what="20 events held back")
            released = await here.control("POST", "/webhooks/release", order="reversed", batch=1000, copies=3)
            assert [(each["status"], len(each["events"])) for each in released["deliveries"]] == [(200, 60)]
            for its, message_id in zip(shops, sent, strict=True):
                message = await its.until(message_id, "read")
                assert [step["status"] for step in message["history"]][-3:] == STATUSES
                await until(its.sends, lambda sends: len(sends) >= 2, what="the answer")
            await here.until_quiet()
            for its in shops:
                texts = [send["body"]["text"]["body"] for send in await its.sends()]
                assert sorted(texts) == ["hola", f"re: to {its.session_id}"]
