"""The store as the rest of wad sees it: sessions, messages, inbox, events; records in, records out.

Every write is durable when its call returns. `save_*` are compare-and-sets: they write only where the row is
still the old record, and say whether they did. Everything raises StoreUnavailable when the store does not
answer in time, but for the `patient()` view, which waits. A call that is cancelled may have written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec
import trio

from wad.errors import Conflict, StoreUnavailable
from wad.models import (
    InboxItem,
    Media,
    MessageId,
    MessageQuery,
    OutboundMessage,
    Pending,
    Session,
    SessionId,
    StatusUpdate,
    StoredEvent,
    new_rev,
    utc_now,
)
from wad.secrets import Vault
from wad.store import records
from wad.store.base import Delete, Engine, Insert, Query, Row, Update, Where
from wad.store.core import PAGE, Core, log
from wad.store.doubts import MAX_DOUBTS
from wad.store.records import ms
from wad.store.tables import BY_NAME, TABLES

AnyMessage: TypeAlias = OutboundMessage | InboxItem

_END_OF_TIME: Final = 2**63 - 1
_PURGE: Final = 1000  # rows a step: some 20 ms of the writer, in which commits wait


class Retention(msgspec.Struct, frozen=True):
    """Days that rows are kept after they came. Open rows are kept for ever."""

    messages: float = 30  # at least 7: idempotency keys live in them
    inbox: float = 30  # at least 8: they de-duplicate, and Meta redelivers for 7
    dead_letters: float = 90
    events: float = 7
    parked: float = 3

    def __post_init__(self) -> None:
        if self.messages < 7:
            raise ValueError("messages are kept 7 days at least: idempotency keys live in them")
        if self.inbox < 8:
            raise ValueError("the inbox is kept 8 days at least: providers redeliver for 7")


class Store(Core):
    """See the module. Made by `wad.store.open.open_store`, or directly over a prepared engine."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        super().__init__(engine, vault)
        #: Inbox rows whose insert failed, by session and dedupe key: they may be there.
        self._lost_inbox: dict[tuple[str, str], Row] = {}

    # --- sessions

    async def add_session(self, session: Session) -> Session:
        """Store a new session under a data key of its own; as stored."""
        keys = self._vault.fresh()  # not the vault's own: should the id be taken, its key must stay
        data_key = keys.new_key(session.session_id)
        session = msgspec.structs.replace(session, data_key=data_key, rev=new_rev())
        [taken] = await self._write([Insert("sessions", records.session_row(session, keys))])
        if taken is not None:
            raise Conflict(f"there is a session {session.session_id!r} already", code="session_exists")
        self._vault.learn(session.session_id, data_key)
        return session

    async def session(self, session_id: str) -> Session | None:
        rows = await self._find(Query(table="sessions", where={"sessionId": session_id}))
        return records.session_of(rows[0], self._vault) if rows else None

    async def save_session(self, old: Session, new: Session) -> bool:
        """Write what differs in *new*, which has a `rev` of its own, where the row is still *old*."""
        _check_revs(old, new)
        await self._need_keys([old.session_id])
        changes = records.session_changes(old, new, self._vault)
        [saved] = await self._write([Update("sessions", old.session_id, old.rev, changes)])
        return saved is True

    async def delete_session(self, session_id: str) -> None:
        """Remove all that is kept of a session, its row last: a crash in between is mended by a repetition."""
        for table, order in (
            ("messages", "seq"),
            ("inbox", "seq"),
            ("parked", "createdAt"),
            ("events", "seq"),
            ("media", "expiresAt"),
        ):
            await self._remove(table, order, _END_OF_TIME, {"sessionId": session_id})
        await self._write([Delete("sessions", {"sessionId": session_id})])
        self._vault.forget(session_id)

    async def sessions(
        self,
        *,
        shop_ids: Collection[str] | None = None,
        provider: str | None = None,
        state: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Session]:
        """By session id. *after* is the last one seen."""
        where = _where(shopId=_any_of(shop_ids), provider=provider, state=state)
        rows = await self._find(Query(table="sessions", where=where, after=after, limit=limit))
        return [records.session_of(row, self._vault) for row in rows]

    async def all_sessions(self) -> AsyncIterator[list[Session]]:
        """Every session, in pages."""
        after: str | None = None
        while True:
            page = await self.sessions(after=after, limit=PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].session_id

    async def count_sessions(self) -> int:
        return sum((await self._count("sessions", {}, by="provider")).values())

    # --- outbound messages

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
                results = await self._write([*erase, *(Insert("messages", row) for row in rows)])
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
        """Write *new* where the row is still *old*. What the caller asked for is never rewritten."""
        [saved] = await self.save_messages([(old, new)])
        return saved

    async def save_messages(self, moves: Sequence[tuple[OutboundMessage, OutboundMessage]]) -> list[bool]:
        """As `save_message`, for many in one commit; each stands or falls alone."""
        for old, new in moves:
            _check_revs(old, new)
        updates = [
            Update("messages", old.message_id, old.rev, records.message_changes(old, new))
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
        """What an actor has work with, by `seq`, without bodies."""
        rows = await self._find(
            Query(
                table="messages",
                where={"open": 1, "sessionId": session_id},
                order="seq",
                columns=(*records.PENDING_COLUMNS, "priority", "rev"),
            )
        )
        return [records.pending_of(row) for row in rows if row["rev"] not in self._doubts]

    async def _one_message(self, where: Where) -> OutboundMessage | None:
        found = await self._messages_of(await self._find(Query(table="messages", where=where)))
        return found[0] if found else None

    async def _messages_of(self, rows: Iterable[Row]) -> list[OutboundMessage]:
        rows = [row for row in rows if row["rev"] not in self._doubts]
        await self._learn_keys(row["sessionId"] for row in rows)
        return [records.message_of(row, self._vault) for row in rows]

    # --- inbox

    async def add_inbox(self, items: Sequence[InboxItem]) -> list[bool]:
        """Store *items*; for each, whether it is new. One of the same session and dedupe key is not.

        After StoreUnavailable a row may be there though nobody was told. When its provider sends it again, it
        is the new one that stands, and new it is; if nobody does, the old one is in `open_inbox`.
        """
        await self._need_keys(item.session_id for item in items)
        inserts = [Insert("inbox", records.inbox_row(_with_rev(item), self._vault)) for item in items]
        lost = [
            Delete("inbox", {"messageId": row["messageId"], "rev": row["rev"]})
            for insert in inserts
            if (row := self._lost_inbox.pop((insert.row["sessionId"], insert.row["dedupeKey"]), None))
        ]
        try:
            results = await self._write([*lost, *inserts])
        except StoreUnavailable:
            for insert in inserts:
                self._lost_inbox[insert.row["sessionId"], insert.row["dedupeKey"]] = {
                    "messageId": insert.row["messageId"],
                    "rev": insert.row["rev"],
                }
            while len(self._lost_inbox) > MAX_DOUBTS:
                self._lost_inbox.pop(next(iter(self._lost_inbox)))
            raise
        return [taken is None for taken in results[len(lost) :]]

    async def inbox_item(self, message_id: str) -> InboxItem | None:
        return await self._one_inbox({"messageId": message_id})

    async def inbox_by_dedupe(self, session_id: str, dedupe_key: str) -> InboxItem | None:
        return await self._one_inbox({"sessionId": session_id, "dedupeKey": dedupe_key})

    async def save_inbox(self, old: InboxItem, new: InboxItem) -> bool:
        """Write *new* where the row is still *old*. The event itself is never rewritten."""
        _check_revs(old, new)
        await self._need_keys([old.session_id])
        changes = records.inbox_changes(old, new, self._vault)
        [saved] = await self._write([Update("inbox", old.message_id, old.rev, changes)])
        return saved is True

    async def open_inbox(self, session_id: str) -> list[Pending]:
        """What is still to be answered, or whose answer is still to be queued; by `seq`."""
        rows = await self._find(
            Query(
                table="inbox",
                where={"open": 1, "sessionId": session_id},
                order="seq",
                columns=records.PENDING_COLUMNS,
            )
        )
        return [records.pending_of(row) for row in rows]

    async def _one_inbox(self, where: Where) -> InboxItem | None:
        found = await self._inbox_of(await self._find(Query(table="inbox", where=where)))
        return found[0] if found else None

    async def _inbox_of(self, rows: Sequence[Row]) -> list[InboxItem]:
        await self._learn_keys(row["sessionId"] for row in rows)
        return [records.inbox_of(row, self._vault) for row in rows]

    async def sessions_with_work(self) -> set[SessionId]:
        """Those with open messages, open inbox rows or parked statuses."""
        found: set[SessionId] = set()
        for table, where in (("messages", {"open": 1}), ("inbox", {"open": 1}), ("parked", {})):
            found.update(await self._count(table, where, by="sessionId"))
        return found

    # --- statuses that came before their message was known

    async def park(self, session_id: str, statuses: Sequence[StatusUpdate]) -> None:
        await self._need_keys([session_id])
        now = utc_now()
        await self._write(
            [
                Insert("parked", records.parked_row(SessionId(session_id), status, now, self._vault))
                for status in statuses
            ]
        )

    async def parked(self, session_id: str) -> set[str]:
        """The provider's ids of the messages whose statuses wait."""
        return set(await self._count("parked", {"sessionId": session_id}, by="providerMessageId"))

    async def parked_statuses(self, session_id: str, provider_message_id: str) -> list[StatusUpdate]:
        """Those of one message, in the order of their parking."""
        where = {"sessionId": session_id, "providerMessageId": provider_message_id}
        rows = await self._find(Query(table="parked", where=where, order="createdAt"))
        await self._learn_keys([session_id])
        return [status for row in rows if (status := records.parked_of(row, self._vault)) is not None]

    async def unpark(self, session_id: str, provider_message_id: str) -> None:
        """Forget them: they are applied."""
        await self._write(
            [Delete("parked", {"sessionId": session_id, "providerMessageId": provider_message_id})]
        )

    # --- lists, newest first

    async def find_messages(self, query: MessageQuery) -> list[AnyMessage]:
        """Messages of both directions by `seq`, newest first."""
        tables: list[tuple[Literal["messages", "inbox"], Where]] = []
        common = _where(sessionId=query.session_id, state=query.state)
        if query.direction != "inbound" and query.sender is None:
            to = query.to
            tables.append(
                ("messages", _where(**common, **({} if to is None else {_address(to, "chat"): to})))
            )
        if query.direction != "outbound" and query.to is None:
            who = query.sender
            where = _where(
                **common, kind=records.MESSAGE_KIND, **({} if who is None else {_address(who, "userId"): who})
            )
            tables.append(("inbox", where))
        minimum = {} if query.since is None else {"createdAt": ms(query.since)}
        return await self._newest(tables, query.shop_ids, query.after, query.limit, minimum)

    async def dead_letters(
        self,
        *,
        shop_ids: Collection[str] | None = None,
        direction: Literal["inbound", "outbound"] | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[AnyMessage]:
        tables: list[tuple[Literal["messages", "inbox"], Where]] = []
        if direction != "inbound":
            tables.append(("messages", {"dead": 1}))
        if direction != "outbound":
            tables.append(("inbox", {"dead": 1}))
        return await self._newest(tables, shop_ids, after, limit, {})

    async def _newest(
        self,
        tables: Sequence[tuple[Literal["messages", "inbox"], Where]],
        shop_ids: Collection[str] | None,
        before: int | None,
        limit: int,
        minimum: dict[str, int],
    ) -> list[AnyMessage]:
        """The newest *limit* of both tables and all shops: each asked by its index, then merged."""
        shops: Sequence[dict[str, str]] = (
            [{}] if shop_ids is None else [{"shopId": shop} for shop in sorted(set(shop_ids))]
        )
        found: list[AnyMessage] = []
        for table, where in tables:
            for shop in shops:
                rows = await self._find(
                    Query(
                        table=table,
                        where={**where, **shop},
                        minimum=minimum,
                        order="seq",
                        descending=True,
                        before=before,
                        limit=limit,
                    )
                )
                found += await (self._messages_of(rows) if table == "messages" else self._inbox_of(rows))
        found.sort(key=lambda one: one.seq, reverse=True)
        return found[:limit]

    async def count_dead_letters(self) -> dict[str, int]:
        return {
            direction: (await self._count(table, {"dead": 1}, by="dead")).get(1, 0)
            for direction, table in (("outbound", "messages"), ("inbound", "inbox"))
        }

    # --- events, for resume

    async def add_events(self, events: Sequence[StoredEvent]) -> None:
        await self._learn_keys([""])
        await self._write([Insert("events", records.event_row(event, self._vault)) for event in events])

    async def events_after(self, seq: int, *, limit: int = 500) -> list[StoredEvent]:
        rows = await self._find(Query(table="events", after=seq, limit=limit))
        await self._learn_keys([""])
        return [event for row in rows if (event := records.event_of(row, self._vault)) is not None]

    async def last_event_seq(self) -> int:
        rows = await self._find(Query(table="events", descending=True, limit=1, columns=("seq",)))
        return int(rows[0]["seq"]) if rows else 0

    # --- media

    async def add_media(self, media: Sequence[Media]) -> None:
        """A file that is known already stays as it is."""
        await self._write([Insert("media", records.media_row(one)) for one in media])

    async def media(self, media_id: str) -> Media | None:
        rows = await self._find(Query(table="media", where={"mediaId": media_id}))
        return records.media_of(rows[0]) if rows else None

    # --- keeping house

    async def purge(self, now: datetime, retention: Retention) -> int:
        """Remove what is older than *retention* says, in steps that let commits through; how many rows."""

        def before(days: float) -> int:
            return ms(now - timedelta(days=days))

        settled: Where = {"open": None, "dead": None}
        removed = 0
        for table, column, until, where in (
            ("messages", "createdAt", before(retention.messages), settled),
            ("messages", "createdAt", before(retention.dead_letters), {"open": None, "dead": 1}),
            ("inbox", "createdAt", before(retention.inbox), settled),
            ("inbox", "createdAt", before(retention.dead_letters), {"open": None, "dead": 1}),
            ("parked", "createdAt", before(retention.parked), {}),
            ("events", "createdAt", before(retention.events), {}),
            ("media", "expiresAt", ms(now), {}),
        ):
            removed += await self._remove(table, column, until, where)
        return removed

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Every row as it is stored, sealed values included; in the order in which `load` wants them."""
        for table in TABLES:
            after: Any = None
            while True:
                rows = await self._find(Query(table=table.name, after=after, limit=PAGE))
                for row in rows:
                    yield table.name, row
                if len(rows) < PAGE:
                    break
                after = rows[-1][table.key]

    async def load(self, table: str, rows: Sequence[Row]) -> int:
        """Store rows of a dump that the same master key can open; how many of them stand now."""
        if table == "meta":
            return await self._load_meta(rows)
        known = BY_NAME[table].columns
        if unknown := {column for row in rows for column in row} - known.keys():
            raise ValueError(f"{table} has no columns {sorted(unknown)}: a dump of a newer wad?")
        results = await self._write([Insert(table, row) for row in rows])
        return sum(taken is None for taken in results)

    async def _load_meta(self, rows: Sequence[Row]) -> int:
        """The dump's system key takes the place of this store's, if nothing is sealed under that yet."""
        for row in rows:
            match row["name"]:
                case "canary":
                    self._vault.check_canary(row["value"])
                case "systemKey":
                    own = await self._find(Query(table="meta", where={"name": "systemKey"}))
                    if own and own[0]["value"] != row["value"]:
                        if await self.last_event_seq() or await self._count("inbox", {}, by="sessionId"):
                            raise Conflict("a dump is loaded into an empty store only")
                        await self._write([Delete("meta", {"name": "systemKey"})])
                    await self._write([Insert("meta", row)])
                    self._vault.forget("")
                case _:
                    pass  # the schema's version is this store's own; `load` refuses unknown columns
        return len(rows)

    async def _count(self, table: str, where: Where, *, by: str) -> dict[Any, int]:
        return await self._call("count", lambda: self._engine.count(table, where, by), self._reads)

    async def _remove(self, table: str, column: str, before: int, where: Where) -> int:
        removed = 0
        while True:
            step = await self._call(
                "purge",
                lambda: self._engine.purge(table, column, before, limit=_PURGE, where=where),
                self._writes,
            )
            removed += step
            if step < _PURGE:
                return removed


def _check_revs(
    old: Session | OutboundMessage | InboxItem, new: Session | OutboundMessage | InboxItem
) -> None:
    if old.rev == new.rev:
        raise ValueError("the new record needs a rev of its own: make it with moved() or new_rev()")


def _with_rev(item: InboxItem) -> InboxItem:
    return item if item.rev else msgspec.structs.replace(item, rev=new_rev())


def _any_of(values: Collection[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _where(**columns: Any) -> dict[str, Any]:
    """Those that were asked for."""
    return {column: value for column, value in columns.items() if value is not None}


def _address(value: str, otherwise: str) -> str:
    """The column that an address of a query is looked for in: phone numbers are digits."""
    return "phone" if value.lstrip("+").isdecimal() else otherwise
