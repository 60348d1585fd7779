"""A daemon, the simulated WhatsApp, and a real browser in front of them; each test gets a page of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.daemon import TOKEN, Daemon
from tests.acceptance.town import QUICK
from wad.sandbox import READY

playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install '.[dev]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: pip install '.[dev]'")

CHROMIUM = shutil.which("chromium")
#: It is alone on loopback: nothing is looked up, reported or fetched.
FLAGS = [
    "--no-sandbox",  # of Chromium's own, which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: For what takes milliseconds, when it works.
PATIENCE = 30_000
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 860}


class World:
    """The daemon and the sandbox, as processes, and what a test asks of them directly."""

    def __init__(self, daemon: Daemon, sandbox_url: str) -> None:
        self.daemon = daemon
        self.url = daemon.url
        self.token = TOKEN
        self._api = httpx.Client(
            base_url=f"{daemon.url}/api/whatsapp",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
            trust_env=False,
        )
        self._sandbox = httpx.Client(base_url=f"{sandbox_url}/_sandbox", timeout=60, trust_env=False)

    def start(self) -> None:
        """Start the daemon, and return once it is ready. Without Trio, which cannot run beside Playwright's loop."""
        self.daemon.launch()
        deadline = time.monotonic() + 60
        while not self._ready():
            assert self.daemon.is_running, self.daemon.tail()
            assert time.monotonic() < deadline, self.daemon.tail()
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._api.close()
        self._sandbox.close()

    def api(self, method: str, path: str, **request: Any) -> Any:
        answer = self._api.request(method, path, **request)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = self._sandbox.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    # --- numbers, sessions and customers ----------------------------------------------------------

    def number(self, name: str) -> dict[str, str]:
        """A number at the sandbox, and the credentials for it."""
        number = str(10**14 + zlib.crc32(name.encode()))
        token = f"EAAtoken{number}"
        self.control("POST", "/numbers", phoneNumberId=number, accessToken=token)
        return {
            "phoneNumberId": number,
            "accessToken": token,
            "appSecret": str(READY.app_secret),
            "verifyToken": str(READY.verify_token),
        }

    def listen(self, session: str, credentials: dict[str, str]) -> None:
        """Lead a number's webhooks to its session."""
        callback = f"{self.url}/webhooks/cloud_api/{session}"
        self.control("POST", "/numbers", phoneNumberId=credentials["phoneNumberId"], callbackUrl=callback)

    def session(self, name: str, **more: Any) -> dict[str, str]:
        """A session that is connected, with its number; its credentials."""
        credentials = self.number(name)
        body = {"sessionId": name, "provider": "cloud_api", "credentials": credentials, **more}
        self.api("POST", "/sessions", json=body)
        self.api("POST", f"/sessions/{name}/connect", headers={"Prefer": "wait=20"})
        self.listen(name, credentials)
        return credentials

    def writes(self, credentials: dict[str, str], phone: str, text: str) -> None:
        self.control("POST", "/inbound", **{
            "phoneNumberId": credentials["phoneNumberId"], "from": {"phone": phone}, "text": text,
        })  # fmt: skip

    def dead_letter(self, session: str, phone: str, text: str) -> str:
        """A message that was refused for good; its id."""
        self.control(
            "POST",
            "/faults",
            match={"operation": "messages", "to": phone},
            fault={"kind": "error", "code": 131030},
        )
        body = {"sessionId": session, "to": phone, "text": text}
        answer = self._api.post("/send", json=body, headers={"Prefer": "wait=20"})
        assert answer.status_code == 422, answer.text
        return str(answer.json()["messageId"])


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """The simulated WhatsApp as a process; its URL."""
    command = [sys.executable, "-m", "wad.sandbox", "--bind", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "it did not say where it is"
            yield found[0]
        finally:
            process.kill()


@contextmanager
def running(directory: Path, sandbox_url: str, **config: Any) -> Iterator[World]:
    """A daemon that is led to the sandbox, ready."""
    provider = {"base_url": sandbox_url, "rate": 10_000, "burst": 10_000}
    daemon = Daemon(
        directory, {"providers": {"cloud_api": provider}, "guard": {"allow": ["127.0.0.0/8"]}, **config}
    )
    here = World(daemon, sandbox_url)
    try:
        here.start()
        yield here
    finally:
        here.close()
        daemon.end()


@pytest.fixture(scope="package")
def network() -> Iterator[str]:
    with sandbox("--no-web") as url:
        yield url


@pytest.fixture(scope="package")
def world(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("console"), network) as here:
        here.control("PATCH", "/settings", **QUICK)
        yield here


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """The browser, once for all."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: $WAD_SCREENSHOTS, or with the other leavings of the run."""
    kept = os.environ.get("WAD_SCREENSHOTS")
    place = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    place.mkdir(parents=True, exist_ok=True)
    return place


class Desk:
    """A browser page at the console, and what a person does there."""

    def __init__(self, page: Any, world: World, album: Path) -> None:
        """*page* is Playwright's."""
        self.page = page
        self.world = world
        self._album = album
        self.errors: list[str] = []
        self.refused: list[str] = []  # answers that are no success: Chromium writes each to its console too
        page.set_default_timeout(PATIENCE)
        playwright_api.expect.set_options(timeout=PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("response", self._answered)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.errors.append(text)

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.request.method} {response.url}")

    # --- what a person does -----------------------------------------------------------------------

    def open(self, path: str = "", *, signed_in: bool = True) -> None:
        """Come to the console; signed in as by an earlier load of the same tab."""
        if signed_in:
            self.page.add_init_script(f"sessionStorage.setItem('wad.token', {self.world.token!r})")
        self.page.goto(f"{self.world.url}/{path}")

    def sign_in(self, token: str | None = None) -> None:
        self.page.get_by_label("API token").fill(token or self.world.token)
        self.page.get_by_role("button", name="Sign in").click()

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def expect(self, locator: Any) -> Any:
        return playwright_api.expect(locator)

    def is_live(self) -> None:
        self.expect(self.page.locator("#live.on")).to_be_visible()

    def is_for_everybody(self, name: str) -> list[str]:
        """What axe finds on the page as it is, and whether it is wider than the screen; with a photograph."""
        self.photograph(name)
        options = {"resultTypes": ["violations"]}
        found = axe.Axe().run(self.page, options=options).response["violations"]
        wrong = [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]
        if self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wrong.append("wider than the screen")
        return wrong

    def photograph(self, name: str) -> None:
        self.page.screenshot(path=self._album / f"{name}.png", full_page=True)


@pytest.fixture
def desks(world: World, chromium: Any, album: Path) -> Callable[..., AbstractContextManager[Desk]]:
    """Make a desk: `with desks(colour="dark", viewport=PHONE) as desk`. It must end without an error."""

    @contextmanager
    def make(
        *,
        at: World = world,
        colour: str = "light",
        viewport: dict[str, int] = DESK,
        locale: str = "en-GB",
        **more: Any,
    ) -> Iterator[Desk]:
        context = chromium.new_context(
            color_scheme=colour, viewport=viewport, locale=locale, timezone_id="UTC", **more
        )
        try:
            desk = Desk(context.new_page(), at, album)
            yield desk
            assert desk.errors == []
        finally:
            context.close()

    return make


@pytest.fixture
def desk(desks: Callable[..., AbstractContextManager[Desk]]) -> Iterator[Desk]:
    """A light desktop, in English, at which nothing may be refused unless the test says so."""
    with desks() as made:
        yield made
