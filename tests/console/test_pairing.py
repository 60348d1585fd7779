"""A number is paired with a phone on the console: real Baileys, a simulated WhatsApp Web, and what the screen shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest
import segno

from tests.console.conftest import PHONE, Desk, World, running, sandbox

MakeDesk = Callable[..., AbstractContextManager[Desk]]
ANA = "+5215512345678"
#: Reads the picture that is on the page: whether each module of a code so many modules wide is dark.
READ = """(image, [modules, border]) => {
  const canvas = document.createElement("canvas");
  const size = (modules + 2 * border) * 8;
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, size, size);
  const dark = (x, y) => context.getImageData((x + border) * 8 + 4, (y + border) * 8 + 4, 1, 1).data[0] < 128;
  return Array.from({ length: modules }, (_, y) => Array.from({ length: modules }, (_, x) => dark(x, y)));
}"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A daemon whose WhatsApp Web is the sandbox's."""
    directory = tmp_path_factory.mktemp("web")
    with sandbox("--data-dir", str(directory / "sandbox")) as url:
        told = httpx.get(f"{url}/_sandbox/web", trust_env=False).json()
        if not told["running"]:
            pytest.skip(f"no simulated WhatsApp Web: {told['missing']}")
        baileys = {
            "web_socket_url": told["webSocketUrl"],
            "noise_root_key": told["noiseRootKey"],
            "extra_ca": told["extraCa"],
        }
        with running(directory, url, providers={"baileys": baileys}) as here:
            yield here


def create(desk: Desk, name: str) -> None:
    """A new session, by the form."""
    page = desk.page
    desk.open()
    desk.button("New session").click()
    dialog = page.get_by_role("dialog", name="New session")
    dialog.get_by_label("Provider").select_option("baileys")
    desk.expect(dialog.get_by_text("Nothing to enter", exact=False)).to_be_visible()
    dialog.get_by_label("Session id").fill(name)
    dialog.get_by_role("button", name="Create").click()
    desk.expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    desk.expect(page.locator(".now .chip")).to_have_text("pairing")


def shown_code(desk: Desk, session: str) -> str:
    """What the code on the screen says: that of the API, and it is the one that is drawn there."""
    image = desk.page.get_by_role("img", name="QR code to scan", exact=False)
    desk.expect(image).to_be_visible()
    said: str = desk.world.api("GET", f"/sessions/{session}/qr", params={"format": "json"})["qr"]
    wanted = [
        [bool(module) for module in row] for row in segno.make_qr(said, error="l", boost_error=False).matrix
    ]
    desk.page.wait_for_function(
        f"([image, given, wanted]) => JSON.stringify(({READ})(image, given)) === JSON.stringify(wanted)",
        arg=[image.element_handle(), [len(wanted), 4], wanted],
    )
    return said


def test_a_code_is_scanned_and_the_number_talks(desks: MakeDesk, web: World) -> None:
    """From the form to a customer's message; logging out asks for a phone again."""
    with desks(at=web) as desk:
        page = desk.page
        create(desk, "web-scan")
        code = shown_code(desk, "web-scan")
        desk.expect(page.get_by_text("Good for", exact=False)).to_be_visible()
        assert desk.is_for_everybody("pairing-desk") == []
        page.set_viewport_size(PHONE)
        assert desk.is_for_everybody("pairing-phone") == []
        phone = web.control("GET", "/web")["phones"][0]["phone"]
        web.control("POST", "/web/scan", phone=phone, qr=code)
        desk.expect(page.locator(".now .chip")).to_have_text("connected")
        desk.expect(page.get_by_role("heading", name="Pair with a phone")).to_be_hidden()
        assert code not in page.content()

        page.get_by_label("To", exact=True).fill(ANA)
        page.get_by_role("textbox", name="Text", exact=True).fill("Hola Ana")
        desk.button("Send").click()
        desk.expect(page.locator(".outcome .chip").get_by_text("delivered")).to_be_visible()
        said = web.control("POST", "/web/say", **{"from": ANA, "to": phone, "text": "¿Siguen abiertos?"})
        log = page.get_by_role("list", name="Live log")
        desk.expect(log.get_by_text("¿Siguen abiertos?")).to_be_visible()
        edit = {"id": said["id"], "text": "¿Y mañana?"}
        web.control("POST", "/web/say", **{"from": ANA, "to": phone, "edit": edit})
        desk.expect(log.get_by_text("¿Y mañana?")).to_be_visible()
        web.control("POST", "/web/say", **{"from": ANA, "to": phone, "delete": {"id": said["id"]}})
        desk.expect(log.get_by_text("taken back")).to_be_visible()
        desk.photograph("session-web")

        desk.button("Log out").click()
        page.get_by_role("dialog").get_by_role("button", name="Log out").click()
        desk.expect(page.locator(".now .chip")).not_to_have_text("connected")
        assert web.control("GET", "/web")["phones"][0]["clients"] == []
        desk.expect(page.get_by_text("Press Connect: then there is a code to scan.")).to_be_visible()
        desk.button("Connect").click()
        assert shown_code(desk, "web-scan") != code


def test_a_code_is_typed_into_the_phone(desks: MakeDesk, web: World) -> None:
    """For whom the screen with the code is the phone itself; a wrong number is told at its field."""
    with desks(at=web, viewport=PHONE) as desk:
        page = desk.page
        web.control("POST", "/web/phones", phone="+5215550100300", name="Tienda Sur")
        create(desk, "web-code")
        number = page.get_by_label("The phone's number")
        number.fill("0155")
        desk.button("Get a code").click()
        desk.expect(number).to_have_attribute("aria-invalid", "true")
        number.fill("+52 1 555 010 0300")
        desk.button("Get a code").click()
        shown = page.locator(".code b")
        desk.expect(shown).to_be_visible()
        desk.photograph("pairing-code")
        code = shown.inner_text().replace("-", "")
        web.control("POST", "/web/pairing-code", phone="+5215550100300", code=code)
        desk.expect(page.locator(".now .chip")).to_have_text("connected")


def test_a_device_that_the_phone_unlinks_says_what_to_do(desks: MakeDesk, web: World) -> None:
    """The reason is on the page the moment it happens, and Connect is all it takes for a new code."""
    with desks(at=web) as desk:
        page = desk.page
        web.control("POST", "/web/phones", phone="+5215550100400", name="Tienda Este")
        create(desk, "web-unlinked")
        web.control("POST", "/web/scan", phone="+5215550100400", qr=shown_code(desk, "web-unlinked"))
        desk.expect(page.locator(".now .chip")).to_have_text("connected")
        web.control("POST", "/web/unlink", phone="+5215550100400")
        desk.expect(page.locator(".now .chip")).to_have_text("logged out")
        desk.expect(page.get_by_text("Press Connect, and pair it again with the phone.")).to_be_visible()
        desk.button("Connect").click()
        shown_code(desk, "web-unlinked")
