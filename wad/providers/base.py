"""The contract of a provider: what wad asks of it, and what it may tell.

A provider module holds constants, parsing, `send` and a table of errors. It knows nothing of storage,
retries, mailboxes or HTTP serving. It comes in two parts:

- a `ProviderKind`, one a process: what the provider is, checks that touch no network, webhooks;
- a `Connection`, one a living session: it talks to WhatsApp. Only the session's actor holds it.

Every call of a connection ends: with a value, or with a `ProviderError` whose verdict says what the failure
means. Each has a timeout of its own. Anything else that it raises is a bug, and crashes the actor.

A provider over HTTP needs no more of its `Link` than `called`: its connection is proven whenever it is asked.
One that keeps a socket tells what happens to it: `pairing`, `proven`, `alive`, `lost`, and `received`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
import trio
from msgspec import Meta

from wad.errors import FieldError, NotSupported, ProviderError, Scope
from wad.models import Address, Content, Inbound, Number, OutboundMessage, Session, SessionId, WebhookRequest
from wad.providers.management import Callback, Numbers, Profile, Templates


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    """What a provider can do. Declared once; served, checked, tested and documented from here."""

    content_types: Annotated[frozenset[str], Meta(description="the types of messages it sends")]
    interactive_types: Annotated[
        frozenset[str], Meta(description="the types of `interactive` messages it sends")
    ] = frozenset()
    groups: Annotated[bool, Meta(description="sends to groups, and lists them")] = False
    reply_context: Annotated[bool, Meta(description="quotes a message (`replyTo`)")] = False
    read_receipts: Annotated[bool, Meta(description="marks an inbound message read")] = False
    typing: Annotated[bool, Meta(description="shows that an answer is being written")] = False
    media_upload: Annotated[bool, Meta(description="takes files that are uploaded to it")] = False
    user_ids: Annotated[bool, Meta(description="addresses people by business-scoped user id")] = False
    pairing: Annotated[bool, Meta(description="is paired with a phone, by QR or code")] = False
    numbers: Annotated[
        bool, Meta(description="a session has several numbers, which are managed over the API")
    ] = False
    templates: Annotated[bool, Meta(description="message templates are managed over the API")] = False
    profile: Annotated[bool, Meta(description="how a number presents itself is managed over the API")] = False
    reply_window: Annotated[
        bool, Meta(description="free-form content only within 24 h of what the customer last wrote")
    ] = False
    inbound_history: Annotated[
        bool, Meta(description="what came in while nobody listened can be read afterwards")
    ] = False
    settlement: Annotated[
        str, Meta(description="how an `unknown` is settled: `callback`, `list` (after callback) or `resend`")
    ] = "callback"

    def lacks(self, to: Address, content: Content, *, quotes: bool = False) -> str | None:
        """The capability that sending *content* to *to* needs and that is not here, by its name in the API."""
        kind = str(content["type"])
        part = content.get(kind)
        if kind not in self.content_types:
            return kind
        if kind == "interactive":
            name = part.get("type") if isinstance(part, dict) else None
            if name not in self.interactive_types:
                return f"interactive.{name}"
        if to.group_id is not None and not self.groups:
            return "groups"
        if to.user_id is not None and not (to.phone or self.user_ids):
            return "userIds"
        if quotes and not self.reply_context:
            return "replyContext"
        return None


class Proof(msgspec.Struct, frozen=True):
    """That the account answered: what `connected` rests on."""

    phone_number: str | None
    data: dict[str, Any]  # display name, quality, throughput...: shown as connectionData
    #: Messages a second that the provider takes, by the number's id ("": the account is one); of those that it tells of.
    rates: Mapping[str, float] = {}


class Pairing(msgspec.Struct, frozen=True):
    """A session waits for a phone: to scan `qr`, or (None) to be given the code that `pairing_code` made."""

    qr: str | None
    expires_at: datetime | None  # of this QR; the next one is told when it comes

    def __repr__(self) -> str:
        return f"Pairing(qr={'***' if self.qr else None}, expires_at={self.expires_at})"


class Accepted(msgspec.Struct, frozen=True):
    """The provider took the message."""

    provider_message_id: str
    note: str | None = None  # such as `held_for_quality_assessment`


class GroupMember(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    id: str  # what the provider calls the person: a JID, a user id or a number
    phone: str | None = None
    admin: bool = False


class Group(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    group_id: str
    subject: str | None = None
    description: str | None = None
    created_at: str | None = None
    participants: int | None = None
    members: tuple[GroupMember, ...] | None = None  # None: not told


class MediaContent(msgspec.Struct, frozen=True):
    """A file on its way from a provider: `chunks` is read once, inside the block that opened it."""

    mime_type: str
    size: int | None
    sha256: str | None
    chunks: AsyncIterator[bytes]


class Keys(Protocol):
    """A session's own keys, sealed in the store: kind -> name -> text. They go when the session does."""

    async def get(self, kind: str, names: Sequence[str]) -> dict[str, str]:
        """Those of *names* that there are."""

    async def set(self, values: Mapping[str, Mapping[str, str | None]]) -> None:
        """Write {kind: {name: value}}; None removes. Later calls win over earlier ones, and on return it is on disk.

        One transaction where the store has them (`wad.store.keys`).
        """

    async def clear(self) -> None:
        """Remove every one of them: the session is to be paired anew."""


