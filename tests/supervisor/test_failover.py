"""What a session cannot send goes out by another one of its shop: all of it, once, and in order."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, text
from tests.simulated import SocketProvider, failing, lost_answer, refusal
from tests.supervisor.shops import ANA, SHOP, Shop, ShopWorld, a_shop, refusing
from wad.actors.services import Limits
from wad.errors import NotFound, Verdict, WadError
from wad.events import FailedOver
from wad.models import Credentials, MessageState, SessionId, SessionState
from wad.supervisor.balancer import Policy
from wad.supervisor.failover import PATIENCE
from wad.supervisor.placing import Policies
from wad.supervisor.sending import Draft, Sent
from wad.supervisor.sessions import NewSession
from wad.supervisor.stuck import MOST_MOVES

BANNED = refusing(Verdict.NEEDS_PERSON, "banned")
UNREACHABLE = refusing(Verdict.NOT_SENT, "unreachable", health=True)
NOT_SENT = refusing(Verdict.NOT_SENT, "busy")
A_FIRST = Policies(default=Policy(name="priority", order=(SessionId("a"), SessionId("b"), SessionId("c"))))
CUSTOMERS = [f"+52155000000{n:02}" for n in range(20)]


def house(**more) -> House:
    return House(world=ShopWorld(), policies=A_FIRST, **more)


def opened(*names: str, **more):
    home = house(**more)
    return a_shop(*names, world=home.world, house=home)


async def burst(shop: Shop, *drafts: Draft, count: int = 5) -> list[Sent]:
    """So many messages at once: each is given to the same session, for nothing has become of any yet."""
    asked = drafts or [shop.draft(f"{n:02}") for n in range(count)]
    sent = await shop.sessions.messages.send_bulk(asked)
    assert all(isinstance(each, Sent) for each in sent), sent
    return sent


async def test_a_number_that_needs_a_person_gives_all_it_has_to_another(autojump_clock: MockClock) -> None:
    """The message that was refused as well, and first: it surely did not go out. Each one's history says so."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        sent = await burst(shop)
        await trio.sleep(60)
        assert shop.world.went_out() == [("b", f"{n:02}") for n in range(5)]
        stored = await shop.stored(sent[0])
        assert (stored.session_id, stored.state, stored.moves) == ("b", MessageState.ACCEPTED, 1)
        assert "moved from a to b: waits_for_person" in [step.note for step in stored.history]
        facts = shop.house.facts_of(FailedOver)
        assert {(f.session_id, f.why) for f in facts} == {("a", "waits_for_person")}
        assert (sum(f.moved for f in facts), sum(f.left for f in facts)) == (5, 0)


async def test_what_comes_after_a_failover_goes_after_what_moved(autojump_clock: MockClock) -> None:
    """In its conversation: who sends in the middle of it waits until the others are there."""
    async with opened("a", "b") as shop:
        shop.world.latency = 1.0
        shop.world.down["a"] = BANNED
        await burst(shop)
        while shop.sessions.status(SessionId("a")).state is not SessionState.FAILED:
            await trio.lowlevel.checkpoint()
        sent = await shop.send("99")
        assert sent.message.session_id == "b"
        await trio.sleep(60)
        assert [body for _, body in shop.world.went_out()] == ["00", "01", "02", "03", "04", "99"]


async def test_an_open_breaker_is_a_reason(autojump_clock: MockClock) -> None:
    """Ten failures in a minute open it; the conversations behind go to the other number."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = UNREACHABLE
        sent = await burst(shop, *(shop.draft(to, to) for to in CUSTOMERS))
        await trio.sleep(14)
        assert Counter(shop.world.went_out()) == Counter(("b", to) for to in CUSTOMERS)
        assert {each.message.session_id for each in sent} == {"a"}
        assert "breaker_open" in {f.why for f in shop.house.facts_of(FailedOver)}


async def test_a_message_that_did_not_go_out_three_times_takes_its_conversation_along(
    autojump_clock: MockClock,
) -> None:
    """Other conversations of a number that works stay where they are."""
    async with opened("a", "b") as shop:
        shop.world.script[ANA] = [failing(refusal(Verdict.NOT_SENT, "busy"))] * 3
        await burst(shop, count=3)
        await shop.send("other", CUSTOMERS[0])
        await trio.sleep(60)
        assert shop.world.went_out() == [("a", "other"), ("b", "00"), ("b", "01"), ("b", "02")]
        [fact] = shop.house.facts_of(FailedOver)
        assert (fact.why, fact.moved) == ("attempts_failed", 3)


async def test_a_message_that_was_asked_of_a_session_stays_there(autojump_clock: MockClock) -> None:
    """Whoever names a session means it."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        named = await shop.sessions.messages.send(draft("named", session_id="a"))
        await shop.send("free", CUSTOMERS[0], queue=True)
        await trio.sleep(60)
        assert shop.world.went_out() == [("b", "free")]
        assert ((await shop.stored(named)).session_id, (await shop.stored(named)).state) == ("a", "queued")


