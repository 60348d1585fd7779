"""Sessions: created, restored, kept alive, and each one's trouble its own."""

from datetime import timedelta
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from tests.house import House, draft, now, shop
from tests.simulated import failing, hang, lost_answer, refusal
from tests.supervisor.test_supervise import Full
from wad.actors.services import Limits
from wad.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    NotSupported,
    QueueFull,
    SessionUnavailable,
    Verdict,
)
from wad.events import ActorCrashed
from wad.models import Credentials, DesiredState, Idempotency, MessageState, SessionId, SessionState, ids
from wad.store.store import Retention
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sending import Sent
from wad.supervisor.sessions import NewSession
from wad.supervisor.upkeep import EXPIRE_EVERY


async def test_a_session_is_connected_on_proof_alone(autojump_clock: MockClock) -> None:
    """`connected` is claimed only once the provider has answered."""
    house = House()
    house.world.latency = 3.0
    async with house.run() as sessions:
        await sessions.create(
            NewSession(provider="simulated", session_id=SessionId("shop"), credentials=Credentials(key="k"))
        )
        await trio.sleep(2.9)
        assert sessions.status(SessionId("shop")).state is SessionState.CONNECTING
        assert not sessions.status(SessionId("shop")).is_connected
        await trio.sleep(0.2)
        status = sessions.status(SessionId("shop"))
        assert status.is_connected
        assert status.phone_number == "+5215500000001"


async def test_sessions_and_their_desired_state_survive_a_restart(autojump_clock: MockClock) -> None:
    """What was wanted connected connects by itself; what was wanted disconnected stays so."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions, "one")
        await shop(sessions, "two")
        await sessions.disconnect(SessionId("two"), wait=10)
    async with house.run() as sessions:
        await trio.sleep(1)
        assert sessions.status(SessionId("one")).state is SessionState.CONNECTED
        assert sessions.status(SessionId("two")).state is SessionState.DISCONNECTED
        assert sessions.progress.restored == sessions.progress.of == 2


async def test_an_id_is_taken_once(autojump_clock: MockClock) -> None:
    """The second creation is a conflict, and the first session goes on."""
    async with House().run() as sessions:
        await shop(sessions)
        with pytest.raises(Conflict):
            await shop(sessions)
        assert sessions.status(SessionId("shop")).is_connected


async def test_every_wrong_credential_is_named(autojump_clock: MockClock) -> None:
    """Bad input names the field."""
    async with House().run() as sessions:
        with pytest.raises(InvalidRequest) as refused:
            await sessions.create(NewSession(provider="simulated", credentials=Credentials()))
        assert [error.pointer for error in refused.value.errors] == ["/credentials/key"]


async def test_an_unreachable_provider_is_tried_again(autojump_clock: MockClock) -> None:
    """Trouble that passes is a state with its reason and the time of the next try, not an error."""
    house = House()
    house.world.connects["shop"] = [refusal(Verdict.NOT_SENT, "unreachable", health=True)] * 3
    async with house.run() as sessions:
        await sessions.create(
            NewSession(provider="simulated", session_id=SessionId("shop"), credentials=Credentials(key="k"))
        )
        await trio.sleep(0.1)
        status = sessions.status(SessionId("shop"))
        assert (status.state, status.reason and status.reason.code) == (
            SessionState.CONNECTING,
            "unreachable",
        )
        assert status.next_retry_at is not None
        assert status.next_retry_at > now()
        await trio.sleep(60)
        assert sessions.status(SessionId("shop")).is_connected


async def test_bad_credentials_wait_for_a_person_and_new_ones_heal(autojump_clock: MockClock) -> None:
    """No retry loop against a refused token; what is queued goes out once the token is right."""
    house = House()
    house.world.script["*"] = [failing(refusal(Verdict.NEEDS_PERSON, "bad_credentials"))]
    async with house.run() as sessions:
        await shop(sessions)
        sent = await sessions.messages.send(draft())
        await trio.sleep(1)
        status = sessions.status(SessionId("shop"))
        assert status.state is SessionState.BAD_CREDENTIALS
        assert status.reason is not None
        assert status.reason.needs_person
        with pytest.raises(SessionUnavailable) as refused:
            await sessions.messages.send(draft("no"))
        assert refused.value.needs_person
        queued = await sessions.messages.send(draft("yes", queue=True))
        await trio.sleep(3600)
        assert house.world.ledger == []
        await sessions.update(SessionId("shop"), credentials={"key": "new"})
        await trio.sleep(1)
        assert sessions.status(SessionId("shop")).is_connected
        assert house.world.bodies() == ["hola", "yes"]
        assert {m.message_id for m in house.world.ledger} == {
            sent.message.message_id,
            queued.message.message_id,
        }


async def test_a_crash_of_one_of_a_thousand_changes_nothing_for_the_others(autojump_clock: MockClock) -> None:
    """One session's trouble stays its own: it restarts, gives up, heals; the 999 never notice."""
    house = House()
    house.world.connects["s-500"] = [RuntimeError("a bug")] * 6
    async with house.run() as sessions:
        for number in range(1000):
            await sessions.create(
                NewSession(
                    provider="simulated",
                    session_id=SessionId(f"s-{number}"),
                    credentials=Credentials(key=str(number)),
                )
            )
        await trio.sleep(60)
        statuses = {status.session_id: status for status in sessions.statuses()}
        sick = statuses.pop(SessionId("s-500"))
        assert sick.state is SessionState.FAILED
        assert sick.restarts == 6
        assert sick.reason is not None
        assert "a bug" in sick.reason.detail
        assert len(statuses) == 999
        assert all(status.is_connected and status.restarts == 0 for status in statuses.values())
        assert house.world.opened.count("s-500") == 6
        assert len(house.world.opened) == 999 + 6
        await trio.sleep(400)  # its cooldown is over
        assert sessions.status(SessionId("s-500")).is_connected


