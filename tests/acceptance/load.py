"""Load in both directions, and the count of every message after it.

The count goes by the sandbox's ledger and by what callers were answered, never by wad's own word alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import cycle
from typing import Any

import httpx
import trio

from tests.acceptance.daemon import Daemon
from tests.acceptance.town import NUMBER, Town, all_messages

CHATS = 12  # at a time
PER_CUSTOMER = 40  # messages, both ways together: Meta's pair limit (45 in a burst) holds none of them back
ENDS = {"accepted", "sent", "delivered", "read", "failed", "cancelled", "expired", "done", "dead"}
WENT_OUT = {"accepted", "sent", "delivered", "read"}
SETTLES = 120  # seconds, far more than any of it takes


class Load:
    """Who sends over the API, and who writes to the number; what they were answered is remembered."""

    def __init__(
        self, here: Town, daemon: Daemon, session_id: str = "shop", *, number: str = NUMBER, first: int = 0
    ) -> None:
        """*number* is the session's, by the sandbox's id for it, whatever its provider.

        Two loads on one daemon count their messages, and so their customers, from another *first*.
        """
        self.acknowledged: dict[str, str] = {}  # message id -> text
        self.refused: Counter[int] = Counter()
        self._here = here
        self._daemon = daemon
        self._session_id = session_id
        self._number_id = number
        self._number = first
        self._said = [first] * CHATS

    async def run(self) -> None:
        """Go on until cancelled. Callers end by themselves once the daemon is gone."""
        async with trio.open_nursery() as nursery:
            for chat in range(CHATS):
                nursery.start_soon(self._chat_away, chat)
            nursery.start_soon(self._customers)

    async def until_more(self, messages: int, seconds: float = 60) -> None:
        """Return once so many more were answered 202."""
        enough = len(self.acknowledged) + messages
        with trio.fail_after(seconds):
            while True:
                if len(self.acknowledged) >= enough:
                    return
                await trio.sleep(0.01)

    async def _chat_away(self, chat: int) -> None:
        """One customer after the other, one message after the other, until the daemon is gone."""
        async with self._daemon.client() as client:
            while True:
                self._number += 1
                text = f"{chat}:{self._number:06}"
                try:
                    answer = await client.post(
                        "/api/whatsapp/send",
                        json={
                            "sessionId": self._session_id,
                            "to": self._customer(chat),
                            "text": text,
                        },
                    )
                except httpx.TransportError:
                    return  # not acknowledged: it may be there or not
                if answer.status_code == 202:
                    self.acknowledged[answer.json()["messageId"]] = text
                else:
                    self.refused[answer.status_code] += 1
                await trio.sleep(0.002)

    async def _customers(self) -> None:
        for chat in cycle(range(CHATS)):
            self._number += 1
            await self._here.writes(
                self._customer(chat), f"in-{self._number:06}", phoneNumberId=self._number_id
            )
            await trio.sleep(0.005)

    def _customer(self, chat: int) -> str:
        """Whom the next message of this chat is to or from."""
        self._said[chat] += 1
        return f"+52155{self._said[chat] // PER_CUSTOMER:06}{chat:02}"


async def settled(daemon: Daemon) -> list[dict[str, Any]]:
    """Every message, once none is on its way any more."""
    moving: list[dict[str, Any]] = []
    with trio.move_on_after(SETTLES):
        while True:
            messages = await all_messages(daemon)
            moving = [m for m in messages if on_its_way(m)]
            if not moving:
                return messages
            await trio.sleep(0.3)
    raise AssertionError(f"after {SETTLES} s, {len(moving)} messages are still on their way: {moving[:5]}")


def on_its_way(message: dict[str, Any]) -> bool:
    if message["status"] == "unknown":
        return not message["deadLetter"]
    return message["status"] not in ENDS


async def count(here: Town, daemon: Daemon, *loads: Load) -> dict[str, dict[str, Any]]:
    """Check that nothing is lost and nothing was done twice, once all is quiet. The outbound messages, by id."""
    await here.until_quiet()  # all that customers wrote has come in
    await settled(daemon)  # and all that follows from it has gone out
    await here.until_quiet()  # and its statuses have come in, too
    messages = await settled(daemon)
    sends = await here.ledger("send")
    deliveries = await here.ledger("delivery")
    events = {event["eventId"]: event for event in await here.ledger("event")}

    outbound = {m["messageId"]: m for m in messages if m["direction"] == "outbound"}
    on_the_wire = Counter(send["callbackData"] for send in sends)

    # Every 202 is in exactly one place, and every message that the network saw is one of ours.
    for load in loads:
        assert load.acknowledged.keys() <= outbound.keys()
    assert on_the_wire.keys() <= outbound.keys()
    # Nothing was sent twice, whatever happened.
    assert [each for each, times in on_the_wire.items() if times > 1] == []
    # A message is believed to have gone out if and only if it did: its status webhook settled what was in doubt.
    went_out = {each for each, m in outbound.items() if m["status"] in WENT_OUT}
    assert went_out == on_the_wire.keys()
    assert {m["status"] for m in outbound.values()} <= WENT_OUT | {"unknown"}

    # Every customer's message was answered 200 in the end, and each of those had its effect, once.
    acknowledged = {e for d in deliveries if d["status"] == 200 for e in d["events"]}
    assert acknowledged == events.keys()
    taken = {
        said(item) for event in events.values() if event["event"] == "message" for item in event["items"]
    }
    replies = Counter(
        m["text"]["body"].removeprefix("re: ")
        for m in outbound.values()
        if m["text"]["body"].startswith("re: ")
    )
    assert set(replies) == taken
    assert set(replies.values()) == {1}

    # A chat's messages went out in the order in which they were taken.
    order: dict[str, list[str]] = defaultdict(list)
    for send in sends:
        text = said(send["body"])
        if not text.startswith("re: "):
            order[send["to"]].append(text)
    for texts in order.values():
        assert texts == sorted(texts)
    return outbound


def said(body: dict[str, Any]) -> str:
    """The text of a send or of a webhook's item, in Meta's shape or in Twilio's."""
    return str(body["Body"] if "Body" in body else body["text"]["body"])
