"""A sandbox with WhatsApp Web, in memory but for the emulator's process; and a client that is linked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.sandbox.place import Place, place
from tests.sandbox.web.client import Client
from wad.node.find import NodeMissing, find_node, program
from wad.sandbox import WebConfig

#: The phone that the sandbox starts with, and two people.
PHONE = "5215550100200"
ANA = "5215512345678"
LUIS = "5215587654321"


def _missing() -> str | None:
    try:
        trio.run(find_node)
        program("emulator")
    except NodeMissing as error:
        return str(error)
    return None


_MISSING = _missing()
#: For tests that need the emulator.
needs_node = pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))


@asynccontextmanager
async def web(directory: Path | None = None, **config: Any) -> AsyncIterator[Place]:
    async with place(callback=False, window=False, web=WebConfig(directory=directory, **config)) as here:
        yield here


@asynccontextmanager
async def linked(directory: Path) -> AsyncIterator[tuple[Place, Client]]:
    """A client that scanned its way in, and is connected."""
    async with web() as here:
        assert here.sandbox.web is not None
        access = here.sandbox.web.emulator.access
        assert access is not None
        async with Client(access, directory).running() as client:
            await client.open()
            shown = await client.until("qr")
            await here.post("web/scan", {"phone": PHONE, "qr": shown["qr"]})
            await client.until("open")
            yield here, client


async def record(here: Place, message_id: str, good: Any) -> dict[str, Any]:
    """The ledger's word on a message, once it is *good*."""
    with trio.fail_after(30):
        while True:
            found = await here.control("GET", f"ledger?kind=web&id={message_id}")
            if found["entries"] and good(found["entries"][-1]):
                last: dict[str, Any] = found["entries"][-1]
                return last
            await trio.sleep(0.02)


def text_in(text: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a batch of messages has this text."""

    def found(args: dict[str, Any]) -> bool:
        said = [each.get("message") or {} for each in args["messages"]]
        return any(
            text in (each.get("conversation") or (each.get("extendedTextMessage") or {}).get("text") or "")
            for each in said
        )

    return found


def post(here: Place, path: str, body: Any) -> Any:
    """A request whose answer is looked at, not only taken."""
    return here.client.post(f"/_sandbox/{path}", json=body)
