"""Which way a template goes: Meta has an API of its own for marketing, and takes nothing else by it.

A send does not say of which category its template is; the account's list of templates does. It is asked by name,
once an hour, and only in an account that Meta serves with that API.
"""

from __future__ import annotations

from typing import Final

import trio

from wad.errors import ProviderError
from wad.models import OutboundMessage
from wad.providers.base import Accepted
from wad.providers.meta.connection import MetaConnection
from wad.providers.meta.templates import MetaTemplates

#: What Meta's API for marketing says of a message that it did not take and that the usual one may: not marketing
#: after all, a template it has not heard of yet (10 minutes), an account it does not serve, or not this message.
_TAKE_THE_USUAL_WAY: Final = frozenset({"134100", "134101", "134102", "131055"})
#: What the usual one says of marketing in an account that has to take the other way.
_TAKE_THE_OTHER_WAY: Final = "131063"
#: Meta itself may send it the usual way, where its own rules for marketing do not fit the message.
_POLICY: Final = "CLOUD_API_FALLBACK"
#: Seconds for which a refusal of the account's, or of one template, is remembered.
_NOT_SERVED: Final = 3600.0
_SYNCING: Final = 600.0

_MARKETING: Final = "MARKETING"
#: How long a category is taken to be what it was: Meta changes them once a month, and says so the day before.
_KEPT: Final = 3600.0
#: Seconds that a send may wait for its template's category; what is not known by then goes the usual way.
_PATIENCE: Final = 5.0
#: Names whose categories are remembered. An account has at most 6,000 templates.
_REMEMBERED: Final = 6000


class Marketing:
    """Sends an account's templates."""

    def __init__(self, templates: MetaTemplates, *, seconds: float) -> None:
        """*seconds*: what one send may take in all, both ways together."""
        self.serves = False  # whether Meta's API for marketing serves the account, as far as is known
        self._categories = Categories(templates)
        self._seconds = seconds
        self._usual_way: dict[str, float] = {}  # template ("": every one) -> until when it goes the usual way

    async def send(self, line: MetaConnection, message: OutboundMessage) -> Accepted:
        """Hand a template over. What one way surely did not take goes the other way, once."""
        until = trio.current_time() + self._seconds
        template = message.content["template"]
        name, language = str(template["name"]), str(template["language"]["code"])
        if not await self._goes_as_marketing(name, language):
            try:
                return await line.send_within(message, _left(until))
            except ProviderError as error:
                if error.provider_code != _TAKE_THE_OTHER_WAY:
                    raise
            return await line.send_marketing(message, policy=_POLICY, seconds=_left(until))
        try:
            return await line.send_marketing(message, policy=_POLICY, seconds=_left(until))
        except ProviderError as error:
            if error.provider_code not in _TAKE_THE_USUAL_WAY:
                raise
            whose, seconds = ("", _NOT_SERVED) if error.provider_code == "134102" else (name, _SYNCING)
            self._usual_way[whose] = trio.current_time() + seconds
        return await line.send_within(message, _left(until))

    async def _goes_as_marketing(self, name: str, language: str) -> bool:
        now = trio.current_time()
        if self._usual_way:
            self._usual_way = {whose: until for whose, until in self._usual_way.items() if until > now}
        if not self.serves or "" in self._usual_way or name in self._usual_way:
            return False
        return await self._categories.is_marketing(name, language)


def _left(until: float) -> float:
    return max(1.0, until - trio.current_time())


class Categories:
    """Which templates are marketing, as the account's list says; asked for by name, and remembered for an hour."""

    def __init__(self, templates: MetaTemplates) -> None:
        self._templates = templates
        self._known: dict[str, tuple[float, dict[str, str | None]]] = {}  # until when; language -> category

    async def is_marketing(self, name: str, language: str) -> bool:
        """False too where the list could not be asked: every template may go the usual way."""
        until, categories = self._known.get(name, (0.0, {}))
        if until <= trio.current_time():
            categories = await self._ask(name)
        return categories.get(language) == _MARKETING

    async def _ask(self, name: str) -> dict[str, str | None]:
        categories: dict[str, str | None] = {}
        kept = 60.0  # what could not be learnt is asked for again soon
        with trio.move_on_after(_PATIENCE):
            try:
                page = await self._templates.find({"name": name}, limit=100, after=None)
            except ProviderError:
                pass  # the send itself will meet whatever is wrong, and say so
            else:
                # Meta's filter finds every name that begins so.
                categories = {
                    each.language: each.category for each in page.items if each.name == name and each.language
                }
                kept = _KEPT
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[name] = trio.current_time() + kept, categories
        return categories
