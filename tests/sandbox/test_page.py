"""The two pages: served with a strict policy, whole, and told what happens."""

from __future__ import annotations

import re
from importlib.resources import files

import msgspec
import pytest
import trio

from tests.sandbox.place import ANA, NUMBER, place
from tests.sandbox.test_faults import served

PAGE = files("wad.sandbox") / "page"
#: Each page, and the scripts that are its own.
PAGES = {"index.html": ("page.js", "looks.js", "numbers.js"), "phones.html": ("phones.js",)}


@pytest.mark.parametrize("path", ["/", "/phones"])
async def test_a_page_is_served_with_a_strict_policy(path: str) -> None:
    """Nothing from elsewhere, nothing inline, in no frame; every part of it is there."""
    async with place() as here:
        answer = await here.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        for link in re.findall(r'(?:src|href)="(/[^"]+)"', answer.text):
            part = await here.client.get(link)
            assert part.status_code == 200, link
            assert "default-src 'self'" in part.headers.get("content-security-policy", "default-src 'self'")
            for name in re.findall(r'from "\./([^"]+)"', part.text):
                assert (await here.client.get(f"/page/{name}")).status_code == 200, name


def test_the_pages_obey_their_own_policy() -> None:
    """No inline script, style or handler in the HTML, and no HTML made of text in the scripts."""
    for page in PAGES:
        html = (PAGE / page).read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
    for script in (*(its for all_its in PAGES.values() for its in all_its), "parts.js"):
        text = (PAGE / script).read_text()
        assert not re.search(r"innerHTML\s*[+=]|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


@pytest.mark.parametrize("page", PAGES)
def test_every_control_of_a_page_has_a_name(page: str) -> None:
    """A button with nothing but an icon says what it does; a field has its label; an icon is one there is."""
    html = (PAGE / page).read_text()
    for button in re.findall(r"<button[^>]*>.*?</button>", html, re.DOTALL):
        text = re.sub(r"<svg.*?</svg>|<[^>]+>", "", button, flags=re.DOTALL).strip()
        assert text or "aria-label=" in button or 'id="window"' in button, button
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    icons = set(re.findall(r'\bid="i-([^"]+)"', (PAGE / "icons.svg").read_text()))
    assert set(re.findall(r'href="#i-([^"]+)"', html)) <= icons
    for script in (*PAGES[page], "parts.js"):
        text = (PAGE / script).read_text()
        for name in re.findall(r'\$\("([^"]+)"\)', text):
            assert name in ids, (script, name)
        assert set(re.findall(r'\bicon\("([^"]+)"', text)) <= icons, script


async def test_media_of_a_business_cannot_become_a_page() -> None:
    """What is no picture, sound or film is saved, not shown, and never guessed at."""
    async with place() as here:
        answer = await here.client.post(
            "/_sandbox/media", content=b"<script>", headers={"Content-Type": "application/pdf"}
        )
        media = await here.client.get(f"/_sandbox/media/{answer.json()['mediaId']}")
        assert media.headers["content-disposition"] == "attachment"
        assert media.headers["x-content-type-options"] == "nosniff"
        answer = await here.client.post(
            "/_sandbox/media", content=b"<script>", headers={"Content-Type": "text/html"}
        )
        assert answer.status_code == 400


async def test_the_page_hears_what_happens_as_it_happens() -> None:
    """First `resync`, then messages, statuses and the wire, as server-sent events; and it may leave at any time."""
    async with served() as (sandbox, client):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        told = b""
        with trio.fail_after(10):
            async with stream:
                await stream.send_all(b"GET /_sandbox/events HTTP/1.1\r\nHost: x\r\n\r\n")
                while b"event: wire" not in told:
                    told += await stream.receive_some()
                    if told.count(b"data: ") == 1:
                        await client.post("/_sandbox/inbound", json={"from": {"phone": ANA}, "text": "hola"})
            while sandbox.feed.watched:  # noqa: ASYNC110  a peer that hung up is noticed at no certain event
                await trio.sleep(0.01)
        events = [msgspec.json.decode(line[6:]) for line in told.splitlines() if line.startswith(b"data: ")]
        assert b"content-type: text/event-stream" in told
        assert [event["event"] for event in events] == ["resync", "message", "wire"]
        assert events[1]["message"]["content"] == {"body": "hola"}


async def test_the_page_knows_the_chats_of_a_number() -> None:
    """The last message of each, and whether the business may write freely."""
    async with place() as here:
        await here.post("inbound", {"from": {"phone": ANA}, "text": "hola"})
        [chat] = (await here.control("GET", f"chats?phoneNumberId={NUMBER}"))["chats"]
        assert (chat["last"]["content"], chat["windowOpen"]) == ({"body": "hola"}, True)