async def test_what_may_have_gone_out_is_sent_by_nobody_else(autojump_clock: MockClock) -> None:
    """It is `unknown`, as without a shop."""
    async with opened("a", "b") as shop:
        shop.world.script[ANA] = [lost_answer(shop.world)]
        sent = await shop.send()
        await trio.sleep(1)
        shop.world.down["a"] = BANNED
        await shop.send("more", CUSTOMERS[0])
        await trio.sleep(1200)
        assert sorted(shop.world.went_out()) == [("a", "hola"), ("b", "more")]
        stored = await shop.stored(sent)
        assert (stored.session_id, stored.state) == ("a", MessageState.UNKNOWN)


async def test_who_asked_for_twice_rather_than_never_gets_it_by_another_number(
    autojump_clock: MockClock,
) -> None:
    """`duplicates: at_least_once`, once no proof came in time."""
    async with opened("a", "b") as shop:
        await shop.patch("a", duplicates="at_least_once")
        shop.world.script[ANA] = [lost_answer(shop.world)]
        sent = await shop.send()
        await trio.sleep(1)
        shop.world.down["a"] = BANNED
        await shop.send("more", CUSTOMERS[0])
        await trio.sleep(1200)
        assert shop.world.went_out() == [("a", "hola"), ("b", "more"), ("b", "hola")]
        assert (await shop.stored(sent)).maybe_duplicate


async def test_what_is_resent_under_its_own_id_is_left_to_its_own_session(autojump_clock: MockClock) -> None:
    """Under another number it would be another message."""
    world = SocketProvider()
    home = House(world=world, policies=A_FIRST)
    async with home.run() as sessions:
        for name in ("a", "b"):
            await sessions.create(
                NewSession(
                    provider="simulated",
                    session_id=SessionId(name),
                    shop_id=SHOP,
                    credentials=Credentials(),
                )
            )
            await sessions.connect(SessionId(name), wait=60)
            await world.scan(name)
        world.script[ANA] = [lost_answer(world)]
        sent = await sessions.messages.send(Shop.draft("doubtful"))
        await trio.sleep(0.1)
        world.drop("a", refusal(Verdict.NEEDS_PERSON, "replaced"))
        other = await sessions.messages.send(Shop.draft("certain", CUSTOMERS[0]))
        await trio.sleep(60)
        stored = await home.store().messages({sent.message.message_id, other.message.message_id})
        assert {m.content["text"]["body"]: (m.session_id, m.state) for m in stored.values()} == {
            "doubtful": ("a", "queued"),
            "certain": ("b", "accepted"),
        }


BOUND = [
    ("a quote", {"reply_to": "p-1"}),
    ("a reaction", {"content": {"type": "reaction", "reaction": {"messageId": "p-1", "emoji": "👍"}}}),
    ("a file that the provider keeps", {"content": {"type": "image", "image": {"mediaId": "up-1"}}}),
]


