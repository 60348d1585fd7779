"""A business account managed over the API: its numbers made fit to send, its addresses, its templates, its profiles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import crashes
from tests.acceptance.meta.place import BusinessShop, meta_shop
from tests.acceptance.shop import API, a_phone, until, walk
from tests.acceptance.town import running, town
from wad.sandbox.catalogue import catalogue

BODY = {"type": "BODY", "text": "Hola {{1}}", "example": {"bodyText": [["Ana"]]}}
NEW = {"name": "saludo", "language": "es_MX", "category": "UTILITY", "components": [BODY]}


async def problem(its: BusinessShop, method: str, path: str, **options: Any) -> tuple[int, str, str | None]:
    """What a call that fails is answered: the status, wad's code and Meta's."""
    answer = await its.api.request(method, f"{its.path}{path}", **options)
    assert not answer.is_success, answer.text
    told = answer.json()
    return answer.status_code, told["code"], told.get("providerCode")


# --- rows -------------------------------------------------------------------------------------------


async def a_number_is_added_verified_registered_and_sends(its: BusinessShop) -> None:
    """The whole way, by wad's routes alone; the code is what its owner would read on the phone."""
    new = {"countryCode": "52", "phoneNumber": f"5512{its.number[-6:]}", "verifiedName": "Tienda Nueva"}
    added = await its.api.post(f"{its.path}/numbers", json=new)
    assert added.status_code == 201, added.text
    number, phone = added.json()["id"], f"+52{new['phoneNumber']}"
    assert added.headers["Location"] == f"{its.path}/numbers/{number}"
    assert not (await its.ask("GET", f"/numbers/{phone}"))["usable"]
    await its.ask("POST", f"/numbers/{number}/request-code", json={"method": "sms", "language": "es_MX"})
    assert (await problem(its, "POST", f"/numbers/{number}/verify-code", json={"code": "000000"}))[0] == 422
    known = (await its.here.control("GET", "/state"))["numbers"]
    [code] = [each["code"] for each in known if each["phoneNumberId"] == number]
    await its.ask("POST", f"/numbers/{number}/verify-code", json={"code": code})
    await its.ask("POST", f"/numbers/{number}/register", json={"pin": "123456"})
    assert (await its.ask("GET", f"/numbers/{number}"))["status"] == "CONNECTED"

    async def connection_data() -> list[str]:
        data = (await its.api.get(its.path)).json()["connectionData"]
        return [each["id"] for each in data["numbers"] if each["usable"]]

    await until(connection_data, lambda ids: number in ids, what="the number to be usable")
    body = {"sessionId": its.session_id, "to": a_phone(), "text": "soy nueva", "from": phone}
    sent = await its.api.post(f"{API}/send", json=body)
    assert sent.status_code == 202, sent.text
    await its.until(sent.json()["messageId"], "read")
    assert len(await its.here.ledger("send", phoneNumberId=number)) == 1


async def a_wrong_pin_is_told_and_so_is_one_registration_too_many(its: BusinessShop) -> None:
    """In Meta's words: 133005 for the pin, 133016 for the eleventh time in three days."""
    path = f"/numbers/{its.second}/register"
    await its.ask("PUT", f"/numbers/{its.second}/pin", json={"pin": "123456"})
    assert (await problem(its, "POST", path, json={"pin": "654321"}))[1:] == ("pin_mismatch", "133005")
    await its.ask("POST", f"/numbers/{its.second}/deregister")
    assert not (await its.ask("GET", f"/numbers/{its.second}"))["usable"]
    for _ in range(9):
        await its.ask("POST", path, json={"pin": "123456"})
    assert (await problem(its, "POST", path, json={"pin": "123456"}))[1:] == (
        "registration_throttled",
        "133016",
    )
    assert (await its.ask("GET", f"/numbers/{its.second}"))["usable"]
    assert (await problem(its, "GET", "/numbers/999"))[0] == 404


async def a_number_has_an_address_of_its_own_until_it_is_taken_away(its: BusinessShop) -> None:
    """Its messages come there, and then by the app's again; the account's own stands between the two."""
    elsewhere = f"{its.daemon.url}/webhooks/meta_business"
    assert (await its.ask("PUT", f"/numbers/{its.second}/webhook", json={}))["url"] == its.webhook
    assert (await its.ask("PUT", "/webhook", json={"url": elsewhere}))["url"] == elsewhere
    [app] = (await its.ask("GET", "/webhook"))["items"]
    assert app["url"] == elsewhere
    for number in (its.second, its.number):
        await its.here.writes(a_phone(), "hola", phoneNumberId=number)
    await its.arrived(2)
    deliveries = await its.here.ledger("delivery")
    events = {e["eventId"]: e for e in await its.here.ledger("event", event="message")}
    urls = {
        events[each]["phoneNumberId"]: delivery["url"]
        for delivery in deliveries
        for each in delivery["events"]
        if each in events
    }
    assert (urls[its.second], urls[its.number]) == (its.webhook, elsewhere)
    await its.ask("DELETE", f"/numbers/{its.second}/webhook")
    await its.ask("DELETE", "/webhook")
    webhooks = (await its.ask("GET", f"/numbers/{its.second}"))["webhooks"]
    assert webhooks == {"app": its.webhook}
    wrong = {"url": elsewhere, "verifyToken": "wrong"}
    assert (await problem(its, "PUT", "/webhook", json=wrong))[0] == 422


