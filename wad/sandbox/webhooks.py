"""Delivery of webhook events to the callbacks: in order within a chat, side by side across chats, retried.

Events of a callback wait in lanes, one a chat. A lane has one event (or one batch) on the wire at a time;
when its first attempt is over the next one goes, whatever the answer was. A POST that was not answered
200 comes back after growing delays, the same bytes again, until it is or Meta would have given up.
"""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias

import httpx
import trio

from wad.sandbox.envelope import Event, Signature, encode, envelope, proof
from wad.sandbox.faults import (
    DropCallbackData,
    Duplicate,
    Faults,
    Forge,
    Late,
    Lose,
    Reorder,
)
from wad.sandbox.lanes import Delivery, Destination
from wad.sandbox.ledger import Ledger
from wad.sandbox.network import App, Callback, Network, Number
from wad.sandbox.settings import Settings
from wad.sandbox.timers import Timer, Timers

Order: TypeAlias = Literal["as_is", "reversed", "shuffled"]

#: What tells one destination from another: the URL, the headers in place of a signature, and the app that signs.
_Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...] | None, str]

_REMEMBERED: Final = 20_000  # events that can be replayed


class Webhooks:
    def __init__(
        self,
        *,
        network: Network,
        ledger: Ledger,
        faults: Faults,
        settings: Callable[[], Settings],
        client: httpx.AsyncClient,
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._faults = faults
        self._settings = settings
        self._client = client
        self._destinations: dict[_Key, Destination] = {}
        self.timers = Timers()
        self._numbers = itertools.count(1)
        self._events = itertools.count(1)
        self._settled = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._remembered: OrderedDict[str, Event] = OrderedDict()
        self._swapped: dict[
            str, tuple[Event, Callback, Timer]
        ] = {}  # lane → the event that waits for the next one
        self.held = False

    # --- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self.timers.run(self._tell_settled)

    @property
    def counts(self) -> dict[str, int]:
        """What is still to be done: nothing when all are zero."""
        destinations = self._destinations.values()
        return {
            "scheduled": len(self.timers),
            "waiting": sum(destination.waiting for destination in destinations),
            "inFlight": sum(destination.in_flight for destination in destinations),
            "retrying": sum(len(destination.again) for destination in destinations),
        }

    async def settled(self) -> None:
        """Wait until nothing is scheduled, waiting, on the wire or to be retried."""
        while any(self.counts.values()):
            if self._settled.is_set():
                self._settled = trio.Event()
            await self._settled.wait()

    def _tell_settled(self) -> None:
        if not any(self.counts.values()):
            self._settled.set()

    # --- events come in ---------------------------------------------------------------------------

    def next_event_id(self) -> str:
        return f"evt_{next(self._events)}"

    def emit(self, event: Event, *, who: Iterable[str] = (), type_: str | None = None) -> None:
        """Record the event and see to its delivery, with what the fault scripts have to say."""
        item = event.items[0] if event.items else {}
        callback = self._network.callback_of(event.number, messages=event.field == "messages")
        self._ledger.write(
            "event",
            event.at,
            {
                "eventId": event.event_id,
                "event": event.kind,
                "phoneNumberId": event.number.phone_number_id,
                "field": event.field,
                "wamid": item.get("id"),
                "status": item.get("status"),
                "type": item.get("type"),
                "callbackData": item.get("biz_opaque_callback_data"),
                "callback": callback and callback.url,
                "items": event.items if event.value is None else [event.value],
            },
        )
        self._remembered[event.event_id] = event
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        if callback is None:
            self._tried([event])
            return
        fault = self._faults.for_event(
            event.number.phone_number_id, tuple(who), event.kind, item.get("status"), type_
        )
        match fault:
            case None:
                self._put(event, callback)
            case Duplicate():
                for _ in range(fault.copies):
                    self._put(event, callback)
            case Reorder():
                self._release_swapped(event.lane)
                timer = self.timers.later(fault.seconds, lambda: self._release_swapped(event.lane))
                self._swapped[event.lane] = (event, callback, timer)
                return
            case Late():
                self.timers.later(fault.seconds, lambda: self._put(event, callback))
            case Lose():
                self._tried([event])
            case DropCallbackData():
                for entry in event.items:
                    entry.pop("biz_opaque_callback_data", None)
                self._put(event, callback)
            case Forge():
                self._post_forged(event, callback, fault)
            case _:
                raise AssertionError(f"a fault that is not for events: {fault!r}")
        self._release_swapped(event.lane)

    def _release_swapped(self, lane: str) -> None:
        waiting = self._swapped.pop(lane, None)
        if waiting is not None:
            event, callback, timer = waiting
            self.timers.cancel(timer)
            self._put(event, callback)

    def _put(self, event: Event, callback: Callback) -> None:
        destination = self._destination(event, callback)
        batch = self._settings().batch
        if not destination.waiting and batch.linger:
            destination.opens_at = trio.current_time() + batch.linger
            self.timers.later(batch.linger, lambda: self._kick(destination))
        destination.put(event)
        if destination.waiting >= batch.max:
            destination.opens_at = 0.0
        self._kick(destination)

    def _destination(self, event: Event, callback: Callback) -> Destination:
        app = self._network.app_of(event.number)
        key = _key(callback, app)
        destination = self._destinations.get(key)
        if destination is None:
            destination = self._destinations[key] = Destination(callback, app)
        return destination

    # --- deliveries go out ------------------------------------------------------------------------

    def _kick(self, destination: Destination) -> None:
        if self._nursery is None:
            return
        settings = self._settings()
        while destination.in_flight < settings.concurrency:
            if destination.again:
                destination.in_flight += 1
                self._nursery.start_soon(self._carry, destination, destination.again.popleft(), False)
            elif self.held or not destination.ready or trio.current_time() < destination.opens_at:
                return
            else:
                delivery = self._delivery(destination, destination.take(settings.batch.max))
                destination.in_flight += 1
                self._nursery.start_soon(self._carry, destination, delivery, True)

    def _delivery(self, destination: Destination, events: list[Event]) -> Delivery:
        body = encode(envelope(events))
        return Delivery(
            delivery_id=f"dlv_{next(self._numbers)}",
            events=events,
            body=body,
            headers=proof(destination.callback, destination.app.app_secret, body),
            started=trio.current_time(),
        )

    async def _carry(self, destination: Destination, delivery: Delivery, first: bool) -> None:
        """One attempt, and what follows from its answer."""
        try:
            status = await self._post(destination, delivery)
        finally:
            destination.in_flight -= 1
        if first:
            destination.free(delivery.events)
        if delivery.attempts == 1:
            self._tried(delivery.events)
        if status != 200:
            self._retry(destination, delivery)
        self._kick(destination)
        self._tell_settled()

    def _retry(self, destination: Destination, delivery: Delivery) -> None:
        settings = self._settings()
        delay = settings.retry_delays[min(delivery.attempts, len(settings.retry_delays)) - 1]
        if trio.current_time() + delay - delivery.started > settings.give_up_after:
            return

        def once_more() -> None:
            destination.again.append(delivery)
            self._kick(destination)

        self.timers.later(delay, once_more)

    async def _post(self, destination: Destination, delivery: Delivery) -> int | None:
        delivery.attempts += 1
        started = trio.current_time()
        status: int | None = None
        error: str | None = None
        try:
            with trio.fail_after(self._settings().webhook_timeout):
                response = await self._client.post(
                    destination.callback.url,
                    content=delivery.body,
                    headers={
                        "Content-Type": "application/json",
                        "User-Agent": "facebookexternalua",
                        **delivery.headers,
                    },
                )
            status = response.status_code
        except (httpx.HTTPError, trio.TooSlowError) as failure:
            error = type(failure).__name__
        self._ledger.write(
            "delivery",
            self._network.now(),
            {
                "deliveryId": delivery.delivery_id,
                "url": destination.callback.url,
                "events": [event.event_id for event in delivery.events],
                "attempt": delivery.attempts,
                "status": status,
                "error": error,
                "seconds": round(trio.current_time() - started, 4),
            },
        )
        return status

    def _tried(self, events: Iterable[Event]) -> None:
        for event in events:
            tried, event.tried = event.tried, []
            for act in tried:
                act()

    def _post_forged(self, event: Event, callback: Callback, fault: Forge) -> None:
        """An attacker's POST first, then the real one, so that a test sees that only the second counts."""
        destination = self._destination(event, callback)
        forged = self._delivery(destination, [event])
        forged.headers = proof(callback, destination.app.app_secret, forged.body, fault.signature)

        async def forge() -> None:
            await self._post(destination, forged)
            self._put(event, callback)

        assert self._nursery is not None
        self._nursery.start_soon(forge)

    # --- by hand ----------------------------------------------------------------------------------

    async def release(
        self, *, order: Order = "as_is", batch: int = 1, copies: int = 1
    ) -> list[dict[str, Any]]:
        """Let go of what was held: one POST after the other, in this order. Answers what each was answered."""
        self.held = False
        held = [(destination, destination.drain()) for destination in self._destinations.values()]
        return [
            entry
            for destination, events in held
            for entry in await self._send_by_hand(destination, _ordered(events * copies, order), batch)
        ]

    async def replay(
        self, event_ids: list[str] | None, *, last: int | None = None, order: Order = "as_is", batch: int = 1
    ) -> list[dict[str, Any]]:
        """Deliver again what was delivered before: what a retry that Meta did not need looks like."""
        known = list(self._remembered.values())
        if event_ids is not None:
            missing = [event_id for event_id in event_ids if event_id not in self._remembered]
            if missing:
                raise ValueError(f"no such events: {', '.join(missing)}")
            known = [self._remembered[event_id] for event_id in event_ids]
        elif last is not None:
            known = known[-last:]
        groups: dict[_Key, tuple[Destination, list[Event]]] = {}
        for event in known:
            callback = self._network.callback_of(event.number, messages=event.field == "messages")
            if callback is not None:
                destination = self._destination(event, callback)
                groups.setdefault(_key(callback, destination.app), (destination, []))[1].append(event)
        answers: list[dict[str, Any]] = []
        for destination, events in groups.values():
            answers += await self._send_by_hand(destination, _ordered(events, order), batch)
        return answers

    async def post_raw(
        self, number: Number, body: Any, text: str | None, signature: Signature
    ) -> dict[str, Any]:
        """Any bytes at all to the number's callback, once: what an attacker, or a Meta of tomorrow, may send."""
        callback = self._network.callback_of(number)
        if callback is None:
            raise ValueError(f"number {number.phone_number_id} has no callback")
        raw = encode(body) if text is None else text.encode()
        secret = self._network.app_of(number).app_secret
        headers = proof(callback, secret, raw, signature)
        with trio.fail_after(self._settings().webhook_timeout):
            answer = await self._client.post(
                callback.url, content=raw, headers={"Content-Type": "application/json", **headers}
            )
        return {"status": answer.status_code, "body": answer.text}

    async def _send_by_hand(
        self, destination: Destination, events: list[Event], batch: int
    ) -> list[dict[str, Any]]:
        answers = []
        for start in range(0, len(events), batch):
            delivery = self._delivery(destination, events[start : start + batch])
            status = await self._post(destination, delivery)
            self._tried(delivery.events)
            if status != 200:
                self._retry(destination, delivery)
            answers.append(
                {
                    "deliveryId": delivery.delivery_id,
                    "events": [event.event_id for event in delivery.events],
                    "status": status,
                }
            )
        return answers


def _key(callback: Callback, app: App) -> _Key:
    return callback.url, callback.headers, app.app_id


def _ordered(events: list[Event], order: Order) -> list[Event]:
    match order:
        case "as_is":
            return events
        case "reversed":
            return events[::-1]
        case "shuffled":
            return random.sample(events, len(events))
        case _:
            raise AssertionError(f"no such order: {order}")
