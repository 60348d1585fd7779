"""The daemon over Twilio: what goes out as it was meant, what comes in is answered, and nobody else is believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.daemon import crashes
from tests.acceptance.shop import TAKEN, a_phone, until, walk
from tests.acceptance.town import running, town
from tests.acceptance.twilio.place import PATIENT, TwilioShop, twilio_shop
from wad.sandbox.samples import picture
from wad.sandbox.twilio.templates import catalogue

TEMPLATES = {template.name: template.sid for template in catalogue().values()}
IMAGE = "https://example.com/menu.png"
RULES = {
    "rules": [
        {"match": {"id": ["yes"]}, "replies": [{"text": "¡Hasta entonces!"}]},
        {
            "match": {"text": {"word": ["menú"]}},
            "replies": [{"image": {"link": IMAGE, "caption": "El menú"}}],
        },
        {"match": {"text": {"word": ["hola"]}}, "replies": [{"text": "¡Hola!"}]},
    ]
}


# --- out ----------------------------------------------------------------------------------------------

#: What is sent over the API → the parameters that Twilio gets beside To, From and StatusCallback.
SENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"text": "hola"}, {"Body": "hola"}),
    ({"text": None, "image": {"link": IMAGE, "caption": "mira"}}, {"Body": "mira", "MediaUrl": [IMAGE]}),
    (
        {
            "text": None,
            "location": {"latitude": 19.4, "longitude": -99.1, "name": "Zócalo", "address": "Centro"},
        },
        {"Body": "Zócalo", "PersistentAction": ["geo:19.4,-99.1|Centro"]},
    ),
    (
        {
            "text": None,
            "template": {
                "name": TEMPLATES["pedido_listo"],
                "language": "es_MX",
                "components": [
                    {
                        "type": "body",
                        "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "A-1"}],
                    }
                ],
            },
        },
        {"ContentSid": TEMPLATES["pedido_listo"], "ContentVariables": '{"1":"Ana","2":"A-1"}'},
    ),
]


async def sent_as_meant(its: TwilioShop) -> None:
    """Each content becomes Twilio's parameters, and every one is read."""
    for content, params in SENT:
        body = {name: value for name, value in {"to": a_phone(), **content}.items() if value is not None}
        answer = await its.api.post("/api/whatsapp/send", json={"sessionId": its.session_id, **body})
        assert answer.status_code == 202, answer.text
        message = await its.until(answer.json()["messageId"], "read")
        assert [step["status"] for step in message["history"]][-3:] == ["sent", "delivered", "read"]
        form = (await its.sends())[-1]["body"]
        assert form.pop("StatusCallback").startswith(its.webhook)
        assert form == {"From": its.number, "To": f"whatsapp:{body['to']}", **params}


async def known_by_a_key(its: TwilioShop) -> None:
    """An API key sends; the token is still what webhooks are verified with."""
    key = {"apiKeySid": f"SK{its.account[2:]}", "apiKeySecret": its.token[:16]}
    await its.put(**key)
    changed = await its.api.patch(its.path, json={"credentials": {**its.credentials, **key}})
    assert changed.status_code == 200, changed.text
    await its.connect()
    await its.until(await its.taken(), "read")


async def before_the_answer(its: TwilioShop) -> None:
    """The callback overtakes the send's own answer: our id joins them."""
    await its.fault("early_status")
    message = await its.until(await its.taken(), "read")
    assert "unknown" not in [step["status"] for step in message["history"]]


async def settled_by_callback(its: TwilioShop) -> None:
    """The answer is lost, and the callback names our message and Twilio's: it went out, once."""
    await its.fault("cut")
    message = await its.until(await its.taken(), "read")
    assert "unknown" in [step["status"] for step in message["history"]]
    [send] = await its.sends()
    assert message["providerMessageId"] == send["wamid"]


async def told_more_than_once(its: TwilioShop) -> None:
    """Duplicates, disorder and everything again: a message is what it was, and its customer's has one answer."""
    match = {"operation": "webhook", "phoneNumberId": its.number}
    await its.here.fault("duplicate", copies=3, times=None, match=match, name=its.session_id)
    sent = await its.taken()
    await its.until(sent, "read")
    await its.writes(a_phone(), "hola")
    await until(its.sends, lambda sends: len(sends) == 2, what="one answer")
    events = [event["eventId"] for event in await its.here.ledger("event", phoneNumberId=its.number)]
    again = await its.here.control("POST", "/webhooks/replay", eventIds=events, order="shuffled")
    assert {each["status"] for each in again["deliveries"]} == {200}
    assert (await its.message(sent))["status"] == "read"
    assert len(await its.sends()) == 2
    await its.arrived(1)


# --- in -----------------------------------------------------------------------------------------------


async def answered_by_rule(its: TwilioShop) -> None:
    """A text and a pressed button: each has the answer of its rule, and what Twilio is answered is empty TwiML."""
    customer = a_phone()
    await its.writes(customer, "Hola, buenas")
    await until(its.sends, lambda sends: len(sends) == 1, what="the answer")
    asked = await its.api.post(
        "/api/whatsapp/send",
        json={
            "sessionId": its.session_id,
            "to": customer,
            "template": {
                "name": TEMPLATES["cita"],
                "language": "es_MX",
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "lunes"}]}],
            },
        },
    )
    question = await its.until(asked.json()["messageId"], *TAKEN)
    await its.here.control("POST", "/press", wamid=question["providerMessageId"], id="yes")
    await until(its.sends, lambda sends: len(sends) == 3, what="the second answer")
    await its.writes(customer, "¿Hay menú?")
    sends = await until(its.sends, lambda sends: len(sends) == 4, what="the third answer")
    assert [send["body"].get("Body") for send in sends] == ["¡Hola!", None, "¡Hasta entonces!", "El menú"]
    assert sends[3]["body"]["MediaUrl"] == [IMAGE]
    assert {send["to"] for send in sends} == {f"whatsapp:{customer}"}
    mine = {event["eventId"] for event in await its.here.ledger("event", phoneNumberId=its.number)}
    await its.here.until_quiet()
    for delivery in await its.here.ledger("delivery"):
        if mine & {*delivery["events"]}:
            assert (delivery["status"], delivery["warning"], delivery["replies"]) == (200, None, 0)


