"""The rate of each number, and how far a provider's "too much" reaches: as far as it says, and no further."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from tests.simulated import CAPABILITIES, SimulatedProvider, failing, refusal
from wad.actors.pauses import Pauses
from wad.actors.services import Pace
from wad.errors import Scope, Verdict
from wad.events import FlowDelivered, MarketingPaused
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import Address, FlowEvent, MessageId, Number, Priority, Session, SessionId, Waiting
from wad.supervisor.sending import Draft
from wad.supervisor.sessions import Sessions

SHOP = SessionId("shop")
FIRST, SECOND = Number("100", "+5215500000100"), Number("200", "+5215500000200")


class ManyNumbers(SimulatedProvider):
    """An account with two numbers."""

    capabilities = msgspec.structs.replace(
        CAPABILITIES, numbers=True, content_types=CAPABILITIES.content_types | {"template"}
    )

    def number_for(self, session: Session, asked: str | None, wrote_to: Number | None) -> Number | None:
        return {number.id: number for number in (FIRST, SECOND)}.get(asked or "")

    def left(self, number: Number | None = None) -> int:
        """How many messages went out, of one number or in all."""
        return sum(message.number == number or number is None for message in self.ledger)


def person(n: int) -> str:
    return f"+52155{n:08}"


async def sent(
    sessions: Sessions, count: int = 1, *, number: Number | None = None, first: int = 0, session: str = "shop"
) -> list[MessageId]:
    """So many messages, each to somebody else."""
    return [
        (
            await sessions.messages.send(
                draft(to=person(n), session_id=session, number=number.id if number else None)
            )
        ).message.message_id
        for n in range(first, first + count)
    ]


def marketing(to: str = person(1), number: Number = FIRST) -> Draft:
    return Draft(
        session_id=SHOP,
        to=Address(phone=to),
        content={"type": "template", "template": {"name": "oferta", "language": {"code": "es"}}},
        number=number.id,
        priority=Priority.BULK,
    )


async def waiting(house: House, sessions: Sessions, message_id: MessageId) -> Waiting | None:
    message = await house.store().message(message_id)
    assert message is not None
    return sessions.messages.waiting(message)


# --- the rate -------------------------------------------------------------------------------------

TOLD = {"": 1000.0}
RATES = [
    pytest.param({}, Pace(), {}, 80.0, id="nobody says anything"),
    pytest.param(TOLD, Pace(), {}, 1000.0, id="the provider tells"),
    pytest.param(TOLD, Pace(rate=40, is_set=True), {}, 40.0, id="the configuration stands"),
    pytest.param(TOLD, Pace(rate=40, is_set=True), {"rate": 7}, 7.0, id="the session's own word"),
    pytest.param({"999": 20.0}, Pace(), {}, 80.0, id="it tells of another number"),
]


@pytest.mark.parametrize(("told", "pace", "settings", "rate"), RATES)
async def test_whose_word_the_rate_is(
    autojump_clock: MockClock, told: dict[str, float], pace: Pace, settings: dict[str, float], rate: float
) -> None:
    """The session's, the configuration's, the provider's, and the default, in this order; the status shows it."""
    house = House(paces={"simulated": pace})
    house.world.rates = told
    async with house.run() as sessions:
        await shop(sessions, **settings)
        assert sessions.actors.get(SHOP).outbox.pacing.of("").rate == rate


async def test_a_rate_that_changes_with_the_next_proof_is_in_force_at_once(autojump_clock: MockClock) -> None:
    """Meta raises a number from 80 to 1,000 a second, or takes it back."""
    house = House()
    house.world.rates = {"": 10.0}
    async with house.run() as sessions:
        await shop(sessions)
        await sent(sessions, 200)
        await trio.sleep(5)
        assert 55 <= len(house.world.ledger) <= 65  # 10 at once, and 10 a second
        house.world.rates = {"": 1000.0}
        await sessions.connect(SHOP, wait=10)
        await trio.sleep(1)
        assert sessions.status(SHOP).rate == 1000.0
        assert len(house.world.ledger) == 200


