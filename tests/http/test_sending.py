"""Sending over HTTP: what is taken, what is refused and how, and that a repetition is not a second message."""

import json

import pytest
import trio

from tests.house import House
from tests.http.front import API, SignedProvider, front
from tests.simulated import failing, hang, lost_answer, refusal
from wad.actors.services import Limits
from wad.errors import Verdict

KEY = {"Idempotency-Key": "order-1234"}


async def test_a_message_is_taken_and_can_be_looked_up(autojump_clock):
    """202 with its id and its place; the message with its history behind it."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send(reference="order-1", priority="bulk")
        assert sent.status == 202
        message_id = sent.json["messageId"]
        assert sent.json == {
            "messageId": message_id, "sessionId": "shop", "provider": "simulated", "status": "queued",
        }  # fmt: skip
        assert sent.headers["location"] == f"{API}/messages/{message_id}"
        await trio.sleep(1)
        message = (await ask("GET", sent.headers["location"])).json
        assert (message["direction"], message["status"], message["to"]) == (
            "outbound",
            "accepted",
            "+5215512345678",
        )
        assert (message["type"], message["text"]) == ("text", {"body": "hola"})
        assert (message["reference"], message["priority"]) == ("order-1", "bulk")
        assert [step["status"] for step in message["history"]] == ["queued", "sending", "accepted"]
        assert message["createdAt"].endswith("Z")


async def test_a_caller_may_wait_for_the_provider(autojump_clock):
    """`Prefer: wait=N`: 200 once the provider has it, with the provider's id; 202 if it takes longer."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send("x", prefer="wait=5")
        assert (sent.status, sent.json["status"]) == (200, "accepted")
        assert sent.json["providerMessageId"]
        assert sent.headers["preference-applied"] == "wait=5"
        ask.house.world.latency = 60
        began = trio.current_time()
        slow = await ask.send("x", to="+5215512345679", prefer='respond-async, wait="5"; foo')
        assert (slow.status, slow.json["status"]) == (202, "sending")
        assert trio.current_time() - began == 5


async def test_a_message_whose_session_is_deleted_meanwhile_was_taken_all_the_same(autojump_clock):
    """The answer to who waited says so, and why it will not leave; it is no 404."""
    async with front() as ask:
        await ask.session()
        ask.house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, retry_after=600.0))]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def delete():
                await trio.sleep(2)
                assert (await ask("DELETE", "/sessions/shop")).status == 204

            sent = await ask.send("x", prefer="wait=5")
        assert (sent.status, sent.json["status"]) == (202, "queued")
        assert sent.json["reason"]["code"] == "session_deleted"
        assert (await ask("GET", sent.headers["location"])).status == 404


