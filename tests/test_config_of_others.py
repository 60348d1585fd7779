"""The configuration of providers that are not wad's own: read by their own models, told of as wad's are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from wad.config import Config, ConfigError, HttpProvider, ProviderSection, load
from wad.config.values import Secret


class Dove(HttpProvider):
    base_url: str = "https://dove.example"
    colour: str = "white"
    key: Secret | None = None


def installed() -> Mapping[str, type[ProviderSection] | None]:
    return {"dove": Dove, "lame": None, "cloud_api": Dove}


def loaded(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "wad.yaml"
    file.write_text(text)
    return load(file, environ, others=installed)


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_its_section_is_read_by_its_own_model(tmp_path: Path) -> None:
    """With the types of wad's own values, and with its own defaults."""
    config = loaded(tmp_path, "providers: {dove: {colour: grey, timeout: 2s, key: 'env:KEY'}}", KEY="canary")
    section = config.providers.of("dove", Dove)
    assert isinstance(section, Dove)
    assert (section.colour, section.timeout, section.rate) == ("grey", 2.0, None)
    assert "canary" in config.secret_values()
    assert "canary" not in repr(config)


def test_a_variable_sets_it_too(tmp_path: Path) -> None:
    config = loaded(tmp_path, "", WAD_PROVIDERS__DOVE__COLOUR="grey")
    assert config.providers.of("dove", Dove) == Dove(colour="grey")


def test_left_out_it_has_its_defaults(tmp_path: Path) -> None:
    """Nobody even asks what is installed."""

    def nobody() -> Mapping[str, type[ProviderSection] | None]:
        raise AssertionError("there is no need to load anything")

    config = load(None, {"WAD_CONFIG": str(Path("/dev/null"))}, others=nobody)
    assert config.providers.of("dove", Dove) == Dove()


def test_its_mistakes_are_told_with_wads_own(tmp_path: Path) -> None:
    """All at once, each with its path and what is allowed."""
    text = """
http: {bnd: ["127.0.0.1:1"]}
providers:
  dove: {color: grey, timeout: soon, rate: -1}
  twilio: {timeout: -1}
"""
    told = problems(tmp_path, text)
    assert [line.partition(": ")[0] for line in told] == [
        "http.bnd",
        "providers.twilio.timeout",
        "providers.dove.rate",
        "providers.dove.timeout",
        "providers.dove.color",
    ]
    assert "did you mean colour?" in told[-1]


def test_a_provider_that_is_not_installed_is_answered_with_those_that_are(tmp_path: Path) -> None:
    [told] = problems(tmp_path, "providers: {dov: {}}")
    assert told.startswith("providers.dov: unknown key; did you mean dove? known here: cloud_api, ")
    assert told.endswith("dove, lame")


def test_of_one_that_cannot_be_loaded_nothing_is_read(tmp_path: Path) -> None:
    """Nor kept: what stands there may be a secret. It is no mistake of the configuration's."""
    config = loaded(tmp_path, "providers: {lame: {key: canary}}")
    assert "canary" not in repr(config)


def test_wads_own_sections_are_nobody_elses(tmp_path: Path) -> None:
    """Whatever a package says of them."""
    config = loaded(tmp_path, "providers: {cloud_api: {version: v25.0}, dove: {}}")
    assert config.providers.cloud_api.version == "v25.0"
