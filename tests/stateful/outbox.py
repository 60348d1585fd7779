"""The outbox of one session, on any store, as a state machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.house import draft, now
from tests.simulated import refusal
from tests.stateful.daemon import Daemon
from tests.stateful.disk import Disk
from tests.stateful.portal import Portal
from tests.stateful.promises import WAITING, Promises
from tests.stateful.world import Flight, HeldProvider
from wad.actors.services import Limits
from wad.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    Scope,
    StoreUnavailable,
    Verdict,
    WadError,
)
from wad.models import (
    Credentials,
    Idempotency,
    MessageId,
    MessageQuery,
    MessageState,
    OutboundMessage,
    Priority,
    SessionId,
    SessionState,
    Settings,
    ShopId,
    StatusUpdate,
)
from wad.supervisor.sessions import NewSession, Sessions

SHOP: Final = SessionId("shop")
LIMITS: Final = Limits(message_ttl=timedelta(hours=1), settle_window=timedelta(minutes=10), max_attempts=3)
CHATS: Final = ("+5215500000001", "+5215500000002")
#: What a provider says of a send: whether it took it, and with which error it answers.
ANSWERS: Final[dict[str, tuple[bool, Callable[[], Exception] | None]]] = {
    "accepted": (True, None),
    "rejected": (False, lambda: refusal(Verdict.REJECTED, "bad_recipient")),
    "not sent": (False, lambda: refusal(Verdict.NOT_SENT, "unreachable", health=True)),
    "throttled": (False, lambda: refusal(Verdict.THROTTLED, "rate", scope=Scope.PAIR, retry_after=7.0)),
    "paused": (False, lambda: refusal(Verdict.THROTTLED, "rate", scope=Scope.ACCOUNT, retry_after=20.0)),
    "needs a person": (False, lambda: refusal(Verdict.NEEDS_PERSON, "bad_token")),
    "request lost": (False, lambda: refusal(Verdict.UNKNOWN, "timeout", health=True)),
    "answer lost": (True, lambda: refusal(Verdict.UNKNOWN, "timeout", health=True)),
    "a bug": (False, lambda: RuntimeError("a bug in send")),
    "a bug, after the wire": (True, lambda: RuntimeError("a bug in send, after the wire")),
}
#: Seconds that let all that waits for the store try again, and look again.
PATIENCE: Final = (1.0, 3.0, 3.0)
_PEACE: Final = (1.0, 10.0, 60.0, *(600.0,) * 12, 3600.0, 3600.0)


def up(machine: OutboxMachine) -> bool:
    return machine.wad.is_up


class OutboxMachine(RuleBasedStateMachine):
    """Whoever makes one gives it a *portal* and an empty *disk*."""

    def __init__(self, portal: Portal, disk: Disk) -> None:
        super().__init__()
        self.portal = portal
        self.disk = disk
        self.asked = 0
        self.keys: dict[str, Any] = {}  # the draft that first had it
        self.ids: list[MessageId] = []
        self.lost_answers = 0

    @initialize(
        settlement=st.sampled_from(["callback", "list", "resend"]),
        duplicates=st.sampled_from(["at_most_once", "at_most_once", "at_least_once"]),
    )
    def begin(self, settlement: str, duplicates: str) -> None:
        self.resends = settlement == "resend"
        self.provider = HeldProvider(settlement=settlement)
        self.other = HeldProvider("other", settlement=settlement)
        self.promises = Promises(
            resends=self.resends,
            at_least_once=duplicates == "at_least_once",
            max_attempts=LIMITS.max_attempts,
        )
        for world in (self.provider, self.other):
            world.begins = self._begins
            world.taken = self.promises.took
        self.wad = Daemon(self.portal, self.disk, self.provider, self.other, limits=LIMITS)
        self.wad.start()
        new = NewSession(
            provider="simulated",
            session_id=SHOP,
            shop_id=ShopId("shop"),
            credentials=Credentials(key="shop"),
            settings=Settings(duplicates=duplicates),
        )
        self.wad.ask(lambda sessions: sessions.create(new)).answer()
        self.wad.ask(lambda sessions: sessions.connect(SHOP, wait=0)).answer()

    def _begins(self, message: OutboundMessage) -> None:
        self.promises.begins(message, [flight.message for flight in self._in_air()])

    def _in_air(self) -> list[Flight]:
        return [*self.provider.in_air, *self.other.in_air]

    # --- who sends ----------------------------------------------------------------------------------

    @precondition(up)
    @rule(
        chat=st.sampled_from(CHATS),
        priority=st.sampled_from(Priority),
        keyed=st.booleans(),
        in_seconds=st.sampled_from([None, None, None, 30, 2000]),
    )
    def send(self, chat: str, priority: Priority, keyed: bool, in_seconds: float | None) -> None:
        self.asked += 1
        label = f"m{self.asked}"
        key = Idempotency("ops", label, label) if keyed else None
        send_at = None if in_seconds is None else self._now() + timedelta(seconds=in_seconds)
        text = "ok" if self.asked % 3 == 0 else label  # people repeat themselves
        new = draft(
            text, chat, priority=priority, reference=label, idempotency=key, send_at=send_at, queue=True
        )
        if keyed:
            self.keys[label] = new
        self._send(new)

    @precondition(lambda self: up(self) and self.keys)
    @rule(data=st.data())
    def send_again_with_its_key(self, data: st.DataObject) -> None:
        self._send(self.keys[data.draw(st.sampled_from(sorted(self.keys)))])

    @precondition(lambda self: up(self) and self.promises.by_key and self.disk.fault is None)
    @rule(data=st.data())
    def send_something_else_with_that_key(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.promises.by_key)))
        new = draft("else", idempotency=Idempotency("ops", name, "else"), queue=True)
        ask = self.wad.ask(lambda sessions: sessions.messages.send(new))
        if ask.is_answered:
            self._refused(ask.answer, IdempotencyKeyReused)

    def _send(self, new: Any) -> None:
        label, promises = str(new.reference), self.promises
        unheard_before = label in promises.unheard
        promises.unheard.add(label)
        ask = self.wad.ask(lambda sessions: sessions.messages.send(new))
        if not ask.is_answered:
            return
        try:
            message = ask.answer().message
        except (StoreUnavailable, InvalidRequest):  # the latter: it was to be sent long ago
            if not unheard_before and not any(known.label == label for known in promises.known.values()):
                promises.unheard.discard(label)
                promises.refused.add(label)
        else:
            promises.acknowledged(message, label, new.idempotency)
            if message.message_id not in self.ids:
                self.ids.append(message.message_id)

    @precondition(lambda self: up(self) and self.ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(self.ids))
        before = self._row(message_id)
        ask = self.wad.ask(lambda sessions: sessions.messages.cancel(message_id))
        if not ask.is_answered:
            return
        try:
            ask.answer()
        except StoreUnavailable:
            self.lost_answers += 1
        except Conflict:
            assert before is None or before.state not in WAITING or before.may_have_gone_out
        else:
            self.promises.known[message_id].cancelled = True

    @precondition(lambda self: up(self) and self.ids)
    @rule(data=st.data(), discard=st.booleans())
    def take_up_a_dead_letter(self, data: st.DataObject, discard: bool) -> None:
        """A person has it tried again, or puts it by. Nobody may have heard that it was done."""
        message_id = data.draw(st.sampled_from(self.ids))
        if discard:
            ask = self.wad.ask(lambda sessions: sessions.messages.discard_dead_letter(message_id))
        else:
            ask = self.wad.ask(lambda sessions: sessions.messages.retry_dead_letter(message_id))
        try:
            if ask.is_answered:
                ask.answer()
        except NotFound:
            return
        except StoreUnavailable:
            self.lost_answers += not discard
        if discard:
            self.promises.known[message_id].discarded = True
        else:
            self.promises.retried(message_id)

    # --- the provider -------------------------------------------------------------------------------

    @precondition(lambda self: up(self) and self._in_air())
    @rule(data=st.data(), answer=st.sampled_from(sorted(ANSWERS)))
    def provider_answers(self, data: st.DataObject, answer: str) -> None:
        flights = self._in_air()
        flight = flights[data.draw(st.integers(0, len(flights) - 1))]
        taken, error = ANSWERS[answer]
        message_id = flight.message.message_id
        if answer == "rejected":
            self.promises.known[message_id].rejected = True
        self._answer(flight, taken=taken, error=None if error is None else error())
        if answer == "accepted" and up(self) and self.disk.fault is None:
            self.promises.known[message_id].accepted = True

    def _answer(self, flight: Flight, *, taken: bool, error: Exception | None = None) -> None:
        world = self.provider if flight in self.provider.in_air else self.other

        async def tell() -> None:
            world.answer(flight, taken=taken, error=error)

        self.portal(tell)

    @precondition(lambda self: up(self) and (self.provider.took or self.other.took))
    @rule(
        data=st.data(),
        state=st.sampled_from(
            [MessageState.SENT, MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]
        ),
        more=st.booleans(),
    )
    def provider_tells_a_status(self, data: st.DataObject, state: MessageState, more: bool) -> None:
        """In any order, as often as it likes, and before its own answer."""
        worlds = [world for world in (self.provider, self.other) if world.took]
        world = worlds[data.draw(st.integers(0, len(worlds) - 1))]
        _, provider_id, message = world.took[data.draw(st.integers(0, len(world.took) - 1))]
        ours = message.message_id if world.capabilities.settlement == "callback" else None
        states = [state, MessageState.SENT] if more else [state]
        statuses = [
            StatusUpdate(provider_message_id=provider_id, state=each, at=self._now(), message_id=ours)
            for each in states
        ]
        known = self.promises.known[message.message_id]
        known.told_of += statuses
        ask = self.wad.ask(lambda sessions: sessions.actors.get(SHOP).received_by(world.name, statuses))
        if ask.is_answered:
            try:
                ask.answer()
            except StoreUnavailable:
                return
            known.heard += statuses

    # --- what goes on around it ---------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 700.0, 3000.0]))
    def time_passes(self, seconds: float) -> None:
        self.portal.time_passes(seconds)

    @precondition(up)
    @rule()
    def a_person_connects_it(self) -> None:
        self.wad.ask(lambda sessions: sessions.connect(SHOP, wait=0))

    @precondition(up)
    @rule()
    def a_person_disconnects_it(self) -> None:
        self.wad.ask(lambda sessions: sessions.disconnect(SHOP, wait=0))

    @precondition(lambda self: up(self) and self.disk.fault is None)
    @rule()
    def the_provider_is_changed(self) -> None:
        async def change(sessions: Sessions) -> None:
            now_at = sessions.session(SHOP).provider
            there = "other" if now_at == "simulated" else "simulated"
            await sessions.update(SHOP, provider=there, credentials={"key": "shop"})

        self.wad.ask(change)  # which waits for what is in the air

    @precondition(lambda self: up(self) and self.disk.fault is None)
    @rule(fault=st.sampled_from(["refuse", "lose_answer"]))
    def the_store_fails(self, fault: Any) -> None:
        self.disk.fault = fault

    @precondition(lambda self: self.disk.fault is not None)
    @rule()
    def the_store_is_well(self) -> None:
        self.disk.fault = None
        for seconds in PATIENCE:
            self.portal.time_passes(seconds)

    @precondition(up)
    @rule(writes=st.integers(1, 4), last_is_written=st.booleans(), arrives=st.booleans())
    def it_will_die(self, writes: int, last_is_written: bool, arrives: bool) -> None:
        self.provider.arrives = self.other.arrives = arrives
        self.wad.die_in(writes, last_is_written=last_is_written)

    @rule(arrives=st.booleans())
    def it_is_killed_and_starts_again(self, arrives: bool) -> None:
        self.provider.arrives = self.other.arrives = arrives
        self.wad.kill()
        self._start()

    @precondition(lambda self: up(self) and self.disk.fault is None)
    @rule(arrives=st.booleans())
    def it_is_stopped_and_starts_again(self, arrives: bool) -> None:
        self.provider.arrives = self.other.arrives = arrives
        self.wad.stop()
        self._start()

    def _start(self) -> None:
        self.promises.died()
        self.wad.start()
        for seconds in PATIENCE:
            self.portal.time_passes(seconds)

    # --- what must be true --------------------------------------------------------------------------

    @invariant()
    def the_promises_hold(self) -> None:
        if not hasattr(self, "wad") or not up(self) or self.disk.fault is not None:
            return
        rows = self._rows()
        listed = self.wad.read(lambda store: store.dead_letters(direction="outbound", limit=1000))
        in_air = {flight.message.message_id for flight in self._in_air()}
        self.promises.check(rows, in_air, {letter.message_id for letter in listed}, self._now())
        actor = self.wad.sessions.actors.get(SHOP)
        resting = actor.session.state is SessionState.FAILED
        if not resting and (actor.session.reason is None or actor.session.reason.code != "crashed"):
            waiting = sum(row.state in WAITING for row in rows)
            in_hand = sum(row.state is MessageState.SENDING for row in rows)
            # What a cancel whose answer was lost took away, or a retry brought back, it finds out at that message's turn.
            most = waiting + in_hand + self.lost_answers
            assert waiting <= actor.outbox.depth <= most, f"{actor.outbox.depth} deep, and {waiting} wait"

    def teardown(self) -> None:
        try:
            if sys.exception() is None and hasattr(self, "wad"):
                self._all_comes_to_its_end()
        finally:
            if hasattr(self, "wad"):
                self.wad.kill()
                self.disk.fault = None

    def _all_comes_to_its_end(self) -> None:
        """In peace every message has its end, or is a dead letter that says so."""
        self.disk.fault = None
        self.provider.holds = self.other.holds = False
        self.wad.survives()
        if not up(self):
            self.wad.kill()
            self._start()
        for flight in self._in_air():
            self._answer(flight, taken=True)
        for seconds in _PEACE:
            self.wad.ask(lambda sessions: sessions.connect(SHOP, wait=0))
            self.portal.time_passes(seconds)
            self.the_promises_hold()
            rows = self._rows()
            if not any(row.is_open for row in rows):
                break
        still = {row.reference: row.state for row in rows if row.is_open}
        assert not still, f"still under way: {still}"

    # --- looking ------------------------------------------------------------------------------------

    def _now(self) -> Any:
        async def read() -> Any:
            return now()

        return self.portal(read)

    def _rows(self) -> list[OutboundMessage]:
        query = MessageQuery(session_id=SHOP, direction="outbound", limit=1000)
        found = self.wad.read(lambda store: store.find_messages(query))
        return sorted(found, key=lambda row: row.seq)

    def _row(self, message_id: str) -> OutboundMessage | None:
        if self.disk.fault is not None:
            return None
        found: OutboundMessage | None = self.wad.read(lambda store: store.message(message_id))
        return found

    @staticmethod
    def _refused(answer: Callable[[], Any], kind: type[WadError]) -> None:
        try:
            answer()
        except kind:
            return
        raise AssertionError(f"{kind.__name__} was due")
