"""The sessions: create, restore, change, connect and forget them. What HTTP talks to.

A row is written before its actor is born, and removed after its actor has ended: a crash in between is
healed by the next restore.
"""

from __future__ import annotations

import heapq
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from wad.actors.parting import Parting
from wad.actors.requests import Call, Connect, Disconnect, Logout, Reopen
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import ActorDown, FieldError, InvalidRequest, WadError
from wad.events import BreakerSet, SessionCreated, SessionDeleted, SessionStateChanged
from wad.flow.event import check_secret
from wad.models import (
    Credentials,
    DesiredState,
    Session,
    SessionId,
    SessionState,
    Settings,
    ShopId,
    Status,
    new_rev,
    seqs_after,
)
from wad.providers.base import Capabilities, ProviderKind
from wad.store.store import Retention
from wad.supervisor.actors import CALL_TIMEOUT, Actors
from wad.supervisor.bulks import Bulks
from wad.supervisor.calls import Calls
from wad.supervisor.failover import Failover
from wad.supervisor.management import Management
from wad.supervisor.messages import Messages
from wad.supervisor.moving import move
from wad.supervisor.placing import Placing, Policies
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.replay import replay
from wad.supervisor.sending import Sending
from wad.supervisor.upkeep import look_after
from wad.supervisor.webhooks import WebhookDesks

