"""Where the suite meets a provider: a scripted peer, the kind, and one session's connection to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from wad.conformance.harness import Harness
from wad.conformance.peer import Peer, serving
from wad.errors import ProviderError
from wad.models import Address, Content, Inbound, MessageId, OutboundMessage, SessionId
from wad.providers.base import Connection, Keys, Link, Pairing, Proof, ProviderKind, Webhooks
from wad.providers.http import Pools

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
PHONE: Final = Address(phone="+5215512345678")
USER: Final = Address(user_id="MX.13491208655302741918")
GROUP: Final = Address(group_id="Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")
HOLA: Final[Content] = {"type": "text", "text": {"body": "Hola"}}


class Heard(Link):
    """A link that remembers. Over HTTP there is nothing to be told but calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def called(self, operation: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((operation, result))

    @property
    def keys(self) -> Keys:
        raise _unasked("keys")

    def pairing(self, pairing: Pairing) -> None:
        raise _unasked("pairing")

    def proven(self, proof: Proof) -> None:
        raise _unasked("proven")

    def lost(self, error: ProviderError) -> None:
        raise _unasked("lost")

    def alive(self) -> None:
        raise _unasked("alive")

    async def received(self, events: Sequence[Inbound]) -> None:
        raise _unasked("received")

    async def sent(self, provider_message_id: str) -> OutboundMessage | None:
        raise _unasked("sent")

    async def received_content(self, provider_message_id: str) -> Content | None:
        raise _unasked("received_content")


def _unasked(what: str) -> AssertionError:
    return AssertionError(f"a provider over HTTP has no use for the link's {what!r}")


def message(content: Content = HOLA, to: Address = PHONE, **more: Any) -> OutboundMessage:
    return OutboundMessage(
        **{
            "message_id": MessageId("msg_0123456789abcdef"),
            "session_id": SessionId("tienda-1"),
            "provider": "any",
            "seq": 1,
            "created_at": NOW,
            "updated_at": NOW,
            "expires_at": NOW + timedelta(days=1),
            **more,
        },
        to=to,
        content=content,
    )


@dataclass(frozen=True)
class World:
    harness: Harness
    peer: Peer
    kind: ProviderKind
    connection: Connection
    heard: Heard

    def message(self, content: Content = HOLA, to: Address = PHONE, **more: Any) -> OutboundMessage:
        return message(content, to, provider=self.harness.name, **more)


@asynccontextmanager
async def world(
    harness: Harness, *, base_url: str | None = None, seconds: float = 5.0
) -> AsyncIterator[World]:
    heard = Heard()
    async with serving() as peer, Pools() as pools:
        kind = harness.kind(base_url or peer.url, pools, seconds=seconds)
        async with kind.open(harness.session(), heard) as connection:
            yield World(harness, peer, kind, connection, heard)


@asynccontextmanager
async def kind_of(harness: Harness) -> AsyncIterator[ProviderKind]:
    """The kind alone: whoever touches the network fails."""
    async with Pools() as pools:
        yield harness.kind("http://127.0.0.1:1", pools, seconds=1.0)


@dataclass(frozen=True)
class Hooks:
    """A kind's webhooks, and the secret of the harness's session."""

    kind: ProviderKind
    webhooks: Webhooks
    secret: str


@asynccontextmanager
async def hooks_of(harness: Harness) -> AsyncIterator[Hooks | None]:
    """None for a kind that has no webhooks."""
    async with kind_of(harness) as kind:
        secret = kind.webhook_secret(harness.session())
        if kind.webhooks is None:
            yield None
        else:
            assert secret, "a session whose webhooks nobody can verify must not be let to connect"
            yield Hooks(kind, kind.webhooks, secret)


def fields_of(struct: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(struct)]


def camel(field: str) -> str:
    """*field* as the API has it."""
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


def decoded(body: bytes) -> Any:
    """*body* as JSON; None where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None