async def test_a_crashed_session_is_not_called_connected(autojump_clock: MockClock) -> None:
    """Between a crash and the next proof the status says what is, and when it will be tried again."""
    house = House(policy=RestartPolicy(initial=10.0, random=Full()))
    house.world.script["*"] = [failing(RuntimeError("a bug"))]
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.messages.send(draft())
        await trio.sleep(1)
        status = sessions.status(SessionId("shop"))
        assert (status.state, status.is_connected) == (SessionState.CONNECTING, False)
        assert status.reason is not None
        assert status.reason.code == "crashed"
        assert status.next_retry_at == now() + timedelta(seconds=9)
        await trio.sleep(10)
        assert sessions.status(SessionId("shop")).is_connected


async def test_a_failed_session_is_tried_again_at_once_when_asked(autojump_clock: MockClock) -> None:
    """`connect` ends the cooldown."""
    house = House()
    house.world.connects["shop"] = [RuntimeError("a bug")] * 6
    async with house.run() as sessions:
        await sessions.create(
            NewSession(provider="simulated", session_id=SessionId("shop"), credentials=Credentials(key="k"))
        )
        await trio.sleep(60)
        assert sessions.status(SessionId("shop")).state is SessionState.FAILED
        with pytest.raises(SessionUnavailable):
            await sessions.messages.send(draft())
        before = trio.current_time()
        await sessions.connect(SessionId("shop"), wait=10)
        assert trio.current_time() - before < 1
        assert sessions.status(SessionId("shop")).is_connected


