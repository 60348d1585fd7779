"""Everything that people say, both ways: read at the recipient after deciphering, and at the API and the flow on our side."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.acceptance.shop import API, walk
from tests.acceptance.town import running, town
from tests.acceptance.web.place import Web, a_person, needs_node, until, web, web_town

pytestmark = needs_node

FILE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300
DIGEST = hashlib.sha256(FILE).hexdigest()
EVENTS = ["message.status", "message.edited", "message.deleted"]


@asynccontextmanager
async def talking(directory: Path) -> AsyncIterator[Web]:
    """A session that is connected, and whose flow hears of everything there is."""
    async with (
        town(directory, web=True) as here,
        running(here, directory, flow={"url": here.flow.url, "events": EVENTS}) as daemon,
        web(here, daemon) as shop,
    ):
        yield shop


@asynccontextmanager
async def serving(file: bytes) -> AsyncIterator[str]:
    """Where a shop's own server has *file*."""

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(file)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode() + file)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/foto.png"
        nursery.cancel_scope.cancel()


async def told(shop: Web, event: str, provider_message_id: str) -> dict[str, Any]:
    """What the flow heard of that kind about a message; once, and no more."""

    async def look() -> list[dict[str, Any]]:
        return [
            each["data"]
            for each in shop.here.flow.events
            if each["type"] == event and each["data"].get("providerMessageId") == provider_message_id
        ]

    [data] = await until(look, bool, what=f"{event} at the flow")
    return data


# --- ours -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What is sent, and what the recipient reads; a file's name stands for one that was uploaded."""

    label: str
    body: dict[str, Any]
    read: dict[str, Any]
    upload: tuple[str, str] | None = None  # type, and name


CARD = {"name": {"formattedName": "Eva Luna"}, "phones": [{"phone": "+5215598765432"}]}
PLACE = {"latitude": 19.5, "longitude": -99.25, "name": "Zócalo", "address": "Centro"}
WHOLE = {"size": len(FILE), "sha256": DIGEST}
SENT = [
    Sent("text", {"text": "¡Hola, 世界! 🙂"}, {"type": "text", "text": "¡Hola, 世界! 🙂"}),
    Sent("long text", {"text": "a" * 5000}, {"type": "text", "text": "a" * 5000}),
    Sent(
        "mention",
        {"text": {"body": "hola @5215587654321", "mentions": ["+5215587654321"]}},
        {"type": "text", "mentions": ["5215587654321@s.whatsapp.net"]},
    ),
    Sent("image", {"image": {"caption": "foto"}}, {"type": "image", "caption": "foto", **WHOLE}, ("image/png", "a.png")),
    Sent("image by link", {"image": {"link": "<link>"}}, {"type": "image", "mimetype": "image/png", **WHOLE}),
    Sent("audio", {"audio": {}}, {"type": "audio", "mimetype": "audio/mpeg", **WHOLE}, ("audio/mpeg", "a.mp3")),
    Sent(
        "voice",
        {"audio": {"voice": True}},
        {"type": "audio", "ptt": True, "mimetype": "audio/ogg; codecs=opus", **WHOLE},
        ("audio/ogg", "a.ogg"),
    ),
    Sent("video", {"video": {"caption": "clip"}}, {"type": "video", "caption": "clip", **WHOLE}, ("video/mp4", "a.mp4")),
    Sent(
        "document",
        {"document": {"caption": "ten"}},
        {"type": "document", "fileName": "factura.pdf", "mimetype": "application/pdf", "caption": "ten", **WHOLE},
        ("application/pdf", "factura.pdf"),
    ),
    Sent("sticker", {"sticker": {}}, {"type": "sticker", "mimetype": "image/webp", **WHOLE}, ("image/webp", "a.webp")),
    Sent("location", {"location": PLACE}, {"type": "location", **PLACE}),
    Sent("contact", {"contacts": [CARD]}, {"type": "contact", "name": "Eva Luna"}),
    Sent("contacts", {"contacts": [CARD, {"name": {"formattedName": "Leo"}}]}, {"type": "contacts", "name": "Eva Luna +1"}),
    Sent(
        "poll",
        {"poll": {"name": "¿Cuándo?", "options": ["hoy", "mañana"]}},
        {"type": "poll", "name": "¿Cuándo?", "options": ["hoy", "mañana"], "selectable": 1},
    ),
]  # fmt: skip