async def test_nobody_waits_longer_than_allowed(autojump_clock):
    """http.max_wait is what is granted, and the answer says so."""
    async with front(config={"http": {"max_wait": 3}}) as ask:
        await ask.session()
        ask.house.world.latency = 60
        began = trio.current_time()
        sent = await ask.send("x", prefer="wait=1000000000")
        assert (sent.status, sent.headers["preference-applied"]) == (202, "wait=3")
        assert trio.current_time() - began == 3


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=²", "respond-async", "weight=5"]
)
async def test_a_wait_that_is_none_is_no_wait(prefer, autojump_clock):
    """Preferences that are not understood are ignored (RFC 7240, 2)."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send("x", prefer=prefer)
        assert sent.status == 202
        assert "preference-applied" not in sent.headers


async def test_a_failure_is_never_a_2xx(autojump_clock):
    """Who waited learns of the failure as a problem, with the message's id and the provider's own code."""
    async with front() as ask:
        await ask.session()
        refused = refusal(Verdict.REJECTED, "window_closed", provider_code="131047")
        ask.house.world.script["*"] = [failing(refused)]
        sent = await ask.send(prefer="wait=5")
        assert (sent.status, sent.json["code"], sent.json["providerCode"]) == (422, "window_closed", "131047")
        assert sent.headers["location"] == f"{API}/messages/{sent.json['messageId']}"
        assert sent.headers["content-type"] == "application/problem+json"


async def test_a_bad_account_stops_the_session_and_says_so(autojump_clock):
    """The message waits for the person, too; the next one is refused with the reason."""
    async with front() as ask:
        await ask.session()
        ask.house.world.script["*"] = [failing(refusal(Verdict.NEEDS_PERSON, "bad_credentials"))]
        waiting = (await ask.send(prefer="wait=5")).json
        assert (waiting["status"], waiting["reason"]["needsPerson"]) == ("queued", True)
        sent = await ask.send()
        assert (sent.status, sent.json["code"]) == (409, "session_unavailable")
        assert sent.json["reason"]["needsPerson"] is True


async def test_what_cannot_be_known_is_called_so(autojump_clock):
    """A lost answer is 202 and `unknown`: neither a success nor a failure."""
    async with front() as ask:
        await ask.session()
        ask.house.world.script["*"] = [lost_answer(ask.house.world)]
        sent = await ask.send("x", prefer="wait=5")
        assert (sent.status, sent.json["status"]) == (202, "unknown")


# --- idempotency ----------------------------------------------------------------------------------


async def test_the_same_key_is_the_same_message(autojump_clock):
    """However often it comes: one message, and the repetition says that it is one."""
    async with front() as ask:
        await ask.session()
        first = await ask.send("x", key="order-1234")
        await trio.sleep(1)
        again = await ask.send("x", key="order-1234")
        assert (first.status, again.status) == (202, 202)
        assert again.json["messageId"] == first.json["messageId"]
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert ask.house.world.bodies() == ["x"]


async def test_two_at_once_are_one(autojump_clock):
    """No cache decides, but the store's index: both get the same message."""
    async with front() as ask:
        await ask.session()
        replies = []

        async def send():
            replies.append(await ask.send("x", key="order-1234"))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(send)
        assert {reply.status for reply in replies} == {202}
        assert len({reply.json["messageId"] for reply in replies}) == 1
        assert sum("idempotency-replayed" in reply.headers for reply in replies) == 7
        await trio.sleep(1)
        assert ask.house.world.bodies() == ["x"]


SAME = [
    ("other order, other spaces", b'{ "text" : "x","to":"+5215512345678", "sessionId":"shop"}', KEY),
    (
        "quoted key",
        b'{"sessionId":"shop","to":"+5215512345678","text":"x"}',
        {"Idempotency-Key": '"order-1234"'},
    ),
    ("escaped text", b'{"sessionId":"shop","to":"+5215512345678","text":"\\u0078"}', KEY),
]


