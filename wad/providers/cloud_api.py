"""Meta's Cloud API: one phone number, one session."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from wad.models import Session
from wad.providers.base import Webhooks
from wad.providers.credentials import Credential, digits, printable
from wad.providers.meta.account import Account, MetaConfig
from wad.providers.meta.kind import MetaKind
from wad.providers.meta.probe import FIELDS, LEAST_FIELDS
from wad.providers.meta.webhooks import MetaWebhooks

#: Where Meta keeps files; they are fetched with the session's token, so nobody else's host will do.
MEDIA_HOSTS: Final = ("lookaside.fbsbx.com", ".fbcdn.net", ".whatsapp.net", ".facebook.com")

_UNVERIFIABLE: Final = (
    "without the app secret nobody can tell Meta's webhooks from forged ones: set the session's `appSecret`, "
    "or `app_secret` in the configuration"
)

_PROBES: Final = (f"?fields={FIELDS}", f"?fields={LEAST_FIELDS}")

_CREDENTIALS: Final = {
    "accessToken": Credential(printable, required=True),
    "phoneNumberId": Credential(digits, required=True),
    "appSecret": Credential(printable),
    "verifyToken": Credential(printable),
}


class CloudApi(MetaKind[MetaConfig]):
    name = "cloud_api"
    known_credentials = _CREDENTIALS
    webhooks: Webhooks | None = MetaWebhooks()

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        return credentials.get("phoneNumberId")

    def webhook_secret(self, session: Session | None) -> str | None:
        own = session.credentials.get("appSecret") if session is not None else None
        return own or self._config.app_secret

    def verify_token(self, session: Session | None) -> str | None:
        own = session.credentials.get("verifyToken") if session is not None else None
        return own or self._config.verify_token

    def _account(self, session: Session) -> Account:
        token = session.credentials.get("accessToken", "")
        secret = self.webhook_secret(session)
        root = f"/{self._config.version}"
        number = f"{root}/{session.credentials.get('phoneNumberId', '')}"
        proof = appsecret_proof(token, secret) if secret else None
        return Account(
            provider=self.name,
            base_url=(session.settings.base_url or self._config.base_url).rstrip("/"),
            guarded=session.settings.base_url is not None,
            root=root,
            number=number,
            authorization={"Authorization": f"Bearer {token}"},
            query={"appsecret_proof": proof} if proof else {},
            probes=_PROBES,
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
