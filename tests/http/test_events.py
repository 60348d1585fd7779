"""The event stream: what happens in public words, resumed without a gap, and no listener holds up another."""

import json

import pytest
import trio
import trio.testing

from tests.house import House, now
from tests.http.front import CONFIG, Front, SignedProvider, front
from tests.http.test_webhooks import batch, signed
from tests.simulated import failing, refusal
from wad.config.model import ApiToken
from wad.errors import StoreUnavailable, Verdict
from wad.http import events as stream_module
from wad.http.auth import Principal
from wad.http.events import HEARTBEAT, LISTENER_BUFFER
from wad.store.memory import MemoryEngine


class Listening:
    """A client of `GET /events`: the frames that came, taken apart."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = {}
        self.text = b""

    @property
    def events(self) -> list[dict]:
        found = []
        for frame in self.text.decode().split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in frame.split("\n") if ": " in line and not line.startswith(":")
            )
            if "data" in fields:
                event = json.loads(fields["data"])
                assert event["type"] == fields["event"]
                found.append({"id": fields["id"], **event})
        return found

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


async def listen(
    ask: Front,
    into: Listening,
    *,
    last: str | None = None,
    task_status=trio.TASK_STATUS_IGNORED,
    **query: str,
) -> None:
    headers = ask.headers({} if last is None else {"Last-Event-ID": last})
    client = ask.app.test_client()
    async with client.request(
        "/api/whatsapp/events", headers=headers, query_string=query or None
    ) as connection:
        await connection.send_complete()
        into.text += await connection.receive()
        into.status, into.headers = connection.status_code, connection.headers
        task_status.started()
        try:
            while True:
                into.text += await connection.receive()
        except Exception:  # noqa: BLE001  the test client's way to say that the stream is over
            return


async def test_what_happens_is_heard(autojump_clock):
    """Messages, statuses and sessions, each with its number, its type and its data."""
    async with front() as ask, trio.open_nursery() as nursery:
        heard = Listening()
        await nursery.start(listen, ask, heard)
        await ask.session(credentials={"key": "shop", "appSecret": "app-secret"})
        sent = await ask.send(reference="order-1")
        body = batch("hola")
        await ask("POST", "/webhooks/simulated", raw=body, headers=signed(body))
        await trio.sleep(1)
        assert (heard.status, heard.headers["content-type"]) == (200, "text/event-stream")
        assert heard.types == ["session.state", "session.state", "message.status", "message.received"]
        [status] = [event["data"] for event in heard.events if event["type"] == "message.status"]
        assert (status["messageId"], status["status"], status["reference"]) == (
            sent.json["messageId"],
            "accepted",
            "order-1",
        )
        [received] = [event["data"] for event in heard.events if event["type"] == "message.received"]
        assert (received["contentType"], received["text"], received["from"]["name"]) == (
            "text",
            {"body": "hola"},
            "Ana",
        )
        ids = [int(event["id"]) for event in heard.events]
        assert ids == sorted(set(ids))
        ask.stream.close()


async def test_a_listener_whose_token_is_withdrawn_is_cut(autojump_clock):
    """And the others are not; nor does the token open anything again."""
    async with front() as ask, trio.open_nursery() as nursery:
        admin, withdrawn = Listening(), Listening()
        await nursery.start(listen, ask, admin)
        shop = ask.as_("shop9")
        async with trio.open_nursery() as theirs:
            await theirs.start(listen, shop, withdrawn)
            ask.app.admit_only([ApiToken.model_validate(CONFIG["auth"]["tokens"][0])])
        assert (await shop("GET", "/sessions")).status == 401
        await ask.session()
        await trio.sleep(1)
        assert "session.state" in admin.types
        ask.stream.close()


async def test_a_dead_letter_is_heard(autojump_clock):
    """As a status, and as what it is."""
    async with front() as ask, trio.open_nursery() as nursery:
        heard = Listening()
        await ask.session()
        ask.house.world.script["*"] = [failing(refusal(Verdict.REJECTED, "window_closed"))]
        await nursery.start(listen, ask, heard)
        await ask.send()
        await trio.sleep(1)
        assert heard.types == ["message.status", "message.dead_letter"]
        assert heard.events[1]["data"]["error"]["code"] == "window_closed"
        ask.stream.close()


FILTERS = [
    ({}, {"shop", "other"}, {"session.state", "message.status"}),
    ({"sessionId": "shop"}, {"shop"}, {"session.state", "message.status"}),
    ({"types": "message.status"}, {"shop", "other"}, {"message.status"}),
    (
        {"types": "message.status,session.state", "sessionId": "other"},
        {"other"},
        {"session.state", "message.status"},
    ),
]


@pytest.mark.parametrize(("query", "sessions", "types"), FILTERS, ids=[json.dumps(row[0]) for row in FILTERS])
async def test_a_listener_hears_what_it_asked_for(query, sessions, types, autojump_clock):
    """By session and by type; from the past as from the present."""
    async with front() as ask, trio.open_nursery() as nursery:
        for name in ("shop", "other"):
            await ask.session(name)
            await ask.send(session_id=name)
        await trio.sleep(1)
        past, present = Listening(), Listening()
        await nursery.start(lambda task_status: listen(ask, past, last="0", task_status=task_status, **query))
        await nursery.start(lambda task_status: listen(ask, present, task_status=task_status, **query))
        for name in ("shop", "other"):
            await ask.send(session_id=name, to="+5215512345679")
            await ask("POST", f"/sessions/{name}/disconnect", headers={"Prefer": "wait=5"})
        await trio.sleep(1)
        for heard in (past, present):
            assert {event["data"]["sessionId"] for event in heard.events} == sessions
            assert set(heard.types) == types
        ask.stream.close()


async def test_a_shop_hears_its_own(autojump_clock):
    """Live and resumed; what belongs to no shop is an admin's."""
    async with front() as ask, trio.open_nursery() as nursery:
        for name, shop in (("nine", "shop-9"), ("eight", "shop-8"), ("plain", None)):
            await ask.session(name, shopId=shop)
        await trio.sleep(1)
        for who, sees in (
            ("shop9", {"nine"}),
            ("shop8", {"eight"}),
            ("chain", {"nine", "eight"}),
            ("ops", {"nine", "eight", "plain"}),
        ):
            past, present = Listening(), Listening()
            await nursery.start(
                lambda task_status, who=who, past=past: listen(
                    ask.as_(who), past, last="0", task_status=task_status
                )
            )
            await nursery.start(
                lambda task_status, who=who, present=present: listen(
                    ask.as_(who), present, task_status=task_status
                )
            )
            for name in ("nine", "eight", "plain"):
                await ask.send(session_id=name)
            await trio.sleep(1)
            for heard in (past, present):
                assert {event["data"]["sessionId"] for event in heard.events} == sees
        ask.stream.close()


