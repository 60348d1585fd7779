"""Outbound messages in the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec
import trio

from wad.errors import Conflict, StoreUnavailable
from wad.models import MessageId, OutboundMessage, Pending, new_rev
from wad.store import records
from wad.store.base import Delete, Insert, Query, Row, Update, Where
from wad.store.core import Core, check_revs, log


class MessageStore(Core):
    """Adds and moves outbound messages. Reads hide what is in doubt (`wad.store.doubts`)."""

    async def add_messages(self, messages: Sequence[OutboundMessage]) -> list[OutboundMessage]:
        """Store *messages*; for each, the one that stands.

        That is itself (with the `rev` it was stored under), or the earlier one with the same id or the same
        idempotency key. After StoreUnavailable none of these rows will be sent: see `wad.store.doubts`.
        """
        if self._doubts and not self._is_patient:
            await self._erase_doubts()  # while that fails, this would too, and would leave another doubt
            self._doubts.check_room()
        await self._need_keys(message.session_id for message in messages)
        standing: dict[int, OutboundMessage] = {}
        missing = list(enumerate(messages))
        erase: list[Delete] = []
        while missing:
            new = [msgspec.structs.replace(message, rev=new_rev()) for _, message in missing]
            rows = [records.message_row(message, self._vault) for message in new]
            try:
                results = await self._write(
                    [*erase, *_names_of(new), *(Insert("messages", row) for row in rows)]
                )
            except StoreUnavailable:
                self._doubts.add(rows, trio.current_time())
                raise
            again, erase = [], []
            for (at, _), message, taken in zip(missing, new, results[-len(new) :], strict=True):
                if taken is None:
                    standing[at] = message
                elif (row := await self._in_the_way(message, str(taken))) is None:
                    again.append((at, message))  # it went away meanwhile
                elif row["rev"] in self._doubts:  # refused, and about to be erased: not to be relied on
                    erase.append(Delete("messages", {"messageId": row["messageId"], "rev": row["rev"]}))
                    again.append((at, message))
                else:
                    [standing[at]] = await self._messages_of([row])
            missing = again
        return [standing[at] for at in range(len(messages))]

    async def _in_the_way(self, message: OutboundMessage, index: str) -> Row | None:
        if index == "key":
            where: Where = {"messageId": message.message_id}
        elif message.idempotency is not None and index == "idempotencyScope_idempotencyKey":
            key = message.idempotency
            where = {"idempotencyScope": key.scope, "idempotencyKey": key.key}
        else:
            raise Conflict(f"another message of {message.session_id!r} has the provider's id already")
        rows = await self._find(Query(table="messages", where=where))
        return rows[0] if rows else None

    async def message(self, message_id: str) -> OutboundMessage | None:
        return await self._one_message({"messageId": message_id})

    async def messages(self, ids: Collection[MessageId]) -> dict[MessageId, OutboundMessage]:
        rows = await self._find_all(Query(table="messages"), "messageId", ids)
        return {message.message_id: message for message in await self._messages_of(rows)}

    async def messages_by_provider_id(
        self, session_id: str, provider_ids: Collection[str]
    ) -> dict[str, OutboundMessage]:
        query = Query(table="messages", where={"sessionId": session_id})
        rows = await self._find_all(query, "providerMessageId", provider_ids)
        return {str(message.provider_message_id): message for message in await self._messages_of(rows)}

    async def message_by_idempotency(self, scope: str, key: str) -> OutboundMessage | None:
        return await self._one_message({"idempotencyScope": scope, "idempotencyKey": key})

    async def save_message(self, old: OutboundMessage, new: OutboundMessage) -> bool:
        """Write *new* where the row is still *old*. What the caller asked for is never rewritten.

        It may be in another session than *old*: from one moment to the next it is no more in the first.
        Raises NotFound where there is no such session.
        """
        [saved] = await self.save_messages([(old, new)])
        return saved

    async def save_messages(self, moves: Sequence[tuple[OutboundMessage, OutboundMessage]]) -> list[bool]:
        """As `save_message`, for many in one commit; each stands or falls alone."""
        for old, new in moves:
            check_revs(old, new)
        await self._need_keys(new.session_id for old, new in moves if new.session_id != old.session_id)
        updates = [
            Update("messages", old.message_id, old.rev, records.message_changes(old, new, self._vault))
            for old, new in moves
        ]
        saved = await self._write(updates)
        for at, (update, result) in enumerate(zip(updates, saved, strict=True)):
            if isinstance(result, str):
                # Another message of the session has this provider's id: a provider's fault that must not
                # stop this one. It moves on without it; the statuses of that id stay the other one's.
                taken = update.changes.pop("providerMessageId")
                log.error(
                    "provider_message_id_taken",
                    extra={"message_id": update.key, "provider_message_id": taken},
                )
                [saved[at]] = await self._write([update])
        return [result is True for result in saved]

    async def open_messages(self, session_id: str) -> list[Pending]:
        """What an actor has work with, by `seq`, without bodies; and without its backlog (`wad.store.bulks`)."""
        where: Where = {"open": 1, "sessionId": session_id, "backlog": None}
        return await self._pending(Query(table="messages", where=where, order="seq"))

    async def _pending(self, query: Query) -> list[Pending]:
        columns = (*records.PENDING_COLUMNS, "lane", "priority", "rev")
        rows = await self._find(msgspec.structs.replace(query, columns=columns))
        return [records.pending_of(row) for row in rows if row["rev"] not in self._doubts]

    async def _one_message(self, where: Where) -> OutboundMessage | None:
        found = await self._messages_of(await self._find(Query(table="messages", where=where)))
        return found[0] if found else None

    async def _messages_of(self, rows: Iterable[Row]) -> list[OutboundMessage]:
        rows = [row for row in rows if row["rev"] not in self._doubts]
        await self._learn_keys(row["sessionId"] for row in rows)
        return [records.message_of(row, self._vault) for row in rows]


def _names_of(messages: Iterable[OutboundMessage]) -> list[Insert]:
    """The bulks that *messages* are parts of. Such a row may stand already: then this one is refused, or is the same."""
    rows = [records.bulk_row(message) for message in messages if message.bulk_id is not None]
    return [Insert("bulks", row) for row in {row["id"]: row for row in reversed(rows)}.values()]