async def test_a_rate_that_a_person_changes_is_in_force_without_a_new_connection(
    autojump_clock: MockClock,
) -> None:
    """`PATCH` of `rate` and `burst`."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions, rate=0.1, burst=1)
        await sent(sessions, 100)
        await trio.sleep(11)
        assert len(house.world.ledger) == 2
        await sessions.update(SHOP, settings={"rate": 1000, "burst": 50})
        await trio.sleep(1)
        assert len(house.world.ledger) == 100
        assert house.world.opened == ["shop"]
        assert sessions.status(SHOP).rate == 1000


async def test_each_number_has_its_own_rate_and_none_waits_for_another(autojump_clock: MockClock) -> None:
    """What waits for the slow number does not stand before what the quick one could send."""
    house = House(world=ManyNumbers())
    house.world.rates = {FIRST.id: 1.0, SECOND.id: 1000.0}
    async with house.run() as sessions:
        await shop(sessions, burst=1)
        assert sessions.status(SHOP).rates == {"100": 1.0, "200": 1000.0}
        assert sessions.status(SHOP).rate == 1001.0
        slow = await sent(sessions, 50, number=FIRST)
        await sent(sessions, 50, number=SECOND)
        await trio.sleep(5.5)
        assert (house.world.left(FIRST), house.world.left(SECOND)) == (6, 50)
        held = await waiting(house, sessions, slow[-1])
        assert held is not None
        assert (held.reason, held.detail) == ("rate", f"{FIRST.phone} sends as fast as it may")


# --- how far a refusal reaches --------------------------------------------------------------------


def throttle(scope: Scope, seconds: float | None = None) -> Exception:
    return refusal(Verdict.THROTTLED, "throttled", scope=scope, retry_after=seconds)


async def test_a_number_that_is_too_fast_slows_alone(autojump_clock: MockClock) -> None:
    """130429: half the rate for that number, and it says so; the other one goes on."""
    house = House(world=ManyNumbers())
    house.world.rates = {FIRST.id: 10.0, SECOND.id: 10.0}
    house.world.script[person(0)] = [failing(throttle(Scope.NUMBER))]
    async with house.run() as sessions:
        await shop(sessions, burst=1)
        slowed = await sent(sessions, 200, number=FIRST)
        await sent(sessions, 200, number=SECOND, first=1000)
        await trio.sleep(10)
        assert sessions.status(SHOP).rates == {"100": 5.0, "200": 10.0}
        assert 45 <= house.world.left(FIRST) <= 55
        assert 95 <= house.world.left(SECOND) <= 105
        held = await waiting(house, sessions, slowed[-1])
        assert held is not None
        assert (held.reason, held.detail) == (
            "slowed",
            f"the provider says that {FIRST.phone} sends too fast",
        )


SHARED = [
    pytest.param(Scope.ACCOUNT, {Scope.ACCOUNT: "waba 1"}, "paused", id="the account"),
    pytest.param(Scope.APP, {Scope.APP: "app 1"}, "app_paused", id="the app"),
    pytest.param(Scope.ACCOUNT, {Scope.APP: "app 1"}, None, id="not the app for the account"),
    pytest.param(Scope.ACCOUNT, {}, None, id="nothing where nobody knows whose it is"),
]


@pytest.mark.parametrize(("scope", "shares", "reason"), SHARED)
async def test_a_pause_of_the_account_is_everybodys_who_shares_it(
    autojump_clock: MockClock, scope: Scope, shares: dict[Scope, str], reason: str | None
) -> None:
    """80007 and 4: each session of it waits, says so, and sends when it is over; others hear nothing of it."""
    house = House()
    house.world.shares = shares
    house.world.script[person(1)] = [failing(throttle(scope, 600.0))]
    async with house.run() as sessions:
        await shop(sessions)
        await shop(sessions, "other")
        await sent(sessions, first=1)
        await trio.sleep(1)
        [message] = await sent(sessions, first=2, session="other")
        until = now() + timedelta(seconds=599)
        await trio.sleep(1)
        held = await waiting(house, sessions, message)
        assert (None if held is None else held.reason) == reason
        assert len(house.world.ledger) == (0 if reason else 1)
        if held is not None:
            assert held.until == until
        await trio.sleep(600)
        assert len(house.world.ledger) == 2


async def test_unwanted_marketing_waits_and_nothing_else_does(autojump_clock: MockClock) -> None:
    """131048: no template in bulk from that number for an hour, told once; not even the same person waits for it."""
    flows = Flows(FlowDefaults(url="https://flow.example", events=frozenset({"session.marketing_paused"})))
    house = House(world=ManyNumbers(), flows=flows)
    house.world.script[person(1)] = [failing(throttle(Scope.MARKETING, 3600.0))]
    house.world.script[person(2)] = [failing(throttle(Scope.MARKETING, 3600.0))]
    async with house.run() as sessions:
        await shop(sessions)
        first = (await sessions.messages.send(marketing())).message.message_id
        await trio.sleep(1)
        second = (await sessions.messages.send(marketing(person(3)))).message.message_id
        await sessions.messages.send(marketing(person(4), SECOND))
        await sent(sessions, 3, number=FIRST, first=1)
        await trio.sleep(2)
        assert {(m.type, m.number) for m in house.world.ledger} == {("text", FIRST), ("template", SECOND)}
        assert len(house.world.ledger) == 4 - 1  # one of the texts was refused as well, and waits
        held = await waiting(house, sessions, second)
        assert held is not None
        assert held.reason == "marketing_paused"
        [told] = house.facts_of(MarketingPaused)
        assert (told.number, told.code, told.until) == (FIRST, "throttled", now() + timedelta(seconds=3597))
        assert told.data["number"] == FIRST.phone
        assert told.data["sessionId"] == SHOP
        [event] = [
            fact.item.event
            for fact in house.facts_of(FlowDelivered)
            if isinstance(fact.item.event, FlowEvent)
        ]
        assert (event.type, event.data) == ("session.marketing_paused", told.data)
        await trio.sleep(3700)
        done = await house.store().messages([first, second])
        assert {message.state for message in done.values()} == {"accepted"}


# --- pauses ---------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50), st.floats(0, 10)), max_size=30),
    st.sets(st.sampled_from("abc")),
)
def test_pauses_are_the_longest_of_each_name(asked: list[tuple[str, float, float]], names: set[str]) -> None:
    """A plain dictionary of ends says the same, and what is over is forgotten with the next one."""
    pauses, ends, at = Pauses(), dict[str, float](), 0.0
    for name, seconds, later in asked:
        at += later
        pauses.pause(name, at + seconds, at)
        ends[name] = max(ends.get(name, 0.0), at + seconds)
        left = max((ends[each] - at for each in names if each in ends), default=0.0)
        assert pauses.wait(names, at) == max(0.0, left)
    pauses.pause("d", at + 100.0, at + 60.0)
    assert repr(pauses) == "<Pauses 1>"
