"""What a bridge tells is stored before it is acknowledged, also where wad does not know what to do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from wad.errors import StoreUnavailable
from wad.models import AccountEvent, Inbound, InboundMessage, SessionId
from wad.providers.baileys.people import People
from wad.providers.baileys.telling import Telling

ANA = "5215512345678@s.whatsapp.net"


class Link:
    """Stores what it is given, after as many failures as it is told."""

    def __init__(self, *failures: Exception, refuses: Callable[[Inbound], bool] = lambda _: False) -> None:
        self.failures = list(failures)
        self.refuses = refuses
        self.stored: list[Any] = []
        self.keys = self

    async def get(self, kind: str, names: Sequence[str]) -> dict[str, str]:
        return {}

    async def received(self, events: Sequence[Inbound]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if any(self.refuses(event) for event in events):
            raise RuntimeError("a bug of ours")
        self.stored += events


def telling(link: Any) -> Telling:
    return Telling(SessionId("shop"), link, People(link))


def message(text: str = "hola") -> dict[str, Any]:
    key = {"remoteJid": ANA, "id": "3A01", "fromMe": False}
    return {"messages": [{"key": key, "message": {"conversation": text}, "messageTimestamp": 1764000000}]}


#: What cannot be understood, and how: the event and its arguments.
UNREADABLE = {
    "a list that is none": ("groups.update", {"groups": 5}),
    "half of what belongs to it": ("ack", {}),
    "a receipt of another kind": ("receipts", {"receipts": ["\ud83d"]}),
}


@pytest.mark.parametrize(("event", "args"), UNREADABLE.values(), ids=list(UNREADABLE))
async def test_an_event_that_wad_trips_over_is_kept_as_it_came(event: str, args: dict[str, Any]) -> None:
    """And is acknowledged then, or it would hold up all that follows."""
    link = Link()
    await telling(link).tell(event, args)
    [kept] = link.stored
    assert isinstance(kept, AccountEvent)
    assert (kept.type, kept.data["event"], kept.data["operation"]) == (
        "provider.event",
        "bridge.unhandled",
        event,
    )
    assert json.loads(kept.data["json"]) == json.loads(json.dumps(args).replace("\\ud83d", "?"))


async def test_the_same_event_again_is_the_same_one() -> None:
    """The bridge tells what was not acknowledged again: its key says that it is known."""
    link = Link()
    for _ in range(2):
        await telling(link).tell("ack", {})
    assert len({kept.dedupe_key for kept in link.stored}) == 1


async def test_what_the_actor_trips_over_is_kept_as_it_came() -> None:
    """Whatever of wad's own fails on the way to the store."""
    link = Link(refuses=lambda event: isinstance(event, InboundMessage))
    await telling(link).tell("messages", message())
    [kept] = link.stored
    assert json.loads(kept.data["json"])["messages"][0]["message"] == {"conversation": "hola"}


async def test_a_number_too_large_for_the_store_is_kept_too() -> None:
    """Whoever writes a message may put anything into it."""
    link = Link()
    args = message()
    args["messages"][0]["message"] = {"newKind": {"size": 10**30}}
    await telling(link).tell("messages", args)
    assert len(link.stored) == 1


#: How the store fails, and the seconds until it is tried the third time.
FAILURES = {"away": (StoreUnavailable("away"), 2.0), "broken in a way of its own": (KeyError("x"), 1.0)}


@pytest.mark.parametrize(("failure", "seconds"), FAILURES.values(), ids=list(FAILURES))
async def test_nothing_is_acknowledged_before_it_is_stored(
    autojump_clock: MockClock, failure: Exception, seconds: float
) -> None:
    """Not even what is to be kept as it came."""
    link = Link(failure, failure)
    started = trio.current_time()
    await telling(link).tell("messages", message())
    assert (len(link.stored), trio.current_time() - started) == (1, seconds)
