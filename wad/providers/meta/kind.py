"""What every kind of the family has in common: all but who an account is, and how it is reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import ClassVar, Generic, TypeVar

from wad.errors import FieldError
from wad.models import Address, Content, Session, SessionId
from wad.providers.base import Capabilities, Connection, Link, ProviderKind
from wad.providers.credentials import Credential, check
from wad.providers.http import Pools
from wad.providers.meta import limits
from wad.providers.meta.account import Account
from wad.providers.meta.connection import MetaConnection

ConfigT = TypeVar("ConfigT")


class MetaKind(ProviderKind, ABC, Generic[ConfigT]):
    """`config` is the operator's word; a session's credentials and settings come before it."""

    known_credentials: ClassVar[Mapping[str, Credential]]
    capabilities: Capabilities = limits.CAPABILITIES

    def __init__(self, config: ConfigT, pools: Pools) -> None:
        self._config = config
        self._pools = pools

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._config!r}>"

    @abstractmethod
    def _account(self, session: Session) -> Account: ...

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return check(credentials, self.known_credentials)

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        return limits.check_send(self.name, to, content)

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        """There is nothing to close: the pools hold the sockets. A generator would cost each session 1 KB."""
        return nullcontext(MetaConnection(self._account(session), self._pools, link))

    async def forget(self, session_id: SessionId) -> None:
        """All there is of it is in the store."""

    def _unusable(self, session: Session) -> tuple[str, str] | None:
        """Why the credentials that are stored will not do (`Account.lacks`)."""
        if errors := self.check_credentials(session.credentials):
            told = "; ".join(f"{error.pointer} {error.detail}" for error in errors)
            return "bad_credentials", f"the stored credentials cannot be used: {told}"
        return None
