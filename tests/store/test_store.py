"""The store as the rest of wad sees it, on every engine: records go in and come out, and races have one winner."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
import trio

from tests.store.made import (
    a_message,
    a_session,
    a_status,
    an_account_event,
    an_event,
    an_item,
    inbound,
)
from wad.errors import Conflict, NotFound
from wad.models import (
    Address,
    Credentials,
    DesiredState,
    Failure,
    FlowEvent,
    Former,
    InboxState,
    Media,
    MediaState,
    MessageQuery,
    MessageState,
    Number,
    Pending,
    Priority,
    Reason,
    SessionId,
    SessionState,
    Settings,
    new_rev,
    utc_now,
)
from wad.store.base import Put, Query, Update
from wad.store.store import Retention, Store

replace = msgspec.structs.replace
FAR = timedelta(days=365)
S1 = SessionId("s1")


@pytest.fixture
async def s1(store: Store):
    """A stored session, `s1`."""
    return await store.add_session(a_session("s1", shop_id="shop-1"))


# --- sessions -------------------------------------------------------------------------------------


async def test_a_session_comes_back_as_it_was_stored(store):
    """Every field, the sealed ones too."""
    full = a_session(
        shop_id="shop-1",
        phone_number="+5215512345678",
        settings=Settings(
            rate=2.5, flow_url="https://flow.example", flow_secret="whsec_x", flow_disabled=True
        ),
        desired_state=DesiredState.DISCONNECTED,
        state=SessionState.BAD_CREDENTIALS,
        reason=Reason("bad_token", "Meta refuses it", needs_person=True),
        is_connected=True,
        last_seen=utc_now(),
        qr_code="2@abc",
        connection_data={"name": "Tienda ✓", "quality": {"score": "GREEN"}},
        owner="host-1#boot",
        epoch=3,
    )
    stored = await store.add_session(full)
    assert replace(stored, data_key=b"", rev=0) == full
    assert stored.data_key
    assert stored.rev
    assert await store.session("s1") == stored
    assert await store.session("other") is None
    assert repr(stored.credentials) == "Credentials(accessToken=***, phoneNumberId=***)"


async def test_an_id_that_is_taken_is_a_conflict_and_disturbs_nothing(store, s1):
    """The standing session keeps its credentials and its key; what is sealed later can be read."""
    with pytest.raises(Conflict) as caught:
        await store.add_session(a_session("s1", credentials=Credentials(accessToken="intruder")))
    assert caught.value.code == "session_exists"
    await store.add_messages([message := a_message()])
    assert (await store.message(message.message_id)).content == message.content
    assert await store.session("s1") == s1


async def test_saving_a_session_is_a_compare_and_set(store, s1):
    """The second of two writers who saw the same session is told so."""
    mine = replace(s1, state=SessionState.CONNECTED, is_connected=True, rev=new_rev())
    theirs = replace(s1, credentials=Credentials(accessToken="theirs"), rev=new_rev())
    assert await store.save_session(s1, mine) is True
    assert await store.save_session(s1, mine) is True  # the answer was lost, it asks again
    assert await store.save_session(s1, theirs) is False
    assert await store.session("s1") == mine


async def test_saving_a_session_writes_every_field_that_differs(store, s1):
    """Sealed ones are sealed anew, and null is a value."""
    new = replace(
        s1,
        credentials=Credentials(apiKey="other"),
        settings=Settings(burst=3),
        shop_id=None,
        provider="twilio",
        reason=Reason("x", "y"),
        rev=new_rev(),
    )
    assert await store.save_session(s1, new)
    assert await store.session("s1") == new


async def test_a_record_saved_under_its_old_rev_is_a_mistake(store, s1):
    """Without a rev of its own, a write could not tell its own work."""
    with pytest.raises(ValueError, match="rev"):
        await store.save_session(s1, replace(s1, epoch=1))


async def test_sessions_are_listed_by_id(store):
    """Pages follow each other without a gap."""
    for name in ("d", "b", "a", "c"):
        await store.add_session(a_session(name))

    async def ids(**query) -> str:
        return "".join(session.session_id for session in await store.sessions(**query))

    assert await ids() == "abcd"
    assert await ids(limit=2) == "ab"
    assert await ids(after="b", limit=2) == "cd"
    assert await store.count_sessions() == 4


async def test_all_sessions_come_once_each(store, monkeypatch):
    """Restoring walks every page, the last full one included."""
    monkeypatch.setattr("wad.store.sessions.PAGE", 4)
    for number in range(8):
        await store.add_session(a_session(f"s{number}"))
    pages = [[session.session_id for session in page] async for page in store.all_sessions()]
    assert pages == [["s0", "s1", "s2", "s3"], ["s4", "s5", "s6", "s7"]]


async def test_deleting_a_session_removes_all_that_is_kept_of_it(store, s1):
    """And nothing of another's; what was sealed for it can never be read again, under the same id either."""
    await store.add_session(a_session("s2"))
    for session_id in ("s1", "s2"):
        await store.add_messages([a_message(session_id)])
        await store.add_inbox([an_item(session_id)])
        await store.park(session_id, [a_status("wamid.1")])
        await store.add_events([an_event(session_id=SessionId(session_id))])
        await store.add_media([a_media(session_id)])
        await store.set_keys(session_id, {"creds": {"creds": "{}"}})
    await store.delete_session("s1")
    await store.delete_session("s1")  # once more changes nothing
    for table, left in [
        ("sessions", 1),
        ("messages", 1),
        ("inbox", 1),
        ("parked", 1),
        ("events", 1),
        ("media", 1),
        ("baileys_keys", 1),
    ]:
        rows = await store._engine.find(Query(table=table))
        assert [row["sessionId"] for row in rows] == ["s2"] * left, table
    with pytest.raises(NotFound):
        await store.add_messages([a_message("s1")])
    again = await store.add_session(a_session("s1"))
    assert again.data_key != s1.data_key


