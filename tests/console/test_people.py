"""Who uses the console, and with what: a keyboard, a screen reader, a phone, the dark, Spanish."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.console.conftest import DESK, PHONE, Desk, World

MakeDesk = Callable[..., AbstractContextManager[Desk]]
ANA = "+5215512345678"


@pytest.fixture(scope="module")
def furnished(world: World) -> dict[str, str]:
    """Something to see in every view: path by the name of the view."""
    credentials = world.session("tienda-centro", shopId="shop-9")
    broken = {
        "sessionId": "tienda-roma",
        "provider": "cloud_api",
        "credentials": {**world.number("roma"), "accessToken": "EAAexpired"},
    }
    world.api("POST", "/sessions", json=broken)
    world.session("tienda-norte")
    world.api("POST", "/sessions/tienda-norte/disconnect", headers={"Prefer": "wait=20"})
    dead = world.dead_letter("tienda-centro", "+5215500000300", "Su pedido 1001 está listo")
    world.writes(credentials, ANA, "Hola, ¿siguen abiertos?")
    return {
        "sessions": "#/sessions",
        "session": "#/sessions/tienda-centro",
        "session-broken": "#/sessions/tienda-roma",
        "session-missing": "#/sessions/nowhere",
        "log": "#/log",
        "messages": "#/messages",
        "message": f"#/messages/{dead}",
        "dead-letters": "#/dead-letters",
        "nowhere": "#/nowhere",
    }


def arrive(desk: Desk, path: str) -> None:
    """Open a view, and see it as it is once everything it asks for is there."""
    desk.page.goto(f"{desk.world.url}/{path}")
    desk.expect(desk.page.locator("h1")).to_be_visible()
    desk.page.wait_for_load_state()
    desk.expect(desk.page.locator(".empty:visible", has_text="Loading…")).to_have_count(0)


@pytest.mark.parametrize("size", [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone")])
@pytest.mark.parametrize("colour", ["light", "dark"])
def test_no_view_keeps_anybody_out(
    desks: MakeDesk, furnished: dict[str, str], world: World, colour: str, size: dict[str, int]
) -> None:
    """axe finds nothing on any view, signed out and in, in both themes; nothing is wider than the screen."""
    with desks(colour=colour, viewport=size) as desk:
        name = f"{'phone' if size is PHONE else 'desk'}-{colour}"
        found: dict[str, list[str]] = {}

        def look(view: str) -> None:
            found[view] = desk.is_for_everybody(f"{name}-{view}")

        desk.open(signed_in=False)
        desk.sign_in("wad_wrong" if size is DESK else None)
        if size is DESK:
            desk.expect(desk.page.get_by_text("This token is not known here.")).to_be_visible()
            look("sign-in")
            desk.sign_in()
        desk.is_live()
        for view, path in furnished.items():
            arrive(desk, path)
            if view == "log":
                world.api("POST", "/send", json={"sessionId": "tienda-centro", "to": ANA, "text": "Sí"})
                desk.expect(desk.page.locator(".log")).to_contain_text("read")
                desk.page.locator(".log summary").first.click()
            look(view)
        arrive(desk, "#/sessions")
        desk.page.locator(".head .primary").click()
        desk.expect(desk.page.get_by_role("dialog")).to_be_visible()
        desk.page.get_by_role("dialog").get_by_label("Provider").select_option("cloud_api")
        desk.page.get_by_role("button", name="Create").click()
        desk.expect(desk.page.get_by_label("Access token")).to_have_attribute("aria-invalid", "true")
        desk.page.locator("dialog summary").click()
        look("create")
        assert {view: each for view, each in found.items() if each} == {}


def test_everything_is_done_with_a_keyboard(desk: Desk, furnished: dict[str, str]) -> None:
    """From the door to a message sent: Tab, Enter and typing alone."""
    page, keys = desk.page, desk.page.keyboard
    desk.open(signed_in=False)
    desk.expect(page.get_by_label("API token")).to_be_focused()
    keys.type(desk.world.token)
    keys.press("Enter")
    desk.expect(page.get_by_role("heading", name="Sessions", level=1)).to_be_focused()
    desk.expect(page.get_by_role("link", name="tienda-centro")).to_be_visible()
    tab_to(page, "tienda-centro")
    keys.press("Enter")
    desk.expect(page.get_by_role("heading", name="tienda-centro", level=1)).to_be_focused()
    desk.expect(page.locator(".now .chip")).to_have_text("connected")
    tab_to(page, "To")
    keys.type(ANA)
    tab_to(page, "Text")
    keys.type("escrito a mano")
    tab_to(page, "Send")
    keys.press("Space")
    desk.expect(page.locator(".outcome .chip").last).to_have_text("read")
    desk.expect(desk.button("Send")).to_be_focused()
    tab_to(page, "Delete", back=True)
    keys.press("Enter")
    desk.expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    desk.expect(desk.button("Delete")).to_be_focused()


def test_the_first_tab_offers_to_skip_to_the_content(desk: Desk, furnished: dict[str, str]) -> None:
    """And the view is still the one it was."""
    page = desk.page
    desk.open("#/messages")
    desk.expect(page.get_by_role("heading", name="Messages", level=1)).to_be_focused()
    page.evaluate("document.activeElement.blur(); document.body.tabIndex = -1; document.body.focus()")
    page.keyboard.press("Tab")
    desk.expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    desk.expect(page.get_by_role("main")).to_be_focused()
    desk.expect(page.get_by_role("heading", name="Messages", level=1)).to_be_visible()


def tab_to(page: Any, name: str, *, back: bool = False) -> None:
    """Press Tab until the control of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        reached = page.evaluate(
            "(e => e.labels?.[0]?.firstChild.textContent ?? e.getAttribute('aria-label') ?? e.textContent)"
            "(document.activeElement)"
        )
        if reached == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


