"""WhatsApp Web with a real Baileys: linked by the phone one holds, talked to, counted, and put off."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from tests.sandbox.web.client import Client
from tests.sandbox.web.place import ANA, LUIS, PHONE, linked, needs_node, post, record, text_in, web
from wad.sandbox.samples import picture

pytestmark = needs_node

SENT = "3EB0AAAAAAAAAAAAAAAAAA"


async def test_a_phone_scans_and_the_two_talk(tmp_path: Path) -> None:
    """The QR's text is all it takes; both ways are in the ledger, with what became of them."""
    async with linked(tmp_path) as (here, client):
        [phone] = (await here.control("GET", "web"))["phones"]
        assert [each["connected"] for each in phone["clients"]] == [True]
        said = await here.post("web/say", {"from": f"+{ANA}", "to": PHONE, "text": "hola"})
        await client.until("messages", text_in("hola"))
        entry = await record(here, said["id"], lambda each: each["received"])
        assert (entry["direction"], entry["account"], entry["from"]) == ("in", PHONE, ANA)
        await client.send(f"{ANA}@s.whatsapp.net", {"text": "¡hola Ana!"}, name=SENT)
        entry = await record(here, SENT, lambda each: "delivered" in each["receipts"].get(ANA, {}))
        seen = entry["recipients"][ANA]
        assert (entry["sent"], seen["shown"], seen["content"]["text"]) == (1, 1, "¡hola Ana!")
        await here.post("web/read", {"by": ANA, "to": PHONE, "ids": [SENT]})
        await record(here, SENT, lambda each: "read" in each["receipts"][ANA])


async def test_the_ledger_has_every_change_and_the_emulator_the_last_word(tmp_path: Path) -> None:
    """A message's entries in the file grow; `/web/messages` says how it stands."""
    async with linked(tmp_path) as (here, client):
        await client.send(f"{ANA}@s.whatsapp.net", {"text": "uno"}, name=SENT)
        await record(here, SENT, lambda each: each["acked"] and each["receipts"])
        query = f"ledger?kind=web&direction=out&account={PHONE}&chat={ANA}&id={SENT}"
        entries = (await here.control("GET", query))["entries"]
        assert [each["sent"] for each in entries] == [1] * len(entries)
        last = await here.control("GET", "web/messages?after=0")
        [message] = [each for each in last["entries"] if each["id"] == SENT]
        assert (message["sent"], message["recipients"][ANA]["shown"]) == (1, 1)
        assert (await here.control("GET", f"web/messages?after={last['last']}"))["entries"] == []
        links = (await here.control("GET", f"ledger?kind=link&phone={PHONE}"))["entries"]
        assert [each["event"] for each in links if each["event"] in ("linked", "connected")] == [
            "linked",
            "connected",
        ]


async def test_a_pairing_code_links_as_well(tmp_path: Path) -> None:
    """With the dash or without; a wrong one says so."""
    async with web() as here:
        assert here.sandbox.web is not None
        access = here.sandbox.web.emulator.access
        assert access is not None
        async with Client(access, tmp_path).running() as client:
            await client.open()
            await client.until("qr")
            code = (await client.call("pairing_code", phone=PHONE))["code"]
            wrong = await post(here, "web/pairing-code", {"phone": PHONE, "code": "AAAAAAAA"})
            assert (wrong.status_code, "code" in wrong.json()["error"]) == (400, True)
            await here.post("web/pairing-code", {"phone": PHONE, "code": f"{code[:4]}-{code[4:]}"})
            await client.until("open")


class Saying(NamedTuple):
    label: str
    said: dict[str, Any]
    content: dict[str, Any]  # what the ledger says of it


SAID = [
    Saying("a text", {"text": "hola"}, {"type": "text", "text": "hola"}),
    Saying("a photo, made up", {"image": {}}, {"type": "image", "mimetype": "image/png"}),
    Saying("a voice note", {"audio": {}}, {"type": "audio", "ptt": True}),
    Saying("a film", {"video": {"caption": "mira"}}, {"type": "video", "caption": "mira"}),
    Saying(
        "a file", {"document": {"data": "aG9sYQ==", "fileName": "a.txt"}}, {"type": "document", "size": 4}
    ),
    Saying("a sticker", {"sticker": {}}, {"type": "sticker", "mimetype": "image/webp"}),
    Saying("a place", {"location": {}}, {"type": "location", "name": "Zócalo"}),
    Saying("somebody", {"contact": {}}, {"type": "contact", "name": "Marta Ruiz"}),
    Saying(
        "a poll", {"poll": {"name": "¿Día?", "options": ["L", "M"]}}, {"type": "poll", "options": ["L", "M"]}
    ),
]


async def test_whatever_people_say_arrives(tmp_path: Path) -> None:
    """Every kind, each taken by the client; then what one does to a message, and media the other way."""
    async with linked(tmp_path) as (here, client):
        ids: dict[str, str] = {}
        for row in SAID:
            ids[row.label] = (await here.post("web/say", {"from": ANA, "to": PHONE, **row.said}))["id"]
        for row in SAID:
            entry = await record(here, ids[row.label], lambda each: each["received"])
            assert row.content.items() <= entry["content"].items(), (row.label, entry)
        first = ids["a text"]
        for change in (
            {"text": "y otra", "replyTo": first},
            {"reaction": {"id": first, "emoji": "👍"}},
            {"edit": {"id": first, "text": "adiós"}},
            {"delete": {"id": first}},
        ):
            said = await here.post("web/say", {"from": ANA, "to": PHONE, **change})
            await record(here, said["id"], lambda each: each["received"])
        file = tmp_path / "photo.png"
        file.write_bytes(picture())
        content = {"image": {"url": str(file)}, "caption": "una foto", "mimetype": "image/png"}
        await client.send(f"{ANA}@s.whatsapp.net", content, name=SENT)
        entry = await record(here, SENT, lambda each: each["recipients"].get(ANA, {}).get("content"))
        seen = entry["recipients"][ANA]["content"]
        assert (seen["caption"], seen["sha256"]) == ("una foto", hashlib.sha256(picture()).hexdigest())
        shown = await here.client.get(f"/_sandbox/web/media/{ANA}/{SENT}")
        assert (shown.content, shown.headers["content-type"]) == (picture(), "image/png")
        kept = await here.client.get(f"/_sandbox/web/media/{ANA}/{ids['a file']}")
        assert (kept.content, kept.headers["content-disposition"]) == (b"hola", "attachment")


