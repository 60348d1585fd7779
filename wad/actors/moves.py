"""The steps that a session's messages take: written, and then told to whoever subscribed or waits for the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from wad.actors.services import Services
from wad.events import MessageMoved
from wad.failpoints import reach
from wad.models import MessageId, MessageState, OutboundMessage, StatusUpdate, with_status

#: How long recording a result may go on once the actor is being cancelled.
GRACE: Final = 5.0


class Moves:
    """Those of one session."""

    __slots__ = ("_made", "_services", "_tell", "_waiting", "_watchers")

    def __init__(
        self,
        services: Services,
        tell: Callable[[Sequence[OutboundMessage]], Awaitable[None]],
        made: Callable[[OutboundMessage, OutboundMessage], None],
    ) -> None:
        """*tell* stores a step for the flow, where the flow wants to hear of it; *made* hears of each that is on disk."""
        self._services = services
        self._tell = tell
        self._made = made
        self._waiting: dict[MessageId, trio.Event] = {}
        self._watchers: Counter[MessageId] = Counter()

    # --- writing ------------------------------------------------------------------------------------

    async def record(self, old: OutboundMessage, new: OutboundMessage) -> OutboundMessage | None:
        """Write *new* over *old*, and return what stands (None: the message is gone).

        What is known of a send must reach the disk even while the actor is being cancelled: it is written
        again then, shielded, for a bounded time. The write is a compare-and-set, so twice is once.
        """
        try:
            return await self._write(old, new)
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE):
                await self._write(old, new)
            raise

    async def _write(self, old: OutboundMessage, new: OutboundMessage) -> OutboundMessage | None:
        """Where a status was faster than our own record, it knows more than we do: only what it lacks is added."""
        store = self._services.patient
        if new.dead or new.state is MessageState.ACCEPTED:
            await self._tell([new])  # first: if we die in between, it is told twice rather than never
        while not await store.save_message(old, new):
            current = await store.message(old.message_id)
            if current is None or new.provider_message_id is None:
                return current
            merged = with_status(
                current,
                StatusUpdate(
                    provider_message_id=new.provider_message_id,
                    state=MessageState.ACCEPTED,
                    at=new.updated_at,
                ),
            )
            if merged is None:
                return current
            old, new = current, merged
        reach("send.recorded")
        self.made(old, new)
        return new

    async def record_all(
        self, moves: Sequence[tuple[OutboundMessage, OutboundMessage]]
    ) -> list[OutboundMessage]:
        """Write many that end, in one commit, each where its row is still the old one; those that are written."""
        await self._tell([new for _, new in moves])
        saved = await self._services.patient.save_messages(moves)
        for (old, new), won in zip(moves, saved, strict=True):
            if won:
                self.made(old, new)
        return [new for (_, new), won in zip(moves, saved, strict=True) if won]

    # --- telling ------------------------------------------------------------------------------------

    def made(self, old: OutboundMessage, new: OutboundMessage) -> None:
        """*old* is *new* on disk: tell whoever subscribed or waits."""
        self._made(old, new)
        self._services.events.publish(MessageMoved(new))
        if (event := self._waiting.pop(new.message_id, None)) is not None:
            event.set()

    def next(self, message_id: MessageId) -> trio.Event:
        """Set when the message is next in another state. Take it before looking at the state, while `watched`."""
        return self._waiting.setdefault(message_id, trio.Event())

    @contextmanager
    def watched(self, message_id: MessageId) -> Iterator[None]:
        """For who asks for its `next`: most messages never move again, and nothing may be kept for them."""
        self._watchers[message_id] += 1
        try:
            yield
        finally:
            self._watchers[message_id] -= 1
            if not self._watchers[message_id]:
                del self._watchers[message_id]
                self._waiting.pop(message_id, None)