@pytest.mark.parametrize("more", [row[1] for row in BOUND], ids=[row[0] for row in BOUND])
async def test_what_only_its_session_knows_stays_with_it(autojump_clock: MockClock, more: dict) -> None:
    """The rest of the conversation goes on."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        bound = await shop.send(**more)
        free = await shop.send("free", queue=True)
        await trio.sleep(60)
        assert (await shop.stored(bound)).session_id == "a"
        assert (await shop.stored(free)).session_id == "b"


async def test_a_session_that_is_disconnected_gives_what_it_has(autojump_clock: MockClock) -> None:
    """What is in hand finishes first."""
    async with opened("a", "b") as shop:
        shop.world.latency = 2.0
        await burst(shop)
        await trio.sleep(1)
        await shop.sessions.disconnect(SessionId("a"), wait=30)
        await trio.sleep(60)
        assert shop.world.went_out() == [("a", "00")] + [("b", f"{n:02}") for n in range(1, 5)]


async def test_a_session_that_is_deleted_gives_what_it_has(autojump_clock: MockClock) -> None:
    """Also to one that waits for a person, where there is no other: what stays is forgotten with the session."""
    async with opened("a", "b", "c") as shop:
        shop.world.down["c"] = BANNED
        await shop.sessions.messages.send(draft("named", session_id="c"))
        await trio.sleep(1)
        shop.world.down |= dict.fromkeys("ab", NOT_SENT)
        sent = await burst(shop)
        later = await shop.send("later", CUSTOMERS[0], send_at=now() + timedelta(hours=1))
        await trio.sleep(0.5)
        await shop.sessions.delete(SessionId("a"))
        assert {(await shop.stored(each)).session_id for each in (*sent, later)} == {"b"}
        await shop.sessions.delete(SessionId("b"))
        assert {(await shop.stored(each)).session_id for each in (*sent, later)} == {"c"}
        await shop.sessions.delete(SessionId("c"))
        assert await shop.house.store().message(sent[0].message.message_id) is None
        with pytest.raises(NotFound):
            await shop.send()


async def test_a_number_that_is_unreachable_for_a_while_gives_what_it_has(autojump_clock: MockClock) -> None:
    """A short absence scatters nobody's conversation."""
    async with opened("a", "b") as shop:
        shop.world.connects["a"] = [refusal(Verdict.NOT_SENT, "unreachable")] * 99
        await shop.patch("a", rate=50.0)  # reopens it
        actor = shop.sessions.actors.get(SessionId("a"))
        actor.connecting.lost(refusal(Verdict.NOT_SENT, "unreachable"))
        shop.sessions.actors.get(SessionId("b"))
        sent = await shop.sessions.messages.send(
            msgspec.structs.replace(
                shop.draft("waits"), session_id=SessionId("a"), shop_id=None, chosen="weight"
            )
        )
        await trio.sleep(PATIENCE - 2)
        assert (await shop.stored(sent)).session_id == "a"
        await trio.sleep(5)
        assert shop.world.went_out() == [("b", "waits")]


async def test_what_nobody_can_send_waits_for_whoever_is_ready_first(autojump_clock: MockClock) -> None:
    """Nothing asks around meanwhile; the fact that a session is connected is enough."""
    async with opened("a", "b") as shop:
        await shop.sessions.disconnect(SessionId("b"), wait=10)
        shop.world.down["a"] = BANNED
        sent = await burst(shop, count=2)
        await trio.sleep(3600)
        assert {(await shop.stored(each)).session_id for each in sent} == {"a"}
        await shop.sessions.connect(SessionId("b"), wait=10)
        await trio.sleep(1)
        assert shop.world.went_out() == [("b", "00"), ("b", "01")]


@pytest.mark.parametrize("begun", [True, False], ids=["being written", "not yet"])
async def test_what_is_sent_while_its_session_is_deleted_is_moved_or_refused(
    autojump_clock: MockClock, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message for itself: the shop's goes out once by another number, and nothing that was taken is gone."""
    async with opened("a", "c") as shop:
        await trio.sleep(10)  # its state is written: deleting it waits for no write of its own
        engine = shop.house._engine
        write, find = engine.write, engine.find

        async def slowly(*asked: Any) -> Any:
            await trio.sleep(1)
            return await (write if begun else find)(*asked)

        monkeypatch.setattr(engine, "write" if begun else "find", slowly)
        drafts = [
            shop.draft("of the shop"),
            shop.draft("of a", CUSTOMERS[1], shop_id=None, session_id=SessionId("a")),
            shop.draft("of c", CUSTOMERS[2], shop_id=None, session_id=SessionId("c")),
        ]
        results: list[Sent | WadError] = []

        async def bulk() -> None:
            results.extend(await shop.sessions.messages.send_bulk(drafts))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bulk)
            await trio.sleep(0.5)
            nursery.start_soon(shop.sessions.delete, SessionId("a"))
        await trio.sleep(60)
        of_shop, of_a, of_c = results
        assert isinstance(of_shop, Sent)
        assert isinstance(of_c, Sent)
        assert isinstance(of_a, Sent if begun else NotFound)
        assert sorted(shop.world.went_out()) == [("c", "of c"), ("c", "of the shop")]