async def a_template_is_made_approved_sent_changed_and_deleted(its: BusinessShop) -> None:
    """Its approval is an event; what Meta would not take is told by the field, or in Meta's own words."""
    made = await its.ask("POST", "/templates", json=NEW)
    assert (made["status"], made["name"]) == ("PENDING", "saludo")
    await until(lambda: _approved(its), lambda events: len(events) == 1, what="an approval")
    assert await _listed(its) == ("APPROVED", [BODY])
    filled = [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]
    template = {"name": "saludo", "language": {"code": "es_MX"}, "components": filled}
    body = {"sessionId": its.session_id, "to": a_phone(), "template": template}
    sent = await its.api.post(f"{API}/send", json=body)
    assert sent.status_code == 202, sent.text
    await its.until(sent.json()["messageId"], "read")
    changed = [{"type": "BODY", "text": "Adiós {{1}}", "example": {"bodyText": [["Ana"]]}}]
    await its.ask("PATCH", f"/templates/{made['id']}", json={"components": changed})
    await until(
        lambda: _listed(its), lambda found: found == ("APPROVED", changed), what="approved as it is now"
    )
    await its.ask("DELETE", "/templates", params={"name": "saludo"})
    assert (await its.ask("GET", "/templates", params={"name": "saludo"}))["items"] == []
    assert (await problem(its, "POST", "/templates", json=NEW))[0] == 422  # the name rests


async def _approved(its: BusinessShop) -> list[dict[str, Any]]:
    return [
        event
        for event in its.here.flow.events
        if event["type"] == "template.status" and event["data"]["sessionId"] == its.session_id
    ]


async def _listed(its: BusinessShop) -> tuple[str, list[dict[str, Any]]]:
    [template] = (await its.ask("GET", "/templates", params={"name": "saludo"}))["items"]
    return template["status"], template["components"]


async def templates_are_listed_by_the_page(its: BusinessShop) -> None:
    """Every one of the account's once, through the cursors; and those of a category."""
    found: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = await its.ask("GET", "/templates", params=query)
        found += [template["id"] for template in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert len(found) == len(set(found)) == len(catalogue())
    marketing = await its.ask("GET", "/templates", params={"category": "MARKETING", "limit": 50})
    assert {template["category"] for template in marketing["items"]} == {"MARKETING"}


async def the_accounts_rate_limit_is_told(its: BusinessShop) -> None:
    """It is no fault of the call's, and it says when to come again."""
    match = {"operation": "templates", "method": "POST"}
    await its.here.fault("error", code=80007, match=match)
    answer = await its.api.post(f"{its.path}/templates", json={**NEW, "name": "limite"})
    assert answer.json()["providerCode"] == "80007", answer.text
    assert answer.json()["retryable"]
    assert int(answer.headers["Retry-After"]) > 0
    await its.ask("POST", "/templates", json={**NEW, "name": "limite"})


async def a_profile_is_read_and_changed(its: BusinessShop) -> None:
    """Each number has its own."""
    change = {"about": "Abierto", "vertical": "RETAIL", "websites": ["https://example.com"]}
    changed = await its.ask("PATCH", "/profile", params={"number": its.second}, json=change)
    assert changed == change
    assert await its.ask("GET", "/profile", params={"number": its.phones[its.second]}) == change
    assert await its.ask("GET", "/profile", params={"number": its.number}) == {}
    assert (await problem(its, "GET", "/profile", params={"number": "999"}))[0] == 404


@dataclass(frozen=True)
class Row:
    check: Callable[[BusinessShop], Awaitable[None]]

    @property
    def label(self) -> str:
        return self.check.__name__


ROWS = [
    Row(check)
    for check in (
        a_number_is_added_verified_registered_and_sends,
        a_wrong_pin_is_told_and_so_is_one_registration_too_many,
        a_number_has_an_address_of_its_own_until_it_is_taken_away,
        a_template_is_made_approved_sent_changed_and_deleted,
        templates_are_listed_by_the_page,
        a_profile_is_read_and_changed,
    )
]


async def test_an_account_is_managed_over_the_api(tmp_path: Path) -> None:
    """As far as Meta's own rules let it: the sandbox refuses whatever Meta's reference does not have."""

    async def check(row: Row) -> None:
        async with meta_shop(BusinessShop, here, daemon, f"managed-{ROWS.index(row)}") as its:
            await row.check(its)

    async with town(tmp_path, templateReviewAfter=0.05) as here:
        flow = {**here.config()["flow"], "events": ["template.status"]}
        async with running(here, tmp_path, flow=flow) as daemon:
            await walk(ROWS, check)
            # A script for templates cannot say of which account, so this row is by itself.
            async with meta_shop(BusinessShop, here, daemon, "limited") as its:
                await the_accounts_rate_limit_is_told(its)
            assert crashes(await daemon.metrics()) == 0
