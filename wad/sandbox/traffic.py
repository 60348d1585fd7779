"""What passes over the network: sends and their statuses one way, customers' messages the other.

Each thing is remembered (chats, windows), written to the ledger, shown on the page and turned into a
webhook event, in that order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec
import trio

from wad.sandbox.accept import Gate
from wad.sandbox.envelope import Event, contact, message_item, participant_item, status_item
from wad.sandbox.errors import GraphError, bad_value, invalid
from wad.sandbox.faults import EarlyStatus, Fail, RequestFault
from wad.sandbox.feed import Feed
from wad.sandbox.ids import new_wamid
from wad.sandbox.ledger import Ledger
from wad.sandbox.network import Customer, Group, Message, Network, Number
from wad.sandbox.settings import Settings
from wad.sandbox.shape import only
from wad.sandbox.validate import check_send, wrong_product
from wad.sandbox.webhooks import Webhooks

TYPING_LASTS: Final = 25.0

#: How far along a status is; the page shows the furthest.
_RANK: Final = {"accepted": 0, "sent": 1, "delivered": 2, "read": 3, "played": 4, "failed": 5}


class Traffic:
    def __init__(
        self,
        *,
        network: Network,
        ledger: Ledger,
        webhooks: Webhooks,
        feed: Feed,
        settings: Callable[[], Settings],
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._webhooks = webhooks
        self._feed = feed
        self._settings = settings
        self._gate = Gate(network)

    # --- business → customer ----------------------------------------------------------------------

    async def send(
        self, number: Number, body: dict[str, Any], fault: RequestFault | None, *, marketing: bool = False
    ) -> dict[str, Any]:
        """Take a message, and answer as Meta does. Every later status is on its way when this returns.

        With *marketing* it has come by the Marketing Messages API.
        """
        send = check_send(body, marketing=marketing)
        settings = self._settings()
        accepted = self._gate.accept(number, send, settings)
        now = self._network.now()
        message = Message(
            wamid=accepted.wamid,
            direction="out",
            phone_number_id=number.phone_number_id,
            chat=accepted.chat,
            type=send.type,
            content=accepted.content,
            at=now,
            context=None if send.quotes is None else {"id": send.quotes},
            callback_data=send.callback_data,
            by_user_id=send.recipient is not None,
            category=accepted.category,
        )
        self._network.remember(message)
        customer = accepted.customer
        self._ledger.write(
            "send",
            now,
            {
                "operation": "marketing" if marketing else "messages",
                "phoneNumberId": number.phone_number_id,
                "wamid": message.wamid,
                "callbackData": send.callback_data,
                "to": send.to or send.recipient,
                "waId": customer.wa_id if customer is not None else None,
                "userId": customer.user_id if customer is not None else None,
                "groupId": accepted.group.group_id if accepted.group is not None else None,
                "type": send.type,
                "fault": fault.__struct_config__.tag if fault is not None else None,
                "body": body,
            },
        )
        self._show("message", message)
        failure = accepted.failure
        if isinstance(fault, Fail):
            failure = GraphError(fault.code, fault.details)
        statuses = self._statuses(send.type, failure, settings)
        become = partial(self.status, number, message, group=accepted.group, error=failure)
        if isinstance(fault, EarlyStatus):
            for status, _ in itertools.islice(statuses, 1):
                arrived = trio.Event()
                become(status, arrived=arrived)
                await arrived.wait()
        for status, delay in statuses:
            self._webhooks.timers.later(delay, partial(become, status))
        return accepted.answer

    def _statuses(
        self, type_: str, failure: GraphError | None, settings: Settings
    ) -> Iterator[tuple[str, float]]:
        delays = settings.statuses
        if failure is not None:
            yield "failed", delays.get("sent", 0.0)
            return
        for status, delay in delays.items():
            if type_ == "reaction" and status != "sent":
                continue
            if status == "played" and type_ != "audio":
                continue
            yield status, delay

    def status(
        self,
        number: Number,
        message: Message,
        status: str,
        *,
        at: float | None = None,
        group: Group | None = None,
        error: GraphError | None = None,
        arrived: trio.Event | None = None,
    ) -> str:
        """Let *status* of *message* happen; answers the event's id."""
        at = self._network.now() if at is None else at
        if _RANK.get(status, 0) > _RANK.get(message.status, 0):
            message.status = status
        if error is not None:
            message.failed = error.in_webhook()
        self._show("status", message)
        contacts: list[dict[str, Any]] = []
        who: tuple[str, ...]
        if group is None:
            customer = self._network.customers[message.chat]
            items = [status_item(message, status, at, customer, error=error)]
            if error is None:
                contacts = [contact(customer)]
            who = names_of(customer)
        else:
            members = [self._network.customers[member] for member in group.members]
            who = (group.group_id,)
            if status in ("sent", "failed"):
                items = [status_item(message, status, at, None, error=error)]
            else:
                items = [participant_item(message, status, at, member) for member in members]
        event = Event(
            event_id=self._webhooks.next_event_id(),
            kind="status",
            number=number,
            lane=f"{number.phone_number_id}/{message.chat}",
            at=at,
            items=items,
            contacts=contacts,
        )
        if arrived is not None:
            event.tried.append(arrived.set)
        self._webhooks.emit(event, who=who, type_=message.type)
        return event.event_id

    def mark_read(self, number: Number, body: dict[str, Any]) -> dict[str, Any]:
        """`{"status": "read", "message_id", "typing_indicator"?}`: a read receipt, and dots for 25 s."""
        if body.get("messaging_product") != "whatsapp":
            raise wrong_product(body.get("messaging_product"))
        only(body, {"messaging_product", "status", "message_id", "typing_indicator"})
        if body["status"] != "read":
            raise invalid(f'Param status must be one of {{READ}} - got "{body["status"]}".')
        wamid = body.get("message_id")
        if not isinstance(wamid, str):
            raise GraphError(131008, "Parameter 'message_id' is mandatory")
        message = self._network.messages.get(wamid)
        if message is None or message.direction != "in" or message.phone_number_id != number.phone_number_id:
            raise bad_value("Message ID is not valid")
        if message.chat in self._network.groups:
            raise bad_value("Group messages cannot be marked as read")
        typing = body.get("typing_indicator")
        if typing is not None and typing != {"type": "text"}:
            raise invalid("Param typing_indicator['type'] must be one of {TEXT}.")
        for earlier in self._network.chat(message.phone_number_id, message.chat):
            if earlier.direction == "in" and not earlier.read:
                earlier.read = True
                self._show("status", earlier)
            if earlier is message:
                break
        if typing is not None and self._feed.watched:
            self._feed.tell(
                {
                    "event": "typing",
                    "phoneNumberId": message.phone_number_id,
                    "chat": message.chat,
                    "seconds": TYPING_LASTS,
                }
            )
        return {"success": True}

    # --- customer → business ----------------------------------------------------------------------

    def write(
        self,
        number: Number,
        customer: Customer,
        type_: str,
        extra: dict[str, Any],
        *,
        group: Group | None = None,
        context: dict[str, Any] | None = None,
        wamid: str | None = None,
        at: float | None = None,
        quietly: bool = False,
    ) -> tuple[Message, str]:
        """A customer's message. *extra* is what the item carries beside the common keys: `{"text": {...}}`.

        With *quietly* it is no message of theirs but of the system's: it opens no window and has no contacts.
        """
        message = Message(
            wamid=wamid or new_wamid(customer.wa_id, inbound=True),
            direction="in",
            phone_number_id=number.phone_number_id,
            chat=group.group_id if group is not None else customer.user_id,
            type=type_,
            content=extra.get(type_, extra),
            at=self._network.now() if at is None else at,
            sender=customer.user_id,
            context=context,
        )
        if not quietly:
            self._network.remember(message)
            self._show("message", message)
        event = Event(
            event_id=self._webhooks.next_event_id(),
            kind="message",
            number=number,
            lane=f"{number.phone_number_id}/{message.chat}",
            at=message.at,
            items=[message_item(message, customer, group=group) | extra],
            contacts=[] if quietly else [contact(customer)],
        )
        self._webhooks.emit(event, who=names_of(customer), type_=type_)
        return message, event.event_id

    def account_event(self, number: Number, field: str, value: dict[str, Any]) -> str:
        """An event of any other webhook field, as it stands."""
        event = Event(
            event_id=self._webhooks.next_event_id(),
            kind="account",
            number=number,
            lane=f"account/{number.waba_id}",
            at=self._network.now(),
            items=[],
            field=field,
            value=value,
        )
        self._webhooks.emit(event)
        return event.event_id

    # --- the page ---------------------------------------------------------------------------------

    def _show(self, event: str, message: Message) -> None:
        if self._feed.watched:
            self._feed.tell({"event": event, "message": shown(message)})


def shown(message: Message) -> dict[str, Any]:
    """A message as the page gets it."""
    return {
        "wamid": message.wamid,
        "direction": message.direction,
        "phoneNumberId": message.phone_number_id,
        "chat": message.chat,
        "type": message.type,
        "content": msgspec.to_builtins(message.content),
        "at": message.at,
        "sender": message.sender,
        "status": message.status,
        "failed": message.failed,
        "read": message.read,
        "context": message.context,
    }


def names_of(customer: Customer) -> tuple[str, ...]:
    """What a fault script may call them."""
    return (customer.user_id, customer.wa_id, (customer.phone or "").removeprefix("+"))
