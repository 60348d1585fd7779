"""Messages as Baileys hands them over, in wad's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wad.models import AccountEvent, InboundMessage, MessageState, Person
from wad.providers.baileys.files import Received, of_id
from wad.providers.baileys.inbound import event_of, mended, storable
from wad.providers.baileys.people import Known, lids_of
from wad.providers.baileys.statuses import status_of_ack, status_of_receipt, status_of_update

SAMPLES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "samples.json").read_bytes())

ANA = "5215512345678@s.whatsapp.net"
LID = "800002@lid"
GROUP = "120363041234567890@g.us"
OURS = "3EB0000000000000000001"
THEIRS = f"{ANA}/3A0000000000000000AA"
KNOWN = Known(me=frozenset({"15550000001@s.whatsapp.net", "900001@lid"}))
SENT_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHA256 = "7365d029861e32c521f8089b00a6fb32daf0615025b69b599d1ce53501b845c2"  # of "a file"


def read(label: str, known: Known = KNOWN) -> Any:
    return event_of(SAMPLES[label], known)


def without_id(content: dict[str, Any]) -> dict[str, Any]:
    part = content[content["type"]]
    if isinstance(part, dict):
        part = {name: value for name, value in part.items() if name != "mediaId"}
    return {"type": content["type"], content["type"]: part}


def file(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, kind: {"sha256": SHA256, **more}}


EVA = {
    "name": {"formattedName": "Eva Ruiz", "firstName": "Eva", "lastName": "Ruiz"},
    "phones": [{"phone": "+52 1 55 9876 5432", "type": "CELL", "waId": "5215598765432"}],
}
CONTENTS: dict[str, dict[str, Any]] = {
    "conversation": {"type": "text", "text": {"body": "hola"}},
    "text": {"type": "text", "text": {"body": "hola @15550000001", "mentions": ["+15550000001"]}},
    "text in a group": {"type": "text", "text": {"body": "hola"}},
    "reply": {"type": "text", "text": {"body": "sí"}},
    "image": file("image", mimeType="image/jpeg", caption="foto"),
    "view once": file("image", mimeType="image/jpeg"),
    "view once, not for us": {"type": "unsupported", "unsupported": {"type": "viewOnce"}},
    "video": file("video", mimeType="video/mp4", caption="clip"),
    "voice note": file("audio", mimeType="audio/ogg; codecs=opus", voice=True),
    "audio": file("audio", mimeType="audio/mpeg", voice=False),
    "document": file("document", mimeType="application/pdf", filename="factura.pdf"),
    "document with a caption": file(
        "document", mimeType="application/pdf", filename="f.pdf", caption="ahí va"
    ),
    "sticker": file("sticker", mimeType="image/webp", animated=False),
    "location": {
        "type": "location",
        "location": {"latitude": 19.43, "longitude": -99.13, "name": "Zócalo"},
    },
    "live location": {
        "type": "location",
        "location": {"latitude": 19.4, "longitude": -99.1, "live": True, "caption": "voy"},
    },
    "contact": {"type": "contacts", "contacts": [EVA]},
    "contacts": {"type": "contacts", "contacts": [EVA, {"name": {"formattedName": "Leo"}}]},
    "reaction": {"type": "reaction", "reaction": {"messageId": OURS, "emoji": "👍"}},
    "reaction taken back": {"type": "reaction", "reaction": {"messageId": OURS, "emoji": ""}},
    "reaction to their own": {"type": "reaction", "reaction": {"messageId": THEIRS, "emoji": "😂"}},
    "reaction in a group": {"type": "reaction", "reaction": {"messageId": OURS, "emoji": "👍"}},
    "poll": {
        "type": "poll",
        "poll": {"name": "¿Cuándo?", "options": ["hoy", "mañana"], "selectableCount": 1},
    },
    "disappearing": {"type": "text", "text": {"body": "poof"}},
    "button pressed": {
        "type": "interactive",
        "interactive": {"type": "button_reply", "buttonReply": {"id": "b1", "title": "Sí"}},
    },
    "list chosen": {
        "type": "interactive",
        "interactive": {"type": "list_reply", "listReply": {"id": "r1", "title": "Rojo"}},
    },
    "quick reply": {"type": "button", "button": {"payload": "p", "text": "Sí"}},
    "product": {"type": "unsupported", "unsupported": {"type": "productMessage"}},
    "keys of a group, with a text": {"type": "text", "text": {"body": "primera"}},
    "broadcast list": {"type": "text", "text": {"body": "a todos"}},
}


@pytest.mark.parametrize(("label", "content"), CONTENTS.items(), ids=list(CONTENTS))
def test_a_customers_message_has_the_content_that_cloud_api_would_give_it(label, content):
    event = read(label)

    assert isinstance(event, InboundMessage)
    assert without_id(event.content) == content
    assert event.sent_at == SENT_AT


ANA_BY_NUMBER = Person(phone="+5215512345678", name="Ana", jid=ANA)
ANA_BY_LID = Person(phone="+5215512345678", name="Ana", jid=LID)
PEOPLE: dict[str, tuple[str, str, Person, str]] = {
    "text": ("+5215512345678", "person", ANA_BY_NUMBER, f"{ANA}/3A000000000000000002"),
    "text by LID": ("+5215512345678", "person", ANA_BY_LID, f"{LID}/3A000000000000000003"),
    "text by LID alone": (LID, "person", Person(name="Ana", jid=LID), f"{LID}/3A000000000000000004"),
    "text in a group": (GROUP, "group", ANA_BY_LID, f"{GROUP}/{LID}/3A000000000000000005"),
}


@pytest.mark.parametrize(("label", "expected"), PEOPLE.items(), ids=list(PEOPLE))
def test_a_person_is_known_by_number_where_the_message_tells_it_and_by_jid_always(label, expected):
    event = read(label)

    assert (event.chat, event.chat_kind, event.sender, event.provider_message_id) == expected


def test_a_hidden_number_is_taken_from_what_was_learnt_before():
    known = Known(me=KNOWN.me, phones={LID: "+5215512345678"})

    event = read("text by LID alone", known)

    assert lids_of([SAMPLES["text by LID alone"]]) == {LID}
    assert (event.chat, event.sender) == ("+5215512345678", ANA_BY_LID)


def test_no_number_is_asked_for_where_the_message_tells_it():
    assert lids_of([SAMPLES["text"], SAMPLES["text by LID"], SAMPLES["text in a group"]]) == set()


def test_a_message_to_a_broadcast_list_is_one_to_us():
    event = read("broadcast list")

    assert (event.chat, event.chat_kind) == ("+5215512345678", "person")


CONTEXTS: dict[str, dict[str, Any] | None] = {
    "conversation": None,
    "reply": {"providerMessageId": OURS, "from": "+15550000001"},
    "forwarded": {"forwarded": True, "frequentlyForwarded": True},
    "view once": {"viewOnce": True},
}


@pytest.mark.parametrize(("label", "context"), CONTEXTS.items(), ids=list(CONTEXTS))
def test_the_context_says_what_a_message_refers_to(label, context):
    assert read(label).context == context


NOBODYS = (
    "keys of a group",
    "disappearing set",
    "undecryptable",
    "status",
    "newsletter",
)


@pytest.mark.parametrize("label", NOBODYS)
def test_what_is_no_message_to_us_is_left(label):
    assert read(label) is None


EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "edit": (
        "message.edited",
        {"providerMessageId": THEIRS, "contentType": "text", "text": {"body": "adiós"}},
    ),
    "edit, wrapped": (
        "message.edited",
        {"providerMessageId": THEIRS, "contentType": "text", "text": {"body": "adiós"}},
    ),
    "deletion": ("message.deleted", {"providerMessageId": THEIRS}),
    "deletion in a group": (
        "message.deleted",
        {"providerMessageId": f"{GROUP}/{LID}/3A0000000000000000AA", "chat": {"id": GROUP, "kind": "group"}},
    ),
    "deletion of ours by an admin": ("message.deleted", {"providerMessageId": OURS}),
    "poll vote": ("provider.event", {"event": "poll.vote"}),
    "sent from the phone": (
        "provider.event",
        {
            "event": "message.sent_elsewhere",
            "chat": {"id": "+5215512345678", "kind": "person"},
            "contentType": "text",
            "text": {"body": "yo"},
        },
    ),
    "somebody joined": ("provider.event", {"event": "notice.27", "parameters": ['{"id":"1@lid"}']}),
}


@pytest.mark.parametrize(("label", "expected"), EVENTS.items(), ids=list(EVENTS))
def test_what_is_told_of_a_message_is_an_event(label, expected):
    event = read(label)

    assert isinstance(event, AccountEvent)
    kind, data = expected
    assert event.type == kind
    assert {name: event.data.get(name) for name in data} == data


def test_an_edit_that_comes_twice_is_one():
    assert read("edit").dedupe_key == read("edit").dedupe_key != read("edit, wrapped").dedupe_key


def test_every_sample_is_checked_by_some_test():
    """A new sample without a word on it would look tested."""
    spoken_of = {*CONTENTS, *PEOPLE, *CONTEXTS, *NOBODYS, *EVENTS, "image sent from the phone"}

    assert set(SAMPLES) == spoken_of


# --- files and secrets ----------------------------------------------------------------------------


def test_a_files_id_is_enough_to_fetch_it():
    received = of_id(read("document with a caption").content["document"]["mediaId"])

    assert isinstance(received, Received)
    assert received.mime_type == "application/pdf"
    assert received.size == 6
    assert received.key == {
        "remoteJid": ANA,
        "id": SAMPLES["document with a caption"]["key"]["id"],
        "fromMe": False,
    }
    part = received.message["documentMessage"]
    inner = SAMPLES["document with a caption"]["message"]["documentWithCaptionMessage"]["message"]
    assert part["mediaKey"] == inner["documentMessage"]["mediaKey"]
    assert "caption" not in part


def test_the_same_file_has_the_same_id():
    assert read("image").content == read("image").content


def secret(label: str) -> str:
    key: str = SAMPLES[label]["message"]["imageMessage"]["mediaKey"]["data"]
    return key


def test_the_key_of_a_file_is_in_its_id_alone():
    event = read("image")

    assert secret("image") not in msgspec.json.encode(event.raw).decode()
    assert secret("image") not in repr(of_id(event.content["image"]["mediaId"]))


def test_an_event_shows_no_files_id():
    """Events go to listeners as they are; only a message's id is exchanged for wad's own."""
    event = read("image sent from the phone")

    assert event.data["image"] == {"mimeType": "image/jpeg", "sha256": SHA256}


# --- what is hostile ------------------------------------------------------------------------------


def deep(levels: int) -> dict[str, Any]:
    message: dict[str, Any] = {"conversation": "x"}
    for _ in range(levels):
        message = {"extendedTextMessage": {"text": "x", "contextInfo": {"quotedMessage": message}}}
    return message


KEY = {"remoteJid": ANA, "id": "A", "fromMe": False, "participant": ""}
HOSTILE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no key": {"message": {"conversation": "x"}},
    "a key of numbers": {"key": {"remoteJid": 1, "id": 2}},
    "a message that is a text": {"key": KEY, "message": "x"},
    "a part that is a text": {"key": KEY, "message": {"imageMessage": "x", "extendedTextMessage": 1}},
    "a place nowhere": {"key": KEY, "message": {"locationMessage": {"degreesLatitude": "x"}}},
    "a reaction to nothing": {"key": KEY, "message": {"reactionMessage": {"text": "x", "key": {}}}},
    "contacts of texts": {"key": KEY, "message": {"contactsArrayMessage": {"contacts": ["x", 1]}}},
    "wrappers in wrappers": {
        "key": KEY,
        "message": {"ephemeralMessage": {"message": {"viewOnceMessage": {"message": {}}}}},
    },
    "a time beyond time": {
        "key": KEY,
        "messageTimestamp": "99999999999999999",
        "message": {"conversation": "x"},
    },
    "quotations in quotations": {"key": KEY, "message": deep(400)},
    "a card of noise": {"key": KEY, "message": {"contactMessage": {"vcard": ":;=\n\n:::\nTEL"}}},
    "an edit of nothing": {"key": KEY, "message": {"protocolMessage": {"type": 14, "key": {"id": "B"}}}},
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=list(HOSTILE))
def test_nothing_that_a_customer_writes_breaks_the_reader(message):
    event = event_of(message, KNOWN)

    if event is not None:
        msgspec.json.encode(event)


def test_half_of_an_emoji_is_written_down_as_something_else():
    """It can be sent, by whoever writes their own client, and no store takes it."""
    message = {"key": KEY, "message": {"conversation": "hola \ud83d"}}

    with pytest.raises(UnicodeEncodeError):
        storable(event_of(message, KNOWN))
    event = storable(event_of(mended(message), KNOWN))

    assert isinstance(event, InboundMessage)
    assert event.content["text"]["body"] == "hola ?"


# --- statuses -------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)
MINE = {"remoteJid": ANA, "id": OURS, "fromMe": True}
UPDATES: dict[str, tuple[Any, MessageState | None]] = {
    "an error": (0, MessageState.FAILED),
    "pending": (1, None),
    "the server's": (2, MessageState.SENT),
    "delivered": (3, MessageState.DELIVERED),
    "read": (4, MessageState.READ),
    "played": (5, MessageState.PLAYED),
    "by its name": ("DELIVERY_ACK", MessageState.DELIVERED),
    "a new one": (9, None),
    "none": (None, None),
}


@pytest.mark.parametrize(("status", "state"), UPDATES.values(), ids=list(UPDATES))
def test_an_update_moves_our_message(status, state):
    update = status_of_update({"key": MINE, "update": {"status": status}}, NOW)

    assert (update and update.state) == state
    if update is not None:
        assert (update.provider_message_id, update.at, update.recipient) == (OURS, NOW, "+5215512345678")


def test_an_update_of_somebody_elses_message_is_no_status():
    assert status_of_update({"key": {**MINE, "fromMe": False}, "update": {"status": 4}}, NOW) is None


def test_a_refusal_that_comes_late_says_why():
    update = status_of_update({"key": MINE, "update": {"status": 0, "messageStubParameters": ["463"]}}, NOW)

    assert update is not None
    assert update.error is not None
    assert (update.error.code, update.error.provider_code) == ("reachout_locked", "463")


RECEIPTS: dict[str, tuple[dict[str, Any], MessageState | None]] = {
    "delivered": ({"receiptTimestamp": 1795521600}, MessageState.DELIVERED),
    "read": ({"readTimestamp": "1795521600"}, MessageState.READ),
    "played": ({"playedTimestamp": {"low": 1795521600, "high": 0}}, MessageState.PLAYED),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("receipt", "state"), RECEIPTS.values(), ids=list(RECEIPTS))
def test_a_groups_receipt_says_who_and_when(receipt, state):
    known = Known(phones={LID: "+5215512345678"})
    entry = {"key": {**MINE, "remoteJid": GROUP}, "receipt": {"userJid": "800002:3@lid", **receipt}}

    update = status_of_receipt(entry, known)

    assert (update and update.state) == state
    if update is not None:
        assert (update.at, update.recipient) == (SENT_AT, "+5215512345678")


def test_a_late_acknowledgement_settles_the_send():
    taken, refused = status_of_ack(OURS, None, NOW), status_of_ack(OURS, 463, NOW)

    assert taken is not None
    assert taken.state is MessageState.SENT
    assert refused is not None
    assert (refused.state, refused.error and refused.error.code) == (MessageState.FAILED, "reachout_locked")


def test_a_refusal_that_another_try_mends_is_no_end_of_the_message():
    """Whoever sends it hears of it and tries again; a status would be the last word."""
    update = {"key": MINE, "update": {"status": 0, "messageStubParameters": ["479"]}}

    assert status_of_update(update, NOW) is None
    assert status_of_ack(OURS, "479", NOW) is None
