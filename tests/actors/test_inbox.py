"""What customers write is stored, delivered in order per chat, and answered once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.house import House, now, shop
from tests.simulated import SimulatedProvider
from wad.content import parse_reply
from wad.events import FlowDelivered, InboundDuplicate, MessageReceived
from wad.flow.client import FlowClient
from wad.flow.delivery import FlowDefaults, Flows
from wad.models import (
    AccountEvent,
    ChatId,
    InboundMessage,
    InboxItem,
    InboxState,
    MessageState,
    Person,
    SessionId,
    StatusUpdate,
)
from wad.supervisor.sessions import Sessions


class Body(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


class FlowService(httpx.AsyncBaseTransport):
    """A flow service in memory. `answers` are used up first; then it echoes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.answers: list[int | dict[str, Any] | Exception] = []
        self.latency = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        event = json.loads(await request.aread())
        self.events.append(event)
        self.ids.append(request.headers["webhook-id"])
        await trio.sleep(self.latency)
        match self.answers.pop(0) if self.answers else None:
            case int(status):
                return httpx.Response(status, stream=Body(b""))
            case Exception() as error:
                raise error
            case dict(answer):
                return httpx.Response(200, stream=Body(json.dumps(answer).encode()))
        if event["type"] != "message.received":
            return httpx.Response(204, stream=Body(b""))
        body = event["data"].get("text", {}).get("body", "")
        return httpx.Response(200, stream=Body(json.dumps({"replies": [{"text": f"re: {body}"}]}).encode()))

    def heard(self) -> list[str]:
        return [event["data"]["text"]["body"] for event in self.events]


def house_with(flow: FlowService, *events: str, world: SimulatedProvider | None = None) -> House:
    client = httpx.AsyncClient(transport=flow)
    flows = Flows(
        FlowDefaults(url="http://flow.example/", events=frozenset(events)),
        FlowClient(guarded=client, trusted=client, check_reply=parse_reply, now=now),
    )
    return House(flows=flows, world=world or SimulatedProvider())


def message(number: int, body: str = "hola", phone: str = "+521", **more: Any) -> InboundMessage:
    return InboundMessage(
        provider_message_id=f"in-{number}",
        chat=ChatId(phone),
        sender=Person(phone=phone, name="Ana"),
        content={"type": "text", "text": {"body": body}},
        **more,
    )


async def receive(sessions: Sessions, *events: InboundMessage | AccountEvent | StatusUpdate) -> None:
    await sessions.actors.get(SessionId("shop")).received(events)


async def only_item(house: House) -> InboxItem:
    [fact] = house.facts_of(MessageReceived)
    item = await house.store().inbox_item(fact.item.message_id)
    assert item is not None
    return item


async def test_a_message_is_answered(autojump_clock: MockClock) -> None:
    """The flow's reply goes to the person who wrote."""
    flow = FlowService()
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(1)
        assert house.world.bodies("+521") == ["re: hola"]
        assert (await only_item(house)).state is InboxState.DONE


async def test_two_hundred_people_at_once_each_get_their_own_answer(autojump_clock: MockClock) -> None:
    """Each message is attributed to its sender and answered once, to the right person."""
    flow = FlowService()
    flow.latency = 0.2
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(receive, sessions, message(number, f"I am {number}", f"+52{number:03}"))
        await trio.sleep(60)
    assert len(house.world.ledger) == 200
    for number in range(200):
        assert house.world.bodies(f"+52{number:03}") == [f"re: I am {number}"]


async def test_one_chat_is_delivered_in_order_and_the_others_beside_it(autojump_clock: MockClock) -> None:
    """The next message of a chat waits until the one before is answered, also while that is retried."""
    flow = FlowService()
    flow.latency = 1.0
    flow.answers = [503]
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1, "a1", "+521"), message(2, "a2", "+521"))
        await trio.sleep(0.5)
        await receive(sessions, message(3, "b1", "+522"))
        await trio.sleep(60)
    assert flow.heard() == ["a1", "b1", "a1", "a2"]
    assert house.world.bodies("+521") == ["re: a1", "re: a2"]


