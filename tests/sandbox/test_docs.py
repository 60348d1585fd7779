"""The examples of docs/sandbox.md are run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.sandbox.place import NUMBER, place
from wad.sandbox import READY, Settings
from wad.sandbox.templates import catalogue

DOCS = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
EXAMPLES = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```", DOCS, re.DOTALL)


async def test_every_example_works() -> None:
    """In the order of the page, against a callback that answers."""
    async with place(callback=False, window=False) as here:
        for method, path, body in EXAMPLES:
            answer = await here.client.request(method, path, json=json.loads(body))
            assert answer.is_success, (method, path, body, answer.text)
        assert (await here.control("GET", "state"))["webhooks"]["held"] is False
    assert len(EXAMPLES) > 20


def test_what_the_page_says_of_the_ready_number_is_so() -> None:
    """Ids and tokens can be copied from the page."""
    for value in (NUMBER, READY.access_token, READY.app_secret, READY.verify_token):
        assert f"`{value}`" in DOCS


def test_every_setting_fault_and_template_is_on_the_page() -> None:
    """Nothing that can be said is left for the reader to guess."""
    for name in Settings.__struct_encode_fields__:
        assert f"| `{name}` |" in DOCS, name
    kinds = set(re.findall(r'tag="(\w+)"', (Path(__file__).parents[2] / "wad/sandbox/faults.py").read_text()))
    for kind in kinds:
        assert f'"kind": "{kind}"' in DOCS, kind
    for name, _ in catalogue():
        assert f"`{name}`" in DOCS, name
