"""Which of a shop's numbers sends a message: one decision, made of facts that somebody else has gathered.

    able?          content, state, breaker, drained, room, the customer's 24-hour window, the group's members
    conversation   the number that the customer wrote to last, else the one that wrote to the customer last
    readiness      connected and keeping up, before one that is behind, before one that is not connected yet
    policy         weights, an order, or costs; between equals the customer's own draw

A synchronous module: it takes the time as an argument, decides, and never waits. The same facts give the same answer,
on every node and after every restart: what is random elsewhere is drawn here from a hash of the conversation, so that
a customer has a number, numbers have their shares, and one that comes back gets its share back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf, log
from typing import Final, Literal, TypeAlias

import msgspec

from wad.models import ChatId, DesiredState, SessionId, SessionState

#: How long WhatsApp takes free-form content after a customer wrote, and how long any policy keeps a conversation.
WINDOW: Final = timedelta(hours=24)
#: A number is behind whose next message would wait so long for its rate and its queue, or whose oldest one has.
BEHIND: Final = 10.0
OLD: Final = 60.0

PolicyName: TypeAlias = Literal["sticky", "weighted", "priority", "cheapest"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a shop's numbers share its work. What it says of sessions that are not in the shop means nothing."""

    name: PolicyName = "sticky"
    weights: Mapping[SessionId, float] = {}  # 1 where a session is not named; 0 is for when no other can
    order: Sequence[SessionId] = ()  # those that are not named come last
    costs: Mapping[SessionId, float] = {}  # those that are not named come last


class Why(StrEnum):
    """Why a session was chosen, or was not. Public words: the API shows them."""

    # --- chosen, or why it was better than the others
    CUSTOMER_WROTE_TO_IT = "customer_wrote_to_it"
    WROTE_TO_CUSTOMER = "wrote_to_customer"
    WEIGHT = "weight"
    PRIORITY = "priority"
    COST = "cost"
    ONLY_ONE = "only_one"  # no other is able
    HEALS_BY_ITSELF = "heals_by_itself"  # none can send now; this one will be able to, without a person
    QUEUED_AS_ASKED = "queued_as_asked"  # none can send, and the body said "queue": true

    # --- able, and not chosen
    CONVERSATION_ELSEWHERE = "conversation_elsewhere"
    NOT_CONNECTED_YET = "not_connected_yet"
    BEHIND = "behind"
    LESS_WEIGHT = "less_weight"
    LATER_IN_ORDER = "later_in_order"
    DEARER = "dearer"

    # --- not able, until something changes
    BREAKER_OPEN = "breaker_open"
    PAIRING = "pairing"
    WAITS_FOR_PERSON = "waits_for_person"
    DISCONNECTED = "disconnected"
    DRAINED = "drained"
    QUEUE_FULL = "queue_full"
    WINDOW_CLOSED = "window_closed"
    NOT_IN_GROUP = "not_in_group"
    ATTEMPTS_FAILED = "attempts_failed"  # it tried, and the message did not go out

    # --- not able, as the message stands
    NOT_SUPPORTED = "not_supported"
    INVALID = "invalid_request"
    BELONGS_ELSEWHERE = "belongs_elsewhere"  # it quotes, reacts to, or holds what only another session knows


#: What is said of one that could have been chosen as well.
ABLE: Final = frozenset(
    {
        Why.CONVERSATION_ELSEWHERE,
        Why.NOT_CONNECTED_YET,
        Why.BEHIND,
        Why.LESS_WEIGHT,
        Why.LATER_IN_ORDER,
        Why.DEARER,
    }
)
#: What no waiting changes.
FOR_EVER: Final = frozenset({Why.NOT_SUPPORTED, Why.INVALID, Why.BELONGS_ELSEWHERE})
#: What passes by itself: the session takes messages meanwhile, if no other is able.
HEALS: Final = frozenset({Why.BREAKER_OPEN})
#: What a body's `"queue": true` overlooks.
WAITS: Final = frozenset({Why.BREAKER_OPEN, Why.PAIRING, Why.WAITS_FOR_PERSON, Why.DISCONNECTED})

