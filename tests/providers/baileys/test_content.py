"""wad's messages as Baileys takes them, and what WhatsApp Web takes at all."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wad.content import parse_send
from wad.models import Address, MessageId, new_message_id
from wad.providers.baileys.content import CAPABILITIES, File, check_send, message_id_of, quoted, wire
from wad.providers.baileys.jids import Key
from wad.providers.baileys.vcards import contact, vcard

ANA = "5215512345678@s.whatsapp.net"
GROUP = "120363041234567890@g.us"
LID = "800002@lid"
PHOTO = File(Path("/var/media/1"), "image/png", "photo.png")

EVA = {
    "name": {"formattedName": "Eva Ruiz; hija", "firstName": "Eva", "lastName": "Ruiz"},
    "phones": [{"phone": "+52 55 9876", "type": "WORK", "waId": "52559876"}],
    "emails": [{"email": "eva@example.com", "type": "HOME"}],
    "urls": [{"url": "https://example.com/a,b"}],
    "addresses": [{"street": "Calle 1", "city": "CDMX", "country": "México", "type": "HOME"}],
    "org": {"company": "Ruiz, S.A.", "department": "Ventas", "title": "Jefa"},
    "birthday": "1990-01-31",
}

#: What is sent -> what Baileys is given.
WIRES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"text": {"body": "hola"}}, {"text": "hola", "linkPreview": None}),
    "text with mentions": (
        {"text": {"body": "hola @5215512345678 @800002", "mentions": ["+5215512345678", LID]}},
        {"text": "hola @5215512345678 @800002", "linkPreview": None, "mentions": [ANA, LID]},
    ),
    "image": (
        {"image": {"mediaId": "m", "caption": "foto"}},
        {"image": {"url": "/var/media/1"}, "mimetype": "image/png", "caption": "foto"},
    ),
    "video": ({"video": {"mediaId": "m"}}, {"video": {"url": "/var/media/1"}, "mimetype": "image/png"}),
    "audio": ({"audio": {"mediaId": "m"}}, {"audio": {"url": "/var/media/1"}, "mimetype": "image/png"}),
    "voice note": (
        {"audio": {"mediaId": "m", "voice": True}},
        {"audio": {"url": "/var/media/1"}, "mimetype": "image/png", "ptt": True},
    ),
    "document": (
        {"document": {"mediaId": "m"}},
        {"document": {"url": "/var/media/1"}, "mimetype": "image/png", "fileName": "photo.png"},
    ),
    "document with a name": (
        {"document": {"mediaId": "m", "filename": "otra.png", "caption": "c"}},
        {
            "document": {"url": "/var/media/1"},
            "mimetype": "image/png",
            "fileName": "otra.png",
            "caption": "c",
        },
    ),
    "sticker": ({"sticker": {"mediaId": "m"}}, {"sticker": {"url": "/var/media/1"}, "mimetype": "image/png"}),
    "location": (
        {"location": {"latitude": 19.4, "longitude": -99.1, "name": "Zócalo", "address": "Centro"}},
        {
            "location": {
                "degreesLatitude": 19.4,
                "degreesLongitude": -99.1,
                "name": "Zócalo",
                "address": "Centro",
            }
        },
    ),
    "contacts": (
        {"contacts": [EVA, {"name": {"formattedName": "Leo"}}]},
        {
            "contacts": {
                "displayName": "Eva Ruiz; hija +1",
                "contacts": [
                    {"displayName": "Eva Ruiz; hija", "vcard": vcard(EVA)},
                    {"displayName": "Leo", "vcard": vcard({"name": {"formattedName": "Leo"}})},
                ],
            }
        },
    ),
    "reaction to theirs": (
        {"reaction": {"messageId": f"{ANA}/3AF", "emoji": "👍"}},
        {"react": {"text": "👍", "key": {"remoteJid": ANA, "id": "3AF", "fromMe": False}}},
    ),
    "reaction to ours": (
        {"reaction": {"messageId": "3EB0F", "emoji": ""}},
        {"react": {"text": "", "key": {"remoteJid": ANA, "id": "3EB0F", "fromMe": True}}},
    ),
    "reaction in a group": (
        {"reaction": {"messageId": f"{GROUP}/{LID}/3AF", "emoji": "👍"}},
        {
            "react": {
                "text": "👍",
                "key": {"remoteJid": GROUP, "id": "3AF", "fromMe": False, "participant": LID},
            }
        },
    ),
    "poll": (
        {"poll": {"name": "¿?", "options": ["a", "b"]}},
        {"poll": {"name": "¿?", "values": ["a", "b"], "selectableCount": 1}},
    ),
    "poll with many answers": (
        {"poll": {"name": "¿?", "options": ["a", "b"], "selectableCount": 0}},
        {"poll": {"name": "¿?", "values": ["a", "b"], "selectableCount": 0}},
    ),
}


def parsed(body: dict[str, Any]) -> dict[str, Any]:
    """*body* as the API's own parser leaves it."""
    return parse_send({"sessionId": "s", "to": "+5215512345678", **body}).content


