"""What became of every message of WhatsApp Web: the emulator's record, copied into the sandbox's one ledger.

The emulator keeps one entry a message and changes it as things happen; the ledger only grows. So every change
is an entry of kind `web` with the whole of what is known then, and the last one of a message counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from wad.sandbox.feed import Feed
from wad.sandbox.ledger import Ledger

_KEPT: Final = 5000  # messages that the page can show

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


class Mirror:
    def __init__(self, ask: Ask, *, ledger: Ledger, feed: Feed, now: Callable[[], float]) -> None:
        self._ask = ask
        self._ledger = ledger
        self._feed = feed
        self._now = now
        self._after = 0
        self._one_at_a_time = trio.Lock()
        self._messages: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def forget(self) -> None:
        """The emulator is another one now, and counts from the beginning."""
        self._after = 0
        self._messages.clear()

    async def look(self) -> None:
        """Copy what has changed since the last look."""
        async with self._one_at_a_time:
            told = await self._ask("ledger", {"after": self._after})
            self._after = told["last"]
            for entry in told["entries"]:
                self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        message = {name: value for name, value in entry.items() if name not in ("n", "changed", "at")} | {
            "since": entry["at"] / 1000
        }
        self._ledger.write("web", self._now(), message)
        key = f"{message['account']} {message['direction']} {message['id']}"
        self._messages[key] = message
        if len(self._messages) > _KEPT:
            self._messages.popitem(last=False)
        if self._feed.watched:
            self._feed.tell({"event": "web.message", "message": message})

    def type_of_media(self, message_id: str) -> str:
        """What its sender says that the file of a message is."""
        for each in self._messages.values():
            if each["id"] == message_id:
                contents = [
                    each.get("content"),
                    *(one["content"] for one in each.get("recipients", {}).values()),
                ]
                for content in filter(None, contents):
                    return str(content.get("mimetype") or "application/octet-stream")
        return "application/octet-stream"

    def chat(self, account: str, chat: str) -> list[dict[str, Any]]:
        """What a phone and somebody (or a group) said to each other, in order."""
        return [
            each for each in self._messages.values() if (each["account"], each["chat"]) == (account, chat)
        ]

    def last(self, account: str) -> dict[str, dict[str, Any]]:
        """The last message of each chat of a phone."""
        return {each["chat"]: each for each in self._messages.values() if each["account"] == account}