# --- a session's own keys -------------------------------------------------------------------------


async def test_keys_come_back_as_they_were_set(store, s1):
    """By kind and name, whatever is in either; those that are not there are left out."""
    long = "x" * 200_000
    await store.set_keys(
        S1, {"session": {"1/2:3.0": "niño ✓ \0", "b.0": long}, "sender-key": {"b.0": "other"}}
    )
    assert await store.keys(S1, "session", ["1/2:3.0", "b.0", "c.0"]) == {"1/2:3.0": "niño ✓ \0", "b.0": long}
    assert await store.keys(S1, "sender-key", ["b.0"]) == {"b.0": "other"}
    with pytest.raises(ValueError, match="no slash"):
        await store.keys(S1, "session/1", ["2:3.0"])
    assert await store.keys(S1, "session", []) == {}


async def test_a_key_is_set_anew_and_removed(store, s1):
    """None removes, also what was not there; the other session's stay."""
    await store.add_session(a_session("s2"))
    for session_id in (S1, SessionId("s2")):
        await store.set_keys(session_id, {"session": {"a": "1", "b": "1"}})
    await store.set_keys(S1, {"session": {"a": "2", "b": None, "never": None}})
    assert await store.keys(S1, "session", ["a", "b", "never"]) == {"a": "2"}
    await store.clear_keys(S1)
    assert await store.keys(S1, "session", ["a"]) == {}
    assert await store.keys(SessionId("s2"), "session", ["a", "b"]) == {"a": "1", "b": "1"}


async def test_the_812_keys_of_a_pairing_are_set_at_once(store, s1):
    """And 1,500 removed."""
    many = {str(n): f"key {n}" for n in range(812)}
    await store.set_keys(S1, {"pre-key": many, "creds": {"creds": "{}"}})
    assert await store.keys(S1, "pre-key", list(many)) == many
    await store.set_keys(S1, {"pre-key": dict.fromkeys(map(str, range(1500)))})
    assert await store.keys(S1, "pre-key", list(many)) == {}


