"""A session that keeps a socket: paired by a phone, lost and connected again, logged out; and what it says of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, paired, shop
from tests.simulated import PHONE, QR_EXPIRES, SocketProvider, refusal
from wad.actors.requests import Call
from wad.errors import ActorDown, Conflict, NotFound, NotSupported, ProviderError, Verdict
from wad.events import FlowDelivered, ReconnectLoop, SessionStateChanged
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import DesiredState, FlowEvent, SessionId, SessionState, Status
from wad.providers.base import Pairing

SHOP = SessionId("shop")


def world() -> tuple[House, SocketProvider]:
    socket = SocketProvider()
    return House(world=socket), socket


def gone(code: str = "connection_lost") -> ProviderError:
    return refusal(Verdict.NOT_SENT, code)


def needing(code: str) -> ProviderError:
    return refusal(Verdict.NEEDS_PERSON, code)


def code_of(status: Status) -> str | None:
    return status.reason.code if status.reason is not None else None


def told(house: House) -> list[FlowEvent]:
    """What was handed to the flow, in order."""
    events = [fact.item.event for fact in house.facts_of(FlowDelivered)]
    return [event for event in events if isinstance(event, FlowEvent)]


# --- pairing --------------------------------------------------------------------------------------


async def test_a_session_without_keys_waits_for_a_phone_and_shows_its_qr(autojump_clock: MockClock) -> None:
    """State, QR and its expiry in the status; each new QR takes the place of the one before; a scan ends it."""
    house, socket = world()
    async with house.run() as sessions:
        await shop(sessions)
        status = sessions.status(SHOP)
        assert (status.state, status.qr_code, status.qr_expires_at) == (
            SessionState.PAIRING,
            "qr-1",
            QR_EXPIRES,
        )
        assert (status.is_connected, status.link) == (False, None)
        socket.show("shop", "qr-2")
        assert sessions.status(SHOP).qr_code == "qr-2"
        await trio.sleep(1)
        stored = await house.store().session(SHOP)
        assert stored is not None
        assert (stored.state, stored.qr_code) == (SessionState.PAIRING, "qr-2")
        await socket.scan("shop")
        status = sessions.status(SHOP)
        assert (status.state, status.phone_number) == (SessionState.CONNECTED, PHONE.phone_number)
        assert (status.qr_code, status.qr_expires_at) == (None, None)
        await trio.sleep(1)
        stored = await house.store().session(SHOP)
        assert stored is not None
        assert (stored.state, stored.qr_code) == (SessionState.CONNECTED, None)


async def test_no_qr_shows_in_what_is_logged_or_raised(autojump_clock: MockClock) -> None:
    """Who reads it can pair a phone with it. What else there is to a status shows."""
    house, socket = world()
    house.flows = Flows(FlowDefaults(url="https://flow.example", events=frozenset({"session.qr"})))
    async with house.run() as sessions:
        await shop(sessions)
        socket.show("shop", "qr-2")
        await trio.sleep(1)
        [event] = told(house)
        shown = [repr(each) for each in (sessions.status(SHOP), sessions.session(SHOP), event, *house.facts)]
        assert [each for each in shown if "qr-" in each] == []
        assert "'shop'" in shown[0]
        assert "'shop'" in shown[1]
    assert "qr-" not in repr(Pairing("qr-1", None))


async def test_every_qr_is_told(autojump_clock: MockClock) -> None:
    """Whoever draws it hears of the next one, though the state is the same."""
    house, socket = world()
    async with house.run() as sessions:
        await shop(sessions)
        for qr in ("qr-2", "qr-3", "qr-3"):
            socket.show("shop", qr)
        told = [fact.status.qr_code for fact in house.facts_of(SessionStateChanged)]
        assert told == [None, "qr-1", "qr-2", "qr-3"]


async def test_the_flow_hears_of_codes_where_it_asked_for_them(autojump_clock: MockClock) -> None:
    """`session.qr` for a code, `session.state` for a state, and neither for the other."""
    house, socket = world()
    house.flows = Flows(
        FlowDefaults(url="https://flow.example", events=frozenset({"session.qr", "session.state"}))
    )
    async with house.run() as sessions:
        await shop(sessions)
        await trio.sleep(1)
        socket.show("shop", "qr-2")
        await trio.sleep(1)
        await socket.scan("shop")
        await trio.sleep(1)
        events = told(house)
        assert [(event.type, event.data.get("qr") or event.data.get("state")) for event in events] == [
            ("session.state", "pairing"),
            ("session.qr", "qr-1"),
            ("session.qr", "qr-2"),
            ("session.state", "connected"),
        ]


async def test_who_waits_for_a_phone_keeps_nobody_from_connecting(autojump_clock: MockClock) -> None:
    """How many sessions connect at once is bounded; one that pairs may wait for hours, and is not among them."""
    house, _ = world()
    house.connecting = 1
    async with house.run() as sessions:
        await shop(sessions, "one")
        await shop(sessions, "two")
        assert {status.state for status in sessions.statuses()} == {SessionState.PAIRING}


async def test_connecting_again_leaves_a_pairing_as_it_is(autojump_clock: MockClock) -> None:
    """The code on somebody's screen stays good."""
    house, socket = world()
    async with house.run() as sessions:
        await shop(sessions)
        socket.show("shop", "qr-2")
        status = await sessions.connect(SHOP, wait=5)
        assert (status.state, status.qr_code) == (SessionState.PAIRING, "qr-2")


