"""A whole WhatsApp Business Account as one session, as its users have it: its numbers, its events, its templates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import crashes
from tests.acceptance.meta.place import BusinessShop, meta_shop
from tests.acceptance.shop import API, a_phone, until, walk
from tests.acceptance.town import running, town

EVENTS = ["template.status", "account.update"]
SALE = {
    "name": "summer_sale",
    "language": {"code": "en"},
    "components": [
        {
            "type": "header",
            "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}],
        },
        {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]},
    ],
}


async def sent_from(its: BusinessShop, body: dict[str, Any]) -> str:
    """The number that a message leaves from, which the answer has told as well."""
    answer = await its.api.post(f"{API}/send", json={"sessionId": its.session_id, "to": a_phone(), **body})
    assert answer.status_code == 202, answer.text
    message = await its.until(answer.json()["messageId"], "read")
    [send] = await its.here.ledger("send", callbackData=message["messageId"])
    assert message["from"] == its.phones[send["phoneNumberId"]]
    return str(send["phoneNumberId"])


async def told(its: BusinessShop, kind: str, count: int) -> list[dict[str, Any]]:
    """The events of that kind that the flow was told of the session, once they are so many."""

    async def look() -> list[dict[str, Any]]:
        return [
            event["data"]
            for event in its.here.flow.events
            if event["type"] == kind and event["data"]["sessionId"] == its.session_id
        ]

    return await until(look, lambda events: len(events) >= count, what=f"{count} of {kind}")


async def looks_again(its: BusinessShop, numbers: Mapping[str, Any] = {}, *, field: str = "usable") -> None:
    """Have the session ask Meta about its account; and wait until it knows this *field* of each of its numbers."""
    await its.api.post(f"{its.path}/connect", headers={"Prefer": "wait=20"})

    async def known() -> dict[str, Any]:
        data = (await its.api.get(its.path)).json()["connectionData"]
        return {each["id"]: each.get(field) for each in data["numbers"]}

    await until(known, lambda found: numbers.items() <= found.items(), what=numbers)


async def waits_for_a_person(its: BusinessShop) -> dict[str, Any]:
    """The session's status, once it is so."""
    return await until(
        its.status,
        lambda status: bool(status["reason"]) and status["reason"]["needsPerson"],
        what="waiting for a person",
    )


# --- rows -------------------------------------------------------------------------------------------


async def its_numbers_are_found(its: BusinessShop) -> None:
    """With what Meta says of each; the session has no number of its own where none was chosen."""
    data = (await its.api.get(its.path)).json()["connectionData"]
    assert {each["id"]: each["phoneNumber"] for each in data["numbers"]} == its.phones
    assert all(each["usable"] and each["status"] == "CONNECTED" for each in data["numbers"])
    assert data["wabaId"] == its.waba