async def test_all_that_is_sent_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """Each to a person of its own, through accepted, sent or delivered, to read."""
    one_at_a_time = trio.Lock()  # uploads, whose memory is bounded
    async with talking(tmp_path) as shop, serving(FILE) as link:

        async def send(row: Sent) -> None:
            [(kind, content)] = row.body.items()
            if row.upload is not None:
                async with one_at_a_time:
                    content = {**content, "mediaId": await shop.uploaded(FILE, *row.upload)}
            elif isinstance(content, dict) and "link" in content:
                content = {**content, "link": link}
            person = a_person()
            answer = await shop.api.post(
                f"{API}/send",
                json={"sessionId": shop.session_id, "to": f"+{person}", kind: content},
                headers={"Prefer": "wait=20"},
            )
            assert answer.status_code == 200, answer.text
            message_id = answer.json()["messageId"]
            read = await shop.shown(message_id, person)
            assert row.read.items() <= read.items(), read
            delivered = await shop.until(message_id, "delivered")
            assert delivered["providerMessageId"].startswith("3EB0")
            await shop.asks("read", by=person, to=shop.phone, ids=[delivered["providerMessageId"]])
            await shop.until(message_id, "read")
            passed = [step["status"] for step in (await shop.message(message_id))["history"]]
            assert [each for each in passed if each != "sent"] == [
                "queued", "sending", "accepted", "delivered", "read",
            ]  # fmt: skip
            assert (await shop.written(message_id))["sent"] == 1

            async def heard() -> list[str]:
                return [
                    event["data"]["status"]
                    for event in shop.here.flow.events
                    if event["type"] == "message.status" and event["data"]["messageId"] == message_id
                ]

            await until(heard, lambda states: states[-1:] == ["read"], what="read, at the flow")

        await walk(SENT, send)


async def test_a_reply_and_a_reaction_say_what_they_are_about(tmp_path: Path) -> None:
    async with talking(tmp_path) as shop:
        ana = a_person()
        said = await shop.says(ana, text="¿precio?")
        [item] = await shop.arrived(ana)
        reply = await shop.shown(await shop.taken("100", f"+{ana}", replyTo=item["messageId"]), ana)
        assert (reply["text"], reply["reply"]) == ("100", said)

        ours = await shop.taken("¿algo más?", f"+{ana}")
        await shop.until(ours, "delivered")
        our_id = (await shop.message(ours))["providerMessageId"]
        answer = await shop.api.post(
            f"{API}/send",
            json={
                "sessionId": shop.session_id,
                "to": f"+{ana}",
                "reaction": {"messageId": item["messageId"], "emoji": "👍"},
            },
        )
        assert answer.status_code == 202, answer.text
        assert await shop.shown(answer.json()["messageId"], ana) == {
            "type": "reaction", "id": said, "emoji": "👍",
        }  # fmt: skip
        # And theirs to ours.
        await shop.says(ana, text="no, gracias", replyTo=our_id)
        await shop.says(ana, reaction={"id": our_id, "emoji": "❤️"})
        _, quoting, reacting = await shop.arrived(ana, 3)
        assert quoting["context"]["providerMessageId"] == our_id
        assert reacting["reaction"] == {"messageId": our_id, "emoji": "❤️"}


