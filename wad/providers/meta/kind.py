"""What every kind of the family has in common: all but who an account is, and how it is reached."""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import ClassVar, Final, Generic, TypeVar

from wad.errors import FieldError, Scope
from wad.models import Address, Content, Session, SessionId
from wad.providers.base import Capabilities, Connection, Link, ProviderKind, Webhooks
from wad.providers.credentials import Credential, check, printable
from wad.providers.http import Pools
from wad.providers.meta import limits
from wad.providers.meta.account import Account, MetaConfig
from wad.providers.meta.connection import MetaConnection
from wad.providers.meta.webhooks import MetaWebhooks

ConfigT = TypeVar("ConfigT")

#: Where Meta keeps files; they are fetched with the session's token, so nobody else's host will do.
MEDIA_HOSTS: Final = ("lookaside.fbsbx.com", ".fbcdn.net", ".whatsapp.net", ".facebook.com")

_UNVERIFIABLE: Final = (
    "without the app secret nobody can tell Meta's webhooks from forged ones: set the session's `appSecret`, "
    "or `app_secret` in the configuration"
)


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

    def shared(self, session: Session) -> Mapping[Scope, str]:
        """Meta counts calls of a whole account (80007). Which it is, an account tells once it has answered."""
        waba_id = session.connection_data.get("wabaId")
        return {Scope.ACCOUNT: f"waba {waba_id}"} if isinstance(waba_id, str) else {}

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


class GraphKind(MetaKind[MetaConfig]):
    """The kinds that talk to Meta itself: a token, and an app whose secret signs what Meta tells."""

    #: What each of them has besides what says which account it is.
    app_credentials: ClassVar[Mapping[str, Credential]] = {
        "accessToken": Credential(printable, required=True),
        "appSecret": Credential(printable),
        "verifyToken": Credential(printable),
    }
    webhooks: Webhooks | None = MetaWebhooks()

    def webhook_secret(self, session: Session | None) -> str | None:
        own = session.credentials.get("appSecret") if session is not None else None
        return own or self._config.app_secret

    def shared(self, session: Session) -> Mapping[Scope, str]:
        """...and of a whole app (4), which nothing tells better than its secret."""
        secret = self.webhook_secret(session)
        app = {} if secret is None else {Scope.APP: f"app {hashlib.sha256(secret.encode()).hexdigest()}"}
        return {**super().shared(session), **app}

    def verify_token(self, session: Session | None) -> str | None:
        own = session.credentials.get("verifyToken") if session is not None else None
        return own or self._config.verify_token

    def _account_of(self, session: Session, object_id: str, probes: tuple[str, ...]) -> Account:
        """The account behind Meta's *object_id*: a number, or a whole business account."""
        token = session.credentials.get("accessToken", "")
        secret = self.webhook_secret(session)
        root = f"/{self._config.version}"
        proof = appsecret_proof(token, secret) if secret else None
        return Account(
            provider=self.name,
            base_url=(session.settings.base_url or self._config.base_url).rstrip("/"),
            guarded=session.settings.base_url is not None,
            root=root,
            number=f"{root}/{object_id}",
            authorization={"Authorization": f"Bearer {token}"},
            query={"appsecret_proof": proof} if proof else {},
            probes=probes,
            lacks=self._lacks(session),
            timeout=self._config.timeout,
            media_hosts=MEDIA_HOSTS,
            secrets=tuple(value for value in (token, secret, proof) if value),
        )

    def _lacks(self, session: Session) -> tuple[str, str] | None:
        if (unusable := self._unusable(session)) is not None:
            return unusable
        if self.webhook_secret(session) is None:
            return "no_app_secret", _UNVERIFIABLE
        return None


def appsecret_proof(token: str, secret: str) -> str:
    """What shows Meta that who uses *token* knows the app's *secret* too."""
    return hmac.digest(secret.encode(), token.encode(), hashlib.sha256).hex()