async def test_a_key_in_the_place_of_another_does_not_open(store, s1, caplog):
    """What is sealed as one name is that name's alone: whoever writes to the database cannot swap identities."""
    await store.set_keys(S1, {"session": {"a": "mine", "b": "other"}})
    mine, other = sorted(await store._engine.find(Query(table="baileys_keys")), key=lambda row: row["id"])
    await store._engine.write(
        [Put("baileys_keys", {**mine, "value": other["value"], "seq": mine["seq"] + 1})]
    )
    assert await store.keys(S1, "session", ["a", "b"]) == {"b": "other"}
    assert "unreadable_row" in caplog.text


async def test_keys_of_no_session_are_refused(store):
    """They would be sealed with nothing."""
    with pytest.raises(NotFound):
        await store.set_keys(S1, {"creds": {"creds": "{}"}})
    assert await store.keys(S1, "creds", ["creds"]) == {}


# --- outbound messages ----------------------------------------------------------------------------


async def test_a_message_comes_back_as_it_was_stored(store, s1):
    """Every field, with the rev it was stored under."""
    now = utc_now()
    full = a_message(
        key="k1",
        to=Address(phone="+5215512345678", user_id="MX.123"),
        shop_id="shop-1",
        priority=Priority.BULK,
        reference="order-1",
        reply_to="msg_1",
        quotes="wamid.9",
        send_at=now,
        state=MessageState.SCHEDULED,
        due_at=now,
        attempts=2,
        epoch=4,
        provider_message_id="wamid.1",
        error=Failure("throttled", "slow down", "130429", retryable=True),
        maybe_duplicate=True,
    ).moved(MessageState.QUEUED, now, note="again")
    [stored] = await store.add_messages([full])
    assert replace(stored, rev=full.rev) == full
    assert await store.message(full.message_id) == stored
    assert await store.message("msg_other") is None
    assert await store.messages([full.message_id, "msg_other"]) == {full.message_id: stored}
    assert await store.messages_by_provider_id("s1", ["wamid.1", "wamid.2"]) == {"wamid.1": stored}
    assert await store.messages_by_provider_id("s2", ["wamid.1"]) == {}
    assert await store.message_by_idempotency("ops", "k1") == stored
    assert await store.message_by_idempotency("shop9", "k1") is None


async def test_adding_a_message_again_brings_the_one_that_stands(store, s1):
    """By its id or by its idempotency key, alone or amid new ones, in the order asked."""
    [first] = await store.add_messages(
        [a_message(key="k1", content={"type": "text", "text": {"body": "one"}})]
    )
    same_key = a_message(key="k1", content={"type": "text", "text": {"body": "two"}})
    other_scope = replace(a_message(), idempotency=replace(first.idempotency, scope="shop9"))
    new = a_message()
    standing = await store.add_messages([new, same_key, other_scope, first])
    assert [message.message_id for message in standing] == [
        new.message_id,
        first.message_id,
        other_scope.message_id,
        first.message_id,
    ]
    assert standing[1] == standing[3] == first


async def test_one_of_many_with_the_same_key_at_once_stands_for_all(store, s1):
    """The unique index decides, not a cache: everyone is told the same message."""
    told: list[str] = []

    async def send() -> None:
        [standing] = await store.add_messages([a_message(key="k1")])
        told.append(standing.message_id)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(send)
    assert len(set(told)) == 1
    assert len(await store.find_messages(MessageQuery(limit=500))) == 1


async def test_two_with_the_same_key_in_one_call_are_one(store, s1):
    """A bulk request that repeats itself sends once."""
    one, two = await store.add_messages([a_message(key="k"), a_message(key="k")])
    assert one == two


async def test_a_message_of_no_session_is_refused(store):
    """There is no key to seal it under."""
    with pytest.raises(NotFound, match="nowhere"):
        await store.add_messages([a_message("nowhere")])


async def test_saving_a_message_is_a_compare_and_set(store, s1):
    """An actor that was slow does not undo what a webhook proved."""
    [queued] = await store.add_messages([a_message()])
    sending = queued.moved(MessageState.SENDING, utc_now(), attempts=1, epoch=2)
    late = queued.moved(MessageState.CANCELLED, utc_now())
    assert await store.save_message(queued, sending) is True
    assert await store.save_message(queued, sending) is True
    assert await store.save_message(queued, late) is False
    accepted = sending.moved(MessageState.ACCEPTED, utc_now())
    assert await store.save_messages([(sending, accepted), (queued, late)]) == [True, False]
    assert await store.message(queued.message_id) == accepted