#: States in which a session takes messages, and sends them once it can.
_NOT_YET: Final = frozenset({SessionState.CREATED, SessionState.CONNECTING, SessionState.DEGRADED})


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """One word on a session. `detail` is for people."""

    why: Why
    detail: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One session of the shop, as far as the message in question goes."""

    session_id: SessionId
    state: SessionState = SessionState.CONNECTED
    desired: DesiredState = DesiredState.CONNECTED
    detail: str = ""  # of the state's reason
    drained: bool = False
    breaker_open: bool = False
    room: int = 1  # how many more messages its queue takes
    delay: float = 0.0  # seconds until a message taken now would go out, by its rate and its queue
    queue_age: float = 0.0  # seconds that its oldest message has waited
    problem: Said | None = None  # what is wrong with this message for this session
    reply_window: bool = False  # whether it takes free-form content only from who wrote within 24 h
    heard_at: datetime | None = None  # when the customer last wrote to it
    in_group: bool | None = None  # None: the message is for a person


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of the message itself."""

    chat: ChatId
    free_form: bool = True  # no template
    queue: bool = False
    #: The session that last wrote to this chat, and when.
    wrote: tuple[SessionId, datetime] | None = None


class Judged(msgspec.Struct, frozen=True):
    session_id: SessionId
    why: Why
    detail: str = ""


class Choice(msgspec.Struct, frozen=True):
    """The session chosen, or None; and why each of the others was not."""

    policy: PolicyName
    chosen: Judged | None
    others: tuple[Judged, ...]

    @property
    def hopeless(self) -> bool:
        """Whether none will ever be able to send it as it stands."""
        return self.chosen is None and all(each.why in FOR_EVER for each in self.others)


def choose(candidates: Sequence[Candidate], question: Question, policy: Policy, now: datetime) -> Choice:
    """Choose among *candidates*, which have distinct ids."""
    said = {each.session_id: _unable(each, question, now) for each in candidates}
    able = [each for each in candidates if said[each.session_id] is None]
    chosen: Judged | None = None
    if able:
        chosen = _best(able, question, policy, now)
    elif waiting := list(_waiting(candidates, said, question)):
        best = _ranked(waiting, question, policy)[0]
        why = Why.HEALS_BY_ITSELF if _heals(said[best.session_id]) else Why.QUEUED_AS_ASKED
        chosen = Judged(best.session_id, why, _told(said[best.session_id]))
    winner = next((each for each in candidates if chosen and each.session_id == chosen.session_id), None)
    others = tuple(
        _judged(each, said[each.session_id], winner, chosen, policy)
        for each in candidates
        if each is not winner
    )
    return Choice(policy.name, chosen, others)


# --- who is able ------------------------------------------------------------------------------------


def _unable(one: Candidate, question: Question, now: datetime) -> Said | None:
    """Why *one* cannot take the message; None where it can. What can never be comes first."""
    if one.problem is not None:
        return one.problem
    if one.in_group is False:
        return Said(Why.NOT_IN_GROUP)
    if one.drained:
        return Said(Why.DRAINED)
    if one.reply_window and question.free_form and one.in_group is None and not _window_open(one, now):
        return Said(
            Why.WINDOW_CLOSED, "only a template may be sent: the customer has not written to it for 24 h"
        )
    if one.room < 1:
        return Said(Why.QUEUE_FULL)
    if one.state is SessionState.PAIRING:
        return Said(Why.PAIRING)
    if one.state not in _NOT_YET and one.state not in (SessionState.CONNECTED, SessionState.DISCONNECTED):
        return Said(Why.WAITS_FOR_PERSON, f"{one.state}: {one.detail}" if one.detail else str(one.state))
    if one.desired is DesiredState.DISCONNECTED or one.state is SessionState.DISCONNECTED:
        return Said(Why.DISCONNECTED)
    if one.breaker_open:
        return Said(Why.BREAKER_OPEN, "too many calls to its provider failed")
    return None


def _window_open(one: Candidate, now: datetime) -> bool:
    return one.heard_at is not None and now - one.heard_at < WINDOW


def _waiting(
    candidates: Sequence[Candidate], said: Mapping[SessionId, Said | None], question: Question
) -> Iterator[Candidate]:
    """Those that may take it although they cannot send it: what heals by itself, before what waits for a person."""
    for reasons in (HEALS, WAITS if question.queue else HEALS):
        found = [one for one in candidates if (why := said[one.session_id]) and why.why in reasons]
        if found:
            yield from found
            return


