"""How both of the demo's stories ask: an answer or an end, and a wait with an end."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx
import trio

from wad.cli.stop import Stop
from wad.redaction import escaped

T = TypeVar("T")

_PATIENCE: Final = 30.0  # seconds for one step; each takes a fraction of one
_POLL: Final = 0.05


def checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    raise Stop(
        os.EX_SOFTWARE,
        f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}",
    )


async def until(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """What *look* finds, once it finds something."""
    with trio.move_on_after(_PATIENCE):
        while True:
            if (found := await look()) is not None:
                return found
            await trio.sleep(_POLL)
    raise Stop(os.EX_SOFTWARE, f"{what} did not come within {_PATIENCE:g} s", next_step="look into the log")


def words(content: Any) -> str:
    """What a message says, whatever its type."""
    match content:
        case {"body": str(text)} | {"text": {"body": str(text)}} | {"body": {"text": str(text)}}:
            return escaped(text)
        case {"type": "text", "text": str(text)}:  # as WhatsApp Web's people see it
            return escaped(text)
        case _:
            return escaped(str(content))


def answer_of(record: dict[str, Any], contact: str) -> dict[str, Any] | None:
    """What *contact* saw of a message that a linked device sent."""
    if record["direction"] != "out":
        return None
    seen: dict[str, Any] = record["recipients"].get(contact, {})
    return seen.get("content")
