"""Delivery of what happens to the URLs that want to hear it: a form, signed, one event a request.

Events of a chat go one after the other, as they happened, and chats side by side; Twilio promises no order at all.
A request that fails is repeated as the fragment of its URL says (`#rc=2&rp=5xx`): by default once, and only where no
connection came about. What an inbound message's URL does not take goes to the sender's fallback URL, and is lost then.
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, TypeAlias

import trio

from wad.sandbox.faults import DropCallbackData, Duplicate, Faults, Forge, Late, Lose, Reorder
from wad.sandbox.ledger import Ledger
from wad.sandbox.settings import Settings
from wad.sandbox.timers import Timer, Timers
from wad.sandbox.twilio.events import Event, Parameters, overrides
from wad.sandbox.twilio.poster import Poster, Signature

Order: TypeAlias = Literal["as_is", "reversed", "shuffled"]

_REMEMBERED: Final = 20_000  # events that can be replayed
_FETCH_FAILED: Final = "11200"


class TwilioWebhooks:
    def __init__(
        self,
        *,
        poster: Poster,
        ledger: Ledger,
        faults: Faults,
        settings: Callable[[], Settings],
        timers: Timers,
    ) -> None:
        self._poster = poster
        self._ledger = ledger
        self._faults = faults
        self._settings = settings
        self._timers = timers
        self._lanes: dict[str, deque[Event]] = {}  # chat → what waits behind the event on the wire
        self._held: list[Event] = []
        self._in_flight = 0
        self._settled = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._remembered: OrderedDict[str, Event] = OrderedDict()
        self._swapped: dict[str, tuple[Event, Timer]] = {}  # chat → the event that waits for the next one
        self.held = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    @property
    def counts(self) -> dict[str, int]:
        """What is still to be done; what is scheduled or to be repeated is with the timers, who count it."""
        return {
            "scheduled": 0,
            "waiting": sum(map(len, self._lanes.values())) + len(self._held),
            "inFlight": self._in_flight,
            "retrying": 0,
        }

    async def settled(self) -> None:
        while any(self.counts.values()):
            self._settled = trio.Event()
            await self._settled.wait()

    # --- events come in ---------------------------------------------------------------------------

    def emit(self, event: Event, *, who: Iterable[str]) -> None:
        """Record the event and see to its delivery, with what the fault scripts have to say."""
        self._ledger.write(
            "event",
            event.at,
            {
                "eventId": event.event_id,
                "event": event.kind,
                "phoneNumberId": event.sender.address,
                "field": "messages",
                "wamid": event.wamid,
                "status": event.status,
                "type": event.type,
                "callbackData": event.callback_data,
                "callback": event.url,
                "items": [event.params],
            },
        )
        self._remembered[event.event_id] = event
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        if event.url is None:
            self._tried(event)
            return
        lane = event.lane
        fault = self._faults.for_event(event.sender.address, tuple(who), event.kind, event.status, event.type)
        match fault:
            case None:
                self._put(event)
            case Duplicate():
                for _ in range(fault.copies):
                    self._put(event)
            case Reorder():
                self._release_swapped(lane)
                self._swapped[lane] = (
                    event,
                    self._timers.later(fault.seconds, lambda: self._release_swapped(lane)),
                )
                return
            case Late():
                self._timers.later(fault.seconds, lambda: self._put(event))
            case Lose():
                self._tried(event)
            case DropCallbackData():
                event.url = re.sub(r"\?[^#]*", "", event.url)
                self._put(event)
            case Forge():
                self._start(self._forge, event, fault)
            case _:
                raise AssertionError(f"a fault that is not for events: {fault!r}")
        self._release_swapped(lane)

    def _release_swapped(self, lane: str) -> None:
        waiting = self._swapped.pop(lane, None)
        if waiting is not None:
            event, timer = waiting
            self._timers.cancel(timer)
            self._put(event)

    def _put(self, event: Event) -> None:
        if self.held:
            self._held.append(event)
            return
        waiting = self._lanes.get(event.lane)
        if waiting is not None:
            waiting.append(event)
            return
        assert self._nursery is not None
        self._lanes[event.lane] = deque([event])
        self._nursery.start_soon(self._walk, event.lane)

    # --- and go out -------------------------------------------------------------------------------

    async def _walk(self, lane: str) -> None:
        """One event of the chat after the other; the next goes when the first attempt is over."""
        waiting = self._lanes[lane]
        while waiting:
            await self._carry(waiting.popleft())
        del self._lanes[lane]
        self._tell_settled()

    async def _carry(self, event: Event, attempt: int = 1) -> int | None:
        """One attempt, and what follows from it."""
        assert event.url is not None
        asked = overrides(event.url)
        status, failure = await self._post(event, event.url, event.params, attempt)
        if attempt == 1:
            self._tried(event)
        if failure is None:
            return status
        if attempt <= asked.retries and asked.policy & {failure, "all"}:
            delays = self._settings().retry_delays
            delay = delays[min(attempt, len(delays)) - 1]
            self._timers.later(delay, lambda: self._start(self._carry, event, attempt + 1))
        elif event.kind == "message" and event.sender.fallback_url is not None:
            more = {"ErrorCode": _FETCH_FAILED, "ErrorUrl": event.url.partition("#")[0]}
            await self._post(event, event.sender.fallback_url, event.params | more, attempt + 1)
        return status

    def _start(self, act: Callable[..., Awaitable[object]], *args: object) -> None:
        """Do it in a task of its own, which counts as in flight from now on."""

        async def run() -> None:
            try:
                await act(*args)
            finally:
                self._in_flight -= 1
                self._tell_settled()

        assert self._nursery is not None
        self._in_flight += 1
        self._nursery.start_soon(run)

    async def _post(
        self, event: Event, url: str, params: Parameters, attempt: int, *, signature: Signature = "right"
    ) -> tuple[int | None, str | None]:
        self._in_flight += 1
        try:
            return await self._poster.post(event, url, params, attempt=attempt, signature=signature)
        finally:
            self._in_flight -= 1
            self._tell_settled()

    async def _forge(self, event: Event, fault: Forge) -> None:
        """An attacker's request first, then the real one."""
        assert event.url is not None
        await self._post(event, event.url, event.params, 1, signature=fault.signature)
        self._put(event)

    def _tried(self, event: Event) -> None:
        tried, event.tried = event.tried, []
        for act in tried:
            act()

    def _tell_settled(self) -> None:
        if not any(self.counts.values()):
            self._settled.set()

    # --- by hand ----------------------------------------------------------------------------------

    async def release(self, *, order: Order = "as_is", copies: int = 1) -> list[dict[str, Any]]:
        """Let go of what was held: one request after the other, in this order."""
        self.held = False
        held, self._held = self._held, []
        return await self._send_by_hand(held * copies, order)

    async def replay(
        self, event_ids: list[str] | None, *, last: int | None = None, order: Order = "as_is"
    ) -> list[dict[str, Any]]:
        """Tell again what was told before, of those of *event_ids* that are Twilio's; none: all."""
        known = list(self._remembered.values())
        if event_ids is not None:
            known = [self._remembered[each] for each in event_ids if each in self._remembered]
        elif last is not None:
            known = known[-last:]
        return await self._send_by_hand([event for event in known if event.url is not None], order)

    def knows(self, event_id: str) -> bool:
        return event_id in self._remembered

    async def _send_by_hand(self, events: list[Event], order: Order) -> list[dict[str, Any]]:
        match order:
            case "reversed":
                events = [*reversed(events)]
            case "shuffled":
                events = random.sample(events, len(events))
        return [{"events": [event.event_id], "status": await self._carry(event)} for event in events]
