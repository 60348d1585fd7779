"""A shop's id in place of a session's, over HTTP: what is answered, to whom, and with which status."""

from __future__ import annotations

from tests.http.front import front

TO = "+5215512345678"
BODY = {"shopId": "shop-9", "to": TO, "text": "x"}


async def test_the_answer_names_who_was_chosen_and_why_not_the_others(autojump_clock):
    """A repetition under the same key names the same session, from the message's own memory."""
    async with front() as ask:
        await ask.session("one", shopId="shop-9")
        await ask.session("two", shopId="shop-9")
        await ask("POST", "/sessions/two/disconnect", headers={"Prefer": "wait=10"})
        sent = await ask("POST", "/send", BODY, headers={"Idempotency-Key": "k"})
        assert sent.json["sessionId"] == "one"
        assert sent.json["balancing"] == {
            "chosen": {"sessionId": "one", "why": "only_one"},
            "others": [{"sessionId": "two", "why": "disconnected"}],
        }
        again = await ask("POST", "/send", BODY, headers={"Idempotency-Key": "k"})
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json["messageId"] == sent.json["messageId"]
        assert again.json["balancing"] == {"chosen": sent.json["balancing"]["chosen"], "others": []}


async def test_who_names_a_session_reads_of_no_choice(autojump_clock):
    """There was none."""
    async with front() as ask:
        await ask.session("one", shopId="shop-9")
        assert "balancing" not in (await ask.send(session_id="one")).json


async def test_a_shops_token_sends_for_its_own_shop_alone(autojump_clock):
    """For any other there is nothing, whatever is there; a token of two shops has both."""
    async with front() as ask:
        await ask.session("nine", shopId="shop-9")
        await ask.session("eight", shopId="shop-8")
        assert (await ask.as_("shop9")("POST", "/send", BODY)).json["sessionId"] == "nine"
        assert (await ask.as_("chain")("POST", "/send", BODY)).json["sessionId"] == "nine"
        other = await ask.as_("shop8")("POST", "/send", BODY)
        nobody = await ask.as_("shop8")("POST", "/send", {**BODY, "shopId": "nobody"})
        assert (
            (other.status, other.json["code"]) == (nobody.status, nobody.json["code"]) == (404, "not_found")
        )
        bulk = await ask.as_("shop8")(
            "POST", "/send-bulk", {"messages": [BODY, {**BODY, "shopId": "shop-8"}]}
        )
        assert [item["status"] for item in bulk.json["items"]] == [404, 202]


async def test_no_able_session_is_a_problem_that_names_each(autojump_clock):
    """409 where waiting, or a person, may help; 422 where nothing does."""
    async with front() as ask:
        for name in ("one", "two"):
            await ask.session(name, shopId="shop-9")
            await ask("PATCH", f"/sessions/{name}", {"settings": {"drained": True}})
        drained = await ask("POST", "/send", BODY)
        assert (drained.status, drained.json["code"]) == (409, "no_able_session")
        assert drained.json["sessions"] == [
            {"sessionId": "one", "why": "drained"},
            {"sessionId": "two", "why": "drained"},
        ]
        poll = {"name": "¿?", "options": ["a", "b"]}
        never = await ask("POST", "/send", {"shopId": "shop-9", "to": TO, "poll": poll})
        assert never.status == 422
        assert {each["why"] for each in never.json["sessions"]} == {"not_supported"}


async def test_a_drained_session_says_so_wherever_it_is_read(autojump_clock):
    """In its settings and its status; whoever sends to it by name is told."""
    async with front() as ask:
        await ask.session("one")
        patched = await ask("PATCH", "/sessions/one", {"settings": {"drained": True}})
        assert patched.json["settings"]["drained"] is True
        assert (await ask("GET", "/sessions/one/status")).json["drained"] is True
        refused = await ask.send(session_id="one", queue=True)
        assert (refused.status, refused.json["code"]) == (409, "session_unavailable")
        assert refused.json["reason"]["code"] == "drained"
        await ask("PATCH", "/sessions/one", {"settings": {"drained": None}})
        assert (await ask("GET", "/sessions/one/status")).json["drained"] is False
        assert (await ask.send(session_id="one")).status == 202


async def test_groups_and_bulk_go_by_the_shop_as_well(autojump_clock):
    """Each message of a bulk has its own choice."""
    async with front() as ask:
        await ask.session("one", shopId="shop-9")
        group = await ask("POST", "/send-group", {"shopId": "shop-9", "groupId": "g-1", "text": "x"})
        assert (group.status, group.json["balancing"]["chosen"]["sessionId"]) == (202, "one")
        bulk = await ask("POST", "/send-bulk", {"messages": [BODY, {**BODY, "shopId": "nobody"}]})
        first, second = bulk.json["items"]
        assert (first["status"], first["balancing"]["chosen"]["sessionId"]) == (202, "one")
        assert (second["status"], second["problem"]["code"]) == (404, "not_found")
