"""Pairing over HTTP: the code in every form, a code to type, what listeners hear, and leaving again."""

import xml.etree.ElementTree as ET
import zlib
from functools import partial

import segno
import trio

from tests.house import House
from tests.http.front import front
from tests.http.test_events import Listening, listen
from tests.simulated import SocketProvider, refusal
from wad.errors import Verdict

BODY = {"provider": "simulated", "sessionId": "shop", "credentials": {}}


def pairs():
    return front(House(world=SocketProvider()))


async def begun(ask):
    """A session that shows its first code."""
    assert (await ask("POST", "/sessions", BODY)).status == 201
    reply = await ask("POST", "/sessions/shop/connect", headers={"Prefer": "wait=5"})
    assert (reply.status, reply.json["state"]) == (202, "pairing")


def modules(text: str) -> list[list[bool]]:
    """The code that *text* has to be drawn as: dark is True."""
    return [
        [bool(module) for module in row] for row in segno.make_qr(text, error="l", boost_error=False).matrix
    ]


def read_text(body: str) -> list[list[bool]]:
    """The dark modules of half blocks, light on dark, without what is around them."""
    light = [[[char in "█▀", char in "█▄"] for char in line] for line in body.splitlines()]
    rows = [[pair[half] for pair in line] for line in light for half in (0, 1)]
    size = len(rows[0]) - 4
    return [[not module for module in row[2 : size + 2]] for row in rows[2 : size + 2]]