async def test_messages_wait_for_the_phone(autojump_clock: MockClock) -> None:
    """They are taken, and go out once it is paired."""
    house, socket = world()
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.messages.send(draft("early"))
        await trio.sleep(60)
        assert socket.ledger == []
        await socket.scan("shop")
        await trio.sleep(1)
        assert socket.seen == ["early"]


async def test_a_pairing_code_is_for_a_session_that_pairs(autojump_clock: MockClock) -> None:
    """One that was just told to connect is waited for; any other is a conflict, and a provider without codes says so."""
    house, socket = world()
    socket.latency = 2.0
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.disconnect(SHOP, wait=5)
        with pytest.raises(Conflict):
            await sessions.calls.pairing_code(SHOP, "+5215512345678")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: sessions.connect(SHOP, wait=0))
            await trio.sleep(1)
            assert await sessions.calls.pairing_code(SHOP, "+5215512345678") == "CODE5678"
    plain = House()
    async with plain.run() as sessions:
        await shop(sessions)
        with pytest.raises(NotSupported):
            await sessions.calls.pairing_code(SHOP, "+5215512345678")


async def test_a_restart_needs_no_phone(autojump_clock: MockClock) -> None:
    """The keys are in the store: the next life connects with them. One that was pairing begins anew."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions, "one")
        await shop(sessions, "two")
        await trio.sleep(1)
    async with house.run() as sessions:
        assert sessions.status(SessionId("two")).qr_code is None
        await trio.sleep(1)
        assert sessions.status(SessionId("one")).state is SessionState.CONNECTED
        assert sessions.status(SessionId("two")).state is SessionState.PAIRING
        assert sessions.progress.need_pairing == 1
    assert socket.runs == ["entered", "left"] * 2


# --- lost, and connected again --------------------------------------------------------------------


async def test_a_lost_connection_is_made_again_and_nothing_is_sent_meanwhile(
    autojump_clock: MockClock,
) -> None:
    """`connecting`, with the reason and the time of the next try; after a second or less at first."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.drop("shop", gone())
        status = sessions.status(SHOP)
        assert (status.state, code_of(status), status.is_connected) == (
            SessionState.CONNECTING,
            "connection_lost",
            False,
        )
        await sessions.messages.send(draft("while away"))
        await trio.sleep(0.4)
        assert sessions.status(SHOP).next_retry_at is not None
        assert socket.ledger == []
        await trio.sleep(0.7)
        assert sessions.status(SHOP).is_connected
        assert sessions.status(SHOP).next_retry_at is None
        assert socket.seen == ["while away"]


async def test_a_proof_from_before_the_loss_is_none(autojump_clock: MockClock) -> None:
    """The socket answered, and ended before the answer was taken: the session is connected anew."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.latency = 3.0
        await sessions.connect(SHOP, wait=0)  # a probe, for it is connected
        await trio.sleep(1)
        socket.drop("shop", gone())
        await trio.sleep(2.5)
        assert not sessions.status(SHOP).is_connected
        await trio.sleep(3)
        assert sessions.status(SHOP).is_connected
        assert socket.sockets["shop"].is_open


async def test_pauses_grow_with_every_loss_and_with_every_failure(autojump_clock: MockClock) -> None:
    """From 1 s to 60 s, with jitter: half to all of it."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        waited = []
        for _ in range(9):
            socket.drop("shop", gone())
            since = trio.current_time()
            while not sessions.status(SHOP).is_connected:
                await sessions.actors.get(SHOP).change_of_state()
            waited.append(trio.current_time() - since)
        for most, pause in zip((1, 2, 4, 8, 16, 32, 60, 60, 60), waited, strict=True):
            assert most / 2 <= pause <= most
        socket.connects["shop"] = [gone("unreachable")] * 3
        socket.drop("shop", gone())
        await trio.sleep(60 + 1 + 2 + 4)
        assert sessions.status(SHOP).is_connected


