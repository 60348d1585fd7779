"""Imports point downwards: what each room of the house may know, and what it may not (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

#: The words that every room speaks. They know nothing but each other, from right to left.
WORDS = {"errors", "models", "events"}

#: Room -> what it may import. A name stands for itself and for all below it: `store.store` is that module alone.
MAY_IMPORT: dict[str, set[str]] = {
    # --- words
    "errors": set(),
    "models": {"errors"},
    "events": {"errors", "models"},
    # --- what stands on words alone
    "validation": {"errors"},
    "content": WORDS | {"validation"},
    "config": WORDS,
    "secrets": set(),
    "redaction": set(),
    "guard": {"errors"},
    "gauges": WORDS,
    "notify": {"config.problems"},
    "failpoints": {"errors"},
    # --- subscribers of events
    "log": WORDS | {"redaction"},
    "metrics": WORDS | {"gauges"},
    # --- the outside world
    "node": set(),
    "store": WORDS | {"failpoints", "secrets"},
    "providers": WORDS | {"node", "config.model", "config.section"},  # each has its own, and is made of it
    "flow": WORDS | {"validation", "guard"},
    # --- the inside
    "actors": WORDS | {"failpoints", "providers.base", "store.files", "store.spool", "store.store", "flow"},
    "supervisor": WORDS
    | {"actors", "content", "failpoints", "gauges", "providers.base", "providers.management", "flow.event"}
    | {"store.doubts", "store.files", "store.spool", "store.store"},
    "http": WORDS
    | {"supervisor", "content", "validation", "config", "store.store", "flow.event"}
    | {"providers.base", "providers.management"},
    # --- the top
    "settings": {"actors", "config", "content", "flow", "secrets", "store.store", "supervisor"},
    "reloading": WORDS
    | {"config", "content", "flow", "http.app", "notify", "providers.base", "settings", "supervisor"},
    "daemon": WORDS
    | {"actors", "config", "content", "flow", "guard", "http", "log", "metrics", "notify"}
    | {"providers", "reloading", "secrets", "settings", "store", "supervisor"},
    "cli": WORDS
    | {
        "config",
        "content",
        "daemon",
        "failpoints",
        "flow",
        "log",
        "node.find",
        "providers.registry",
        "redaction",
    }
    | {"sandbox", "secrets", "store"},
    "__main__": {"cli"},
    # --- what a provider's own tests run
    "conformance": WORDS | {"content", "providers.base", "providers.http"},
    # --- a world of its own: a mistake that it shared with wad would be one that no test could find
    # (but how to run a Node child is no knowledge of WhatsApp's)
    "sandbox": {"node"},
}

#: What every provider over HTTP may use.
TOOLS = {
    "providers.base",
    "providers.credentials",
    "providers.http",
    "providers.management",
    "providers.rules",
    "providers.webhooks",
}

#: Within a room: a module, and what of its own room it may import.
INSIDE: dict[str, set[str]] = {
    "providers.base": {"providers.management"},
    "providers.management": set(),
    "providers.pools": set(),
    "providers.provider": {"providers.base", "providers.place"},
    "providers.registry": {"providers.base", "providers.place", "providers.provider"},  # and no provider
    "providers.http": {"providers.base", "providers.pools"},
    "providers.credentials": set(),
    "providers.rules": {"providers.base", "providers.http"},
    "providers.webhooks": set(),
    "providers.meta": TOOLS | {"providers.meta"},
    "providers.cloud_api": TOOLS | {"providers.meta"},
    "providers.dialog360": TOOLS | {"providers.meta"},
    "providers.meta_business": TOOLS | {"providers.meta", "providers.place"},
    "providers.twilio": TOOLS | {"providers.place", "providers.twilio"},
    "store.base": set(),
    "store.tables": {"store.base"},
    "store.memory": {"store.base", "store.tables"},
    "store.sql": {"store.base"},
    "store.sqlite": {"store.base", "store.sql", "store.threads"},
    "store.spool": {"store.base", "store.commit", "store.sqlite", "store.tables"},
    "store.files": {"store.base"},
    "store.mongo": {"store.base", "store.mongo_errors", "store.threads"},
    "actors.breaker": set(),
    "actors.limiter": set(),
    "actors.mailbox": set(),
    "supervisor.policy": set(),
    "supervisor.balancer": set(),
}

#: A library, and the only places that know it.
LIBRARIES: dict[str, set[str]] = {
    "quart": {"http", "sandbox"},
    "quart_trio": {"http", "sandbox"},
    "hypercorn": {"http"},
    "pymongo": {"store.mongo", "store.mongo_errors"},
    "sqlite3": {"store.sqlite", "cli.check"},
    "prometheus_client": {"metrics", "gauges"},
    "structlog": {"log"},
    "click": {"cli"},
    "twilio": {"providers.twilio"},
    "filetype": {"actors.filetypes"},
    "cryptography": {"secrets", "sandbox.web.certificate"},
    "asyncio": set(),
}

#: What decides and never waits: it takes the time as an argument.
SYNCHRONOUS = (
    "errors",
    "models",
    "events",
    "content",
    "actors.breaker",
    "actors.filetypes",
    "actors.limiter",
    "supervisor.policy",
    "supervisor.balancer",
)


class Import(NamedTuple):
    importer: str  # `http.media`
    imported: str  # `wad.providers.base` without its `wad.`, or the name of a library
    line: int
    ours: bool

    def __str__(self) -> str:
        return f"wad.{self.importer} (line {self.line}) imports {'wad.' if self.ours else ''}{self.imported}"


def imports_of(module: str, source: str, modules: Iterable[str]) -> Iterator[Import]:
    """Every import of *module*, those inside functions and for type checkers as well: knowing is knowing."""
    known = set(modules)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [name.name for name in names]
            case ast.ImportFrom(level=0, module=str(origin), names=names):
                found = [f"{origin}.{name.name}" for name in names]
            case ast.ImportFrom():
                raise AssertionError(f"wad.{module} has a relative import on line {node.lineno}")
            case _:
                continue
        for name in found:
            first, _, rest = name.partition(".")
            if first != "wad":
                yield Import(module, first, node.lineno, ours=False)
                continue
            while rest and rest not in known:  # a name in a module
                rest = rest.rpartition(".")[0]
            if rest:  # `from wad import __version__` knows nobody
                yield Import(module, rest, node.lineno, ours=True)


def sources() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "wad").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "wad").with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    del found["__init__"]
    return found


def within(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def upward(found: Iterable[Import]) -> list[str]:
    """The imports of ours that leave their room for one that it may not know."""
    return [
        str(each)
        for each in found
        if each.ours
        and room_of(each.importer) != room_of(each.imported)
        and not within(each.imported, MAY_IMPORT[room_of(each.importer)])
    ]


def sideways(found: Iterable[Import]) -> list[str]:
    """The imports of ours that reach a neighbour in the same room whom the module may not know."""
    wrong = []
    for each in found:
        rule = next((name for name in INSIDE if within(each.importer, [name])), None)
        if (
            rule is not None
            and each.ours
            and room_of(each.importer) == room_of(each.imported)
            and not within(each.imported, [rule, *INSIDE[rule]])
        ):
            wrong.append(str(each))
    return wrong


@pytest.fixture(scope="module")
def found() -> list[Import]:
    modules = sources()
    return [each for name, source in modules.items() for each in imports_of(name, source, modules)]


def test_every_room_has_its_rule() -> None:
    """A room that nobody thought about could import anything; a rule for a room that is gone says nothing."""
    assert {room_of(name) for name in sources()} == set(MAY_IMPORT)


def test_every_rule_names_what_there_is() -> None:
    """A rule about a module that was renamed would hold for ever, and mean nothing."""
    modules = sources()
    named = {*INSIDE, *(name for names in (*MAY_IMPORT.values(), *INSIDE.values()) for name in names)}
    named |= {*SYNCHRONOUS, *(name for names in LIBRARIES.values() for name in names)}
    assert not [name for name in named if name not in modules]


def test_imports_point_downwards(found: list[Import]) -> None:
    """cli, daemon, http, supervisor, actors, and below them store, providers and flow; never the way back."""
    assert not upward(found)


def test_providers_and_engines_know_their_contract_and_not_each_other(found: list[Import]) -> None:
    """So that one more of them is one more file."""
    assert not sideways(found)


def test_the_rooms_have_no_circle() -> None:
    """Downwards means that there is a bottom."""
    rooms = {name: {room_of(each) for each in names} for name, names in MAY_IMPORT.items()}
    while rooms:
        lowest = [name for name, below in rooms.items() if not below & rooms.keys()]
        assert lowest, f"a circle among {', '.join(rooms)}"
        for name in lowest:
            del rooms[name]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_known_in_its_place_alone(library: str, found: list[Import]) -> None:
    """Providers never see Quart, nobody but an engine sees pymongo, and nothing sees asyncio."""
    users = [each for each in found if not each.ours and each.imported == library]
    assert not [str(each) for each in users if not within(each.importer, LIBRARIES[library])]


def test_what_decides_does_not_wait(found: list[Import]) -> None:
    """Limiter, breaker and state machines take the time as an argument, and so are tested without a clock."""
    assert not [str(each) for each in found if each.imported == "trio" and within(each.importer, SYNCHRONOUS)]


def test_metrics_are_made_in_one_place(found: list[Import]) -> None:
    """Everybody else publishes facts, and does not know that somebody counts them."""
    assert {each.importer for each in found if within(each.imported, ["metrics"])} == {"daemon"}


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        pytest.param(
            "actors.outbox", "from wad.supervisor.sessions import Sessions", id="an actor knows its boss"
        ),
        pytest.param("http.sessions", "from wad.providers import cloud_api", id="HTTP knows a provider"),
        pytest.param(
            "providers.cloud_api", "from wad.store.store import Store", id="a provider knows the store"
        ),
        pytest.param("supervisor.calls", "import wad.http.app", id="the supervisor knows HTTP"),
        pytest.param("models.ids", "def f():\n    from wad.config import Config", id="inside a function"),
        pytest.param(
            "flow.client", "if TYPE_CHECKING:\n    from wad.actors import inbox", id="for types alone"
        ),
        pytest.param("sandbox.graph", "from wad.models import SessionId", id="the sandbox knows wad"),
    ],
)
def test_an_upward_import_is_found(importer: str, source: str) -> None:
    """The walker sees it, wherever it stands and however it is written."""
    assert upward(imports_of(importer, source, sources()))


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        pytest.param(
            "providers.cloud_api", "from wad.providers.registry import installed", id="its register"
        ),
        pytest.param("store.sqlite", "from wad.store import mongo", id="its neighbour"),
        pytest.param("store.mongo", "from wad.store.core import Core", id="what stands on it"),
    ],
)
def test_a_sideways_import_is_found(importer: str, source: str) -> None:
    assert sideways(imports_of(importer, source, sources()))
