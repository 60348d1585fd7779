"""The page of capabilities, made of what is declared: `python -m tests.capabilities` writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from wad.conformance.world import camel
from wad.content import CONTENT_TYPES
from wad.content.interactive import INTERACTIVE_TYPES
from wad.providers.base import Capabilities
from wad.providers.http import Pools
from wad.providers.place import Place
from wad.providers.registry import installed

PAGE: Final = Path(__file__).parent.parent / "docs" / "capabilities.md"
#: Those that are lists, each with a table of its own, and all that may stand in one.
LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "content_types": CONTENT_TYPES,
    "interactive_types": tuple(sorted(INTERACTIVE_TYPES)),
}
_HEAD: Final = """\
# What each provider can do

Made of what the providers declare ([wad/providers/base.py](../wad/providers/base.py)) by `python -m tests.capabilities`; do not edit it. The same
is served at `GET /api/whatsapp/capabilities`, and for one session at `GET /api/whatsapp/sessions/{sessionId}/capabilities`. What is not declared is refused at once: 422
`not_supported`, whose `capability` is a name of these tables (an interactive type as `interactive.list`).
"""


async def declared() -> dict[str, Capabilities]:
    """Of every provider that is installed."""
    found = installed()
    async with Pools() as pools:
        place = Place(pools=pools, data_dir=Path(tempfile.gettempdir()))
        kinds = found.make({name: each.section() for name, each in found.providers.items()}, place)
    return {name: kind.capabilities for name, kind in kinds.items()}


def page(providers: Mapping[str, Capabilities]) -> str:
    return "\n".join([_HEAD, *_flags(providers), *_lists(providers)]).rstrip() + "\n"


def _flags(providers: Mapping[str, Capabilities]) -> Iterator[str]:
    yield from _row("capability", *providers, "what it says", head=True)
    for field, said in _descriptions().items():
        if field not in LISTS:
            shown = (_shown(getattr(can, field)) for can in providers.values())
            yield from _row(f"`{camel(field)}`", *shown, said)
    yield ""


def _lists(providers: Mapping[str, Capabilities]) -> Iterator[str]:
    for field, known in LISTS.items():
        yield f"## `{camel(field)}`: {_descriptions()[field]}\n"
        yield from _row("type", *providers, head=True)
        for each in known:
            yield from _row(f"`{each}`", *(_shown(each in getattr(can, field)) for can in providers.values()))
        yield ""


def _descriptions() -> dict[str, str]:
    schema: dict[str, Any] = msgspec.json.schema(Capabilities)["$defs"]["Capabilities"]["properties"]
    fields = [field.name for field in msgspec.structs.fields(Capabilities)]
    return {name: schema[camel(name)]["description"] for name in fields}


def _row(*cells: str, head: bool = False) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
    if head:
        yield "|---" * len(cells) + "|"


def _shown(value: object) -> str:
    return "yes" if value is True else "" if value is False else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(trio.run(declared)))
