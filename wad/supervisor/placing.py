"""Finds a session for a message that names a shop: gathers the facts, and has `balancer` decide.

What the store and the providers know is asked for here, before the decision; what the actors know is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import trio

from wad.actors.breaker import BreakerState
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import (
    FieldError,
    InvalidRequest,
    NoAbleSession,
    NotFound,
    NotSupported,
    PassedOver,
    QueueFull,
    WadError,
)
from wad.models import Address, Content, MessageId, Priority, SessionId, ShopId
from wad.providers.base import check_send
from wad.store.store import Store
from wad.supervisor.actors import Actors
from wad.supervisor.balancer import Candidate, Choice, Policy, Question, Said, Why, choose
from wad.supervisor.calls import Calls
from wad.supervisor.numbers import number_for
from wad.supervisor.sending import MEDIA_TYPES, Draft

#: Refusals that `Sending` words better: it knows every bad field, and every reason.
_TOLD_BY_SENDING: Final = frozenset(Why) - {Why.WINDOW_CLOSED, Why.NOT_IN_GROUP}
#: How long it is remembered whether a session is in a group, and how long a provider may take to say so.
_MEMBER_TTL: Final = 300.0
_ASKING: Final = 5.0
_MOST_MEMBERS: Final = 10_000


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """How the sessions of each shop share its work."""

    default: Policy = Policy()
    shops: Mapping[ShopId, Policy] = {}

    def of(self, shop_id: ShopId) -> Policy:
        return self.shops.get(shop_id, self.default)


class Load:
    """What each session holds, and what was placed since: for the messages that are placed together.

    Bulk is told from the rest, which overtakes it: what is not bulk does not wait behind it.
    """

    def __init__(self) -> None:
        self._ages: dict[tuple[SessionId, bool], float] = {}
        self._placed: Counter[tuple[SessionId, bool]] = Counter()

    def add(self, session_id: SessionId, *, bulk: bool) -> None:
        self._placed[session_id, bulk] += 1

    def room(self, actor: SessionActor, *, bulk: bool) -> int:
        """How many more the session takes."""
        return actor.outbox.room(bulk=bulk) - self._placed[actor.session.session_id, bulk]

    def ahead(self, actor: SessionActor, *, bulk: bool) -> int:
        """How many go before the next one."""
        outbox, session_id = actor.outbox, actor.session.session_id
        return sum(
            outbox.waiting(bulk=each) + outbox.arriving[each] + self._placed[session_id, each]
            for each in ((False, True) if bulk else (False,))
        )

    def age(self, actor: SessionActor, *, bulk: bool) -> float:
        key = actor.session.session_id, bulk
        if key not in self._ages:
            self._ages[key] = actor.outbox.oldest_seconds(bulk=bulk)
        return self._ages[key]


class Placing:
    """Chooses sessions. Raises NotFound for a shop without any, and NoAbleSession."""

    def __init__(self, services: Services, actors: Actors, calls: Calls, policies: Policies) -> None:
        self._services = services
        self._actors = actors
        self.policies = policies
        self._members = _Members(calls)

    async def place(self, draft: Draft, load: Load) -> tuple[SessionActor, Draft, Choice]:
        """The session for *draft*, and *draft* as it is to be sent from there."""
        assert draft.shop_id is not None
        sessions = self._actors.of_shop(draft.shop_id)
        if not sessions:
            raise NotFound(f"there is no session of shop {draft.shop_id!r}")
        choice = await self.choose(
            draft.shop_id,
            draft.to,
            draft.content,
            load=load,
            queue=draft.queue,
            owner=await self._owner(draft),
            number=draft.number,
            quotes=draft.reply_to is not None,
            bulk=draft.priority is Priority.BULK,
        )
        if choice.chosen is None:
            if not choice.others:  # deleted, all of them, since we looked
                raise NotFound(f"there is no session of shop {draft.shop_id!r}")
            if len(sessions) == 1 and choice.others[0].why in _TOLD_BY_SENDING:
                return sessions[0], msgspec.structs.replace(draft, chosen=Why.ONLY_ONE.value), choice
            raise self._refusal(draft, sessions, choice)
        load.add(choice.chosen.session_id, bulk=draft.priority is Priority.BULK)
        # What is to leave from a number that was named is bound to its session, as if that had been named.
        why = None if draft.number is not None else choice.chosen.why.value
        placed = msgspec.structs.replace(draft, chosen=why)
        return self._actors.get(choice.chosen.session_id), placed, choice

    async def choose(
        self,
        shop_id: ShopId,
        to: Address,
        content: Content,
        *,
        load: Load,
        queue: bool = False,
        owner: SessionId | None = None,
        quotes: bool = False,
        number: str | None = None,
        bulk: bool = False,
        apart: Mapping[SessionId, Said] | None = None,
        usable: Callable[[SessionActor], bool] | None = None,
        patiently: bool = False,
    ) -> Choice:
        """Choose among the shop's *usable* sessions. *owner* is the only one that knows what the message refers to;
        *apart* are those that will not do, for a reason of the caller's. Raises StoreUnavailable, but *patiently*.
        """
        actors = [actor for actor in self._actors.of_shop(shop_id) if usable is None or usable(actor)]
        problems = {
            actor.session.session_id: (apart or {}).get(actor.session.session_id)
            or _problem(actor, to, content, owner=owner, quotes=quotes)
            for actor in actors
        }
        store = self._services.patient if patiently else self._services.store
        for actor in actors if number is not None else ():
            session_id = actor.session.session_id
            problems[session_id] = problems[session_id] or await _no_number(store, actor, number, to)
        talk = await store.conversation(shop_id, list(problems), to)
        in_group: dict[SessionId, bool] = {}
        for actor in actors if to.group_id is not None else ():
            if problems[actor.session.session_id] is None:
                in_group[actor.session.session_id] = await self._members.has(actor, str(to.group_id))
        # Nothing is waited for from here on. A session may have been deleted by now.
        candidates = [
            self._candidate(
                actor,
                load,
                bulk=bulk,
                problem=problems[actor.session.session_id],
                heard_at=talk.heard.get(actor.session.session_id),
                in_group=in_group.get(actor.session.session_id),
            )
            for actor in actors
            if actor.session.session_id in self._actors
        ]
        question = Question(
            chat=to.chat, free_form=content["type"] != "template", queue=queue, wrote=talk.wrote
        )
        return choose(candidates, question, self.policies.of(shop_id), self._services.now())

    def _candidate(self, actor: SessionActor, load: Load, *, bulk: bool, **known: Any) -> Candidate:
        session, outbox, now = actor.session, actor.outbox, trio.current_time()
        state, reason = actor.state(now)
        is_open = outbox.breaker.state(now) in (BreakerState.OPEN, BreakerState.ISOLATED)
        return Candidate(
            session_id=session.session_id,
            state=session.state if is_open else state,
            desired=session.desired_state,
            detail=reason.detail if reason is not None else "",
            drained=session.settings.drained,
            breaker_open=is_open,
            room=load.room(actor, bulk=bulk),
            delay=outbox.pacing.soonest(now) + load.ahead(actor, bulk=bulk) / outbox.pacing.rate,
            queue_age=load.age(actor, bulk=bulk),
            reply_window=actor.kind.capabilities.reply_window,
            **known,
        )

    # --- what the message refers to -----------------------------------------------------------------

    async def _owner(self, draft: Draft) -> SessionId | None:
        """The session that has what the message quotes, reacts to or shows; None where it refers to nothing."""
        store = self._services.store
        kind = draft.content["type"]
        part: Any = draft.content[kind]
        if kind in MEDIA_TYPES and str(part.get("mediaId", "")).startswith("med_"):
            media = await store.media(part["mediaId"])
            if media is not None:
                return SessionId(media.session_id)
        for named in (draft.reply_to, part.get("messageId") if kind == "reaction" else None):
            if named is not None:
                record = await store.inbox_item(MessageId(named)) or await store.message(MessageId(named))
                if record is not None:
                    return record.session_id
        return None

    def _refusal(self, draft: Draft, sessions: Sequence[SessionActor], choice: Choice) -> WadError:
        whys = {each.why for each in choice.others}
        if whys == {Why.QUEUE_FULL}:
            return QueueFull(
                "every session of the shop has as many messages waiting as it may", retry_after=1.0
            )
        if whys == {Why.INVALID} and (errors := check_send(sessions[0].kind, draft.to, draft.content)):
            return InvalidRequest("the message cannot be sent as it is, by any session of the shop", errors)
        told = "; ".join(
            f"{each.session_id}: {each.why}{f' ({each.detail})' if each.detail else ''}"
            for each in choice.others
        )
        return NoAbleSession(
            f"no session of the shop can send it: {told}",
            sessions=[PassedOver(each.session_id, each.why.value, each.detail) for each in choice.others],
            hopeless=choice.hopeless,
        )


def _problem(
    actor: SessionActor, to: Address, content: Content, *, owner: SessionId | None, quotes: bool
) -> Said | None:
    """What is wrong with the message for this session, whatever state it is in."""
    if owner is not None and owner != actor.session.session_id:
        # Which one has it is not said: that may be another shop's.
        return Said(Why.BELONGS_ELSEWHERE, "it refers to what another session has")
    try:
        errors: list[FieldError] = check_send(actor.kind, to, content, quotes=quotes)
    except NotSupported as error:
        return Said(Why.NOT_SUPPORTED, error.detail)
    if errors:
        return Said(Why.INVALID, "; ".join(f"{error.pointer} {error.detail}" for error in errors))
    return None


async def _no_number(store: Store, actor: SessionActor, number: str | None, to: Address) -> Said | None:
    """What is wrong with leaving from *number*: it is another session's."""
    try:
        await number_for(store, actor, asked=number, answers=None, to=to)
    except InvalidRequest as error:
        return Said(
            Why.BELONGS_ELSEWHERE, "; ".join(f"{each.pointer} {each.detail}" for each in error.errors)
        )
    return None


class _Members:
    """Which sessions are in which groups, as their providers said lately."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known: dict[tuple[SessionId, str], tuple[bool, float]] = {}

    async def has(self, actor: SessionActor, group_id: str) -> bool:
        """Whether the session is in the group. One that cannot be asked is not known to be."""
        key = actor.session.session_id, group_id
        is_in, until = self._known.get(key, (False, 0.0))
        if trio.current_time() < until:
            return is_in
        with trio.move_on_after(_ASKING) as scope:
            try:
                await self._calls.group(*key)
                is_in = True
            except NotFound:
                is_in = False
            except WadError:
                return False
        if scope.cancelled_caught:
            return False
        if len(self._known) >= _MOST_MEMBERS:
            self._known.clear()
        self._known[key] = is_in, trio.current_time() + _MEMBER_TTL
        return is_in
