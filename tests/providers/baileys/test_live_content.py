"""Everything that people can say, both ways, through real Baileys."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.providers.baileys.town import ANA, LEO, SHOP, Life, Town, needs_node, open_town, until
from wad.errors import NotFound
from wad.events import MessageReceived
from wad.models import AccountEvent, Address, InboundMessage, SessionId

pytestmark = needs_node

SHOP_ID = SessionId("shop")
PHOTO = b"\xff\xd8\xff\xe0 a photo"


@pytest.fixture
async def town(tmp_path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        yield town


@pytest.fixture
async def life(town: Town) -> AsyncIterator[Life]:
    async with town.daemon() as life:
        await town.pair(life)
        yield life


def text(body: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


async def upload(life: Life, data: bytes, mime_type: str, filename: str | None = None) -> str:
    """As `POST /media` does; the id that the provider gave."""
    media = await life.sessions.calls.upload(SHOP_ID, data, mime_type=mime_type, filename=filename)
    return media.media_id


async def shown(town: Town, life: Life, content: dict[str, Any], **how: Any) -> dict[str, Any]:
    """What the recipient reads of *content*."""
    sent = await life.send(content, **how)
    accepted = await life.message(sent.message_id, "accepted", "sent", "delivered", "read", "failed")
    assert accepted.error is None
    return (await town.heard(accepted))["recipient"]["content"]


async def test_all_that_can_be_sent_arrives_as_it_was_meant(town: Town, life: Life):
    photo, voice = await upload(life, PHOTO, "image/jpeg"), await upload(life, b"OggS", "audio/ogg")
    bill = await upload(life, b"%PDF", "application/pdf", "factura.pdf")
    place = {"latitude": 19.5, "longitude": -99.25, "name": "Zócalo", "address": "Centro"}
    contact = {"name": {"formattedName": "Eva"}, "phones": [{"phone": "+5215598765432"}]}
    contents: dict[str, dict[str, Any]] = {
        "text": text("hola"),
        "mention": {
            "type": "text",
            "text": {"body": f"hola @{LEO}", "mentions": [f"+{LEO}"]},
        },
        "image": {"type": "image", "image": {"mediaId": photo, "caption": "foto"}},
        "voice": {"type": "audio", "audio": {"mediaId": voice, "voice": True}},
        "video": {"type": "video", "video": {"mediaId": await upload(life, b"clip", "video/mp4")}},
        "document": {"type": "document", "document": {"mediaId": bill, "caption": "ten"}},
        "sticker": {"type": "sticker", "sticker": {"mediaId": await upload(life, b"RIFF", "image/webp")}},
        "location": {"type": "location", "location": place},
        "contact": {"type": "contacts", "contacts": [contact]},
        "contacts": {"type": "contacts", "contacts": [contact, {"name": {"formattedName": "Leo"}}]},
        "poll": {"type": "poll", "poll": {"name": "¿Cuándo?", "options": ["hoy", "mañana"]}},
    }

    said = {label: await shown(town, life, content) for label, content in contents.items()}

    file = {
        "size": len(PHOTO),
        "sha256": hashlib.sha256(PHOTO).hexdigest(),
    }
    expected = {
        "text": {"type": "text", "text": "hola"},
        "mention": {
            "type": "text",
            "text": f"hola @{LEO}",
            "mentions": [f"{LEO}@s.whatsapp.net"],
        },
        "image": {"type": "image", "mimetype": "image/jpeg", "caption": "foto", **file},
        "voice": {"type": "audio", "mimetype": "audio/ogg; codecs=opus", "ptt": True, "size": 4},
        "video": {"type": "video", "mimetype": "video/mp4", "size": 4},
        "document": {
            "type": "document",
            "mimetype": "application/pdf",
            "fileName": "factura.pdf",
            "caption": "ten",
        },
        "sticker": {"type": "sticker", "mimetype": "image/webp"},
        "location": place | {"type": "location"},
        "contact": {"type": "contact", "name": "Eva"},
        "contacts": {"type": "contacts", "name": "Eva +1"},
        "poll": {"type": "poll", "name": "¿Cuándo?", "options": ["hoy", "mañana"], "selectable": 1},
    }
    assert {
        label: {name: said[label].get(name) for name in part} for label, part in expected.items()
    } == expected


async def test_replies_and_reactions_say_what_they_are_about(town: Town, life: Life):
    said = await town.say({"text": "¿precio?"})
    [item] = await life.received()

    reply = await shown(town, life, text("100"), reply_to=item.message_id)
    reaction = {"type": "reaction", "reaction": {"messageId": item.message_id, "emoji": "👍"}}

    assert (reply["reply"], reply["text"]) == (said, "100")
    assert await shown(town, life, reaction) == {"type": "reaction", "id": said, "emoji": "👍"}


async def test_a_reply_to_our_own_message_quotes_it(town: Town, life: Life):
    first = await life.send(text("uno"))
    accepted = await life.message(first.message_id, "accepted", "sent", "delivered")

    reply = await shown(town, life, text("dos"), reply_to=first.message_id)

    assert reply["reply"] == accepted.provider_message_id


async def test_a_file_that_came_in_can_be_fetched(town: Town, life: Life, tmp_path: Path):
    photo = tmp_path / "photo"
    photo.write_bytes(PHOTO)
    await town.say({"image": {"file": str(photo), "caption": "foto"}})
    [item] = await life.received()

    image = item.event.content["image"]
    media = await life.store.media(image["mediaId"])
    assert media is not None
    async with life.sessions.calls.download(media) as content:
        assert b"".join([chunk async for chunk in content.chunks]) == PHOTO
        assert content.mime_type == "image/jpeg"
    assert image["sha256"] == hashlib.sha256(PHOTO).hexdigest()
    assert not list((town.directory / "var/baileys/received").iterdir())


async def test_a_file_that_came_in_can_be_sent_on(town: Town, life: Life, tmp_path: Path):
    photo = tmp_path / "photo"
    photo.write_bytes(PHOTO)
    await town.say({"image": {"file": str(photo)}})
    [item] = await life.received()

    image = {"mediaId": item.event.content["image"]["mediaId"]}
    echo = await shown(town, life, {"type": "image", "image": image})

    assert echo["sha256"] == hashlib.sha256(PHOTO).hexdigest()


async def test_edits_and_deletions_come_in_as_events(town: Town, life: Life):
    first = await town.say({"text": "hola"})
    second = await town.say({"text": "ups"})
    await life.received(2)
    await town.say({"edit": {"id": first, "text": "adiós"}})
    await town.say({"delete": {"id": second}})

    def told() -> dict[str, AccountEvent] | None:
        events = [fact.item.event for fact in town.facts if isinstance(fact, MessageReceived)]
        found = {event.type: event for event in events if isinstance(event, AccountEvent)}
        return found if {"message.edited", "message.deleted"} <= set(found) else None

    events = await until(told)

    names = {item.event.provider_message_id for item in await life.received(2)}
    assert events["message.edited"].data["text"]["body"] == "adiós"
    assert {event.data["providerMessageId"] for event in events.values()} == names


async def test_a_person_who_hides_their_number_is_known_by_it_all_the_same(town: Town, life: Life):
    """Their messages come by LID; who wrote before by number is the same person."""
    await town.say({"text": "con número"})
    [first] = await life.received()
    await town.say({"text": "sin número"}, to=SHOP, addressing="lid")
    _, second = await life.received(2)

    assert isinstance(first.event, InboundMessage)
    assert isinstance(second.event, InboundMessage)
    assert second.event.sender.jid != first.event.sender.jid
    assert first.event.chat == second.event.chat == f"+{ANA}"


@pytest.mark.parametrize("addressing", ["lid", "pn"])
async def test_votes_in_a_poll_of_ours_come_in_as_what_was_chosen(town: Town, life: Life, addressing: str):
    """Each as it comes: the last one a voter gives is the one that counts: none takes it back."""
    poll = {"type": "poll", "poll": {"name": "¿Cuándo?", "options": ["hoy", "mañana"]}}
    sent = await life.send(poll)
    entry = await town.heard(await life.message(sent.message_id, "accepted", "sent", "delivered"))
    for options in (["mañana"], []):
        vote = {"vote": {"id": entry["id"], "options": options}}
        await town.say(vote, to=SHOP, addressing=addressing)
    items = await life.received(2)

    assert [item.event.content for item in items] == [
        {"type": "poll_vote", "poll_vote": {"options": ["mañana"]}},
        {"type": "poll_vote", "poll_vote": {"options": []}},
    ]
    assert {item.event.context["providerMessageId"] for item in items} == {entry["id"]}
    assert {item.event.sender.phone for item in items} == {f"+{ANA}"}


@pytest.mark.parametrize("addressing", ["lid", "pn"])
async def test_a_group_is_listed_written_to_and_heard(town: Town, life: Life, addressing: str):
    created = await town.whatsapp.call(
        "group_create",
        {"subject": "Vecinos", "participants": [ANA, LEO, SHOP], "addressing": addressing},
    )
    group_id = created["id"]

    await town.say({"text": "hola a todos"}, group=group_id)
    [item] = await life.received()
    [listed] = await life.sessions.calls.groups(SHOP_ID)
    group = await life.sessions.calls.group(SHOP_ID, group_id)
    sent = await life.send(text("hola"), Address(group_id=group_id))
    accepted = await life.message(sent.message_id, "accepted", "sent", "delivered", "read")
    for phone in (ANA, LEO):
        assert (await town.heard(accepted, phone))["recipient"]["content"]["text"] == "hola"
    delivered = await life.message(sent.message_id, "delivered", "read")

    assert (item.event.chat, item.event.chat_kind) == (group_id, "group")
    assert item.event.sender.phone == f"+{ANA}"
    assert (listed.group_id, listed.subject) == (group_id, "Vecinos")
    assert group.members is not None
    assert {member.phone for member in group.members} == {f"+{ANA}", f"+{LEO}", f"+{SHOP}"}
    assert [member.phone for member in group.members if member.admin] == [f"+{ANA}"]
    assert delivered.error is None


async def test_a_group_that_it_is_not_in_is_unknown(town: Town, life: Life):
    with pytest.raises(NotFound):
        await life.sessions.calls.group(SHOP_ID, "120363000000000001@g.us")


async def test_what_the_owner_writes_on_the_phone_is_an_event_and_no_message(town: Town, life: Life):
    await town.say({"text": "desde el móvil"}, sender=SHOP, to=ANA)
    await town.say({"text": "gracias"})
    [item] = await life.received()

    assert item.event.content == text("gracias")
