"""A message that names a shop: the session that gets it, the reasons told, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft
from tests.simulated import hang
from tests.supervisor.shops import ANA, SHOP, TEMPLATE, ShopWorld, a_shop, refusing
from wad.actors.services import Limits
from wad.actors.session import SessionActor
from wad.config import Config
from wad.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    NoAbleSession,
    NotFound,
    NotSupported,
    QueueFull,
    SessionUnavailable,
    StoreUnavailable,
    Verdict,
    WadError,
)
from wad.events import Balanced
from wad.models import Address, Credentials, Idempotency, MessageState, SessionId, ShopId
from wad.notify import Notifier
from wad.reloading import Reloading
from wad.supervisor.balancer import Policy
from wad.supervisor.placing import Policies
from wad.supervisor.sending import Draft, Sent
from wad.supervisor.sessions import NewSession

LUIS = "+5215587654321"
_A_FIRST = Policies(default=Policy(name="priority", order=(SessionId("a"), SessionId("b"))))


async def test_a_customer_is_answered_on_the_number_that_they_wrote_to(autojump_clock: MockClock) -> None:
    """The latest one; and the message's own history says who chose it."""
    async with a_shop("a", "b") as shop:
        await shop.hears("b")
        sent = await shop.send()
        assert shop.chosen(sent) == ("b", "customer_wrote_to_it")
        assert shop.passed_over(sent) == {"a": "conversation_elsewhere"}
        await trio.sleep(1)
        await shop.hears("a")
        assert shop.chosen(await shop.send()) == ("a", "customer_wrote_to_it")
        assert (await shop.stored(sent)).history[0].note == "wad chose the session: customer_wrote_to_it"
        assert [(f.policy, f.why) for f in shop.house.facts_of(Balanced)] == [
            ("sticky", "customer_wrote_to_it")
        ] * 2


async def test_a_person_is_the_same_by_phone_and_by_user_id(autojump_clock: MockClock) -> None:
    """Once a message named them both."""
    async with a_shop("a", "b", "c") as shop:
        await shop.hears("b", user_id="MX.1")
        for to in (Address(phone=ANA), Address(user_id="MX.1"), Address(phone=ANA, user_id="MX.1")):
            sent = await shop.sessions.messages.send(msgspec.structs.replace(shop.draft(), to=to))
            assert shop.chosen(sent) == ("b", "customer_wrote_to_it"), to


async def test_who_was_written_to_goes_on_with_the_same_number(autojump_clock: MockClock) -> None:
    """Whatever the load says meanwhile; another customer is free to go elsewhere."""
    async with a_shop("a", "b", rate=1.0, burst=1) as shop:
        first = await shop.send()
        again = await shop.send()
        assert again.message.session_id == first.message.session_id
        assert shop.chosen(again)[1] == "wrote_to_customer"


async def test_a_busy_number_leaves_new_customers_to_the_others(autojump_clock: MockClock) -> None:
    """Its rate is used up, so what it took now would wait."""
    world = ShopWorld()
    house = House(world=world, policies=Policies(default=Policy(name="priority", order=("a", "b"))))
    async with a_shop("a", "b", world=world, house=house, rate=1.0, burst=1) as shop:
        sent = [await shop.send(to=f"+52155000000{n:02}") for n in range(15)]
        assert [each.message.session_id for each in sent[:5]] == ["a"] * 5
        assert sent[-1].message.session_id == "b"
        assert shop.passed_over(sent[-1]) == {"a": "behind"}


async def test_the_policy_of_the_shop_decides_for_the_others(autojump_clock: MockClock) -> None:
    """Its own, where it has one."""
    world = ShopWorld()
    cheap = Policy(name="cheapest", costs={SessionId("a"): 2.0, SessionId("b"): 1.0})
    house = House(world=world, policies=Policies(shops={SHOP: cheap}))
    async with a_shop("a", "b", world=world, house=house) as shop:
        sent = await shop.send()
        assert (shop.chosen(sent), shop.passed_over(sent)) == (("b", "cost"), {"a": "dearer"})


