"""What the chat page is told as it happens. A listener that falls behind is told to load everything anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

_AHEAD: Final = 1000  # events a listener may lag behind


class Feed:
    def __init__(self) -> None:
        self._listeners: set[trio.MemorySendChannel[dict[str, Any]]] = set()

    @property
    def watched(self) -> bool:
        return bool(self._listeners)

    def tell(self, event: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(event)
            except trio.WouldBlock:
                self._listeners.discard(listener)
                listener.close()
            except trio.BrokenResourceError:
                self._listeners.discard(listener)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[trio.MemoryReceiveChannel[dict[str, Any]]]:
        """Events from here on. The channel ends when the listener has fallen too far behind."""
        send, receive = trio.open_memory_channel[dict[str, Any]](_AHEAD)
        self._listeners.add(send)
        try:
            async with receive:
                yield receive
        finally:
            self._listeners.discard(send)
            send.close()
