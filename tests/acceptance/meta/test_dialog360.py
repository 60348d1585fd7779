"""360dialog as its users have it: a key, an address, a header; and all else as at Meta."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.meta.place import Dialog360Shop, meta_shop
from tests.acceptance.shop import API, a_phone, until, walk
from tests.acceptance.town import running, town
from wad.sandbox.samples import picture, sample

RULES = """
rules:
  - match: {text: {word: [hola]}}
    replies: [{text: "¡Hola {name}!"}]
  - match: {type: image}
    replies: [{text: "Bonita foto"}]
"""


async def a_text_goes_out_and_its_statuses_come_back(its: Dialog360Shop) -> None:
    """The number is not in the path, and the ledger says which it was; the statuses carry our id."""
    message_id = await its.taken("hola", a_phone())
    message = await its.until(message_id, "read")
    [send] = await its.sends()
    assert (send["callbackData"], send["wamid"]) == (message_id, message["providerMessageId"])
    assert [step["status"] for step in message["history"]][-1] == "read"


async def a_customer_is_answered_by_a_rule(its: Dialog360Shop) -> None:
    """What they write comes in once, and the rule's answer goes to them, out of the same number."""
    phone = a_phone()
    await its.writes(phone, "Hola, buenas", **{"from": {"phone": phone, "name": "Ana"}})
    [message] = await its.arrived()
    assert (message["from"]["phone"], message["text"]["body"]) == (phone, "Hola, buenas")
    [send] = await until(its.sends, lambda sends: len(sends) >= 1, what="an answer")
    assert (send["body"]["text"]["body"], f"+{send['waId']}") == ("¡Hola Ana!", phone)


async def a_picture_is_uploaded_and_sent(its: Dialog360Shop) -> None:
    """The file goes to 360dialog, and the message names it there."""
    form = {"sessionId": its.session_id}
    files = {"file": ("foto.png", picture(), "image/png")}
    uploaded = await its.api.post(f"{API}/media", data=form, files=files)
    assert uploaded.status_code == 201, uploaded.text
    image = {"mediaId": uploaded.json()["mediaId"], "caption": "mira"}
    answer = await its.api.post(
        f"{API}/send", json={"sessionId": its.session_id, "to": a_phone(), "image": image}
    )
    await its.until(answer.json()["messageId"], "read")
    [send] = await its.sends()
    stored = await its.here.client.get(f"{its.here.sandbox_url}/_sandbox/media/{send['body']['image']['id']}")
    assert stored.content == picture()


async def a_customers_picture_is_fetched(its: Dialog360Shop) -> None:
    """From 360dialog's host, with the key: its URL names Meta's, which would not take it."""
    phone = a_phone()
    await its.here.control(
        "POST", "/inbound", **{"from": {"phone": phone}, "type": "image", "phoneNumberId": its.number}
    )
    [message] = await its.arrived()
    fetched = await its.api.get(f"{API}/media/{message['image']['mediaId']}")
    mime_type, data = sample("image")
    assert (fetched.status_code, fetched.headers["Content-Type"], fetched.content) == (200, mime_type, data)
    [send] = await until(its.sends, lambda sends: len(sends) >= 1, what="an answer")
    assert send["body"]["text"]["body"] == "Bonita foto"


async def what_a_customer_wrote_is_marked_read(its: Dialog360Shop) -> None:
    """With the typing bubble, by the message's own id."""
    await its.writes(a_phone(), "nada que una regla sepa")
    [message] = await its.arrived()
    answer = await its.api.post(f"{its.path}/read", json={"messageId": message["messageId"], "typing": True})
    assert answer.status_code == 200, answer.text
    [call] = await its.here.ledger("call", operation="read", phoneNumberId=its.number)
    assert call["status"] == 200


async def only_the_header_makes_a_webhook_genuine(its: Dialog360Shop) -> None:
    """401 for another value or none; a forged message has no effect, and the real one behind it has."""
    body = {"object": "whatsapp_business_account", "entry": []}
    assert [await its.raw(body, each) for each in ("right", "wrong", "missing")] == [200, 401, 401]
    match = {"operation": "webhook", "event": "message", "phoneNumberId": its.number}
    for signature in ("wrong", "missing"):
        await its.here.fault("forge", signature=signature, match=match)
    for text in ("uno", "dos"):
        await its.writes(a_phone(), text)
        await its.here.until_quiet()
    assert [message["text"]["body"] for message in await its.arrived(2)] == ["uno", "dos"]


