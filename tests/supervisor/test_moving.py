"""A session goes over to another provider: with its queue, and with nothing lost, sent twice or left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.house import House, draft, now, shop
from tests.simulated import (
    CAPABILITIES,
    SimulatedProvider,
    SocketProvider,
    failing,
    lost_answer,
    refusal,
)
from tests.supervisor.test_webhooks import APP_SECRET, Graph, entry, posted, signed
from wad.errors import InvalidRequest, NotFound, Unauthorized, Verdict
from wad.models import (
    Address,
    Credentials,
    InboxItem,
    MessageQuery,
    MessageState,
    OutboundMessage,
    SessionId,
    SessionState,
    WebhookRequest,
)
from wad.providers.cloud_api import CloudApi
from wad.providers.dialog360 import PROOF_HEADER, Dialog360, Dialog360Config
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.store.store import Retention
from wad.supervisor.moving import REMEMBERED
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sending import Draft
from wad.supervisor.sessions import NewSession, Sessions

SHOP = SessionId("shop")
ANA = Address(phone="+5215512345678")


class Two(House):
    """`world` is the provider that sessions have, `new` the one that they move to."""

    def __init__(
        self, world: SimulatedProvider | None = None, new: SimulatedProvider | None = None, **more: Any
    ) -> None:
        self.new = new or SimulatedProvider()
        self.new.name = "new"  # type: ignore[misc]
        super().__init__(world=world or SimulatedProvider(), others=(self.new,), **more)


async def moved(sessions: Sessions, provider: str = "new") -> None:
    await sessions.update(SHOP, provider=provider, credentials={"key": f"of {provider}"})


async def stored(house: House) -> dict[str, OutboundMessage]:
    """Every message, by its text or by its type."""
    found = await house.store().find_messages(
        MessageQuery(session_id="shop", direction="outbound", limit=100)
    )
    return {
        each.content["text"]["body"] if each.type == "text" else each.type: each
        for each in found
        if isinstance(each, OutboundMessage)
    }


async def test_what_waits_goes_by_the_new_provider(autojump_clock: MockClock) -> None:
    """In its order, each once; and each row says so. What went before is the old one's for ever."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.messages.send(draft("before"))
        await trio.sleep(1)
        await sessions.disconnect(SHOP, wait=5)
        for body in ("a", "b"):
            await sessions.messages.send(draft(body, queue=True))
        await sessions.messages.send(draft("later", queue=True, send_at=now() + timedelta(hours=1)))
        await moved(sessions)
        await trio.sleep(1)
        assert {body: each.provider for body, each in (await stored(house)).items()} == {
            "before": "simulated", "a": "new", "b": "new", "later": "new",
        }  # fmt: skip
        status = await sessions.connect(SHOP, wait=5)
        assert (status.provider, status.is_connected) == ("new", True)
        await trio.sleep(2 * 3600)
    assert house.world.bodies() == ["before"]
    assert house.new.bodies() == ["a", "b", "later"]
    assert {each.state for each in (await stored(house)).values()} == {MessageState.ACCEPTED}


async def test_what_is_in_hand_finishes_where_it_began(autojump_clock: MockClock) -> None:
    """The change waits for it, and what comes next goes by the new provider."""
    house = Two()
    house.world.latency = 5.0
    async with house.run() as sessions:
        await shop(sessions)
        for body in ("in hand", "next"):
            await sessions.messages.send(draft(body))
        await trio.sleep(1)
        await moved(sessions)
        await trio.sleep(60)
    assert (house.world.bodies(), house.new.bodies()) == (["in hand"], ["next"])


UNFIT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a type that it lacks": (
        {"type": "image", "image": {"link": "https://wad.example/a.jpg"}},
        "not_supported",
        "new has no capability 'image'",
    ),
    "a file of the old provider": (
        {"type": "document", "document": {"mediaId": "1602"}},
        "media_unknown",
        "its file is simulated's; upload it again, and send a new message",
    ),
    "a reaction to a message of the old provider": (
        {"type": "reaction", "reaction": {"messageId": "p-1", "emoji": "👍"}},
        "message_unknown",
        "it reacts to a message that only simulated knows",
    ),
}