async def test_saving_a_message_never_rewrites_what_was_asked(store, s1):
    """Content, recipient and key are fixed when a message is accepted."""
    [old] = await store.add_messages([a_message(key="k")])
    new = replace(
        old.moved(MessageState.SENDING, utc_now()), content={"type": "text", "text": {"body": "forged"}}
    )
    assert await store.save_message(old, new)
    assert await store.message(old.message_id) == replace(new, content=old.content)


async def test_a_persons_retry_moves_the_deadline(store, s1):
    """`expires_at` is saved, of messages and of inbox items."""
    [message] = await store.add_messages([a_message()])
    later = replace(message.moved(MessageState.QUEUED, utc_now()), expires_at=utc_now() + FAR)
    assert await store.save_message(message, later)
    assert await store.message(message.message_id) == later
    await store.add_inbox([item := an_item()])
    moved = item.moved(InboxState.RECEIVED, expires_at=utc_now() + FAR)
    assert await store.save_inbox(item, moved)
    assert await store.inbox_item(item.message_id) == moved


async def test_a_provider_id_that_another_message_has_does_not_stop_this_one(store, s1):
    """A provider that gives one id twice is its fault: the message still moves on, and the other keeps its id."""
    first, second = await store.add_messages([a_message(), a_message()])
    took = first.moved(MessageState.ACCEPTED, utc_now(), provider_message_id="wamid.1")
    also = second.moved(MessageState.ACCEPTED, utc_now(), provider_message_id="wamid.1")
    assert await store.save_messages([(first, took), (second, also)]) == [True, True]
    found = await store.messages_by_provider_id("s1", ["wamid.1"])
    assert len(found) == 1
    states = await store.messages([first.message_id, second.message_id])
    assert {message.state for message in states.values()} == {MessageState.ACCEPTED}


async def test_open_messages_are_those_an_actor_has_work_with(store, s1):
    """Open states that are not dead letters, by seq, without bodies; moving in and out as they are saved."""
    await store.add_session(a_session("s2"))
    messages = [a_message(state=state) for state in MessageState]
    given_up = a_message(state=MessageState.UNKNOWN, dead=True)
    await store.add_messages([*reversed(messages), given_up, a_message("s2")])
    wanted = [m for m in messages if m.is_open]
    assert await store.open_messages("s1") == [
        Pending(m.message_id, m.lane, m.seq, m.created_at, m.priority, m.state, m.due_at) for m in wanted
    ]
    [scheduled] = [m for m in wanted if m.state is MessageState.SCHEDULED]
    stored = await store.message(scheduled.message_id)
    assert await store.save_message(stored, cancelled := stored.moved(MessageState.CANCELLED, utc_now()))
    assert stored.message_id not in {p.message_id for p in await store.open_messages("s1")}
    assert await store.save_message(
        cancelled, cancelled.moved(MessageState.QUEUED, utc_now(), due_at=utc_now())
    )
    assert stored.message_id in {p.message_id for p in await store.open_messages("s1")}


# --- inbox ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(inbound("wamid.1", user_id="MX.1", name="Ana ✓"), id="message"),
        pytest.param(an_account_event(), id="account event"),
        pytest.param(FlowEvent(type="message.status", dedupe_key="e:1", data={"chat": "c"}), id="flow event"),
    ],
)
async def test_an_inbox_item_comes_back_as_it_was_stored(store, s1, event):
    """Every kind of event, and later its answer."""
    item = an_item(event=event, shop_id="shop-1")
    assert await store.add_inbox([item]) == [True]
    assert await store.inbox_item(item.message_id) == item
    assert await store.inbox_by_dedupe("s1", item.dedupe_key) == item
    answered = item.moved(
        InboxState.ANSWERED,
        answer=[{"type": "text", "text": {"body": "Hola"}}],
        attempts=2,
        due_at=utc_now(),
        error=Failure("timeout", "no answer in 15 s"),
    )
    assert await store.save_inbox(item, answered) is True
    assert await store.save_inbox(item, item.moved(InboxState.DEAD)) is False
    assert await store.inbox_item(item.message_id) == answered


