"""The contract of a provider: what wad asks of it, and what it may tell.

A provider module holds constants, parsing, `send` and a table of errors. It knows nothing of storage,
retries, mailboxes or HTTP serving. It comes in two parts:

- a `ProviderKind`, one a process: what the provider is, checks that touch no network, webhooks;
- a `Connection`, one a living session: it talks to WhatsApp. Only the session's actor holds it.

Every call of a connection ends: with a value, or with a `ProviderError` whose verdict says what the failure
means. Each has a timeout of its own. Anything else that it raises is a bug, and crashes the actor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from wad.errors import FieldError
from wad.models import Address, Content, Inbound, OutboundMessage, Session


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    """What a provider can do. Declared once; served, checked and tested from here."""

    content_types: frozenset[str]
    interactive_types: frozenset[str] = frozenset()
    groups: bool = False  # send to groups and list them
    reply_context: bool = False  # quote a message
    read_receipts: bool = False  # mark an inbound message read
    typing: bool = False
    media_upload: bool = False
    user_ids: bool = False  # address people by business-scoped user id
    pairing: bool = False  # QR or code
    settlement: str = "callback"  # how an `unknown` is settled: callback, list or resend


class Proof(msgspec.Struct, frozen=True):
    """That the account answered: what `connected` rests on."""

    phone_number: str | None
    data: dict[str, Any]  # display name, quality, throughput...: shown as connectionData


class Accepted(msgspec.Struct, frozen=True):
    """The provider took the message."""

    provider_message_id: str
    note: str | None = None  # such as `held_for_quality_assessment`


class Group(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    group_id: str
    subject: str | None = None
    description: str | None = None
    created_at: str | None = None
    participants: int | None = None


class MediaContent(msgspec.Struct, frozen=True):
    """A file on its way from a provider: `chunks` is read once, inside the block that opened it."""

    mime_type: str
    size: int | None
    sha256: str | None
    chunks: AsyncIterator[bytes]


class Link(Protocol):
    """How a connection tells its actor what it sees, besides by its answers."""

    def called(self, operation: str, result: str, seconds: float) -> None:
        """One request to the provider is over."""

    async def received(self, events: Sequence[Inbound]) -> None:
        """Store *events*. On return they are on disk, and the provider may be told so."""


class Connection(Protocol):
    async def connect(self) -> Proof:
        """Prove that the account can be used. Touches the network."""

    async def send(self, message: OutboundMessage) -> Accepted:
        """Hand *message* over, once. Media ids in its content are the provider's own."""

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None: ...

    async def groups(self) -> list[Group]: ...

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        """Store a file with the provider; its media id comes back."""

    def download(self, provider_media_id: str) -> AbstractAsyncContextManager[MediaContent]: ...


class WebhookEvent(msgspec.Struct, frozen=True):
    """One inbound event, and the account of the provider that it is for (`ProviderKind.account_of`)."""

    account: str | None
    event: Inbound
    #: Where it names no account: the business whose it is (Meta's WABA id; a session's `connectionData.wabaId`), and
    #: the number it speaks of.
    business: str | None = None
    phone_number: str | None = None


class Webhooks(Protocol):
    """Verify, then parse, then hand over: the provider does the first two."""

    def verify(self, headers: Mapping[str, str], body: bytes, *, secret: str) -> bool:
        """Whether *body* was signed with *secret*. Over the raw bytes, in constant time, never raising."""

    def parse(self, body: bytes) -> list[WebhookEvent]:
        """Every message, status and change of *body*. Unknown ones become `AccountEvent`s.

        Raises InvalidRequest where the bytes are not what the provider sends at all (not JSON, no entries).
        """


class ProviderKind(Protocol):
    name: str
    capabilities: Capabilities
    webhooks: Webhooks | None

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        """What is missing, unknown or malformed; pointers start at `/credentials`."""

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        """What the provider's own limits forbid; pointers start at the body's root (`/text/body`).

        Raises NotSupported where the provider lacks the capability altogether.
        """

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        """What its webhooks name a session by (Meta: the phone number id)."""

    def webhook_secret(self, session: Session | None) -> str | None:
        """The secret that signs the session's webhooks: its own, else (and for None) the configured one."""

    def verify_token(self, session: Session | None) -> str | None:
        """The token of the GET handshake: the session's own, else the configured one."""

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        """A connection for *session*. Cheap and without network: loading is not connecting."""