async def test_a_message_moves_a_bounded_number_of_times(autojump_clock: MockClock) -> None:
    """Then it is retried where it is, until it is worn out."""
    async with opened("a", "b") as shop:
        shop.world.script[ANA] = [failing(refusal(Verdict.NOT_SENT, "busy"))] * 999
        sent = await shop.send()
        await trio.sleep(24 * 3600)
        stored = await shop.stored(sent)
        assert (stored.moves, stored.state, stored.dead) == (MOST_MOVES, MessageState.FAILED, True)
        assert shop.world.ledger == []


async def test_who_waits_for_a_message_follows_it(autojump_clock: MockClock) -> None:
    """`Prefer: wait` answers with the session that sent it."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        sent = await shop.send()
        message = await shop.sessions.messages.wait_for(sent.message, 25)
        assert (message.session_id, message.state) == ("b", MessageState.ACCEPTED)
        assert trio.current_time() < 20


async def test_a_message_can_be_cancelled_wherever_it_went(autojump_clock: MockClock) -> None:
    """The session that has it now does not send it."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        sent = await shop.send("x", send_at=now() + timedelta(hours=1))
        await shop.send("now", CUSTOMERS[0])
        await trio.sleep(10)
        assert (await shop.stored(sent)).session_id == "b"
        await shop.sessions.messages.cancel(sent.message.message_id)
        await trio.sleep(7200)
        assert shop.world.went_out() == [("b", "now")]


async def test_a_restart_finds_what_was_stuck(autojump_clock: MockClock) -> None:
    """A session that stays disconnected has nothing else to tell of it."""
    home = house()
    async with a_shop("a", "b", world=home.world, house=home) as shop:
        await shop.sessions.disconnect(SessionId("b"), wait=10)
        await shop.sessions.disconnect(SessionId("a"), wait=10)
        await shop.send("waits", queue=True)
    async with home.run() as sessions:
        await sessions.connect(SessionId("b"), wait=10)
        await trio.sleep(1)
    assert home.world.went_out() == [("b", "waits")]


async def test_a_move_whose_answer_is_lost_is_made_once(autojump_clock: MockClock) -> None:
    """The store took it and did not say so: asked again, it knows its own work."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        sent = await shop.send("x", send_at=now() + timedelta(hours=1))
        shop.house._engine.fault = "lose_answer"
        shop.sessions.actors.get(SessionId("a")).connecting.lost(refusal(Verdict.NEEDS_PERSON, "banned"))
        await trio.sleep(5)
        shop.house._engine.fault = None
        await trio.sleep(5)
        stored = await shop.stored(sent)
        assert (stored.session_id, stored.moves) == ("b", 1)


async def test_a_provider_dies_in_the_middle_and_comes_back(autojump_clock: MockClock) -> None:
    """Nothing is lost or sent twice, the shop's traffic flows on, in order; healed, the number has its share again."""
    home = House(world=ShopWorld(), seed=7, limits=Limits(settle_window=timedelta(seconds=30)))
    async with a_shop("a", "b", "c", world=home.world, house=home) as shop:
        sent: list[Sent] = []

        async def minute(label: str) -> Counter[str]:
            """Each customer is written to now and then; which session each message was given to first."""
            before = len(sent)
            for n in range(120):
                customer = f"+52155{label}{n % 60:04}"
                sent.append(await shop.send(f"{len(sent):04}", customer))
                await trio.sleep(0.5)
            return Counter(each.message.session_id for each in sent[before:])

        healthy = await minute("1")
        assert set(healthy) == {"a", "b", "c"}
        shop.world.down["b"] = UNREACHABLE
        dying = await minute("2")
        assert dying["b"] < healthy["b"]
        del shop.world.down["b"]
        await trio.sleep(360)  # longer than any breaker is open
        healed = await minute("3")
        assert healed["b"] >= healthy["b"] / 2
        await trio.sleep(60)

        times = Counter(message.message_id for message in shop.world.ledger)
        assert set(times.values()) == {1}
        assert times.keys() == {each.message.message_id for each in sent}
        for customer in {message.chat for message in shop.world.ledger}:
            bodies = shop.world.bodies(customer)
            assert bodies == sorted(bodies), customer
        assert home.facts_of(FailedOver)