async def test_the_same_event_again_is_not_new(store, s1):
    """De-duplicated per session, across calls, within one call, and whatever became of the first."""
    await store.add_session(a_session("s2"))
    first, other = an_item(provider_id="wamid.1"), an_item(provider_id="wamid.2")
    assert await store.add_inbox([first, an_item(provider_id="wamid.1"), other]) == [True, False, True]
    assert await store.save_inbox(first, first.moved(InboxState.DONE))
    assert await store.add_inbox([an_item(provider_id="wamid.1")]) == [False]
    assert await store.add_inbox([an_item("s2", provider_id="wamid.1")]) == [True]
    assert await store.add_inbox([]) == []


async def test_what_belongs_to_no_session_is_kept_too(place):
    """Inbound for an unknown number is sealed under the system's key, and readable after a restart."""
    item = an_item("", state=InboxState.DEAD)
    async with place.open() as store:
        assert await store.add_inbox([item]) == [True]
        assert await store.inbox_item(item.message_id) == item
    if place.kind != "memory":
        async with place.open() as again:
            assert await again.inbox_item(item.message_id) == item


async def test_open_inbox_items_are_those_not_done(store, s1):
    """Received or answered, by seq."""
    items = [an_item(state=state) for state in InboxState]
    await store.add_inbox(list(reversed(items)))
    assert await store.open_inbox("s1") == [
        Pending(i.message_id, i.chat, i.seq, i.received_at, state=i.state)
        for i in items
        if i.state in (InboxState.RECEIVED, InboxState.ANSWERED)
    ]


async def test_sessions_with_work_are_those_with_anything_open(store):
    """Messages, inbox items or parked statuses; a restore loads only these."""
    for name in "abcde":
        await store.add_session(a_session(name))
    await store.add_messages([a_message("a"), a_message("b", state=MessageState.SENT)])
    await store.add_inbox([an_item("c"), an_item("b", state=InboxState.DONE)])
    await store.park("d", [a_status("wamid.1")])
    assert await store.sessions_with_work() == {"a", "c", "d"}


# --- parked statuses ------------------------------------------------------------------------------