async def test_a_loop_of_losses_is_seen(autojump_clock: MockClock) -> None:
    """More than five within ten minutes: a fact, once, an event for the flow, and the reason says so."""
    house, socket = world()
    house.flows = Flows(
        FlowDefaults(url="https://flow.example", events=frozenset({"session.reconnect_loop"}))
    )
    async with house.run() as sessions:
        await paired(house, sessions)

        async def lose(times: int) -> str | None:
            for _ in range(times):
                socket.drop("shop", gone())
                code = code_of(sessions.status(SHOP))
                while not sessions.status(SHOP).is_connected:
                    await sessions.actors.get(SHOP).change_of_state()
            return code

        assert await lose(5) == "connection_lost"
        assert house.facts_of(ReconnectLoop) == []
        assert await lose(1) == "reconnect_loop"
        assert await lose(1) == "reconnect_loop"
        [fact] = house.facts_of(ReconnectLoop)
        assert (fact.losses, fact.status.session_id) == (6, "shop")
        [event] = told(house)
        assert (event.type, event.data["losses"]) == ("session.reconnect_loop", 6)
        await trio.sleep(601)
        assert await lose(1) == "connection_lost"
        await lose(5)
        assert len(house.facts_of(ReconnectLoop)) == 2


async def test_a_sign_of_life_keeps_the_proof_fresh(autojump_clock: MockClock) -> None:
    """A socket that hears something is connected, and one that hears nothing is asked."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        await trio.sleep(1700)
        socket.sockets["shop"].link.alive()
        await trio.sleep(200)
        assert sessions.status(SHOP).state is SessionState.CONNECTED
        await trio.sleep(1700)
        status = sessions.status(SHOP)
        assert (status.state, code_of(status)) == (SessionState.DEGRADED, "proof_stale")


# --- what needs a person --------------------------------------------------------------------------


CODES = [
    pytest.param("logged_out", SessionState.LOGGED_OUT, True, id="the phone removed the device"),
    pytest.param("pairing_expired", SessionState.LOGGED_OUT, True, id="nobody scanned"),
    pytest.param("replaced", SessionState.FAILED, True, id="somebody else holds the connection"),
    pytest.param("banned", SessionState.FAILED, True, id="banned"),
    pytest.param("temporarily_banned", SessionState.FAILED, True, id="banned for a time"),
    pytest.param("blocked", SessionState.FAILED, True, id="the account is locked"),
    pytest.param("client_outdated", SessionState.FAILED, False, id="WhatsApp wants a newer client"),
    pytest.param("untrusted_server", SessionState.FAILED, False, id="not WhatsApp's certificate"),
    pytest.param("node_missing", SessionState.FAILED, False, id="no Node"),
    pytest.param("misconfigured", SessionState.FAILED, False, id="the configuration is wrong"),
    pytest.param("token_expired", SessionState.BAD_CREDENTIALS, False, id="anything else"),
]


@pytest.mark.parametrize(("code", "state", "stays"), CODES)
@pytest.mark.parametrize("how", ["lost", "refused"])
async def test_what_needs_a_person_stops_the_session_with_its_reason(
    autojump_clock: MockClock, code: str, state: SessionState, stays: bool, how: str
) -> None:
    """It is not tried again by itself, by a restart only where that may help, and always when somebody asks."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        if how == "lost":
            socket.drop("shop", needing(code))
        else:
            socket.connects["shop"] = [needing(code)]
            socket.drop("shop", gone())
            await trio.sleep(2)
        await trio.sleep(3600)
        status = sessions.status(SHOP)
        assert (status.state, code_of(status)) == (state, code)
        assert status.reason is not None
        assert status.reason.needs_person
        assert not socket.sockets["shop"].is_open
        socket.drop("shop", gone())  # the socket's own end, told after the reason for it
        assert code_of(sessions.status(SHOP)) == code
    async with house.run() as sessions:
        await trio.sleep(600)
        status = sessions.status(SHOP)
        assert status.state is (state if stays else SessionState.CONNECTED)
        assert (await sessions.connect(SHOP, wait=10)).is_connected


