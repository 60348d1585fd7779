"""What a session's connection tells, and may ask for: the `wad.providers.base.Link` of one actor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wad.actors.keys import SessionKeys
from wad.actors.services import Services
from wad.errors import ProviderError
from wad.events import ProviderCalled
from wad.models import Content, Inbound, InboundMessage, OutboundMessage
from wad.providers.base import Pairing, Proof

if TYPE_CHECKING:
    from wad.actors.session import SessionActor


class SessionLink:
    """Of one life."""

    __slots__ = ("_actor", "_services")

    def __init__(self, actor: SessionActor, services: Services) -> None:
        self._actor = actor
        self._services = services

    @property
    def keys(self) -> SessionKeys:
        return self._actor.keys

    def called(self, operation: str, result: str, seconds: float) -> None:
        provider = self._actor.session.provider
        self._services.events.publish(ProviderCalled(provider, operation, result, seconds))

    def alive(self) -> None:
        self._actor.connecting.alive()

    def proven(self, proof: Proof) -> None:
        self._actor.connecting.proven(proof)

    def pairing(self, pairing: Pairing) -> None:
        self._actor.connecting.pairing(pairing)

    def lost(self, error: ProviderError) -> None:
        self._actor.connecting.lost(error)

    async def received(self, events: Sequence[Inbound]) -> None:
        await self._actor.received(events)

    async def sent(self, provider_message_id: str) -> OutboundMessage | None:
        session_id = self._actor.session.session_id
        found = await self._services.patient.messages_by_provider_id(session_id, [provider_message_id])
        return found.get(provider_message_id)

    async def received_content(self, provider_message_id: str) -> Content | None:
        session_id = self._actor.session.session_id
        item = await self._services.patient.inbox_by_dedupe(session_id, f"m:{provider_message_id}")
        return item.event.content if item is not None and isinstance(item.event, InboundMessage) else None