async def test_a_chat_keeps_its_order_files_included(tmp_path: Path) -> None:
    """A large file is not overtaken by the words that follow it, in either direction."""
    async with talking(tmp_path) as shop:
        ana = a_person()
        large = await shop.uploaded(os.urandom(2**20), "application/pdf", "grande.pdf")
        sent: list[str] = []
        for number in range(8):
            body: dict[str, Any] = {"sessionId": shop.session_id, "to": f"+{ana}"}
            caption = {"mediaId": large, "caption": f"{number}"}
            body |= {"text": f"{number}"} if number % 2 else {"document": caption}
            answer = await shop.api.post(f"{API}/send", json=body)
            sent.append(answer.json()["messageId"])
        for each in sent:
            await shop.until(each, "delivered")
        record = [each for each in await shop.record() if each["direction"] == "out"]
        seen = sorted((each["recipients"][ana] for each in record), key=lambda who: who["shownAt"])
        assert [who["content"].get("text") or who["content"]["caption"] for who in seen] == [
            str(number) for number in range(8)
        ]
        picture = base64.b64encode(os.urandom(2**18)).decode()
        for number in range(6):
            content: Any = (
                {"text": f"{number}"} if number % 2 else {"image": {"data": picture, "caption": f"{number}"}}
            )
            await shop.says(ana, **content)
        came = await shop.arrived(ana, 6)
        assert [m["text"]["body"] if m["type"] == "text" else m["image"]["caption"] for m in came] == [
            str(number) for number in range(6)
        ]


async def test_what_cannot_be_sent_fails_with_its_code(tmp_path: Path) -> None:
    """It does not vanish, nor is it tried for ever."""
    async with talking(tmp_path) as shop:
        nobody, locked = a_person(), a_person()
        await shop.asks("contacts", phone=nobody, onWhatsapp=False)
        failed = await shop.until(await shop.taken("¿hola?", f"+{nobody}"), "failed")
        assert failed["error"]["code"] == "recipient_not_on_whatsapp"
        assert [each for each in await shop.record() if each["chat"] == nobody] == []

        await shop.asks("faults", phone=shop.phone, kind="error", code=463)
        failed = await shop.until(await shop.taken("¿hola?", f"+{locked}"), "failed")
        assert (failed["error"]["code"], failed["error"]["providerCode"]) == ("reachout_locked", "463")
        assert (await shop.status())["isConnected"]

        refused = await shop.send(to=f"+{a_person()}", text=None, template={"name": "x", "language": "es"})
        assert (refused.status_code, refused.json()["code"]) == (422, "not_supported")


# --- theirs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What somebody says, and how it stands in the API."""

    label: str
    words: dict[str, Any]
    type: str
    content: Any
    has_file: bool = field(default=False)


DATA = {"data": base64.b64encode(FILE).decode()}
SAID = [
    Said("text", {"text": "¡Hola, 世界! 🙂"}, "text", {"body": "¡Hola, 世界! 🙂"}),
    Said(
        "mention",
        {"text": "hola @5215587654321", "mentions": ["5215587654321"]},
        "text",
        {"body": "hola @5215587654321", "mentions": ["+5215587654321"]},
    ),
    Said(
        "image",
        {"image": {**DATA, "mimetype": "image/png", "caption": "foto"}},
        "image",
        {"mimeType": "image/png", "caption": "foto", "sha256": DIGEST},
        has_file=True,
    ),
    Said("voice", {"audio": {**DATA, "ptt": True}}, "audio", {"voice": True, "sha256": DIGEST}, has_file=True),
    Said("video", {"video": {**DATA, "caption": "clip"}}, "video", {"caption": "clip"}, has_file=True),
    Said(
        "document",
        {"document": {**DATA, "mimetype": "application/pdf", "fileName": "f.pdf"}},
        "document",
        {"filename": "f.pdf", "mimeType": "application/pdf"},
        has_file=True,
    ),
    Said("sticker", {"sticker": {**DATA}}, "sticker", {"mimeType": "image/webp"}, has_file=True),
    Said("location", {"location": PLACE}, "location", PLACE),
    Said("poll", {"poll": {"name": "¿Qué?", "options": ["a", "b"]}}, "poll", {"name": "¿Qué?", "options": ["a", "b"]}),
]  # fmt: skip


