"""Load in both directions over every provider at once, and what each caller was answered.

A text stands in one message only, so that by its text a message is known wherever it turns up.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from tests.acceptance.shop import API, Shop
from tests.acceptance.web.place import Web, a_person

#: Seconds of one chat between two of our messages, and between two of the customer's.
PAUSE, THEIR_PAUSE = 0.1, 1.0
#: So many messages customers are ahead of ours at most: a backlog of a daemon's absence that takes minutes to work off
#: would show nothing more.
AHEAD = 50
#: Messages with one customer, both ways together: Meta's pair limit (45 in a burst) holds none of them back.
PER_CUSTOMER = 40
#: Of so many messages in a chat of WhatsApp Web, one is a picture: slower than the text that follows it.
PICTURE_EVERY = 6
PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


class Chat(ABC):
    """Where messages go both ways."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    @abstractmethod
    async def send(self, text: str) -> httpx.Response:
        """Ask for *text* to be sent, over the API."""

    @abstractmethod
    async def write(self, text: str) -> None:
        """Write *text* to the number, as a customer."""


class ApiChat(Chat):
    """With one customer after the other, over a provider that is an API."""

    _indexes = itertools.count()

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self._index = next(self._indexes)
        self._said = 0

    async def send(self, text: str) -> httpx.Response:
        return await self.shop.send(text, self._customer())

    async def write(self, text: str) -> None:
        await self.shop.writes(self._customer(), text)

    def _customer(self) -> str:
        self._said += 1
        return f"+52155{self._said // PER_CUSTOMER:05}{self._index:03}"


class WebChat(Chat):
    """With a person, or with a group, over WhatsApp Web."""

    def __init__(self, shop: Web, people: Sequence[str], picture: str, group: str | None = None) -> None:
        super().__init__(shop)
        self._web = shop
        self._people = itertools.cycle(people)
        self._to = {"groupId": group} if group else {"to": f"+{people[0]}"}
        self._where = {"groupId": group} if group else {}
        self._picture = picture
        self._count = 0

    async def send(self, text: str) -> httpx.Response:
        self._count += 1
        body: dict[str, Any] = {"sessionId": self.shop.session_id, **self._to, "text": text}
        if not self._count % PICTURE_EVERY:
            del body["text"]
            body["image"] = {"mediaId": self._picture, "caption": text}
        path = "send-group" if "groupId" in self._to else "send"
        return await self.shop.api.post(f"{API}/{path}", json=body)

    async def write(self, text: str) -> None:
        await self._web.says(next(self._people), **self._where, text=text)


async def chats_of(shop: Shop, number: int = 2) -> list[Chat]:
    """As many chats; over WhatsApp Web: two people, one of them known by LID, and their group."""
    if not isinstance(shop, Web):
        return [ApiChat(shop) for _ in range(number)]
    people = [a_person(), a_person()]
    await shop.asks("contacts", phone=people[-1], addressing="lid")
    group = await shop.asks("groups", subject="Vecinos", participants=[*people, shop.phone], addressing="lid")
    picture = await shop.uploaded(PICTURE, "image/jpeg")
    return [
        *(WebChat(shop, [person], picture) for person in people),
        WebChat(shop, people, picture, group["groupId"]),
    ]


class Load:
    """Who sends over the API, and who writes to the numbers."""

    def __init__(self, chats: Collection[Chat], texts: Iterator[int], *, pause: float = PAUSE) -> None:
        self.acknowledged: dict[str, str] = {}  # message id -> text
        self.refused: Counter[int] = Counter()
        self.refusals: list[str] = []  # what those were told
        self.wrong: list[str] = []  # refusals that do not say when to come back
        self.written = 0
        self._chats = chats
        self._texts = texts
        self._pause = pause

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on for as long as the block runs, whether or not anybody listens."""
        async with trio.open_nursery() as nursery:
            for chat in self._chats:
                nursery.start_soon(self._send, chat)
                nursery.start_soon(self._write, chat)
            yield
            nursery.cancel_scope.cancel()

    async def until_more(self, messages: int, seconds: float = 60) -> None:
        """Return once so many more were answered 202."""
        enough = len(self.acknowledged) + messages
        with trio.fail_after(seconds):
            while True:
                if len(self.acknowledged) >= enough:
                    return
                await trio.sleep(0.02)

    async def _send(self, chat: Chat) -> None:
        """One message after the other: the next one once the last was answered."""
        while True:
            text = f"out-{next(self._texts):07}"
            try:
                answer = await chat.send(text)
            except httpx.TransportError:
                pass  # not acknowledged: it may be there or not
            else:
                if answer.status_code == 202:
                    self.acknowledged[answer.json()["messageId"]] = text
                else:
                    self.refused[answer.status_code] += 1
                    self.refusals.append(answer.text)
                    # (408: its body had come while the process stood still.)
                    if answer.status_code not in (408, 429, 503) or (
                        answer.status_code != 408 and "Retry-After" not in answer.headers
                    ):
                        self.wrong.append(f"{answer.status_code} {answer.text}")
            await trio.sleep(self._pause)

    async def _write(self, chat: Chat) -> None:
        while True:
            with trio.CancelScope(shield=True):  # said is said, whatever is cancelled meanwhile
                await chat.write(f"in-{next(self._texts):07}")
            self.written += 1
            await trio.sleep(THEIR_PAUSE)
            while self.written > len(self.acknowledged) + AHEAD:  # noqa: ASYNC110  no event tells it
                await trio.sleep(THEIR_PAUSE)
