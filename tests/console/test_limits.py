"""Where wad says no: the console passes on what it said, and when to try again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.acceptance.daemon import free_port
from tests.console.conftest import Desk, World, running

MakeDesk = Callable[..., AbstractContextManager[Desk]]


@pytest.fixture
def strict(network: str, tmp_path: Path) -> Iterator[World]:
    """A daemon that has little room, and whose provider is not there."""
    config = {
        "limits": {"queue_per_session": 1},
        "providers": {"cloud_api": {"base_url": f"http://127.0.0.1:{free_port()}"}},
    }
    with running(tmp_path, network, **config) as here:
        yield here


def test_too_many_wrong_tokens_and_a_full_queue_say_when_to_come_back(desks: MakeDesk, strict: World) -> None:
    """A 429 has its time on the page."""
    with desks(at=strict) as desk:
        page = desk.page
        desk.open(signed_in=False)
        again = page.get_by_text("Try again after", exact=False)
        for n in range(11):
            desk.sign_in(f"wad_guess_{n}")
            if n < 10:
                desk.expect(page.get_by_text("This token is not known here.")).to_be_visible()
                desk.expect(desk.button("Sign in")).not_to_have_attribute("aria-disabled", "true")
        desk.expect(again).to_be_visible()
        desk.photograph("too-many-tokens")
        desk.sign_in()  # the right one is let in all the same
        desk.expect(page.get_by_role("heading", name="Sessions", level=1)).to_be_visible()

        credentials = strict.number("crowded")
        body = {"sessionId": "crowded", "provider": "cloud_api", "credentials": credentials}
        strict.api("POST", "/sessions", json=body)
        page.goto(f"{strict.url}/#/sessions/crowded")
        desk.expect(page.locator(".reason")).to_contain_text("Nothing to do: wad tries again by itself.")
        page.get_by_label("To", exact=True).fill("+5215512345678")
        page.get_by_role("textbox", name="Text", exact=True).fill("uno")
        desk.button("Send").click()
        desk.expect(page.locator(".outcome .chip")).to_have_text(["queued"])
        desk.expect(page.get_by_text("1, oldest", exact=False)).to_be_visible()
        page.get_by_role("textbox", name="Text", exact=True).fill("dos")
        desk.button("Send").click()
        desk.expect(page.get_by_role("alert").get_by_text("Queue full")).to_be_visible()
        desk.expect(again).to_be_visible()
        page.get_by_role("link", name="All sessions").click()
        desk.expect(page.get_by_role("row").filter(has_text="crowded")).to_contain_text("1, oldest")