@pytest.mark.parametrize("label", UNFIT)
async def test_what_the_new_provider_cannot_send_is_a_dead_letter(
    autojump_clock: MockClock, label: str
) -> None:
    """With what is missing by its name; the chat goes on; and after a change back it can be sent."""
    content, code, detail = UNFIT[label]
    house = Two()
    house.world.capabilities = msgspec.structs.replace(
        CAPABILITIES, content_types=CAPABILITIES.content_types | {"document"}
    )
    house.new.capabilities = msgspec.structs.replace(
        CAPABILITIES, content_types=frozenset({"text", "document", "reaction"})
    )
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.disconnect(SHOP, wait=5)
        unfit = await sessions.messages.send(Draft(session_id=SHOP, to=ANA, content=content, queue=True))
        await sessions.messages.send(draft("next", queue=True))
        await moved(sessions)
        await sessions.connect(SHOP, wait=5)
        await trio.sleep(5)
        assert house.new.bodies() == ["next"]
        dead = (await stored(house))[content["type"]]
        assert (dead.state, dead.dead, dead.provider) == (MessageState.FAILED, True, "simulated")
        assert dead.error is not None
        assert (dead.error.code, dead.error.detail) == (code, detail)
        await moved(sessions, "simulated")
        await sessions.messages.retry_dead_letter(unfit.message.message_id)
        await trio.sleep(5)
    assert [each.message_id for each in house.world.ledger] == [unfit.message.message_id]


async def test_a_quote_of_the_old_providers_is_left_out(autojump_clock: MockClock) -> None:
    """What it says is sent all the same, and its history says what it lacks."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions)
        first = await sessions.messages.send(draft("first"))
        await trio.sleep(1)
        await sessions.disconnect(SHOP, wait=5)
        await sessions.messages.send(draft("reply", queue=True, reply_to=first.message.message_id))
        await moved(sessions)
        await sessions.connect(SHOP, wait=5)
        await trio.sleep(5)
    [reply] = house.new.ledger
    assert reply.quotes is None
    assert [step.note for step in (await stored(house))["reply"].history if step.note] == [
        "goes by new in place of simulated, and quotes nothing: it named a message of simulated's"
    ]


@pytest.mark.parametrize(("duplicates", "sent_again"), [("at_most_once", []), ("at_least_once", ["doubt"])])
@pytest.mark.parametrize("new", [SimulatedProvider, SocketProvider], ids=["callback", "resend"])
async def test_what_may_have_gone_out_is_not_sent_again_by_the_new_provider(
    autojump_clock: MockClock, new: type[SimulatedProvider], duplicates: str, sent_again: list[str]
) -> None:
    """Its id means nothing there, whatever is settled so there: a dead letter, unless the session asked for more."""
    house = Two(new=new())
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions, duplicates=duplicates)
        await sessions.messages.send(draft("doubt"))
        await trio.sleep(1)
        await moved(sessions)
        if isinstance(house.new, SocketProvider):
            await sessions.connect(SHOP, wait=5)
            await house.new.scan("shop")
        await trio.sleep(3600)
        assert house.new.bodies() == sent_again
        doubt = (await stored(house))["doubt"]
        assert doubt.dead is (not sent_again)
        assert doubt.state is (MessageState.ACCEPTED if sent_again else MessageState.UNKNOWN)


async def test_what_waits_to_be_resent_under_its_id_is_not_sent_by_another_provider(
    autojump_clock: MockClock,
) -> None:
    """WhatsApp Web takes it once; with the new provider it would be a second message."""
    house = Two(world=SocketProvider())
    world = house.world
    assert isinstance(world, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        await world.scan("shop")
        world.script["*"] = [lost_answer(world)] * 50
        await sessions.messages.send(draft("doubt"))
        await trio.sleep(1)
        await moved(sessions)
        await trio.sleep(60)
    doubt = (await stored(house))["doubt"]
    assert (doubt.state, doubt.dead) == (MessageState.UNKNOWN, True)
    assert house.new.bodies() == []


async def test_what_is_left_of_whatsapp_web_goes(autojump_clock: MockClock) -> None:
    """The phone is told, and neither keys nor files stay."""
    house = Two(world=SocketProvider())
    world = house.world
    assert isinstance(world, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        await world.scan("shop")
        await moved(sessions)
        await trio.sleep(5)
        assert sessions.status(SHOP).is_connected
        assert world.logouts == ["shop"]
        assert world.forgotten == ["shop"]
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}


async def test_a_phone_that_cannot_be_told_does_not_hold_the_change_up(autojump_clock: MockClock) -> None:
    """It lists a device that is gone."""
    house = Two(world=SocketProvider())
    world = house.world
    assert isinstance(world, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        await world.scan("shop")
        world.deaf = True
        await moved(sessions)
        await trio.sleep(5)
        assert sessions.status(SHOP).is_connected
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}


async def test_a_session_that_moves_to_whatsapp_web_is_paired(autojump_clock: MockClock) -> None:
    """What it had queued goes out once a phone has scanned the code; its number stays what it was until then."""
    house = Two(new=SocketProvider())
    assert isinstance(house.new, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        number = sessions.status(SHOP).phone_number
        house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT))]
        await sessions.messages.send(draft("waits"))
        await trio.sleep(0.1)
        await moved(sessions)
        await trio.sleep(1)
        status = sessions.status(SHOP)
        assert (status.state, status.qr_code) == (SessionState.PAIRING, "qr-1")
        assert status.phone_number == number
        await house.new.scan("shop")
        await trio.sleep(10)
    assert house.new.bodies() == ["waits"]


async def test_a_session_that_waited_for_a_person_begins_anew(autojump_clock: MockClock) -> None:
    """What stood in the way was the old provider's."""
    house = Two()
    house.world.connects["shop"] = [refusal(Verdict.NEEDS_PERSON, "banned")]
    async with house.run() as sessions:
        await sessions.create(
            NewSession(provider="simulated", session_id=SHOP, credentials=Credentials(key="k"))
        )
        await trio.sleep(1)
        assert sessions.status(SHOP).state is SessionState.FAILED
        await moved(sessions)
        await trio.sleep(1)
        assert sessions.status(SHOP).is_connected


