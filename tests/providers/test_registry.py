"""The providers that are installed: found, loaded and made, each for itself."""

from __future__ import annotations

import logging
import sys
import tomllib
from pathlib import Path

import pytest

from tests.packages import install
from wad.config import Config
from wad.config.model import Providers
from wad.providers import built_in
from wad.providers.http import Pools
from wad.providers.place import Place
from wad.providers.provider import Provider
from wad.providers.registry import GROUP, Installed, installed

ROOT = Path(__file__).parent.parent.parent
OWN = {name: each for name, each in vars(built_in).items() if isinstance(each, Provider)}

#: A whole package of somebody else's, as small as one can be.
DOVE = """
from wad.config import ProviderSection
from wad.providers.provider import Provider

class Section(ProviderSection):
    colour: str = "white"

provider = Provider(name="dove", section=Section, make=lambda section, place: section.colour)
"""


async def made(found: Installed, tmp_path: Path, config: Config | None = None) -> dict[str, object]:
    providers = (config or Config()).providers
    sections = {name: providers.of(name, each.section) for name, each in found.providers.items()}
    async with Pools() as pools:
        return dict(found.make(sections, Place(pools=pools, data_dir=tmp_path)))


def test_wads_own_are_found_as_anybodys_are() -> None:
    """All that there are, and under the names by which pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == {name: f"{built_in.__name__}:{name}" for name in OWN}
    found = installed()
    assert found.providers == OWN
    assert found.broken == {}


async def test_every_provider_goes_by_its_own_name(tmp_path: Path) -> None:
    """In the table, in the API, and in the configuration."""
    kinds = await made(installed(), tmp_path)
    assert {name: getattr(kind, "name", None) for name, kind in kinds.items()} == {name: name for name in OWN}
    assert {name: each.section for name, each in OWN.items()} == {
        name: field.annotation for name, field in Providers.model_fields.items() if name in OWN
    }


async def test_somebody_elses_is_found_beside_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And is made of its section: here, of its defaults."""
    install(monkeypatch, tmp_path, "wad-dove", entry_points={"dove": "dove:provider"}, modules={"dove": DOVE})
    found = installed()
    assert found.providers.keys() == OWN.keys() | {"dove"}
    assert (await made(found, tmp_path))["dove"] == "white"


BROKEN = {
    "does not import": (
        "import nothing_of_that_name",
        "ModuleNotFoundError: No module named 'nothing_of_that_name'",
    ),
    "raises": ("raise OSError('no\\nlibrary')", "OSError: no library"),
    "names nothing": ("", "AttributeError: module 'broken_module' has no attribute 'provider'"),
    "is no provider": ("provider = 5", "broken_module:provider is no wad.providers.provider.Provider"),
    "has another name": (
        DOVE,
        "broken_module:provider calls itself 'dove'; its name has to be the entry point's, in lower case",
    ),
    "needs to be configured": (
        DOVE.replace('"dove"', '"broken"').replace(' = "white"', ""),
        "ValidationError: 1 validation error for Section",
    ),
}


@pytest.mark.parametrize("label", BROKEN)
def test_a_broken_one_is_named_and_leaves_the_others_alone(
    label: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its package, and with what is wrong."""
    source, why = BROKEN[label]
    modules = {"broken_module": source}
    install(
        monkeypatch,
        tmp_path,
        "wad-broken",
        entry_points={"broken": "broken_module:provider"},
        modules=modules,
    )
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    found = installed()
    assert found.providers == OWN
    assert found.broken["broken"].startswith(f"wad-broken: {why}")
    assert found.sections["broken"] is None


def test_a_name_that_two_packages_have_is_neithers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which one is meant is not for wad to guess."""
    for package in ("wad-one", "wad-other"):
        install(
            monkeypatch, tmp_path, package, entry_points={"dove": "dove:provider"}, modules={"dove": DOVE}
        )
    found = installed()
    assert found.broken == {"dove": "wad-one and wad-other: two packages name it; uninstall one of them"}
    assert found.providers == OWN


async def test_wads_own_name_stays_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A package that is installed beside it cannot take a provider away; that it is not used is told."""
    install(
        monkeypatch, tmp_path, "wad-dove", entry_points={"twilio": "dove:provider"}, modules={"dove": DOVE}
    )
    found = installed()
    assert (found.providers, found.broken) == (OWN, {})
    why = "wad-dove: it is the name of one of wad's own"
    assert found.ignored == {"twilio": why}
    assert (await made(found, tmp_path)).keys() == OWN.keys()
    [told] = [record for record in caplog.records if record.name == "wad.providers"]
    assert (told.levelno, told.getMessage()) == (logging.WARNING, "provider_ignored")
    assert (told.__dict__["provider"], told.__dict__["detail"]) == ("twilio", why)


async def test_one_that_cannot_be_made_is_logged_and_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that cannot be loaded is."""
    source = DOVE.replace("section.colour)", "section.color)")
    install(
        monkeypatch, tmp_path, "wad-dove", entry_points={"dove": "dove:provider"}, modules={"dove": source}
    )
    monkeypatch.delitem(sys.modules, "dove", raising=False)
    found = installed()
    kinds = await made(Installed(found.providers, {"lost": "wad-lost: gone"}), tmp_path)
    assert kinds.keys() == OWN.keys()
    told = [
        (record.levelno, record.getMessage(), record.__dict__["provider"])
        for record in caplog.records
        if record.name == "wad.providers"
    ]
    assert told == [
        (logging.ERROR, "provider_broken", "lost"),
        (logging.ERROR, "provider_broken", "dove"),
    ]
