"""A provider over HTTP: it is told what to say by a scripted server, and hears by webhooks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Literal, TypeAlias

import trio

from wad.conformance import peer as wire
from wad.conformance.harness import Doubt, Harness
from wad.conformance.peer import Exchange, Peer, Received, answering, serving
from wad.conformance.world import Cause, Heard, Script, World
from wad.models import Inbound, MessageState, OutboundMessage, WebhookRequest
from wad.providers.base import Accepted, Connection, ProviderKind, Webhooks
from wad.providers.http import Pools

#: What a signature is made over.
Part: TypeAlias = Literal["body", "url"]

DOUBTS: Final[dict[str, Doubt]] = {
    "cuts its body": Doubt(wire.cut),
    "hangs": Doubt(wire.hang, seconds=0.3),
    "hangs up": Doubt(wire.hang_up),
    "resets": Doubt(wire.reset),
    "cuts its head": Doubt(wire.cut_in_the_head),
    "does not speak HTTP": Doubt(wire.not_http),
    "breaks": Doubt(answering(500)),
    "is behind a broken gateway": Doubt(answering(502, b"<html>Bad Gateway</html>")),
    "answers with a page": Doubt(answering(200, b"<html>Sign in to the hotel's network</html>")),
    "answers with nothing": Doubt(answering(200)),
    "answers with something else": Doubt(answering(200, {"ok": True})),
    "answers too deep": Doubt(answering(200, b"[" * 100_000)),
}


async def _stalls_in_its_answer(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
    await trio.sleep_forever()


class HttpHarness(Harness):
    """Scripts answer one request each, as the provider would."""

    #: What must not be shown anywhere.
    secrets: tuple[str, ...]
    #: What the signature of a webhook is made over. Empty: a header that is the same for all, which is no signature.
    signs: frozenset[Part] = frozenset({"body"})

    @abstractmethod
    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        """The kind, talking to *base_url*, with so many seconds for an attempt."""

    @abstractmethod
    def takes(self, provider_message_id: str) -> Script:
        """The send is accepted under this id."""

    @abstractmethod
    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest: ...

    @abstractmethod
    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest: ...

    def batch(self, provider_message_ids: Sequence[str]) -> WebhookRequest | None:
        """A genuine webhook with a text message under each of the ids; None where each comes by itself."""
        return None

    def echoes(self, text: str) -> Script:
        """A refusal that quotes *text*, in the provider's shape."""
        return answering(400, text.encode())

    # --- what the suite can say by itself ---

    @asynccontextmanager
    async def world(self, *, seconds: float = 5.0, base_url: str | None = None) -> AsyncIterator[HttpWorld]:
        heard = Heard()
        async with serving() as peer, Pools() as pools:
            peer.otherwise = self.proves()
            kind = self.kind(base_url or peer.url, pools, seconds=seconds)
            async with kind.open(self.session(), heard) as connection:
                yield HttpWorld(self, peer, kind, connection, heard)
        assert heard.told == [], "a provider over HTTP tells its link of nothing but calls"

    def has_a_bad_day(self) -> Script:
        return answering(503)

    def doubts(self) -> Mapping[str, Doubt]:
        return DOUBTS

    def stalls(self) -> Mapping[str, Script]:
        return {"before the answer": wire.hang, "in the middle of the answer": _stalls_in_its_answer}

    def exposes(self) -> Mapping[str, Script]:
        """Answers that quote us."""
        secrets = " ".join(self.secrets)
        return {
            "a refusal": self.echoes(secrets),
            "a breakdown": answering(500, secrets.encode()),
            "a success of some other kind": answering(200, secrets.encode()),
            "a header": answering(503, b"", x_seen=self.secrets[0]),
        }


class HttpWorld(World):
    """A scripted server, and a session that takes it for the provider. Nothing is sent before a row says so."""

    def __init__(
        self, harness: HttpHarness, peer: Peer, kind: ProviderKind, connection: Connection, heard: Heard
    ) -> None:
        self._harness = harness
        self._numbers = count(1)
        self.peer = peer
        self.kind = kind
        self.connection = connection
        self.heard = heard

    @property
    def secrets(self) -> Sequence[str]:
        return self._harness.secrets

    async def plan(self, *scripts: Script) -> None:
        await trio.lowlevel.checkpoint()
        self.peer.scripts += scripts

    async def deliver(self, message: OutboundMessage) -> Accepted:
        provider_message_id = f"id-{next(self._numbers)}"
        await self.plan(self._harness.takes(provider_message_id))
        accepted = await self.connection.send(message)
        assert accepted.provider_message_id == provider_message_id
        return accepted

    async def taken(self) -> list[Received]:
        await trio.lowlevel.checkpoint()
        return self.peer.received

    async def hear(self, cause: Cause, state: MessageState | None = None) -> Inbound:
        assert isinstance(cause, WebhookRequest)
        assert self.kind.webhooks is not None
        secret = self.kind.webhook_secret(self._harness.session())
        assert self.kind.webhooks.verify(cause, secret=secret or "")
        (event,) = self.kind.webhooks.parse(cause)
        await trio.lowlevel.checkpoint()
        return event.event

    async def contacts(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.peer.connections


@dataclass(frozen=True)
class Hooks:
    """A kind's webhooks, and the secret of the harness's session."""

    kind: ProviderKind
    webhooks: Webhooks
    secret: str


@asynccontextmanager
async def hooks_of(harness: HttpHarness) -> AsyncIterator[Hooks]:
    """Of the kind alone: whoever touches the network fails."""
    async with Pools() as pools:
        kind = harness.kind("http://127.0.0.1:1", pools, seconds=1.0)
        secret = kind.webhook_secret(harness.session())
        assert kind.webhooks is not None, "a provider over HTTP is heard by its webhooks"
        assert secret, "a session whose webhooks nobody can verify must not be let to connect"
        yield Hooks(kind, kind.webhooks, secret)


def requests_of(causes: Mapping[str, Any]) -> list[WebhookRequest]:
    """The webhooks of a table of `Said` or of `Told`."""
    return [each.by for each in causes.values() if isinstance(each.by, WebhookRequest)]
