"""The page of the phones, in a real browser, with a real Baileys at the other end."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from tests.sandbox.browser import accessible, browser, needs_chromium
from tests.sandbox.web.client import Client
from tests.sandbox.web.place import ANA, PHONE, needs_node, text_in
from wad.sandbox import Config, WebConfig, create_sandbox, serve_sandbox

pytestmark = [needs_node, needs_chromium]


def hold_a_phone(url: str, qr: str, client: Client) -> None:
    """What a person does, in a thread of its own: Playwright is not Trio's."""
    with browser(f"{url}/phones") as page:
        page.click("text=Nothing is linked to this phone yet")
        page.click("#banner-link")
        page.fill("#scan-form textarea", "no code at all")
        page.press("#scan-form textarea", "Tab")
        page.click("#scan-form button")
        page.wait_for_selector("#devices-problem:has-text('QR code')")
        page.fill("#scan-form textarea", qr)
        page.click("#scan-form button")
        page.wait_for_selector("#devices-label:has-text('(1)')")
        trio.from_thread.run(client.until, "open")

        page.click(".chats button:has-text('Ana Torres')")
        page.fill("#composer-text", "hola *tienda*")
        page.press("#composer-text", "Enter")
        trio.from_thread.run(client.until, "messages", text_in("hola *tienda*"))
        page.wait_for_selector(".msg.in .icon[aria-label='Arrived at the linked device']")
        page.click("#attach")
        page.click("[data-send=image]")
        page.locator("img.picture").evaluate("picture => picture.decode()")

        answer = partial(client.send, f"{ANA}@s.whatsapp.net", {"text": "¡hola, Ana!"})
        trio.from_thread.run(partial(answer, name="3EB0BBBBBBBBBBBBBBBBBB"))
        page.wait_for_selector(".msg.out:has-text('¡hola, Ana!') .read")
        page.hover(".msg.out")
        page.click("[aria-label='React to: ¡hola, Ana!']")
        page.click("#react-menu button >> nth=0")
        page.wait_for_selector(".msg.out .reactions")
        page.hover(".msg.in")
        page.click("[aria-label='Edit: hola *tienda*']")
        page.fill("#composer-text", "hola otra vez")
        page.press("#composer-text", "Enter")
        page.wait_for_selector(".msg.in:has-text('hola otra vez') >> text=edited")

        page.click("#open-group")
        page.fill("#group-dialog [name=subject]", "Familia")
        page.check("#group-people label:has-text('Ana')")
        page.check("#group-people label:has-text('Luis')")
        page.click("#group-dialog .primary")
        page.wait_for_selector("#chat-name:has-text('Familia')")
        page.select_option("#as", label="Luis Ortega")
        page.fill("#composer-text", "hola a todos")
        page.press("#composer-text", "Enter")
        trio.from_thread.run(client.until, "messages", text_in("hola a todos"))
        page.wait_for_selector(".msg.in .sender:has-text('Luis Ortega')")

        page.screenshot(path="/tmp/phones.png")
        page.click("#open-devices")
        accessible(page)
        page.click("#devices button:has-text('Unlink')")
        trio.from_thread.run(client.until, "close")
        page.wait_for_selector("#devices li", state="detached")
        page.keyboard.press("Escape")
        page.wait_for_selector("#unlinked")


async def test_a_phone_can_be_held_in_the_browser(tmp_path: Path) -> None:
    """Scan, talk, answer, react, edit, a group, and unlink; nothing on the console under the strict policy."""
    sandbox = create_sandbox(Config(web=WebConfig()))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve_sandbox, sandbox=sandbox))
        assert sandbox.web is not None
        access = sandbox.web.emulator.access
        assert access is not None
        async with Client(access, tmp_path).running() as client:
            await client.open()
            shown = await client.until("qr")
            await trio.to_thread.run_sync(hold_a_phone, url, shown["qr"], client)
        assert PHONE in sandbox.web.phones
        nursery.cancel_scope.cancel()
