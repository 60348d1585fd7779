"""The kind `twilio`: what its credentials are, and what is needed before one of its sessions may connect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from wad.errors import FieldError, Scope
from wad.models import Address, Content, Session, SessionId
from wad.providers.base import Connection, Link, ProviderKind, Webhooks
from wad.providers.credentials import Credential, Shape, check, printable
from wad.providers.place import Place
from wad.providers.twilio import limits
from wad.providers.twilio.account import CHANNEL, Account, Login, TwilioConfig, webhook_url
from wad.providers.twilio.connection import TwilioConnection
from wad.providers.twilio.webhooks import TwilioWebhooks, secret_of


def _sid(prefix: str) -> Shape:
    def fits(value: str) -> bool:
        hexadecimal = all(letter in "0123456789abcdefABCDEF" for letter in value[2:])
        return value.startswith(prefix) and len(value) == 34 and hexadecimal

    return Shape(fits, f"{prefix} and 32 hex digits")


def _is_number(value: str) -> bool:
    digits = value.removeprefix(CHANNEL).removeprefix("+")
    return "+" in value and digits.isascii() and digits.isdigit() and 6 < len(digits) < 16


_KNOWN: Final = {
    "accountSid": Credential(_sid("AC"), required=True),
    "authToken": Credential(printable, required=True),  # signs the webhooks, whoever sends
    "apiKeySid": Credential(_sid("SK")),
    "apiKeySecret": Credential(printable),
    "from": Credential(Shape(_is_number, "a phone number in E.164, with or without whatsapp: before it")),
    "messagingServiceSid": Credential(_sid("MG")),
    "webhookSharedKey": Credential(printable),  # signs the webhooks with SHA-256
}

_UNREACHABLE: Final = (
    "without a public URL Twilio can neither deliver what customers write nor say what became of a message, and its "
    "signatures cannot be checked: set `http.public_url` in the configuration"
)


class Twilio(ProviderKind):
    name = limits.NAME
    capabilities = limits.CAPABILITIES
    webhooks: Webhooks | None = TwilioWebhooks()

    def __init__(self, config: TwilioConfig, place: Place) -> None:
        self._config = config
        self._pools = place.pools
        self._public_url = place.public_url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._config!r}>"

    def shared(self, session: Session) -> Mapping[Scope, str]:
        """Twilio counts the calls of a whole account."""
        return {Scope.ACCOUNT: f"twilio {session.credentials.get('accountSid')}"}

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        errors = check(credentials, _KNOWN)
        given = {name for name, value in credentials.items() if value}
        match "from" in given, "messagingServiceSid" in given:
            case False, False:
                errors.append(
                    FieldError("/credentials/from", "is required, or messagingServiceSid in its place")
                )
            case True, True:
                errors.append(
                    FieldError("/credentials/messagingServiceSid", "stands beside from: only one of them may")
                )
            case _:
                pass
        for name, other in (("apiKeySid", "apiKeySecret"), ("apiKeySecret", "apiKeySid")):
            if other in given and name not in given:
                errors.append(FieldError(f"/credentials/{name}", f"is required beside {other}"))
        return errors

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        return limits.check_send(to, content)

    def webhook_secret(self, session: Session | None) -> str | None:
        held = {} if session is None else session.credentials
        token = held.get("authToken")
        return secret_of(token, held.get("webhookSharedKey")) if token else None

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        """There is nothing to close: the pools hold the sockets."""
        return nullcontext(TwilioConnection(self._account(session), self._pools, link))

    async def forget(self, session_id: SessionId) -> None:
        """All there is of it is in the store."""

    def _account(self, session: Session) -> Account:
        held = session.credentials
        sid, token = held.get("accountSid", ""), held.get("authToken", "")
        owner = Login(sid, token)
        key = Login(held["apiKeySid"], held.get("apiKeySecret", "")) if held.get("apiKeySid") else None
        number = held.get("from", "").removeprefix(CHANNEL)
        url = (
            None if self._public_url is None else webhook_url(self._public_url, self.name, session.session_id)
        )
        secret = (token, held.get("apiKeySecret"), held.get("webhookSharedKey"))
        return Account(
            sid=sid,
            owner=owner,
            sender=key or owner,
            number=number or None,
            service=held.get("messagingServiceSid") or None,
            base_url=(session.settings.base_url or self._config.url).rstrip("/"),
            callback=url,
            guarded=session.settings.base_url is not None,
            lacks=self._lacks(session),
            timeout=self._config.timeout,
            secrets=tuple(value for value in secret if value),
        )

    def _lacks(self, session: Session) -> tuple[str, str] | None:
        if errors := self.check_credentials(session.credentials):
            told = "; ".join(f"{error.pointer} {error.detail}" for error in errors)
            return "bad_credentials", f"the stored credentials cannot be used: {told}"
        if self._public_url is None:
            return "no_public_url", _UNREACHABLE
        return None
