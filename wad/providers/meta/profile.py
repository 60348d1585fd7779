"""How a number presents itself to customers: its business profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wad.providers.http import Answer
from wad.providers.management import Profile, ProfileView
from wad.providers.meta.graph import Graph
from wad.providers.meta.send import to_meta
from wad.providers.rules import garbled

_FIELDS: Final = "about,address,description,email,profile_picture_url,websites,vertical"
_PATH: Final = "whatsapp_business_profile"


class MetaProfile(Profile):
    """The profile of the number that *graph*'s account stands for."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def get(self) -> ProfileView:
        account = self._graph.account
        url = account.url(f"{account.number}/{_PATH}", fields=_FIELDS)
        return await self._graph.get("profile", url, self._profile)

    async def update(self, body: Mapping[str, Any]) -> None:
        account = self._graph.account
        url = account.url(f"{account.number}/{_PATH}")
        said = {"messaging_product": "whatsapp", **to_meta(dict(body))}
        await self._graph.post("profile_update", url, said, self._graph.object, repeatable=True)

    def _profile(self, answer: Answer) -> ProfileView:
        listed, _ = self._graph.page(answer)
        if not listed:
            raise garbled(answer)
        said = {name: value for name, value in listed[0].items() if isinstance(value, str)}
        websites = listed[0].get("websites")
        return ProfileView(
            about=said.get("about"),
            address=said.get("address"),
            description=said.get("description"),
            email=said.get("email"),
            vertical=said.get("vertical"),
            websites=[each for each in websites if isinstance(each, str)]
            if isinstance(websites, list)
            else [],
            profile_picture_url=said.get("profile_picture_url"),
        )