async def test_one_that_is_logged_out_and_moves_is_disconnected(autojump_clock: MockClock) -> None:
    """Nobody asked for it to be connected; and there is nothing to log in to any more."""
    house = Two(world=SocketProvider())
    world = house.world
    assert isinstance(world, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        await world.scan("shop")
        await sessions.logout(SHOP)
        await moved(sessions)
        await trio.sleep(1)
        status = sessions.status(SHOP)
        assert (status.state, status.reason) == (SessionState.DISCONNECTED, None)


async def test_the_old_providers_address_is_not_the_new_ones(autojump_clock: MockClock) -> None:
    """Its new credentials would be told to whoever listens there."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions, base_url="https://old.example", rate=5.0)
        await moved(sessions)
        settings = sessions.session(SHOP).settings
        assert (settings.base_url, settings.rate) == (None, 5.0)


async def test_a_change_that_is_refused_changes_nothing(autojump_clock: MockClock) -> None:
    """Credentials are of a provider: those that are there are not the new one's."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions)
        with pytest.raises(InvalidRequest) as refused:
            await sessions.update(SHOP, provider="new")
        assert [error.pointer for error in refused.value.errors] == ["/credentials/key"]
        await sessions.messages.send(draft("still"))
        await trio.sleep(1)
    assert house.world.bodies() == ["still"]


# --- more than one change ---

QUICK = RestartPolicy(intensity=1, random=Random(1))


@asynccontextmanager
async def resting(house: Two) -> AsyncIterator[Sessions]:
    """A paired session that crashed too often, and has two messages waiting."""
    assert isinstance(house.world, SocketProvider)
    async with house.run() as sessions:
        await shop(sessions)
        await house.world.scan("shop")
        house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "later", retry_after=600.0))] * 2
        for body in ("a", "b"):
            await sessions.messages.send(draft(body, to=f"+52155123456{ord(body)}"))
        await trio.sleep(1)
        house.world.connects["shop"] = [RuntimeError("a bug")] * 9
        house.world.drop("shop", refusal(Verdict.NOT_SENT, "dropped"))
        await trio.sleep(60)
        assert sessions.actors.get(SHOP).is_resting
        yield sessions