class Link(Protocol):
    """How a connection tells its actor what it sees, besides by its answers.

    None of this may be called once the block of `ProviderKind.open` has been left.
    """

    @property
    def keys(self) -> Keys: ...

    def called(self, operation: str, result: str, seconds: float) -> None:
        """One request to the provider is over."""

    def pairing(self, pairing: Pairing) -> None:
        """The session waits for a phone; once more for each new QR. State `pairing`."""

    def proven(self, proof: Proof) -> None:
        """The account answered without being asked: a phone has paired it. State `connected`."""

    def lost(self, error: ProviderError) -> None:
        """It was connected, or was pairing, and is no more.

        An error that needs a person stops the session; after any other it is connected again, after a pause.
        Not for a failure of `connect`, nor after `disconnect` or `logout`: whoever called those knows.
        """

    def alive(self) -> None:
        """Something was heard of the account. `connected` stays proven by it; twice in `proof_ttl` is enough."""

    async def received(self, events: Sequence[Inbound]) -> None:
        """Store *events*. On return they are on disk, and the provider may be told so.

        Raises StoreUnavailable: nothing is promised then, and they are to be told again.
        """

    async def sent(self, provider_message_id: str) -> OutboundMessage | None:
        """The message that was sent under that id, for a recipient who could not read it. Known from `accepted` on."""

    async def received_content(self, provider_message_id: str) -> Content | None:
        """What came in under that id, for a message that quotes it."""


class Connection(Protocol):
    """A living session's line to its provider. What a kind has no capability for is never asked of it."""

    async def connect(self) -> Proof | None:
        """Prove that the account can be used. Touches the network. What is connected already is proven again.

        None: a person has to pair it first. The link has been told (`pairing`), and hears what follows. May be
        cancelled, and called again.
        """

    async def send(self, message: OutboundMessage) -> Accepted:
        """Hand *message* over, once. Media ids in its content are the provider's own."""

    async def disconnect(self) -> None:
        """Let go of the socket, if there is one, and keep the pairing; `connect` may follow. Never fails."""
        await trio.lowlevel.checkpoint()

    # --- what a kind has a capability for ---

    def of(self, number: str | None) -> Connection:
        """What the session's number of that id (None: the one that stands for all) is reached by."""
        return self

    @property
    def numbers(self) -> Numbers:
        raise _lacking("numbers")

    @property
    def callback(self) -> Callback:
        raise _lacking("numbers")

    @property
    def templates(self) -> Templates:
        raise _lacking("templates")

    @property
    def profile(self) -> Profile:
        raise _lacking("profile")

    async def logout(self) -> None:
        """Unpair: the other side forgets this device. Whoever asked removes the keys."""
        raise _lacking("pairing")

    async def pairing_code(self, phone_number: str) -> str:
        """The code to type into the phone with *phone_number* (E.164), while the session is pairing."""
        raise _lacking("pairing")

    async def find(self, message: OutboundMessage, since: datetime) -> list[Accepted]:
        """Those that the provider took since *since*, when an attempt to send *message* began, and that may be it.

        For settlement `list`. Each is like *message* in everything that the provider shows: whether it is *message*,
        and not another one of ours that looks the same, the outbox knows.
        """
        raise _lacking("settlement")

    def missed(self, since: datetime) -> AsyncGenerator[Sequence[Inbound], None]:
        """What came in since *since*, the oldest first, in parts. What wad has of it already is told all the same."""
        raise _lacking("inboundHistory")

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        raise _lacking("readReceipts")

    async def groups(self) -> list[Group]:
        raise _lacking("groups")

    async def group(self, group_id: str) -> Group:
        """One group, with its members. REJECTED with code `group_unknown` where it is in no such group."""
        raise _lacking("groups")

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        """Store a file with the provider; its media id comes back."""
        raise _lacking("mediaUpload")

    def download(self, provider_media_id: str) -> AbstractAsyncContextManager[MediaContent]:
        raise _lacking("media")