async def test_a_listener_resumes_without_a_gap_or_a_repetition(autojump_clock):
    """From any event, over what is written, what is not yet, and what comes meanwhile."""
    async with front() as ask, trio.open_nursery() as nursery:
        await ask.session()
        whole = Listening()
        await nursery.start(
            lambda task_status: listen(ask, whole, task_status=task_status, types="message.status")
        )
        for n in range(20):
            await ask.send(to=f"+52155123456{n:02}")
        await trio.sleep(1)
        ids = [event["id"] for event in whole.events]
        assert len(ids) == 20
        for start in (0, 7, 19):
            again = Listening()
            await nursery.start(
                lambda task_status, again=again, start=start: listen(
                    ask, again, last=ids[start], task_status=task_status, types="message.status"
                )
            )
            await ask.send(to=f"+52155123457{start:02}")  # not written yet when it resumes
            await trio.sleep(0.01)
            assert [event["id"] for event in again.events][: 19 - start] == ids[start + 1 :]
        await trio.sleep(1)
        ask.stream.close()


async def test_a_restart_does_not_break_the_numbers(autojump_clock):
    """A listener of the last life resumes in the next."""
    house = House(world=SignedProvider())
    async with front(house) as ask, trio.open_nursery() as nursery:
        first = Listening()
        await ask.session()
        await nursery.start(listen, ask, first)
        await ask.send()
        await trio.sleep(1)
        ask.stream.close()
    async with front(house) as ask, trio.open_nursery() as nursery:
        second = Listening()
        await trio.sleep(1)
        await ask.send(to="+5215512345679")
        await nursery.start(
            lambda task_status: listen(
                ask, second, last=first.events[-1]["id"], task_status=task_status, types="message.status"
            )
        )
        await trio.sleep(1)
        assert len(second.events) == 1
        assert int(second.events[0]["id"]) > int(first.events[-1]["id"])
        ask.stream.close()


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "", "9" * 30, "²"])
async def test_a_place_that_is_none_is_refused(last, autojump_clock):
    """Rather than start somewhere else, and leave out what the client believes to have."""
    async with front() as ask:
        reply = await ask("GET", "/events", headers={"Last-Event-ID": last})
        assert (reply.status, reply.pointers) == (422, {"/Last-Event-ID"})