async def test_all_that_people_write_comes_in_as_they_wrote_it(tmp_path: Path) -> None:
    """In the API and at the flow alike, files byte for byte; and they hear that it was read."""
    async with talking(tmp_path) as shop:

        async def hear(row: Said) -> None:
            person = a_person()
            await shop.asks("contacts", phone=person, name=f"Ana {row.label}")
            said = await shop.says(person, **row.words)
            [item] = await shop.arrived(person)
            assert (item["type"], item["from"]["name"]) == (row.type, f"Ana {row.label}")
            assert item["chat"] == {"id": f"+{person}", "kind": "person"}
            assert row.content.items() <= item[row.type].items(), item
            event = await told_of(shop, item["messageId"])
            assert (event["contentType"], event[row.type]) == (row.type, item[row.type])
            if row.has_file:
                kept = await until(
                    partial(shop.message, item["messageId"]),
                    lambda message: message["media"]["state"] != "waiting",
                    what="the file fetched",
                )
                assert (kept["media"]["state"], kept["media"]["sha256"]) == ("stored", DIGEST), kept["media"]
                answer = await shop.api.get(f"{API}/media/{item[row.type]['mediaId']}")
                assert (answer.status_code, answer.content) == (200, FILE)
            read = await shop.api.post(
                f"{shop.path}/read", json={"messageId": item["messageId"], "typing": True}
            )
            assert read.status_code == 200, read.text
            await until(partial(shop.said, said), lambda entry: entry["read"] is not None, what="read")

            async def writing() -> list[dict[str, Any]]:
                return [
                    each
                    for each in await shop.here.ledger("link", event="presence")
                    if (each["account"], each["to"], each["state"]) == (shop.phone, person, "composing")
                ]

            await until(writing, bool, what="seen writing")

        await walk(SAID, hear)


async def told_of(shop: Web, message_id: str) -> dict[str, Any]:
    """The flow's event of a message that came in: exactly one."""

    async def look() -> list[dict[str, Any]]:
        received = [each["data"] for each in shop.here.flow.events if each["type"] == "message.received"]
        return [each for each in received if each["messageId"] == message_id]

    [event] = await until(look, bool, what="at the flow")
    return event


async def test_edits_and_deletions_come_as_events(tmp_path: Path) -> None:
    async with talking(tmp_path) as shop:
        ana = a_person()
        first = await shop.says(ana, text="hola")
        second = await shop.says(ana, text="ups")
        items = await shop.arrived(ana, 2)
        await shop.says(ana, edit={"id": first, "text": "adiós"})
        await shop.says(ana, delete={"id": second})
        edited = await told(shop, "message.edited", items[0]["providerMessageId"])
        deleted = await told(shop, "message.deleted", items[1]["providerMessageId"])
        assert (edited["contentType"], edited["text"]["body"]) == ("text", "adiós")
        assert edited["from"]["phone"] == deleted["from"]["phone"] == f"+{ana}"
        await shop.arrived(ana, 2)  # and no message of their own


async def test_people_by_lid_are_who_they_were_by_number(tmp_path: Path) -> None:
    """The number behind a LID is kept, an answer reaches that person, and the chat is one."""
    async with talking(tmp_path) as shop:
        stranger = a_person()
        await shop.says(stranger, text="por LID", addressing="lid")
        [first] = await shop.arrived(stranger)
        event = await told_of(shop, first["messageId"])
        assert event["from"]["jid"].endswith("@lid")
        reply = await shop.taken("dime", f"+{stranger}", replyTo=first["messageId"])
        assert (await shop.shown(reply, stranger))["text"] == "dime"
        by_jid = await shop.send("por su LID", event["from"]["jid"])
        assert by_jid.status_code == 202, by_jid.text
        assert (await shop.shown(by_jid.json()["messageId"], stranger))["text"] == "por su LID"

        await shop.says(stranger, text="por número", addressing="pn")
        _, second = await shop.arrived(stranger, 2)
        assert first["chat"] == second["chat"] == {"id": f"+{stranger}", "kind": "person"}
        shop.daemon.kill()
        await shop.daemon.start()
        await shop.until_status(isConnected=True)
        await shop.says(stranger, text="otra vez", addressing="lid")
        _, _, third = await shop.arrived(stranger, 3)
        assert third["chat"] == first["chat"]


