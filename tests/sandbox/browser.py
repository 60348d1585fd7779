"""A real browser in front of the sandbox's pages, and what an accessibility checker says of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
CHROMIUM = shutil.which("chromium")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@contextmanager
def browser(url: str) -> Iterator[Any]:
    """A page that is live. What its console complains about is an error."""
    complaints: list[str] = []
    with playwright.sync_playwright() as made:
        chromium = made.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(20_000)
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector(".live.on")
        yield page
        chromium.close()
    # The browser tells of every refusal; those that a test asks for are wanted.
    unwanted = [each for each in complaints if "status of 400" not in each]
    assert unwanted == [], unwanted


def accessible(page: Any) -> None:
    """What a checker of accessibility finds wrong with the page as it is."""
    found = axe.Axe().run(page).response["violations"]
    wrong = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    assert wrong == [], wrong