async def a_bad_key_waits_for_a_person(its: Dialog360Shop) -> None:
    """The session says so and keeps what it was given; with the right key it goes on."""
    await its.api.patch(its.path, json={"credentials": {"apiKey": "D360other"}})
    await its.until_status(state="bad_credentials", isConnected=False)
    status = await its.status()
    assert (status["reason"]["code"], status["reason"]["needsPerson"]) == ("bad_credentials", True)
    refused = await its.send()
    assert (refused.status_code, refused.json()["code"]) == (409, "session_unavailable")
    message_id = await its.taken(queue=True)
    await its.api.patch(its.path, json={"credentials": {"apiKey": its.key}})
    await its.until(message_id, "read")


async def its_webhook_can_be_asked_for(its: Dialog360Shop) -> None:
    """What `listen` set stands at 360dialog, secret and all, so that an operator can see it."""
    answer = await its.here.client.get(
        f"{its.here.sandbox_url}/360dialog/v1/configs/webhook", headers={"D360-API-KEY": its.key}
    )
    assert answer.json() == {"url": its.webhook, "headers": {"X-Secret": its.secret}}


async def a_group_is_written_to(its: Dialog360Shop) -> None:
    """It is listed, and what is sent reaches it as a whole."""
    made = await its.here.control(
        "POST",
        "/groups",
        phoneNumberId=its.number,
        subject="Familia",
        members=[{"phone": a_phone()}, {"phone": a_phone()}],
    )
    listed = (await its.api.get(f"{its.path}/groups")).json()["items"]
    assert [group["subject"] for group in listed] == ["Familia"]
    body = {"sessionId": its.session_id, "groupId": made["groupId"], "text": "hola a todos"}
    answer = await its.api.post(f"{API}/send-group", json=body)
    assert answer.status_code == 202, answer.text
    await its.until(answer.json()["messageId"], "read")
    [send] = await its.sends()
    assert send["groupId"] == made["groupId"]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong with a shop's first send, and where the message ends."""

    label: str
    fault: dict[str, Any]
    end: str
    code: str | None = None  # of the failure
    on_the_wire: int = 1


def error(code: int) -> dict[str, Any]:
    return {"kind": "error", "code": code}


def fails_later(code: int) -> dict[str, Any]:
    return {"kind": "fail", "code": code}


TROUBLES = [
    Trouble(label="too fast: later", fault=error(130429), end="read"),
    Trouble(
        label="a 503 in HTML: nobody knows, and it did not go out",
        fault={"kind": "http", "status": 503, "html": True},
        end="unknown",
        on_the_wire=0,
    ),
    Trouble(label="cut once it was taken: its status settles it", fault={"kind": "cut"}, end="read"),
    Trouble(label="the window", fault=fails_later(131047), end="failed", code="reply_window_closed"),
    Trouble(label="nobody there", fault=fails_later(131026), end="failed", code="recipient_unreachable"),
    Trouble(label="wrong", fault=error(100), end="failed", code="invalid_parameter", on_the_wire=0),
]


async def _goes_wrong(its: Dialog360Shop, row: Trouble) -> None:
    await its.fault(**row.fault)
    message = await its.until(await its.taken(), row.end)
    if row.code is not None:
        assert message["error"]["code"] == row.code
    assert len(await its.sends()) == row.on_the_wire


@dataclass(frozen=True)
class Row:
    label: str
    check: Callable[[Dialog360Shop], Awaitable[None]]


ROWS = [
    *(
        Row(check.__name__, check)
        for check in (
            a_text_goes_out_and_its_statuses_come_back,
            a_customer_is_answered_by_a_rule,
            a_picture_is_uploaded_and_sent,
            a_customers_picture_is_fetched,
            what_a_customer_wrote_is_marked_read,
            only_the_header_makes_a_webhook_genuine,
            a_bad_key_waits_for_a_person,
            its_webhook_can_be_asked_for,
            a_group_is_written_to,
        )
    ),
    *(Row(trouble.label, partial(_goes_wrong, row=trouble)) for trouble in TROUBLES),
]


async def test_a_number_that_360dialog_has_does_all_that_one_of_metas_does(tmp_path: Path) -> None:
    """Sends, statuses, files both ways, groups, answers by rule, and what goes wrong: a session for each row."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)

    async def check(row: Row) -> None:
        async with meta_shop(Dialog360Shop, here, daemon, f"shop-{ROWS.index(row)}") as its:
            await row.check(its)

    async with (
        town(tmp_path) as here,
        running(
            here,
            tmp_path,
            flow={"rules": str(rules)},
            limits={"settle_window": "4s"},
            dialog360={"timeout": "2s"},
        ) as daemon,
    ):
        await walk(ROWS, check)
        await _check_quiet(daemon)


async def _check_quiet(daemon: Daemon) -> None:
    metrics = await daemon.metrics()
    assert crashes(metrics) == 0
    assert metrics['wad_webhook_requests_total{provider="dialog360",result="bad_signature"}'] == 4