async def test_a_crash_does_not_wake_what_waits_for_a_person(autojump_clock: MockClock) -> None:
    """Whatever crashes, a replaced session does not fight for its connection."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.drop("shop", needing("replaced"))

        async def crash(connection: object) -> None:
            raise RuntimeError("a bug")

        with pytest.raises((ActorDown, RuntimeError)):
            await sessions.actors.get(SHOP).mailbox.ask(Call(crash))
        await trio.sleep(60)
        status = sessions.status(SHOP)
        assert (status.state, code_of(status), status.restarts) == (SessionState.FAILED, "replaced", 1)


async def test_other_settings_wake_only_what_they_may_help(autojump_clock: MockClock) -> None:
    """None takes a connection back from whoever replaced it; some may mend a wrong configuration. A rate does neither."""
    for code, heals in (("replaced", False), ("misconfigured", True)):
        house, socket = world()
        async with house.run() as sessions:
            await paired(house, sessions)
            socket.drop("shop", needing(code))
            await sessions.update(SHOP, settings={"rate": 3})
            await trio.sleep(5)
            assert not sessions.status(SHOP).is_connected
            await sessions.update(SHOP, settings={"duplicates": "at_least_once"})
            await trio.sleep(5)
            assert sessions.status(SHOP).is_connected is heals


# --- disconnecting and logging out ----------------------------------------------------------------


async def test_disconnecting_lets_go_of_the_socket_and_keeps_the_pairing(autojump_clock: MockClock) -> None:
    """What the socket says afterwards changes nothing; the next connect needs no phone."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        await sessions.disconnect(SHOP, wait=5)
        assert not socket.sockets["shop"].is_open
        link = socket.sockets["shop"].link
        link.lost(gone())
        link.proven(PHONE)
        await trio.sleep(60)
        assert sessions.status(SHOP).state is SessionState.DISCONNECTED
        assert (await sessions.connect(SHOP, wait=5)).is_connected


async def test_logging_out_tells_the_phone_and_forgets_the_keys(autojump_clock: MockClock) -> None:
    """`logged_out`, also after a restart, until somebody connects it: then it pairs anew."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        status = await sessions.logout(SHOP)
        assert (status.state, status.desired_state) == (SessionState.LOGGED_OUT, DesiredState.DISCONNECTED)
        assert socket.logouts == ["shop"]
        assert not socket.sockets["shop"].is_open
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}
        assert socket.forgotten == ["shop"]
        await trio.sleep(1)
    async with house.run() as sessions:
        await trio.sleep(5)
        assert sessions.status(SHOP).state is SessionState.LOGGED_OUT
        assert (await sessions.connect(SHOP, wait=5)).state is SessionState.PAIRING


@pytest.mark.parametrize("trouble", ["not connected", "no answer"])
async def test_a_phone_that_cannot_be_told_keeps_nobody_from_logging_out(
    autojump_clock: MockClock, trouble: str
) -> None:
    """The keys go all the same, and the reason says what is left to do."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.deaf = trouble == "no answer"
        socket.sockets["shop"].is_open = False
        status = await sessions.logout(SHOP)
        assert status.state is SessionState.LOGGED_OUT
        assert status.reason is not None
        assert "remove it there" in status.reason.detail
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}


async def test_a_session_that_rests_from_crashes_can_be_logged_out(autojump_clock: MockClock) -> None:
    """It has no connection then, and its keys are removed without one."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.connects["shop"] = [RuntimeError("a bug")] * 6  # type: ignore[list-item]
        socket.drop("shop", gone())
        await trio.sleep(60)
        assert sessions.actors.get(SHOP).is_resting
        assert (await sessions.logout(SHOP)).state is SessionState.LOGGED_OUT
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}


@pytest.mark.parametrize("deaf", [False, True], ids=["the phone is told", "the phone cannot be told"])
async def test_forgetting_a_session_logs_it_out_if_it_can(autojump_clock: MockClock, deaf: bool) -> None:
    """Within a bound: whoever deletes a session gets rid of it."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        socket.deaf = deaf
        before = trio.current_time()
        await sessions.delete(SHOP)
        assert trio.current_time() - before == (10 if deaf else 0)
        assert socket.logouts == ([] if deaf else ["shop"])
        assert await house.store().session(SHOP) is None
        assert await house.store().keys(SHOP, "creds", ["creds"]) == {}


# --- what was sent --------------------------------------------------------------------------------


async def test_what_was_sent_is_known_by_the_providers_id(autojump_clock: MockClock) -> None:
    """For a recipient who could not read it, and asks again."""
    house, socket = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        sent = await sessions.messages.wait_for((await sessions.messages.send(draft("hola"))).message, 5)
        link = socket.sockets["shop"].link
        assert sent.provider_message_id is not None
        found = await link.sent(sent.provider_message_id)
        assert found is not None
        assert found.content == {"type": "text", "text": {"body": "hola"}}
        assert await link.sent("3EB0OTHER") is None


async def test_of_its_groups_one_can_be_asked_for(autojump_clock: MockClock) -> None:
    """With its members; there is none but those it is in."""
    house, _ = world()
    async with house.run() as sessions:
        await paired(house, sessions)
        group = await sessions.calls.group(SHOP, "g-1")
        assert group.members is not None
        assert [member.phone for member in group.members] == ["+5215500000002"]
        with pytest.raises(NotFound):
            await sessions.calls.group(SHOP, "g-2")