@pytest.mark.parametrize(("raw", "headers"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
async def test_the_fingerprint_is_of_what_was_said(raw, headers, autojump_clock):
    """Not of its bytes."""
    async with front() as ask:
        await ask.session()
        first = await ask.send("x", key="order-1234")
        again = await ask("POST", "/send", raw=raw, headers=headers | {"Content-Type": "application/json"})
        assert again.json["messageId"] == first.json["messageId"]


async def test_a_key_is_not_used_for_something_else(autojump_clock):
    """Another body, or another path, under the same key is refused, and nothing of it is sent."""
    async with front() as ask:
        await ask.session()
        body = {"sessionId": "shop", "to": "+5215512345678", "text": "x"}
        await ask("POST", "/send", body, headers=KEY)
        other = await ask("POST", "/send", body | {"text": "y"}, headers=KEY)
        assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
        group = await ask(
            "POST", "/send-group", {"sessionId": "shop", "groupId": "g", "text": "x"}, headers=KEY
        )
        assert group.json["code"] == "idempotency_key_reused"
        await trio.sleep(1)
        assert ask.house.world.bodies() == ["x"]


async def test_a_key_is_its_tokens_own(autojump_clock):
    """Two shops that number their orders alike do not meet."""
    async with front() as ask:
        await ask.session("nine", shopId="shop-9")
        await ask.session("eight", shopId="shop-8")
        nine = await ask.as_("shop9").send("x", "nine", key="order-1234")
        eight = await ask.as_("shop8").send("x", "eight", key="order-1234")
        assert (nine.status, eight.status) == (202, 202)
        assert nine.json["messageId"] != eight.json["messageId"]


@pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_refused(key, autojump_clock):
    """1 to 255 printable ASCII characters; refused, lest the caller think it were safe."""
    async with front() as ask:
        await ask.session()
        sent = await ask.send("x", key=key)
        assert (sent.status, sent.pointers) == (422, {"/Idempotency-Key"})


# --- refusals -------------------------------------------------------------------------------------


async def test_every_bad_field_is_named(autojump_clock):
    """Not the first one only."""
    async with front() as ask:
        sent = await ask(
            "POST", "/send", {"to": "5512345678", "text": {"body": "", "previewUrl": 1}, "priority": "high"}
        )
        assert (sent.status, sent.json["code"]) == (422, "invalid_request")
        assert sent.pointers == {"/sessionId", "/to", "/text/body", "/text/previewUrl", "/priority"}


async def test_what_the_provider_cannot_send_is_refused_at_once(autojump_clock):
    """422 with the capability's name."""
    async with front() as ask:
        await ask.session()
        sent = await ask(
            "POST", "/send", {"sessionId": "shop", "to": "+5215512345678", "video": {"mediaId": "1"}}
        )
        assert (sent.status, sent.json["code"], sent.json["capability"]) == (422, "not_supported", "video")
        assert sent.json["provider"] == "simulated"


async def test_a_session_that_waits_for_a_person_takes_nothing_unless_told_to(autojump_clock):
    """409 with the reason; `"queue": true` takes it all the same."""
    async with front() as ask:
        await ask.session()
        await ask("POST", "/sessions/shop/disconnect", headers={"Prefer": "wait=5"})
        sent = await ask.send()
        assert (sent.status, sent.json["code"]) == (409, "session_unavailable")
        assert sent.json["reason"]["code"] == "disconnected"
        assert sent.json["reason"]["needsPerson"] is True
        assert (await ask.send(queue=True)).status == 202


async def test_a_full_queue_asks_to_come_back(autojump_clock):
    """429 with Retry-After, in header and body."""
    async with front(House(world=SignedProvider(), limits=Limits(queue_per_session=2))) as ask:
        await ask.session()
        ask.house.world.script["*"] = [hang] * 9
        statuses = [(await ask.send(f"{n}", to=f"+521551234567{n}")).status for n in range(4)]
        assert statuses == [202, 202, 429, 429]
        full = await ask.send()
        assert (full.json["code"], full.json["retryable"]) == ("queue_full", True)
        assert full.headers["retry-after"] == str(full.json["retryAfter"])


async def test_a_shop_may_be_named_in_place_of_a_session(autojump_clock):
    """wad chooses, and the answer says which session, why, and why not the others."""
    async with front() as ask:
        await ask.session("nine", shopId="shop-9")
        body = {"shopId": "shop-9", "to": "+5215512345678", "text": "x"}
        sent = await ask.as_("shop9")("POST", "/send", body)
        assert (sent.status, sent.json["sessionId"]) == (202, "nine")
        assert (await ask.as_("shop8")("POST", "/send", body)).status == 404
        await ask.session("nine-b", shopId="shop-9")
        again = await ask("POST", "/send", body)
        assert again.json["balancing"] == {
            "chosen": {"sessionId": "nine", "why": "wrote_to_customer"},
            "others": [{"sessionId": "nine-b", "why": "conversation_elsewhere"}],
        }


async def test_a_group_is_sent_to(autojump_clock):
    """The same with `groupId`; the message shows it where `to` would be."""
    async with front() as ask:
        await ask.session()
        sent = await ask("POST", "/send-group", {"sessionId": "shop", "groupId": "g-1", "text": "x"})
        assert sent.status == 202
        message = (await ask("GET", sent.headers["location"])).json
        assert (message["groupId"], message["to"]) == ("g-1", None)


# --- many at once ---------------------------------------------------------------------------------


async def test_each_message_of_a_batch_stands_for_itself(autojump_clock):
    """207 in spirit: what is wrong says so in its place, and the others go."""
    async with front() as ask:
        await ask.session()
        good = {"sessionId": "shop", "to": "+5215512345678", "text": "1"}
        batch = [
            good,
            {"sessionId": "shop", "text": "2"},
            good | {"sessionId": "nope"},
            5,
            good | {"text": "3"},
        ]
        sent = await ask("POST", "/send-bulk", {"messages": batch})
        assert sent.status == 202
        assert [item["status"] for item in sent.json["items"]] == [202, 422, 404, 422, 202]
        assert sent.json["items"][1]["problem"]["errors"][0]["pointer"] == "/to"
        await trio.sleep(1)
        assert sorted(ask.house.world.bodies()) == ["1", "3"]


async def test_a_batch_repeated_is_the_same_batch(autojump_clock):
    """One key stands for each message by its place."""
    async with front() as ask:
        await ask.session()
        batch = {
            "messages": [{"sessionId": "shop", "to": "+5215512345678", "text": str(n)} for n in range(3)]
        }
        first = await ask("POST", "/send-bulk", batch, headers=KEY)
        again = await ask("POST", "/send-bulk", batch, headers=KEY)
        ids = [[item["messageId"] for item in reply.json["items"]] for reply in (first, again)]
        assert ids[0] == ids[1]
        assert [item.get("replayed", False) for item in again.json["items"]] == [True] * 3
        batch["messages"].pop()
        other = await ask("POST", "/send-bulk", batch, headers=KEY)
        assert [item["problem"]["code"] for item in other.json["items"]] == ["idempotency_key_reused"] * 2


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_its_bounds(count, autojump_clock):
    """1 to 1000 messages."""
    async with front() as ask:
        sent = await ask("POST", "/send-bulk", {"messages": [{}] * count})
        assert (sent.status, sent.pointers) == (422, {"/messages"})


async def test_a_thousand_go_in_one_request(autojump_clock):
    """The promise of the size."""
    async with front() as ask:
        await ask.session()
        batch = [{"sessionId": "shop", "to": f"+52155{n:08}", "text": "x"} for n in range(1000)]
        sent = await ask("POST", "/send-bulk", {"messages": batch})
        assert {item["status"] for item in sent.json["items"]} == {202}


# --- lists, cancelling, dead letters --------------------------------------------------------------


async def test_messages_are_listed_newest_first_in_parts(autojump_clock):
    """`next` leads on, and is null at the end."""
    async with front() as ask:
        await ask.session()
        for n in range(5):
            await ask.send(str(n))
        seen, cursor = [], {}
        while True:
            part = (await ask("GET", "/messages", limit="2", **cursor)).json
            seen += [item["text"]["body"] for item in part["items"]]
            if part["next"] is None:
                break
            cursor = {"cursor": part["next"]}
        assert seen == ["4", "3", "2", "1", "0"]


FILTERS = [
    ({"sessionId": "shop"}, 2),
    ({"direction": "outbound"}, 3),
    ({"direction": "inbound"}, 0),
    ({"status": "accepted"}, 3),
    ({"status": "failed"}, 0),
    ({"to": "+5215512345678"}, 3),
    ({"to": "+5215500000000"}, 0),
    ({"from": "+5215500000000"}, 0),
    ({"since": "2020-01-01T00:00:00Z"}, 3),
    ({"since": "2030-01-01T00:00:00Z"}, 0),
]


@pytest.mark.parametrize(("query", "count"), FILTERS, ids=[json.dumps(row[0]) for row in FILTERS])
async def test_lists_are_filtered(query, count, autojump_clock):
    """Each filter of the contract."""
    async with front() as ask:
        await ask.session()
        await ask.session("other")
        await ask.send()
        await ask.send()
        await ask.send(session_id="other")
        await trio.sleep(1)
        assert len((await ask("GET", "/messages", **query)).json["items"]) == count


BAD_QUERIES = [
    ({"limit": "0"}, "/limit"),
    ({"limit": "501"}, "/limit"),
    ({"limit": "x"}, "/limit"),
    ({"cursor": "!"}, "/cursor"),
    ({"since": "yesterday"}, "/since"),
    ({"status": "gone"}, "/status"),
    ({"sesionId": "shop"}, "/sesionId"),
]


@pytest.mark.parametrize(("query", "pointer"), BAD_QUERIES, ids=[json.dumps(row[0]) for row in BAD_QUERIES])
async def test_a_query_is_checked_like_a_body(query, pointer, autojump_clock):
    """A mistyped filter that is ignored would show what nobody asked for."""
    async with front() as ask:
        reply = await ask("GET", "/messages", **query)
        assert (reply.status, reply.pointers) == (422, {pointer})


async def test_a_message_is_cancelled_while_it_waits(autojump_clock):
    """And not after: 409."""
    async with front() as ask:
        await ask.session()
        later = await ask.send(sendAt="2026-12-24T18:00:00Z")
        assert later.json["status"] == "scheduled"
        cancelled = await ask("POST", f"{later.headers['location']}/cancel")
        assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
        assert (await ask("POST", f"{later.headers['location']}/cancel")).json["code"] == "not_cancellable"
        gone = await ask.send()
        await trio.sleep(1)
        assert (await ask("POST", f"{gone.headers['location']}/cancel")).status == 409
        assert (await ask("POST", "/messages/msg_none/cancel")).status == 404


async def test_dead_letters_are_listed_retried_and_discarded(autojump_clock):
    """What gave up is for a person: try it again, or put it away."""
    async with front() as ask:
        await ask.session()
        ask.house.world.script["*"] = [failing(refusal(Verdict.REJECTED, "window_closed"))] * 2
        first, second = await ask.send("1"), await ask.send("2", to="+5215512345679")
        await trio.sleep(1)
        dead = (await ask("GET", "/dead-letters")).json["items"]
        assert [item["error"]["code"] for item in dead] == ["window_closed"] * 2
        assert all(item["deadLetter"] for item in dead)
        assert len((await ask("GET", "/dead-letters", direction="inbound")).json["items"]) == 0
        again = await ask("POST", f"/dead-letters/{first.json['messageId']}/retry")
        assert (again.status, again.json["status"]) == (200, "queued")
        put_by = await ask("DELETE", f"/dead-letters/{second.json['messageId']}")
        assert (put_by.status, put_by.json) == (
            200,
            {"messageId": second.json["messageId"], "discarded": True},
        )
        await trio.sleep(1)
        assert (await ask("GET", "/dead-letters")).json["items"] == []
        assert ask.house.world.bodies() == ["1"]
        assert (await ask("GET", second.headers["location"])).json["status"] == "failed"


async def test_a_message_that_has_not_left_says_why(autojump_clock):
    """One by one, and not in lists; null once it waits no more."""
    async with front() as ask:
        await ask.session()
        await ask("POST", "/sessions/shop/breaker", {"action": "isolate"})
        sent = (await ask.send()).json["messageId"]
        waiting = (await ask("GET", f"/messages/{sent}")).json["waiting"]
        assert (waiting["reason"], waiting["until"]) == ("breaker_isolated", None)
        assert ["waiting" in each for each in (await ask("GET", "/messages")).json["items"]] == [False]
        closed = await ask("POST", "/sessions/shop/breaker", {"action": "close"})
        assert (closed.status, closed.json["breaker"]) == (200, "closed")
        await trio.sleep(1)
        assert (await ask("GET", f"/messages/{sent}")).json["waiting"] is None
        wrong = await ask("POST", "/sessions/shop/breaker", {"action": "open"})
        assert (wrong.status, wrong.pointers) == (422, {"/action"})


async def test_a_message_may_say_how_long_it_is_good_for(autojump_clock):
    """`ttl` seconds from sendAt, else from now, in place of expiresAt; then it is expired, with all that happened."""
    async with front() as ask:
        await ask.session()
        ask.house.world.script["*"] = [failing(refusal(Verdict.NOT_SENT, "provider_unavailable"))] * 99
        body = {"sessionId": "shop", "to": "+5215512345678", "text": "hola"}
        sent = await ask("POST", "/send", body | {"ttl": 20})
        later = await ask("POST", "/send", body | {"ttl": 20, "sendAt": "2026-12-01T15:00:00Z"})
        message = (await ask("GET", f"/messages/{later.json['messageId']}")).json
        assert message["expiresAt"] == "2026-12-01T15:00:20Z"
        await trio.sleep(30)
        [dead] = (await ask("GET", "/dead-letters")).json["items"]
        assert (dead["messageId"], dead["status"]) == (sent.json["messageId"], "expired")
        steps = [step["status"] for step in dead["history"]]
        assert steps == ["queued", *["sending", "queued"] * (dead["attempts"] - 1), "sending", "expired"]
        assert dead["attempts"] == 5  # at once, and 1, 2, 4 and 8 s later; 15 s more would be too late
        for wrong, pointer in (
            ({"ttl": 0}, "/ttl"),
            ({"ttl": "20"}, "/ttl"),
            ({"ttl": 31 * 86400}, "/ttl"),
            ({"ttl": 20, "expiresAt": "2026-12-01T15:00:00Z"}, "/ttl"),
        ):
            refused = await ask("POST", "/send", body | wrong)
            assert (refused.status, refused.pointers) == (422, {pointer})


#: (label, what the body says, the field that is wrong). It is 2026-11-24T08:00:00Z.
TIMES = [
    ("sendAt after expiresAt", {"sendAt": "2026-12-02T00:00:00Z", "expiresAt": "2026-12-01T00:00:00Z"}, "/expiresAt"),
    ("sendAt at expiresAt", {"sendAt": "2026-12-01T00:00:00Z", "expiresAt": "2026-12-01T00:00:00Z"}, "/expiresAt"),
    ("expiresAt in the past", {"expiresAt": "2026-11-24T07:59:59Z"}, "/expiresAt"),
    ("expiresAt now", {"expiresAt": "2026-11-24T08:00:00Z"}, "/expiresAt"),
    ("sendAt in the past, and over", {"sendAt": "2026-11-01T00:00:00Z", "ttl": 60}, "/expiresAt"),
    ("sendAt in more than a year", {"sendAt": "2027-11-26T08:00:00Z"}, "/sendAt"),
    ("sendAt at the end of time", {"sendAt": "9999-12-31T23:59:59Z"}, "/sendAt"),
    ("sendAt at the end of time, and over", {"sendAt": "9999-12-31T23:59:59Z", "ttl": 60}, "/sendAt"),
]  # fmt: skip


async def test_times_that_cannot_be_are_refused_by_their_field(autojump_clock):
    """Before anything is stored; those at the edge are taken."""
    async with front() as ask:
        await ask.session()
        for label, said, field in TIMES:
            sent = await ask.send(**said)
            assert (sent.status, sent.pointers) == (422, {field}), label
        in_a_year = await ask.send(sendAt="2027-11-24T08:00:00Z")
        assert (in_a_year.status, in_a_year.json["status"]) == (202, "scheduled")
        past = await ask.send(sendAt="2026-11-24T07:00:00Z", prefer="wait=5")
        assert past.json["status"] == "accepted"


async def test_what_is_being_sent_is_not_cancelled(autojump_clock):
    """409, and it goes on; so does one of a bulk that is stopped."""
    async with front() as ask:
        await ask.session()
        ask.house.world.latency = 10
        sent = await ask.send(prefer="wait=1", priority="bulk")
        assert sent.json["status"] == "sending"
        refused = await ask("POST", f"/messages/{sent.json['messageId']}/cancel")
        assert (refused.status, refused.json["code"]) == (409, "not_cancellable")
        await trio.sleep(20)
        assert (await ask("GET", f"/messages/{sent.json['messageId']}")).json["status"] == "accepted"