@pytest.mark.parametrize("last", ["third", "simulated"], ids=["to a third", "and back"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
async def test_of_two_changes_while_it_rests_nothing_is_left(
    autojump_clock: MockClock, at_once: bool, last: str
) -> None:
    """The next life has both to do. It sends by the last one, and the others may tell something for as long as one."""
    third = SimulatedProvider()
    third.name = "third"  # type: ignore[misc]
    house = Two(world=SocketProvider(), policy=QUICK)
    house.others = (house.new, third)
    async with resting(house) as sessions:
        house.world.connects.clear()
        async with trio.open_nursery() as nursery:
            for provider in ("new", last):
                nursery.start_soon(moved, sessions, provider)
                while not sessions.actors.get(SHOP).changing.locked():
                    await trio.lowlevel.checkpoint()
                if not at_once:
                    await wait_all_tasks_blocked()
        await trio.sleep(900)
        session = sessions.session(SHOP)
        assert session.provider == last
        assert (house.world.forgotten, house.new.forgotten) == (["shop"], ["shop"])
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}
        assert all(former.settled for former in session.formers)
        if last == "third":
            assert sorted(third.bodies()) == ["a", "b"]
            assert [former.provider for former in session.formers] == ["simulated", "new"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sessions.look_after, Retention())
            await trio.sleep(REMEMBERED.total_seconds() + 7200)
            nursery.cancel_scope.cancel()
        assert sessions.session(SHOP).formers == ()


# --- dying over it --------------------------------------------------------------------------------

#: More steps of the scheduler than a change takes.
STEPS = 60


@pytest.mark.parametrize("paired", [False, True], ids=["over HTTP", "paired"])
async def test_whenever_wad_dies_over_it_each_message_goes_out_once(
    autojump_clock: MockClock, paired: bool
) -> None:
    """And the session has the one provider or the other, with nothing of the old one left."""
    changed = 0
    for step in range(0, STEPS, 2):
        house = Two(world=SocketProvider() if paired else None)
        async with house.run() as sessions:
            await shop(sessions)
            if isinstance(house.world, SocketProvider):
                await house.world.scan("shop")
            house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "later", retry_after=30.0))] * 2
            for body in ("a", "b"):
                await sessions.messages.send(draft(body, to=f"+52155123456{ord(body)}"))
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(moved, sessions)
                for _ in range(step):
                    await trio.lowlevel.checkpoint()
                house.die()
        async with house.run() as sessions:
            await trio.sleep(120)
            provider = sessions.session(SHOP).provider
            sent = house.new.bodies() + house.world.bodies()
            assert sorted(sent) == ["a", "b"], step
            if provider == "new":
                changed += 1
                assert await house.store().keys(SHOP, "creds", ["creds"]) == {}, step
                assert house.world.forgotten, step
                [former] = sessions.session(SHOP).formers
                assert former.settled
    assert 0 < changed < STEPS / 2


# --- what the old provider still has to tell ------------------------------------------------------


def told(wamid: str, message_id: str, state: str = "delivered") -> bytes:
    status = {
        "id": wamid,
        "status": state,
        "timestamp": "1790000000",
        "recipient_id": "5215512345678",
        "biz_opaque_callback_data": message_id,
    }
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "111"}, "statuses": [status]}
    return posted({"id": "1", "changes": [{"field": "messages", "value": value}]})


@asynccontextmanager
async def left(house: House) -> AsyncIterator[Sessions]:
    """A session that was Meta's, sent a message there, and is 360dialog's now."""
    async with Pools(transport=lambda origin: Graph()) as pools:
        house.world = CloudApi(MetaConfig(app_secret=APP_SECRET), pools)  # type: ignore[assignment]
        house.others = (Dialog360(Dialog360Config(), pools),)
        async with house.run() as sessions:
            await sessions.create(
                NewSession(
                    provider="cloud_api",
                    session_id=SHOP,
                    credentials=Credentials(accessToken="EAAx", phoneNumberId="111"),
                )
            )
            await sessions.connect(SHOP, wait=5)
            await sessions.messages.send(draft("unknown"))  # this Graph's answer to a send tells nothing
            await trio.sleep(1)
            await sessions.update(
                SHOP, provider="dialog360", credentials={"apiKey": "k", "webhookSecret": "s" * 20}
            )
            yield sessions


async def take(sessions: Sessions, body: bytes, *, path: str | None, secret: str = APP_SECRET) -> Any:
    request = WebhookRequest(url="https://wad.example/", headers=signed(body, secret), body=body)
    return await sessions.webhooks.take("cloud_api", SessionId(path) if path else None, request)


