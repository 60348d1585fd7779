"""A provider's webhook: verify, parse, find the sessions it is for, store. Only then may it be answered 200.

A session takes an update only if the body was signed with that session's own secret: whoever knows one
session's secret cannot speak for another. And what an app's own callback brings goes only to sessions that have
proven the account to be theirs: naming somebody else's number is not enough to hear its customers.

Where the store does not take it, the request waits in the spool, as it came (`wad.supervisor.replay`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import trio

from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import InvalidRequest, NotFound, StoreUnavailable, Unauthorized, WadError
from wad.events import MessageReceived
from wad.failpoints import reach
from wad.models import (
    AccountEvent,
    Failure,
    FlowEvent,
    Inbound,
    InboundMessage,
    InboxItem,
    InboxState,
    Session,
    SessionId,
    StatusUpdate,
    WebhookRequest,
    new_message_id,
    new_rev,
    next_seq,
)
from wad.providers.base import ProviderKind, WebhookEvent, Webhooks
from wad.store.spool import Spooled
from wad.supervisor.actors import Actors

#: The session of what is addressed to none of ours: kept, and shown among the dead letters.
NOBODY = SessionId("")

#: Seconds that the store has for what a webhook brings. Providers wait 10 or 15 for their answer.
IN_TIME: Final = 2.0


class WebhookResult(msgspec.Struct, frozen=True):
    """What a stored webhook batch held."""

    messages: int
    statuses: int
    other: int


class _Batch(msgspec.Struct):
    """What webhooks of one provider bring, by the session that it is for."""

    routed: dict[SessionId, list[Inbound]] = msgspec.field(default_factory=lambda: defaultdict(list))
    actors: dict[SessionId, SessionActor] = msgspec.field(default_factory=dict)
    strays: list[WebhookEvent] = []
    result: WebhookResult = WebhookResult(0, 0, 0)

    def add(self, other: _Batch) -> None:
        """Put *other* behind it."""
        for session_id, events in other.routed.items():
            self.routed[session_id] += events
        self.actors |= other.actors
        self.strays += other.strays


class WebhookDesks:
    """Finds the desk of a webhook's provider, and the session that its path names."""

    def __init__(self, services: Services, actors: Actors) -> None:
        self._actors = actors
        self._spool = services.spool
        self._desks = {
            name: _Desk(kind, services, partial(actors.of_account, name), partial(actors.of_kind, name))
            for name, kind in actors.kinds.items()
        }

    def handshake(self, provider: str, session_id: SessionId | None, *, token: str) -> bool:
        """Whether *token* is one agreed for the GET handshake. Raises NotFound."""
        return self._desk(provider).handshake(self._addressed(provider, session_id), token)

    async def take(
        self, provider: str, session_id: SessionId | None, request: WebhookRequest
    ) -> WebhookResult:
        """Verify, parse, and store or spool. Raises Unauthorized, NotFound, StoreUnavailable."""
        desk = self._desk(provider)
        batch = desk.sorted(self._addressed(provider, session_id), request)
        webhook = Spooled(provider=provider, session_id=session_id, request=request, seq=next_seq())
        desk.heard(batch)
        if self._spool is None:
            await desk.store(batch)
        elif self._spool.depth or not await self._stored_in_time(
            desk, batch
        ):  # what came before it goes first
            await self._spool.add(webhook)
            reach("inbound.spooled")
        return batch.result

    async def _stored_in_time(self, desk: _Desk, batch: _Batch) -> bool:
        """Store *batch*; whether it is on disk. A write that takes longer is not waited for: done twice is done once."""
        outcome: list[Exception | None] = []
        ended = trio.Event()

        async def store() -> None:
            try:
                await desk.store(batch)
            except Exception as error:  # noqa: BLE001  handed to the caller; where it waits no more, replaying tells
                outcome.append(error)
            else:
                outcome.append(None)
            finally:
                ended.set()

        self._actors.start_soon(store)
        with trio.move_on_after(IN_TIME):
            await ended.wait()
        match outcome:
            case [None]:
                return True
            case [] | [StoreUnavailable()]:
                return False
            case [Exception() as error]:
                raise error
            case _:
                raise AssertionError(outcome)

    async def take_again(self, webhooks: Sequence[Spooled]) -> None:
        """Store what was spooled, all of it at once. Raises Unauthorized, NotFound, StoreUnavailable."""
        batches: dict[str, _Batch] = {}
        for webhook in webhooks:
            actor = self._addressed(webhook.provider, webhook.session_id)
            batch = self._desk(webhook.provider).sorted(actor, webhook.request)
            batches.setdefault(webhook.provider, _Batch()).add(batch)
        for provider, batch in batches.items():
            await self._desk(provider).store(batch)

    async def set_aside(self, webhook: Spooled, error: Exception) -> None:
        """Keep for nobody what was spooled and cannot be taken in because of *error*. Raises StoreUnavailable."""
        await self._desk(webhook.provider).set_aside(webhook.request, error)

    def receipt(self, provider: str) -> tuple[str, bytes] | None:
        """What a stored request of *provider* is answered with, where it reads the answer (`Webhooks.receipt`)."""
        return self._desk(provider).webhooks.receipt

    async def adopt(self, stray: InboxItem) -> None:
        """Give what came for nobody to the session that has its account by now. Raises NotFound."""
        await self._desk(stray.provider).adopt(stray)

    def _desk(self, provider: str) -> _Desk:
        desk = self._desks.get(provider)
        if desk is None:
            raise NotFound(f"there are no webhooks of {provider!r}")
        return desk

    def _addressed(self, provider: str, session_id: SessionId | None) -> SessionActor | None:
        if session_id is None:
            return None
        actor = self._actors.get(session_id)
        if actor.session.as_of(provider) is None:
            raise NotFound(f"there is no {provider} session {session_id!r}")
        return actor