def _lacking(capability: str) -> AssertionError:
    """A bug: the caller asks the kind's capabilities first."""
    return AssertionError(f"the connection was asked for {capability!r}, which its kind does not declare")


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

    #: What a stored request is answered with, where the provider reads it: a media type and a body.
    receipt: tuple[str, bytes] | None = None

    def verify(self, request: WebhookRequest, *, secret: str) -> bool:
        """Whether *request* was signed with *secret*. Over the raw bytes, in constant time, never raising."""

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        """Every message, status and change of *request*. Unknown ones become `AccountEvent`s.

        Raises InvalidRequest where the bytes are not what the provider sends at all (not JSON, no entries).
        """


class ProviderKind(Protocol):
    name: str
    capabilities: Capabilities
    webhooks: Webhooks | None = None

    def running(self) -> AbstractAsyncContextManager[None]:
        """What all its connections share, such as child processes: once a process, around all sessions' lives."""
        return nullcontext()

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        """What is missing, unknown or malformed; pointers start at `/credentials`."""

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        """What the provider's own limits forbid; pointers start at the body's root (`/text/body`).

        Callers go through `check_send` of this module: what `capabilities` rules out does not come here. Raises
        NotSupported for what they have no field for, such as one type that cannot go to groups.
        """

    def number_for(self, session: Session, asked: str | None, wrote_to: Number | None) -> Number | None:
        """Which of the session's numbers (capability `numbers`) a message is to leave from. Touches no network.

        *asked*: an id or a number in E.164; *wrote_to*: the one that the recipient last wrote to. None where it is
        not known yet: the connection chooses then. Raises InvalidRequest for one that is not the session's.
        """
        raise _lacking("numbers")

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        """What its webhooks name a session by (Meta: the phone number id); None where their path does."""
        return None

    def shared(self, session: Session) -> Mapping[Scope, str]:
        """By what name *session* shares its rate limits of each scope with others; without one it waits alone.

        Only `ACCOUNT` and `APP` are asked for. Names are seen by nobody, and have to tell accounts of all kinds apart.
        """
        return {}

    def webhook_secret(self, session: Session | None) -> str | None:
        """The secret that signs the session's webhooks: its own, else (and for None) the configured one."""
        return None

    def verify_token(self, session: Session | None) -> str | None:
        """The token of the GET handshake: the session's own, else the configured one."""
        return None

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        """A connection for *session*. Cheap and without network: loading is not connecting."""

    async def forget(self, session_id: SessionId) -> None:
        """The session was unpaired, or is no more: remove what is kept of it outside of the store. Never fails."""


def check_send(
    kind: ProviderKind, to: Address, content: Content, *, quotes: bool = False
) -> list[FieldError]:
    """All that forbids sending *content* to *to* over *kind*, as an answer to some message where it *quotes*.

    Raises NotSupported, with the capability's name, for what *kind* does not declare.
    """
    if (capability := kind.capabilities.lacks(to, content, quotes=quotes)) is not None:
        raise NotSupported(kind.name, capability)
    return kind.check_send(to, content)
