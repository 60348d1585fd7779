"""The kinds of provider that this process has, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from wad.errors import FieldError, InvalidRequest
from wad.providers.baileys.kind import Baileys
from wad.providers.base import ProviderKind
from wad.providers.cloud_api import CloudApi
from wad.providers.dialog360 import Dialog360
from wad.providers.place import Place

#: Makes a kind of its configuration section, and of what it needs of the process.
Factory: TypeAlias = Callable[[Any, Place], ProviderKind]

#: Every kind wad brings. A new one is a line here; others may hand `Registry` a table of their own.
BUILT_IN: Final[Mapping[str, Factory]] = {
    CloudApi.name: lambda config, place: CloudApi(config, place.pools),
    Dialog360.name: lambda config, place: Dialog360(config, place.pools),
    Baileys.name: Baileys,
}


class Registry:
    """Creates kinds and finds them again. Kinds live as long as the process; living sessions are the supervisor's."""

    def __init__(self, place: Place, factories: Mapping[str, Factory] = BUILT_IN) -> None:
        self._place = place
        self._factories = factories
        self._kinds: dict[str, ProviderKind] = {}

    def __repr__(self) -> str:
        return f"<Registry {', '.join(self._kinds) or 'empty'}>"

    def create(self, name: str, config: Any) -> ProviderKind:
        """The kind *name*, made of its *config*; one that was made before is replaced."""
        factory = self._factories.get(name)
        if factory is None:
            raise _unknown(name, self._factories)
        kind = self._kinds[name] = factory(config, self._place)
        return kind

    def get(self, name: str) -> ProviderKind:
        """Raises InvalidRequest, which lists the kinds there are."""
        kind = self._kinds.get(name)
        if kind is None:
            raise _unknown(name, self._kinds)
        return kind

    def all(self) -> list[ProviderKind]:
        return list(self._kinds.values())

    @property
    def kinds(self) -> Mapping[str, ProviderKind]:
        """All of them by name; a view, which shows later ones too."""
        return MappingProxyType(self._kinds)


def _unknown(name: str, known: Mapping[str, object]) -> InvalidRequest:
    detail = f"there is no provider {name!r}; known are {', '.join(sorted(known)) or 'none'}"
    return InvalidRequest(detail, [FieldError("/provider", detail)], code="unknown_provider")