async def test_a_deleted_session_is_gone_with_its_messages(autojump_clock: MockClock) -> None:
    """Deleting forgets: after a restart nothing of it is left."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = await sessions.messages.send(draft())
        await trio.sleep(1)
        await sessions.delete(SessionId("shop"))
        with pytest.raises(NotFound):
            sessions.status(SessionId("shop"))
        assert await house.store().message(sent.message.message_id) is None
    async with house.run() as sessions:
        assert list(sessions.statuses()) == []


# --- sending --------------------------------------------------------------------------------------


async def state_of(house: House, sent: Sent) -> MessageState:
    message = await house.store().message(sent.message.message_id)
    assert message is not None
    return message.state


async def test_a_message_is_sent_and_its_history_tells_how(autojump_clock: MockClock) -> None:
    """queued, sending, accepted: each on disk before the next."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        sent = await sessions.messages.send(draft())
        accepted = await sessions.messages.wait_for(sent.message, 10)
        assert accepted.state is MessageState.ACCEPTED
        assert accepted.provider_message_id is not None
        assert [step.state for step in accepted.history] == ["queued", "sending", "accepted"]
        assert house.world.ledger[0].message_id == sent.message.message_id


async def test_one_chat_keeps_its_order_and_has_one_message_in_flight(autojump_clock: MockClock) -> None:
    """Order per chat, chats side by side."""
    house = House()
    house.world.latency = 1.0
    async with house.run() as sessions:
        await shop(sessions)
        begun = trio.current_time()
        last = None
        for number in range(5):
            await sessions.messages.send(draft(f"a{number}", to="+521"))
            last = await sessions.messages.send(draft(f"b{number}", to="+522"))
        assert last is not None
        await sessions.messages.wait_for(last.message, 60)
        assert house.world.bodies("+521") == [f"a{n}" for n in range(5)]
        assert house.world.bodies("+522") == [f"b{n}" for n in range(5)]
        assert set(house.world.most_in_flight.values()) == {1}
        assert trio.current_time() - begun == pytest.approx(5.0)


async def test_what_surely_did_not_go_out_is_retried_in_order(autojump_clock: MockClock) -> None:
    """A refused connection is no doubt: the message keeps its place, and what follows it waits."""
    house = House()
    house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "unreachable", health=True))] * 2
    async with house.run() as sessions:
        await shop(sessions)
        first = await sessions.messages.send(draft("first"))
        await sessions.messages.send(draft("second"))
        await trio.sleep(30)
        assert house.world.bodies() == ["first", "second"]
        message = await house.store().message(first.message.message_id)
        assert message is not None
        assert message.attempts == 3


async def test_a_refused_message_fails_at_once_and_is_a_dead_letter(autojump_clock: MockClock) -> None:
    """Permanent is permanent; a person may try it again."""
    house = House()
    house.world.script["*"] = [failing(refusal(Verdict.REJECTED, "recipient_unreachable"))]
    async with house.run() as sessions:
        await shop(sessions)
        sent = await sessions.messages.send(draft())
        failed = await sessions.messages.wait_for(sent.message, 10)
        assert failed.state is MessageState.FAILED
        assert failed.error is not None
        assert failed.error.code == "recipient_unreachable"
        assert [m.message_id for m in await house.store().dead_letters()] == [sent.message.message_id]
        await sessions.messages.retry_dead_letter(sent.message.message_id)
        await trio.sleep(1)
        assert house.world.bodies() == ["hola"]
        assert await house.store().dead_letters() == []


