"""One seed's story: lives of the daemon, with everybody around it at work and everything failing; then the count.

What holds, whatever happened (the oracle, `Story.verdict`):

- a send that was acknowledged is in one place: with an end, or `unknown` and a dead letter;
- nothing that was not taken is called accepted, and nothing that was taken is called unsent;
- no message is sent twice: under one id once, or again under the same id where the provider takes it once;
- what was cancelled never went out;
- a customer's message that was acknowledged has one row, and one reply; its picture is kept;
- of one chat, what needed one attempt went out in the order in which it was asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import trio

from tests.house import draft, now
from tests.simulation.mortal import Life, MortalEngine, World
from tests.simulation.pictures import broken, disk, picture
from wad.actors.services import Limits, Services
from wad.content import parse_reply
from wad.errors import WadError
from wad.events import Events
from wad.flow.delivery import FlowDefaults, Flows
from wad.flow.rules import Rules
from wad.models import (
    RANK,
    ChatId,
    Credentials,
    Idempotency,
    InboundMessage,
    InboxState,
    MessageId,
    MessageState,
    OutboundMessage,
    Person,
    Priority,
    SessionId,
    Settings,
    ShopId,
    StatusUpdate,
    reply_message_id,
)
from wad.secrets import Vault
from wad.store.memory import MemoryEngine
from wad.store.store import Store
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sessions import NewSession, Sessions, open_sessions

RULES: Final = (
    "rules: [{name: echo, match: {type: text}, replies: [{type: text, text: {body: 'eco: {text}'}}]}]"
)
_SHOP: Final = ShopId("shop")
#: Seconds of trouble, and of the peace after it in which everything has to come to an end.
TROUBLE: Final = 900.0
PEACE: Final = timedelta(days=2).total_seconds()


@dataclass
class Callback:
    """A webhook that the provider repeats until it is answered 200."""

    session_id: str
    event: StatusUpdate | InboundMessage
    acknowledged: bool = False


class Story:
    def __init__(self, seed: int, directory: Path) -> None:
        """*directory*: where the pictures of customers are kept."""
        self.seed = seed
        self.directory = directory
        self.chance = Random(seed)
        settlement = self.chance.choice(("callback", "callback", "resend", "resend", "list"))
        self.resends = settlement == "resend"
        self.at_least_once = not self.resends and self.chance.random() < 0.2
        self.world = World(Random(seed + 1), settlement=settlement)
        self.world.taken = self._taken
        self.sessions = [f"s{n}" for n in range(self.chance.randint(1, 3))]
        self.chats = [f"+52155123456{n:02}" for n in range(self.chance.randint(1, 4))]
        self.disk = MemoryEngine()
        self.vault = Vault(b"m" * 32)
        self.trace: list[str] = []
        self.labels: list[str] = []  # of what was asked for: ids differ from run to run
        self.acknowledged: dict[MessageId, int] = {}  # and when, as a number
        self.cancelled: set[MessageId] = set()
        self.callbacks: list[Callback] = []
        self.peace = False
        self.busy: list[str] = []  # the sessions that believe to have something open at the end

    # --- what is told ---

    def tell(self, what: str) -> None:
        self.trace.append(f"{trio.current_time():9.2f} {what}")

    def label(self, message: OutboundMessage) -> str:
        return message.reference or str(message.content["text"]["body"])

    def _taken(self, message: OutboundMessage, provider_id: str) -> None:
        self.tell(f"the provider takes {self.label(message)} of {message.session_id} for {message.chat}")
        for state in (MessageState.SENT, MessageState.DELIVERED, MessageState.READ):
            if self.chance.random() < self.world.trouble / 2:
                continue  # lost for good: Meta gives up too
            status = StatusUpdate(
                provider_message_id=provider_id,
                state=state,
                at=now(),
                message_id=None if self.resends else message.message_id,
            )
            for _ in range(self.chance.choice((1, 1, 1, 2))):
                self.callbacks.append(Callback(message.session_id, status))

    # --- lives ---

    async def play(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._weather)
            nursery.start_soon(self._provider_tells)
            while trio.current_time() < TROUBLE:
                await self._live(TROUBLE - trio.current_time())
                await trio.sleep(self.chance.uniform(0, 5))
            self.world.trouble, self.disk.fault, self.peace = 0.0, None, True
            self.tell("peace")
            await self._live(PEACE)
            nursery.cancel_scope.cancel()

    async def _live(self, longest: float) -> None:
        life = Life(Random(self.chance.random()), self.world.died)
        self.world.life = life
        if not self.peace and self.chance.random() < 0.7:
            life.fuse = self.chance.randint(1, 120)
        self.tell("a life begins")
        ends_at = trio.current_time() + longest
        if not self.peace:
            ends_at = min(ends_at, trio.current_time() + self.chance.expovariate(1 / 200))
        with life.scope:
            async with self._open(life) as sessions, trio.open_nursery() as nursery:
                await self._settle_in(sessions)
                nursery.start_soon(self._webhooks, sessions, life)
                if self.peace:
                    await self._until_quiet(sessions)
                else:
                    for _ in range(2):
                        nursery.start_soon(self._shop, sessions, life)
                    nursery.start_soon(self._operator, sessions)
                    await trio.sleep_until(ends_at)
                nursery.cancel_scope.cancel()
                self.tell("told to stop")
        if life.over:
            self.tell("killed")
        self.world.life = None

    @asynccontextmanager
    async def _open(self, life: Life) -> AsyncIterator[Sessions]:
        store = Store(MortalEngine(self.disk, life), self.vault)
        files = disk(self.directory, self.vault)
        await files.load()
        services = Services(
            store=store,
            patient=store.patient(),
            files=files,
            events=Events(),
            flows=Flows(FlowDefaults(), None, Rules.parse(RULES, parse_reply)),
            limits=Limits(bulk_page=2),
            now=now,
            random=Random(self.chance.random()),
            connecting=trio.CapacityLimiter(5),
        )
        policy = RestartPolicy(random=Random(self.chance.random()))
        kinds = {self.world.name: self.world}
        async with open_sessions(services, kinds, policy, check_url=lambda url: None, grace=5.0) as sessions:
            await sessions.restore()
            yield sessions

    async def _settle_in(self, sessions: Sessions) -> None:
        """Create what is not there, and connect everything: a person mends what needs one at each start."""
        for name in self.sessions:
            settings = Settings(duplicates="at_least_once" if self.at_least_once else "at_most_once")
            new = NewSession(
                provider="simulated",
                session_id=SessionId(name),
                shop_id=_SHOP,
                credentials=Credentials(key=name),
                settings=settings,
            )
            with refusals():
                if SessionId(name) not in sessions.actors:
                    await sessions.create(new)
                await sessions.connect(SessionId(name), wait=0)

    # --- who is at work ---

    async def _weather(self) -> None:
        while True:
            await trio.sleep(self.chance.expovariate(1 / 60))
            if self.peace:
                return
            self.world.trouble = self.chance.choice((0.0, 0.0, 0.2, 0.5, 0.9))
            self.disk.fault = self.chance.choice((None, None, None, None, "refuse", "lose_answer"))
            self.tell(f"trouble {self.world.trouble}, store {self.disk.fault or 'well'}")

    async def _shop(self, sessions: Sessions, life: Life) -> None:
        while True:
            await trio.sleep(self.chance.expovariate(1 / 10))
            number = len(self.labels)
            name = f"m{number}"
            self.labels.append(name)
            key = Idempotency(scope="t", key=name, fingerprint=name) if self.chance.random() < 0.5 else None
            wanted = draft(
                "ok" if self.chance.random() < 0.2 else name,  # people do repeat themselves
                self.chance.choice(self.chats),
                self.chance.choice(self.sessions),
                idempotency=key,
                reference=name,
                **self._how(),
            )
            if self.chance.random() < 0.4:  # wad chooses the session
                wanted = msgspec.structs.replace(wanted, session_id=None, shop_id=_SHOP)
            for _ in range(1 if key is None else 3):
                with refusals():
                    sent = await sessions.messages.send(wanted)
                    if not life.over:
                        self.acknowledged.setdefault(sent.message.message_id, number)
                        self.tell(
                            f"{name} for {wanted.to.chat} of {wanted.session_id or _SHOP} is acknowledged"
                        )
                        if self.chance.random() < 0.1:
                            await self._cancel(sessions, life, sent.message.message_id, name)
                    break

    def _how(self) -> dict[str, Any]:
        """A third goes as bulk, of which there is more than fits a page; some of all for a time of its own."""
        how: dict[str, Any] = {}
        if self.chance.random() < 0.3:
            how["priority"] = Priority.BULK
        if self.chance.random() < 0.1:
            how["send_at"] = now() + timedelta(seconds=self.chance.uniform(1, 300))
        return how

    async def _cancel(self, sessions: Sessions, life: Life, message_id: MessageId, name: str) -> None:
        await trio.sleep(self.chance.uniform(0, 3))
        with refusals():
            await sessions.messages.cancel(message_id)
            if not life.over:
                self.cancelled.add(message_id)
                self.tell(f"{name} is cancelled")

    async def _operator(self, sessions: Sessions) -> None:
        while True:
            await trio.sleep(self.chance.expovariate(1 / 120))
            session_id = SessionId(self.chance.choice(self.sessions))
            with refusals():
                if self.chance.random() < 0.3:
                    await sessions.disconnect(session_id, wait=1)
                else:
                    await sessions.connect(session_id, wait=1)

    async def _provider_tells(self) -> None:
        """Customers write."""
        number = 0
        while True:
            await trio.sleep(self.chance.expovariate(1 / 20))
            if self.peace:
                return
            number += 1
            chat = self.chance.choice(self.chats)
            event = InboundMessage(
                provider_message_id=f"in-{number}",
                chat=ChatId(chat),
                sender=Person(phone=chat),
                content={"type": "text", "text": {"body": f"c{number}"}}
                if self.chance.random() < 0.8
                else picture(f"p{number}"),
            )
            session_id = self.chance.choice(self.sessions)
            self.world.came_in.append((now(), session_id, event))
            for _ in range(self.chance.choice((1, 1, 2))):
                self.callbacks.append(Callback(session_id, event))

    async def _webhooks(self, sessions: Sessions, life: Life) -> None:
        """What the provider has to tell, in any order, again until it is acknowledged."""
        while True:
            await trio.sleep(self.chance.uniform(0, 2))
            waiting = [each for each in self.callbacks if not each.acknowledged]
            if not waiting:
                continue
            callback = self.chance.choice(waiting[:20])
            with refusals():
                await sessions.actors.get(SessionId(callback.session_id)).received([callback.event])
                callback.acknowledged = not life.over

    async def _until_quiet(self, sessions: Sessions) -> None:
        """Everything has its end, or two days have gone by."""
        with trio.move_on_after(PEACE):
            while any(actor.busy for actor in sessions.actors) or not all(  # noqa: ASYNC110  time costs nothing here
                callback.acknowledged for callback in self.callbacks
            ):
                await trio.sleep(60)
        self.busy = [a.session.session_id for a in sessions.actors if a.busy or a.outbox.backlog.size]

    # --- the count ---

    async def verdict(self) -> list[str]:
        """Every promise that was broken, in words."""
        store = Store(self.disk, self.vault)
        sends = Counter(message.message_id for message in self.world.ledger)
        rows: dict[MessageId, OutboundMessage] = await store.messages([*self.acknowledged, *sends])
        return [
            *(f"{name} believes that something waits" for name in self.busy),
            *self._each_has_its_end(rows, sends),
            *self._order(rows),
            *[fault async for fault in self._inbound(store, sends)],
        ]

    def _each_has_its_end(
        self, rows: dict[MessageId, OutboundMessage], sends: Counter[MessageId]
    ) -> Iterator[str]:
        for message_id in self.acknowledged:
            if message_id not in rows:
                yield f"m{self.acknowledged[message_id]} was acknowledged, and is lost"
        for message_id, message in rows.items():
            name, times = self.label(message), sends[message_id]
            if message.is_open:
                yield f"{name} is {message.state} still"
            if message.state is MessageState.UNKNOWN and not message.dead:
                yield f"{name} is unknown, and no dead letter"
            if times == 0 and RANK.get(message.state, 0) >= RANK[MessageState.ACCEPTED]:
                yield f"{name} is {message.state}, and was never sent"
            if times and message.state in (MessageState.CANCELLED, MessageState.EXPIRED, MessageState.FAILED):
                yield f"{name} is {message.state}, and was sent"
            if times > 1 and not (self.resends or self.at_least_once):
                yield f"{name} was sent {times} times"
            if times > 1 and self.at_least_once and not message.maybe_duplicate:
                yield f"{name} was sent {times} times, and does not say that it may be a duplicate"
            if message_id in self.cancelled and message.state is not MessageState.CANCELLED:
                yield f"{name} was cancelled, and is {message.state}"
        for message_id in sends:
            if message_id not in rows:
                yield f"something was sent that no row tells of: {message_id}"

    def _order(self, rows: dict[MessageId, OutboundMessage]) -> Iterator[str]:
        last: dict[tuple[str, str, int], tuple[int, str]] = defaultdict(lambda: (0, ""))
        for message in self.world.ledger:
            row = rows[message.message_id]
            if row.attempts != 1 or row.moves or row.send_at is not None:
                continue
            lane = (message.session_id, message.chat, message.priority)
            if message.seq < last[lane][0]:
                yield f"{self.label(message)} went out after {last[lane][1]}"
            last[lane] = max(last[lane], (message.seq, self.label(message)))

    async def _inbound(self, store: Store, sends: Counter[MessageId]) -> AsyncIterator[str]:
        files = disk(self.directory, self.vault)
        told = {
            (each.session_id, each.event.provider_message_id): each.event
            for each in self.callbacks
            if each.acknowledged and isinstance(each.event, InboundMessage)
        }
        for (session_id, _), event in told.items():
            name = event.provider_message_id
            item = await store.inbox_by_dedupe(session_id, event.dedupe_key)
            if item is None:
                yield f"{name} was acknowledged, and is lost"
                continue
            if item.state is not InboxState.DONE:
                yield f"{name} is {item.state} still"
            if event.content["type"] == "image":
                async for fault in broken(store, files, session_id, event):
                    yield fault
                continue
            reply = reply_message_id(item.message_id, 0)
            if await store.message(reply) is None:
                yield f"{name} has no reply"
            if sends[reply] > 1 and not (self.resends or self.at_least_once):
                yield f"the reply to {name} was sent {sends[reply]} times"


@contextmanager
def refusals() -> Iterator[None]:
    """What wad refuses, and says so, is no fault."""
    try:
        yield
    except WadError:
        return
