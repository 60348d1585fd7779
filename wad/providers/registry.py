"""The providers there are: found by their entry points, loaded each by itself, and made of the configuration.

One that cannot be loaded or made is named, with what is wrong, and leaves the others alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Final

import msgspec

from wad.config.section import ProviderSection
from wad.providers.base import ProviderKind
from wad.providers.place import Place
from wad.providers.provider import Provider

log: Final = logging.getLogger("wad.providers")
#: The group of entry points that name a `Provider`.
GROUP: Final = "wad.providers"
#: The package that this is: under the names of its own providers nobody else's are used.
OWN: Final = "wad"
#: As the API takes it, and as it stands in paths and metrics.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Installed(msgspec.Struct, frozen=True):
    """What is installed: what can be used, and what cannot, with the reason."""

    providers: Mapping[str, Provider]
    broken: Mapping[str, str]
    ignored: Mapping[str, str] = {}  # by wad's own name, whose package names it too

    @property
    def sections(self) -> Mapping[str, type[ProviderSection] | None]:
        """For the configuration; None for a provider whose own section nobody can read."""
        return {name: provider.section for name, provider in self.providers.items()} | dict.fromkeys(
            self.broken
        )

    def make(self, sections: Mapping[str, ProviderSection], place: Place) -> dict[str, ProviderKind]:
        """A kind of each provider that can be had, of its section."""
        kinds: dict[str, ProviderKind] = {}
        for name, why in self.broken.items():
            log.error("provider_broken", extra={"provider": name, "detail": why})
        for name, why in self.ignored.items():
            log.warning("provider_ignored", extra={"provider": name, "detail": why})
        for name, provider in self.providers.items():
            try:
                kinds[name] = provider.make(sections[name], place)
            except Exception:
                log.exception("provider_broken", extra={"provider": name})
        return kinds


def installed() -> Installed:
    """Every provider that an installed package names, wad's own included. Loads them all."""
    by_name: dict[str, list[metadata.EntryPoint]] = {}
    for each in metadata.entry_points(group=GROUP):
        by_name.setdefault(each.name, []).append(each)
    providers: dict[str, Provider] = {}
    broken: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for name, named in sorted(by_name.items()):
        own = [each for each in named if _package(each) == OWN]
        if own and len(own) < len(named):
            ignored[name] = f"{_packages(set(named) - set(own))}: it is the name of one of wad's own"
        try:
            providers[name] = _loaded(_the_one(own or named))
        except Exception as error:  # noqa: BLE001  whatever somebody else's module raises is told
            broken[name] = f"{_packages(own or named)}: {_told(error)}"
    return Installed(providers, broken, ignored)


class _Unusable(Exception):
    """What an entry point leads to is no provider."""


def _the_one(named: Iterable[metadata.EntryPoint]) -> metadata.EntryPoint:
    """An editable install may be listed twice with the same value; two packages may not share a name."""
    first, *others = sorted(named, key=_package)
    if any((each.value, _package(each)) != (first.value, _package(first)) for each in others):
        raise _Unusable("two packages name it; uninstall one of them")
    return first


def _loaded(entry_point: metadata.EntryPoint) -> Provider:
    found = entry_point.load()
    if not isinstance(found, Provider):
        raise _Unusable(f"{entry_point.value} is no wad.providers.provider.Provider")
    if found.name != entry_point.name or not _NAME.fullmatch(found.name):
        raise _Unusable(
            f"{entry_point.value} calls itself {found.name!r}; its name has to be the entry point's, in lower case"
        )
    found.section()  # every key has a default
    return found


def _packages(named: Iterable[metadata.EntryPoint]) -> str:
    return " and ".join(sorted(map(_package, named)))


def _package(entry_point: metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "an unknown package"


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, _Unusable) else f"{type(error).__name__}: {text}"
