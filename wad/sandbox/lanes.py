"""What waits for one callback: lanes of events, one a chat, and POSTs to be repeated. Synchronous."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from wad.sandbox.envelope import Event
from wad.sandbox.network import App, Callback


@dataclass(slots=True)
class Delivery:
    """One POST, however often it has to be sent."""

    delivery_id: str
    events: list[Event]
    body: bytes
    headers: dict[str, str]
    started: float
    attempts: int = 0


@dataclass(slots=True)
class Destination:
    callback: Callback
    app: App
    lanes: dict[str, deque[tuple[int, Event]]] = field(default_factory=dict)
    ready: deque[str] = field(default_factory=deque)  # lanes with something to send and nothing on the wire
    again: deque[Delivery] = field(default_factory=deque)
    arrived: int = 0
    waiting: int = 0
    in_flight: int = 0
    opens_at: float = 0.0  # the first event of a batch waits for company until then

    def put(self, event: Event) -> None:
        lane = self.lanes.get(event.lane)
        if lane is None:
            lane = self.lanes[event.lane] = deque()
            self.ready.append(event.lane)
        lane.append((self.arrived, event))
        self.arrived += 1
        self.waiting += 1

    def take(self, most: int) -> list[Event]:
        """Up to *most* events, oldest first. Their lanes are busy until `free` is called with them."""
        taken: list[tuple[int, Event]] = []
        while self.ready and len(taken) < most:
            lane = self.lanes[self.ready.popleft()]
            while lane and len(taken) < most:
                taken.append(lane.popleft())
        self.waiting -= len(taken)
        return [event for _, event in sorted(taken, key=lambda entry: entry[0])]

    def free(self, events: Iterable[Event]) -> None:
        for lane in {event.lane for event in events}:
            if self.lanes[lane]:
                self.ready.append(lane)
            else:
                del self.lanes[lane]

    def drain(self) -> list[Event]:
        """Everything that waits and whose lane is free, in the order it happened."""
        events = self.take(self.waiting)
        self.free(events)
        return events
