"""The choice among a shop's sessions: who is able, whose the conversation is, and what the policy prefers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wad.metrics import CHOSEN, POLICIES
from wad.models import ChatId, DesiredState, SessionState
from wad.supervisor.balancer import (
    FOR_EVER,
    WINDOW,
    Candidate,
    Choice,
    Policy,
    Question,
    Said,
    Why,
    choose,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ASKED = Question(chat=ChatId("+5215512345678"))
EQUAL = Policy()
ABLE = Candidate(session_id="a")
replace = msgspec.structs.replace


def told(choice: Choice) -> dict[str, str]:
    """Each session's word; the chosen one's with a star."""
    words = {each.session_id: str(each.why) for each in choice.others}
    return words | ({choice.chosen.session_id: f"*{choice.chosen.why}"} if choice.chosen else {})


def pick(*candidates: Candidate, asked: Question = ASKED, policy: Policy = EQUAL) -> dict[str, str]:
    return told(choose(candidates, asked, policy, NOW))


# --- who is able ------------------------------------------------------------------------------------

UNABLE = [
    ("a provider that has no such message", {"problem": Said(Why.NOT_SUPPORTED)}, Why.NOT_SUPPORTED),
    ("too long for the provider", {"problem": Said(Why.INVALID)}, Why.INVALID),
    ("it quotes another session's message", {"problem": Said(Why.BELONGS_ELSEWHERE)}, Why.BELONGS_ELSEWHERE),
    ("not in the group", {"in_group": False}, Why.NOT_IN_GROUP),
    ("drained", {"drained": True}, Why.DRAINED),
    ("never written to", {"reply_window": True}, Why.WINDOW_CLOSED),
    ("written to a day ago", {"reply_window": True, "heard_at": NOW - WINDOW}, Why.WINDOW_CLOSED),
    ("a full queue", {"room": 0}, Why.QUEUE_FULL),
    ("pairing", {"state": SessionState.PAIRING}, Why.PAIRING),
    ("bad credentials", {"state": SessionState.BAD_CREDENTIALS}, Why.WAITS_FOR_PERSON),
    ("logged out", {"state": SessionState.LOGGED_OUT}, Why.WAITS_FOR_PERSON),
    ("failed", {"state": SessionState.FAILED}, Why.WAITS_FOR_PERSON),
    ("disconnected", {"state": SessionState.DISCONNECTED}, Why.DISCONNECTED),
    ("about to be disconnected", {"desired": DesiredState.DISCONNECTED}, Why.DISCONNECTED),
    ("an open breaker", {"breaker_open": True}, Why.BREAKER_OPEN),
]


@pytest.mark.parametrize(("facts", "why"), [row[1:] for row in UNABLE], ids=[row[0] for row in UNABLE])
def test_who_is_not_able_is_passed_over(facts, why):
    """Even where the conversation is theirs, and the other is not connected yet."""
    unable = Candidate(session_id="b", **{"heard_at": NOW - 30 * HOUR, **facts})
    able = replace(ABLE, state=SessionState.CONNECTING)
    assert pick(able, unable) == {"a": "*only_one", "b": why}


WINDOWS = [
    ("free-form within a day", {"heard_at": NOW - 23 * HOUR}, ASKED, True),
    ("free-form after a day", {"heard_at": NOW - 25 * HOUR}, ASKED, False),
    ("a template at any time", {}, replace(ASKED, free_form=False), True),
    ("to a group at any time", {"in_group": True}, ASKED, True),
]


@pytest.mark.parametrize(
    ("facts", "asked", "is_able"), [row[1:] for row in WINDOWS], ids=[row[0] for row in WINDOWS]
)
def test_the_reply_window_holds_for_free_form_content_to_a_person(facts, asked, is_able):
    """Where the provider has one."""
    one = Candidate(session_id="a", reply_window=True, **facts)
    assert (choose([one], asked, EQUAL, NOW).chosen is not None) is is_able
    assert choose([replace(one, reply_window=False)], asked, EQUAL, NOW).chosen is not None


def test_what_heals_by_itself_takes_messages_when_nobody_can_send_now():
    """As a session does that is named: the message waits, and goes out when it can."""
    down = replace(ABLE, breaker_open=True, session_id="down")
    gone = replace(ABLE, state=SessionState.LOGGED_OUT, session_id="gone")
    assert pick(down, gone) == {"down": "*heals_by_itself", "gone": "waits_for_person"}


def test_what_waits_for_a_person_takes_messages_that_ask_to_be_queued():
    """`"queue": true` overlooks what a person will mend; never what makes the message itself impossible."""
    gone = replace(ABLE, state=SessionState.LOGGED_OUT, session_id="gone")
    other = replace(ABLE, problem=Said(Why.NOT_SUPPORTED), session_id="other")
    assert pick(gone, other) == {"gone": "waits_for_person", "other": "not_supported"}
    asked = replace(ASKED, queue=True)
    assert pick(gone, other, asked=asked) == {"gone": "*queued_as_asked", "other": "not_supported"}


def test_a_choice_is_hopeless_where_no_waiting_helps():
    """Then it is the request that is wrong."""
    never = replace(ABLE, problem=Said(Why.NOT_SUPPORTED))
    later = replace(ABLE, session_id="b", room=0)
    assert choose([never], ASKED, EQUAL, NOW).hopeless
    assert not choose([never, later], ASKED, EQUAL, NOW).hopeless


# --- whose the conversation is ----------------------------------------------------------------------

A, B = Candidate(session_id="a"), Candidate(session_id="b")
CHEAP_A = Policy(name="cheapest", costs={"a": 1, "b": 2})

KEPT = [
    ("the number that the customer wrote to", {"heard": HOUR}, EQUAL, "customer_wrote_to_it"),
    ("whatever it costs", {"heard": HOUR}, CHEAP_A, "customer_wrote_to_it"),
    ("long ago, where the policy is sticky", {"heard": 99 * HOUR}, EQUAL, "customer_wrote_to_it"),
    ("long ago, where it is not", {"heard": 99 * HOUR}, CHEAP_A, None),
    ("the number that wrote to the customer", {"wrote": HOUR}, EQUAL, "wrote_to_customer"),
    ("today, whatever it costs", {"wrote": HOUR}, CHEAP_A, "wrote_to_customer"),
    ("long ago, where the policy is sticky, too", {"wrote": 99 * HOUR}, EQUAL, "wrote_to_customer"),
    ("long ago, where it is not, neither", {"wrote": 99 * HOUR}, CHEAP_A, None),
]


@pytest.mark.parametrize(("ago", "policy", "why"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_a_conversation_stays_on_its_number(ago, policy, why):
    """`sticky` keeps it for good; the other policies while the customer may be answered freely."""
    b = replace(B, heard_at=NOW - ago["heard"] if "heard" in ago else None)
    asked = replace(ASKED, wrote=("b", NOW - ago["wrote"]) if "wrote" in ago else None)
    answer = pick(A, b, asked=asked, policy=policy)
    assert answer == (
        {"a": "*cost", "b": "dearer"} if why is None else {"a": "conversation_elsewhere", "b": f"*{why}"}
    )


def test_what_the_customer_wrote_comes_before_what_was_written_to_them():
    """However much later that was."""
    asked = replace(ASKED, wrote=("a", NOW))
    assert pick(A, replace(B, heard_at=NOW - HOUR), asked=asked)["b"] == "*customer_wrote_to_it"


def test_the_latest_of_several_numbers_counts():
    """A customer who wrote to both goes on where they wrote last."""
    a, b = replace(A, heard_at=NOW - HOUR), replace(B, heard_at=NOW - 2 * HOUR)
    assert pick(a, b) == {"a": "*customer_wrote_to_it", "b": "conversation_elsewhere"}


def test_a_conversation_goes_elsewhere_while_its_number_cannot_send():
    """And comes back with it."""
    gone = replace(B, heard_at=NOW - HOUR, state=SessionState.BAD_CREDENTIALS)
    assert pick(A, gone) == {"a": "*only_one", "b": "waits_for_person"}
    assert pick(A, replace(gone, state=SessionState.CONNECTED))["b"] == "*customer_wrote_to_it"


# --- what the policy prefers ------------------------------------------------------------------------

PREFERRED = [
    ("the first in the order", Policy(name="priority", order=("b", "a")), ("priority", "later_in_order")),
    ("one in the order", Policy(name="priority", order=("b",)), ("priority", "later_in_order")),
    ("the cheapest", Policy(name="cheapest", costs={"a": 2, "b": 1}), ("cost", "dearer")),
    ("one whose cost is known", Policy(name="cheapest", costs={"b": 9}), ("cost", "dearer")),
    ("all the weight", Policy(name="weighted", weights={"a": 0}), ("weight", "less_weight")),
    ("all the weight of sticky", Policy(weights={"a": 0, "b": 2}), ("weight", "less_weight")),
]


@pytest.mark.parametrize(
    ("policy", "words"), [row[1:] for row in PREFERRED], ids=[row[0] for row in PREFERRED]
)
def test_a_policy_prefers(policy, words):
    """Where nothing else tells the two apart."""
    assert pick(A, B, policy=policy) == {"b": f"*{words[0]}", "a": words[1]}


@pytest.mark.parametrize(
    ("policy", "words"), [row[1:] for row in PREFERRED], ids=[row[0] for row in PREFERRED]
)
@pytest.mark.parametrize(
    ("facts", "why"),
    [
        pytest.param({"state": SessionState.CONNECTING}, "not_connected_yet", id="connecting"),
        pytest.param({"state": SessionState.DEGRADED}, "not_connected_yet", id="degraded"),
        pytest.param({"delay": 10.0}, "behind", id="its rate is used up"),
        pytest.param({"queue_age": 60.0}, "behind", id="its queue is old"),
    ],
)
def test_readiness_comes_before_the_policy(policy, words, facts, why):
    """A message that would wait is given to one that sends it now."""
    assert pick(A, replace(B, **facts), policy=policy) == {"a": f"*{words[0]}", "b": why}


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        pytest.param(
            {"delay": 12.0, "queue_age": 300.0}, "its next message would wait for about 12 s", id="its rate"
        ),
        pytest.param({"queue_age": 266.0}, "its oldest message has waited for 266 s", id="its queue"),
    ],
)
def test_who_is_behind_says_by_what(facts, detail):
    """What has waited so long is something else than what a new message would wait."""
    choice = choose((A, replace(B, **facts)), ASKED, Policy(), NOW)
    assert [each.detail for each in choice.others] == [detail]


def shares(policy: Policy, *candidates: Candidate, chats: int = 4000) -> Counter[str]:
    """How many of so many customers each session gets."""
    asked = (replace(ASKED, chat=ChatId(f"+52155{n:08}")) for n in range(chats))
    chosen = (choose(candidates, each, policy, NOW).chosen for each in asked)
    return Counter(each.session_id for each in chosen if each)


def test_conversations_are_shared_by_weight():
    """Within a few in a hundred, over many customers."""
    got = shares(Policy(name="weighted", weights={"a": 3}), A, B)
    assert got["a"] / got.total() == pytest.approx(3 / 4, abs=0.03)


def test_a_share_comes_back_with_its_session():
    """Only the conversations of the one that went are spread, over all of the others; then it has the same ones again."""
    c = Candidate(session_id="c")
    asked = [replace(ASKED, chat=ChatId(f"+52155{n:08}")) for n in range(600)]

    def owners(*candidates: Candidate) -> list[str]:
        return [choose(candidates, each, EQUAL, NOW).chosen.session_id for each in asked]

    before = owners(A, B, c)
    while_b_is_away = owners(A, replace(B, breaker_open=True), c)
    moved = [new for old, new in zip(before, while_b_is_away, strict=True) if old != new]
    assert {old for old, new in zip(before, while_b_is_away, strict=True) if old != new} == {"b"}
    assert set(moved) == {"a", "c"}
    assert owners(A, B, c) == before


# --- what holds always ------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "d"])
ages = st.none() | st.integers(0, 72).map(lambda hours: NOW - timedelta(hours=hours))
candidates = st.builds(
    Candidate,
    session_id=names,
    state=st.sampled_from([SessionState.CONNECTED] * 5 + list(SessionState)),
    desired=st.sampled_from([DesiredState.CONNECTED] * 3 + list(DesiredState)),
    drained=st.sampled_from([False, False, False, True]),
    breaker_open=st.sampled_from([False, False, True]),
    room=st.integers(0, 3),
    delay=st.sampled_from([0.0, 3.0, 30.0]),
    queue_age=st.sampled_from([0.0, 120.0]),
    problem=st.sampled_from([None] * 5 + [Said(why) for why in FOR_EVER]),
    reply_window=st.booleans(),
    heard_at=ages,
    in_group=st.sampled_from([None, None, True, False]),
)
shops = st.lists(candidates, min_size=1, max_size=4, unique_by=lambda one: one.session_id)
questions = st.builds(
    Question,
    chat=st.text(min_size=1, max_size=4),
    free_form=st.booleans(),
    queue=st.booleans(),
    wrote=st.none() | st.tuples(names, ages.filter(bool)),
)
numbers = st.dictionaries(names, st.sampled_from([0.0, 0.5, 3.0]), max_size=4)
policies = st.builds(
    Policy,
    name=st.sampled_from(POLICIES),
    weights=numbers,
    order=st.permutations(["a", "b", "c"]),
    costs=numbers,
)


def is_able(one: Candidate, asked: Question) -> bool:
    """Told anew, in other words than the balancer's."""
    window = one.heard_at is not None and one.heard_at > NOW - timedelta(hours=24)
    return (
        one.state in {"connected", "connecting", "degraded", "created"}
        and one.desired == "connected"
        and not (one.drained or one.breaker_open or one.problem or one.in_group is False)
        and one.room > 0
        and (window or not one.reply_window or not asked.free_form or one.in_group is True)
    )


