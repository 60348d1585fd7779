"""Outbound messages and dead letters, as callers see them: send, wait, cancel, try again, put by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec
import trio

from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.actors.waiting import waiting_for
from wad.errors import (
    Conflict,
    InvalidRequest,
    NoAbleSession,
    NotFound,
    QueueFull,
    SessionUnavailable,
    StoreUnavailable,
    WadError,
)
from wad.events import Balanced
from wad.models import (
    WAITING_FOR_PERSON,
    InboxItem,
    InboxState,
    MessageId,
    MessageState,
    OutboundMessage,
    Waiting,
    new_rev,
)
from wad.store.doubts import SETTLED_AFTER
from wad.supervisor.actors import Actors
from wad.supervisor.balancer import Choice
from wad.supervisor.failover import Failover
from wad.supervisor.placing import Load, Placing
from wad.supervisor.sending import Draft, Sending, Sent
from wad.supervisor.webhooks import NOBODY, WebhookDesks

#: States in which the provider does not have the message yet.
_UNDER_WAY: Final = (MessageState.SCHEDULED, MessageState.QUEUED, MessageState.SENDING)


#: How often a session is chosen for one message, where the one that was chosen goes away meanwhile.
_PLACINGS: Final = 3
#: Seconds that a request waits for messages of its shop that are on the move, for the order's sake: many of them, or a
#: store that is down, would keep the whole shop waiting for minutes.
_SETTLING: Final = 5.0
#: How long after a write that had no answer it is done, or never will be.
_SETTLED: Final = timedelta(seconds=SETTLED_AFTER)
#: Ids of former attempts that a message remembers. A provider tells what became of one within days.
_FORMER: Final = 10


class Messages:
    """Every message of every session."""

    def __init__(
        self,
        services: Services,
        actors: Actors,
        sending: Sending,
        webhooks: WebhookDesks,
        *,
        placing: Placing,
        failover: Failover,
    ) -> None:
        self._services = services
        self._actors = actors
        self._sending = sending
        self._webhooks = webhooks
        self._placing = placing
        self._failover = failover

    async def send(self, draft: Draft) -> Sent:
        [sent] = await self.send_bulk([draft])
        if isinstance(sent, WadError):
            raise sent
        return sent

    async def send_bulk(self, drafts: Sequence[Draft]) -> list[Sent | WadError]:
        """Each draft's message, or why there is none, in their order."""
        results: dict[int, Sent | WadError] = {}
        todo = dict(enumerate(drafts))
        for _ in range(_PLACINGS):
            try:
                todo = await self._send_some(todo, results)
            except StoreUnavailable:
                if not results:
                    raise
                break  # the others stand by now, and whoever was told otherwise would send them again
            if not todo:
                break
        return [results[index] for index in range(len(drafts))]

    async def _send_some(
        self, drafts: Mapping[int, Draft], results: dict[int, Sent | WadError]
    ) -> dict[int, Draft]:
        """Put what became of each into *results*; those whose session went away between the choice and the write."""
        load = Load()
        settled_by = trio.current_time() + _SETTLING
        asked: list[tuple[int, SessionActor, Draft, Choice | None]] = []
        for index, draft in drafts.items():
            try:
                asked.append((index, *await self._place(draft, load, settled_by)))
            except (NotFound, NoAbleSession, QueueFull, InvalidRequest) as error:
                results[index] = await self._sending.earlier(draft) or error
        done = await self._sending.send_all([(actor, draft) for _, actor, draft, _ in asked])
        for (index, _, _, choice), result in zip(asked, done, strict=True):
            results[index] = result if choice is None else self._told(result, choice)
        return {
            index: drafts[index]
            for index, _, _, choice in asked
            if choice is not None
            and choice.chosen is not None
            and isinstance(results[index], SessionUnavailable | QueueFull | NotFound)
        }

    async def _place(
        self, draft: Draft, load: Load, settled_by: float
    ) -> tuple[SessionActor, Draft, Choice | None]:
        if draft.session_id is not None:
            return self._actors.get(draft.session_id), draft, None
        assert draft.shop_id is not None, "a draft names a session or a shop"
        with trio.move_on_at(settled_by):
            await self._failover.settled(draft.shop_id, draft.to.chat)
        return await self._placing.place(draft, load)

    def _told(self, result: Sent | WadError, choice: Choice) -> Sent | WadError:
        if isinstance(result, WadError) or result.replayed or choice.chosen is None:
            return result
        self._services.events.publish(Balanced(result.message, choice.policy, choice.chosen.why.value))
        return msgspec.structs.replace(result, choice=choice)

    async def wait_for(self, message: OutboundMessage, seconds: float) -> OutboundMessage:
        """*message* once the provider has it or it has ended, or as it stands after *seconds*.

        Nor is a session waited for that waits for a person.
        """
        current = message
        with trio.move_on_after(seconds):
            while True:
                if (actor := self._living(current)) is None:  # deleted: another one may have got it before
                    current = await self._services.store.message(message.message_id) or current
                    if (actor := self._living(current)) is None:
                        break
                with actor.outbox.moves.watched(message.message_id):
                    move = actor.outbox.moves.next(message.message_id)
                    current = await self._services.store.message(message.message_id) or current
                    if current.state not in _UNDER_WAY:
                        break
                    if current.session_id != actor.session.session_id:
                        continue  # it moved: the other session has it
                    if (
                        current.state is not MessageState.SENDING
                        and actor.session.state in WAITING_FOR_PERSON
                        and not self._failover.may_take(current, actor)
                    ):
                        break
                    await move.wait()
        return current

    async def cancel(self, message_id: MessageId) -> OutboundMessage:
        """Stop a message that surely has not gone out. Conflict once it may have."""
        store = self._services.store
        while (message := await store.message(message_id)) is not None:
            if message.state not in (MessageState.QUEUED, MessageState.SCHEDULED):
                raise Conflict(f"the message is {message.state} already", code="not_cancellable")
            if message.may_have_gone_out:
                raise Conflict("an earlier attempt may have gone out", code="not_cancellable")
            cancelled = message.moved(MessageState.CANCELLED, self._services.now(), due_at=None)
            with trio.CancelScope(shield=True):  # what is written is told as well
                if await store.save_message(message, cancelled):
                    self._moved(message, cancelled)
                    return cancelled
        raise NotFound(f"there is no message {message_id!r}")

    def waiting(self, message: OutboundMessage) -> Waiting | None:
        """Why *message* has not left yet; None where it does not wait for its turn. From memory."""
        actor = self._living(message)
        return None if actor is None else waiting_for(actor, message, self._services.now())

    async def retry_dead_letter(self, message_id: MessageId) -> OutboundMessage | InboxItem:
        """Try again what gave up: a person decides that, and takes the risk where it was `unknown`."""
        now = self._services.now()
        store = self._services.store
        message = await store.message(message_id)
        if message is not None and message.dead:
            actor = self._actors.get(message.session_id)
            failed_as, kept = message.provider_message_id, None
            if actor.kind.capabilities.settlement == "resend":
                failed_as, kept = None, failed_as  # it has the same id again
            again = message.moved(
                MessageState.QUEUED,
                now,
                note="retried by a person",
                dead=False,
                due_at=None,
                attempts=0,
                provider_message_id=kept,
                former_ids=(*message.former_ids, failed_as)[-_FORMER:] if failed_as else message.former_ids,
                expires_at=max(message.expires_at, now + self._services.limits.message_ttl),
                maybe_duplicate=message.maybe_duplicate or message.state is MessageState.UNKNOWN,
            )
            with trio.CancelScope(shield=True):  # it goes its way even if whoever asked hangs up meanwhile
                try:
                    saved = await store.save_message(message, again)
                except StoreUnavailable:
                    # Nobody knows whether it is queued by now: the outbox looks, once it would be.
                    actor.outbox.arrived(msgspec.structs.replace(again, due_at=now + _SETTLED))
                    raise
                if saved:
                    actor.outbox.moves.made(message, again)
                    actor.outbox.offer(again)
            if not saved:
                raise Conflict("the message has moved meanwhile: look again", code="moved_meanwhile")
            return again
        item = await store.inbox_item(message_id)
        if item is not None and item.state is InboxState.DEAD:
            if item.session_id == NOBODY:
                await self._webhooks.adopt(item)
                adopted = item.moved(InboxState.DONE, error=None)
                await store.save_inbox(item, adopted)
                return adopted
            revived = item.moved(
                InboxState.RECEIVED,
                due_at=None,
                error=None,
                expires_at=now + self._services.limits.flow_window,
            )
            actor = self._actors.get(item.session_id)
            with trio.CancelScope(shield=True):
                try:
                    saved = await store.save_inbox(item, revived)
                except StoreUnavailable:
                    actor.inbox.retry(msgspec.structs.replace(revived, due_at=now + _SETTLED))
                    raise
                if saved:
                    actor.inbox.retry(revived)
            if not saved:
                raise Conflict("the item has moved meanwhile: look again", code="moved_meanwhile")
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

    def _moved(self, old: OutboundMessage, new: OutboundMessage) -> None:
        actor = self._living(new)
        if actor is not None:
            actor.outbox.forget(new.message_id)
            actor.outbox.moves.made(old, new)

    def _living(self, message: OutboundMessage) -> SessionActor | None:
        return self._actors.get(message.session_id) if message.session_id in self._actors else None
