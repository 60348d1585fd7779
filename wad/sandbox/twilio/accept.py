"""Whether Twilio takes a valid send, and whether it will arrive. A decision: nothing changes here but limits.

What Twilio refuses in its answer is raised. What it finds out later (not on WhatsApp, window closed, a template that
WhatsApp has paused) is `failure`: the send is taken, and is `failed` or `undelivered` then.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from wad.sandbox.ids import is_plausible
from wad.sandbox.limits import PairLimit, Throughput
from wad.sandbox.network import Customer, Network
from wad.sandbox.settings import Settings
from wad.sandbox.twilio.accounts import PREFIX, Account, Accounts, Sender
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.templates import Template
from wad.sandbox.twilio.validate import Send


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    sender: Sender
    customer: Customer
    template: Template | None
    failure: TwilioError | None


class Gate:
    """Twilio's word on each send. Holds the limits; all else is read from the world."""

    def __init__(self, accounts: Accounts, network: Network) -> None:
        self._accounts = accounts
        self._network = network
        self._pairs = PairLimit()
        self._throughput = Throughput()

    def accept(self, account: Account, send: Send, settings: Settings) -> Accepted:
        sender = self._sender(account, send)
        customer = self._customer(send, settings)
        template = None
        if send.content_sid is not None:
            template = account.templates.get(send.content_sid)
            if template is None:
                raise TwilioError(21655)
        rate = settings.throughput
        if rate is not None and not self._throughput.take(sender.address, rate, self._network.now()):
            raise TwilioError(20429)
        failure = self._failure(sender, customer, send, template, settings)
        if failure is not None and settings.failures == "answer":
            raise failure
        return Accepted(sender=sender, customer=customer, template=template, failure=failure)

    def _sender(self, account: Account, send: Send) -> Sender:
        address = send.sender
        if send.service_sid is not None:
            addresses = account.services.get(send.service_sid)
            if addresses is None:
                raise TwilioError(21701)
            if not addresses:
                raise TwilioError(21704)
            address = addresses[0]
        sender = self._accounts.senders.get(address or "")
        if sender is None or sender.account_sid != account.sid:
            raise TwilioError(63007)
        if send.to == sender.address:
            raise TwilioError(63031)
        return sender

    def _customer(self, send: Send, settings: Settings) -> Customer:
        address = send.to.removeprefix(PREFIX)
        if not address.startswith("+"):
            known = self._network.customer_by_user_id(address)
            if known is None:
                raise TwilioError(21211, f"The 'To' number {send.to} is not a valid phone number.")
            return known
        digits = address[1:]
        customer = self._network.customer_by_digits(digits)
        if customer is None:
            on_whatsapp = settings.strangers_on_whatsapp and is_plausible(digits)
            customer = self._network.new_customer(address, on_whatsapp=on_whatsapp)
        return customer

    def _failure(
        self,
        sender: Sender,
        customer: Customer,
        send: Send,
        template: Template | None,
        settings: Settings,
    ) -> TwilioError | None:
        """What Twilio finds out once it has taken the message."""
        now = self._network.now()
        window = not settings.enforce_window or self._network.window_is_open(sender.address, customer.user_id)
        if not customer.on_whatsapp:
            return TwilioError(63024)
        if settings.pair_limit and not self._pairs.take(sender.address, customer.user_id, now):
            return TwilioError(63018)
        if template is not None:
            return template.failure(send.variables, window_open=window)
        if not window:
            return TwilioError(63016)
        # A name that cannot exist (RFC 2606) is the way to ask for a link that cannot be fetched.
        if any((urlsplit(url).hostname or "").endswith(".invalid") for url in send.media):
            return TwilioError(63019)
        return None