async def test_a_lost_answer_is_unknown_and_never_sent_again(autojump_clock: MockClock) -> None:
    """At most once: the window for proof passes, and it is shown as a dead letter, not guessed."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions)
        sent = await sessions.messages.send(draft())
        unknown = await sessions.messages.wait_for(sent.message, 10)
        assert unknown.state is MessageState.UNKNOWN
        assert await house.store().dead_letters() == []
        await trio.sleep(601)
        message = await house.store().message(sent.message.message_id)
        assert message is not None
        assert (message.state, message.dead) == (MessageState.UNKNOWN, True)
    async with house.run():
        await trio.sleep(4000)
    assert len(house.world.ledger) == 1


async def test_a_session_may_ask_for_at_least_once(autojump_clock: MockClock) -> None:
    """`duplicates: at_least_once` sends again after the window, and says that it may be a duplicate."""
    house = House()
    house.world.script["*"] = [lost_answer(house.world)]
    async with house.run() as sessions:
        await shop(sessions, duplicates="at_least_once")
        sent = await sessions.messages.send(draft())
        await trio.sleep(605)
        message = await house.store().message(sent.message.message_id)
        assert message is not None
        assert message.state is MessageState.ACCEPTED
        assert message.maybe_duplicate
        assert len(house.world.ledger) == 2


async def test_a_bug_in_one_send_leaves_it_in_doubt_and_the_others_go_on(autojump_clock: MockClock) -> None:
    """The actor crashes and comes back; the poisoned message is `unknown` and does not crash it again."""
    house = House()
    house.world.script["+521"] = [failing(RuntimeError("a bug"))]
    house.world.latency = 0.5
    async with house.run() as sessions:
        await shop(sessions)
        bad = await sessions.messages.send(draft("bad", to="+521"))
        good = await sessions.messages.send(draft("good", to="+522"))
        await trio.sleep(30)
        assert await state_of(house, bad) is MessageState.UNKNOWN
        assert await state_of(house, good) is MessageState.ACCEPTED
        assert house.world.bodies() == ["good"]
        assert len(house.facts_of(ActorCrashed)) == 1
        assert sessions.status(SessionId("shop")).is_connected


async def test_what_was_in_the_air_at_a_hard_stop_is_unknown(autojump_clock: MockClock) -> None:
    """A send that outlives the grace may have gone out: it is not sent again after the restart."""
    house = House()
    house.world.script["+521"] = [hang]
    async with house.run(grace=5) as sessions:
        await shop(sessions)
        hung = await sessions.messages.send(draft("hung", to="+521"))
        await trio.sleep(1)
        later = await sessions.messages.send(draft("later", to="+521"))
    assert await state_of(house, hung) is MessageState.UNKNOWN
    assert await state_of(house, later) is MessageState.QUEUED
    async with house.run() as sessions:
        await trio.sleep(5)
        assert house.world.bodies() == ["later"]


async def test_the_grace_lets_what_is_in_hand_finish(autojump_clock: MockClock) -> None:
    """A drain claims nothing new and waits for the answers it began to wait for."""
    house = House()
    house.world.latency = 4.0
    async with house.run() as sessions:
        await shop(sessions)
        first = await sessions.messages.send(draft("first"))
        second = await sessions.messages.send(draft("second"))
        await trio.sleep(1)
    assert await state_of(house, first) is MessageState.ACCEPTED
    assert await state_of(house, second) is MessageState.QUEUED


async def test_a_scheduled_message_waits_for_its_time_and_holds_nobody_up(autojump_clock: MockClock) -> None:
    """`sendAt` is a time of the wall clock, and survives a restart."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        later = await sessions.messages.send(draft("later", send_at=now() + timedelta(hours=1)))
        await sessions.messages.send(draft("now"))
        assert later.message.state is MessageState.SCHEDULED
        await trio.sleep(60)
        assert house.world.bodies() == ["now"]
    async with house.run() as sessions:
        await trio.sleep(3500)
        assert house.world.bodies() == ["now"]
        await trio.sleep(60)
        assert house.world.bodies() == ["now", "later"]


