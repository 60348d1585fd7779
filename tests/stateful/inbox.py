"""The inbox of one session, on any store, as a state machine: what customers write, and what a flow says to it."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from typing import Any, Final

import httpx
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.actors.test_inbox import Body
from tests.house import now
from tests.stateful.daemon import Daemon
from tests.stateful.disk import Disk
from tests.stateful.outbox import CHATS, LIMITS, PATIENCE, SHOP
from tests.stateful.portal import Portal
from tests.stateful.world import HeldProvider
from wad.content import parse_reply
from wad.errors import NotFound, StoreUnavailable
from wad.flow.client import FlowClient
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import (
    ChatId,
    Credentials,
    InboundMessage,
    InboxItem,
    InboxState,
    MessageQuery,
    Person,
    ShopId,
    reply_message_id,
)
from wad.supervisor.sessions import NewSession

#: What a flow answers: a status, and with 200 how many replies.
ANSWERS: Final = {
    "nothing": (204, 0),
    "a reply": (200, 1),
    "two replies": (200, 2),
    "it is down": (503, 0),
    "a refusal": (400, 0),
}
_PEACE: Final = (1.0, 30.0, *(1000.0,) * 12)


class Asked:
    """A delivery that the flow has not answered yet."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.answered = trio.Event()
        self.answer = (204, [""][:0])