async def test_a_running_wad_takes_up_how_its_shops_share(autojump_clock: MockClock) -> None:
    """At a SIGHUP; from the next message on."""
    world = ShopWorld()
    config = Config.model_validate({"balancing": {"default": {"policy": "priority", "order": ["b", "a"]}}})
    house = House(world=world, policies=_A_FIRST)
    async with a_shop("a", "b", world=world, house=house) as shop:
        reloading = Reloading(lambda: config, house.flows, Notifier(None))
        reloading.sessions = shop.sessions
        assert shop.chosen(await shop.send()) == ("a", "priority")
        reloading()
        assert shop.chosen(await shop.send(to=LUIS)) == ("b", "priority")


async def test_free_form_content_goes_where_the_window_is_open_and_templates_anywhere(
    autojump_clock: MockClock,
) -> None:
    """24 hours from the customer's last message, to that number."""
    async with a_shop("a", "b", world=ShopWorld(reply_window=True)) as shop:
        with pytest.raises(NoAbleSession) as refused:
            await shop.send()
        assert [(each.session_id, each.why) for each in refused.value.sessions] == [
            ("a", "window_closed"),
            ("b", "window_closed"),
        ]
        assert not refused.value.hopeless
        await shop.hears("b")
        sent = await shop.send()
        assert (sent.message.session_id, shop.passed_over(sent)) == ("b", {"a": "window_closed"})
        await trio.sleep(24 * 3600)
        with pytest.raises(NoAbleSession):
            await shop.send()
        assert (await shop.send(content=TEMPLATE)).message.session_id == "b"


async def test_a_drained_session_takes_nothing_new_and_finishes_what_it_has(
    autojump_clock: MockClock,
) -> None:
    """Neither from the balancer nor by its name, also where the body says `queue`; its replies still go out."""
    async with a_shop("a", "b") as shop:
        await shop.hears("a")
        shop.world.latency = 5.0
        before = await shop.send("before")
        await shop.patch("a", drained=True)
        assert shop.sessions.status(SessionId("a")).drained
        sent = await shop.send("after")
        assert (shop.chosen(sent), shop.passed_over(sent)) == (("b", "only_one"), {"a": "drained"})
        for more in ({}, {"queue": True}):
            with pytest.raises(SessionUnavailable) as refused:
                await shop.sessions.messages.send(draft(session_id="a", **more))
            assert refused.value.reason == "drained"
        await trio.sleep(20)
        assert before.message.session_id == "a"
        assert sorted(shop.world.went_out()) == [("a", "before"), ("b", "after")]
        await shop.patch("a", drained=None)
        assert shop.chosen(await shop.send()) == ("a", "customer_wrote_to_it")


async def test_draining_leaves_the_connection_as_it_is(autojump_clock: MockClock) -> None:
    """A session of WhatsApp Web would lose its socket."""
    async with a_shop("a", "b") as shop:
        since = shop.sessions.status(SessionId("a")).since
        await trio.sleep(5)
        await shop.patch("a", drained=True)
        await trio.sleep(5)
        assert shop.sessions.status(SessionId("a")).since == since


async def test_a_group_is_sent_to_by_a_session_that_is_in_it(autojump_clock: MockClock) -> None:
    """The provider is asked, once in a while."""
    async with a_shop("a", "b") as shop:
        shop.world.in_groups = {"b": {"g-1"}}
        to = Address(group_id="g-1")
        sent = await shop.sessions.messages.send(msgspec.structs.replace(shop.draft(), to=to))
        assert (shop.chosen(sent), shop.passed_over(sent)) == (("b", "only_one"), {"a": "not_in_group"})
        shop.world.in_groups = {}
        again = await shop.sessions.messages.send(msgspec.structs.replace(shop.draft(), to=to))
        assert again.message.session_id == "b"
        await trio.sleep(301)
        with pytest.raises(NoAbleSession):
            await shop.sessions.messages.send(msgspec.structs.replace(shop.draft(), to=to))


