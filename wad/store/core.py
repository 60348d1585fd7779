"""What every operation of the store goes through: group commit, patience, data keys and doubts."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

import trio

from wad.errors import NotFound, StoreUnavailable
from wad.models import InboxItem, Media, OutboundMessage, Session
from wad.secrets import Vault
from wad.store.base import Engine, Insert, Query, Result, Row, Where, Write
from wad.store.commit import GroupCommit
from wad.store.doubts import Doubts

log = logging.getLogger("wad.store")
T = TypeVar("T")
AnyRecord: TypeAlias = Session | OutboundMessage | InboxItem | Media

_FIRST_WAIT: Final = 0.1  # seconds, doubling
_LONGEST_WAIT: Final = 2.0
PURGE: Final = 1000  # rows a step: some 20 ms of the writer, in which commits wait
PAGE: Final = 500  # rows of one read, and values of one `IN`


class _Outage:
    """Tells of an outage once when the first patient caller waits, and once when it is over."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._since: float | None = None

    def begins(self, error: StoreUnavailable) -> None:
        if self._since is None:
            self._since = trio.current_time()
            log.warning("store_away", extra={"operation": self._operation, "detail": error.detail})

    def ends(self) -> None:
        if self._since is not None:
            seconds = trio.current_time() - self._since
            self._since = None
            log.info("store_back", extra={"operation": self._operation, "seconds": round(seconds, 1)})


class Core:
    """An engine, a vault, and the way to reach them."""

    def __init__(self, engine: Engine, vault: Vault, *, reached: trio.Event | None = None) -> None:
        """*reached* is set once the engine has been checked: nothing is asked of it before. None: it has been."""
        self._reached = reached
        self._engine = engine
        self._vault = vault
        self._committing = GroupCommit(engine)
        self._doubts = Doubts()
        self._reads, self._writes = _Outage("read"), _Outage("write")
        self._observers: list[Callable[[str, float], None]] = []
        self._is_patient = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.name}{' patient' if self._is_patient else ''}>"

    @property
    def engine_name(self) -> str:
        return self._engine.name

    @property
    def waiting(self) -> int:
        """Writes that wait to be durable."""
        return self._committing.waiting

    def patient(self) -> Self:
        """The same store for those with nobody to answer to: it waits out an outage instead of raising."""
        view = copy.copy(self)
        view._is_patient = True  # noqa: SLF001  our own kind
        return view

    def observe(self, observer: Callable[[str, float], None]) -> None:
        """Tell *observer* of each operation that succeeded: its name, and how many seconds it took its caller."""
        self._observers.append(observer)

    async def ping(self) -> None:
        """Return if the store answers, else raise StoreUnavailable."""
        await self._engine.ping()

    async def close(self) -> None:
        """Finish what is being written, erase what is in doubt, and let go of the engine."""
        with trio.CancelScope(shield=True):
            await self._committing.drained()
            if self._doubts:
                try:
                    await self._erase_doubts()
                except StoreUnavailable as error:
                    log.error(  # noqa: TRY400  the store is away: a trace tells nothing more
                        "doubtful_messages_left", extra={"count": len(self._doubts), "detail": error.detail}
                    )
            await self._committing.drained()
            await self._engine.close()

    # --- reading and writing

    async def _find(self, query: Query) -> list[Row]:
        return await self._call("find", lambda: self._engine.find(query), self._reads)

    async def _find_all(self, query: Query, column: str, values: Iterable[str]) -> list[Row]:
        """*query* for every one of *values* in *column*, however many."""
        wanted = list(dict.fromkeys(values))
        rows: list[Row] = []
        for at in range(0, len(wanted), PAGE):
            where = {**query.where, column: tuple(wanted[at : at + PAGE])}
            rows += await self._find(Query(table=query.table, where=where, columns=query.columns))
        return rows

    async def _count(self, table: str, where: Where, *, by: str) -> dict[Any, int]:
        return await self._call("count", lambda: self._engine.count(table, where, by), self._reads)

    async def _remove(self, table: str, column: str, before: int, where: Where) -> int:
        """Purge in steps that let commits through; how many rows went."""
        removed = 0
        while True:
            step = await self._call(
                "purge",
                lambda: self._engine.purge(table, column, before, limit=PURGE, where=where),
                self._writes,
            )
            removed += step
            if step < PURGE:
                return removed

    async def _write(self, writes: Sequence[Write]) -> list[Result]:
        return await self._call("write", lambda: self._commit(writes), self._writes)

    async def _commit(self, writes: Sequence[Write]) -> list[Result]:
        if not self._doubts:
            return await self._committing.commit(writes)
        now = trio.current_time()
        claimed = self._doubts.claim(now)
        erasures = self._doubts.erasures(claimed)
        try:
            results = await self._committing.commit([*erasures, *writes])
        except BaseException:
            self._doubts.failed(claimed)
            raise
        self._doubts.erased(claimed, now)
        return results[len(erasures) :]

    async def _erase_doubts(self) -> None:
        await self._commit(())

    async def _call(self, operation: str, call: Callable[[], Awaitable[T]], outage: _Outage) -> T:
        if self._reached is not None and not self._reached.is_set():
            if not self._is_patient:
                raise StoreUnavailable("the store has not been reached yet")
            await self._reached.wait()
        wait = _FIRST_WAIT
        while True:
            started = trio.current_time()
            try:
                result = await call()
            except StoreUnavailable as error:
                if not self._is_patient:
                    raise
                outage.begins(error)
                await trio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                outage.ends()
                for observer in self._observers:
                    observer(operation, trio.current_time() - started)
                return result

    # --- data keys

    async def _learn_keys(self, session_ids: Iterable[str]) -> None:
        """Have the vault know the data keys of these sessions, as far as they exist."""
        missing = {session_id for session_id in session_ids if not self._vault.knows(session_id)}
        if not missing:
            return
        if "" in missing:
            await self._learn_system_key()
        query = Query(table="sessions", columns=("sessionId", "dataKey"))
        for row in await self._find_all(query, "sessionId", missing - {""}):
            self._vault.learn(row["sessionId"], row["dataKey"])

    async def _need_keys(self, session_ids: Iterable[str]) -> None:
        """As `_learn_keys`, for sealing: a session that does not exist is an error."""
        wanted = set(session_ids)
        await self._learn_keys(wanted)
        for session_id in wanted:
            if not self._vault.knows(session_id):
                raise NotFound(f"there is no session {session_id!r}")

    async def _learn_system_key(self) -> None:
        """The key of what belongs to no session. Of several that make one at once, the first one's stands."""
        name = "systemKey"
        rows = await self._find(Query(table="meta", where={"name": name}))
        if not rows:
            wrapped = self._vault.fresh().new_key("")
            await self._write([Insert("meta", {"name": name, "value": wrapped})])
            rows = await self._find(Query(table="meta", where={"name": name}))
        self._vault.learn("", rows[0]["value"])


def check_revs(old: AnyRecord, new: AnyRecord) -> None:
    """Refuse a record that could not be told from the one it replaces."""
    if old.rev == new.rev:
        raise ValueError("the new record needs a rev of its own: make it with moved() or new_rev()")


def asked(**columns: Any) -> dict[str, Any]:
    """Those columns of a query that somebody asked for."""
    return {column: value for column, value in columns.items() if value is not None}
