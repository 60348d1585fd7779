"""Where the suite meets a provider: one session's connection, and what a row can do to it and to the other side."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec
import trio

from wad.errors import ProviderError, StoreUnavailable
from wad.models import (
    Address,
    Content,
    Inbound,
    MessageId,
    MessageState,
    OutboundMessage,
    SessionId,
    StatusUpdate,
    WebhookRequest,
)
from wad.providers.base import Accepted, Connection, Keys, Link, Pairing, Proof, ProviderKind

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
PHONE: Final = Address(phone="+5215512345678")
USER: Final = Address(user_id="MX.13491208655302741918")
GROUP: Final = Address(group_id="Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")
HOLA: Final[Content] = {"type": "text", "text": {"body": "Hola"}}

#: What the other side does next. Over HTTP it takes an `Exchange` and answers one request; elsewhere it takes the world,
#: arranges what is to happen, and returns the id of what it said, where it said something.
Script: TypeAlias = Callable[[Any], Awaitable[Any]]
#: How something comes in: a genuine webhook, or what somebody does on the other side.
Cause: TypeAlias = WebhookRequest | Script

#: Seconds for what another process has to do.
_PATIENCE: Final = 20.0


class Heard(Link):
    """A link that remembers all that it is told, and has what a session has: keys, and what was sent and came in."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.pairings: list[Pairing] = []
        self.proofs: list[Proof] = []
        self.losses: list[ProviderError] = []
        self.events: list[Inbound] = []
        self.messages: dict[str, OutboundMessage] = {}  # those that were sent, by the provider's id
        self.store_fails = 0  # how many more times `received` fails
        self._keys = HeldKeys()
        self._told = trio.Event()

    def forget(self) -> None:
        """Remember nothing of what was told; the keys stay."""
        for told in (self.calls, self.pairings, self.proofs, self.losses, self.events):
            told.clear()
        self.store_fails = 0

    @property
    def told(self) -> list[object]:
        """All that it heard but the calls that were made."""
        return [*self.pairings, *self.proofs, *self.losses, *self.events]

    async def until(self, look: Callable[[], object]) -> None:
        """Wait until *look* finds something in what was told."""
        with trio.move_on_after(_PATIENCE):
            while not look():
                await self._told.wait()
            return
        raise AssertionError(f"it was not told in time; what was: {self.told}")

    def _hear(self) -> None:
        self._told.set()
        self._told = trio.Event()

    def called(self, operation: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((operation, result))

    @property
    def keys(self) -> HeldKeys:
        return self._keys

    def pairing(self, pairing: Pairing) -> None:
        self.pairings.append(pairing)
        self._hear()

    def proven(self, proof: Proof) -> None:
        self.proofs.append(proof)
        self._hear()

    def lost(self, error: ProviderError) -> None:
        self.losses.append(error)
        self._hear()

    def alive(self) -> None:
        """Nothing that a row waits for."""

    async def received(self, events: Sequence[Inbound]) -> None:
        await trio.lowlevel.checkpoint()
        if self.store_fails:
            self.store_fails -= 1
            raise StoreUnavailable("the suite says so")
        self.events += events
        self._hear()

    async def sent(self, provider_message_id: str) -> OutboundMessage | None:
        await trio.lowlevel.checkpoint()
        return self.messages.get(provider_message_id)

    async def received_content(self, provider_message_id: str) -> Content | None:
        await trio.lowlevel.checkpoint()
        named = (getattr(event, "provider_message_id", None) for event in self.events)
        found = (event for name, event in zip(named, self.events, strict=True) if name == provider_message_id)
        return getattr(next(found, None), "content", None)


class HeldKeys(Keys):
    """A session's keys, in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    async def get(self, kind: str, names: Sequence[str]) -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        return {name: self.held[kind, name] for name in names if (kind, name) in self.held}

    async def set(self, values: Mapping[str, Mapping[str, str | None]]) -> None:
        await trio.lowlevel.checkpoint()
        for kind, named in values.items():
            for name, value in named.items():
                if value is None:
                    self.held.pop((kind, name), None)
                else:
                    self.held[kind, name] = value

    async def clear(self) -> None:
        await trio.lowlevel.checkpoint()
        self.held.clear()


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


class World(ABC):
    """A session that can send, and the other side of it, for one row."""

    kind: ProviderKind
    connection: Connection
    heard: Heard
    #: Somebody who has WhatsApp, and a group that the session is in.
    person: Address = PHONE
    group: Address = GROUP

    @property
    @abstractmethod
    def secrets(self) -> Sequence[str]:
        """What must not be shown anywhere."""

    def message(self, content: Content = HOLA, to: Address | None = None, **more: Any) -> OutboundMessage:
        """One that was never sent before."""
        named = {"message_id": MessageId(f"msg_{uuid.uuid4().hex}"), "provider": self.kind.name}
        return message(content, to or self.person, **(named | more))

    def new_id(self) -> str:
        """An id, of the provider's, for something that comes in."""
        return f"3A{uuid.uuid4().hex[:18].upper()}"

    @abstractmethod
    async def plan(self, *scripts: Script) -> None:
        """Have the other side do this next, one after another."""

    @abstractmethod
    async def deliver(self, message: OutboundMessage) -> Accepted:
        """Send *message*, which the other side takes; it has it under the id that comes back."""

    @abstractmethod
    async def taken(self) -> list[Any]:
        """The sends that have reached the other side, each as that has it."""

    @abstractmethod
    async def hear(self, cause: Cause, state: MessageState | None = None) -> Inbound:
        """The event that *cause* brings in; of a message of ours, the one that says *state*."""

    @abstractmethod
    async def contacts(self) -> int:
        """How often the other side has been connected to."""

    async def ready(self, content: Content) -> Content:
        """*content* of the harness as it can be sent: files that it names are there."""
        return content

    async def noticed(self, provider_message_id: str, mark: Literal["read", "typing"]) -> None:
        """Wait until the other side shows that a message was read, or that an answer is being written."""
        await trio.lowlevel.checkpoint()

    async def shown(self, accepted: Accepted) -> int:
        """How often the recipient sees a message of ours (settlement `resend`)."""
        raise AssertionError(f"{self.kind.name} takes a message once, says its `settlement`: who counts it?")


async def until(look: Callable[[], Awaitable[object]]) -> None:
    """Wait until *look*, at another process, finds something."""
    with trio.fail_after(_PATIENCE):
        while not await look():  # noqa: ASYNC110  no event of ours tells of it
            await trio.sleep(0.01)


def says(event: Inbound, state: MessageState | None) -> bool:
    """Whether *event* is a status with *state*; for None, whether it is no status."""
    return event.state is state if isinstance(event, StatusUpdate) else state is None


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