async def test_what_refers_to_a_message_goes_where_that_message_is(autojump_clock: MockClock) -> None:
    """Wherever the conversation is by now: nobody else could quote it."""
    async with a_shop("a", "b") as shop:
        first = await shop.send()
        await trio.sleep(1)
        other = "b" if first.message.session_id == "a" else "a"
        await shop.hears(other)
        quoting = await shop.send(reply_to=first.message.message_id)
        assert quoting.message.session_id == first.message.session_id
        assert shop.passed_over(quoting) == {other: "belongs_elsewhere"}


async def test_a_number_that_is_named_is_its_sessions(autojump_clock: MockClock) -> None:
    """Whichever session has it sends, and keeps what was asked of that number."""
    async with a_shop("a", "b") as shop:
        await shop.sessions.update(SessionId("b"), phone_number="+5215500000777")
        sent = await shop.send(number="+5215500000777")
        assert (sent.message.session_id, shop.passed_over(sent)) == ("b", {"a": "belongs_elsewhere"})
        assert sent.message.chosen is None


async def test_the_same_key_gives_the_same_message_of_the_same_session(autojump_clock: MockClock) -> None:
    """Also when the session has gone since, when none is left, and when both come at once."""
    async with a_shop("a", "b") as shop:
        key = Idempotency("ops", "k", "f")
        sent: list[Sent] = []

        async def one() -> None:
            sent.append(await shop.send(idempotency=key))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
        await shop.hears("b" if sent[0].message.session_id == "a" else "a")
        await one()
        for name in ("a", "b"):
            await shop.sessions.disconnect(SessionId(name), wait=10)
        await one()
        assert len({each.message.message_id for each in sent}) == 1
        assert sorted(each.replayed for each in sent) == [False, True, True, True]
        assert len(shop.world.ledger) == 1
        with pytest.raises(IdempotencyKeyReused):
            await shop.send(idempotency=Idempotency("ops", "k", "another body"))


async def test_bulk_is_placed_one_by_one_and_fills_nobody_beyond_its_room(autojump_clock: MockClock) -> None:
    """Those for which there is no room say so in their place."""
    world = ShopWorld()
    world.down = {"a": hang, "b": hang}
    house = House(world=world, limits=Limits(queue_per_session=3))
    async with a_shop("a", "b", world=world, house=house) as shop:
        drafts = [shop.draft(to=f"+52155000000{n:02}") for n in range(8)]
        results = await shop.sessions.messages.send_bulk(drafts)
        taken = [each.message.session_id for each in results if isinstance(each, Sent)]
        assert sorted(taken) == ["a"] * 3 + ["b"] * 3
        refused = [each for each in results if isinstance(each, WadError)]
        assert [type(each) for each in refused] == [QueueFull] * 2


async def test_a_shop_of_one_refuses_as_that_session_does(autojump_clock: MockClock) -> None:
    """With the field, the capability or the reason: there is nothing to compare."""
    async with a_shop("a") as shop:
        with pytest.raises(NotSupported):
            await shop.send(content={"type": "poll", "poll": {}})
        with pytest.raises(InvalidRequest):
            await shop.send(reply_to="msg_nobody")
        await shop.sessions.disconnect(SessionId("a"), wait=10)
        with pytest.raises(SessionUnavailable):
            await shop.send()
        assert (await shop.send(queue=True)).message.state is MessageState.QUEUED


async def test_what_nobody_will_ever_send_is_the_requests_own_fault(autojump_clock: MockClock) -> None:
    """Each session is named with what is missing."""
    async with a_shop("a", "b") as shop:
        with pytest.raises(NoAbleSession) as refused:
            await shop.send(content={"type": "poll", "poll": {}})
        assert refused.value.hopeless
        assert {each.session_id: each.why for each in refused.value.sessions} == {
            "a": "not_supported",
            "b": "not_supported",
        }


