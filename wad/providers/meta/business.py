"""A whole WhatsApp Business Account: its numbers, each reached as a number by itself is, and what belongs to them all."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from wad.errors import ProviderError, Verdict
from wad.models import OutboundMessage, Session
from wad.providers.base import Accepted, Connection, Group, Link, MediaContent, Proof
from wad.providers.http import Answer, Pools
from wad.providers.management import NumberView, Profile, Subscription, Trouble
from wad.providers.meta.account import Account
from wad.providers.meta.callback import MetaCallback, Own
from wad.providers.meta.connection import MetaConnection
from wad.providers.meta.graph import Graph
from wad.providers.meta.marketing import Marketing
from wad.providers.meta.numbers import (
    MetaNumbers,
    blocked,
    choose,
    no_such_number,
    numbers_in,
    shown,
    trouble_of,
    troubles_of,
)
from wad.providers.meta.templates import MetaTemplates
from wad.providers.rules import garbled

#: Words for a number's own trouble. Alone in a session it stops that; one of several, it waits for its person while
#: the others go on.
_A_NUMBERS_OWN: Final = frozenset(
    {"number_unknown", "not_registered", "display_name_not_approved", "pin_mismatch"}
)
#: Seconds before a number that has such trouble is tried again.
_HELD: Final = 60.0

#: What is asked of the account itself: all, and what an older version of the API knows as well.
_PROBES: Final = ("id,name,health_status,marketing_messages_onboarding_status", "id,name")
#: What the account says once it has taken the terms of Meta's API for marketing.
_ONBOARDED: Final = "ONBOARDED"


class BusinessConnection(Connection):
    """A session's connection to its account. `account.number` is the path of the account."""

    def __init__(self, account: Account, pools: Pools, link: Link, *, session: Session, own: Own) -> None:
        self._account = account
        self._pools = pools
        self._link = link
        self._override = session.settings.callback_override
        self._default = session.credentials.get("phoneNumberId")
        self._waba_id = session.credentials.get("wabaId", "")
        self._known = {each.id: each for each in numbers_in(session.connection_data)}
        self._subscriptions: list[Subscription] | None = None  # None: not looked after yet
        self._lines: dict[str, MetaConnection] = {}
        self._shared = MetaConnection(account, pools, link)  # for what Meta knows by an id of its own
        self._name: str | None = None
        graph = self._graph = Graph(account, pools, link)
        self._callback = MetaCallback(graph, own)
        self._numbers = MetaNumbers(graph, self._callback, self._listed)
        self._templates = MetaTemplates(graph)
        self._marketing = Marketing(self._templates, seconds=account.timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._account!r}, {len(self._known)} numbers>"

    async def connect(self) -> Proof:
        if self._account.lacks is not None:
            code, detail = self._account.lacks
            raise ProviderError(Verdict.NEEDS_PERSON, detail, code=code)
        try:
            await self._ask_account()
            await self._numbers.all()
        except ProviderError as error:
            # The request is right, so what it names is not: an account that is not this token's, a wrong proof.
            raise _needing_person(error, "account_unknown") from None
        self._check_usable()
        if self._subscriptions is None:
            try:
                self._subscriptions = await self._callback.subscribe(override=self._override)
            except ProviderError as error:
                raise _needing_person(error, "callback_refused") from None
        return self._proof()

    async def send(self, message: OutboundMessage) -> Accepted:
        number = self._number_of(message)
        line = self._line(number.id)
        try:
            if message.type != "template" or message.to.group_id is not None:
                return await line.send(message)
            return await self._marketing.send(line, message)
        except ProviderError as error:
            if error.code not in _A_NUMBERS_OWN or not error.needs_person:
                raise
            trouble = Trouble(error.detail, provider_code=error.provider_code)
            self._known[number.id] = msgspec.structs.replace(number, usable=False, troubles=(trouble,))
            if not any(each.usable for each in self._known.values()):
                raise
            self._link.proven(self._proof())  # so that nothing new is given to it
            raise _held(error) from None

    # --- one of its numbers -------------------------------------------------------------------------

    def of(self, number: str | None) -> Connection:
        """Raises ProviderError for a number that is not the account's."""
        if number is None:
            return self
        if number not in self._known:
            raise no_such_number(number)
        return self._line(number)

    async def mark_read(self, provider_message_id: str, *, typing: bool) -> None:
        await self._any().mark_read(provider_message_id, typing=typing)

    async def upload(self, data: bytes, *, mime_type: str, filename: str | None) -> str:
        return await self._any().upload(data, mime_type=mime_type, filename=filename)

    @property
    def profile(self) -> Profile:
        return self._any().profile

    async def groups(self) -> list[Group]:
        """Those of every number that can send. A number that may have none does not hide the others'."""
        found: list[Group] = []
        refused: ProviderError | None = None
        for number in [each for each in self._known.values() if each.usable]:
            try:
                found += await self._line(number.id).groups()
            except ProviderError as error:
                if error.verdict is not Verdict.REJECTED:
                    raise
                refused = error
        if refused is not None and not found:
            raise refused
        return found

    def _any(self) -> MetaConnection:
        """The number that stands for all where none is named."""
        chosen = choose(self._known.values(), self._default)
        if chosen is None:
            raise ProviderError(Verdict.NOT_SENT, "the account has no number that can send", code="no_number")
        return self._line(chosen.id)

    def _line(self, number_id: str) -> MetaConnection:
        line = self._lines.get(number_id)
        if line is None:
            account = msgspec.structs.replace(self._account, number=f"{self._account.root}/{number_id}")
            line = self._lines[number_id] = MetaConnection(account, self._pools, self._link)
        return line

    # --- of the account -----------------------------------------------------------------------------

    async def group(self, group_id: str) -> Group:
        return await self._shared.group(group_id)

    def download(self, provider_media_id: str) -> AbstractAsyncContextManager[MediaContent]:
        return self._shared.download(provider_media_id)

    @property
    def numbers(self) -> MetaNumbers:
        return self._numbers

    @property
    def callback(self) -> MetaCallback:
        return self._callback

    @property
    def templates(self) -> MetaTemplates:
        return self._templates

    # --- inside -------------------------------------------------------------------------------------

    async def _ask_account(self) -> None:
        for fields in _PROBES:
            try:
                await self._graph.get(
                    "probe", self._account.url(self._account.number, fields=fields), self._read
                )
            except ProviderError as error:
                if error.verdict is not Verdict.REJECTED or fields is _PROBES[-1]:
                    raise
            else:
                return

    def _read(self, answer: Answer) -> None:
        record = self._graph.object(answer)
        if not isinstance(record.get("id"), str):  # JSON, but of somebody else: a hotel's network, a proxy
            raise garbled(answer)
        health = record.get("health_status")
        if isinstance(health, dict) and health.get("can_send_message") == "BLOCKED":
            raise blocked(troubles_of(health))
        name = record.get("name")
        self._name = name if isinstance(name, str) else None
        self._marketing.serves = record.get("marketing_messages_onboarding_status") == _ONBOARDED

    def _listed(self, numbers: list[NumberView]) -> None:
        self._known = {each.id: each for each in numbers}

    def _check_usable(self) -> None:
        """Raises ProviderError where no number can send, or the one that the credentials name is not there."""
        if self._default is not None and self._default not in self._known:
            raise ProviderError(
                Verdict.NEEDS_PERSON,
                f"the account has no number {self._default}, which the credentials name as phoneNumberId",
                code="number_unknown",
            )
        if any(each.usable for each in self._known.values()):
            return
        for number in self._known.values():
            raise trouble_of(number)
        raise ProviderError(
            Verdict.NEEDS_PERSON,
            "the account has no number yet: add one, have it verified, and register it",
            code="no_number",
        )

    def _proof(self) -> Proof:
        """The session's phone number is the one that stands for all, where a person has chosen it or there is no other."""
        chosen = self._known.get(self._default or "")
        if chosen is None and len(self._known) == 1:
            [chosen] = self._known.values()
        return Proof(
            phone_number=chosen.phone_number if chosen else None,
            data={
                "wabaId": self._waba_id,
                **({} if self._name is None else {"name": self._name}),
                "numbers": shown(self._known.values()),
                "subscriptions": [msgspec.to_builtins(each) for each in self._subscriptions or ()],
            },
            rates={each.id: each.rate for each in self._known.values() if each.rate is not None},
        )

    def _number_of(self, message: OutboundMessage) -> NumberView:
        """The one that *message* names; else the one to choose now, which was not known when it was accepted."""
        if message.number is not None:
            number = self._known.get(message.number.id)
            if number is None:  # the session had another account when it was accepted, or the number has left
                raise no_such_number(message.number.id)
        else:
            number = choose(self._known.values(), self._default)
        if number is None or not number.usable:
            raise ProviderError(
                Verdict.NOT_SENT,
                "no number of the account can send now" if number is None else trouble_of(number).detail,
                code="no_number" if number is None else "number_unusable",
                retry_after=_HELD,
            )
        return number


def _needing_person(error: ProviderError, code: str) -> ProviderError:
    """*error*, or where it refuses the request itself, what a person has to mend."""
    if error.verdict is not Verdict.REJECTED:
        return error
    return ProviderError(Verdict.NEEDS_PERSON, error.detail, code=code, provider_code=error.provider_code)


def _held(error: ProviderError) -> ProviderError:
    return ProviderError(
        Verdict.NOT_SENT,
        error.detail,
        code=error.code,
        provider_code=error.provider_code,
        retry_after=_HELD,
    )
