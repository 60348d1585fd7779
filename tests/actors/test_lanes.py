"""Lanes decide who goes next; workers run them side by side."""

from collections import Counter
from datetime import UTC, datetime
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from wad.actors.lanes import _GONE, PATIENCE, Lanes, Workers
from wad.models import ChatId, MessageId, Pending, Priority

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def item(name: str, chat: str = "ana", seq: int = 0, priority: Priority = Priority.NORMAL) -> Pending:
    return Pending(MessageId(name), ChatId(chat), seq, NOW, priority)


def drain(lanes: Lanes, now: float = 0.0) -> list[str]:
    """Take everything that may go, one after the other."""
    names = []
    while (taken := lanes.take(now)) is not None:
        names.append(taken.message_id)
        lanes.done(taken)
    return names


def test_a_chat_has_one_item_in_flight() -> None:
    """The second item of a chat waits for the first; another chat does not."""
    lanes = Lanes()
    for each in (item("a1", "ana", 1), item("a2", "ana", 2), item("b1", "bea", 3)):
        lanes.add(each)
    first, second = lanes.take(0), lanes.take(0)
    assert first is not None
    assert second is not None
    assert (first.message_id, second.message_id) == ("a1", "b1")
    assert lanes.take(0) is None
    lanes.done(first)
    third = lanes.take(0)
    assert third is not None
    assert third.message_id == "a2"


def test_replies_overtake_normal_and_normal_overtakes_bulk() -> None:
    """Priority decides between chats and within one; arrival decides among equals."""
    lanes = Lanes()
    lanes.add(item("bulk", "ana", 1, Priority.BULK))
    lanes.add(item("normal", "ana", 2))
    lanes.add(item("other", "bea", 3))
    lanes.add(item("reply", "ana", 4, Priority.REPLY))
    assert drain(lanes) == ["reply", "normal", "other", "bulk"]


def test_a_held_head_keeps_its_chat_in_order() -> None:
    """What is tried again holds what came after it in the same chat, and nobody else."""
    lanes = Lanes()
    lanes.add(item("a1", "ana", 1))
    lanes.add(item("a2", "ana", 2))
    lanes.add(item("b1", "bea", 3))
    head = lanes.take(0)
    assert head is not None
    lanes.again(head, 5.0, hold=True)
    assert drain(lanes, 4.9) == ["b1"]
    assert lanes.wake_at(4.9) == 5.0
    assert drain(lanes, 5.0) == ["a1", "a2"]


def test_without_hold_the_chat_goes_on() -> None:
    """An item put aside lets its chat pass, and comes back when it is due."""
    lanes = Lanes()
    lanes.add(item("a1", "ana", 1))
    lanes.add(item("a2", "ana", 2))
    head = lanes.take(0)
    assert head is not None
    lanes.again(head, 5.0, hold=False)
    assert drain(lanes, 1.0) == ["a2"]
    assert drain(lanes, 5.0) == ["a1"]


def test_a_scheduled_item_holds_nobody_up() -> None:
    """Until it is due it stands beside its lane."""
    lanes = Lanes()
    lanes.add(item("later", "ana", 1), due=10.0)
    lanes.add(item("now", "ana", 2))
    assert drain(lanes, 0.0) == ["now"]
    assert len(lanes) == 1
    assert drain(lanes, 10.0) == ["later"]


def test_a_removed_item_is_never_taken() -> None:
    """Cancelled while it waits, wherever it waits."""
    lanes = Lanes()
    lanes.add(item("a1", "ana", 1))
    lanes.add(item("a2", "ana", 2))
    lanes.add(item("later", "bea", 3), due=1.0)
    lanes.remove(MessageId("a1"))
    lanes.remove(MessageId("later"))
    assert drain(lanes, 2.0) == ["a2"]
    assert len(lanes) == 0
    assert lanes.wake_at(2.0) == inf


@pytest.mark.parametrize("priority", Priority)
@pytest.mark.parametrize("due", [-inf, 1e9], ids=["not taken", "scheduled"])
def test_what_was_removed_takes_no_room(due: float, priority: Priority) -> None:
    """Cancelled or expired long before its time, or in a session that sends nothing: what is left stays as it was."""
    lanes = Lanes()
    stay = [item("a", "ana", 1, priority), item("b", "bea", 2, priority), item("c", "ana", 3, priority)]
    for each in stay:
        lanes.add(each, due=due)
    for number in range(1000):
        for chat in ("ana", "bea", f"chat-{number}"):
            lanes.add(item(f"{chat}-{number}", chat, 10 + number, priority), due=due)
            lanes.remove(MessageId(f"{chat}-{number}"))
    turns = sum(len(turns) for lane in lanes._lanes.values() for turns in lane.turns.values())
    heads = sum(len(queue) for heads in lanes._heads.values() for queue in heads.lanes.values())
    assert max(turns, heads, len(lanes._later), len(lanes._lanes)) < 3 + 2 * _GONE
    assert drain(lanes, 2e9) == ["a", "b", "c"]


