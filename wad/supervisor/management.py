"""What a session's account is managed by: its numbers, its callback address, its templates, its profiles.

Each call is one of the connection's, for kinds that declare the capability. What makes a number fit to send, or unfit,
has the session look at its account again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from wad.actors.requests import Connect
from wad.errors import NotFound, NotSupported, ProviderError
from wad.models import DesiredState, SessionId
from wad.providers.base import Connection
from wad.providers.management import (
    NumberView,
    Profile,
    ProfileView,
    Subscription,
    TemplatePage,
    TemplateView,
)
from wad.supervisor.actors import Actors
from wad.supervisor.calls import Calls

R = TypeVar("R")


class Management:
    """All methods raise NotSupported, NotFound (no such session, or number), ProviderError or ActorDown."""

    def __init__(self, actors: Actors, calls: Calls) -> None:
        self._actors = actors
        self._calls = calls

    # --- numbers ------------------------------------------------------------------------------------

    async def numbers(self, session_id: SessionId) -> list[NumberView]:
        return await self._numbers(session_id, lambda line: line.numbers.all())

    async def number(self, session_id: SessionId, number: str) -> NumberView:
        return await self._numbers(session_id, lambda line: line.numbers.get(number))

    async def add_number(
        self, session_id: SessionId, *, country_code: str, phone_number: str, verified_name: str
    ) -> str:
        return await self._numbers(
            session_id,
            lambda line: line.numbers.add(
                country_code=country_code, phone_number=phone_number, verified_name=verified_name
            ),
        )

    async def request_code(self, session_id: SessionId, number: str, *, method: str, language: str) -> None:
        await self._numbers(
            session_id, lambda line: line.numbers.request_code(number, method=method, language=language)
        )

    async def verify_code(self, session_id: SessionId, number: str, code: str) -> None:
        await self._numbers(session_id, lambda line: line.numbers.verify_code(number, code))

    async def register(self, session_id: SessionId, number: str, pin: str, *, region: str | None) -> None:
        await self._numbers(session_id, lambda line: line.numbers.register(number, pin, region=region))
        self._look_again(session_id)

    async def deregister(self, session_id: SessionId, number: str) -> None:
        await self._numbers(session_id, lambda line: line.numbers.deregister(number))
        self._look_again(session_id)

    async def set_pin(self, session_id: SessionId, number: str, pin: str) -> None:
        await self._numbers(session_id, lambda line: line.numbers.set_pin(number, pin))

    async def set_number_webhook(
        self, session_id: SessionId, number: str, url: str | None, *, token: str | None
    ) -> str:
        return await self._numbers(
            session_id, lambda line: line.numbers.set_webhook(number, url, token=token)
        )

    async def remove_number_webhook(self, session_id: SessionId, number: str) -> None:
        await self._numbers(session_id, lambda line: line.numbers.remove_webhook(number))

    # --- the account's callback ---------------------------------------------------------------------

    async def subscriptions(self, session_id: SessionId) -> list[Subscription]:
        return await self._numbers(session_id, lambda line: line.callback.subscriptions())

    async def set_webhook(self, session_id: SessionId, url: str | None, *, token: str | None) -> str:
        return await self._numbers(session_id, lambda line: line.callback.set(url, token=token))

    async def remove_webhook(self, session_id: SessionId) -> None:
        await self._numbers(session_id, lambda line: line.callback.remove())

    # --- templates ----------------------------------------------------------------------------------

    async def templates(
        self, session_id: SessionId, filters: Mapping[str, str], *, limit: int, after: str | None
    ) -> TemplatePage:
        return await self._ask(
            session_id, "templates", lambda line: line.templates.find(filters, limit=limit, after=after)
        )

    async def create_template(self, session_id: SessionId, body: Mapping[str, Any]) -> TemplateView:
        return await self._ask(session_id, "templates", lambda line: line.templates.create(body))

    async def edit_template(self, session_id: SessionId, template_id: str, body: Mapping[str, Any]) -> None:
        await self._ask(session_id, "templates", lambda line: line.templates.edit(template_id, body))

    async def delete_template(self, session_id: SessionId, name: str, *, template_id: str | None) -> None:
        await self._ask(
            session_id, "templates", lambda line: line.templates.delete(name, template_id=template_id)
        )

    # --- profiles -----------------------------------------------------------------------------------

    async def profile(self, session_id: SessionId, number: str | None) -> ProfileView:
        self._check_named(session_id, number)
        return await self._ask(session_id, "profile", lambda line: _get(line, number))

    async def update_profile(
        self, session_id: SessionId, number: str | None, body: Mapping[str, Any]
    ) -> ProfileView:
        """The profile as it is then."""

        async def update(line: Connection) -> ProfileView:
            profile = await _profile(line, number)
            await profile.update(body)
            return await profile.get()

        self._check_named(session_id, number)
        return await self._ask(session_id, "profile", update)

    # --- inside -------------------------------------------------------------------------------------

    async def _numbers(self, session_id: SessionId, work: Callable[[Connection], Awaitable[R]]) -> R:
        return await self._ask(session_id, "numbers", work)

    async def _ask(
        self, session_id: SessionId, capability: str, work: Callable[[Connection], Awaitable[R]]
    ) -> R:
        try:
            return await self._calls.use(session_id, capability, work)
        except ProviderError as error:
            if error.code == "no_such_number":
                raise NotFound(error.detail) from error
            raise

    def _check_named(self, session_id: SessionId, number: str | None) -> None:
        """A session that is one number has no others to name."""
        actor = self._actors.get(session_id)
        if number is not None and not actor.kind.capabilities.numbers:
            raise NotSupported(actor.session.provider, "numbers")

    def _look_again(self, session_id: SessionId) -> None:
        actor = self._actors.get(session_id)
        if actor.session.desired_state is DesiredState.CONNECTED:
            self._actors.ask_soon(actor, Connect())


async def _get(line: Connection, number: str | None) -> ProfileView:
    return await (await _profile(line, number)).get()


async def _profile(line: Connection, number: str | None) -> Profile:
    """The profile of *number*, or of the one that stands for all."""
    if number is None:
        return line.profile
    return line.of((await line.numbers.get(number)).id).profile