@pytest.mark.parametrize(("body", "expected"), WIRES.values(), ids=list(WIRES))
def test_each_content_is_what_baileys_calls_it(body, expected):
    assert wire(parsed(body), chat=ANA, file=PHOTO) == expected


def test_every_content_type_that_is_declared_is_built():
    assert {parsed(body)["type"] for body, _ in WIRES.values()} == CAPABILITIES.content_types


def test_a_file_is_named_by_its_absolute_path():
    """The data directory is `var` where nothing else is said, and the bridge takes no relative path."""
    photo = File(Path("var/baileys/media/1"), "image/png", "photo.png")
    made = wire(parsed({"image": {"mediaId": "m"}}), chat=ANA, file=photo)
    assert made["image"] == {"url": str(Path.cwd() / "var/baileys/media/1")}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_baileys_takes_every_one_of_them(tmp_path):
    """Its own code makes a message of each, files aside: those go to an uploader that keeps nothing."""
    node = Path(__file__).parents[3] / "wad" / "node"
    if not (node / "node_modules").exists():
        pytest.skip("needs `npm ci` in wad/node")
    photo = tmp_path / "photo"
    photo.write_bytes(b"a file")
    contents = [
        wire(parsed(body), chat=ANA, file=File(photo, "image/png", "photo.png")) for body, _ in WIRES.values()
    ]
    script = f"""
        import {{ generateWAMessage }} from '{node}/node_modules/@whiskeysockets/baileys/lib/index.js'
        const upload = async () => ({{ mediaUrl: 'https://x', directPath: '/x' }})
        const fields = []
        for (const content of {json.dumps(contents)}) {{
            const made = await generateWAMessage('{ANA}', content, {{ userJid: '1@s.whatsapp.net', messageId: 'X', upload }})
            fields.push(Object.keys(made.message).find((name) => name.endsWith('Message') || /V3$/.test(name)))
        }}
        process.stdout.write(JSON.stringify(fields))
    """
    run = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, check=True, timeout=60
    )

    assert json.loads(run.stdout) == [
        "extendedTextMessage",
        "extendedTextMessage",
        "imageMessage",
        "videoMessage",
        "audioMessage",
        "audioMessage",
        "documentMessage",
        "documentMessage",
        "stickerMessage",
        "locationMessage",
        "contactsArrayMessage",
        "reactionMessage",
        "reactionMessage",
        "reactionMessage",
        "pollCreationMessageV3",
        "pollCreationMessage",
    ]


# --- ids and quotations ---------------------------------------------------------------------------


def test_a_message_has_the_same_id_however_often_it_is_sent():
    message_id = new_message_id()

    assert message_id_of(message_id) == message_id_of(message_id)
    assert message_id_of(MessageId("msg_0123456789abcdef0123456789abcdef")) == "3EB00123456789ABCDEF01"