async def test_a_file_that_is_said_again_is_not_written_again() -> None:
    """The same bytes are one file, and while it is written anew its reader would find it empty."""
    async with web() as here:
        assert here.sandbox.web is not None
        first = here.sandbox.web.keep_file(picture())
        os.utime(first, ns=(0, 0))
        again = here.sandbox.web.keep_file(picture())
        assert (again, again.stat().st_mtime_ns) == (first, 0)


async def test_a_group_talks_both_ways(tmp_path: Path) -> None:
    """Made with the phone in it, renamed, grown, and left."""
    async with linked(tmp_path) as (here, client):
        made = await here.post("web/groups", {"subject": "Familia", "participants": [ANA, PHONE]})
        group = made["groupId"]
        await here.post(f"web/groups/{group}/add", {"participants": [LUIS]})
        await here.post(f"web/groups/{group}/subject", {"subject": "Todos"})
        await here.post(f"web/groups/{group}/rank", {"participants": [LUIS], "change": "promote"})
        [known] = [each for each in await client.call("groups") if each["id"] == group]
        assert (known["subject"], len(known["participants"])) == ("Todos", 3)
        await here.post("web/say", {"from": LUIS, "groupId": group, "text": "hola a todos"})
        await client.until("messages", text_in("hola a todos"))
        await client.send(group, {"text": "hola, los dos"}, name=SENT)
        entry = await record(here, SENT, lambda each: {ANA, LUIS} <= each["recipients"].keys())
        assert {each["shown"] for each in entry["recipients"].values()} == {1}
        await here.post(f"web/groups/{group}/remove", {"by": LUIS, "participants": [LUIS]})
        out = await post(here, "web/say", {"from": LUIS, "groupId": group, "text": "¿sigo?"})
        assert (out.status_code, "not in" in out.json()["error"]) == (400, True)


async def test_who_is_not_on_whatsapp_is_not(tmp_path: Path) -> None:
    """And is again, when they are."""
    async with linked(tmp_path) as (here, client):
        for there in (False, True):
            await here.post("web/contacts", {"phone": ANA, "onWhatsapp": there})
            found = await client.call("on_whatsapp", phones=[ANA])
            assert any(each["exists"] for each in found) is there


class Ending(NamedTuple):
    label: str
    path: str
    body: dict[str, Any]
    status: int


ENDINGS = [
    Ending("unlinked by the phone", "web/unlink", {}, 401),
    Ending("banned", "web/ban", {"kind": "banned"}, 406),
    Ending("banned for a while", "web/ban", {"kind": "temporary", "expire": 60}, 402),
    Ending("too old", "web/ban", {"kind": "outdated"}, 405),
    Ending("replaced by another", "web/replace", {}, 440),
    Ending("dropped", "web/drop", {}, 428),
    Ending("turned away", "web/drop", {"code": 503}, 503),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.label)
async def test_a_connection_ends_as_it_is_told_to(tmp_path: Path, ending: Ending) -> None:
    """What the client gets is what WhatsApp's own servers make of it."""
    async with linked(tmp_path) as (here, client):
        await here.post(ending.path, {"phone": PHONE, **ending.body})
        closed = await client.until("close")
        assert closed["status"] == ending.status, closed


async def test_a_refused_send_is_told_and_counted(tmp_path: Path) -> None:
    """463 for the client; for the ledger a send that nobody saw."""
    async with linked(tmp_path) as (here, client):
        await here.post("web/faults", {"phone": PHONE, "kind": "error", "code": 463})
        with pytest.raises(Exception, match="refused"):
            await client.send(f"{ANA}@s.whatsapp.net", {"text": "no"}, name=SENT)
        entry = await record(here, SENT, lambda each: each["refused"])
        assert (entry["refused"], entry["acked"], ANA in entry["recipients"]) == ([463], [], False)


async def test_typing_is_seen_at_both_ends(tmp_path: Path) -> None:
    """The page is told of the client's; the client of a person's who is watched."""
    async with linked(tmp_path) as (here, client), here.sandbox.feed.listen() as told:
        await client.call("presence", jid=f"{ANA}@s.whatsapp.net", kind="composing")
        with trio.fail_after(20):
            while (event := await told.receive()).get("state") != "composing":
                pass
        assert (event["account"], event["to"]) == (PHONE, ANA)
        await here.post("web/typing", {"from": ANA, "to": PHONE})
        await here.post("web/online", {"phone": ANA, "on": False})
        await here.post("web/lose-session", {"phone": ANA, "account": PHONE})
        await client.send(f"{ANA}@s.whatsapp.net", {"text": "otra vez"}, name=SENT)
        await record(here, SENT, lambda each: each["recipients"].get(ANA, {}).get("shown") == 1)