log: Final = logging.getLogger("wad.sessions")
#: States that a session which was just asked to connect leaves by itself.
_ON_THE_WAY: Final = frozenset({SessionState.CREATED, SessionState.CONNECTING, SessionState.DISCONNECTED})
#: Those that a phone has to be taken out for.
_UNPAIRED: Final = frozenset({SessionState.LOGGED_OUT, SessionState.PAIRING})
#: How shops share their work where nobody says how.
_EVERYBODYS: Final = Policies()
#: Seconds that forgetting a session waits for the other side to be told.
_LAST_WORD: Final = 10.0


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /sessions` asks for."""

    provider: str
    credentials: Credentials
    session_id: SessionId | None = None  # None: wad names it
    shop_id: ShopId | None = None
    phone_number: str | None = None
    settings: Settings = Settings()
    connect: bool = True


class Progress(msgspec.Struct, frozen=True, rename="camel"):
    """How far restoring is, for `/readyz`."""

    restored: int
    of: int
    need_pairing: int
    done: bool


class Sessions:
    """Every session of this process. All methods raise `WadError`s that HTTP turns into problems."""

    def __init__(
        self,
        nursery: trio.Nursery,
        services: Services,
        kinds: Mapping[str, ProviderKind],
        policy: RestartPolicy,
        *,
        check_url: Callable[[str], object],
        policies: Policies = _EVERYBODYS,
    ) -> None:
        """*check_url* is the guard of URLs that come over the API; it raises InvalidRequest."""
        sending = Sending(services)
        self.actors = Actors(nursery, services, kinds, policy, queue_replies=sending.queue_replies)
        self.webhooks = WebhookDesks(services, self.actors)
        self.calls = Calls(services, self.actors)
        self.management = Management(self.actors, self.calls)
        self._placing = Placing(services, self.actors, self.calls, policies)
        self._failover = Failover(services, nursery, self.actors, self._placing)
        self.messages = Messages(
            services, self.actors, sending, self.webhooks, placing=self._placing, failover=self._failover
        )
        self.bulks = Bulks(services, self.actors)
        self._services = services
        self._check_url = check_url
        self._restored = 0
        self._of = 0
        self._done = False

    # --- lifecycle ----------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Bring back every stored session. Touches no network: what is wanted connected connects by itself."""
        store = self._services.patient
        seqs_after(await store.newest_seq())
        self._of = await store.count_sessions()
        busy = await store.sessions_with_work()
        async for page in store.all_sessions():
            for session in page:
                if session.session_id in self.actors:
                    continue
                if session.provider not in self.actors.kinds:
                    log.error(
                        "session_not_restored",
                        extra={"session_id": session.session_id, "provider": session.provider},
                    )
                    continue
                self.actors.adopt(session, restored=True, has_work=session.session_id in busy)
                self._restored += 1
            await trio.lowlevel.checkpoint()
        self._done = True
        self.actors.connect_in_turn()

    @property
    def progress(self) -> Progress:
        need = sum(actor.session.state in _UNPAIRED for actor in self.actors)
        return Progress(self._restored, self._of, need, self._done)

    async def create(self, new: NewSession) -> Session:
        kind = self.actors.kind(new.provider)
        errors = kind.check_credentials(new.credentials)
        self._check_settings(new.settings, errors)
        if errors:
            raise InvalidRequest("the session cannot be created as it is", errors)
        now = self._services.now()
        session = Session(
            session_id=new.session_id or SessionId(f"s-{secrets.token_hex(6)}"),
            shop_id=new.shop_id,
            provider=new.provider,
            phone_number=new.phone_number,
            credentials=new.credentials,
            settings=new.settings,
            desired_state=DesiredState.CONNECTED if new.connect else DesiredState.DISCONNECTED,
            created_at=now,
            updated_at=now,
            rev=new_rev(),
        )
        with trio.CancelScope(shield=True):  # what is on disk lives, even if whoever asked hangs up meanwhile
            session = await self._services.store.add_session(session)
            actor = self.actors.adopt(session, has_work=False)
            self._services.events.publish(SessionCreated(session))
        return actor.session

    async def update(
        self,
        session_id: SessionId,
        *,
        provider: str | None = None,
        shop_id: ShopId | msgspec.UnsetType | None = msgspec.UNSET,
        phone_number: str | msgspec.UnsetType | None = msgspec.UNSET,
        credentials: Mapping[str, str | None] | None = None,  # RFC 7396: None removes a key
        settings: Mapping[str, Any] | None = None,  # camelCase names; None removes
    ) -> Session:
        async with self.actors.get(session_id).changing:
            return await self._update(
                self.actors.get(session_id),  # it may have gone meanwhile
                provider=provider,
                shop_id=shop_id,
                phone_number=phone_number,
                credentials=credentials,
                settings=settings,
            )

    async def _update(
        self,
        actor: SessionActor,
        *,
        provider: str | None,
        shop_id: ShopId | msgspec.UnsetType | None,
        phone_number: str | msgspec.UnsetType | None,
        credentials: Mapping[str, str | None] | None,
        settings: Mapping[str, Any] | None,
    ) -> Session:
        before = actor.session
        kind = self.actors.kind(provider) if provider is not None else actor.kind
        changes: dict[str, Any] = {"provider": kind.name}
        errors: list[FieldError] = []
        if shop_id is not msgspec.UNSET:
            changes["shop_id"] = shop_id
        if phone_number is not msgspec.UNSET:
            changes["phone_number"] = phone_number
        if credentials is not None or kind is not actor.kind:
            kept = {} if kind is not actor.kind else before.credentials
            merged = {**kept, **(credentials or {})}
            changes["credentials"] = Credentials({k: v for k, v in merged.items() if v is not None})
            if changes["credentials"] != before.credentials:
                changes["connection_data"] = {}
            errors += kind.check_credentials(changes["credentials"])
        if settings is not None:
            changes["settings"] = _merged_settings(before.settings, settings, errors)
            self._check_settings(changes["settings"], errors)
        if errors:
            raise InvalidRequest("the session cannot be changed so", errors)
        if kind is not actor.kind:
            await move(self._services, self.actors, actor, kind, changes)
            return actor.session
        with self.actors.changing(actor):
            after = await actor.change(**changes)
        actor.retune()
        now = after.settings
        held = msgspec.structs.replace(
            before.settings, rate=now.rate, burst=now.burst, drained=now.drained
        )  # no connection's matter
        if (after.credentials, now) != (before.credentials, held):
            if after.credentials != before.credentials:
                actor.connecting.unproven()
            await self._reopen(actor)
        return actor.session

    async def delete(self, session_id: SessionId) -> None:
        """Log out, if the other side can be told now, and forget: the session, its messages and its keys."""
        await self._take_leave(self.actors.get(session_id))
        actor = self.actors.get(session_id)
        try:
            await self.actors.end(session_id)
            await self._failover.empty(actor)
            await self._services.store.delete_session(session_id)
        except BaseException:
            self.actors.adopt(actor.session, has_work=True)  # it is still there, so it lives on
            raise
        self._services.events.publish(SessionDeleted(session_id, actor.session.provider))
        await actor.kind.forget(session_id)

    @staticmethod
    async def _take_leave(actor: SessionActor) -> None:
        """Unpair what is about to be forgotten. A phone that cannot be told lists a device that is gone."""
        if not actor.kind.capabilities.pairing or actor.session.state is not SessionState.CONNECTED:
            return
        try:
            with trio.move_on_after(_LAST_WORD):
                await actor.mailbox.ask(Call(lambda connection: connection.logout()))
        except WadError as error:
            log.warning(
                "not_logged_out", extra={"session_id": actor.session.session_id, "detail": error.detail}
            )

    async def connect(self, session_id: SessionId, *, wait: float) -> Status:
        actor = self.actors.get(session_id)
        await actor.change(desired_state=DesiredState.CONNECTED)
        if actor.is_resting:
            actor.revive()
        else:
            with trio.move_on_after(CALL_TIMEOUT):
                await actor.mailbox.ask(Connect())
        with trio.move_on_after(wait):
            while actor.session.state in _ON_THE_WAY or actor.is_resting:
                await actor.change_of_state()
        return actor.status()

    async def disconnect(self, session_id: SessionId, *, wait: float) -> Status:
        actor = self.actors.get(session_id)
        await actor.change(desired_state=DesiredState.DISCONNECTED)
        if not actor.is_resting:
            self.actors.ask_soon(actor, Disconnect())
            with trio.move_on_after(wait):
                while actor.session.state is not SessionState.DISCONNECTED:
                    await actor.change_of_state()
        return actor.status()

    async def logout(self, session_id: SessionId) -> Status:
        """Unpair, and forget the keys. A provider without pairing has nothing to unpair: it is disconnected."""
        actor = self.actors.get(session_id)
        if not actor.kind.capabilities.pairing:
            return await self.disconnect(session_id, wait=CALL_TIMEOUT)
        await actor.change(desired_state=DesiredState.DISCONNECTED)
        if actor.is_resting:
            await Parting(actor).forget_pairing("logged out as asked, while it rested from crashes")
        else:
            with trio.move_on_after(CALL_TIMEOUT) as scope:
                await actor.mailbox.ask(Logout())
            if scope.cancelled_caught:
                raise ActorDown("the session's actor did not answer in time")
        return actor.status()

    async def isolate(self, session_id: SessionId, *, by: str) -> Status:
        """Have it send nothing until `close_breaker`, whatever happens meanwhile. *by*: who says so."""
        actor = self.actors.get(session_id)
        return await self._set_breaker(actor, actor.isolate, by)

    async def close_breaker(self, session_id: SessionId, *, by: str) -> Status:
        """Have it send again, whether a person isolated it or its calls failed."""
        actor = self.actors.get(session_id)
        return await self._set_breaker(actor, actor.close_breaker, by)

    async def _set_breaker(self, actor: SessionActor, act: Callable[[], Awaitable[None]], by: str) -> Status:
        before = actor.status()
        await act()
        status = actor.status()
        self._services.events.publish(BreakerSet(status, status.breaker, by))
        if (before.state, before.reason) != (status.state, status.reason):
            self._services.events.publish(SessionStateChanged(status, before.state))
        return status

    def share(self, policies: Policies) -> None:
        """Have the sessions of each shop share its work so from now on. What they have stays where it is."""
        self._placing.policies = policies

    async def look_after(self, retention: Retention) -> None:
        """Keep proofs fresh, the store small and the spool empty, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._services.spool is not None:
                nursery.start_soon(replay, self._services.spool, self.webhooks)
            nursery.start_soon(look_after, self._services, self.actors, retention)

    @property
    def spooled(self) -> tuple[int, float]:
        """Webhooks that wait for the store, and the seconds that the oldest has waited."""
        spool = self._services.spool
        return (spool.depth, spool.oldest_seconds()) if spool is not None else (0, 0.0)

    @property
    def media_bytes(self) -> int:
        """What customers' files take of the disk."""
        return self._services.files.used if self._services.files is not None else 0

    # --- reading, from memory -----------------------------------------------------------------------

    def session(self, session_id: SessionId) -> Session:
        return self.actors.get(session_id).session

    def status(self, session_id: SessionId) -> Status:
        return self.actors.get(session_id).status()

    def find(
        self,
        *,
        shops: Container[ShopId] | None = None,
        provider: str | None = None,
        state: SessionState | None = None,
        after: SessionId | None = None,
        limit: int,
    ) -> list[tuple[Session, Status]]:
        """The first *limit* sessions by id, after the one named *after*, each as it is now. O(sessions); no I/O."""
        now = trio.current_time()
        found = (
            actor
            for actor in self.actors
            if (shops is None or actor.session.shop_id in shops)
            and provider in (None, actor.session.provider)
            and (after is None or actor.session.session_id > after)
            and (state is None or actor.state(now)[0] is state)
        )
        first = heapq.nsmallest(limit, found, key=lambda actor: actor.session.session_id)
        return [(actor.session, actor.status()) for actor in first]

    def statuses(self) -> Iterable[Status]:
        return (actor.status() for actor in self.actors)

    @property
    def kinds_in_use(self) -> dict[str, ProviderKind]:
        """The kinds that have sessions, by name. O(sessions)."""
        return {actor.kind.name: actor.kind for actor in self.actors}

    @property
    def providers(self) -> list[str]:
        return sorted(self.actors.kinds)

    def capabilities_of_all(self) -> dict[str, Capabilities]:
        """By provider."""
        return {name: self.actors.kinds[name].capabilities for name in self.providers}

    def capabilities(self, session_id: SessionId) -> Capabilities:
        return self.actors.get(session_id).kind.capabilities

    async def _reopen(self, actor: SessionActor) -> None:
        if actor.is_resting:
            actor.revive()
        else:
            await self.actors.ask_quietly(actor, Reopen())

    def _check_settings(self, settings: Settings, errors: list[FieldError]) -> None:
        for name, value, check in (
            ("flowUrl", settings.flow_url, self._check_url),
            ("baseUrl", settings.base_url, self._check_url),
            ("flowSecret", settings.flow_secret, check_secret),
        ):
            if value is not None:
                try:
                    check(value)
                except InvalidRequest as error:
                    errors.append(FieldError(f"/settings/{name}", error.detail))


def _merged_settings(before: Settings, patch: Mapping[str, Any], errors: list[FieldError]) -> Settings:
    """RFC 7396 over a session's settings. A new flow address also ends a flow's being disabled."""
    merged: dict[str, Any] = {**msgspec.to_builtins(before), **patch}
    if patch.get("flowUrl") or patch.get("flowDisabled") is False:
        merged.pop("flowDisabled", None)
    try:
        return msgspec.convert({k: v for k, v in merged.items() if v is not None}, Settings)
    except msgspec.ValidationError as error:
        errors.append(FieldError("/settings", str(error)))
        return before


@asynccontextmanager
async def open_sessions(
    services: Services,
    kinds: Mapping[str, ProviderKind],
    policy: RestartPolicy,
    *,
    check_url: Callable[[str], object],
    policies: Policies = _EVERYBODYS,
    grace: float,
) -> AsyncIterator[Sessions]:
    """The nursery all sessions live in. Leaving the block drains them, for *grace* seconds at most."""
    async with trio.open_nursery() as nursery:
        sessions = Sessions(nursery, services, kinds, policy, check_url=check_url, policies=policies)
        yield sessions
        with trio.move_on_after(grace):
            await sessions.actors.drain()
        nursery.cancel_scope.cancel()