@pytest.mark.parametrize("path", [None, "shop"], ids=["the app's callback", "the session's own"])
async def test_a_late_status_of_the_old_provider_counts(autojump_clock: MockClock, path: str | None) -> None:
    """It settles what was sent there; and what a customer wrote there is kept and answered."""
    house = House()
    async with left(house) as sessions:
        before = (await stored(house))["unknown"]
        assert before.state is MessageState.UNKNOWN
        await take(sessions, told("wamid.1", before.message_id), path=path)
        after = (await stored(house))["unknown"]
        assert (after.state, after.provider) == (MessageState.DELIVERED, "cloud_api")
        await take(sessions, posted(entry("111", "w1", "hola")), path=path)
        [item] = await house.store().find_messages(MessageQuery(session_id="shop", direction="inbound"))
        assert isinstance(item, InboxItem)
        assert item.session_id == SHOP
        proof = WebhookRequest(
            url="https://wad.example/", headers={PROOF_HEADER: "s" * 20}, body=posted(entry("9", "w2"))
        )
        assert (await sessions.webhooks.take("dialog360", SHOP, proof)).messages == 1


async def test_only_the_old_provider_speaks_as_it(autojump_clock: MockClock) -> None:
    """By its own secret, and for as long as it may have something to tell; then it is forgotten."""
    house = House()
    async with left(house) as sessions:
        body = told("wamid.1", "msg_1")
        with pytest.raises(Unauthorized):
            await take(sessions, body, path="shop", secret="s" * 20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sessions.look_after, Retention())
            await trio.sleep(REMEMBERED.total_seconds() + 7200)
            nursery.cancel_scope.cancel()
        assert sessions.session(SHOP).formers == ()
        with pytest.raises(NotFound):
            await take(sessions, body, path="shop")


async def test_an_account_that_was_never_proven_is_not_remembered(autojump_clock: MockClock) -> None:
    """Whoever claims somebody's number, and moves on, hears nothing of that number."""
    async with Pools(transport=lambda origin: Graph()) as pools:
        house = House(others=(Dialog360(Dialog360Config(), pools),))
        house.world = CloudApi(MetaConfig(app_secret=APP_SECRET), pools)  # type: ignore[assignment]
        async with house.run() as sessions:
            await sessions.create(
                NewSession(
                    provider="cloud_api",
                    session_id=SHOP,
                    credentials=Credentials(accessToken="wrong", phoneNumberId="111"),
                )
            )
            await trio.sleep(1)
            await sessions.update(
                SHOP, provider="dialog360", credentials={"apiKey": "k", "webhookSecret": "s" * 20}
            )
            await take(sessions, posted(entry("111", "w1", "hola")), path=None)
        [item] = await house.store().find_messages(MessageQuery(direction="inbound"))
        assert item.session_id == ""


async def test_a_file_is_had_from_the_provider_that_keeps_it(autojump_clock: MockClock) -> None:
    """Another one would know it by no name, and its refusal tells nobody why."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions)
        media = await sessions.calls.upload(SHOP, b"x", mime_type="image/png", filename=None)
        await moved(sessions)
        with pytest.raises(NotFound, match="simulated keeps the file, and the session left it") as refused:
            async with sessions.calls.download(media):
                pass
        assert refused.value.code == "provider_changed"


async def test_what_only_the_old_provider_knows_cannot_be_named_to_the_new_one(
    autojump_clock: MockClock,
) -> None:
    """Neither a file nor a message: told at once, with the field, rather than by the new provider's refusal."""
    house = Two()
    async with house.run() as sessions:
        await shop(sessions)
        media = await sessions.calls.upload(SHOP, b"x", mime_type="image/png", filename=None)
        before = await sessions.messages.send(draft("before"))
        await trio.sleep(1)
        await moved(sessions)
        file = {"type": "image", "image": {"mediaId": media.media_id}}
        with pytest.raises(InvalidRequest) as refused:
            await sessions.messages.send(Draft(session_id=SHOP, to=ANA, content=file))
        assert [(each.pointer, each.detail) for each in refused.value.errors] == [
            ("/image/mediaId", "is kept by simulated, which the session left: upload it again")
        ]
        with pytest.raises(InvalidRequest) as refused:
            await sessions.messages.send(draft("after", reply_to=before.message.message_id))
        assert [each.pointer for each in refused.value.errors] == ["/replyTo"]
