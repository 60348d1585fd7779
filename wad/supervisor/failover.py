"""Gives what a session cannot send to another session of its shop: what surely did not go out, and no more.

    a session is stuck        its breaker opens, a person is needed, it is disconnected, unreachable for a while,
                              or about to be deleted: all that it has and may move
    a message is stuck        it was tried `TRIES` times and did not go out: its conversation
    a session gets ready      what its stuck siblings have

Each of these is a fact that somebody published: nothing is polled. A conversation moves as a whole, in its order. The
move of a message is one conditional write: from one moment to the next it is in the other session, and whoever still
has it in memory finds that out before sending. After `MOST_MOVES` it stays where it is.

Only messages move for which wad chose the session, and not those that are bound to it: which quote, react to, or show
what only that session knows.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
import trio

from wad.actors.moves import GRACE
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.events import (
    BreakerChanged,
    Fact,
    FailedOver,
    MessageMoved,
    MessageQueued,
    OutboxLoaded,
    SessionDeleted,
    SessionStateChanged,
)
from wad.models import (
    ChatId,
    MessageId,
    MessageState,
    OutboundMessage,
    SessionId,
    ShopId,
)
from wad.supervisor.actors import Actors
from wad.supervisor.balancer import ABLE, Judged, Said, Why
from wad.supervisor.placing import Load, Placing
from wad.supervisor.stuck import UNREACHABLE, doubts_of, is_ready, may_move, may_repeat, stuck

log: Final = logging.getLogger("wad.failover")
#: Attempts in one session that did not go out, before another one tries.
TRIES: Final = 3
#: Seconds that a session may be unreachable before what it has moves: most connections are back sooner.
PATIENCE: Final = 30.0
#: Seconds that who writes to a conversation waits for what a stuck session has in hand of it, for the order's sake.
IN_HAND: Final = 1.0
#: Messages of one commit.
_PAGE: Final = 200


@dataclass
class _Move:
    """Why a session's messages move, and where they went so far."""

    why: Why
    word: str  # the same, for people and metrics
    is_last_chance: bool = False  # what stays is lost
    load: Load = field(default_factory=Load)
    took: dict[ChatId, SessionId] = field(default_factory=dict)  # whom each conversation went to