async def test_a_cancelled_message_does_not_go_out(autojump_clock: MockClock) -> None:
    """While it is queued or scheduled, `cancel` wins; later it is a conflict."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        later = await sessions.messages.send(draft("later", send_at=now() + timedelta(hours=1)))
        cancelled = await sessions.messages.cancel(later.message.message_id)
        assert cancelled.state is MessageState.CANCELLED
        sent = await sessions.messages.send(draft("now"))
        await sessions.messages.wait_for(sent.message, 10)
        with pytest.raises(Conflict):
            await sessions.messages.cancel(sent.message.message_id)
        await trio.sleep(7200)
        assert house.world.bodies() == ["now"]


async def test_an_expired_message_is_not_sent(autojump_clock: MockClock) -> None:
    """What waited past `expiresAt` ends as `expired`, a dead letter."""
    house = House()
    house.world.connects["shop"] = [refusal(Verdict.NOT_SENT, "unreachable")] * 8
    async with house.run() as sessions:
        await sessions.create(
            NewSession(provider="simulated", session_id=SessionId("shop"), credentials=Credentials(key="k"))
        )
        sent = await sessions.messages.send(draft(expires_at=now() + timedelta(seconds=20)))
        await trio.sleep(1000)
        assert sessions.status(SessionId("shop")).is_connected
        assert await state_of(house, sent) is MessageState.EXPIRED
        assert house.world.ledger == []


async def test_a_message_expires_also_while_nobody_may_send(autojump_clock: MockClock) -> None:
    """A session that waits for a person for days does not keep what nobody wants any more."""
    house = House()
    async with house.run() as sessions, trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, Retention())
        await shop(sessions)
        await sessions.disconnect(SessionId("shop"), wait=10)
        overdue = await sessions.messages.send(draft(queue=True, expires_at=now() + timedelta(hours=1)))
        kept = await sessions.messages.send(draft(queue=True))
        await trio.sleep(7200)
        assert await state_of(house, overdue) is MessageState.EXPIRED
        assert await state_of(house, kept) is MessageState.QUEUED
        assert sessions.status(SessionId("shop")).queue.depth == 1
        nursery.cancel_scope.cancel()


async def test_what_is_on_the_wire_does_not_expire(autojump_clock: MockClock) -> None:
    """The session may send no more, and the end of a message comes before its provider's slow answer: which counts."""
    house = House()
    house.world.latency = 35.0
    async with house.run() as sessions, trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, Retention())
        await shop(sessions)
        await trio.sleep_until(EXPIRE_EVERY - 10)
        sent = await sessions.messages.send(draft(expires_at=now() + timedelta(seconds=5)))
        nursery.start_soon(partial(sessions.disconnect, SessionId("shop"), wait=60))
        await trio.sleep_until(EXPIRE_EVERY + 60)
        assert await state_of(house, sent) is MessageState.ACCEPTED
        nursery.cancel_scope.cancel()


async def test_silent_sessions_are_asked_for_proof_and_one_that_fails_is_degraded(
    autojump_clock: MockClock,
) -> None:
    """Nothing comes in for hours: each session is asked again in good time, and what fails is not called connected."""
    house = House()
    async with house.run() as sessions, trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, Retention())
        await shop(sessions, "one")
        await shop(sessions, "two")
        for _ in range(40):
            await trio.sleep(300)
            assert sessions.status(SessionId("one")).is_connected
        house.world.connects["two"] = [refusal(Verdict.NOT_SENT, "unreachable")] * 1000
        await trio.sleep(1800)
        assert sessions.status(SessionId("one")).is_connected
        two = sessions.status(SessionId("two"))
        assert (two.state, two.reason and two.reason.code) == (SessionState.DEGRADED, "unreachable")
        nursery.cancel_scope.cancel()


async def test_the_same_key_is_the_same_message_also_at_once(autojump_clock: MockClock) -> None:
    """The unique index decides, whoever comes first; another body under the key is refused."""
    house = House()
    key = Idempotency(scope="t", key="k", fingerprint="f")
    async with house.run() as sessions:
        await shop(sessions)
        answers: list[Sent] = []

        async def send() -> None:
            answers.append(await sessions.messages.send(draft(idempotency=key)))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(send)
        assert len({sent.message.message_id for sent in answers}) == 1
        assert sorted(sent.replayed for sent in answers) == [False] + [True] * 9
        with pytest.raises(IdempotencyKeyReused):
            await sessions.messages.send(draft(idempotency=Idempotency(scope="t", key="k", fingerprint="g")))
        await trio.sleep(1)
        assert len(house.world.ledger) == 1
        await sessions.disconnect(SessionId("shop"), wait=10)
        assert (await sessions.messages.send(draft(idempotency=key))).replayed  # a repetition is not refused