def test_an_id_of_another_form_has_one_too():
    assert message_id_of(MessageId("msg_x")) != message_id_of(MessageId("msg_y"))
    assert len(message_id_of(MessageId("msg_x"))) == 22


KEYS: dict[str, tuple[Key, str]] = {
    "ours": (Key(ANA, "3EB0F", from_me=True), "3EB0F"),
    "theirs": (Key(ANA, "3AF"), f"{ANA}/3AF"),
    "in a group": (Key(GROUP, "3AF", participant=LID), f"{GROUP}/{LID}/3AF"),
}


@pytest.mark.parametrize(("key", "name"), KEYS.values(), ids=list(KEYS))
def test_a_message_is_found_again_by_its_name(key, name):
    assert key.name == name
    assert Key.named(name, ANA) == key


QUOTED: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "text": ({"type": "text", "text": {"body": "hola"}}, {"conversation": "hola"}),
    "image": (
        {"type": "image", "image": {"mediaId": "m", "caption": "foto"}},
        {"imageMessage": {"caption": "foto"}},
    ),
    "voice": ({"type": "audio", "audio": {"mediaId": "m"}}, {"audioMessage": {}}),
    "document": (
        {"type": "document", "document": {"link": "https://x", "filename": "f"}},
        {"documentMessage": {"fileName": "f"}},
    ),
    "nobody knows": (None, {"conversation": ""}),
    "unsupported": ({"type": "unsupported", "unsupported": {}}, {"conversation": ""}),
}


@pytest.mark.parametrize(("content", "shown"), QUOTED.values(), ids=list(QUOTED))
def test_a_quotation_shows_what_it_quotes(content, shown):
    assert quoted(f"{ANA}/3AF", ANA, content) == {"key": Key(ANA, "3AF").wire, "message": shown}


# --- contact cards --------------------------------------------------------------------------------


def test_a_card_says_the_same_after_both_ways():
    assert contact(vcard(EVA)) == EVA


def test_a_card_of_the_older_version_is_read():
    card = "BEGIN:VCARD\r\nVERSION:2.1\r\nN:Ruiz;Eva\r\nTEL;CELL:+5255\r\n 98\r\nEND:VCARD"

    assert contact(card, "Eva") == {
        "name": {"formattedName": "Eva", "lastName": "Ruiz", "firstName": "Eva"},
        "phones": [{"phone": "+525598", "type": "CELL"}],
    }


def test_nobody_can_write_lines_of_their_own_into_a_card():
    card = vcard(
        {
            "name": {"formattedName": "x\nTEL:+1"},
            "phones": [{"phone": "+5", "type": "CELL:\nTEL"}],
        }
    )

    assert [line for line in card.splitlines() if line.startswith("TEL")] == ["TEL;type=CELLTEL;waid=5:+5"]


# --- what is refused ------------------------------------------------------------------------------

TO_ANA = Address(phone="+5215512345678")


def test_a_business_scoped_user_id_is_no_address():
    """Of Meta's own API."""
    errors = check_send(Address(user_id="MX.1"), {"type": "text", "text": {"body": "x"}})
    assert [error.pointer for error in errors] == ["/to/userId"]


TAKEN: dict[str, Address] = {
    "a number": TO_ANA,
    "a JID": Address(jid=ANA),
    "a LID": Address(jid=LID),
    "a group": Address(group_id=GROUP),
    "an old group": Address(group_id="5215512345678-1600000000@g.us"),
    "a group by JID": Address(jid=GROUP),
}


@pytest.mark.parametrize("to", TAKEN.values(), ids=list(TAKEN))
def test_whoever_whatsapp_knows_can_be_written_to(to):
    assert check_send(to, {"type": "text", "text": {"body": "x"}}) == []