class _Desk:
    """Takes in the webhooks of one provider kind."""

    def __init__(
        self,
        kind: ProviderKind,
        services: Services,
        by_account: Callable[[str], Iterable[SessionActor]],
        all_of_kind: Callable[[], Iterable[SessionActor]],
    ) -> None:
        """*by_account* finds the living sessions that the provider names so."""
        self._kind = kind
        self._services = services
        self._by_account = by_account
        self._all = all_of_kind

    def handshake(self, actor: SessionActor | None, token: str) -> bool:
        """Whether *token* is one agreed for the GET handshake: the session's, or for an app's own callback any.

        It only says that we are who the app's owner means; what a POST may do, its signature decides.
        """
        sessions = [self._seen(actor)] if actor else [None, *(each.session for each in self._all())]
        expected = {self._kind.verify_token(session) for session in sessions} - {None}
        return any(hmac.compare_digest(str(one).encode(), token.encode()) for one in expected)

    @property
    def webhooks(self) -> Webhooks:
        """Raises NotFound where the kind has none."""
        if self._kind.webhooks is None:
            raise NotFound(f"{self._kind.name} has no webhooks")
        return self._kind.webhooks

    def sorted(self, actor: SessionActor | None, request: WebhookRequest) -> _Batch:
        """What *request* brings to whom. Raises Unauthorized (bad signature).

        What is signed, but is not what the provider sends at all, is kept as it is: refusing it would only bring
        it back for days.
        """
        events, secrets = self._verified(self.webhooks, actor, request)
        batch = _Batch(result=_counted(event.event for event in events))
        for event in events:
            mine = [to for to in self._recipients(actor, event) if self._secret_of(to) in secrets]
            if not mine:
                batch.strays.append(event)
            for to in mine:
                batch.actors[to.session.session_id] = to
                batch.routed[to.session.session_id].append(event.event)
        return batch

    def heard(self, batch: _Batch) -> None:
        """Have the sessions know that something came, wherever it is stored."""
        for session_id, events in batch.routed.items():
            batch.actors[session_id].heard(self._kind.name, events)

    async def store(self, batch: _Batch) -> None:
        """Store all of *batch*. On return it is on disk. Raises StoreUnavailable."""
        for session_id, events in batch.routed.items():
            await batch.actors[session_id].take_in(self._kind.name, events)
        await self._keep_strays(batch.strays)

    async def set_aside(self, request: WebhookRequest, error: Exception) -> None:
        # A bug may be in the parsing: then only the text is safe to keep.
        why = (
            error
            if isinstance(error, WadError)
            else InvalidRequest(f"wad crashed on it: {type(error).__name__}")
        )
        events = [WebhookEvent(account=None, event=_unparseable(request.body, why))]
        if isinstance(error, Unauthorized | NotFound):
            with suppress(InvalidRequest):
                events = self.webhooks.parse(request)
        await self._keep_strays(events)

    def _verified(
        self, webhooks: Webhooks, actor: SessionActor | None, request: WebhookRequest
    ) -> tuple[list[WebhookEvent], set[str]]:
        """The events of *request*, and the secrets that it proves knowledge of."""
        configured = self._kind.webhook_secret(self._seen(actor) if actor else None)
        proven = {s for s in (configured,) if s is not None and webhooks.verify(request, secret=s)}
        try:
            events = webhooks.parse(request)
        except InvalidRequest as error:
            if not proven:
                raise Unauthorized("the signature does not fit the body", code="bad_signature") from error
            return [WebhookEvent(account=None, event=_unparseable(request.body, error))], proven
        if actor is None:
            named = {event.account for event in events} - {None}
            own = {self._secret_of(to) for account in named for to in self._by_account(str(account))}
            others = own - proven - {configured, None}
            proven |= {s for s in others if s is not None and webhooks.verify(request, secret=s)}
        if not proven:
            raise Unauthorized("the signature does not fit the body", code="bad_signature")
        return events, proven

    def _secret_of(self, actor: SessionActor) -> str | None:
        return self._kind.webhook_secret(self._seen(actor))

    def _seen(self, actor: SessionActor) -> Session:
        """*actor*'s session as this provider knows it, or knew it before a change."""
        return actor.session.as_of(self._kind.name) or actor.session

    def _is_proven(self, actor: SessionActor) -> bool:
        return actor.is_proven or actor.session.provider != self._kind.name  # `move` saw to it

    def _recipients(self, actor: SessionActor | None, event: WebhookEvent) -> list[SessionActor]:
        if actor is not None:
            account = self._kind.account_of(self._seen(actor).credentials)
            return [actor] if event.account in (None, account) else []
        if event.account is not None:
            return [each for each in self._by_account(event.account) if self._is_proven(each)]
        return [each for each in self._all() if each.is_proven and _concerns(event, each.session)]

    async def adopt(self, stray: InboxItem) -> None:
        """Give what came for nobody to the session that has its account by now. NotFound where none has."""
        account = stray.error.provider_code if stray.error else None
        if isinstance(stray.event, FlowEvent) or account is None:
            raise NotFound("nobody knows which account it was for")
        actors = [actor for actor in self._by_account(account) if self._is_proven(actor)]
        if not actors:
            raise NotFound(
                f"no connected {self._kind.name} session has the account {account}: create it first"
            )
        for actor in actors:
            await actor.received([stray.event])

    async def _keep_strays(self, strays: list[WebhookEvent]) -> None:
        """Nothing that was answered 200 is lost, even what no session of ours can use."""
        now = self._services.now()
        items = [
            InboxItem(
                message_id=new_message_id(),
                session_id=NOBODY,
                provider=self._kind.name,
                event=stray.event,
                seq=next_seq(),
                received_at=now,
                expires_at=now,
                state=InboxState.DEAD if isinstance(stray.event, InboundMessage) else InboxState.DONE,
                error=Failure(
                    "no_session", "no session of this gateway has that account", stray.account, retryable=True
                ),
                rev=new_rev(),
            )
            for stray in strays
            if not isinstance(
                stray.event, StatusUpdate
            )  # of messages that another gateway sent: nothing of ours
        ]
        if items:
            fresh = await self._services.store.add_inbox(items)
            for item, new in zip(items, fresh, strict=True):
                if new:
                    self._services.events.publish(MessageReceived(item))


def _concerns(event: WebhookEvent, session: Session) -> bool:
    """Whether an event that names no account is about the session's number, or about its whole business."""
    if event.phone_number is not None:
        return event.phone_number == session.phone_number
    return event.business is not None and event.business == session.connection_data.get("wabaId")


def _unparseable(body: bytes, error: WadError) -> AccountEvent:
    digest = hashlib.sha256(body).hexdigest()
    text = body.decode("utf-8", "replace")
    return AccountEvent(
        type="provider.event",
        dedupe_key=f"raw:{digest}",
        data={"unparseable": text, "error": error.detail},
    )


def _counted(events: Iterable[Inbound]) -> WebhookResult:
    messages = statuses = other = 0
    for event in events:
        match event:
            case InboundMessage():
                messages += 1
            case StatusUpdate():
                statuses += 1
            case AccountEvent():
                other += 1
    return WebhookResult(messages, statuses, other)