async def test_a_crash_of_the_mover_ends_no_session_and_loses_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported, and what was withdrawn is the session's own again."""
    async with opened("a", "b") as shop:

        async def crash(*args: object, **more: object) -> None:
            raise KeyError("a bug")

        shop.world.down["a"] = refusing(Verdict.NEEDS_PERSON, "bad_credentials")
        sent = await shop.send("x")
        monkeypatch.setattr(shop.sessions._failover._placing, "choose", crash)
        await trio.sleep(60)
        assert "failover_crashed" in caplog.text
        assert shop.sessions.status(SessionId("b")).state is SessionState.CONNECTED
        del shop.world.down["a"]
        await shop.sessions.update(SessionId("a"), credentials={"key": "new"})
        await trio.sleep(60)
        assert (await shop.stored(sent)).state is MessageState.ACCEPTED
        assert shop.world.went_out() == [("a", "x")]


async def test_text_alone_is_bound_to_nobody(autojump_clock: MockClock) -> None:
    """A link to a file is anybody's."""
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        image = {"type": "image", "image": {"link": "https://shop.example/x.jpg"}}
        sent = await shop.send(content=image)
        await trio.sleep(30)
        assert (await shop.stored(sent)).session_id == "b"
        assert text("x")["type"] == "text"


async def test_whoever_is_ready_later_takes_what_an_unreachable_number_still_has(
    autojump_clock: MockClock,
) -> None:
    """When the time of the unreachable one was over, nobody was ready; that somebody is now is enough."""
    async with opened("a", "b") as shop:
        await shop.sessions.disconnect(SessionId("b"), wait=10)
        unreachable = refusal(Verdict.NOT_SENT, "unreachable")
        shop.world.connects["a"] = [unreachable] * 999
        shop.sessions.actors.get(SessionId("a")).connecting.lost(unreachable)
        sent = await shop.send("waits")
        await trio.sleep(PATIENCE * 3)
        assert (await shop.stored(sent)).session_id == "a"
        await shop.sessions.connect(SessionId("b"), wait=10)
        await trio.sleep(1)
        assert shop.world.went_out() == [("b", "waits")]


async def test_a_number_that_is_unreachable_for_changing_reasons_is_given_no_more_time(
    autojump_clock: MockClock,
) -> None:
    """It is the same absence."""
    async with opened("a", "b") as shop:
        reasons = [refusal(Verdict.NOT_SENT, f"unreachable_{n % 2}") for n in range(999)]
        shop.world.connects["a"] = reasons
        actor = shop.sessions.actors.get(SessionId("a"))
        actor.connecting.lost(reasons[1])
        await shop.sessions.messages.send(
            msgspec.structs.replace(
                shop.draft("waits"), session_id=SessionId("a"), shop_id=None, chosen="weight"
            )
        )
        await trio.sleep(PATIENCE + 1)
        assert shop.world.went_out() == [("b", "waits")]


async def test_a_template_with_a_file_that_the_provider_keeps_stays_with_its_session(
    autojump_clock: MockClock,
) -> None:
    """Wherever in the content the file is: nobody else has it."""
    header = {"type": "header", "parameters": [{"type": "image", "image": {"mediaId": "up-1"}}]}
    template = {"name": "oferta", "language": {"code": "es"}, "components": [header]}
    async with opened("a", "b") as shop:
        shop.world.down["a"] = BANNED
        sent = await shop.send(content={"type": "template", "template": template})
        await trio.sleep(60)
        assert (await shop.stored(sent)).session_id == "a"


async def test_a_move_that_cannot_end_keeps_nobody_waiting_for_it(autojump_clock: MockClock) -> None:
    """The order of a conversation is worth some seconds, and no more: the shop's other messages go out."""
    async with opened("a", "b") as shop:
        failover, actor = shop.sessions._failover, shop.sessions.actors.get(SessionId("a"))
        with failover._on_the_move(actor):
            began = trio.current_time()
            [first, second] = await shop.sessions.messages.send_bulk(
                [shop.draft("1"), shop.draft("2", CUSTOMERS[0])]
            )
            assert isinstance(first, Sent)
            assert isinstance(second, Sent)
            assert trio.current_time() - began == 5.0
