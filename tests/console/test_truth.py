"""What the console says of itself when wad is gone, or no longer heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.console.conftest import PHONE, Desk, World, running

MakeDesk = Callable[..., AbstractContextManager[Desk]]
ANA = "+5215512345678"


@pytest.fixture
def mortal(network: str, tmp_path: Path) -> Iterator[World]:
    """A daemon that may be killed."""
    with running(tmp_path, network) as here:
        yield here


def test_a_daemon_that_is_gone_makes_the_page_doubt_itself_until_it_is_back(
    desks: MakeDesk, mortal: World
) -> None:
    """Since when, what is in doubt, when it is tried again; afterwards all is as it was, and the break is in the log."""
    with desks(at=mortal) as desk:
        page = desk.page
        credentials = mortal.session("survivor")
        desk.open("#/log")
        desk.is_live()
        log = page.get_by_role("list", name="Live log")
        mortal.writes(credentials, ANA, "heard before")
        desk.expect(log.get_by_text("heard before")).to_be_visible()
        page.get_by_role("link", name="Sessions", exact=True).click()
        chip = page.locator("tbody .chip").first
        desk.expect(chip).to_have_text("connected")
        assert mark(chip) == "none"

        mortal.daemon.kill()
        gone = page.get_by_role("alert").get_by_text("wad has not answered since")
        desk.expect(gone).to_be_visible()
        desk.expect(page.locator("#live")).to_contain_text("Stream cut, trying again at")
        assert mark(chip) == '" ?"'
        assert desk.is_for_everybody("stale-desk") == []
        page.set_viewport_size(PHONE)
        assert desk.is_for_everybody("stale-phone") == []

        mortal.start()
        desk.expect(gone).to_be_hidden()
        desk.is_live()
        assert mark(chip) == "none"
        desk.expect(page.locator("#said")).to_have_text("wad answers again.")
        page.get_by_role("link", name="Live log").click()
        desk.expect(log.get_by_text("The stream was cut.")).to_be_visible()
        desk.expect(log.get_by_text("What happened meanwhile follows", exact=False)).to_be_visible()
        mortal.writes(credentials, ANA, "heard after")
        desk.expect(log.get_by_text("heard after")).to_be_visible()
        desk.errors = [each for each in desk.errors if "ERR_" not in each]  # Chromium's word for the cut


def mark(chip: object) -> object:
    """What a state has after it."""
    return chip.evaluate("each => getComputedStyle(each, '::after').content")


def test_a_stream_that_was_cut_resumes_with_what_it_missed(desks: MakeDesk, mortal: World) -> None:
    """By Last-Event-ID: what happened while nobody listened comes first, after a line for the break."""
    with desks(at=mortal) as desk:
        page = desk.page
        credentials = mortal.session("resuming")
        desk.open("#/log")
        desk.is_live()
        log = page.get_by_role("list", name="Live log")
        mortal.writes(credentials, ANA, "heard")
        desk.expect(log.get_by_text("heard")).to_be_visible()
        page.route("**/api/whatsapp/events", lambda route: route.abort())
        mortal.daemon.kill()
        mortal.start()
        mortal.writes(credentials, ANA, "missed")
        desk.expect(page.locator("#live")).to_contain_text("Stream cut")
        page.unroute("**/api/whatsapp/events")
        desk.expect(log.get_by_text("missed")).to_be_visible()
        told = [each for each in log.locator("li").all_inner_texts() if "session" not in each]
        found = [word for text in told for word in ("missed", "follows", "was cut", "heard") if word in text]
        assert found == ["missed", "follows", "was cut", "heard"]
        desk.errors = [each for each in desk.errors if "ERR_" not in each]


def test_what_was_missed_for_good_is_said_to_be_missing(desks: MakeDesk, mortal: World) -> None:
    """A stream that never brought an event cannot be resumed: the log does not pretend."""
    with desks(at=mortal) as desk:
        desk.open("#/log")
        desk.is_live()
        mortal.daemon.kill()
        mortal.start()
        log = desk.page.get_by_role("list", name="Live log")
        desk.expect(log.get_by_text("What happened meanwhile is not in here", exact=False)).to_be_visible()
        desk.errors = [each for each in desk.errors if "ERR_" not in each]