async def test_a_full_queue_pushes_back_and_loses_nothing(autojump_clock: MockClock) -> None:
    """The bound holds for requests that come at once, too."""
    house = House(limits=Limits(queue_per_session=10))
    house.world.latency = 100.0
    async with house.run() as sessions:
        await shop(sessions)
        results = await sessions.messages.send_bulk([draft(f"{n}", to=f"+52{n}") for n in range(25)])
        taken = [r for r in results if isinstance(r, Sent)]
        refused = [r for r in results if isinstance(r, QueueFull)]
        assert (len(taken), len(refused)) == (10, 15)
        assert all(r.retry_after for r in refused)
        await trio.sleep(1000)
        assert len(house.world.ledger) == 10


async def test_what_a_provider_cannot_send_is_refused_by_name(autojump_clock: MockClock) -> None:
    """422 at once, naming the capability; nothing is stored."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        poll = draft()
        with pytest.raises(NotSupported) as refused:
            await sessions.messages.send(
                type(poll)(session_id=poll.session_id, to=poll.to, content={"type": "poll", "poll": {}})
            )
        assert refused.value.capability == "poll"


async def test_a_disconnected_session_keeps_what_it_has_and_takes_only_what_asks_to_queue(
    autojump_clock: MockClock,
) -> None:
    """Disconnecting is an operator's wish, not a loss."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await sessions.disconnect(SessionId("shop"), wait=10)
        assert sessions.session(SessionId("shop")).desired_state is DesiredState.DISCONNECTED
        with pytest.raises(SessionUnavailable):
            await sessions.messages.send(draft())
        await sessions.messages.send(draft("kept", queue=True))
        await trio.sleep(60)
        assert house.world.ledger == []
        await sessions.connect(SessionId("shop"), wait=10)
        await trio.sleep(1)
        assert house.world.bodies() == ["kept"]


async def test_changes_at_once_are_made_one_after_the_other(autojump_clock: MockClock) -> None:
    """None undoes another; and until one is on disk the session is found by what it was called."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(sessions.update, SessionId("shop"), credentials={"key": "another"}))
            nursery.start_soon(partial(sessions.update, SessionId("shop"), settings={"rate": 5.0}))
            nursery.start_soon(partial(sessions.update, SessionId("shop"), settings={"burst": 7}))
            await trio.lowlevel.checkpoint()
            assert sessions.actors.of_account("simulated", "shop")
        session = sessions.session(SessionId("shop"))
        assert session.credentials == {"key": "another"}
        assert (session.settings.rate, session.settings.burst) == (5.0, 7)
        [found] = sessions.actors.of_account("simulated", "another")
        assert found.session is session
        assert not sessions.actors.of_account("simulated", "shop")


async def test_what_comes_after_a_clock_was_set_back_is_newer_all_the_same(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, the order of a chat and listeners that resume go by `seq`; a restart may find the time before them."""
    house, seqs = House(), []
    for ahead in (3600, 0):
        monkeypatch.setattr(ids, "_last_ns", 0)
        monkeypatch.setattr(ids, "time", _Clock((1_800_000_000 + ahead) * 10**9))
        async with house.run() as sessions:
            if not seqs:
                await shop(sessions)
            sent = (await sessions.messages.send(draft())).message
            await sessions.messages.wait_for(sent, 10)
            seqs.append(sent.seq)
    assert seqs[1] > seqs[0]


class _Clock:
    def __init__(self, ns: int) -> None:
        self._ns = ns

    def time_ns(self) -> int:
        return self._ns