async def test_groups_are_listed_written_to_and_heard(tmp_path: Path) -> None:
    """Whether a group goes by numbers or by LIDs."""
    async with talking(tmp_path) as shop:
        for addressing in ("pn", "lid"):
            ana, leo = a_person(), a_person()
            made = await shop.asks(
                "groups",
                subject=f"Vecinos {addressing}",
                participants=[ana, leo, shop.phone],
                addressing=addressing,
            )
            group_id = made["groupId"]
            listed = (await shop.api.get(f"{shop.path}/groups")).json()["items"]
            assert (group_id, f"Vecinos {addressing}") in [(g["groupId"], g["subject"]) for g in listed]
            group = (await shop.api.get(f"{shop.path}/groups/{group_id}")).json()
            assert {member["phone"] for member in group["members"]} == {
                f"+{ana}",
                f"+{leo}",
                f"+{shop.phone}",
            }
            assert [m["phone"] for m in group["members"] if m.get("admin")] == [f"+{ana}"]

            said = await shop.says(leo, groupId=group_id, text=f"hola a todos, {addressing}")
            [item] = await shop.arrived(leo)
            assert item["chat"] == {"id": group_id, "kind": "group"}
            assert (await told_of(shop, item["messageId"]))["from"]["phone"] == f"+{leo}"

            async def answered(said: str = said, group_id: str = group_id) -> list[dict[str, Any]]:
                answers = await shop.api.get(f"{API}/messages", params={"direction": "outbound"})
                return [each for each in answers.json()["items"] if each["groupId"] == group_id]

            [answer] = await until(answered, bool, what="answered by the flow")
            for person in (ana, leo):
                assert (await shop.shown(answer["messageId"], person))[
                    "text"
                ] == f"re: hola a todos, {addressing}"
            sent = await shop.api.post(
                f"{API}/send-group",
                json={
                    "sessionId": shop.session_id,
                    "groupId": group_id,
                    "text": "buenas",
                    "replyTo": item["messageId"],
                },
            )
            assert sent.status_code == 202, sent.text
            for person in (ana, leo):
                shown = await shop.shown(sent.json()["messageId"], person)
                assert (shown["text"], shown["reply"]) == ("buenas", said)
            await shop.until(sent.json()["messageId"], "delivered")
        unknown = await shop.api.get(f"{shop.path}/groups/120363000000000001@g.us")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


# --- what is not understood at first ----------------------------------------------------------------


async def test_what_is_not_understood_at_first_comes_once_all_the_same(tmp_path: Path) -> None:
    """Both ways: the recipient's phone asks us, we ask theirs, and the id stays the same."""
    async with talking(tmp_path) as shop:
        ana = a_person()
        first = await shop.taken("uno", f"+{ana}")
        await shop.until(first, "delivered")
        await shop.asks("lose-session", phone=ana, account=shop.phone)
        second = await shop.taken("dos", f"+{ana}")
        assert (await shop.shown(second, ana))["text"] == "dos"
        entry = await shop.written(second)
        assert entry["recipients"][ana]["undecryptable"] == 1
        await shop.until(second, "delivered")

        await shop.asks("faults", phone=shop.phone, kind="garble")
        said = await shop.says(ana, text="¿me oyes?")
        [item] = await shop.arrived(ana)
        assert item["text"] == {"body": "¿me oyes?"}
        assert (await shop.said(said))["retries"] == 1
        await told_of(shop, item["messageId"])
        await shop.says(ana, text="¿y ahora?")
        _, after = await shop.arrived(ana, 2)
        assert after["text"] == {"body": "¿y ahora?"}
        # The same message again, as WhatsApp gives it after a connection that broke: one row, one answer.
        await shop.says(ana, text="¿me oyes?", id=said)
        await shop.says(ana, text="¿tres?")
        await shop.arrived(ana, 3)


async def test_a_message_of_ours_is_given_again_from_the_store(tmp_path: Path) -> None:
    """The phone asks after a restart of everything: nothing in memory knows the message any more."""
    async with web_town(tmp_path) as (here, daemon), web(here, daemon) as shop:
        ana = a_person()
        await shop.until(await shop.taken("uno", f"+{ana}"), "delivered")
        await shop.asks("lose-session", phone=ana, account=shop.phone)
        await shop.asks("faults", phone=shop.phone, kind="drop_after")
        message_id = await shop.taken("dos", f"+{ana}")
        await shop.until(message_id, "sending", "accepted", "queued")
        daemon.kill()
        await daemon.start()
        assert (await shop.shown(message_id, ana))["text"] == "dos"
        await shop.until(message_id, "delivered")
