"""The living sessions: create, restore, reach and stop them. What HTTP talks to.

A row is written before its actor is spawned, and removed after its actor has ended: a crash in between is
healed by the next restore.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec
import trio

from wad.actors.requests import Call, Connect, Disconnect, Probe, Reopen
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import ActorDown, Conflict, FieldError, InvalidRequest, NotFound, NotSupported, WadError
from wad.events import ActorCrashed, SessionCreated, SessionDeleted
from wad.flow.event import check_secret
from wad.models import (
    Credentials,
    DesiredState,
    InboundMessage,
    InboxItem,
    InboxState,
    Media,
    MessageId,
    MessageState,
    OutboundMessage,
    Reason,
    Session,
    SessionId,
    SessionState,
    Settings,
    ShopId,
    Status,
    new_rev,
)
from wad.providers.base import Capabilities, Connection, Group, MediaContent, ProviderKind
from wad.store.store import Retention
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sending import Draft, Sending, Sent
from wad.supervisor.supervise import RestartIntensityExceeded, supervise
from wad.supervisor.webhooks import NOBODY, WebhookDesk, WebhookResult

__all__ = ["Draft", "NewSession", "Progress", "Sent", "Sessions", "WebhookResult", "open_sessions"]

log = logging.getLogger("wad.sessions")
R = TypeVar("R")

#: Seconds that a caller waits for an actor that is restarting before it learns that it is down.
CALL_TIMEOUT = 45.0
#: How long a provider keeps an uploaded file (Meta: 30 days).
UPLOAD_TTL = timedelta(days=30)
PURGE_EVERY = 3600.0
#: States that a session which was just asked to connect leaves by itself.
_ON_THE_WAY = frozenset(
    {SessionState.CREATED, SessionState.CONNECTING, SessionState.DISCONNECTED, SessionState.FAILED}
)


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
    ) -> None:
        """*check_url* is the guard of URLs that come over the API; it raises InvalidRequest."""
        self._nursery = nursery
        self._services = services
        self._kinds = kinds
        self._policy = policy
        self._check_url = check_url
        self._sending = Sending(services)
        self._actors: dict[SessionId, SessionActor] = {}
        self._scopes: dict[SessionId, trio.CancelScope] = {}
        self._accounts: dict[tuple[str, str], list[SessionActor]] = defaultdict(list)
        self._desks = {
            name: WebhookDesk(kind, services, partial(self._by_account, name), partial(self._by_type, name))
            for name, kind in kinds.items()
        }
        self._restored = 0
        self._of = 0
        self._done = False

    # --- lifecycle ----------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Bring back every stored session. Touches no network: what is wanted connected connects by itself."""
        store = self._services.patient
        self._of = await store.count_sessions()
        busy = await store.sessions_with_work()
        async for page in store.all_sessions():
            for session in page:
                if session.session_id in self._actors:
                    continue
                if session.provider not in self._kinds:
                    log.error(
                        "session_not_restored",
                        extra={"session_id": session.session_id, "provider": session.provider},
                    )
                    continue
                self._adopt(session, has_work=session.session_id in busy)
                self._restored += 1
            await trio.lowlevel.checkpoint()
        self._done = True

    @property
    def progress(self) -> Progress:
        need = sum(actor.session.state is SessionState.LOGGED_OUT for actor in self._actors.values())
        return Progress(self._restored, self._of, need, self._done)

    async def create(self, new: NewSession) -> Session:
        kind = self._kind(new.provider)
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
        session = await self._services.store.add_session(session)
        actor = self._adopt(session, has_work=False)
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
        actor = self.actor(session_id)
        before = actor.session
        kind = self._kind(provider) if provider is not None else actor.kind
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
            errors += kind.check_credentials(changes["credentials"])
        if settings is not None:
            changes["settings"] = _merged_settings(before.settings, settings, errors)
            self._check_settings(changes["settings"], errors)
        if errors:
            raise InvalidRequest("the session cannot be changed so", errors)
        self._unlist(actor)
        try:
            after = await actor.change(**changes)
            actor.kind = kind
        finally:
            self._list(actor)
        if (after.provider, after.credentials, after.settings) != (
            before.provider,
            before.credentials,
            before.settings,
        ):
            actor.retune()
            await self._reopen(actor)
        return actor.session

    async def delete(self, session_id: SessionId) -> None:
        """Log out and forget: the session, its messages and its keys."""
        actor = self.actor(session_id)
        del self._actors[session_id]  # nothing new reaches it; what is in hand gets its result
        self._unlist(actor)
        with trio.move_on_after(CALL_TIMEOUT):
            await actor.drain()
        self._scopes.pop(session_id).cancel()
        await actor.ended.wait()
        try:
            await self._services.store.delete_session(session_id)
        except BaseException:
            self._adopt(actor.session, has_work=True)  # it is still there, so it lives on
            raise
        self._services.events.publish(SessionDeleted(session_id, actor.session.provider))

    async def connect(self, session_id: SessionId, *, wait: float) -> Status:
        actor = self.actor(session_id)
        await actor.change(desired_state=DesiredState.CONNECTED)
        if actor.session.state is SessionState.FAILED:
            actor.revived.set()
        else:
            with trio.move_on_after(CALL_TIMEOUT):
                await actor.mailbox.ask(Connect())
        with trio.move_on_after(wait):
            while actor.session.state in _ON_THE_WAY:
                await actor.change_of_state()
        return actor.status()

    async def disconnect(self, session_id: SessionId, *, wait: float) -> Status:
        actor = self.actor(session_id)
        await actor.change(desired_state=DesiredState.DISCONNECTED)
        if actor.session.state is not SessionState.FAILED:
            self._nursery.start_soon(self._ask_quietly, actor, Disconnect())
            with trio.move_on_after(wait):
                while actor.session.state is not SessionState.DISCONNECTED:
                    await actor.change_of_state()
        return actor.status()

    async def logout(self, session_id: SessionId) -> Status:
        """Unpair. A provider without pairing has nothing to unpair: its session is disconnected."""
        return await self.disconnect(session_id, wait=CALL_TIMEOUT)

    # --- reading, from memory -----------------------------------------------------------------------

    def actor(self, session_id: SessionId) -> SessionActor:
        actor = self._actors.get(session_id)
        if actor is None:
            raise NotFound(f"there is no session {session_id!r}")
        return actor

    def session(self, session_id: SessionId) -> Session:
        return self.actor(session_id).session

    def status(self, session_id: SessionId) -> Status:
        return self.actor(session_id).status()

    def statuses(self) -> Iterable[Status]:
        return (actor.status() for actor in self._actors.values())

    def actors(self) -> Iterable[SessionActor]:
        return self._actors.values()

    @property
    def providers(self) -> list[str]:
        return sorted(self._kinds)

    def capabilities(self, session_id: SessionId) -> Capabilities:
        return self.actor(session_id).kind.capabilities

    # --- sending ------------------------------------------------------------------------------------

    async def send(self, draft: Draft) -> Sent:
        return await self._sending.send(self.actor(draft.session_id), draft)

    async def send_bulk(self, drafts: Sequence[Draft]) -> list[Sent | WadError]:
        """Each draft's message, or why there is none, in their order."""
        results: dict[int, Sent | WadError] = {}
        asked: list[tuple[int, SessionActor, Draft]] = []
        for index, draft in enumerate(drafts):
            try:
                asked.append((index, self.actor(draft.session_id), draft))
            except NotFound as error:
                results[index] = error
        done = await self._sending.send_all([(actor, draft) for _, actor, draft in asked])
        results.update((index, result) for (index, _, _), result in zip(asked, done, strict=True))
        return [results[index] for index in range(len(drafts))]

    async def wait_for(self, message: OutboundMessage, seconds: float) -> OutboundMessage:
        """*message* once the provider has it or it has ended, or as it stands after *seconds*."""
        actor = self._actors.get(message.session_id)
        current = message
        with trio.move_on_after(seconds):
            while actor is not None:
                move = actor.outbox.next_move(message.message_id)
                current = await self._services.store.message(message.message_id) or current
                if current.state not in (MessageState.SCHEDULED, MessageState.QUEUED, MessageState.SENDING):
                    break
                await move.wait()
        return current

    async def cancel(self, message_id: MessageId) -> OutboundMessage:
        """Stop a message that surely has not gone out. Conflict once it may have."""
        store = self._services.store
        while (message := await store.message(message_id)) is not None:
            if message.state not in (MessageState.QUEUED, MessageState.SCHEDULED):
                raise Conflict(f"the message is {message.state} already", code="not_cancellable")
            cancelled = message.moved(MessageState.CANCELLED, self._services.now(), due_at=None)
            if await store.save_message(message, cancelled):
                self._moved(cancelled)
                return cancelled
        raise NotFound(f"there is no message {message_id!r}")

    async def retry_dead_letter(self, message_id: MessageId) -> OutboundMessage | InboxItem:
        """Try again what gave up: a person decides that, and takes the risk where it was `unknown`."""
        now = self._services.now()
        store = self._services.store
        message = await store.message(message_id)
        if message is not None and message.dead:
            again = message.moved(
                MessageState.QUEUED,
                now,
                note="retried by a person",
                dead=False,
                due_at=None,
                provider_message_id=None,
                expires_at=max(message.expires_at, now + self._services.limits.message_ttl),
                maybe_duplicate=message.maybe_duplicate or message.state is MessageState.UNKNOWN,
            )
            if not await store.save_message(message, again):
                raise Conflict("the message has moved meanwhile: look again", code="moved_meanwhile")
            actor = self.actor(message.session_id)
            actor.outbox.moved(again)
            actor.outbox.offer(again)
            return again
        item = await store.inbox_item(message_id)
        if item is not None and item.state is InboxState.DEAD:
            if item.session_id == NOBODY:
                await self._desk(item.provider).adopt(item)
                adopted = item.moved(InboxState.DONE, error=None)
                await store.save_inbox(item, adopted)
                return adopted
            revived = item.moved(
                InboxState.RECEIVED,
                due_at=None,
                error=None,
                expires_at=now + self._services.limits.flow_window,
            )
            actor = self.actor(item.session_id)
            if not await store.save_inbox(item, revived):
                raise Conflict("the item has moved meanwhile: look again", code="moved_meanwhile")
            actor.inbox.retry(revived)
            return revived
        raise NotFound(f"there is no dead letter {message_id!r}")

    async def discard_dead_letter(self, message_id: MessageId) -> None:
        """Drop it from the list. The message stays readable, in the state it ended in."""
        store = self._services.store
        message = await store.message(message_id)
        if message is not None and message.dead:
            put_by = msgspec.structs.replace(message, dead=False, due_at=None, rev=new_rev())
            if message.state is MessageState.UNKNOWN:  # or it would be open again
                put_by = message.moved(
                    MessageState.FAILED,
                    self._services.now(),
                    error=message.error,
                    note="discarded",
                    dead=False,
                )
            if not await store.save_message(message, put_by):
                raise Conflict("the message has moved meanwhile: look again", code="moved_meanwhile")
            return
        item = await store.inbox_item(message_id)
        if item is None or item.state is not InboxState.DEAD:
            raise NotFound(f"there is no dead letter {message_id!r}")
        await store.save_inbox(item, item.moved(InboxState.DONE, error=item.error))

    def _moved(self, message: OutboundMessage) -> None:
        actor = self._actors.get(message.session_id)
        if actor is not None:
            actor.outbox.forget(message.message_id)
            actor.outbox.moved(message)

    # --- through the session's connection -----------------------------------------------------------

    async def mark_read(self, session_id: SessionId, message_id: MessageId, *, typing: bool) -> None:
        actor = self.actor(session_id)
        self._require(actor, "readReceipts", actor.kind.capabilities.read_receipts)
        if typing:
            self._require(actor, "typing", actor.kind.capabilities.typing)
        item = await self._services.store.inbox_item(message_id)
        if item is None or item.session_id != session_id or not isinstance(item.event, InboundMessage):
            raise NotFound(f"the session received no message {message_id!r}")
        provider_id = item.event.provider_message_id
        await self._call(actor, lambda connection: connection.mark_read(provider_id, typing=typing))

    async def groups(self, session_id: SessionId) -> list[Group]:
        actor = self.actor(session_id)
        self._require(actor, "groups", actor.kind.capabilities.groups)
        return await self._call(actor, lambda connection: connection.groups())

    async def upload(
        self, session_id: SessionId, data: bytes, *, mime_type: str, filename: str | None
    ) -> Media:
        actor = self.actor(session_id)
        self._require(actor, "mediaUpload", actor.kind.capabilities.media_upload)
        provider_id = await self._call(
            actor, lambda connection: connection.upload(data, mime_type=mime_type, filename=filename)
        )
        now = self._services.now()
        media = Media(
            media_id=f"med_{secrets.token_hex(16)}",
            session_id=session_id,
            provider_media_id=provider_id,
            mime_type=mime_type,
            size=len(data),
            filename=filename,
            created_at=now,
            expires_at=now + UPLOAD_TTL,
        )
        await self._services.store.add_media([media])
        return media

    @asynccontextmanager
    async def download(self, media: Media) -> AsyncIterator[MediaContent]:
        """The file of *media*, fetched whole first: a slow reader must not hold the provider's connection."""

        async def fetch(connection: Connection) -> tuple[trio.abc.AsyncResource, MediaContent]:
            file = trio.wrap_file(tempfile.TemporaryFile())  # noqa: SIM115  handed to the caller
            try:
                async with connection.download(media.provider_media_id) as content:
                    async for chunk in content.chunks:
                        await file.write(chunk)
                    size = await file.tell()
                await file.seek(0)
            except BaseException:
                file.wrapped.close()
                raise
            chunks = iter_file(file)
            return file, MediaContent(content.mime_type, size, content.sha256, chunks)

        async def iter_file(file: Any) -> AsyncIterator[bytes]:
            while chunk := await file.read(64 * 1024):
                yield chunk

        file, content = await self._call(self.actor(media.session_id), fetch)
        async with file:
            yield content

    async def _call(self, actor: SessionActor, work: Callable[[Connection], Awaitable[R]]) -> R:
        with trio.move_on_after(CALL_TIMEOUT * 2):
            return await actor.mailbox.ask(Call(work))
        raise ActorDown("the session's actor did not answer in time")

    @staticmethod
    def _require(actor: SessionActor, capability: str, has_it: bool) -> None:
        if not has_it:
            raise NotSupported(actor.session.provider, capability)

    # --- webhooks -----------------------------------------------------------------------------------

    def handshake(self, provider: str, session_id: SessionId | None, *, token: str) -> bool:
        return self._desk(provider).handshake(self._addressed(provider, session_id), token)

    async def webhook(
        self, provider: str, session_id: SessionId | None, headers: Mapping[str, str], body: bytes
    ) -> WebhookResult:
        """Verify, parse and store. Raises Unauthorized, NotFound, StoreUnavailable."""
        return await self._desk(provider).take(self._addressed(provider, session_id), headers, body)

    def _desk(self, provider: str) -> WebhookDesk:
        desk = self._desks.get(provider)
        if desk is None:
            raise NotFound(f"there are no webhooks of {provider!r}")
        return desk

    def _addressed(self, provider: str, session_id: SessionId | None) -> SessionActor | None:
        if session_id is None:
            return None
        actor = self.actor(session_id)
        if actor.session.provider != provider:
            raise NotFound(f"there is no {provider} session {session_id!r}")
        return actor

    # --- the one clock of all idle sessions ---------------------------------------------------------

    async def look_after(self, retention: Retention) -> None:
        """Keep proofs fresh and the store small. One task for all sessions: none has a timer of its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_proofs_fresh)
            nursery.start_soon(self._purge, retention)

    async def _keep_proofs_fresh(self) -> None:
        """Ask each silent session for a new proof twice within `proof_ttl`, evenly spread."""
        every = self._services.limits.proof_ttl / 2
        while True:
            silent = [a for a in self._actors.values() if a.session.state is SessionState.CONNECTED]
            pause = every / (len(silent) + 1)
            for actor in silent:
                await trio.sleep(pause)
                if actor.proof_age > every:
                    await self._ask_quietly(actor, Probe())
            await trio.sleep(pause)

    async def _purge(self, retention: Retention) -> None:
        while True:
            await trio.sleep(PURGE_EVERY)
            await self._services.patient.purge(self._services.now(), retention)

    async def _ask_quietly(self, actor: SessionActor, request: Probe | Disconnect | Reopen) -> None:
        """For requests whose effect the next life of the actor has anyhow."""
        try:
            await actor.mailbox.ask(request)
        except ActorDown:
            log.info("actor_down", extra={"session_id": actor.session.session_id})

    # --- the actors ---------------------------------------------------------------------------------

    def _adopt(self, session: Session, *, has_work: bool) -> SessionActor:
        actor = SessionActor(
            session,
            self._kinds[session.provider],
            self._services,
            queue_replies=self._sending.queue_replies,
        )
        self._actors[session.session_id] = actor
        self._scopes[session.session_id] = scope = trio.CancelScope()
        self._list(actor)
        self._nursery.start_soon(self._keep_alive, actor, scope, has_work)
        return actor

    async def _keep_alive(self, actor: SessionActor, scope: trio.CancelScope, has_work: bool) -> None:
        """An actor's whole time: its lives, and the rests between rows of crashes. Never raises a crash."""
        given_up = 0
        run = partial(actor.run, has_work=has_work)
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
            actor.ended.set()

    async def _rest(self, actor: SessionActor, exceeded: Exception, cooldown: float) -> None:
        retry_at = self._services.now() + timedelta(seconds=cooldown)
        detail = f"crashed too often, last by {exceeded.__cause__!r}; tried again at {retry_at:%H:%M:%S} UTC"
        actor.mailbox.close()
        await actor.failed(Reason("crashed", detail), retry_at)
        with trio.move_on_after(cooldown):
            await actor.revived.wait()
        actor.revived = trio.Event()
        actor.mailbox.reopen()

    def _crashed(self, actor: SessionActor, error: BaseException, delay: float | None) -> None:
        actor.restarts += 1
        self._services.events.publish(
            ActorCrashed(actor.session.session_id, actor.session.provider, error, actor.restarts, delay)
        )

    async def _reopen(self, actor: SessionActor) -> None:
        if actor.session.state is SessionState.FAILED:
            actor.revived.set()
        else:
            with trio.move_on_after(CALL_TIMEOUT):
                await self._ask_quietly(actor, Reopen())

    def _by_type(self, provider: str) -> Iterable[SessionActor]:
        return (actor for actor in self._actors.values() if actor.session.provider == provider)

    def _by_account(self, provider: str, account: str) -> Sequence[SessionActor]:
        return self._accounts.get((provider, account), ())

    def _list(self, actor: SessionActor) -> None:
        if (account := actor.kind.account_of(actor.session.credentials)) is not None:
            self._accounts[actor.session.provider, account].append(actor)

    def _unlist(self, actor: SessionActor) -> None:
        if (account := actor.kind.account_of(actor.session.credentials)) is not None:
            named = self._accounts[actor.session.provider, account]
            named.remove(actor)
            if not named:
                del self._accounts[actor.session.provider, account]

    def _kind(self, provider: str) -> ProviderKind:
        kind = self._kinds.get(provider)
        if kind is None:
            known = ", ".join(sorted(self._kinds))
            raise InvalidRequest(
                f"there is no provider {provider!r}", [FieldError("/provider", f"must be one of: {known}")]
            )
        return kind

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

    async def drain(self) -> None:
        """Every actor takes up nothing new; returns once all that is in hand has its result on disk."""
        async with trio.open_nursery() as nursery:
            for actor in self._actors.values():
                if actor.busy:
                    nursery.start_soon(actor.drain)


def _merged_settings(before: Settings, patch: Mapping[str, Any], errors: list[FieldError]) -> Settings:
    """RFC 7396 over a session's settings. A new flow address also ends a flow's being disabled."""
    merged: dict[str, Any] = {**msgspec.to_builtins(before), **patch}
    if patch.get("flowUrl"):
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
    grace: float,
) -> AsyncIterator[Sessions]:
    """The nursery all sessions live in. Leaving the block drains them, for *grace* seconds at most."""
    async with trio.open_nursery() as nursery:
        sessions = Sessions(nursery, services, kinds, policy, check_url=check_url)
        yield sessions
        with trio.move_on_after(grace):
            await sessions.drain()
        nursery.cancel_scope.cancel()
