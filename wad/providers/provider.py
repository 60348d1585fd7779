"""What a package brings that wad is to find: a provider's name, its section of the configuration, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from wad.config.section import ProviderSection
from wad.providers.base import ProviderKind
from wad.providers.place import Place


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry point of the group `wad.providers` names. Its own name is the entry point's."""

    name: str  # in the API, in the configuration, in the path of its webhooks and in metrics
    section: type[ProviderSection]  # its keys under `providers.<name>`, each with a default
    make: Callable[[Any, Place], ProviderKind]  # of the section, and of what it needs of the process