async def test_parked_statuses_wait_for_their_message(store, s1):
    """Each once, however often it comes, until they are taken away."""
    sent, read = a_status("wamid.1", MessageState.SENT), a_status("wamid.1", MessageState.READ)
    other = a_status("wamid.2", MessageState.FAILED)
    await store.park("s1", [sent, read, other])
    await store.park("s1", [sent])
    assert await store.parked("s1") == {"wamid.1", "wamid.2"}
    assert await store.parked("s2") == set()
    found = await store.parked_statuses("s1", "wamid.1")
    assert sorted(found, key=lambda status: status.state) == sorted([sent, read], key=lambda s: s.state)
    await store.unpark("s1", "wamid.1")
    assert await store.parked("s1") == {"wamid.2"}
    assert await store.parked_statuses("s1", "wamid.1") == []


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture
async def lists(store: Store):
    """Six messages of two shops, both directions, seq 1 to 6 from old to new."""
    await store.add_session(a_session("a", shop_id="x"))
    await store.add_session(a_session("b", shop_id="y"))
    now = utc_now()

    def out(seq, session, shop, **more):
        return a_message(session, seq=seq, shop_id=shop, created_at=now + timedelta(minutes=seq), **more)

    def came(seq, session, shop, **more):
        return an_item(session, seq=seq, shop_id=shop, received_at=now + timedelta(minutes=seq), **more)

    await store.add_messages(
        [
            out(1, "a", "x", to=Address(phone="+521", user_id="MX.1")),
            out(3, "a", "x", state=MessageState.FAILED, dead=True),
            out(5, "b", "y", to=Address(group_id="group-1")),
        ]
    )
    await store.add_inbox(
        [
            came(2, "a", "x", event=inbound(phone="+522", user_id="MX.2"), state=InboxState.DEAD),
            came(4, "b", "y", event=inbound(phone="+523")),
            came(6, "b", "y", event=an_account_event()),
        ]
    )
    return now


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        pytest.param({}, [5, 4, 3, 2, 1], id="both directions, newest first, account events not"),
        pytest.param({"limit": 2}, [5, 4], id="a page"),
        pytest.param({"limit": 2, "after": 4}, [3, 2], id="the next page"),
        pytest.param({"direction": "inbound"}, [4, 2], id="inbound"),
        pytest.param({"direction": "outbound"}, [5, 3, 1], id="outbound"),
        pytest.param({"session_id": "a"}, [3, 2, 1], id="a session's"),
        pytest.param({"shop_ids": frozenset({"y"})}, [5, 4], id="a shop's"),
        pytest.param({"shop_ids": frozenset({"x", "y"}), "limit": 3}, [5, 4, 3], id="two shops'"),
        pytest.param({"shop_ids": frozenset({"z"})}, [], id="another shop's"),
        pytest.param({"shop_ids": frozenset()}, [], id="no shop's"),
        pytest.param({"shop_ids": frozenset({"y"}), "session_id": "a"}, [], id="a session of another shop"),
        pytest.param({"state": "queued"}, [5, 1], id="a state of messages"),
        pytest.param({"state": "received"}, [4], id="a state of the inbox"),
        pytest.param({"to": "+521"}, [1], id="to a phone"),
        pytest.param({"to": "MX.1"}, [1], id="to a user id"),
        pytest.param({"to": "group-1"}, [5], id="to a group"),
        pytest.param({"sender": "+522"}, [2], id="from a phone"),
        pytest.param({"sender": "MX.2"}, [2], id="from a user id"),
        pytest.param({"sender": "+522", "direction": "outbound"}, [], id="outbound from a customer"),
        pytest.param({"since": 3}, [5, 4, 3], id="since a time, itself in"),
    ],
)
async def test_messages_are_found(store, lists, query, seqs):
    """By what the API asks for."""
    if "since" in query:
        query = {**query, "since": lists + timedelta(minutes=query["since"])}
    assert [found.seq for found in await store.find_messages(MessageQuery(**query))] == seqs


async def test_a_number_comes_back_and_makes_a_lane_of_its_own(store, s1):
    """One customer and two of a session's numbers are two conversations: each in its order."""
    one, two = Number("1", "+5215500000001"), Number("2")
    plain, first, second = (a_message("s1", number=number) for number in (None, one, two))
    await store.add_messages([plain, first, second])
    assert [(await store.message(m.message_id)).number for m in (plain, first, second)] == [None, one, two]
    chat = plain.chat
    assert [p.chat for p in await store.open_messages("s1")] == [chat, f"1/{chat}", f"2/{chat}"]


LAST = [
    ("by phone", {"phone": "+1"}, 2),
    ("by user id", {"user_id": "MX.1"}, 3),
    ("by both, whichever is newer", {"phone": "+1", "user_id": "MX.1"}, 3),
    ("somebody who never wrote", {"phone": "+9"}, None),
    ("nobody", {}, None),
]


@pytest.mark.parametrize(("who", "which"), [row[1:] for row in LAST], ids=[row[0] for row in LAST])
async def test_the_last_that_somebody_wrote_is_found(store, s1, who, which):
    """By either name, in this session, to the session itself and not to a group."""
    await store.add_session(a_session("s2"))
    items = [
        an_item("s1", event=inbound(phone="+1")),
        an_item("s1", event=inbound(phone="+2")),
        an_item("s1", event=replace(inbound(phone="+1"), number=Number("7"))),
        an_item("s1", event=inbound(phone="+3", user_id="MX.1")),
        an_item("s1", event=replace(inbound(phone="+1"), chat_kind="group", chat="g")),
        an_item("s2", event=inbound(phone="+1")),
    ]
    await store.add_inbox(items)
    found = await store.last_inbound("s1", **who)
    assert found == (None if which is None else items[which])


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        pytest.param({}, [3, 2], id="both directions"),
        pytest.param({"direction": "inbound"}, [2], id="inbound"),
        pytest.param({"after": 3}, [2], id="the next page"),
        pytest.param({"limit": 1}, [3], id="a page"),
        pytest.param({"shop_ids": {"x"}}, [3, 2], id="a shop's"),
        pytest.param({"shop_ids": {"y"}}, [], id="another shop's"),
    ],
)
async def test_dead_letters_are_listed(store, lists, query, seqs):
    """What gave up, newest first."""
    assert [found.seq for found in await store.dead_letters(**query)] == seqs
    assert await store.count_dead_letters() == {"outbound": 1, "inbound": 1}