def test_adding_twice_changes_nothing() -> None:
    """A restart loads from the store what callers may have offered already."""
    lanes = Lanes()
    lanes.add(item("a1"))
    lanes.add(item("a1"))
    assert drain(lanes) == ["a1"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from(list(Priority)),
            st.floats(0, 9),
            st.sampled_from(["done", "again", "aside"]),
        ),
        max_size=40,
    )
)
def test_every_item_is_taken_in_the_end_and_in_order(asked: list[tuple[str, Priority, float, str]]) -> None:
    """Whatever is retried or put aside, nothing is lost, and equals of a chat without retries keep their order."""
    lanes = Lanes()
    fate = {}
    for seq, (chat, priority, due, end) in enumerate(asked):
        lanes.add(item(str(seq), chat, seq, priority))
        fate[str(seq)] = (due, end)
    finished: list[Pending] = []
    now = 0.0
    while len(lanes):
        taken = lanes.take(now)
        if taken is None:
            assert now < lanes.wake_at(now) < inf
            now = lanes.wake_at(now)
            continue
        due, end = fate[taken.message_id]
        if end == "done":
            lanes.done(taken)
            finished.append(taken)
        else:
            fate[taken.message_id] = (due, "done")
            lanes.again(taken, now + due + 0.1, hold=end == "again")
    assert len(finished) == len(asked)
    plain = {str(seq) for seq, each in enumerate(asked) if each[3] != "aside"}
    for chat in "abcd":
        for priority in Priority:
            order = [
                p.seq for p in finished if (p.chat, p.priority) == (chat, priority) and p.message_id in plain
            ]
            assert order == sorted(order)


@given(
    st.lists(st.sampled_from(list(Priority)), min_size=30, max_size=200),
    st.lists(st.integers(0, 3), min_size=30, max_size=200),
)
def test_nobody_starves(arriving: list[Priority], arrivals: list[int]) -> None:
    """Whoever could go is passed over `PATIENCE` times in a row, and once more for each other one as impatient.

    Whatever keeps coming, and also within one chat: a third of the chats are the same one.
    """
    lanes, seq, passed = Lanes(), 0, dict.fromkeys(Priority, 0)
    for count in arrivals:
        for _ in range(count):
            seq += 1
            chat = "ana" if seq % 3 == 0 else f"chat-{seq}"
            lanes.add(item(str(seq), chat, seq, arriving[seq % len(arriving)]))
        waiting = {each.priority for each in lanes.items()}
        taken = lanes.take(0.0)
        if taken is None:
            continue
        for priority in waiting:
            passed[priority] = 0 if priority is taken.priority else passed[priority] + 1
            assert passed[priority] <= PATIENCE + 1
        lanes.done(taken)


def test_a_stream_of_replies_lets_each_of_the_others_through_once_in_ten_turns() -> None:
    """Nine replies go, then a normal message and one of bulk; eight of ten turns are the replies' own."""
    lanes = Lanes()
    for seq in range(100):
        lanes.add(item(f"reply-{seq}", f"r{seq}", seq, Priority.REPLY))
        lanes.add(item(f"normal-{seq}", f"n{seq}", 1000 + seq, Priority.NORMAL))
        lanes.add(item(f"bulk-{seq}", f"b{seq}", 2000 + seq, Priority.BULK))
    turns = [name.split("-")[0] for name in drain(lanes)]
    assert turns[:12] == ["reply"] * 9 + ["normal", "bulk", "reply"]
    assert Counter(turns[:110]) == {"reply": 89, "normal": 11, "bulk": 10}


def test_a_number_that_may_not_send_holds_no_other() -> None:
    """Each number of a session has its own queues: what waits for one is not even looked at."""
    lanes = Lanes()
    for seq in range(4):
        lanes.add(item(f"slow-{seq}", f"100/ana-{seq}", seq, Priority.REPLY))
        lanes.add(item(f"quick-{seq}", f"200/ana-{seq}", 10 + seq, Priority.BULK))
    waits = {"100": 7.0, "200": 0.0}
    assert [lanes.take(1.0, waits.__getitem__) for _ in range(5)][-1] is None
    assert lanes.wake_at(1.0, waits.__getitem__) == 8.0
    assert drain(lanes, 8.0) == ["slow-0", "slow-1", "slow-2", "slow-3"]


