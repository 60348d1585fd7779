"""The examples of docs/sandbox.md are run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.sandbox.place import NUMBER, Place, place
from tests.sandbox.web.place import needs_node, web
from wad.sandbox import READY, READY_SENDER, Settings
from wad.sandbox.catalogue import catalogue
from wad.sandbox.twilio.templates import catalogue as twilio_catalogue
from wad.sandbox.web.control import _CALLS

DOCS = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
EXAMPLES = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```", DOCS, re.DOTALL)
WEB = [example for example in EXAMPLES if example[1].startswith("/_sandbox/web/")]


async def test_every_example_works() -> None:
    """In the order of the page, against a callback that answers."""
    async with place(callback=False, window=False) as here:
        await tried(here, [example for example in EXAMPLES if example not in WEB])
        assert (await here.control("GET", "state"))["webhooks"]["held"] is False
    assert len(EXAMPLES) - len(WEB) > 20


@needs_node
async def test_every_example_of_whatsapp_web_works() -> None:
    """In the order of the page, on phones that nothing is linked to."""
    async with web() as here:
        await tried(here, WEB)
    assert len(WEB) > 8


async def tried(here: Place, examples: list[tuple[str, str, str]]) -> None:
    for method, path, body in examples:
        answer = await here.client.request(method, path, json=json.loads(body))
        assert answer.is_success, (method, path, body, answer.text)


def test_every_call_and_fault_of_whatsapp_web_is_on_the_page() -> None:
    """By its path, and by its name."""
    for path in _CALLS:
        assert f"/_sandbox/web/{path}" in DOCS or f"| `{path} {{" in DOCS, path
    faults = (Path(__file__).parents[2] / "wad/node/emulator/faults.js").read_text()
    kinds = re.findall(r"'(\w+)'", faults.partition("export const KINDS = [")[2].partition("]")[0])
    assert len(kinds) > 5
    for kind in kinds:
        assert f"`{kind}`" in DOCS, kind


def test_what_the_page_says_of_the_ready_number_is_so() -> None:
    """Ids and tokens can be copied from the page: Meta's and Twilio's."""
    for value in (NUMBER, READY.access_token, READY.app_secret, READY.verify_token):
        assert f"`{value}`" in DOCS
    for name in ("account_sid", "auth_token", "api_key_sid", "api_key_secret", "messaging_service_sid"):
        assert f"`{getattr(READY_SENDER, name)}`" in DOCS, name
    assert f"`whatsapp:{READY_SENDER.number}`" in DOCS


def test_every_setting_fault_and_template_is_on_the_page() -> None:
    """Nothing that can be said is left for the reader to guess."""
    for name in Settings.__struct_encode_fields__:
        assert f"| `{name}` |" in DOCS, name
    kinds = set(re.findall(r'tag="(\w+)"', (Path(__file__).parents[2] / "wad/sandbox/faults.py").read_text()))
    for kind in kinds:
        assert f'"kind": "{kind}"' in DOCS, kind
    for template in twilio_catalogue().values():
        assert f"`{template.name}`" in DOCS, template.name
    for name, _ in catalogue():
        assert f"`{name}`" in DOCS, name
