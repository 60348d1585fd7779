"""Which of a shop's numbers talks with whom: what choosing a number for a message has to know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from wad.models import Address, ChatId, MessageState, SessionId, ShopId
from wad.store import records
from wad.store.base import Query, Row, Where
from wad.store.core import Core
from wad.store.records.values import at

#: What counts as having written to somebody: it went out, or may have, or will.
_WROTE: Final = tuple(
    state.value
    for state in MessageState
    if state
    not in (MessageState.SCHEDULED, MessageState.FAILED, MessageState.CANCELLED, MessageState.EXPIRED)
)
#: How many of a person's messages are looked through for one that was not written to a group.
_LOOKED_THROUGH: Final = 20


class Conversation(msgspec.Struct, frozen=True):
    """What a shop's sessions have had with one person or group."""

    heard: dict[SessionId, datetime] = {}  # when the person last wrote to each, where they did
    wrote: tuple[SessionId, datetime] | None = None  # which one last wrote to them, and when


class ConversationStore(Core):
    """Reads columns alone: nothing has to be unsealed, and each answer is a row by its index."""

    async def conversation(
        self, shop_id: ShopId, session_ids: Collection[SessionId], to: Address
    ) -> Conversation:
        """What these sessions of the shop have had with *to*.

        A person is the same by phone and by user id: what names them both once links the two.
        """
        if to.group_id is not None:
            return Conversation(wrote=await self._wrote(shop_id, session_ids, [to.chat]))
        names = _Names(to)
        heard: dict[SessionId, datetime] = {}
        while todo := names.fresh():
            for column, name in todo:
                for session_id in session_ids:
                    rows = await self._heard({"sessionId": session_id, column: name})
                    names.learn(rows)
                    for row in rows:
                        if row["chat"] in (row["phone"], row["userId"]) or row["chat"] == to.jid:
                            when = at(row["createdAt"])
                            heard[session_id] = max(when, heard.get(session_id, when))
                            break
        return Conversation(heard, await self._wrote(shop_id, session_ids, names.chats))

    async def _heard(self, where: Where) -> list[Row]:
        return await self._find(
            Query(
                table="inbox",
                where={**where, "kind": records.MESSAGE_KIND},
                order="seq",
                descending=True,
                limit=_LOOKED_THROUGH,
                columns=("chat", "phone", "userId", "createdAt"),
            )
        )

    async def _wrote(
        self, shop_id: ShopId, session_ids: Collection[SessionId], chats: Iterable[str]
    ) -> tuple[SessionId, datetime] | None:
        newest: Row | None = None
        for chat in chats:
            rows = await self._find(
                Query(
                    table="messages",
                    where={
                        "chat": chat,
                        "shopId": shop_id,
                        "sessionId": tuple(session_ids),
                        "state": _WROTE,
                    },
                    order="seq",
                    descending=True,
                    limit=1,
                    columns=("sessionId", "seq", "updatedAt"),
                )
            )
            if rows and (newest is None or rows[0]["seq"] > newest["seq"]):
                newest = rows[0]
        return None if newest is None else (SessionId(newest["sessionId"]), at(newest["updatedAt"]))


class _Names:
    """A person's names by column, as they become known."""

    def __init__(self, to: Address) -> None:
        self._known: dict[tuple[str, str], None] = {}
        self._asked = 0
        self._jid = to.jid
        phone = to.phone or _phone_of(to.jid)
        self._add("userId", to.user_id)
        self._add("phone", phone)

    def fresh(self) -> Sequence[tuple[str, str]]:
        """Those that nobody has asked for yet."""
        todo = list(self._known)[self._asked :]
        self._asked += len(todo)
        return todo

    def learn(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._add("userId", row["userId"])
            self._add("phone", row["phone"])

    @property
    def chats(self) -> list[ChatId]:
        """Every chat that is one with this person."""
        names = [name for _, name in self._known]
        return [ChatId(name) for name in (*names, *([self._jid] if self._jid else ()))]

    def _add(self, column: str, name: str | None) -> None:
        if name is not None:
            self._known.setdefault((column, name), None)


def _phone_of(jid: str | None) -> str | None:
    """The number in a JID of WhatsApp Web, which is one for most people."""
    name, _, server = (jid or "").partition("@")
    return f"+{name}" if server in ("s.whatsapp.net", "c.us") and name.isdecimal() else None
