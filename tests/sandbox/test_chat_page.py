"""The page of the business numbers, in a real browser: the conversations of every number, whoever hosts it."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import trio

from tests.sandbox.browser import accessible, browser, needs_chromium
from wad.sandbox import READY, READY_DIALOG360, READY_SENDER, Config, Settings, create_sandbox, serve_sandbox
from wad.sandbox.twilio.templates import catalogue

pytestmark = needs_chromium

ANA = "5215512345678"
[CITA] = [template.sid for template in catalogue().values() if template.name == "cita"]


class Business:
    """What the business sends by itself, through each of its providers."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def _post(self, path: str, **request: Any) -> None:
        answer = self._client.post(path, **request)
        assert answer.is_success, answer.text

    def by_meta(self, text: str) -> None:
        self._post(
            f"/v26.0/{READY.phone_number_id}/messages",
            headers={"Authorization": f"Bearer {READY.access_token}"},
            json={"messaging_product": "whatsapp", "to": f"+{ANA}", "type": "text", "text": {"body": text}},
        )

    def by_twilio(self, **form: str) -> None:
        self._post(
            f"/2010-04-01/Accounts/{READY_SENDER.account_sid}/Messages.json",
            auth=(str(READY_SENDER.account_sid), str(READY_SENDER.auth_token)),
            data={"From": f"whatsapp:{READY_SENDER.number}", "To": f"whatsapp:+{ANA}", **form},
        )


def talk_to_every_number(url: str) -> None:
    """What a person does, in a thread of its own: Playwright is not Trio's."""
    with closing(Business(url)) as business, browser(url) as page:
        labels = page.locator("#number optgroup").evaluate_all("all => all.map(each => each.label)")
        assert labels == ["Cloud API", "Twilio", "360dialog"]

        # To Twilio's sender, by the keyboard alone.
        page.select_option("#number", f"whatsapp:{READY_SENDER.number}")
        page.wait_for_selector("#nobody:not([hidden])")
        page.focus(".chats button:has-text('Ana Torres')")
        page.keyboard.press("Enter")
        page.wait_for_selector("#chat-name:has-text('Ana Torres')")
        page.focus("#composer-text")
        page.keyboard.type("hola *tienda*")
        page.keyboard.press("Enter")
        page.wait_for_selector(".msg.in:has-text('hola tienda')")
        page.wait_for_selector("#window.open")
        page.click("#attach")
        page.click("[data-send=image]")
        page.locator("img.picture").evaluate("picture => picture.decode()")

        # What the business answers, with a button to press.
        business.by_twilio(ContentSid=CITA, ContentVariables=json.dumps({"1": "lunes"}))
        page.wait_for_selector(".msg.out:has-text('¿Vienes el lunes?') .read")
        page.click(".actions button:has-text('Sí')")
        page.wait_for_selector(".msg.in .quote")
        page.click("#attach")
        page.click("[data-send=order]")
        page.wait_for_selector("#toast:has-text('Twilio does not pass on')")

        # Meta's number writes meanwhile: it is told, and one press away.
        business.by_meta("hola de Meta")
        page.wait_for_selector("#others .badge:has-text('1')")
        page.wait_for_selector("#others .at:has-text('Cloud API')")
        assert "(1 new)" in page.locator(f"#number option[value='{READY.phone_number_id}']").inner_text()
        accessible(page)
        page.focus("#others button")
        page.keyboard.press("Enter")
        page.wait_for_selector(".msg.out:has-text('hola de Meta')")
        assert page.input_value("#number") == READY.phone_number_id
        assert page.locator("#others .at").all_inner_texts() == ["Twilio · Tienda Twilio"]

        # Each kind says what its gateway has to know, and takes the URL of its webhooks.
        for number, term, url_of_webhooks in (
            (f"whatsapp:{READY_SENDER.number}", "Auth token", "http://127.0.0.1:9/webhooks/twilio/t"),
            (READY_DIALOG360.phone_number_id, "API key", "http://127.0.0.1:9/webhooks/dialog360/d"),
        ):
            page.select_option("#number", number)
            page.click("#open-connect")
            page.wait_for_selector(f"#credentials dt:has-text('{term}')")
            accessible(page)
            page.fill("#connect-dialog [name=callback]", url_of_webhooks)
            page.keyboard.press("Enter")
            page.wait_for_selector("#connect-dialog:not([open])", state="attached")
            page.wait_for_selector("#nobody", state="hidden")

        # On a phone the list and the conversation take turns.
        page.set_viewport_size({"width": 360, "height": 740})
        page.click("#back")
        page.click("#others button >> nth=0")
        page.wait_for_selector("#log .msg")
        accessible(page)


async def test_every_number_can_be_talked_to_in_the_browser() -> None:
    """Choose a number and a customer, write, press, hear of the others; nothing on the console under the strict policy."""
    sandbox = create_sandbox(Config(settings=Settings(enforce_window=False)))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_sandbox, sandbox=sandbox))
        await trio.to_thread.run_sync(talk_to_every_number, url)
        nursery.cancel_scope.cancel()