async def a_message_leaves_from_the_number_that_is_asked_for(its: BusinessShop) -> None:
    """By Meta's id or by the number itself; another is refused with the field's name."""
    assert await sent_from(its, {"text": "hola", "from": its.second}) == its.second
    assert await sent_from(its, {"text": "hola", "from": its.phones[its.number]}) == its.number
    body = {"sessionId": its.session_id, "to": a_phone(), "text": "hola", "from": "+5215500000000"}
    answer = await its.api.post(f"{API}/send", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/from"


async def a_message_leaves_from_the_best_number_where_none_is_asked_for(its: BusinessShop) -> None:
    """Which is the one that Meta thinks better of."""
    for worse, better in ((its.number, its.second), (its.second, its.number)):
        await its.here.control("POST", "/numbers", phoneNumberId=worse, quality="YELLOW")
        await its.here.control("POST", "/numbers", phoneNumberId=better, quality="GREEN")
        await looks_again(its, {worse: "YELLOW", better: "GREEN"}, field="qualityRating")
        assert await sent_from(its, {"text": "hola"}) == better


async def a_customer_is_answered_by_the_number_they_wrote_to(its: BusinessShop) -> None:
    """Each number's customers by that number; and a later message without being asked, too."""
    phones = {number: a_phone() for number in its.phones}
    for number, phone in phones.items():
        await its.here.writes(phone, f"hola {number}", phoneNumberId=number)

    sends = await until(lambda: _sends(its), lambda sends: len(sends) >= 2, what="two answers")
    assert {(send["phoneNumberId"], f"+{send['waId']}") for send in sends} == set(phones.items())
    arrived = {message["from"]["phone"]: message["to"] for message in await its.arrived(2)}
    assert arrived == {phones[number]: phone for number, phone in its.phones.items()}
    for number, phone in phones.items():
        assert await sent_from(its, {"text": "¿algo más?", "to": phone}) == number


async def one_post_may_mix_its_numbers(its: BusinessShop) -> None:
    """What a batch says of each is attributed to it."""
    await its.here.control("POST", "/webhooks/hold")
    for number in its.phones:
        await its.here.writes(a_phone(), f"a {number}", phoneNumberId=number)
    await its.here.control("POST", "/webhooks/release", batch=50, copies=2)
    arrived = await its.arrived(2)
    assert {message["text"]["body"]: message["to"] for message in arrived} == {
        f"a {number}": phone for number, phone in its.phones.items()
    }


async def marketing_goes_by_the_api_that_meta_has_for_it(its: BusinessShop) -> None:
    """Other templates do not; and a template that this API has not heard of yet goes the usual way."""
    await sent_from(its, {"template": SALE})
    await sent_from(its, {"template": {"name": "hello_world", "language": {"code": "en_US"}}})
    new = {
        "name": "mitad",
        "language": "es_MX",
        "category": "MARKETING",
        "components": [{"type": "BODY", "text": "Todo a mitad de precio"}],
    }
    await its.graph("POST", f"{its.waba}/message_templates", json=new)
    await told(its, "template.status", 1)
    await sent_from(its, {"template": {"name": "mitad", "language": {"code": "es_MX"}}})
    assert [(send["operation"], send["body"]["template"]["name"]) for send in await _sends(its)] == [
        ("marketing", "summer_sale"),
        ("messages", "hello_world"),
        ("messages", "mitad"),
    ]


async def what_becomes_of_a_template_is_told(its: BusinessShop) -> None:
    """Its review, its quality, its pause: to the flow, as Meta told it."""
    template = {"wabaId": its.waba, "name": "pedido_listo", "language": "es_MX"}
    await its.here.control("POST", "/templates", **template, quality="RED", status="PAUSED")
    events = await told(its, "template.status", 2)
    assert {event["field"] for event in events} == {
        "message_template_quality_update",
        "message_template_status_update",
    }


async def a_blocked_account_waits_for_a_person(its: BusinessShop) -> None:
    """It is told, the session says so and why; and once Meta has it back, it connects and sends."""
    await its.here.control("POST", "/accounts", wabaId=its.waba, canSend="BLOCKED")
    await told(its, "account.update", 1)
    await looks_again(its)
    status = await waits_for_a_person(its)
    assert (status["isConnected"], status["reason"]["code"]) == (False, "account_blocked")
    await its.here.control("POST", "/accounts", wabaId=its.waba, canSend="AVAILABLE")
    await its.connect()
    await sent_from(its, {"text": "de vuelta"})


async def a_number_that_cannot_send_does_not_stop_the_others(its: BusinessShop) -> None:
    """What is for it waits; the session stays connected, shows what is wrong, and once it can, uses it again."""
    await its.here.control("POST", "/numbers", phoneNumberId=its.second, registered=False)
    await looks_again(its, {its.number: True, its.second: False})
    body = {"sessionId": its.session_id, "to": a_phone(), "text": "espera", "from": its.second}
    waiting = (await its.api.post(f"{API}/send", json=body)).json()["messageId"]
    assert await sent_from(its, {"text": "hola"}) == its.number
    assert (await its.status())["isConnected"]
    await its.graph("POST", f"{its.second}/register", json={"messaging_product": "whatsapp", "pin": "123456"})
    await looks_again(its, {its.second: True})
    assert await sent_from(its, {"text": "hola", "from": its.second}) == its.second
    assert (await its.message(waiting))["status"] in ("queued", "read")  # it is tried again in a minute


async def its_events_come_to_its_own_address_if_it_is_to_have_one(its: BusinessShop) -> None:
    """The account's override is set when it connects, and the app's callback has nothing to do any more."""
    await its.api.patch(its.path, json={"settings": {"callbackOverride": True}})
    await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=20"})
    await its.connect()
    [app] = (await its.graph("GET", f"{its.waba}/subscribed_apps"))["data"]
    assert app["override_callback_uri"] == its.webhook
    # Whoever has connected once more has not taken it away.
    await its.api.patch(its.path, json={"settings": {"callbackOverride": False}})
    await its.api.post(f"{its.path}/disconnect", headers={"Prefer": "wait=20"})
    await its.connect()
    [app] = (await its.graph("GET", f"{its.waba}/subscribed_apps"))["data"]
    assert app["override_callback_uri"] == its.webhook


async def an_app_whose_callback_names_no_session_is_routed_by_its_account(its: BusinessShop) -> None:
    """One address for all the accounts of an app."""
    await its.listen(f"{its.daemon.url}/webhooks/meta_business")
    await its.here.writes(a_phone(), "sin sesión", phoneNumberId=its.second)
    [message] = await its.arrived()
    assert message["to"] == its.phones[its.second]


async def only_metas_signature_makes_a_webhook_genuine(its: BusinessShop) -> None:
    """By the secret of the account's own app."""
    body = {"object": "whatsapp_business_account", "entry": []}
    assert [await its.raw(body, each) for each in ("right", "wrong", "missing")] == [200, 401, 401]


async def a_token_that_was_revoked_waits_for_a_person(its: BusinessShop) -> None:
    """And goes on with the new one."""
    new = f"{its.token}new"
    await its.here.control("POST", "/numbers", phoneNumberId=its.number, accessTokens=[new])
    await looks_again(its)
    status = await waits_for_a_person(its)
    assert (status["state"], status["reason"]["code"]) == ("bad_credentials", "bad_credentials")
    its.token = new
    await its.api.patch(its.path, json={"credentials": {"accessToken": new}})
    await its.until_status(isConnected=True)
    await sent_from(its, {"text": "otra vez"})


async def what_may_have_gone_out_is_settled_by_its_status(its: BusinessShop) -> None:
    """Whichever number it left from."""
    for number in its.phones:
        match = {"operation": "messages", "phoneNumberId": number}
        await its.here.fault("cut", match=match)
        assert await sent_from(its, {"text": "una vez", "from": number}) == number


async def _sends(its: BusinessShop) -> list[dict[str, Any]]:
    """What the network took from any of its numbers, in order."""
    return [send for send in await its.here.ledger("send") if send["phoneNumberId"] in its.phones]


@dataclass(frozen=True)
class Row:
    check: Callable[[BusinessShop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


ROWS = [
    Row(check)
    for check in (
        its_numbers_are_found,
        a_message_leaves_from_the_number_that_is_asked_for,
        a_message_leaves_from_the_best_number_where_none_is_asked_for,
        a_customer_is_answered_by_the_number_they_wrote_to,
        marketing_goes_by_the_api_that_meta_has_for_it,
        what_becomes_of_a_template_is_told,
        a_blocked_account_waits_for_a_person,
        a_number_that_cannot_send_does_not_stop_the_others,
        its_events_come_to_its_own_address_if_it_is_to_have_one,
        an_app_whose_callback_names_no_session_is_routed_by_its_account,
        only_metas_signature_makes_a_webhook_genuine,
        a_token_that_was_revoked_waits_for_a_person,
        what_may_have_gone_out_is_settled_by_its_status,
    )
]


async def test_a_whole_account_is_one_session(tmp_path: Path) -> None:
    """Its numbers, its customers, its templates and its trouble: an account of its own for each row."""

    async def check(row: Row) -> None:
        async with meta_shop(BusinessShop, here, daemon, f"shop-{ROWS.index(row)}") as its:
            await row.check(its)

    flow = {"events": EVENTS}
    async with town(tmp_path, templateReviewAfter=0.05) as here:
        config = {"flow": here.config()["flow"] | flow, "limits": {"settle_window": "5s"}}
        async with running(here, tmp_path, **config) as daemon:
            await walk(ROWS, check)
            # Holding is for all webhooks at once, so this row is by itself.
            async with meta_shop(BusinessShop, here, daemon, "shop-mixed") as its:
                await one_post_may_mix_its_numbers(its)
            assert crashes(await daemon.metrics()) == 0
