"""360dialog in front of the Graph API: a key for a token, no number in the path, webhooks that nobody signs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio

from tests.sandbox.place import ANA, CALLBACK, Place, place
from wad.sandbox import READY_DIALOG360, serve_sandbox
from wad.sandbox.samples import picture

NUMBER = READY_DIALOG360.phone_number_id
KEY = {"D360-API-KEY": str(READY_DIALOG360.api_key)}
TEXT = {"messaging_product": "whatsapp", "to": ANA, "type": "text", "text": {"body": "hola"}}


async def ask(here: Place, method: str, path: str, **options: Any) -> httpx.Response:
    return await here.client.request(method, f"/360dialog{path}", **{"headers": KEY, **options})


#: label → the headers of somebody who is not let in
STRANGERS: dict[str, dict[str, str]] = {
    "no key": {},
    "another key": {"D360-API-KEY": "D360other"},
    "an empty key": {"D360-API-KEY": ""},
    "Meta's token": {"Authorization": f"Bearer {READY_DIALOG360.access_token}"},
}


@pytest.mark.parametrize("label", STRANGERS)
async def test_only_the_key_opens_it(label: str) -> None:
    """401, in 360dialog's own shape."""
    async with place() as here:
        for method, path in (
            ("POST", "/messages"),
            ("GET", "/v1/configs/webhook"),
            ("GET", "/health_status"),
        ):
            answer = await ask(here, method, path, headers=STRANGERS[label])
            assert answer.status_code == 401
            assert answer.json()["meta"]["success"] is False


async def test_a_send_is_metas_without_the_number(autojump_clock: object) -> None:
    """The same body, the same answer, the same errors; the ledger says whose it was."""
    async with place() as here:
        await here.post("customers", {"phone": ANA, "windows": {NUMBER: "open"}})
        answer = await ask(here, "POST", "/messages", json=TEXT)
        assert answer.json()["contacts"] == [{"input": ANA, "wa_id": ANA[1:]}]
        [send] = (await here.control("GET", "ledger?kind=send"))["entries"]
        assert send["phoneNumberId"] == NUMBER
        wrong = await ask(here, "POST", "/messages", json={**TEXT, "prio": 1})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, 100)
        await here.post(
            "faults", {"match": {"phoneNumberId": NUMBER}, "fault": {"kind": "error", "code": 130429}}
        )
        assert (await ask(here, "POST", "/messages", json=TEXT)).json()["error"]["code"] == 130429


async def test_a_file_is_fetched_from_360dialog_in_place_of_metas_host() -> None:
    """Its URL names Meta's host for files, which nobody may ask but Meta's own."""
    async with place() as here:
        files = {"file": ("a.png", picture(), "image/png")}
        form = {"messaging_product": "whatsapp", "type": "image/png"}
        media_id = (await ask(here, "POST", "/media", data=form, files=files)).json()["id"]
        url = (await ask(here, "GET", f"/{media_id}")).json()["url"]
        assert url.startswith("https://lookaside.fbsbx.com/whatsapp_business/attachments/")
        path = url.removeprefix("https://lookaside.fbsbx.com")
        assert (await ask(here, "GET", path)).content == picture()
        assert (await ask(here, "GET", path, headers={"D360-API-KEY": "x"})).status_code == 401


async def test_it_says_whether_the_number_may_send() -> None:
    """As Meta sees it, with the account's and the number's part in it."""
    async with place() as here:
        health = (await ask(here, "GET", "/health_status")).json()["health_status"]
        assert health["can_send_message"] == "AVAILABLE"
        await here.post("numbers", {"phoneNumberId": NUMBER, "registered": False})
        health = (await ask(here, "GET", "/health_status")).json()["health_status"]
        assert health["can_send_message"] == "BLOCKED"


async def test_webhooks_carry_the_headers_that_were_set_and_no_signature(autojump_clock: object) -> None:
    """`/v1/configs/webhook` shakes no hands. A forged one comes with another value, or with none."""
    async with place() as here:
        config = {"url": f"{CALLBACK}/d360", "headers": {"X-Secret": "mine", "X-Shop": "9"}}
        assert (await ask(here, "GET", "/v1/configs/webhook")).json()["url"] == ""
        assert (await ask(here, "POST", "/v1/configs/webhook", json=config)).json() == config
        assert (await ask(here, "GET", "/v1/configs/webhook")).json() == config
        assert (
            await ask(here, "POST", "/v1/configs/webhook", json={"url": "https://example.com"})
        ).status_code == 400
        assert (
            await ask(here, "POST", "/v1/configs/webhook", json={**config, "events": []})
        ).status_code == 400
        for kind in ("wrong", "missing"):
            fault = {"kind": "forge", "signature": kind}
            await here.post(
                "faults", {"match": {"operation": "webhook", "phoneNumberId": NUMBER}, "fault": fault}
            )
        for _ in range(2):
            await here.post("inbound", {"phoneNumberId": NUMBER, "from": {"phone": ANA}, "text": "hola"})
            await here.settled()
        assert [headers.get("x-secret") for headers, _ in here.hook.heard] == [
            "not mine",
            "mine",
            None,
            "mine",
        ]
        assert not any("x-hub-signature-256" in headers for headers, _ in here.hook.heard)
        assert here.hook.heard[-1][0]["x-shop"] == "9"
        [url] = {entry["url"] for entry in (await here.control("GET", "ledger?kind=delivery"))["entries"]}
        assert url == f"{CALLBACK}/d360"


async def test_the_control_api_leads_its_webhooks_somewhere_too(autojump_clock: object) -> None:
    """With the number's own headers, and without a handshake, which nobody would answer."""
    async with place() as here:
        here.hook.verify_token = "nobody's"
        number = await here.post("numbers", {"phoneNumberId": NUMBER, "callbackUrl": CALLBACK})
        assert number["dialog360"] == {
            "baseUrl": "http://sandbox/360dialog",
            "apiKey": READY_DIALOG360.api_key,
            "webhookHeaders": READY_DIALOG360.webhook_headers,
        }
        await here.post("inbound", {"phoneNumberId": NUMBER, "from": {"phone": ANA}, "text": "hola"})
        await here.settled()
        [(headers, _)] = here.hook.heard
        assert headers["x-secret"] == "sandbox-webhook-secret"


async def test_who_is_refused_may_try_again_on_the_same_connection() -> None:
    """The body of what is refused is read, so that the connection is good for the next request."""
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=1), trust_env=False) as client,
    ):
        url = await nursery.start(serve_sandbox)
        ports = set()
        for headers in ({"D360-API-KEY": "x"}, KEY, {}, KEY):
            answer = await client.post(
                f"{url}/360dialog/messages", headers=headers, json={"text": "x" * 10**5}
            )
            assert answer.status_code == (400 if headers is KEY else 401)
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert len(ports) == 1
        nursery.cancel_scope.cancel()