@given(shop=shops, asked=questions, policy=policies)
def test_nobody_is_chosen_who_is_not_able_while_another_is(shop, asked, policy):
    """And where none is, only whom waiting helps."""
    chosen = choose(shop, asked, policy, NOW).chosen
    able = {one.session_id for one in shop if is_able(one, asked)}
    if able:
        assert chosen is not None
        assert chosen.session_id in able
    elif chosen is not None:
        assert chosen.why in (Why.HEALS_BY_ITSELF, Why.QUEUED_AS_ASKED)
        [one] = [each for each in shop if each.session_id == chosen.session_id]
        assert one.problem is None
        assert not one.drained
        assert one.room > 0


@given(shop=shops, asked=questions, policy=policies, seed=st.randoms())
def test_the_choice_is_the_same_in_whatever_order_the_facts_come(shop, asked, policy, seed):
    """No luck and no memory are in it."""
    shuffled = seed.sample(shop, len(shop))
    assert told(choose(shop, asked, policy, NOW)) == told(choose(shuffled, asked, policy, NOW))


@given(shop=shops, asked=questions, policy=policies)
def test_every_session_has_its_word(shop, asked, policy):
    """One each: the chosen why it was chosen, the others why not."""
    choice = choose(shop, asked, policy, NOW)
    others = [each.session_id for each in choice.others]
    assert sorted([*others, *([choice.chosen.session_id] if choice.chosen else [])]) == sorted(
        one.session_id for one in shop
    )
    assert choice.chosen is None or choice.chosen.why in CHOSEN
    assert not {str(each.why) for each in choice.others} & {"heals_by_itself", "queued_as_asked", "only_one"}


@given(shop=shops, asked=questions, policy=policies)
def test_whom_the_customer_wrote_to_last_is_chosen_while_able(shop, asked, policy):
    """Whatever else speaks for the others."""
    able = [one for one in shop if is_able(one, asked)]
    since = NOW - timedelta(days=99 if policy.name == "sticky" else 1)
    heard = [(one.heard_at, one.session_id) for one in able if one.heard_at and one.heard_at > since]
    if heard:
        chosen = choose(shop, asked, policy, NOW).chosen
        assert (chosen.session_id, chosen.why) == (max(heard)[1], Why.CUSTOMER_WROTE_TO_IT)
