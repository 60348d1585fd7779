"""Paloma: an imaginary carrier of texts. One account, one session."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, Final

import httpx
import msgspec

from wad.config import HttpProvider
from wad.errors import FieldError, InvalidRequest, ProviderError, Verdict
from wad.models import (
    Address,
    ChatId,
    Content,
    Inbound,
    InboundMessage,
    MessageId,
    MessageState,
    OutboundMessage,
    Person,
    Session,
    SessionId,
    StatusUpdate,
    WebhookRequest,
    utc_now,
)
from wad.providers.base import (
    Accepted,
    Capabilities,
    Connection,
    Link,
    Proof,
    ProviderKind,
    WebhookEvent,
    Webhooks,
)
from wad.providers.credentials import Credential, check, printable
from wad.providers.http import Answer, Origin, Pools, call, request
from wad.providers.place import Place
from wad.providers.provider import Provider
from wad.providers.rules import object_of
from wad.providers.webhooks import header, is_plain, kept, same

#: Paloma's words -> what they mean, and wad's word for it.
ERRORS: Final = {
    "bad_key": (Verdict.NEEDS_PERSON, "bad_credentials"),
    "too_fast": (Verdict.THROTTLED, "number_throttled"),
    "no_such_number": (Verdict.REJECTED, "recipient_unreachable"),
}
CREDENTIALS: Final = {
    name: Credential(printable, required=True) for name in ("account", "apiKey", "webhookSecret")
}


class Section(HttpProvider):
    """`providers.paloma` in the configuration."""

    base_url: str = "https://api.paloma.example"


class PalomaWebhooks(Webhooks):
    def verify(self, request: WebhookRequest, *, secret: str) -> bool:
        expected = hmac.digest(secret.encode(), request.body, hashlib.sha256).hex()
        return bool(secret) and same(header(request.headers, "x-paloma-signature"), expected)

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        batch = object_of(request.body)
        if batch is None:
            raise InvalidRequest("not a webhook of Paloma's: no JSON object")
        account = batch.get("account")
        events = batch.get("events")
        return [
            WebhookEvent(account if isinstance(account, str) else None, _event(each))
            for each in (events if isinstance(events, list) else [batch])
        ]


def _event(told: Any) -> Inbound:
    """Whatever has no place among wad's words is kept as it came: nothing that was answered 200 is lost."""
    match told:
        case {"type": "text", "id": str(text_id), "from": str(phone), "text": str(body)} if is_plain(told):
            return InboundMessage(
                provider_message_id=text_id,
                chat=ChatId(phone),
                sender=Person(phone=phone),
                content={"type": "text", "text": {"body": body}},
                raw=told,
            )
        case {"type": "delivered", "id": str(text_id), "ref": str(ref)} if is_plain(told):
            return StatusUpdate(
                provider_message_id=text_id,
                state=MessageState.DELIVERED,
                at=utc_now(),
                message_id=MessageId(ref),
                raw=told,
            )
        case _:
            return kept("provider.event", {"event": told})


class Paloma(ProviderKind):
    """The kind: one a process. Nothing here touches the network."""

    name = "paloma"
    capabilities = Capabilities(content_types=frozenset({"text"}), settlement="callback")
    webhooks: Webhooks | None = PalomaWebhooks()

    def __init__(self, section: Section, pools: Pools) -> None:
        self._section = section
        self._pools = pools

    def check_credentials(self, credentials: Mapping[str, str]) -> list[FieldError]:
        return check(credentials, CREDENTIALS)

    def check_send(self, to: Address, content: Content) -> list[FieldError]:
        if to.phone is None:
            return [FieldError("/to", "needs a phone number")]
        if len(content["text"]["body"]) > 1000:
            return [FieldError("/text/body", "may have 1000 characters")]
        return []

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        return credentials.get("account")

    def webhook_secret(self, session: Session | None) -> str | None:
        return session.credentials.get("webhookSecret") if session is not None else None

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        key = session.credentials.get("apiKey", "")
        return nullcontext(PalomaConnection(self._section, self._pools, key, link))

    async def forget(self, session_id: SessionId) -> None:
        """All there is of it is in the store."""


class PalomaConnection(Connection):
    """One living session's. It holds no socket: the pools do."""

    def __init__(self, section: Section, pools: Pools, key: str, link: Link) -> None:
        self._base = httpx.URL(section.base_url)
        self._timeout = section.timeout
        self._pools = pools
        self._link = link
        self._headers = httpx.Headers(
            {
                "Host": self._base.netloc.decode("ascii"),
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
            }
        )

    async def connect(self) -> Proof:
        """Ask for something that only the account's owner can see. Asking twice harms nobody: repeatable."""
        number = await self._call("probe", "GET", "/account", answer="number", repeatable=True)
        return Proof(phone_number=number, data={"number": number})

    async def send(self, message: OutboundMessage) -> Accepted:
        """Our own id travels along as `ref`: it comes back in every status, and settles what was `unknown`."""
        body = {"to": message.to.phone, "text": message.content["text"]["body"], "ref": message.message_id}
        return Accepted(await self._call("send", "POST", "/texts", msgspec.json.encode(body), answer="id"))

    async def _call(
        self,
        operation: str,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        answer: str,
        repeatable: bool = False,
    ) -> str:
        """One exchange; what it means is decided inside `call`, by `_read`."""
        return await call(
            self._pools.to(Origin.of(self._base)),
            request(method, self._base.join(path), self._headers, body),
            partial(_read, name=answer),
            link=self._link,
            operation=operation,
            seconds=self._timeout,
            repeatable=repeatable,
        )


def _read(answer: Answer, *, name: str) -> str:
    """The text under *name*, or what the failure means. None of Paloma's words is quoted: they may hold the key."""
    found = object_of(answer.body) or {}
    word, value = found.get("error"), found.get(name)
    if isinstance(word, str) and word in ERRORS:
        verdict, code = ERRORS[word]
        raise ProviderError(verdict, f"Paloma says {word}", code=code, provider_code=word)
    if 200 <= answer.status < 300 and isinstance(value, str):
        return value
    # A page, half a body, somebody else's JSON: nobody knows what became of the request.
    health = answer.status >= 500
    raise ProviderError(Verdict.UNKNOWN, f"HTTP {answer.status}", code="provider_failed", health=health)


def make(section: Section, place: Place) -> ProviderKind:
    return Paloma(section, place.pools)


provider: Final = Provider(name="paloma", section=Section, make=make)