class HeldFlow(httpx.AsyncBaseTransport):
    """A flow service that answers when a step says so. No two of its replies are the same."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.heard: list[str] = []  # labels, in order
        self.said: defaultdict[str, list[list[str]]] = defaultdict(list)  # each answer with replies, by label
        self.holds = True
        self._replies = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        event = json.loads(await request.aread())
        asked = Asked(event["data"]["text"]["body"])
        self.heard.append(asked.label)
        self.asked.append(asked)
        if not self.holds:
            self.say(asked, 200, 1)
        try:
            await asked.answered.wait()
        finally:
            if asked in self.asked:
                self.asked.remove(asked)
        status, texts = asked.answer
        body = json.dumps({"replies": [{"text": text} for text in texts]}) if status == 200 else ""
        return httpx.Response(status, stream=Body(body.encode()))

    def say(self, asked: Asked, status: int, replies: int) -> None:
        texts = [f"re {asked.label} #{self._replies + n}" for n in range(replies)]
        self._replies += replies
        if texts:
            self.said[asked.label].append(texts)
        asked.answer = (status, texts)
        asked.answered.set()
        self.asked.remove(asked)


def up(machine: InboxMachine) -> bool:
    return machine.wad.is_up


class InboxMachine(RuleBasedStateMachine):
    """Whoever makes one gives it a *portal* and an empty *disk*."""

    def __init__(self, portal: Portal, disk: Disk) -> None:
        super().__init__()
        self.portal = portal
        self.disk = disk
        self.written: list[InboundMessage] = []
        self.acknowledged: set[str] = set()  # labels
        self.doubtful: set[str] = set()  # labels that were not acknowledged at once, or were tried again
        self.answers: dict[str, list[str]] = {}  # the one that was first seen on disk, by label
        self.refusals: Counter[str] = Counter()

    @initialize()
    def begin(self) -> None:
        self.flow = HeldFlow()
        self.provider = HeldProvider()
        self.provider.holds = False
        client = httpx.AsyncClient(transport=self.flow)
        flows = Flows(
            FlowDefaults(url="http://flow.example/"),
            FlowClient(guarded=client, trusted=client, check_reply=parse_reply, now=now),
        )
        self.wad = Daemon(self.portal, self.disk, self.provider, limits=LIMITS, flows=flows)
        self.wad.start()
        new = NewSession(
            provider="simulated",
            session_id=SHOP,
            shop_id=ShopId("shop"),
            credentials=Credentials(key="shop"),
        )
        self.wad.ask(lambda sessions: sessions.create(new)).answer()
        self.wad.ask(lambda sessions: sessions.connect(SHOP, wait=0)).answer()

    # --- customers, and the flow --------------------------------------------------------------------

    @precondition(up)
    @rule(chats=st.lists(st.sampled_from(CHATS), min_size=1, max_size=3))
    def customers_write(self, chats: list[str]) -> None:
        """Some of them in one webhook."""
        new = []
        for chat in chats:
            label = f"c{len(self.written)}"
            new.append(
                InboundMessage(
                    provider_message_id=f"in-{label}",
                    chat=ChatId(chat),
                    sender=Person(phone=chat),
                    content={"type": "text", "text": {"body": label}},
                )
            )
            self.written.append(new[-1])
        self._tell(new)

    @precondition(lambda self: up(self) and self.written)
    @rule(data=st.data())
    def the_provider_tells_again(self, data: st.DataObject) -> None:
        """Whether or not it was answered 200, and in whatever company."""
        some = data.draw(st.lists(st.integers(0, len(self.written) - 1), min_size=1, max_size=3))
        self._tell([self.written[at] for at in some])

    def _tell(self, events: list[InboundMessage]) -> None:
        labels = {_label(event) for event in events}
        ask = self.wad.ask(lambda sessions: sessions.actors.get(SHOP).received(events))
        try:
            if ask.is_answered:
                ask.answer()
                self.acknowledged |= labels
                return
        except StoreUnavailable:
            pass
        self.doubtful |= labels - self.acknowledged

    @precondition(lambda self: up(self) and self.flow.asked)
    @rule(data=st.data(), answer=st.sampled_from(sorted(ANSWERS)))
    def the_flow_answers(self, data: st.DataObject, answer: str) -> None:
        asked = self.flow.asked[data.draw(st.integers(0, len(self.flow.asked) - 1))]
        status, replies = ANSWERS[answer]
        self.refusals[asked.label] += status == 400

        async def say() -> None:
            self.flow.say(asked, status, replies)

        self.portal(say)

    @precondition(lambda self: up(self) and self.written)
    @rule(data=st.data())
    def a_person_retries(self, data: st.DataObject) -> None:
        """Only dead letters can be; nobody may have heard that it was done."""
        label = _label(data.draw(st.sampled_from(self.written)))
        if self.disk.fault is not None or (item := self._rows().get(label)) is None:
            return
        ask = self.wad.ask(lambda sessions: sessions.messages.retry_dead_letter(item.message_id))
        try:
            if ask.is_answered:
                ask.answer()
        except NotFound:
            assert item.state is not InboxState.DEAD
        else:
            self.doubtful.add(label)  # it comes after what was behind it

    # --- what goes on around it ---------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.portal.time_passes(seconds)

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
    @rule(writes=st.integers(1, 4), last_is_written=st.booleans())
    def it_will_die(self, writes: int, last_is_written: bool) -> None:
        """Between an answer and its replies, say."""
        self.wad.die_in(writes, last_is_written=last_is_written)

    @rule()
    def it_is_killed_and_starts_again(self) -> None:
        self.wad.kill()
        self._start()

    def _start(self) -> None:
        self.wad.start()
        for seconds in PATIENCE:
            self.portal.time_passes(seconds)

    # --- what must be true --------------------------------------------------------------------------

    @invariant()
    def the_promises_hold(self) -> None:
        if not hasattr(self, "wad") or not up(self) or self.disk.fault is not None:
            return
        rows = self._rows()
        assert self.acknowledged <= rows.keys(), f"lost: {self.acknowledged - rows.keys()}"
        outbound = self.wad.read(
            lambda store: store.find_messages(MessageQuery(session_id=SHOP, direction="outbound", limit=1000))
        )
        replies = {row.message_id: row for row in outbound}
        mine = set()
        for label, item in rows.items():
            texts = [reply["text"] for reply in item.answer or []]
            texts = [text if isinstance(text, str) else text["body"] for text in texts]
            if item.state is InboxState.ANSWERED or texts:
                assert texts in self.flow.said[label], f"the flow never said {texts} to {label}"
                assert self.answers.setdefault(label, texts) == texts, f"{label} has another answer"
            ids = [reply_message_id(item.message_id, n) for n in range(len(texts))]
            mine |= set(ids)
            if item.state is InboxState.DONE:
                sent = [replies[each].content["text"]["body"] for each in ids if each in replies]
                assert sent == texts, f"{label} was answered {texts}, and got {sent}"
            if item.state is InboxState.DEAD:
                assert self.refusals[label] or self._now() > item.expires_at - LIMITS.flow_window / 10
        assert replies.keys() <= mine, "a reply to nothing"
        times = Counter(message.message_id for _, _, message in self.provider.took)
        assert all(number == 1 for number in times.values()), "a reply was sent twice"
        self._in_order(rows)

    def _in_order(self, rows: dict[str, InboxItem]) -> None:
        """A chat's messages reach the flow one after the other, as they were acknowledged."""
        for chat in CHATS:
            heard = [
                rows[label].seq
                for label in self.flow.heard
                if label in rows and label not in self.doubtful and rows[label].chat == chat
            ]
            assert heard == sorted(heard), f"out of order: {self.flow.heard}"

    def teardown(self) -> None:
        try:
            if sys.exception() is None and hasattr(self, "wad"):
                self._all_comes_to_its_end()
        finally:
            if hasattr(self, "wad"):
                self.wad.kill()
                self.disk.fault = None

    def _all_comes_to_its_end(self) -> None:
        self.disk.fault = None
        self.flow.holds = False
        self.wad.survives()
        if not up(self):
            self.wad.kill()
            self._start()
        self._tell(self.written)  # the provider repeats what nobody acknowledged
        for seconds in _PEACE:
            self.portal.time_passes(seconds)
            self.the_promises_hold()
        still = {label: item.state for label, item in self._rows().items()}
        over = (InboxState.DONE, InboxState.DEAD)
        assert all(state in over for state in still.values()), f"still under way: {still}"
        assert len(still) == len(self.written)

    # --- looking ------------------------------------------------------------------------------------

    def _rows(self) -> dict[str, InboxItem]:
        query = MessageQuery(session_id=SHOP, direction="inbound", limit=1000)
        found: list[InboxItem] = self.wad.read(lambda store: store.find_messages(query))
        rows = {_label(item.event): item for item in found}
        assert len(rows) == len(found), "one message, two rows"
        return rows

    def _now(self) -> Any:
        async def read() -> Any:
            return now()

        return self.portal(read)


def _label(event: Any) -> str:
    return str(event.content["text"]["body"])
