"""What nobody may do who is let in only so far: other shops' things, and addresses that are nobody's business."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.acceptance.daemon import TOKEN
from tests.acceptance.shop import API, a_phone, shop, until
from tests.acceptance.town import all_messages, running, town


async def test_a_token_sees_its_shops_and_nothing_else(tmp_path: Path) -> None:
    """Over the real port: another shop's things are not there, whatever is asked, and no token is no entry."""
    tokens = {name: f"wad_{name}_" + name[-1] * 40 for name in ("shop8", "shop9")}
    auth = {
        "tokens": [
            {"name": "admin", "token": TOKEN, "scope": "admin"},
            *(
                {"name": name, "token": token, "scope": "shop", "shops": [name]}
                for name, token in tokens.items()
            ),
        ]
    }
    async with (
        town(tmp_path) as here,
        running(here, tmp_path, auth=auth) as daemon,
        shop(here, daemon, "mine", shopId="shop9") as its,
        daemon.client(tokens["shop9"]) as owner,
        daemon.client(tokens["shop8"]) as stranger,
        daemon.client("wad_guess_" + "g" * 40) as nobody,
    ):
        message_id = await its.taken()
        await its.until(message_id, "read")
        await its.writes(a_phone(), "hola")
        await until(its.sends, lambda sends: len(sends) == 2, what="the answer")
        body = {"sessionId": "mine", "to": a_phone(), "text": "hola"}
        asked: list[tuple[str, str, Any]] = [
            ("GET", "/sessions/mine", None),
            ("PATCH", "/sessions/mine", {"settings": {"rate": 1}}),
            ("POST", "/sessions/mine/connect", None),
            ("POST", "/sessions/mine/disconnect", None),
            ("POST", "/sessions/mine/logout", None),
            ("GET", "/sessions/mine/status", None),
            ("GET", "/sessions/mine/capabilities", None),
            ("GET", "/sessions/mine/groups", None),
            ("POST", "/sessions/mine/read", {"messageId": message_id}),
            ("DELETE", "/sessions/mine", None),
            ("POST", "/send", body),
            ("POST", "/send", {"shopId": "shop9", "to": a_phone(), "text": "hola"}),
            ("GET", f"/messages/{message_id}", None),
            ("POST", f"/messages/{message_id}/cancel", None),
            ("POST", f"/dead-letters/{message_id}/retry", None),
            ("DELETE", f"/dead-letters/{message_id}", None),
        ]
        answers: Counter[str] = Counter()
        for method, path, content in asked:
            for who, client in (("stranger", stranger), ("nobody", nobody)):
                answer = await client.request(method, f"{API}{path}", json=content)
                expected = (404,) if who == "stranger" else (401, 429)  # who guesses too often has to wait
                assert answer.status_code in expected, (who, method, path, answer.text)
                answers[who] += 1
        for path in ("/sessions", "/messages", "/dead-letters"):
            listed = await stranger.get(f"{API}{path}")
            assert (listed.status_code, listed.json()["items"]) == (200, []), path
        assert (await stranger.get(f"{API}/messages", params={"sessionId": "mine"})).status_code == 404
        bulk = await stranger.post(f"{API}/send-bulk", json={"messages": [body]})
        assert [item["status"] for item in bulk.json()["items"]] == [404]
        assert answers == {"stranger": len(asked), "nobody": len(asked)}
        # All of it is there for its owner, as it was.
        assert (await owner.get(f"{API}/sessions/mine/status")).json()["isConnected"] is True
        assert (await owner.get(f"{API}/messages/{message_id}")).json()["status"] == "read"
        assert len(await its.sends()) == 2


#: Ways to write an address that a gateway has no business asking for a caller.
INSIDE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://0.0.0.0/",
    "http://[64:ff9b::7f00:1]/",
    "http://example.com:22/",
    "http://user:password@example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
]


async def test_a_caller_cannot_send_wad_into_the_house(tmp_path: Path) -> None:
    """Addresses inside are refused where they are given, and asked by nobody where they were stored before."""
    async with (
        town(tmp_path) as here,
        running(here, tmp_path) as daemon,
        shop(here, daemon, "own-flow", settings={"flowUrl": here.flow.url}) as flowing,
        shop(here, daemon, "own-provider", settings={"baseUrl": here.sandbox_url}) as elsewhere,
    ):
        # As long as the operator opens the network, both work.
        await flowing.writes(a_phone(), "allowed")
        await until(flowing.sends, lambda sends: len(sends) == 1, what="the answer")
        await elsewhere.until(await elsewhere.taken(), "read")
        await here.until_quiet()

        assert await daemon.stop() == 0
        calls = await here.ledger("call", phoneNumberId=elsewhere.number)
        daemon.configure(guard={"allow": []})
        await daemon.start()
        status = await elsewhere.until_status(state="bad_credentials", isConnected=False)
        assert (status["reason"]["code"], status["reason"]["needsPerson"]) == ("url_not_allowed", True)
        await flowing.until_status(isConnected=True)  # by the operator's own URL, which is not a caller's
        await flowing.writes(a_phone(), "not allowed")

        async def refused() -> list[Any]:
            inbound = await all_messages(daemon, sessionId="own-flow", direction="inbound")
            return [m["error"]["code"] for m in inbound if m["text"]["body"] == "not allowed" and m["error"]]

        await until(refused, lambda codes: codes == ["url_not_allowed"], what="the delivery refused")
        assert here.flow.heard == {"allowed": 1}
        assert await here.ledger("call", phoneNumberId=elsewhere.number) == calls

        for url in INSIDE:
            for name in ("flowUrl", "baseUrl"):
                changed = await flowing.api.patch(flowing.path, json={"settings": {name: url}})
                assert changed.status_code == 422, (url, changed.text)
                assert f"/settings/{name}" in {each["pointer"] for each in changed.json()["errors"]}, url
        settings = (await flowing.api.get(flowing.path)).json()["settings"]
        assert (settings["flowUrl"], settings.get("baseUrl")) == (here.flow.url, None)
