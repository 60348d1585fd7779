"""A whole WhatsApp Business Account as one session: all its numbers, its templates, and what its customers write to any.

Everything that one number does it does as the Cloud API provider does. What is of the account alone is in
`wad.providers.meta.business`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import ClassVar

import msgspec

from wad.errors import FieldError, InvalidRequest
from wad.models import InboundMessage, Number, Session, WebhookRequest
from wad.providers.base import Capabilities, Connection, Link, WebhookEvent, Webhooks
from wad.providers.credentials import Credential, digits
from wad.providers.http import Pools
from wad.providers.meta.account import Account, MetaConfig
from wad.providers.meta.business import BusinessConnection
from wad.providers.meta.callback import Own
from wad.providers.meta.kind import GraphKind
from wad.providers.meta.limits import CAPABILITIES
from wad.providers.meta.numbers import as_number, choose, named, numbers_in
from wad.providers.meta.webhooks import MetaWebhooks


class MetaBusinessWebhooks(MetaWebhooks):
    """Meta's envelope, whose entries are for the session of their account, whichever number they speak of."""

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        return [_of_account(event) for event in super().parse(request)]


def _of_account(told: WebhookEvent) -> WebhookEvent:
    event = told.event
    if isinstance(event, InboundMessage) and told.account is not None:
        event = msgspec.structs.replace(event, number=Number(told.account, told.phone_number))
    return msgspec.structs.replace(told, account=told.business, event=event)


class MetaBusiness(GraphKind):
    name = "meta_business"
    known_credentials: ClassVar = {
        **GraphKind.app_credentials,
        "wabaId": Credential(digits, required=True),
        "phoneNumberId": Credential(digits),  # the number that stands for all where none is named
    }
    capabilities: Capabilities = msgspec.structs.replace(CAPABILITIES, numbers=True, templates=True)
    webhooks: Webhooks | None = MetaBusinessWebhooks()

    def __init__(self, config: MetaConfig, pools: Pools, *, public_url: str | None = None) -> None:
        """*public_url*: where Meta reaches wad (`http.public_url`)."""
        super().__init__(config, pools)
        self._public_url = public_url

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        return credentials.get("wabaId")

    def number_for(self, session: Session, asked: str | None, wrote_to: Number | None) -> Number | None:
        known = numbers_in(session.connection_data)
        if asked is None:
            wanted = wrote_to.id if wrote_to is not None else None
            chosen = choose(known, wanted, session.credentials.get("phoneNumberId"))
            return None if chosen is None else as_number(chosen)
        found = named(known, asked)
        if found is not None:
            return as_number(found)
        has = ", ".join(each.phone_number or each.id for each in known)
        detail = (
            f"is not a number of this session, which has {has}"
            if known
            else "cannot be looked up: the session has not connected yet"
        )
        raise InvalidRequest("the session has no such number", [FieldError("/from", detail)])

    def open(self, session: Session, link: Link) -> AbstractAsyncContextManager[Connection]:
        return nullcontext(
            BusinessConnection(
                self._account(session), self._pools, link, session=session, own=self._own(session)
            )
        )

    def _account(self, session: Session) -> Account:
        return self._account_of(session, session.credentials.get("wabaId", ""), ())

    def _own(self, session: Session) -> Own:
        url = f"{self._public_url}/webhooks/{self.name}/{session.session_id}" if self._public_url else None
        return Own(url, self.verify_token(session))