def test_numbers_that_may_send_take_turns() -> None:
    """Whatever their priorities: each has a rate of its own, and neither is slower for the other."""
    lanes = Lanes()
    for seq in range(3):
        lanes.add(item(f"a{seq}", f"100/ana-{seq}", seq, Priority.BULK))
        lanes.add(item(f"b{seq}", f"200/ana-{seq}", 10 + seq, Priority.REPLY))
    assert drain(lanes) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_slash_in_a_groups_id_is_no_number() -> None:
    """Meta's ids of groups are base64, which has slashes."""
    assert item("a", "Y2FwaV9/ncm91cDox").number == ""
    assert item("a", "106540352242922/+5215512345678").number == "106540352242922"


# --- workers --------------------------------------------------------------------------------------


async def test_workers_exist_only_while_there_is_work() -> None:
    """An idle session costs no task."""
    lanes = Lanes()
    done: list[str] = []

    async def work(pending: Pending) -> None:
        await trio.lowlevel.checkpoint()
        done.append(pending.message_id)
        lanes.done(pending)

    workers = Workers(lanes, work, concurrency=2)
    async with trio.open_nursery() as nursery:
        workers.wake(nursery)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 0
        lanes.add(item("a1"))
        workers.wake(nursery)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 0
        lanes.add(item("a2"))
        workers.wake(nursery)
    assert done == ["a1", "a2"]


async def test_no_more_than_the_concurrency_are_in_hand() -> None:
    """The bound holds however many chats have something to do."""
    lanes = Lanes()
    in_hand = most = 0

    async def work(pending: Pending) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        await trio.lowlevel.checkpoint()
        in_hand -= 1
        lanes.done(pending)

    workers = Workers(lanes, work, concurrency=3)
    for seq in range(20):
        lanes.add(item(str(seq), f"chat-{seq}", seq))
    async with trio.open_nursery() as nursery:
        workers.wake(nursery)
    assert most == 3


async def test_one_bad_item_does_not_make_the_others_ambiguous() -> None:
    """Those in hand finish before the crash goes on, and nothing new is taken."""
    lanes = Lanes()
    release = trio.Event()
    finished: list[str] = []

    async def work(pending: Pending) -> None:
        if pending.message_id == "bad":
            raise RuntimeError("a bug")
        await release.wait()
        finished.append(pending.message_id)
        lanes.done(pending)

    workers = Workers(lanes, work, concurrency=2)
    lanes.add(item("good", "ana", 1))
    lanes.add(item("bad", "bea", 2))
    lanes.add(item("next", "eva", 3))
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            workers.wake(nursery)
            await wait_all_tasks_blocked()
            release.set()
    assert finished == ["good"]


async def test_stop_waits_for_what_is_in_hand_and_takes_nothing_new(autojump_clock: MockClock) -> None:
    """Draining: what was begun ends, what was not stays."""
    lanes = Lanes()
    finished: list[str] = []

    async def work(pending: Pending) -> None:
        await trio.sleep(5)
        finished.append(pending.message_id)
        lanes.done(pending)

    workers = Workers(lanes, work, concurrency=1)
    lanes.add(item("a1", "ana", 1))
    lanes.add(item("a2", "ana", 2))
    async with trio.open_nursery() as nursery:
        workers.wake(nursery)
        await trio.sleep(1)
        await workers.stop()
        assert finished == ["a1"]
        assert trio.current_time() == 5.0
        workers.start()
        workers.wake(nursery)
    assert finished == ["a1", "a2"]


async def test_the_gate_holds_everything_until_its_time(autojump_clock: MockClock) -> None:
    """A pause of the whole session: nothing is taken before it ends, and no loop spins meanwhile."""
    lanes = Lanes()
    at: list[float] = []
    looks = 0

    async def work(pending: Pending) -> None:
        at.append(trio.current_time())
        lanes.done(pending)

    def gate(now: float) -> float:
        nonlocal looks
        looks += 1
        return max(0.0, 7.0 - now)

    workers = Workers(lanes, work, concurrency=1, gate=gate)
    lanes.add(item("a1"))
    async with trio.open_nursery() as nursery:
        workers.wake(nursery)
    assert at == [7.0]
    assert looks <= 3


def test_an_item_may_leave_and_come_back() -> None:
    """It goes once, at its old place, whatever its first stay left behind."""
    lanes = Lanes()
    lanes.add(item("a1", "ana", 1))
    lanes.add(item("a2", "ana", 2))
    lanes.remove(MessageId("a1"))
    lanes.add(item("a1", "ana", 1))
    assert drain(lanes) == ["a1", "a2"]
    assert len(lanes) == 0
