"""A session of WhatsApp Web from end to end: real Baileys against a simulated WhatsApp."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.providers.baileys.town import ANA, SHOP, Life, Town, needs_node, open_town, until
from wad.events import BridgeEnded, BridgeStarted
from wad.models import SessionId, SessionState

pytestmark = needs_node


@pytest.fixture
async def town(tmp_path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        yield town


@pytest.fixture
async def life(town: Town) -> AsyncIterator[Life]:
    async with town.daemon() as life:
        yield life


def text(body: str) -> dict:
    return {"type": "text", "text": {"body": body}}


async def test_a_phone_pairs_by_the_code_on_the_screen(town: Town, life: Life):
    status = await town.pair(life)

    assert (status.phone_number, status.is_connected, status.qr_code) == (f"+{SHOP}", True, None)
    assert life.sessions.session(SessionId("shop")).connection_data["jid"] == f"{SHOP}@s.whatsapp.net"


async def test_a_message_reaches_its_person_and_comes_back_as_delivered_and_read(town: Town, life: Life):
    await town.pair(life)

    sent = await life.send(text("hola"))
    accepted = await life.message(sent.message_id, "accepted", "sent", "delivered", "read")
    entry = await town.heard(accepted)
    await town.whatsapp.call("read", {"by": ANA, "to": SHOP, "ids": [accepted.provider_message_id]})
    read = await life.message(sent.message_id, "read")

    assert entry["recipient"]["content"]["text"] == "hola"
    assert (entry["sent"], entry["recipient"]["shown"]) == (1, 1)
    assert read.error is None


async def test_a_session_comes_back_by_its_stored_keys(town: Town):
    async with town.daemon() as first:
        await town.pair(first)
    async with town.daemon() as second:
        await second.in_state(SessionState.CONNECTED)
        sent = await second.send(text("otra vez"))
        await town.heard(await second.message(sent.message_id, "accepted", "sent", "delivered"))


async def test_a_killed_bridge_comes_back_with_its_sessions(town: Town, life: Life):
    await town.pair(life)
    [pid] = life.kind.bridges.pids.values()

    os.kill(pid, signal.SIGKILL)
    await until(lambda: life.kind.bridges.pids and pid not in life.kind.bridges.pids.values())
    await life.in_state(SessionState.CONNECTED)
    sent = await life.send(text("sigo aquí"))
    await town.heard(await life.message(sent.message_id, "accepted", "sent", "delivered"))

    facts = [fact for fact in town.facts if isinstance(fact, BridgeStarted | BridgeEnded)]
    assert [type(fact) for fact in facts] == [BridgeStarted, BridgeEnded, BridgeStarted]
    assert ("SIGKILL" in facts[1].why, facts[1].expected, facts[2].restart) == (True, False, True)


async def test_a_number_that_nobody_has_fails_and_does_not_vanish(town: Town, life: Life):
    await town.pair(life)
    await town.whatsapp.call("unregister", {"phone": "5215500000000"})

    sent = await life.send(text("¿hola?"), "+5215500000000")
    failed = await life.message(sent.message_id, "failed")

    assert failed.error is not None
    assert failed.error.code == "recipient_not_on_whatsapp"
