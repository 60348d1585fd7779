"""Load both ways over WhatsApp Web, and the count of every message after it.

The count goes by the network's own record and by what callers were answered, never by wad's own word alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.load import WENT_OUT, settled
from tests.acceptance.town import Town
from tests.acceptance.web.place import API, Web, a_person, until

PEOPLE = 2  # a session, and their group
#: Of so many messages in a chat, one is a picture: slower than the text that follows it.
PICTURE_EVERY = 6
PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
#: How Baileys refuses a copy whose key is spent: it deciphered the message before it was killed.
HAD_IT = 487
ROOM = 60.0  # seconds, far more than quiet takes to come


class Chat:
    """Where messages go both ways: a person, or a group of two."""

    def __init__(self, number: Web, people: Sequence[str], group: str | None = None) -> None:
        self.number = number
        self.people = people
        self.group = group

    @property
    def to(self) -> dict[str, str]:
        """As a send names it."""
        return {"groupId": self.group} if self.group else {"to": f"+{self.people[0]}"}

    @property
    def id(self) -> str:
        """As the network's record names it."""
        return self.group or self.people[0]


class Load:
    """Who sends over the API, and who writes to the numbers. What they were answered is remembered."""

    def __init__(self, here: Town, daemon: Daemon, numbers: Sequence[Web]) -> None:
        self.acknowledged: dict[str, tuple[Chat, str]] = {}  # message id -> where to, and what
        self.said: dict[tuple[str, str], tuple[Chat, str]] = {}  # phone and WhatsApp's id -> where, and what
        self.refused: Counter[int] = Counter()
        self.here = here
        self.daemon = daemon
        self.numbers = numbers
        self._count = 0
        self._media: dict[str, str] = {}
        self.chats: list[Chat] = []

    async def prepare(self) -> None:
        """Make the chats, and a picture for each number."""
        for number in self.numbers:
            people = [a_person() for _ in range(PEOPLE)]
            self.chats += [Chat(number, [person]) for person in people]
            # One of them is known by LID, and of the groups every other.
            await number.asks("contacts", phone=people[-1], addressing="lid")
            group = await number.asks(
                "groups",
                subject="Vecinos",
                participants=[*people, number.phone],
                addressing="lid" if len(self._media) % 2 else "pn",
            )
            self.chats.append(Chat(number, people, group["groupId"]))
            self._media[number.session_id] = await number.uploaded(PICTURE, "image/jpeg")

    async def run(self) -> None:
        """Go on until cancelled. Callers end by themselves once the daemon is gone."""
        async with trio.open_nursery() as nursery:
            for chat in self.chats:
                nursery.start_soon(self._send, chat)
                nursery.start_soon(self._write, chat)

    def _next(self, sign: str) -> str:
        self._count += 1
        return f"{sign}{self._count:06}"

    async def _send(self, chat: Chat) -> None:
        async with self.daemon.client() as api:
            while True:
                text = self._next("out-")
                body: dict[str, Any] = {"sessionId": chat.number.session_id, **chat.to}
                if self._count % PICTURE_EVERY:
                    body["text"] = text
                else:
                    body["image"] = {"mediaId": self._media[chat.number.session_id], "caption": text}
                try:
                    answer = await api.post(f"{API}/send-group" if chat.group else f"{API}/send", json=body)
                except httpx.TransportError:
                    return  # not acknowledged: it may be there or not
                if answer.status_code == 202:
                    self.acknowledged[answer.json()["messageId"]] = chat, text
                else:
                    self.refused[answer.status_code] += 1
                await trio.sleep(0.05)

    async def _write(self, chat: Chat) -> None:
        where = {"groupId": chat.group} if chat.group else {"to": chat.number.phone}
        while True:
            for person in chat.people:
                text = self._next("in-")
                # What is said is noted whatever is cancelled meanwhile.
                with trio.CancelScope(shield=True):
                    said = await self.here.control("POST", "/web/say", **{"from": person}, **where, text=text)
                self.said[chat.number.phone, said["id"]] = chat, text
                await trio.sleep(0.05)