async def all_that_customers_say(its: TwilioShop) -> None:
    """Files with their bytes, places, replies, and a person who hides their phone."""
    sent = await its.until(await its.taken(), *TAKEN)
    said: list[dict[str, Any]] = [
        {"image": {"caption": "mira"}},
        {"location": {"latitude": 19.4, "longitude": -99.1, "name": "Zócalo"}},
        {"text": "esto", "replyTo": sent["providerMessageId"]},
        {"from": {"userId": "MX.13491208655302741918"}, "text": "soy Sol"},
    ]
    for n, message in enumerate(said):
        body = {"phoneNumberId": its.number, "from": {"phone": a_phone()}, **message}
        await its.here.control("POST", "/inbound", **body)
        await its.arrived(n + 1)
    image, place, reply, hidden = await its.arrived(4)
    assert (image["type"], image["image"]["caption"]) == ("image", "mira")
    file = await its.api.get(
        f"/api/whatsapp/media/{image['image']['mediaId']}", params={"sessionId": its.session_id}
    )
    assert (file.status_code, file.content) == (200, picture())
    assert place["location"]["name"] == "Zócalo"
    assert reply["context"]["providerMessageId"] == sent["providerMessageId"]
    assert (hidden["from"]["phone"], hidden["from"]["userId"]) == (None, "MX.13491208655302741918")


async def typing(its: TwilioShop) -> None:
    """The customer sees that somebody writes, and that they were read."""
    written = await its.writes(a_phone(), "menos mal")
    [message] = await its.arrived()
    answer = await its.api.post(f"{its.path}/read", json={"messageId": message["messageId"], "typing": True})
    assert answer.is_success, answer.text
    reads = await its.here.ledger("call", operation="read")
    assert (written["wamid"], reads[-1]["status"]) == (message["providerMessageId"], 200)


async def forged(its: TwilioShop) -> None:
    """A signature that is wrong, missing, of another account or over another URL is a 401, and nothing of it is kept."""
    said = {
        "MessageSid": "SM" + "0" * 32,
        "SmsStatus": "received",
        "From": f"whatsapp:{a_phone()}",
        "To": its.number,
        "Body": "hola",
        "NumMedia": "0",
    }
    for spec in ({"signature": "wrong"}, {"signature": "missing"}):
        assert (await its.raw(params=said, **spec))["status"] == 401
    await its.put(authToken="f" * 32)
    assert (await its.raw(params=said))["status"] == 401
    await its.put(authToken=its.token)
    port = its.daemon.url.rpartition(":")[2]
    elsewhere = its.webhook.replace("127.0.0.1", "localhost")
    assert port in elsewhere
    assert (await its.raw(params=said, url=elsewhere))["status"] == 401
    assert (await its.raw(params=said))["status"] == 200
    [message] = await its.arrived()
    assert message["text"]["body"] == "hola"


@dataclass(frozen=True)
class Row:
    check: Callable[[TwilioShop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


ROWS = [
    Row(check)
    for check in (
        sent_as_meant,
        known_by_a_key,
        before_the_answer,
        settled_by_callback,
        told_more_than_once,
        answered_by_rule,
        all_that_customers_say,
        typing,
        forged,
    )
]


async def test_twilio_is_what_every_provider_is(tmp_path: Path) -> None:
    """A shop for each row, all at once, at one daemon. Then it is killed, and what it missed is read from the list."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(RULES))
    flow = {"url": None, "rules": str(rules)}
    async with town(tmp_path) as here, running(here, tmp_path, flow=flow) as daemon:

        async def check(row: Row) -> None:
            async with twilio_shop(here, daemon, row.label.replace("_", "-")) as its:
                await row.check(its)

        await walk(ROWS, check)
        assert crashes(await daemon.metrics()) == 0
        assert daemon.logged("request_failed") == []
        async with twilio_shop(here, daemon, "missed") as its:
            await _missed(its)


async def _missed(its: TwilioShop) -> None:
    """Twilio gives up on a webhook that finds nobody: what was written is taken in at the next start, and answered."""
    customer = a_phone()
    await its.writes(customer, "hola uno")
    await until(its.sends, lambda sends: len(sends) == 1, what="the answer")
    await its.here.until_quiet()
    its.daemon.kill()
    await its.writes(customer, "hola dos")
    await its.here.control(
        "POST", "/inbound", **{"phoneNumberId": its.number, "from": {"phone": customer}, "type": "image"}
    )
    await its.here.until_quiet()
    await its.daemon.start()
    await until(its.sends, lambda sends: len(sends) == 2, what="the answer to what was missed")
    found = await its.arrived(3)
    assert [message["type"] for message in found] == ["text", "text", "image"]
    assert found[1]["text"]["body"] == "hola dos"
    await its.listen(PATIENT)
    await its.writes(customer, "hola tres")
    await its.arrived(4)
    assert len(await until(its.sends, lambda sends: len(sends) >= 3, what="the answer")) == 3
