"""What passes between senders and customers: sends with their statuses one way, what customers write the other.

Each thing is remembered (chats, windows), written to the ledger, shown on the page and told by webhook, in that order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from wad.sandbox.faults import EarlyStatus, Fail, RequestFault
from wad.sandbox.feed import Feed
from wad.sandbox.inbound import Inbound
from wad.sandbox.ledger import Ledger
from wad.sandbox.network import Customer, Message, Network
from wad.sandbox.settings import Settings
from wad.sandbox.timers import Timers
from wad.sandbox.traffic import TYPING_LASTS, shown
from wad.sandbox.twilio.accept import Gate
from wad.sandbox.twilio.accounts import Account, Accounts, Media, Record, Sender, new_sid
from wad.sandbox.twilio.errors import TwilioError
from wad.sandbox.twilio.events import Event
from wad.sandbox.twilio.inbound import address_of, body_of, names, parameters
from wad.sandbox.twilio.looks import look
from wad.sandbox.twilio.statuses import BAD, callback_data, rank, status_parameters, statuses
from wad.sandbox.twilio.validate import Send
from wad.sandbox.twilio.webhooks import TwilioWebhooks


class TwilioTraffic:
    def __init__(
        self,
        *,
        accounts: Accounts,
        network: Network,
        ledger: Ledger,
        webhooks: TwilioWebhooks,
        feed: Feed,
        settings: Callable[[], Settings],
        timers: Timers,
        next_event_id: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._network = network
        self._ledger = ledger
        self._webhooks = webhooks
        self._feed = feed
        self._settings = settings
        self._timers = timers
        self._next_event_id = next_event_id
        self._gate = Gate(accounts, network)

    # --- business → customer ----------------------------------------------------------------------

    async def send(self, account: Account, send: Send, fault: RequestFault | None) -> Record:
        """Take a message. Every later status is on its way when this returns."""
        settings = self._settings()
        now = self._network.now()
        accepted = self._gate.accept(account, send, settings)
        sender, customer, template = accepted.sender, accepted.customer, accepted.template
        failure = accepted.failure
        type_, content = look(send, template)
        sid = new_sid("MM" if send.media else "SM")
        at = max(send.send_at or now, now)
        record = Record(
            sid=sid,
            account_sid=account.sid,
            sender=sender,
            customer=customer,
            inbound=False,
            address=send.to,
            body=send.body if template is None else str(content.get("body", "")),
            created=now,
            updated=now,
            status="scheduled" if send.send_at else "accepted" if send.service_sid else "queued",
            service_sid=send.service_sid,
            callback=send.status_callback or sender.status_callback,
            callback_data=callback_data(send.status_callback),
            media_count=len(send.media),
            shown=Message(
                wamid=sid,
                direction="out",
                phone_number_id=sender.address,
                chat=customer.user_id,
                type=type_,
                content=content,
                at=now,
            ),
        )
        self._accounts.keep(record)
        self._network.remember(record.shown)
        self._ledger.write(
            "send",
            now,
            {
                "phoneNumberId": sender.address,
                "wamid": sid,
                "callbackData": record.callback_data,
                "to": send.to,
                "waId": customer.wa_id,
                "userId": customer.user_id,
                "groupId": None,
                "type": send.type,
                "fault": fault.__struct_config__.tag if fault is not None else None,
                "body": send.form,
            },
        )
        self._show("message", record.shown)
        if isinstance(fault, Fail):
            failure = TwilioError(fault.code, fault.details)
        become = partial(self.status, record, error=failure)
        coming = statuses(failure, settings)
        if isinstance(fault, EarlyStatus):
            for status, _ in itertools.islice(coming, 1):
                arrived = trio.Event()
                become(status, arrived=arrived)
                await arrived.wait()
        for status, delay in coming:
            self._timers.later(at - now + delay, partial(become, status))
        return record

    def status(
        self,
        record: Record,
        status: str,
        *,
        error: TwilioError | None = None,
        arrived: trio.Event | None = None,
    ) -> str:
        """Let *status* of *record* happen; answers the event's id."""
        now = self._network.now()
        if status in BAD or rank(status) > rank(record.status):
            record.status, record.updated = status, now
            record.shown.status = "failed" if status in BAD else status
        if record.sent is None and status in ("sent", "delivered", "read"):
            record.sent = now
        if error is not None:
            record.error = (error.code, error.message)
            record.shown.failed = {
                "code": error.code,
                "title": error.message,
                "error_data": {"details": error.more_info},
            }
        self._show("status", record.shown)
        event = Event(
            event_id=self._next_event_id(),
            kind="status",
            sender=record.sender,
            chat=record.customer.user_id,
            at=now,
            params=status_parameters(record, status, error),
            url=record.callback,
            type=record.shown.type,
            wamid=record.sid,
            status=status,
            callback_data=record.callback_data,
            token=new_sid("")[:32],
        )
        if arrived is not None:
            event.tried.append(arrived.set)
        self._webhooks.emit(event, who=names(record.customer))
        return event.event_id

    def mark_read(self, record: Record) -> None:
        """The business is typing, and has read all that was written until then."""
        for earlier in self._network.chat(record.sender.address, record.customer.user_id):
            if earlier.direction == "in" and not earlier.read:
                earlier.read = True
                self._show("status", earlier)
            if earlier is record.shown:
                break
        if self._feed.watched:
            self._feed.tell({
                "event": "typing",
                "phoneNumberId": record.sender.address,
                "chat": record.customer.user_id,
                "seconds": TYPING_LASTS,
            })  # fmt: skip

    # --- customer → business ----------------------------------------------------------------------

    def write(
        self,
        sender: Sender,
        customer: Customer,
        type_: str,
        content: Any,
        *,
        given: Inbound,
        media: list[Media],
        base_url: str,
    ) -> tuple[Message, str]:
        """A customer's message; *content* is in Meta's shape. The message, and its event's id."""
        now = self._network.now() if given.timestamp is None else given.timestamp
        sid = given.wamid or new_sid("MM" if media else "SM")
        replied = self._accounts.records.get(given.reply_to) if given.reply_to is not None else None
        if given.reply_to is not None and replied is None:
            raise ValueError(f"there is no message {given.reply_to} to reply to")
        account = self._accounts.account_of(sender)
        services = [mg for mg, addresses in account.services.items() if sender.address in addresses]
        record = Record(
            sid=sid,
            account_sid=account.sid,
            sender=sender,
            customer=customer,
            inbound=True,
            address=address_of(customer),
            body=body_of(type_, content),
            created=now,
            updated=now,
            sent=now,
            status="received",
            service_sid=services[0] if services else None,
            media=media,
            media_count=len(media),
            shown=Message(
                wamid=sid,
                direction="in",
                phone_number_id=sender.address,
                chat=customer.user_id,
                type=type_,
                content=content,
                at=now,
                sender=customer.user_id,
                context=None if replied is None else {"id": replied.sid},
            ),
        )
        said = parameters(record, given, content, replied=replied, base_url=base_url)
        self._accounts.keep(record)
        self._network.remember(record.shown)
        self._show("message", record.shown)
        event = Event(
            event_id=self._next_event_id(),
            kind="message",
            sender=sender,
            chat=customer.user_id,
            at=now,
            params=said,
            url=sender.webhook_url,
            method=sender.webhook_method,
            type=type_,
            wamid=sid,
            token=new_sid("")[:32],
        )
        self._webhooks.emit(event, who=names(customer))
        return record.shown, event.event_id

    def _show(self, event: str, message: Message) -> None:
        if self._feed.watched:
            self._feed.tell({"event": event, "message": shown(message)})
