"""The control API of WhatsApp Web: strict about what it is told, and honest about an emulator that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from tests.sandbox.place import Place, place
from tests.sandbox.web.place import ANA, PHONE, needs_node, post, web
from wad.sandbox import WebConfig


def child_of(here: Place) -> Any:
    assert here.sandbox.web is not None
    return here.sandbox.web.emulator._child


#: label → (path, body, words of the refusal)
REFUSED: dict[str, tuple[str, Any, str]] = {
    "an unknown field": ("web/scan", {"phone": PHONE, "qr": "x", "more": 1}, "unknown field `more`"),
    "no number": ("web/scan", {"phone": "Ana", "qr": "x"}, "$.phone"),
    "no QR code": ("web/scan", {"phone": PHONE, "qr": "x"}, "not the text of a WhatsApp QR code"),
    "a code nobody asked for": ("web/pairing-code", {"phone": PHONE, "code": "ABCD-EFGH"}, "code"),
    "nothing to say": ("web/say", {"from": ANA, "to": PHONE}, "exactly one of"),
    "two things to say": ("web/say", {"from": ANA, "to": PHONE, "text": "a", "image": {}}, "text, image"),
    "to nobody": ("web/say", {"from": ANA, "text": "a"}, "to or group"),
    "in a group there is not": ("web/say", {"from": ANA, "groupId": "1@g.us", "text": "a"}, "no group"),
    "a reply to nothing": (
        "web/say",
        {"from": ANA, "to": PHONE, "text": "a", "replyTo": "X"},
        "no message X",
    ),
    "a file that is not there": (
        "web/say",
        {"from": ANA, "to": PHONE, "image": {"file": "../../x"}},
        "no such file",
    ),
    "bytes that are no base64": ("web/say", {"from": ANA, "to": PHONE, "image": {"data": "?"}}, "not base64"),
    "a fault there is not": ("web/faults", {"phone": PHONE, "kind": "oops"}, "no fault oops"),
    "a fault without its code": ("web/faults", {"phone": PHONE, "kind": "error"}, "needs a code"),
    "a ban there is not": ("web/ban", {"phone": PHONE, "kind": "forever"}, "$.kind"),
    "a group of nobody": ("web/groups", {"subject": "G", "participants": []}, "$.participants"),
    "a member of no group": ("web/groups/1@g.us/add", {"participants": [ANA]}, "no group"),
    "ids of no message": ("web/read", {"by": ANA, "to": PHONE, "ids": []}, "$.ids"),
}


@needs_node
async def test_what_is_wrong_is_said() -> None:
    """400 with a sentence, whoever found it: the sandbox or the emulator."""
    async with web() as here:
        for label, (path, body, words) in REFUSED.items():
            answer = await post(here, path, body)
            assert (answer.status_code, words in answer.json()["error"]) == (400, True), (label, answer.text)


async def test_a_sandbox_without_whatsapp_web_says_so() -> None:
    """503: it is not the request that is wrong."""
    async with place() as here:
        answer = await post(here, "web/scan", {"phone": PHONE, "qr": "x"})
        assert (answer.status_code, "without WhatsApp Web" in answer.json()["error"]) == (503, True)
        assert (await here.control("GET", "state"))["web"] is None


async def test_without_node_the_rest_works() -> None:
    """The state says what is missing and how to bring it; the Graph API does not mind."""
    async with place(web=WebConfig(node="/nowhere/node")) as here:
        state = (await here.control("GET", "state"))["web"]
        assert (state["running"], "wad[node]" in state["missing"]) == (False, True)
        assert (await post(here, "web/online", {"phone": ANA})).status_code == 503
        again = await post(here, "web/start", {})
        assert (again.status_code, "/nowhere/node" in again.json()["error"]) == (503, True)
        assert (await here.send()).is_success
        assert (await here.client.get(f"/_sandbox/web/media/{ANA}/x")).status_code == 404


@needs_node
async def test_a_taken_port_is_said() -> None:
    """And the rest works."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, web(bind=f"127.0.0.1:{listener.socket.getsockname()[1]}") as here:
        state = await here.control("GET", "web")
        assert (state["running"], "EADDRINUSE" in state["missing"]) == (False, True)
        assert (await here.control("GET", "state"))["numbers"]


@needs_node
async def test_an_emulator_that_dies_is_noticed_and_can_be_started_again(tmp_path: Path) -> None:
    """It is said in the state, in the ledger and by 503; the new one is where the old one was, and knows nobody."""
    async with web(tmp_path) as here:
        before = await here.control("GET", "web")
        await here.post("web/groups", {"subject": "G", "participants": [ANA]})
        async with here.sandbox.feed.listen() as told:
            child_of(here).kill()
            with trio.fail_after(20):
                while (await told.receive()).get("what") != "ended":
                    pass
        state = await here.control("GET", "web")
        assert (state["running"], "ended (-9)" in state["missing"]) == (False, True)
        assert (await post(here, "web/online", {"phone": ANA})).status_code == 503
        await here.post("web/start")
        after = await here.control("GET", "web")
        assert (after["running"], after["groups"]) == (True, [])
        same = ("webSocketUrl", "noiseRootKey", "extraCa")
        assert [after[name] for name in same] == [before[name] for name in same]
        entries = here.sandbox.ledger.entries("link")
        assert [each["event"] for each in entries if each["event"] != "group"] == [
            "started",
            "ended",
            "started",
        ]


@needs_node
async def test_people_and_phones_are_the_persons_to_name() -> None:
    """A phone that one holds is nobody's contact; settings are of all, or of one."""
    async with web() as here:
        await here.post("web/contacts", {"phone": "+5215500000001", "name": "Zoe", "addressing": "lid"})
        await here.post("web/phones", {"phone": "+5215500000002", "name": "Tienda 2"})
        await here.post("web/phones", {"phone": f"+{ANA}"})
        state = await here.control("GET", "web")
        assert [each["name"] for each in state["phones"]] == ["Tienda Web", "Tienda 2", "Ana Torres"]
        assert [each["name"] for each in state["contacts"]] == ["Luis Ortega", "Zoe"]
        await here.control("PATCH", "web/settings", {"minVersion": [2, 3000, 1]})
        assert (await here.control("GET", "web/settings"))["minVersion"] == [2, 3000, 1]
        changed = await here.control("PATCH", "web/settings", {"autoRead": True, "minVersion": None})
        assert changed["minVersion"] is None
        assert (changed["autoRead"], (await here.control("GET", "web/settings"))["autoRead"]) == (True, True)