async def test_the_same_message_again_changes_nothing(autojump_clock: MockClock) -> None:
    """Providers redeliver for days; the unique index remembers."""
    flow = FlowService()
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1), message(1))
        await trio.sleep(1)
    async with house.run() as sessions:
        await receive(sessions, message(1))
        await trio.sleep(1)
    assert flow.heard() == ["hola"]
    assert house.world.bodies() == ["re: hola"]
    assert len(house.facts_of(InboundDuplicate)) == 2


async def test_an_answer_is_queued_once_however_often_the_event_is_delivered(
    autojump_clock: MockClock,
) -> None:
    """The daemon dies between the flow's answer and its storing: the flow is asked again, and one reply goes out."""
    flow = FlowService()
    flow.latency = 2.0
    house = house_with(flow)
    async with house.run(grace=0) as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(1)  # the flow has it, and has not answered
    async with house.run() as sessions:
        await trio.sleep(10)
    assert flow.heard() == ["hola", "hola"]
    assert flow.ids[0] == flow.ids[1]  # its idempotency key
    assert house.world.bodies() == ["re: hola"]


async def test_a_flow_that_is_down_gets_everything_when_it_is_up(autojump_clock: MockClock) -> None:
    """Down, then a restart of wad, then up: all are delivered, each once, in order."""
    flow = FlowService()
    flow.answers = [httpx.ConnectError("refused") for _ in range(30)]
    house = house_with(flow)
    async with house.run(grace=0) as sessions:
        await shop(sessions)
        await receive(sessions, *(message(n, f"m{n}", f"+52{n % 2}") for n in range(6)))
        await trio.sleep(20)
        assert house.world.ledger == []
    flow.answers.clear()
    flow.events.clear()
    async with house.run() as sessions:
        await trio.sleep(1000)
    assert house.world.bodies("+520") == ["re: m0", "re: m2", "re: m4"]
    assert house.world.bodies("+521") == ["re: m1", "re: m3", "re: m5"]
    assert len(flow.events) == 6


async def test_a_day_without_an_answer_is_a_dead_letter_that_can_be_retried(
    autojump_clock: MockClock,
) -> None:
    """After WhatsApp's window it gives up, visibly; a person can have it delivered again."""
    flow = FlowService()
    flow.answers = [503] * 1000
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(25 * 3600)
        [dead] = await house.store().dead_letters()
        assert isinstance(dead, InboxItem)
        assert dead.error is not None
        assert dead.error.code == "flow_failed"
        flow.answers.clear()
        await sessions.messages.retry_dead_letter(dead.message_id)
        await trio.sleep(5)
        assert await house.store().dead_letters() == []
        assert house.world.bodies() == ["re: hola"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (404, "flow_refused"),
        (302, "flow_refused"),
        ({"replies": [{"text": 5}]}, "flow_bad_answer"),
        ({"answers": []}, "flow_bad_answer"),
    ],
)
async def test_an_answer_that_is_wrong_in_itself_dies_after_five_tries(
    autojump_clock: MockClock, answer: int | dict[str, Any], code: str
) -> None:
    """Somebody has to mend the flow: no point in a day of retries."""
    flow = FlowService()
    flow.answers = [answer] * 100
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(3600)
    assert len(flow.events) == 5
    item = await only_item(house)
    assert (item.state, item.error and item.error.code) == (InboxState.DEAD, code)
    assert [fact.outcome for fact in house.facts_of(FlowDelivered)] == ["retry"] * 4 + ["dead"]