def _heals(said: Said | None) -> bool:
    return said is not None and said.why in HEALS


def _told(said: Said | None) -> str:
    return "" if said is None else said.detail or str(said.why)


# --- who is best ------------------------------------------------------------------------------------


def _best(able: Sequence[Candidate], question: Question, policy: Policy, now: datetime) -> Judged:
    if (kept := _conversation(able, question, policy, now)) is not None:
        return kept
    best = _ranked(able, question, policy)[0]
    return Judged(best.session_id, Why.ONLY_ONE if len(able) == 1 else _WORDS[policy.name][0])


def _conversation(
    able: Sequence[Candidate], question: Question, policy: Policy, now: datetime
) -> Judged | None:
    """Whose the conversation is. `sticky` keeps it for good, the others while the customer may be answered freely."""

    def counts(at: datetime | None) -> bool:
        return at is not None and (policy.name == "sticky" or now - at < WINDOW)

    heard = [(one.heard_at, one.session_id) for one in able if one.heard_at is not None]
    if heard and counts(max(heard)[0]):
        return Judged(max(heard)[1], Why.CUSTOMER_WROTE_TO_IT)
    if question.wrote is not None and counts(question.wrote[1]):
        for one in able:
            if one.session_id == question.wrote[0]:
                return Judged(one.session_id, Why.WROTE_TO_CUSTOMER)
    return None


def _ranked(able: Sequence[Candidate], question: Question, policy: Policy) -> list[Candidate]:
    return sorted(
        able,
        key=lambda one: (
            _readiness(one),
            _preference(one, policy),
            -_draw(one, question.chat, policy),
            one.session_id,
        ),
    )


def _readiness(one: Candidate) -> int:
    if one.state is not SessionState.CONNECTED:
        return 2
    return 1 if one.delay >= BEHIND or one.queue_age >= OLD else 0


def _preference(one: Candidate, policy: Policy) -> float:
    """What comes before the draw: lower is better."""
    match policy.name:
        case "priority":
            return policy.order.index(one.session_id) if one.session_id in policy.order else len(policy.order)
        case "cheapest":
            return policy.costs.get(one.session_id, inf)
        case "sticky" | "weighted":
            return 0.0 if _weight(one, policy) > 0 else 1.0


def _lag(one: Candidate) -> str:
    if one.delay >= BEHIND:
        return f"its next message would wait for about {one.delay:.0f} s"
    return f"its oldest message has waited for {one.queue_age:.0f} s"


def _weight(one: Candidate, policy: Policy) -> float:
    return policy.weights.get(one.session_id, 1.0)


def _draw(one: Candidate, chat: ChatId, policy: Policy) -> float:
    """Weighted rendezvous hashing: the highest draw wins, and each wins as often as its weight says.

    When a session goes, its conversations spread over the others and no other one moves; when it comes back, so do they.
    """
    digest = hashlib.blake2b(f"{one.session_id}\n{chat}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 0.5) / 2**64
    return -(_weight(one, policy) or 1.0) / log(uniform)


#: What a policy says of who it chose, and of who it did not.
_WORDS: Final[dict[PolicyName, tuple[Why, Why]]] = {
    "sticky": (Why.WEIGHT, Why.LESS_WEIGHT),
    "weighted": (Why.WEIGHT, Why.LESS_WEIGHT),
    "priority": (Why.PRIORITY, Why.LATER_IN_ORDER),
    "cheapest": (Why.COST, Why.DEARER),
}


def _judged(
    one: Candidate, said: Said | None, winner: Candidate | None, chosen: Judged | None, policy: Policy
) -> Judged:
    """Why *one* was not chosen."""
    if said is not None:
        return Judged(one.session_id, said.why, said.detail)
    assert winner is not None, "an able one is always chosen"
    assert chosen is not None
    if chosen.why in (Why.CUSTOMER_WROTE_TO_IT, Why.WROTE_TO_CUSTOMER):
        return Judged(one.session_id, Why.CONVERSATION_ELSEWHERE)
    if _readiness(one) > _readiness(winner):
        if _readiness(one) == 1:
            return Judged(one.session_id, Why.BEHIND, _lag(one))
        return Judged(one.session_id, Why.NOT_CONNECTED_YET, str(one.state))
    return Judged(one.session_id, _WORDS[policy.name][1])