class Failover:
    """Listens, and moves messages; one task a session that has any to move."""

    def __init__(self, services: Services, nursery: trio.Nursery, actors: Actors, placing: Placing) -> None:
        self._services = services
        self._nursery = nursery
        self._actors = actors
        self._placing = placing
        #: What is still to be looked at, by session: its lanes, with what each is stuck by. None: all of them.
        self._asked: dict[SessionId, dict[ChatId | None, Why]] = {}
        self._unreachable: dict[SessionId, float] = {}  # until when what it has stays there all the same
        self._settling: set[SessionId] = set()
        self._results: dict[tuple[SessionId, ChatId], trio.Event] = {}  # set when what is in hand has one
        self._moving: defaultdict[ShopId, int] = defaultdict(int)
        self._settled: dict[ShopId, trio.Event] = {}
        services.events.subscribe(self._hear)

    async def settled(self, shop_id: ShopId, chat: ChatId | None = None) -> None:
        """Return once none of the shop's messages is on the move: what is placed next comes after them.

        Nor is one of *chat* in the hands of a session that is stuck: it may be about to move.
        """
        while True:
            if self._moving.get(shop_id):
                await self._settled.setdefault(shop_id, trio.Event()).wait()
                continue
            holder = next(
                (
                    actor
                    for actor in self._actors.of_shop(shop_id)
                    if chat is not None and actor.outbox.lanes.in_hand(chat) and stuck(actor)
                ),
                None,
            )
            if holder is None or chat is None:
                return
            result = self._results.setdefault((holder.session.session_id, chat), trio.Event())
            with trio.move_on_after(IN_HAND) as scope:
                await result.wait()
            if scope.cancelled_caught:
                self._results.pop((holder.session.session_id, chat), None)
                return

    async def empty(self, actor: SessionActor) -> None:
        """Move what the session has and may move: it ended, and is about to be forgotten."""
        session = actor.session
        if session.shop_id is None or not self._actors.of_shop(session.shop_id):
            return
        await self.settled(session.shop_id)  # what is on its way to it arrives first
        with self._on_the_move(actor):
            items = await self._services.patient.open_messages(session.session_id)
            move = _Move(Why.DISCONNECTED, "deleted", is_last_chance=True)
            await self._move(actor, [item.message_id for item in items], move)
            await self._move_backlog(actor, move)

    def may_take(self, message: OutboundMessage, actor: SessionActor) -> bool:
        """Whether another session is ready for what *actor* has, and cannot send."""
        return may_move(message, actor) and any(is_ready(sibling) for sibling in self._siblings(actor))

    # --- hearing ------------------------------------------------------------------------------------

    def _hear(self, fact: Fact) -> None:
        match fact:
            case SessionStateChanged(status=status):
                if status.state not in UNREACHABLE:
                    self._unreachable.pop(status.session_id, None)
                self._changed(status.session_id)
            case SessionDeleted(session_id=session_id):
                self._unreachable.pop(session_id, None)
            case BreakerChanged(session_id=session_id) | OutboxLoaded(session_id=session_id):
                self._changed(session_id)
            case MessageQueued(message=message) if message.chosen is not None:
                if (actor := self._shared(message.session_id)) is not None:
                    self._look(actor)
            case MessageMoved(message=message):
                self._message(message)
            case _:
                pass

    def _message(self, message: OutboundMessage) -> None:
        actor = self._shared(message.session_id)
        if actor is None:
            return
        if (why := stuck(actor)) is not None:
            self._ask(actor, message.lane, why)  # what its send kept back
            self._settle_soon(actor, why)
            if (result := self._results.pop((message.session_id, message.lane), None)) is not None:
                result.set()
        elif (
            message.state is MessageState.QUEUED
            and message.error is not None
            and message.attempts >= TRIES * (message.moves + 1)
            and may_move(message, actor)
        ):
            self._ask(actor, message.lane, Why.ATTEMPTS_FAILED)

    def _changed(self, session_id: SessionId) -> None:
        """The session is another than it was: it may be stuck now, or take what its siblings are stuck with."""
        actor = self._shared(session_id)
        if actor is None:
            return
        self._look(actor)
        if is_ready(actor):
            for sibling in self._siblings(actor):
                self._look(sibling)

    def _look(self, actor: SessionActor) -> None:
        if actor.outbox.is_idle:
            return
        if (why := stuck(actor)) is not None:
            self._ask(actor, None, why)
            self._settle_soon(actor, why)
        elif actor.session.state in UNREACHABLE:
            until = self._unreachable.get(actor.session.session_id)
            if until is None:
                until = self._unreachable[actor.session.session_id] = trio.current_time() + PATIENCE
                self._nursery.start_soon(self._lose_patience, actor, until)
            elif until <= trio.current_time():  # nobody was ready when its time was over
                self._ask(actor, None, Why.NOT_CONNECTED_YET)

    async def _lose_patience(self, actor: SessionActor, until: float) -> None:
        await trio.sleep_until(until)
        if self._unreachable.get(actor.session.session_id) == until:
            self._ask(actor, None, Why.NOT_CONNECTED_YET)

    def _settle_soon(self, actor: SessionActor, why: Why) -> None:
        session_id = actor.session.session_id
        if session_id in self._settling or not may_repeat(actor) or not actor.outbox.unproven:
            return
        if any(True for _ in doubts_of(actor)):
            self._settling.add(session_id)
            self._nursery.start_soon(self._settle, actor, why)

    async def _settle(self, actor: SessionActor, why: Why) -> None:
        """What is `unknown` in a stuck session, and may go out twice, moves when the time for its proof is over."""
        seen: set[MessageId] = set()
        try:
            while stuck(actor) and (
                doubts := [item for item in doubts_of(actor) if item.message_id not in seen]
            ):
                due = min(item.due_at or self._services.now() for item in doubts)
                await trio.sleep(max(0.0, (due - self._services.now()).total_seconds()))
                ids = [item.message_id for item in doubts if item.due_at is None or item.due_at <= due]
                seen.update(ids)
                with self._on_the_move(actor):
                    await self._move(actor, ids, _Move(why, why.value))
        finally:
            self._settling.discard(actor.session.session_id)

    def _shared(self, session_id: SessionId) -> SessionActor | None:
        """The living actor, if it is of a shop."""
        actor = self._actors.get(session_id) if session_id in self._actors else None
        return actor if actor is not None and actor.session.shop_id is not None else None

    def _siblings(self, actor: SessionActor) -> list[SessionActor]:
        shop_id = actor.session.shop_id
        return (
            [] if shop_id is None else [each for each in self._actors.of_shop(shop_id) if each is not actor]
        )

    # --- moving -------------------------------------------------------------------------------------

    def _ask(self, actor: SessionActor, lane: ChatId | None, why: Why) -> None:
        if not any(is_ready(sibling) for sibling in self._siblings(actor)):
            return
        session_id = actor.session.session_id
        if session_id in self._asked:
            self._asked[session_id][lane] = why
            return
        self._asked[session_id] = {lane: why}
        self._nursery.start_soon(self._run, actor, self._on_the_move(actor))

    async def _run(self, actor: SessionActor, moving: AbstractContextManager[None]) -> None:
        """Move until nothing more is asked for. A bug in here must not end the sessions."""
        session_id = actor.session.session_id
        try:
            with moving:
                while asked := self._asked[session_id]:
                    self._asked[session_id] = {}
                    for lane, why in ({None: asked[None]} if None in asked else asked).items():
                        move = _Move(why, why.value)
                        await self._move(actor, actor.outbox.withdraw(lane), move)
                        if lane is None:
                            await self._move_backlog(actor, move)
        except Exception:
            log.exception("failover_crashed", extra={"session_id": session_id})
            await trio.sleep(PATIENCE)
            await actor.outbox.load()  # what was withdrawn is its own again
        finally:
            del self._asked[session_id]

    @contextmanager
    def _counted(self, shop_id: ShopId) -> Iterator[None]:
        try:
            yield
        finally:
            self._moving[shop_id] -= 1
            if not self._moving[shop_id]:
                del self._moving[shop_id]
                if (event := self._settled.pop(shop_id, None)) is not None:
                    event.set()

    def _on_the_move(self, actor: SessionActor) -> AbstractContextManager[None]:
        """From now on, until the block is left, messages of the actor's shop are on the move."""
        shop_id = actor.session.shop_id
        assert shop_id is not None
        self._moving[shop_id] += 1
        return self._counted(shop_id)

    async def _move_backlog(self, actor: SessionActor, move: _Move) -> None:
        """As `_move`, for what the session has on disk alone."""
        seq = 0
        while page := await self._services.patient.backlog_after(actor.session.session_id, seq, _PAGE):
            seq = page[-1].seq
            await self._move(actor, [item.message_id for item in page], move)

    async def _move(self, actor: SessionActor, ids: Sequence[MessageId], move: _Move) -> None:
        """Move what may of *ids*, in their order; the session gets back what stays."""
        moved = 0
        for at in range(0, len(ids), _PAGE):
            page = await self._services.patient.messages(ids[at : at + _PAGE])
            moves: list[tuple[OutboundMessage, OutboundMessage]] = []
            for message in sorted(page.values(), key=lambda message: message.seq):
                chosen = await self._target(actor, message, move)
                if chosen is None:
                    self._back(actor, message)
                else:
                    move.took[message.lane] = chosen.session_id
                    moves.append((message, self._moved(message, chosen, move.word)))
            moved += await self._write(actor, moves)
        if moved:
            session = actor.session
            self._services.events.publish(
                FailedOver(session.session_id, session.provider, move.word, moved, len(ids) - moved)
            )

    async def _target(self, actor: SessionActor, message: OutboundMessage, move: _Move) -> Judged | None:
        """Who is to send *message* in place of *actor*, and why; None where it stays."""
        if not may_move(message, actor) or message.shop_id is None:
            return None
        choice = await self._placing.choose(
            message.shop_id,
            message.to,
            message.content,
            load=move.load,
            bulk=message.is_bulk,
            queue=move.is_last_chance,
            apart={actor.session.session_id: Said(move.why)},
            usable=lambda each: move.is_last_chance or each is actor or is_ready(each),
            patiently=True,
        )
        if choice.chosen is None:
            return None
        if choice.chosen.why is Why.HEALS_BY_ITSELF and not move.is_last_chance:
            return None
        chosen = choice.chosen
        earlier = move.took.get(message.lane)
        if any(each.session_id == earlier and each.why in ABLE for each in choice.others):
            assert earlier is not None
            chosen = Judged(earlier, Why.WROTE_TO_CUSTOMER)  # a conversation goes to one
        move.load.add(chosen.session_id, bulk=message.is_bulk)
        return chosen

    def _moved(self, message: OutboundMessage, chosen: Judged, word: str) -> OutboundMessage:
        """In its history, too. Which number of the other session it leaves from, that session says."""
        to = self._actors.get(chosen.session_id).session
        in_doubt = message.state is MessageState.UNKNOWN
        moved = message.moved(
            MessageState.QUEUED if in_doubt else message.state,
            self._services.now(),
            note=f"moved from {message.session_id} to {to.session_id}: {word}",
            due_at=message.due_at if message.state is MessageState.SCHEDULED else None,
            moves=message.moves + 1,
            chosen=chosen.why.value,
            maybe_duplicate=message.maybe_duplicate or in_doubt,
        )
        return msgspec.structs.replace(moved, session_id=to.session_id, provider=to.provider, number=None)

    async def _write(
        self, actor: SessionActor, moves: Sequence[tuple[OutboundMessage, OutboundMessage]]
    ) -> int:
        """Write the moves in one commit, each for itself; how many took place.

        Whoever asked may hang up meanwhile: what is written by then is told, so that who has it now knows of it. Twice
        is once.
        """
        if not moves:
            return 0
        try:
            saved = await self._services.patient.save_messages(moves)
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE):
                self._tell(actor, moves, await self._services.patient.save_messages(moves))
            raise
        self._tell(actor, moves, saved)
        for (old, _), won in zip(moves, saved, strict=True):
            if not won and (current := await self._services.patient.message(old.message_id)) is not None:
                self._back(actor, current)  # cancelled, or settled, meanwhile
        return sum(saved)

    def _tell(
        self,
        actor: SessionActor,
        moves: Sequence[tuple[OutboundMessage, OutboundMessage]],
        saved: Sequence[bool],
    ) -> None:
        for (old, new), won in zip(moves, saved, strict=True):
            if won:
                actor.outbox.forget(new.message_id)
                actor.outbox.moves.made(old, new)
                if new.session_id in self._actors:
                    self._actors.get(new.session_id).outbox.arrived(new)

    @staticmethod
    def _back(actor: SessionActor, message: OutboundMessage) -> None:
        if message.is_open and message.session_id == actor.session.session_id:
            actor.outbox.offer(message)