async def test_no_dead_letters_are_counted_as_none(store):
    """Both directions are always told."""
    assert await store.count_dead_letters() == {"outbound": 0, "inbound": 0}


# --- events and media -----------------------------------------------------------------------------


async def test_events_are_read_on_from_where_a_listener_was(store):
    """By seq, in pages; an event written twice is one."""
    assert await store.last_event_seq() == 0
    events = [
        an_event(session_id=SessionId("gone"), shop_id="x", data={"text": "niño"}),
        an_event(),
        an_event(),
    ]
    await store.add_events(events)
    await store.add_events(events[:1])
    assert await store.events_after(0) == events
    assert await store.events_after(events[0].seq, limit=1) == [events[1]]
    assert await store.last_event_seq() == events[-1].seq


def a_media(session_id: str, **changes) -> Media:
    now = utc_now()
    values = {
        "media_id": f"media_{session_id}",
        "session_id": session_id,
        "provider_media_id": "99",
        "mime_type": "image/png",
        "created_at": now,
        "expires_at": now + timedelta(days=30),
        "size": 12,
    }
    return Media(**(values | changes))


async def test_media_are_found_by_their_id(store, s1):
    """The same file announced twice is one."""
    media = a_media("s1")
    await store.add_media([media])
    await store.add_media([media])
    assert await store.media(media.media_id) == media
    assert await store.media("other") is None


async def test_a_files_id_at_its_provider_is_stored_sealed(store, s1):
    """WhatsApp Web's hold the key that opens the file."""
    await store.add_media([a_media("s1", provider_media_id="wa:its-key")])
    rows = [row async for table, row in store.dump() if table == "media"]
    assert [row["request"].count("its-key") for row in rows] == [0]


async def test_a_file_of_before_ids_were_sealed_is_found(store, s1):
    """Rows stay as they were written."""
    media = a_media("s1")
    plain = msgspec.json.encode(media).decode()
    row = {"mediaId": media.media_id, "sessionId": "s1", "expiresAt": 0, "request": plain}
    await store.load("media", [row])
    assert await store.media(media.media_id) == media


async def test_what_is_to_be_fetched_is_found_until_it_was(store, s1):
    """The list of work is in the rows: it outlives every crash."""
    waiting, other = (
        a_media("s1", media_id=f"med_{name}", state=MediaState.WAITING, rev=new_rev()) for name in "ab"
    )
    await store.add_media([waiting, other, a_media("s1", media_id="med_c")])
    assert {item.message_id for item in await store.open_media("s1")} == {"med_a", "med_b"}
    assert await store.open_media("s2") == []
    assert await store.sessions_with_work() == {"s1"}
    stored = waiting.moved(MediaState.STORED, size=5, found_type="image/png", due_at=None)
    assert await store.save_media(waiting, stored)
    assert await store.media("med_a") == stored
    assert [item.message_id for item in await store.open_media("s1")] == ["med_b"]
    later = other.moved(MediaState.WAITING, attempts=1, due_at=utc_now().replace(microsecond=0))
    assert await store.save_media(other, later)
    assert [item.due_at for item in await store.open_media("s1")] == [later.due_at]


async def test_a_file_that_moved_meanwhile_is_not_moved_again(store, s1):
    """Compare and set, as with every record; and what is gone does not come back."""
    media = a_media("s1", state=MediaState.WAITING, rev=new_rev())
    await store.add_media([media])
    assert await store.save_media(media, media.moved(MediaState.FAILED))
    assert not await store.save_media(media, media.moved(MediaState.STORED))
    assert not await store.save_media(a_media("s1", media_id="gone"), media.moved(MediaState.STORED))
    assert await store.known_media([media.media_id, "gone"]) == {media.media_id}


