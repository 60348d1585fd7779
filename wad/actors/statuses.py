"""What a provider says of messages of ours: applied to their rows, forward only, each as often as it comes.

A status whose message is not known yet is parked under the provider's id: the send's own answer may still be
on its way. Whoever comes second, the status or the answer, finds the other's trace and joins the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

import trio

from wad.actors.outbox import Outbox
from wad.actors.services import Services
from wad.errors import StoreUnavailable
from wad.models import RANK, MessageId, OutboundMessage, Session, StatusUpdate, concerns, with_status
from wad.store.store import Store

#: Of a session. They come again, and are told then; one more than these is on disk all the same.
_MOST_UNTOLD: Final = 1000


class Statuses:
    """The statuses of one session."""

    __slots__ = ("_outbox", "_parked", "_services", "_session", "_tell", "_untold")

    def __init__(
        self,
        services: Services,
        session: Callable[[], Session],
        outbox: Outbox,
        *,
        tell: Callable[[Sequence[OutboundMessage]], Awaitable[None]],
    ) -> None:
        self._services = services
        self._session = session
        self._outbox = outbox
        self._tell = tell
        #: Provider message ids, and when they last came: the store has the statuses. Some are never joined: what somebody
        #: else sends from the number, beside us, has statuses too.
        self._parked: dict[str, float] = {}
        #: What the store gave no answer about: it may be on disk, and then nobody has been told of it.
        self._untold: dict[MessageId, list[OutboundMessage]] = {}

    async def load(self) -> None:
        """Know what is parked, and join what an earlier life had no time to."""
        store, session_id = self._services.patient, self._session().session_id
        self._parked = dict.fromkeys(await store.parked(session_id), trio.current_time())
        for message in (await store.messages_by_provider_id(session_id, self._parked)).values():
            await self.accepted(message)

    async def receive(self, statuses: Sequence[StatusUpdate]) -> None:
        """Apply or park *statuses*; on return that is on disk. Raises StoreUnavailable."""
        unknown = await self._apply(statuses, self._services.store)
        if not unknown:
            return
        ids = {status.provider_message_id for status in unknown}
        self._parked |= dict.fromkeys(
            ids, trio.current_time()
        )  # before they are stored, so that `accepted` cannot look too early
        await self._services.store.park(self._session().session_id, unknown)
        for status in unknown:  # the answer may have been recorded while we parked
            if not await self._apply([status], self._services.store):
                await self._unpark(status.provider_message_id)

    async def accepted(self, message: OutboundMessage) -> None:
        """*message* has its provider's id on disk now: join what came before it did."""
        provider_id = message.provider_message_id
        if provider_id is None or provider_id not in self._parked:
            return
        store = self._services.patient
        session_id = self._session().session_id
        for status in await store.parked_statuses(session_id, provider_id):
            await self._apply([status], store)
        await self._unpark(provider_id)

    async def _unpark(self, provider_id: str) -> None:
        await self._services.patient.unpark(self._session().session_id, provider_id)
        self._parked.pop(provider_id, None)

    def forget(self, seconds: float) -> None:
        """Of what is parked, know only what came in the last *seconds*: the store has purged the rest."""
        since = trio.current_time() - seconds
        self._parked = {each: at for each, at in self._parked.items() if at > since}

    async def _apply(self, statuses: Sequence[StatusUpdate], store: Store) -> list[StatusUpdate]:
        """Apply what can be; return those whose message is not known. One read and one write a batch."""
        session = self._session()
        unknown: list[StatusUpdate] = []
        again = list(statuses)
        while again:
            by_id = await store.messages({s.message_id for s in again if s.message_id is not None})
            rest = {s.provider_message_id for s in again if s.message_id not in by_id}
            by_provider_id = await store.messages_by_provider_id(session.session_id, rest) if rest else {}
            of_message: dict[MessageId, tuple[OutboundMessage, list[StatusUpdate]]] = {}
            for status in again:
                message = by_id.get(status.message_id) if status.message_id is not None else None
                if message is None:
                    message = by_provider_id.get(status.provider_message_id)
                if message is None:
                    unknown.append(status)
                    continue
                if message.session_id != session.session_id:  # an echo from another number moves nothing
                    continue
                self._tell_late(message)
                match concerns(message, status):
                    case True:
                        of_message.setdefault(message.message_id, (message, []))[1].append(status)
                    case None:
                        unknown.append(status)
            again = await self._move(of_message.values(), store)
        return unknown

    async def _move(
        self, moves: Iterable[tuple[OutboundMessage, list[StatusUpdate]]], store: Store
    ) -> list[StatusUpdate]:
        """Write each message's new state; return the statuses of those that somebody else moved meanwhile."""
        work = [(message, _steps(message, its), its) for message, its in moves]
        work = [(message, steps, its) for message, steps, its in work if steps]
        if not work:
            return []
        await self._tell([step for _, steps, _ in work for step in steps])
        # Whoever brought them may hang up meanwhile. What is written is told, too: brought again, it moves nothing.
        with trio.CancelScope(shield=True):
            try:
                saved = await store.save_messages([(message, steps[-1]) for message, steps, _ in work])
            except StoreUnavailable:
                for message, steps, _ in work:
                    if len(self._untold) < _MOST_UNTOLD:
                        self._untold[message.message_id] = [message, *steps]
                raise
        lost: list[StatusUpdate] = []
        for (message, steps, its), won in zip(work, saved, strict=True):
            if not won:
                lost += its
                continue
            self._made([message, *steps])
        return lost

    def _tell_late(self, message: OutboundMessage) -> None:
        """Tell of a write that got no answer, where it is what stands."""
        steps = self._untold.pop(message.message_id, None)
        if steps is not None and steps[-1].rev == message.rev:
            self._made(steps)

    def _made(self, steps: Sequence[OutboundMessage]) -> None:
        """The last of *steps*, which was the first, is on disk."""
        if steps[0].is_open:
            self._outbox.forget(steps[0].message_id)
        for before, step in pairwise(steps):
            self._outbox.moves.made(before, step)


def _steps(message: OutboundMessage, statuses: Iterable[StatusUpdate]) -> list[OutboundMessage]:
    """*message* after each status that moves it, in the order of states rather than of arrival."""
    steps: list[OutboundMessage] = []
    for status in sorted(statuses, key=lambda s: RANK.get(s.state, len(RANK))):  # `failed` comes last
        if (moved := with_status(steps[-1] if steps else message, status)) is not None:
            steps.append(moved)
    return steps
