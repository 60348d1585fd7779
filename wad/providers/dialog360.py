"""360dialog: the Cloud API of one number behind another base URL, where the API key says which number it is.

What differs from Meta (docs.360dialog.com): the header `D360-API-KEY`, paths without a number, files served by its own
host, and webhooks that nobody signs. They carry a header instead, which the owner sets beside the webhook's URL.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wad.models import Session, WebhookRequest
from wad.providers.base import WebhookEvent, Webhooks
from wad.providers.credentials import Credential, printable
from wad.providers.http import ATTEMPT
from wad.providers.meta.account import Account
from wad.providers.meta.kind import MetaKind
from wad.providers.meta.webhooks import MetaWebhooks
from wad.providers.webhooks import header, same

#: The header that a session's webhooks carry; its value is the session's `webhookSecret`.
PROOF_HEADER: Final = "X-Secret"
#: The host that Meta's answers name for files. 360dialog serves them under its own.
_META_FILES: Final = "lookaside.fbsbx.com"
#: Whether the number may send, as Meta sees it; and, for an account that is not told so, whether the key is good.
_PROBES: Final = ("/health_status", "/v1/configs/webhook")
_CREDENTIALS: Final = {
    "apiKey": Credential(printable, required=True),
    "webhookSecret": Credential(printable, required=True),
}


class Dialog360Config(msgspec.Struct, frozen=True, kw_only=True):
    base_url: str = "https://waba-v2.360dialog.io"
    timeout: float = ATTEMPT


class Dialog360Webhooks(MetaWebhooks):
    """Meta's envelope, for the one session that its path names: no credential says its phone number id."""

    def verify(self, request: WebhookRequest, *, secret: str) -> bool:
        return bool(secret) and same(header(request.headers, PROOF_HEADER.lower()), secret)

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        return [WebhookEvent(account=None, event=event.event) for event in super().parse(request)]


class Dialog360(MetaKind[Dialog360Config]):
    name = "dialog360"
    known_credentials = _CREDENTIALS
    webhooks: Webhooks | None = Dialog360Webhooks()

    def webhook_secret(self, session: Session | None) -> str | None:
        return session.credentials.get("webhookSecret") if session is not None else None

    def _account(self, session: Session) -> Account:
        key = session.credentials.get("apiKey", "")
        base_url = (session.settings.base_url or self._config.base_url).rstrip("/")
        return Account(
            provider=self.name,
            base_url=base_url,
            guarded=session.settings.base_url is not None,
            root="",
            number="",
            authorization={"D360-API-KEY": key},
            probes=_PROBES,
            lacks=self._unusable(session),
            timeout=self._config.timeout,
            media_rewrite=(_META_FILES, base_url),
            secrets=tuple(value for value in (key, self.webhook_secret(session)) if value),
        )
