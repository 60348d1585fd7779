"""The sandbox as one object: the network, its ledger, its faults, its webhooks, and the application in front."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import trio

from wad.sandbox.callbacks import Callbacks
from wad.sandbox.envelope import metadata
from wad.sandbox.faults import Faults
from wad.sandbox.feed import Feed
from wad.sandbox.ids import digits_of, new_group_id
from wad.sandbox.inbound import Person, phone_key
from wad.sandbox.ledger import Ledger
from wad.sandbox.network import Customer, Group, Network, Number
from wad.sandbox.provision import READY, READY_DIALOG360, READY_SECOND, put_number
from wad.sandbox.review import Review
from wad.sandbox.server import ASGIApp
from wad.sandbox.settings import Settings
from wad.sandbox.traffic import Traffic
from wad.sandbox.twilio.twilio import Twilio
from wad.sandbox.web.emulator import WebConfig
from wad.sandbox.web.web import Web
from wad.sandbox.webhooks import Webhooks


class Config(msgspec.Struct, frozen=True, kw_only=True):
    ledger: Path | None = None
    settings: Settings = Settings()
    allow_remote: bool = False  # callbacks beyond loopback
    ready: bool = True  # start with the numbers of `provision.py` and three customers
    web: WebConfig | None = None  # WhatsApp Web as well, which takes Node


_READY_CUSTOMERS: Final = (
    Person(phone="+5215512345678", name="Ana Torres"),
    Person(phone="+5215587654321", name="Luis Ortega"),
    Person(user_id="MX.13491208655302741918", name="Sol", username="@sol.mx", shows_phone=False),
)


class Sandbox:
    """Make it with `create_sandbox`; `run` must be running for webhooks to leave, and for WhatsApp Web."""

    def __init__(
        self,
        config: Config,
        *,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.settings = config.settings
        self.network = Network(clock=clock)
        self.feed = Feed()
        self.ledger = Ledger(config.ledger, watch=self._tell_wire)
        self.faults = Faults()
        self.url_secret = secrets.token_bytes(32)
        self._client = client or httpx.AsyncClient(
            trust_env=False,
            timeout=60,  # `Webhooks` has a shorter deadline of its own round every attempt
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4),
        )
        self.webhooks = Webhooks(
            network=self.network,
            ledger=self.ledger,
            faults=self.faults,
            settings=lambda: self.settings,
            client=self._client,
        )
        self.callbacks = Callbacks(
            network=self.network,
            settings=lambda: self.settings,
            client=self._client,
            allow_remote=config.allow_remote,
        )
        self.traffic = Traffic(
            network=self.network,
            ledger=self.ledger,
            webhooks=self.webhooks,
            feed=self.feed,
            settings=lambda: self.settings,
        )
        self.review = Review(
            network=self.network,
            timers=self.webhooks.timers,
            settings=lambda: self.settings,
            tell=self.account_event,
        )
        self.twilio = Twilio(self, self._client, lambda: self.settings, ready=config.ready)
        self.web = (
            None
            if config.web is None
            else Web(config.web, ledger=self.ledger, feed=self.feed, now=self.network.now)
        )
        self._media_ids = itertools.count(secrets.randbelow(10**9) + 10**15)
        self.app: ASGIApp  # set by `create_sandbox`
        if config.ready:
            for spec in (READY, READY_SECOND, READY_DIALOG360):
                put_number(self.network, spec)
            for person in _READY_CUSTOMERS:
                self.person(person)

    def __repr__(self) -> str:
        return f"<Sandbox of {len(self.network.numbers)} numbers, {self.ledger!r}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with trio.open_nursery() as nursery:
                if self.web is not None:
                    await nursery.start(self.web.run)
                await nursery.start(self.webhooks.run)
                await nursery.start(self.twilio.webhooks.run)
                task_status.started()
        finally:
            self.ledger.close()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self._client.aclose()

    # --- numbers ----------------------------------------------------------------------------------

    def _tell_wire(self, line: bytes) -> None:
        if self.feed.watched:
            self.feed.tell({"event": "wire", "entry": msgspec.Raw(line)})

    def number(self, phone_number_id: str | None) -> Number:
        numbers = self.network.numbers
        if phone_number_id is None and numbers:
            return next(iter(numbers.values()))
        if phone_number_id not in numbers:
            raise ValueError(f"no such number: {phone_number_id}")
        return numbers[phone_number_id]

    def number_id(self, given: str | None) -> str:
        """The id of the number that is meant, whoever's it is: Meta's number, or a sender of Twilio's."""
        sender = self.twilio.sender(given)
        return sender.address if sender is not None else self.number(given).phone_number_id

    # --- what is under way ------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """What is still to be told: nothing when all are zero."""
        twilio = self.twilio.webhooks.counts
        return {name: count + twilio[name] for name, count in self.webhooks.counts.items()}

    async def settled(self) -> None:
        """Wait until nothing is scheduled, waiting, on the wire or to be retried."""
        while any(self.counts.values()):
            await self.webhooks.settled()
            await self.twilio.webhooks.settled()

    # --- people -----------------------------------------------------------------------------------

    def person(self, given: Person) -> Customer:
        """The customer that is meant, made if new, changed where more is said of them."""
        network = self.network
        phone = phone_key(given.phone) if given.phone is not None else None
        found: Customer | None = None
        if given.user_id is not None:
            found = network.customers.get(given.user_id)
        elif phone is not None:
            found = network.customer_by_digits(digits_of(phone))
        else:
            raise ValueError("a customer needs a phone or a userId")
        said: dict[str, Any] = {
            name: value
            for name in (
                "name",
                "username",
                "parent_user_id",
                "wa_id",
                "on_whatsapp",
                "shows_phone",
                "identity",
            )
            if (value := getattr(given, name)) is not None
        }
        if found is None:
            said.setdefault("shows_phone", phone is not None)
            return network.new_customer(phone, user_id=given.user_id, **said)
        for name, value in said.items():
            setattr(found, name, value)
        if phone is not None:
            found.phone = phone
        return network.add_customer(found)

    def add_group(
        self,
        number: Number,
        subject: str,
        *,
        members: list[Customer],
        description: str = "",
        group_id: str | None = None,
    ) -> Group:
        group = Group(
            group_id=group_id or new_group_id(number.digits),
            phone_number_id=number.phone_number_id,
            subject=subject,
            description=description,
            created=self.network.now(),
            members=[member.user_id for member in members],
            invite=f"https://chat.whatsapp.com/{secrets.token_urlsafe(16)}",
        )
        self.network.groups[group.group_id] = group
        return group

    def group_event(self, number: Number, field: str, change: dict[str, Any]) -> None:
        value = {"messaging_product": "whatsapp", "metadata": metadata(number), "groups": [change]}
        self.traffic.account_event(number, field, value)

    def account_event(self, waba_id: str, field: str, value: dict[str, Any]) -> str | None:
        """An event of the account as a whole; one without numbers has nobody to be told by."""
        numbers = self.network.numbers_in(waba_id)
        return self.traffic.account_event(numbers[0], field, value) if numbers else None

    def new_media_id(self) -> str:
        return str(next(self._media_ids))