async def test_a_reply_that_the_provider_cannot_send_is_a_dead_letter(autojump_clock: MockClock) -> None:
    """Well-formed, but beyond the provider: none of the answer's replies is sent, and the reason is shown."""
    flow = FlowService()
    flow.answers = [{"replies": [{"text": "fine"}, {"location": {"latitude": 1, "longitude": 2}}]}]
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(60)
    item = await only_item(house)
    assert item.state is InboxState.DEAD
    assert item.error is not None
    assert item.error.code == "invalid_reply"
    assert "location" in item.error.detail
    assert house.world.ledger == []


async def test_a_flow_that_is_gone_is_disabled_and_the_session_says_so(autojump_clock: MockClock) -> None:
    """410: nothing more is delivered, also after a restart, until the flow has a new address."""
    flow = FlowService()
    flow.answers = [410]
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(1)
        reason = sessions.status(SessionId("shop")).reason
        assert reason is not None
        assert reason.code == "flow_gone"
    async with house.run() as sessions:
        await receive(sessions, message(2))
        await trio.sleep(60)
        assert len(flow.events) == 1
        await sessions.update(SessionId("shop"), settings={"flowUrl": "http://flow.example/new"})
        await receive(sessions, message(3))
        await trio.sleep(5)
    assert len(flow.events) == 2


async def test_a_flow_hears_of_what_it_asked_for_and_of_nothing_else(autojump_clock: MockClock) -> None:
    """`flow.events` lists them; an account event that it did not list is stored all the same."""
    flow = FlowService()
    house = house_with(flow, "message.status")
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, AccountEvent(type="account.update", dedupe_key="x", data={"a": 1}))
        await receive(sessions, message(1))
        await trio.sleep(5)
        sent = house.world.ledger[0]
        at = now()
        await receive(
            sessions,
            StatusUpdate(provider_message_id="?", message_id=sent.message_id, state=MessageState.SENT, at=at),
        )
        await trio.sleep(5)
    told = [(e["type"], e["data"].get("status")) for e in flow.events]
    assert told == [
        ("message.received", None),
        ("message.status", "accepted"),
        ("message.status", "sent"),
    ]
    assert len(house.facts_of(MessageReceived)) == 2


async def test_a_bug_in_a_delivery_costs_one_crash_and_leaves_a_dead_letter(
    autojump_clock: MockClock,
) -> None:
    """A poisoned item must not crash the session again and again; the others are answered."""
    flow = FlowService()
    flow.answers = [RuntimeError("a bug")]
    house = house_with(flow)
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1, "poison", "+521"), message(2, "fine", "+522"))
        await trio.sleep(60)
        assert sessions.status(SessionId("shop")).restarts == 1
        assert sessions.status(SessionId("shop")).is_connected
        [dead] = await house.store().dead_letters()
        assert isinstance(dead, InboxItem)
        assert dead.error is not None
        assert dead.error.code == "internal"
    assert len(house.world.ledger) == 1


async def test_without_a_flow_messages_stay_readable(autojump_clock: MockClock) -> None:
    """Neither URL nor rules: stored, done, nothing waits."""
    house = House()
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, message(1))
        await trio.sleep(1)
        assert (await only_item(house)).state is InboxState.DONE


async def test_a_received_file_gets_an_id_of_wads_own() -> None:
    """The provider's media id stays inside; the same file redelivered has the same id."""
    house = House()
    photo = InboundMessage(
        provider_message_id="in-1",
        chat=ChatId("+521"),
        sender=Person(phone="+521"),
        content={
            "type": "image",
            "image": {"mediaId": "meta-77", "mimeType": "image/png", "caption": "look"},
        },
    )
    async with house.run() as sessions:
        await shop(sessions)
        await receive(sessions, photo)
        item = await only_item(house)
        assert isinstance(item.event, InboundMessage)
        media_id = item.event.content["image"]["mediaId"]
        media = await house.store().media(media_id)
        assert media is not None
        assert (media.provider_media_id, media.mime_type) == ("meta-77", "image/png")
        async with sessions.calls.download(media) as content:
            assert b"".join([chunk async for chunk in content.chunks]) == b"meta-77"
