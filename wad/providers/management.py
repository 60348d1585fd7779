"""What a business does with its account besides sending: its numbers, its templates, and how a number presents itself.

A connection has these as far as its kind declares them (`Capabilities.numbers`, `templates`, `profile`). Each call is
one request to the provider, or a few that may be repeated; each ends as a connection's calls do. A number goes by the
provider's id or in E.164; one that is not the session's is REJECTED with the code `no_such_number`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class Trouble(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the provider holds against a number, and what it says will help."""

    detail: str
    solution: str | None = None
    provider_code: str | None = None
    about: str | None = None  # what it lies with: the number, the account, the app


class NumberView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A number as its provider knows it, in the provider's words."""

    id: str
    usable: bool  # whether wad sends from it
    phone_number: str | None = None  # E.164
    verified_name: str | None = None
    quality_rating: str | None = None
    status: str | None = None
    name_status: str | None = None
    code_verification_status: str | None = None
    platform_type: str | None = None
    account_mode: str | None = None
    official_business_account: bool | None = None
    on_business_app: bool | None = None  # used with the WhatsApp Business app as well
    throughput: str | None = None
    rate: float | None = None  # messages a second that the provider takes of it
    messaging_limit: str | None = None
    can_send_message: str | None = None
    troubles: tuple[Trouble, ...] = ()
    webhooks: dict[str, str] = {}  # where its messages are told: of the number, the account, the app


class Subscription(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An app that hears of the account, and where, if not at the address in its own settings."""

    app_id: str
    name: str | None = None
    url: str | None = None


class TemplateView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    id: str
    name: str | None = None
    language: str | None = None
    category: str | None = None
    status: str | None = None
    parameter_format: str | None = None
    quality: str | None = None
    rejected_reason: str | None = None
    components: list[dict[str, Any]] = []


class TemplatePage(msgspec.Struct, frozen=True):
    items: list[TemplateView]
    next: str | None  # the provider's cursor


class ProfileView(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a number presents itself to customers."""

    about: str | None = None
    address: str | None = None
    description: str | None = None
    email: str | None = None
    vertical: str | None = None
    websites: list[str] = []
    profile_picture_url: str | None = None


class Numbers(Protocol):
    """An account's numbers: found, added, made fit to send; and where what happens to them is told."""

    async def all(self) -> list[NumberView]: ...

    async def get(self, number: str) -> NumberView: ...

    async def add(self, *, country_code: str, phone_number: str, verified_name: str) -> str:
        """Add a number to the account; its id. It has to be verified and registered before it can send."""

    async def request_code(self, number: str, *, method: str, language: str) -> None:
        """Have the code that proves the number sent to it: by `SMS` or `VOICE`."""

    async def verify_code(self, number: str, code: str) -> None: ...

    async def register(self, number: str, pin: str, *, region: str | None) -> None:
        """Make it able to send. *region*: the country in which its data is to lie."""

    async def deregister(self, number: str) -> None: ...

    async def set_pin(self, number: str, pin: str) -> None: ...

    async def set_webhook(self, number: str, url: str | None, *, token: str | None) -> str:
        """Have one number's messages told at *url* (None: at wad's own for the session); the URL that it is now."""

    async def remove_webhook(self, number: str) -> None: ...


class Callback(Protocol):
    """Where the events of a whole account are told."""

    async def subscriptions(self) -> list[Subscription]: ...

    async def set(self, url: str | None, *, token: str | None) -> str:
        """Have them told at *url* (None: at wad's own for the session); the URL that it is now."""

    async def remove(self) -> None:
        """Have them told where the app's own settings say."""


class Templates(Protocol):
    """Bodies are in wad's camelCase, as they came over the API; their shape has been checked."""

    async def find(self, filters: Mapping[str, str], *, limit: int, after: str | None) -> TemplatePage: ...

    async def create(self, body: Mapping[str, Any]) -> TemplateView: ...

    async def edit(self, template_id: str, body: Mapping[str, Any]) -> None: ...

    async def delete(self, name: str, *, template_id: str | None) -> None:
        """One template, or all of that name: its languages."""


class Profile(Protocol):
    async def get(self) -> ProfileView: ...

    async def update(self, body: Mapping[str, Any]) -> None:
        """Change what *body* names, in wad's camelCase."""