def read_png(body: bytes) -> list[list[bool]]:
    """The dark modules of a PNG of one bit a pixel: 8 pixels a module, so a byte each; 4 modules of light around."""
    chunks, at = {}, 8
    while at < len(body):
        length = int.from_bytes(body[at : at + 4])
        chunks[body[at + 4 : at + 8]] = body[at + 8 : at + 8 + length]
        at += 12 + length
    width, depth = int.from_bytes(chunks[b"IHDR"][:4]), chunks[b"IHDR"][8]
    assert depth == 1
    data = zlib.decompress(chunks[b"IDAT"])
    lines = [data[start : start + 1 + width // 8] for start in range(0, len(data), 1 + width // 8)]
    firsts = [
        line[1:] for line in lines[::8]
    ]  # of each module's 8 lines; the others may say: as the one above
    assert {line[0] for line in lines[::8]} == {0}
    return [[byte == 0 for byte in line[4:-4]] for line in firsts[4:-4]]


async def test_the_code_can_be_had_in_every_form(autojump_clock):
    """By `Accept` and by `?format=`, which comes first; JSON where nothing is said. None of it may be kept."""
    async with pairs() as ask:
        await begun(ask)
        said = {"qr": "qr-1", "expiresAt": "2026-11-24T09:00:00Z"}
        for headers, query in [
            ({}, {}),
            ({"Accept": "*/*"}, {}),
            ({"Accept": "image/png"}, {"format": "json"}),
        ]:
            reply = await ask("GET", "/sessions/shop/qr", headers=headers, **query)
            assert (reply.status, reply.json, reply.headers["cache-control"]) == (200, said, "no-store")
        for media_type, name in [("text/plain", "text"), ("image/png", "png"), ("image/svg+xml", "svg")]:
            accepted = await ask("GET", "/sessions/shop/qr", headers={"Accept": media_type})
            named = await ask("GET", "/sessions/shop/qr", format=name)
            assert accepted.status == named.status == 200
            assert accepted.body == named.body
            assert named.headers["content-type"].partition(";")[0] == media_type
            assert named.headers["cache-control"] == "no-store"
            match name:
                case "text":
                    assert read_text(named.body.decode()) == modules("qr-1")
                case "png":
                    assert read_png(named.body) == modules("qr-1")
                case _:
                    assert ET.fromstring(named.body).tag == "{http://www.w3.org/2000/svg}svg"
        refused = await ask("GET", "/sessions/shop/qr", headers={"Accept": "video/mp4"})
        assert (refused.status, refused.json["code"]) == (406, "not_acceptable")
        odd = await ask("GET", "/sessions/shop/qr", format="pdf")
        assert odd.status == 422


async def test_a_code_is_there_only_while_the_session_pairs(autojump_clock):
    """409 before and after; the status has the code, and when it expires, meanwhile."""
    async with pairs() as ask:
        assert (await ask("POST", "/sessions", BODY | {"connect": False})).status == 201
        assert (await ask("GET", "/sessions/shop/qr")).json["code"] == "not_pairing"
        await ask("POST", "/sessions/shop/connect", headers={"Prefer": "wait=5"})
        status = (await ask("GET", "/sessions/shop/status")).json
        assert (status["qrCode"], status["qrExpiresAt"]) == ("qr-1", "2026-11-24T09:00:00Z")
        ask.house.world.show("shop", "qr-2")
        assert (await ask("GET", "/sessions/shop/qr")).json["qr"] == "qr-2"
        await ask.house.world.scan("shop")
        reply = await ask("GET", "/sessions/shop/qr")
        assert (reply.status, reply.json["code"]) == (409, "not_pairing")
        status = (await ask("GET", "/sessions/shop/status")).json
        assert (status["state"], status["qrCode"], status["qrExpiresAt"]) == ("connected", None, None)


async def test_a_code_to_type_is_for_a_session_that_pairs(autojump_clock):
    """200 with the code; 409 once it is connected; 422 for what is no number."""
    async with pairs() as ask:
        await begun(ask)
        code = await ask("POST", "/sessions/shop/pairing-code", {"phoneNumber": "+5215512345678"})
        assert (code.status, code.json) == (200, {"code": "CODE5678"})
        wrong = await ask("POST", "/sessions/shop/pairing-code", {"phoneNumber": "55"})
        assert (wrong.status, wrong.pointers) == (422, {"/phoneNumber"})
        await ask.house.world.scan("shop")
        late = await ask("POST", "/sessions/shop/pairing-code", {"phoneNumber": "+5215512345678"})
        assert (late.status, late.json["code"]) == (409, "not_pairing")


async def test_logging_out_unpairs_and_connecting_pairs_anew(autojump_clock):
    """The status says `logged_out`, and sends are refused with that reason."""
    async with pairs() as ask:
        await begun(ask)
        await ask.house.world.scan("shop")
        left = await ask("POST", "/sessions/shop/logout")
        assert (left.status, left.json["state"], left.json["desiredState"]) == (
            200,
            "logged_out",
            "disconnected",
        )
        assert ask.house.world.logouts == ["shop"]
        refused = await ask.send()
        assert (refused.status, refused.json["reason"]["code"]) == (409, "logged_out")
        again = await ask("POST", "/sessions/shop/connect", headers={"Prefer": "wait=5"})
        assert (again.status, again.json["state"], again.json["qrCode"]) == (202, "pairing", "qr-1")


async def test_a_group_is_read_with_its_members(autojump_clock):
    """404 for one it is not in."""
    async with pairs() as ask:
        await begun(ask)
        await ask.house.world.scan("shop")
        assert (await ask("GET", "/sessions/shop/groups/g-1")).json == {
            "groupId": "g-1",
            "subject": "Friends",
            "participants": 1,
            "members": [{"id": "p-1", "phone": "+5215500000002"}],
        }
        other = await ask("GET", "/sessions/shop/groups/g-2")
        assert (other.status, other.json["code"]) == (404, "not_found")


async def test_listeners_hear_of_each_code_once(autojump_clock):
    """`session.qr` with the code and its expiry; `session.state` only where the state is another one."""
    async with pairs() as ask, trio.open_nursery() as nursery:
        listening = Listening()
        await nursery.start(listen, ask, listening)
        await begun(ask)
        for qr in ("qr-2", "qr-2", "qr-3"):
            ask.house.world.show("shop", qr)
        await ask.house.world.scan("shop")
        await trio.sleep(1)
        heard = [
            (each["type"], each["data"].get("qr") or each["data"].get("state")) for each in listening.events
        ]
        assert heard == [
            ("session.state", "connecting"),
            ("session.state", "pairing"),
            ("session.qr", "qr-1"),
            ("session.qr", "qr-2"),
            ("session.qr", "qr-3"),
            ("session.state", "connected"),
        ]
        [first, *_] = [each["data"] for each in listening.events if each["type"] == "session.qr"]
        assert first == {"sessionId": "shop", "qr": "qr-1", "expiresAt": "2026-11-24T09:00:00Z"}
        ask.stream.close()


async def test_listeners_hear_of_a_connection_that_is_lost_again_and_again(autojump_clock):
    """Once, with how often; the status beside it says why."""
    async with pairs() as ask, trio.open_nursery() as nursery:
        listening = Listening()
        await begun(ask)
        await ask.house.world.scan("shop")
        await nursery.start(partial(listen, types="session.reconnect_loop"), ask, listening)
        for _ in range(7):
            ask.house.world.drop("shop", refusal(Verdict.NOT_SENT, "connection_lost"))
            await trio.sleep(65)
        [event] = listening.events
        assert (event["data"]["losses"], event["data"]["periodSeconds"]) == (6, 600)
        assert event["data"]["reason"]["code"] == "reconnect_loop"
        ask.stream.close()
