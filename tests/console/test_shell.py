"""What the console is served as, and what holds for its files whichever browser reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from tests.http.front import front

CONSOLE = files("wad.http") / "console"
SCRIPTS = {each.name: each.read_text() for each in CONSOLE.iterdir() if each.name.endswith(".js")}


async def test_the_console_is_served_with_a_strict_policy(autojump_clock):
    """Nothing from elsewhere, nothing inline, in no frame, no text that becomes HTML; and every part of it is there."""
    async with front() as ask:
        page = await ask.as_(None)("GET", "/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        for part in ("frame-ancestors 'none'", "form-action 'none'", "require-trusted-types-for 'script'"):
            assert part in policy
        html = page.body.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)
        links = set(re.findall(r'(?:src|href)="(/console/[^"]+)"', html))
        links |= {f"/console/{name}" for name in SCRIPTS}
        for link in links:
            part = await ask.as_(None)("GET", link)
            assert (part.status, part.headers["content-security-policy"]) == (200, policy), link


async def test_a_browser_asks_for_a_file_once_and_then_whether_it_is_still_the_one(autojump_clock):
    """A file that has not changed is not sent again, and one that has is never taken from a cache."""
    async with front() as ask:
        first = await ask.as_(None)("GET", "/console/main.js")
        assert first.headers["cache-control"] == "no-cache"
        tag = first.headers["etag"]
        again = await ask.as_(None)("GET", "/console/main.js", headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")
        other = await ask.as_(None)("GET", "/console/main.js", headers={"If-None-Match": 'W/"older"'})
        assert other.body == first.body


@pytest.mark.parametrize("name", ["missing.js", "__init__.py", "..", "%2e%2e%2fpages.py", "index.html%00"])
async def test_only_the_files_of_the_console_are_there(name, autojump_clock):
    """What else is on the disk is no part of it."""
    async with front() as ask:
        assert (await ask.as_(None)("GET", f"/console/{name}")).status == 404


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_script_can_be_read(name):
    """By Node, where there is one; and none makes HTML of text."""
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", SCRIPTS[name]
    )
    if shutil.which("node") is None:
        pytest.skip("no node: apt-get install nodejs")
    checked = subprocess.run(
        ["node", "--check", str(CONSOLE / name)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


# --- words ----------------------------------------------------------------------------------------

_STRING = r'"(?:[^"\\]|\\.)*"'
WORDS = {
    key: (json.loads(english), json.loads(spanish))
    for key, english, spanish in re.findall(
        rf'^  "([\w.]+)": \[\s*({_STRING}),\s*({_STRING}),?\s*\]', SCRIPTS["words.js"], re.MULTILINE
    )
}


def test_every_word_is_there_in_both_languages():
    """With the same blanks to fill in, and none left empty."""
    assert len(WORDS) == len(re.findall(r'^  "', SCRIPTS["words.js"], re.MULTILINE)) > 200
    for key, (english, spanish) in WORDS.items():
        assert english, key
        assert spanish, key
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", spanish)), key


def test_every_word_that_is_used_exists():
    """In scripts and in the page; a key that is put together has at least a word that it can become."""
    html = (CONSOLE / "index.html").read_text()
    used = set(re.findall(r'data-t(?:-label)?="([\w.]+)"', html))
    for source in SCRIPTS.values():
        used |= set(re.findall(r'\bt\("([\w.]+)"', source))
        for start in re.findall(r"\bt\(`([\w.]+)\$\{", source) + [
            f"{group}." for group in re.findall(r'\bword\("(\w+)"', source)
        ]:
            assert any(key.startswith(start) for key in WORDS), start
    assert used <= WORDS.keys()


def test_no_word_is_left_over():
    """Each stands in a script or in the page, whole or as the end of a group that is put together."""
    everything = (CONSOLE / "index.html").read_text() + "".join(
        source for name, source in SCRIPTS.items() if name != "words.js"
    )
    groups = set(re.findall(r"`([\w.]+\.)\$\{", everything))
    groups |= {f"{group}." for group in re.findall(r'\b(?:word|chip)\("(\w+)"', everything)}
    left = {
        key
        for key in WORDS
        if f'"{key}"' not in everything and not any(key.startswith(each) for each in groups)
    }
    assert left == set()


def test_every_state_of_the_api_has_its_word():
    """And every status and every event; a new one is shown by its own name until then."""
    from wad.http.events import EVENT_TYPES
    from wad.http.schemas import MessageStatus, SessionState

    wanted = {f"state.{each}" for each in SessionState.__args__}
    wanted |= {f"status.{each}" for each in MessageStatus.__args__}
    wanted |= {f"type.{each}" for each in EVENT_TYPES}
    assert wanted <= WORDS.keys()