# --- keeping house --------------------------------------------------------------------------------


async def test_purging_removes_what_is_settled_and_old(store, s1):
    """Open rows stay for ever, dead letters longer than others, and keys as long as they de-duplicate."""
    now = utc_now()

    def days(count):
        return now - timedelta(days=count)

    def message(age, **more):
        return a_message(created_at=days(age), reference=str(age), **more)

    kept = [
        message(8, state=MessageState.READ),
        message(400, state=MessageState.QUEUED),
        message(20, state=MessageState.FAILED, dead=True),
    ]
    gone = [message(11, state=MessageState.READ), message(91, state=MessageState.FAILED, dead=True)]
    await store.add_messages([*kept, *gone])
    old, new = (
        an_item(received_at=days(11), state=InboxState.DONE),
        an_item(received_at=days(9), state=InboxState.DONE),
    )
    waiting, dead = (
        an_item(received_at=days(50)),
        an_item(received_at=days(91), state=InboxState.DEAD),
    )
    await store.add_inbox([old, new, waiting, dead])
    await store.add_events([an_event(at=days(2)), an_event(at=days(0.5))])
    await store.add_media([a_media("s1", media_id="m1", expires_at=days(1)), a_media("s1", media_id="m2")])
    await store.park("s1", [a_status("wamid.1")])

    retention = Retention(messages=10, inbox=10, dead_letters=90, events=1, parked=3)
    assert await store.purge(now, retention) == 2 + 2 + 1 + 1
    assert await store.purge(now, retention) == 0
    left = await store.messages([m.message_id for m in [*kept, *gone]])
    assert set(left) == {m.message_id for m in kept}
    assert await store.inbox_item(new.message_id) is not None
    assert await store.inbox_item(waiting.message_id) is not None
    assert await store.inbox_item(old.message_id) is None
    assert await store.parked("s1") == {"wamid.1"}
    assert await store.purge(now + timedelta(days=4), retention) > 0
    assert await store.parked("s1") == set()


@pytest.mark.parametrize("days", [{"messages": 6.9}, {"inbox": 7.9}])
def test_keys_that_de_duplicate_cannot_be_kept_too_short(days):
    """Idempotency keys live 7 days, and Meta redelivers for 7."""
    with pytest.raises(ValueError, match="days at least"):
        Retention(**days)


# --- a garbled row --------------------------------------------------------------------------------


async def test_a_row_that_cannot_be_read_takes_nobody_down_with_it(store, s1, caplog):
    """It is logged and stands in with a content that no provider takes; its session goes on."""
    [good, bad] = await store.add_messages([a_message(), a_message()])
    garbled = Update("messages", bad.message_id, bad.rev, {"body": b"\x10garbled" * 9, "rev": 5})
    assert await store._engine.write([garbled]) == [True]
    found = await store.find_messages(MessageQuery())
    assert [message.content["type"] for message in found] == ["unreadable", "text"]
    assert found[0].session_id == "s1"
    assert "unreadable_row" in caplog.text

    await store.add_inbox([item := an_item()])
    await store._engine.write([Update("inbox", item.message_id, item.rev, {"body": b"", "rev": 5})])
    assert (await store.inbox_item(item.message_id)).dedupe_key == item.dedupe_key

    await store._engine.write([Update("sessions", "s1", s1.rev, {"credentials": b"x" * 50, "rev": 5})])
    assert (await store.session("s1")).credentials == {}
    assert good.message_id in await store.messages([good.message_id])


async def test_the_provider_that_a_session_left_is_kept_sealed(store):
    """With its credentials, which no repr shows."""
    session = await store.add_session(a_session())
    former = Former(provider="twilio", credentials={"authToken": "former-canary"}, since=session.created_at)
    assert await store.save_session(session, msgspec.structs.replace(session, formers=(former,), rev=2))
    found = await store.session(session.session_id)
    assert found is not None
    assert found.formers == (former,)
    seen = found.as_of("twilio")
    assert seen is not None
    assert seen.credentials == {"authToken": "former-canary"}
    assert found.as_of("dialog360") is None
    assert "former-canary" not in repr(found)
