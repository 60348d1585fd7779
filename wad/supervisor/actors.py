"""The living actors, by session id and by what their provider calls them; each one is kept alive.

An actor that crashes is restarted by its policy; one that crashes too often rests, and is tried again. Whatever
happens to one, nothing of it reaches the nursery that all of them share.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import trio

from wad.actors.mailbox import Request
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import ActorDown, FieldError, InvalidRequest, NotFound
from wad.events import ActorCrashed
from wad.models import Content, DesiredState, InboxItem, Reason, Session, SessionId, ShopId
from wad.providers.base import ProviderKind
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.supervise import RestartIntensityExceeded, supervise

log: Final = logging.getLogger("wad.supervisor")
#: Seconds that a caller waits for an actor: longer than one send may take, or than most restarts.
CALL_TIMEOUT: Final = 45.0


class Actors:
    """Every actor of this process."""

    def __init__(
        self,
        nursery: trio.Nursery,
        services: Services,
        kinds: Mapping[str, ProviderKind],
        policy: RestartPolicy,
        *,
        queue_replies: Callable[[SessionActor, InboxItem, Sequence[Content]], Awaitable[None]],
    ) -> None:
        self.kinds = kinds
        self._nursery = nursery
        self._services = services
        self._policy = policy
        self._queue_replies = queue_replies
        self._actors: dict[SessionId, SessionActor] = {}
        self._scopes: dict[SessionId, trio.CancelScope] = {}
        self._accounts: defaultdict[tuple[str, str], list[SessionActor]] = defaultdict(list)
        self._shops: defaultdict[ShopId, dict[SessionId, SessionActor]] = defaultdict(dict)
        self._listed: dict[
            SessionId, tuple[ShopId | None, list[tuple[str, str]]]
        ] = {}  # under what it is found

    def __iter__(self) -> Iterator[SessionActor]:
        return iter(self._actors.values())

    def __len__(self) -> int:
        return len(self._actors)

    def __contains__(self, session_id: SessionId) -> bool:
        return session_id in self._actors

    def get(self, session_id: SessionId) -> SessionActor:
        """Raises NotFound."""
        actor = self._actors.get(session_id)
        if actor is None:
            raise NotFound(f"there is no session {session_id!r}")
        return actor

    def of_kind(self, provider: str) -> Iterable[SessionActor]:
        return (actor for actor in self if actor.session.provider == provider)

    def of_account(self, provider: str, account: str) -> Sequence[SessionActor]:
        """Those that *provider* names *account*."""
        return self._accounts.get((provider, account), ())

    def of_shop(self, shop_id: ShopId) -> list[SessionActor]:
        """By session id."""
        return [actor for _, actor in sorted(self._shops.get(shop_id, {}).items())]

    def kind(self, provider: str) -> ProviderKind:
        """Raises InvalidRequest, which lists the kinds there are."""
        kind = self.kinds.get(provider)
        if kind is None:
            known = ", ".join(sorted(self.kinds))
            raise InvalidRequest(
                f"there is no provider {provider!r}",
                [FieldError("/provider", f"must be one of: {known}")],
                code="unknown_provider",
            )
        return kind

    # --- being born, changed, and gone --------------------------------------------------------------

    def adopt(self, session: Session, *, restored: bool = False, has_work: bool) -> SessionActor:
        """Give a stored session its actor. A *restored* one connects when `connect_in_turn` comes to it."""
        actor = SessionActor(
            session,
            self.kinds[session.provider],
            self._services,
            queue_replies=self._queue_replies,
            forget=self._forget,
        )
        self._actors[session.session_id] = actor
        self._scopes[session.session_id] = scope = trio.CancelScope()
        self._list(actor)
        run = partial(actor.run, restored=restored, has_work=has_work)
        self._nursery.start_soon(self._keep_alive, actor, scope, run)
        return actor

    @contextmanager
    def changing(self, actor: SessionActor) -> Iterator[None]:
        """Inside, the actor's provider or credentials change, and with them what its provider calls it; or its shop.

        It is found as before until they have changed: what comes for it meanwhile is its own.
        """
        try:
            yield
        finally:
            if actor.session.session_id in self._listed:  # else it ended meanwhile
                self._unlist(actor)
                self._list(actor)

    async def end(self, session_id: SessionId) -> SessionActor:
        """Nothing new reaches the actor from now on; once what it has in hand has its result, it lives no more."""
        actor = self.get(session_id)
        del self._actors[session_id]
        self._unlist(actor)
        actor.ended = trio.Event()
        try:
            with trio.move_on_after(CALL_TIMEOUT):
                await actor.drain()
        finally:
            with trio.CancelScope(shield=True):  # whoever asked may hang up meanwhile; half an end is none
                await actor.outbox.all_arrived()
                self._scopes.pop(session_id).cancel()
                await actor.ended.wait()
        return actor

    def connect_in_turn(self) -> None:
        """Have the restored ones that are wanted connected connect, a bounded number at a time; in the background."""
        waiting = iter(
            [
                actor
                for actor in self
                if actor.session.desired_state is DesiredState.CONNECTED and not actor.connecting.stays
            ]
        )
        for _ in range(int(self._services.connecting.total_tokens)):
            self._nursery.start_soon(self._connect_some, waiting)

    async def _connect_some(self, waiting: Iterator[SessionActor]) -> None:
        for actor in waiting:
            try:
                with trio.move_on_after(CALL_TIMEOUT):
                    await actor.first_try()
            except ActorDown:  # it crashed meanwhile: its next life connects by itself
                continue

    async def drain(self) -> None:
        """Every actor takes up nothing new; returns once all that is in hand has its result on disk."""
        async with trio.open_nursery() as nursery:
            for actor in self:
                if actor.busy or actor.is_saving:
                    nursery.start_soon(actor.drain)

    async def ask_quietly(self, actor: SessionActor, request: Request[None]) -> None:
        """For requests whose effect the actor's next life has anyhow."""
        try:
            with trio.move_on_after(CALL_TIMEOUT):
                await actor.mailbox.ask(request)
        except ActorDown:
            log.info("actor_down", extra={"session_id": actor.session.session_id})

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work*, which raises nothing, whether or not its caller stays."""
        self._nursery.start_soon(work)

    def ask_soon(self, actor: SessionActor, request: Request[None]) -> None:
        self._nursery.start_soon(self.ask_quietly, actor, request)

    # --- a whole time -------------------------------------------------------------------------------

    async def _keep_alive(
        self, actor: SessionActor, scope: trio.CancelScope, run: Callable[[], Awaitable[None]]
    ) -> None:
        """An actor's lives, and the rests between rows of crashes. Never raises a crash."""
        given_up = 0
        try:
            with scope:
                while True:
                    try:
                        await supervise(run, self._policy, partial(self._crashed, actor))
                        return
                    except RestartIntensityExceeded as exceeded:
                        given_up += 1
                        await self._rest(actor, exceeded, self._policy.cooldown_after(given_up))
        finally:
            actor.mailbox.close()
            if actor.ended is not None:
                actor.ended.set()

    async def _rest(self, actor: SessionActor, exceeded: Exception, cooldown: float) -> None:
        """Give up for *cooldown* seconds, or until somebody asks for it to be tried again."""
        retry_at = self._services.now() + timedelta(seconds=cooldown)
        detail = f"crashed too often, last by {exceeded.__cause__!r}; tried again at {retry_at:%H:%M:%S} UTC"
        actor.mailbox.close()
        await actor.rest(Reason("crashed", detail), cooldown)
        actor.mailbox.reopen()

    def _crashed(self, actor: SessionActor, error: BaseException, delay: float | None) -> None:
        actor.crashed(error, delay)
        self._services.events.publish(
            ActorCrashed(actor.session.session_id, actor.session.provider, error, actor.restarts, delay)
        )

    async def _forget(self, provider: str, session_id: SessionId) -> None:
        """Have *provider*, which the session left, remove what it keeps of it; unless it has gone itself."""
        if (kind := self.kinds.get(provider)) is not None:
            await kind.forget(session_id)

    def _names(self, session: Session) -> Iterator[tuple[str, str]]:
        """Each provider that the session has, or had before, and what that calls it."""
        for name in dict.fromkeys((session.provider, *(former.provider for former in session.formers))):
            seen, kind = session.as_of(name), self.kinds.get(name)
            if seen is not None and kind is not None and (account := kind.account_of(seen.credentials)):
                yield kind.name, account

    def _list(self, actor: SessionActor) -> None:
        session = actor.session
        names = list(self._names(session))
        self._listed[session.session_id] = session.shop_id, names
        for name in names:
            self._accounts[name].append(actor)
        if session.shop_id is not None:
            self._shops[session.shop_id][session.session_id] = actor

    def _unlist(self, actor: SessionActor) -> None:
        session_id = actor.session.session_id
        shop_id, names = self._listed.pop(session_id)
        for name in names:
            self._accounts[name].remove(actor)
            if not self._accounts[name]:
                del self._accounts[name]
        if shop_id is not None:
            del self._shops[shop_id][session_id]
            if not self._shops[shop_id]:
                del self._shops[shop_id]
