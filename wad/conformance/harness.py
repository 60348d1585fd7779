"""What a provider brings to the suite, however it is reached: its words, and a world to say them in.

A harness is an `HttpHarness` (http.py) or a `SocketHarness` (socket.py), and what stands here holds for both. What has a
body is needed only of a provider that declares something; the suite fails where it is declared and the harness has no
sample of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import msgspec
import trio

from wad.conformance.world import Cause, Script, World
from wad.errors import Verdict
from wad.models import Address, Content, MessageState, Session


class Refusal(msgspec.Struct, frozen=True):
    """What the other side does, and what it means: a verdict, and wad's word for it."""

    script: Script
    verdict: Verdict
    code: str


class Doubt(msgspec.Struct, frozen=True):
    """What the other side does so that nobody knows whether it has the message. *seconds* for an attempt."""

    script: Script
    seconds: float = 5.0


class Said(msgspec.Struct, frozen=True):
    """How one message of a customer comes in, and what the customer said, in wad's words."""

    by: Cause
    content: Content


class Told(msgspec.Struct, frozen=True):
    """How one status comes in, and what it says of a message of ours."""

    by: Cause
    state: MessageState


class Beyond(msgspec.Struct, frozen=True):
    """A message that is beyond the provider's limits, and the field at which it is."""

    content: Content
    pointer: str
    to: Address | None = None  # None: anybody


class Harness(ABC):
    """A provider's words."""

    name: ClassVar[str]
    #: Labelled contents: at least one for every content type and every interactive type that the provider declares.
    contents: Mapping[str, Content]
    #: The credentials without which there is no session; others may be left out.
    required: frozenset[str]

    @abstractmethod
    def session(self) -> Session: ...

    @abstractmethod
    def world(self, *, seconds: float = 5.0) -> AbstractAsyncContextManager[World]:
        """A session that can send, for one row; with so many seconds for an attempt, where that can be chosen."""

    def run(self, row: Callable[[], Awaitable[None]], **how: Any) -> None:
        """Run a row: in a loop of its own, or in one that outlives it (`Lasting`)."""
        trio.run(row, **how)

    def close(self) -> None:  # noqa: B027  what most have nothing to do for
        """The last row is over."""

    # --- sending ---

    @abstractmethod
    def throttles(self) -> Script:
        """The next send comes too soon."""

    @abstractmethod
    def rejects(self) -> Script:
        """The next send can never go out as it stands."""

    @abstractmethod
    def proves(self) -> Script:
        """The account is fine."""

    @abstractmethod
    def refuses_credentials(self) -> Script:
        """The account is not, and a person has to see to it."""

    @abstractmethod
    def has_a_bad_day(self) -> Script:
        """The account may be fine, but nobody can tell: the next connect fails."""

    @abstractmethod
    def doubts(self) -> Mapping[str, Doubt]:
        """Labelled: after what of the next send nobody knows whether it went out. The first did."""

    @abstractmethod
    def stalls(self) -> Mapping[str, Script]:
        """Labelled: where the next send waits for ever."""

    @abstractmethod
    def exposes(self) -> Mapping[str, Script]:
        """Labelled: what makes the next send or connect fail, and may have secrets shown by it."""

    def refusals(self) -> Mapping[str, Refusal]:
        """Labelled: the provider's other answers to a send, as many as there are rows in its table of errors."""
        return {}

    def beyond(self) -> Mapping[str, Beyond]:
        """Labelled: what is too long, too many, or malformed."""
        return {}

    # --- what comes in ---

    @abstractmethod
    def inbound(self, provider_message_id: str, *, hidden: bool = False) -> Cause:
        """One text message; *hidden*: from somebody who shows no phone number, if that can be."""

    @abstractmethod
    def status(self, provider_message_id: str, message_id: str) -> Cause:
        """A message of ours was delivered. *message_id* is wad's own, where it travels with a send."""

    def said(self) -> Mapping[str, Said]:
        """Labelled: what else customers say, such as media, a place, a tapped button."""
        return {}

    def told(self) -> Mapping[str, Told]:
        """Labelled: what else the provider says of a message."""
        return {}

    def plain(self, content: Content) -> Content:
        """*content* that came in, without what is another each time, such as a file's id."""
        return content

    # --- what is asked for by a capability ---

    def correlates(self, taken: Any) -> str | None:
        """The id of wad's own in a send, by which a status can settle it (settlement `callback` and `list`)."""
        raise self._no_sample("settlement")

    def quoted(self, taken: Any) -> str | None:
        """What a send quotes (`reply_context`)."""
        return None

    def marks_read(self) -> Script:
        raise self._no_sample("read_receipts")

    def lists_groups(self) -> Script:
        """One group, the world's."""
        raise self._no_sample("groups")

    def stores(self, media_id: str) -> Script:
        raise self._no_sample("media_upload")

    def lists_numbers(self) -> Script:
        """One number, `n1`."""
        raise self._no_sample("numbers")

    def lists_templates(self) -> Script:
        """One template, `t1`."""
        raise self._no_sample("templates")

    def shows_profile(self) -> Script:
        """One that says of itself `Hola`."""
        raise self._no_sample("profile")

    def closes_window(self) -> Script:
        """The refusal of a text to somebody who has not written for a day (`reply_window`)."""
        raise self._no_sample("reply_window")

    def lists_sent(self, provider_message_id: str) -> Script:
        """The provider's list has a text `Hola` of ours under this id, of a second after noon (settlement `list`)."""
        raise self._no_sample("settlement")

    def lists_received(self, provider_message_id: str) -> Script:
        """The provider's list has a customer's text under this id (`inbound_history`)."""
        raise self._no_sample("inbound_history")

    def unpaired(self) -> AbstractAsyncContextManager[Any]:
        """The world of a session that no phone has paired (`pairing`)."""
        raise self._no_sample("pairing")

    def _no_sample(self, what: str) -> AssertionError:
        return AssertionError(f"{self.name} declares {what!r}, and its harness has no sample of that")
