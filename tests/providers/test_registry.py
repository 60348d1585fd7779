"""The kinds of provider, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wad.errors import InvalidRequest
from wad.providers.baileys.kind import BaileysConfig
from wad.providers.cloud_api import CloudApi
from wad.providers.dialog360 import Dialog360Config
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.providers.place import Place
from wad.providers.registry import BUILT_IN, Registry


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with Pools() as pools:
        yield Registry(Place(pools=pools, data_dir=tmp_path))


async def test_a_kind_that_was_created_is_found(registry: Registry) -> None:
    """By its name, among all, and in the view of them."""
    kinds = registry.kinds
    kind = registry.create("cloud_api", MetaConfig())
    assert isinstance(kind, CloudApi)
    assert registry.get("cloud_api") is kind
    assert registry.all() == [kind]
    assert dict(kinds) == {"cloud_api": kind}


async def test_an_unknown_kind_is_answered_with_those_there_are(registry: Registry) -> None:
    """A typing mistake should not need the documentation."""
    with pytest.raises(
        InvalidRequest, match=r"no provider 'cloud'; known are baileys, cloud_api, dialog360"
    ) as caught:
        registry.create("cloud", MetaConfig())
    assert (caught.value.code, caught.value.errors[0].pointer) == ("unknown_provider", "/provider")
    with pytest.raises(InvalidRequest, match=r"known are none"):
        registry.get("cloud_api")


async def test_others_may_bring_kinds_of_their_own(tmp_path: Path) -> None:
    """The table is the caller's."""
    async with Pools() as pools:
        place = Place(pools=pools, data_dir=tmp_path)
        registry = Registry(place, {**BUILT_IN, "other": BUILT_IN["cloud_api"]})
        assert registry.create("other", MetaConfig()) is registry.get("other")


@pytest.mark.parametrize(
    ("name", "config"),
    [("cloud_api", MetaConfig()), ("baileys", BaileysConfig()), ("dialog360", Dialog360Config())],
)
async def test_every_built_in_kind_goes_by_its_own_name(registry: Registry, name: str, config: Any) -> None:
    """The name in the table is the one in the API."""
    assert registry.create(name, config).name == name
    assert name in BUILT_IN