def test_the_focus_stays_where_it_is_while_the_list_changes(desk: Desk, furnished: dict[str, str]) -> None:
    """A row that is drawn anew under somebody's finger keeps its focus; a letter that goes hands it on."""
    page, world = desk.page, desk.world
    desk.open()
    link = page.get_by_role("link", name="tienda-norte")
    link.focus()
    world.api("POST", "/sessions/tienda-norte/connect", headers={"Prefer": "wait=20"})
    desk.expect(page.get_by_role("row").filter(has_text="tienda-norte")).to_contain_text("connected")
    desk.expect(link).to_be_focused()
    world.api("POST", "/sessions/tienda-norte/disconnect", headers={"Prefer": "wait=20"})
    for n in (1, 2):
        world.dead_letter("tienda-centro", f"+521550000031{n}", f"carta {n}")
    page.goto(f"{world.url}/#/dead-letters")
    first = page.locator(".letter").filter(has_text="carta 2")
    second = page.locator(".letter").filter(has_text="carta 1")
    first.get_by_role("button", name="Retry").focus()
    page.keyboard.press("Enter")
    desk.expect(first).to_have_count(0)
    desk.expect(second.get_by_role("button", name="Retry")).to_be_focused()


def test_changes_are_told_to_who_cannot_see_them(desk: Desk, furnished: dict[str, str]) -> None:
    """A state by the session's page, new entries of the log together: in one polite place."""
    page, world = desk.page, desk.world
    said = page.locator("#said")
    desk.open("#/sessions/tienda-norte")
    desk.expect(page.locator(".now .chip")).to_have_text("disconnected")
    world.api("POST", "/sessions/tienda-norte/connect", headers={"Prefer": "wait=20"})
    desk.expect(said).to_have_text("tienda-norte: connected")
    world.api("POST", "/sessions/tienda-norte/disconnect", headers={"Prefer": "wait=20"})
    page.goto(f"{world.url}/#/log")
    world.api("POST", "/send", json={"sessionId": "tienda-centro", "to": ANA, "text": "Sí"})
    desk.expect(said).to_contain_text("new entries, the last: sent to +5215512345678")


def test_it_speaks_spanish_to_whom_the_browser_says_and_switches(
    desks: MakeDesk, furnished: dict[str, str]
) -> None:
    """The choice is kept, the view stays, and the API's own words are marked as English."""
    with desks(locale="es-MX") as desk:
        page = desk.page
        desk.open("#/sessions/tienda-roma")
        desk.expect(page.locator("html")).to_have_attribute("lang", "es")
        desk.expect(page.get_by_text("Dale un token de acceso nuevo.")).to_be_visible()
        desk.expect(page.locator(".why [lang=en]")).to_contain_text("Invalid OAuth access token")
        desk.expect(page.get_by_role("link", name="Fallidos")).to_be_visible()
        assert desk.is_for_everybody("spanish") == []
        page.get_by_label("Idioma", exact=True).focus()
        page.get_by_label("Idioma", exact=True).select_option("en")
        desk.expect(page.locator("html")).to_have_attribute("lang", "en")
        desk.expect(page.get_by_text("Give it a new access token.")).to_be_visible()
        desk.expect(page.get_by_label("Language", exact=True)).to_be_focused()
        page.reload()
        desk.expect(page.get_by_role("button", name="Sign out")).to_be_visible()
