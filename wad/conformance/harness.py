"""What a provider brings to the suite: its words on the wire. The suite knows none of them.

What has a body here is needed only of a provider that declares something; the suite fails where it is declared and
the harness has no sample of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

import msgspec

from wad.conformance.peer import Received, Script, answering
from wad.errors import Verdict
from wad.models import Content, MessageState, Session, WebhookRequest
from wad.providers.base import ProviderKind
from wad.providers.http import Pools

#: What a signature is made over.
Part: TypeAlias = Literal["body", "url"]


class Refusal(msgspec.Struct, frozen=True):
    """An answer of the provider to a send, and what it means: a verdict, and wad's word for it."""

    script: Script
    verdict: Verdict
    code: str


class Said(msgspec.Struct, frozen=True):
    """A genuine webhook with one message of a customer, and what the customer said, in wad's words."""

    request: WebhookRequest
    content: Content


class Told(msgspec.Struct, frozen=True):
    """A genuine webhook with one status, and what it says of the message."""

    request: WebhookRequest
    state: MessageState


class Harness(ABC):
    """A provider over HTTP. Scripts answer one request each, as the provider would."""

    name: ClassVar[str]
    #: Labelled contents: at least one for every content type and every interactive type that the provider declares.
    contents: Mapping[str, Content]
    #: The credentials without which there is no session; others may be left out.
    required: frozenset[str]
    #: What must not be shown anywhere.
    secrets: tuple[str, ...]
    #: What the signature of a webhook is made over. Empty: a header that is the same for all, which is no signature.
    signs: frozenset[Part] = frozenset({"body"})

    @abstractmethod
    def kind(self, base_url: str, pools: Pools, *, seconds: float) -> ProviderKind:
        """The kind, talking to *base_url*, with so many seconds for an attempt."""

    @abstractmethod
    def session(self) -> Session: ...

    # --- sending ---

    @abstractmethod
    def takes(self, provider_message_id: str) -> Script:
        """The send is accepted under this id."""

    @abstractmethod
    def proves(self) -> Script:
        """The account is fine; whichever of its requests a connect has come to."""

    @abstractmethod
    def refuses_credentials(self) -> Script: ...

    @abstractmethod
    def throttles(self) -> Script: ...

    @abstractmethod
    def rejects(self) -> Script:
        """The message can never go out as it stands."""

    def refusals(self) -> Mapping[str, Refusal]:
        """Labelled: the provider's other answers, as many as there are rows in its table of errors."""
        return {}

    def echoes(self, text: str) -> Script:
        """A refusal that quotes *text*, in the provider's shape."""
        return answering(400, text.encode())

    # --- what is asked for by a capability ---

    def correlates(self, request: Received) -> str | None:
        """The id of wad's own in a send, by which a status can settle it (settlement `callback`)."""
        raise _no_sample(self, "settlement")

    def quoted(self, request: Received) -> str | None:
        """What a send quotes (`reply_context`)."""
        return None

    def marks_read(self) -> Script:
        raise _no_sample(self, "read_receipts")

    def lists_groups(self) -> Script:
        """One group, `g1`."""
        raise _no_sample(self, "groups")

    def stores(self, media_id: str) -> Script:
        raise _no_sample(self, "media_upload")

    def lists_numbers(self) -> Script:
        """One number, `n1`."""
        raise _no_sample(self, "numbers")

    def lists_templates(self) -> Script:
        """One template, `t1`."""
        raise _no_sample(self, "templates")

    def shows_profile(self) -> Script:
        """One that says of itself `Hola`."""
        raise _no_sample(self, "profile")

    def closes_window(self) -> Script:
        """The refusal of a text to somebody who has not written for a day (`reply_window`)."""
        raise _no_sample(self, "reply_window")

    def lists_sent(self, provider_message_id: str) -> Script:
        """The provider's list has a text `Hola` of ours under this id, of a second after noon (settlement `list`)."""
        raise _no_sample(self, "settlement")

    def lists_received(self, provider_message_id: str) -> Script:
        """The provider's list has a customer's text under this id (`inbound_history`)."""
        raise _no_sample(self, "inbound_history")

    # --- webhooks: only of a kind that has any ---

    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> WebhookRequest:
        """A genuine webhook with one text message; *hidden*: from somebody who shows no phone number, if that can be."""
        raise _no_sample(self, "webhooks")

    def status(self, provider_message_id: str, message_id: str) -> WebhookRequest:
        """A genuine webhook that says: delivered. *message_id* is wad's own, where it travels with a send."""
        raise _no_sample(self, "webhooks")

    def said(self) -> Mapping[str, Said]:
        """Labelled: what else customers say, such as media, a place, a tapped button."""
        return {}

    def told(self) -> Mapping[str, Told]:
        """Labelled: what else the provider says of a message."""
        return {}

    def batch(self, provider_message_ids: Sequence[str]) -> WebhookRequest | None:
        """A genuine webhook with a text message under each of the ids; None where each comes by itself."""
        return None


def _no_sample(harness: Harness, what: str) -> AssertionError:
    return AssertionError(f"{harness.name} declares {what!r}, and its harness has no sample of that")