@pytest.mark.parametrize(
    "query", [{"types": "message.stauts"}, {"types": ""}, {"sessionId": ""}, {"session": "x"}]
)
async def test_a_filter_that_is_none_is_refused(query, autojump_clock):
    """A listener that filters by a typing error would wait for ever."""
    async with front() as ask:
        assert (await ask("GET", "/events", **query)).status == 422


async def test_silence_is_broken_by_a_heartbeat(autojump_clock):
    """A comment, so that proxies keep the connection and clients notice a dead one."""
    async with front() as ask, trio.open_nursery() as nursery:
        heard = Listening()
        await nursery.start(listen, ask, heard)
        await trio.sleep(2.5 * HEARTBEAT)
        assert heard.text.count(b": still here\n\n") == 2
        assert heard.text.startswith(b"retry: ")
        ask.stream.close()


async def test_who_cannot_keep_up_is_cut_and_nobody_else_is(autojump_clock):
    """A bounded buffer for each: the slow one is told to come back, the quick one hears all."""
    async with front() as ask:
        await ask.session()
        principal = Principal("ops")
        with (
            ask.stream.listener(principal, session_id=None, types=None) as slow,
            ask.stream.listener(principal, session_id=None, types=None) as quick,
        ):
            got = 0
            for n in range(LISTENER_BUFFER + 10):
                await ask.send(to=f"+5215{n:09}", prefer="wait=5")
                await quick.next()
                got += 1
            assert (slow.lost, quick.lost) == (True, False)
            for _ in range(LISTENER_BUFFER):
                await slow.next()
            with pytest.raises(trio.EndOfChannel):
                await slow.next()
            assert got == LISTENER_BUFFER + 10


async def test_a_client_that_goes_is_forgotten(autojump_clock):
    """Its place is free again. Asked as a server asks: the test client cannot go before the answer ends."""
    async with front() as ask:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/whatsapp/events",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in ask.headers().items()],
        }
        client, server = trio.open_memory_channel(2)
        came = []

        async def collect(message):
            came.append(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask.app, scope, server.receive, collect)
            await client.send({"type": "http.request", "body": b"", "more_body": False})
            await trio.testing.wait_all_tasks_blocked()
            assert [message.get("status") for message in came] == [200, None]
            assert len(ask.stream._listeners) == 1
            await client.send({"type": "http.disconnect"})
        assert len(ask.stream._listeners) == 0


async def test_there_is_room_for_so_many(autojump_clock, monkeypatch):
    """Each listener holds a connection and a buffer: beyond the bound, 429."""
    monkeypatch.setattr(stream_module, "LISTENERS", 1)
    async with front() as ask:
        with ask.stream.listener(Principal("ops"), session_id=None, types=None):
            reply = await ask("GET", "/events")
            assert (reply.status, reply.json["code"]) == (429, "too_many_requests")


async def test_the_stream_ends_with_the_daemon(autojump_clock):
    """`close` ends every listener at once, and new ones too."""
    async with front() as ask:
        heard, late = Listening(), Listening()
        async with trio.open_nursery() as nursery:
            await nursery.start(listen, ask, heard)
            ask.stream.close()
            await nursery.start(listen, ask, late)
        assert heard.text == late.text == b"retry: 2000\n\n"


async def test_events_outlive_the_stores_outage(autojump_clock, monkeypatch):
    """They wait, in order and bounded, and are written when it is back."""

    async def away(*_, **__):
        raise StoreUnavailable("away")

    async with front() as ask:
        await ask.session()
        await trio.sleep(1)
        with monkeypatch.context() as broken:
            broken.setattr(MemoryEngine, "write", away)
            for n in range(3):
                ask.stream._publish(stream_module.StoredEvent(10**18 + n, "provider.event", now(), {}))
            await trio.sleep(30)
        before = len(ask.stream._unwritten)
        await trio.sleep(30)
        assert (before, len(ask.stream._unwritten)) == (3, 0)


async def test_the_oldest_goes_first_when_there_is_no_room(autojump_clock, monkeypatch):
    """The newest events are the ones that somebody still waits for."""
    monkeypatch.setattr(stream_module, "BUFFER", 2)
    async with front() as ask:
        for n in range(5):
            ask.stream._publish(stream_module.StoredEvent(n, "provider.event", now(), {}))
        assert [event.seq for event in ask.stream._unwritten] == [3, 4]
        ask.stream._unwritten.clear()
