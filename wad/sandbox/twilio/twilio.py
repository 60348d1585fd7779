"""Twilio's side as one object: its accounts, their traffic, and the webhooks that tell of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from wad.sandbox.inbound import MADE_UP, Inbound, Person, Press, described_media, pressed_of, type_of
from wad.sandbox.network import Customer, Message
from wad.sandbox.settings import Settings
from wad.sandbox.twilio.accounts import READY_SENDER, Accounts, Media, Sender, SenderSpec, new_sid
from wad.sandbox.twilio.inbound import MEDIA, TOLD
from wad.sandbox.twilio.poster import Poster
from wad.sandbox.twilio.traffic import TwilioTraffic
from wad.sandbox.twilio.webhooks import TwilioWebhooks

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox


class Twilio:
    """Made with the sandbox, whose people, ledger, faults and feed it shares."""

    def __init__(
        self, sandbox: Sandbox, client: httpx.AsyncClient, settings: Callable[[], Settings], *, ready: bool
    ) -> None:
        self._sandbox = sandbox
        network = sandbox.network
        self.accounts = Accounts()
        self.poster = Poster(
            accounts=self.accounts,
            ledger=sandbox.ledger,
            settings=settings,
            client=client,
            now=network.now,
        )
        self.webhooks = TwilioWebhooks(
            poster=self.poster,
            ledger=sandbox.ledger,
            faults=sandbox.faults,
            settings=settings,
            timers=sandbox.webhooks.timers,
        )
        self.traffic = TwilioTraffic(
            accounts=self.accounts,
            network=network,
            ledger=sandbox.ledger,
            webhooks=self.webhooks,
            feed=sandbox.feed,
            settings=settings,
            timers=sandbox.webhooks.timers,
            next_event_id=sandbox.webhooks.next_event_id,
        )
        if ready:
            self.put(READY_SENDER)

    def put(self, spec: SenderSpec) -> Sender:
        """Create the sender, or change what *spec* says of it."""
        for url in (spec.webhook_url, spec.fallback_url, spec.status_callback):
            if url:
                self._sandbox.callbacks.check(url)
        return self.accounts.put(spec, self._sandbox.network.now())

    def sender(self, number_id: str | None) -> Sender | None:
        """By its address, or by the number in it."""
        if number_id is None:
            return None
        return self.accounts.senders.get(number_id) or self.accounts.senders.get(f"whatsapp:{number_id}")

    # --- customers act ----------------------------------------------------------------------------

    def receive(self, sender: Sender, given: Inbound, base_url: str) -> tuple[Message, str, Customer]:
        """Let the customer send it. `ValueError` says what is wrong with *given*."""
        type_ = type_of(given)
        if type_ not in TOLD:
            raise ValueError(f"Twilio does not pass on a message of type {type_}")
        if given.group_id is not None:
            raise ValueError("Twilio has no groups")
        customer = self._sandbox.person(given.sender)
        value: Any = getattr(given, type_)
        if isinstance(value, str):
            value = {"body": value}
        value = MADE_UP.get(type_) if value is None else value
        media: list[Media] = []
        if type_ in MEDIA:
            value, media = self._file(sender, type_, value)
        message, event_id = self.traffic.write(
            sender, customer, type_, value, given=given, media=media, base_url=base_url
        )
        return message, event_id, customer

    def press(self, given: Press, base_url: str) -> tuple[Message, str, Customer] | None:
        """A button or row of a message that a sender sent; none where it is no sender's."""
        record = self.accounts.records.get(given.wamid)
        if record is None or record.inbound:
            return None
        type_, value = pressed_of(record.shown, given.id)
        message, event_id = self.traffic.write(
            record.sender,
            record.customer,
            type_,
            value,
            given=Inbound(sender=Person(user_id=record.customer.user_id), reply_to=record.sid),
            media=[],
            base_url=base_url,
        )
        return message, event_id, record.customer

    def _file(self, sender: Sender, type_: str, value: Any) -> tuple[Any, list[Media]]:
        """Store the file that comes with the message, and describe it as the page draws it."""
        if type_ == "contacts":
            return value, [Media(new_sid("ME"), "text/vcard", _vcard(each)) for each in value]
        described = described_media(self._sandbox, sender.address, type_, dict(value or {}))
        file = self._sandbox.network.media[described["id"]]
        return described, [Media(new_sid("ME"), file.mime_type, file.data)]


def _vcard(contact: dict[str, Any]) -> bytes:
    name = contact.get("name", {}).get("formatted_name", "")
    phones = [f"TEL;TYPE=CELL:{each.get('phone', '')}" for each in contact.get("phones", ())]
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", *phones, "END:VCARD", ""]).encode()