async def test_a_session_counts_for_the_shop_that_it_is_in_now(autojump_clock: MockClock) -> None:
    """A shop without sessions is not there at all."""
    async with a_shop("a", "b") as shop:
        for name in ("a", "b"):
            await shop.sessions.update(SessionId(name), shop_id=None)
        with pytest.raises(NotFound):
            await shop.send()
        await shop.sessions.update(SessionId("b"), shop_id=SHOP)
        assert shop.chosen(await shop.send()) == ("b", "only_one")
        await shop.sessions.delete(SessionId("b"))
        with pytest.raises(NotFound):
            await shop.send()


async def test_nobody_able_and_nobody_healing_is_a_conflict(autojump_clock: MockClock) -> None:
    """Unless the body says that the message may wait for a person."""
    async with a_shop("a", "b") as shop:
        shop.world.down = dict.fromkeys("ab", refusing(Verdict.NEEDS_PERSON, "bad_credentials"))
        for name in "ab":
            await shop.sessions.messages.send(draft(session_id=name))
        await trio.sleep(1)
        with pytest.raises(NoAbleSession) as refused:
            await shop.send()
        assert {each.why for each in refused.value.sessions} == {"waits_for_person"}
        assert shop.chosen(await shop.send(queue=True))[1] == "queued_as_asked"


async def test_nobody_learns_which_other_session_has_what_a_message_refers_to(
    autojump_clock: MockClock,
) -> None:
    """It may be another shop's."""
    async with a_shop("a", "b") as shop:
        await shop.sessions.create(
            NewSession(
                provider="simulated",
                session_id=SessionId("of-somebody-else"),
                shop_id=ShopId("another"),
                credentials=Credentials(key="k"),
            )
        )
        await shop.sessions.connect(SessionId("of-somebody-else"), wait=60)
        theirs = await shop.sessions.messages.send(draft(session_id="of-somebody-else"))
        await trio.sleep(1)
        with pytest.raises(NoAbleSession) as refused:
            await shop.send(reply_to=theirs.message.message_id)
        assert "of-somebody-else" not in f"{refused.value.detail} {refused.value.sessions}"


async def test_a_session_that_goes_while_it_is_chosen_from_is_not_chosen(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store knows takes a moment, and meanwhile anybody may delete one."""
    async with a_shop("a", "b", house=House(world=ShopWorld(), policies=_A_FIRST)) as shop:
        store = type(shop.house.store())
        ask = store.conversation

        async def slowly(self: object, *args: object) -> object:
            found = await ask(self, *args)  # type: ignore[arg-type]
            for name in gone:
                if name in shop.sessions.actors:
                    await shop.sessions.delete(SessionId(name))
            return found

        monkeypatch.setattr(store, "conversation", slowly)
        gone = ["a"]
        assert (await shop.send()).message.session_id == "b"
        gone = ["b"]
        with pytest.raises(NotFound):
            await shop.send()


async def test_what_stands_is_told_though_the_store_goes_down_before_the_rest_is_placed_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was told that nothing was taken would send it all once more."""
    async with a_shop("a", "b", house=House(world=ShopWorld(), policies=_A_FIRST)) as shop:
        messages = shop.sessions.messages
        store = type(shop.house.store())
        ask = store.conversation

        async def slowly(self: object, *args: object) -> object:
            if down:
                raise StoreUnavailable("the store is down")
            return await ask(self, *args)  # type: ignore[arg-type]

        async def drained_meanwhile(asked: Sequence[tuple[SessionActor, Draft]]) -> list[Sent | WadError]:
            down.append(True)
            await shop.patch("a", drained=True)
            return await send_all(asked)

        down: list[bool] = []
        monkeypatch.setattr(store, "conversation", slowly)
        send_all = messages._sending.send_all
        monkeypatch.setattr(messages._sending, "send_all", drained_meanwhile)
        taken, refused = await messages.send_bulk(
            [draft("1", session_id="b"), shop.draft("2")]  # the second one is given to `a`
        )
        assert isinstance(taken, Sent)
        assert isinstance(refused, SessionUnavailable)