class Count:
    """What the network saw and what wad says of it, once all is quiet."""

    def __init__(self, load: Load, messages: list[dict[str, Any]], record: list[dict[str, Any]]) -> None:
        phones = {number.phone for number in load.numbers}
        record = [each for each in record if each["account"] in phones]
        self.load = load
        self.ours = {m["messageId"]: m for m in messages if m["direction"] == "outbound"}
        self.theirs = [m for m in messages if m["direction"] == "inbound"]
        self.sent = {(e["account"], e["id"]): e for e in record if e["direction"] == "out"}
        self.heard = {(e["account"], e["id"]): e for e in record if e["direction"] == "in"}
        self._phone_of = {number.session_id: number.phone for number in load.numbers}

    def wire(self, message: dict[str, Any]) -> tuple[str, str]:
        """How the network's record names one of ours."""
        return self._phone_of[message["sessionId"]], message["providerMessageId"]

    def came(self, message: dict[str, Any]) -> tuple[str, str]:
        """How the network's record names one of theirs."""
        return self._phone_of[message["sessionId"]], message["providerMessageId"].rpartition("/")[2]

    def people(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """What became of a message at those it went to; the account's own phone has a copy, and is none of them."""
        return [what for phone, what in entry["recipients"].items() if phone != entry["account"]]

    # --- what is promised -------------------------------------------------------------------------

    def check(self) -> None:
        self.every_202_is_in_one_place()
        self.nothing_is_seen_twice()
        self.all_that_was_accepted_is_shown()
        self.all_that_was_acknowledged_came_in_once()
        self.chats_keep_their_order()

    def every_202_is_in_one_place(self) -> None:
        assert self.load.acknowledged.keys() <= self.ours.keys()
        assert {m["status"] for m in self.ours.values()} <= WENT_OUT
        names = Counter(self.wire(m) for m in self.ours.values())
        assert [name for name, times in names.items() if times > 1] == []
        assert names.keys() == self.sent.keys()  # and nothing went out that is not ours

    def nothing_is_seen_twice(self) -> None:
        for entry in self.sent.values():
            assert max((who["shown"] for who in self.people(entry)), default=0) <= 1, entry
        seen: Counter[tuple[str, str, str]] = Counter()
        for entry in self.sent.values():
            for phone, who in entry["recipients"].items():
                if who["shown"]:
                    seen[entry["account"], phone, words(who["content"])] += 1
        assert [each for each, times in seen.items() if times > 1] == []

    def all_that_was_accepted_is_shown(self) -> None:
        for message in self.ours.values():
            entry = self.sent[self.wire(message)]
            assert entry["recipients"], entry
            assert [who["shown"] for who in self.people(entry)] == [1] * len(self.people(entry)), entry
            said = message["text"]["body"] if message["type"] == "text" else message["image"]["caption"]
            assert {words(who["content"]) for who in self.people(entry)} == {said}

    def all_that_was_acknowledged_came_in_once(self) -> None:
        acknowledged = {name for name, entry in self.heard.items() if entry["received"] is not None}
        rows = Counter(self.came(m) for m in self.theirs)
        lost = acknowledged - rows.keys()
        assert not lost, [self.heard[name] for name in lost]
        assert [name for name, times in rows.items() if times > 1] == []
        # In the end the account acknowledges everything, and so everything came in.
        assert self.load.said.keys() <= rows.keys()
        replies = Counter(
            m["text"]["body"].removeprefix("re: ")
            for m in self.ours.values()
            if m["type"] == "text" and m["text"]["body"].startswith("re: ")
        )
        assert replies == Counter(m["text"]["body"] for m in self.theirs)

    def chats_keep_their_order(self) -> None:
        """Ours reach the network in the order in which they were taken, and theirs reach the flow as they were said.

        But for what the client could not decipher at first: that comes when it is said again.
        """
        ours: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        for message_id, (chat, text) in self.load.acknowledged.items():
            place = self.sent[self.wire(self.ours[message_id])]["n"]  # by its first copy
            ours[chat.number.phone, chat.id].append((place, text))
        for chat_id, went in ours.items():
            texts = [text for _, text in sorted(went)]
            assert texts == sorted(texts), chat_id
        assert self.late(asked_again=False) == []

    def late(self, *, asked_again: bool) -> list[str]:
        """Of theirs, those that came in after one that was said after them in the same chat."""
        late: list[str] = []
        last: dict[tuple[str, str], str] = {}
        for message in self.theirs[::-1]:  # as they came in
            if self.heard[self.came(message)]["retries"] and not asked_again:
                continue
            chat = message["sessionId"], message["chat"]["id"]
            text = message["text"]["body"]
            if text < last.get(chat, ""):
                late.append(text)
            last[chat] = max(text, last.get(chat, ""))
        return late

    def numbers(self) -> dict[str, int]:
        """What the kills did to messages on their way, for whoever wants to know."""
        sent, heard = self.sent.values(), self.heard.values()
        return {
            "acknowledged": len(self.load.acknowledged),
            "sent": len(sent),
            "sent again": sum(entry["sent"] > 1 for entry in sent),
            "undecipherable at first": sum(
                any(who["undecryptable"] for who in self.people(entry)) for entry in sent
            ),
            "said": len(heard),
            "asked for again": sum(entry["retries"] > 0 for entry in heard),
            "refused": sum(bool(entry["nacked"]) for entry in heard),
            "told to have come before": sum(entry["received"] is None for entry in heard),
            "in late": len(self.late(asked_again=True)),
        }


def words(content: dict[str, Any]) -> str:
    return str(content.get("text") or content.get("caption"))


async def quiet(load: Load) -> list[dict[str, Any]]:
    """The network's record, once it has nothing on its way: those it is for have all of it."""
    record: list[dict[str, Any]] = []

    async def on_its_way() -> list[dict[str, Any]]:
        record[:] = (await load.here.control("GET", "/web/messages"))["entries"]
        return [each for each in record if not is_over(each)]

    await until(on_its_way, lambda left: not left, seconds=ROOM, what="nothing on its way")
    return record


def is_over(entry: dict[str, Any]) -> bool:
    """Theirs: the client has said that it has it, or that it had it before. Ours: everybody has seen it."""
    if entry["direction"] == "in":
        return entry["received"] is not None or HAD_IT in entry["nacked"]
    return all(who["shown"] for who in entry["recipients"].values())


async def count(load: Load) -> Count:
    await settled(load.daemon)  # what callers asked for has gone out
    await quiet(load)  # what people said has come in
    await until(  # and the flow has answered it
        lambda: settled(load.daemon),
        lambda messages: (
            sum(m["direction"] == "inbound" for m in messages)
            == sum(m["type"] == "text" and m["text"]["body"].startswith("re: ") for m in messages)
        ),
        seconds=ROOM,
        what="answered",
    )
    record = await quiet(load)
    return Count(load, await settled(load.daemon), record)
