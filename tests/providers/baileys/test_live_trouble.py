"""What goes wrong with a session of WhatsApp Web, and what becomes of it and of its messages.

What each close and each refusal means is in the conformance suite.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from tests.providers.baileys.town import ANA, LEO, SHOP, Life, Town, needs_node, open_town, until
from wad.events import BridgeEnded
from wad.models import SessionId, SessionState
from wad.providers.baileys.kind import BaileysConfig

pytestmark = needs_node

SHOP_ID = SessionId("shop")


@pytest.fixture
async def town(tmp_path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as town:
        yield town


@pytest.fixture
async def life(town: Town) -> AsyncIterator[Life]:
    async with town.daemon() as life:
        yield life


def text(body: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


async def with_reason(life: Life, code: str) -> Any:
    """The status, once its reason is *code*."""
    return await until(
        lambda: (
            status if (status := life.status()).reason is not None and status.reason.code == code else None
        )
    )


# --- pairing --------------------------------------------------------------------------------------


async def test_a_code_that_nobody_types_in_leaves_nothing_behind(town: Town, life: Life):
    """Baileys takes us for logged in once a code was asked for, and WhatsApp would answer 401."""
    await town.create(life)
    await life.sessions.calls.pairing_code(SHOP_ID, f"+{SHOP}")
    await life.sessions.disconnect(SHOP_ID, wait=10)

    status = await life.sessions.connect(SHOP_ID, wait=20)
    assert status.state is SessionState.PAIRING
    await town.whatsapp.call("scan", {"qr": status.qr_code, "phone": SHOP})
    await life.in_state(SessionState.CONNECTED)


# --- closes ---------------------------------------------------------------------------------------


async def test_a_session_comes_back_once_its_ban_is_lifted_and_somebody_says_so(town: Town, life: Life):
    """Without pairing anew: a ban says nothing about the keys."""
    await town.pair(life)
    await town.whatsapp.call("ban", {"phone": SHOP, "kind": "temporary"})
    await with_reason(life, "temporarily_banned")

    await town.whatsapp.call("ban", {"phone": SHOP, "kind": "none"})
    status = await life.sessions.connect(SHOP_ID, wait=20)

    assert status.state is SessionState.CONNECTED


async def test_an_unlinked_device_forgets_its_keys(town: Town, life: Life):
    await town.pair(life)

    await town.whatsapp.call("unlink", {"phone": SHOP})
    status = await life.in_state(SessionState.LOGGED_OUT)

    assert status.reason is not None
    assert status.reason.code == "logged_out"
    assert await life.store.keys(SHOP_ID, "creds", ["creds"]) == {}


@pytest.mark.parametrize("forgetting", ["logging out", "deleting"])
async def test_a_session_that_is_forgotten_while_it_is_disconnected_leaves_no_file(
    town: Town, life: Life, forgetting: str
):
    """What is in the spool is sealed with a key that goes with the others: nobody could read it any more."""
    await town.pair(life)
    await life.sessions.disconnect(SHOP_ID, wait=10)
    assert [path.name for path in life.kind.shelf.spool.iterdir()] == ["shop.jsonl"]

    if forgetting == "deleting":
        await life.sessions.delete(SHOP_ID)
    else:
        await life.sessions.logout(SHOP_ID)

    assert list(life.kind.shelf.spool.iterdir()) == []


DROPS = {"cut": {}, "515": {"code": 515}}


@pytest.mark.parametrize("how", DROPS.values(), ids=list(DROPS))
async def test_a_broken_connection_is_made_again(town: Town, life: Life, how):
    await town.pair(life)
    since = life.status().since

    await town.whatsapp.call("drop", {"phone": SHOP, **how})
    await until(lambda: life.status().since != since or how == {"code": 515})
    await life.in_state(SessionState.CONNECTED)
    sent = await life.send(text("sigo"))

    await town.heard(await life.message(sent.message_id, "accepted", "sent", "delivered"))


async def test_a_server_that_cannot_show_whatsapps_certificate_is_not_trusted(tmp_path):
    """With WhatsApp's own root key, the simulated network is an impostor."""
    async with open_town(tmp_path) as town:
        town.config = BaileysConfig(web_socket_url=town.config.web_socket_url, extra_ca=town.config.extra_ca)
        async with town.daemon() as life:
            await town.begin(life)
            status = await with_reason(life, "untrusted_server")

    assert status.state is SessionState.FAILED
    assert status.reason.needs_person


async def test_without_node_the_status_says_what_to_do(tmp_path):
    async with open_town(tmp_path, node="/nowhere/node") as town, town.daemon() as life:
        await town.begin(life)
        status = await with_reason(life, "node_missing")

    assert status.state is SessionState.FAILED
    assert "pip install" in status.reason.detail


async def test_a_bridge_that_does_not_start_says_why_and_is_tried_again(tmp_path):
    node = tmp_path / "node"
    node.write_text('#!/bin/sh\n[ "$1" = --version ] && echo v20.0.0 && exit\nexit 3\n')
    node.chmod(0o700)
    async with open_town(tmp_path, node=str(node)) as town, town.daemon() as life:
        await town.begin(life)
        status = await with_reason(life, "bridge_down")
        await until(lambda: sum(isinstance(fact, BridgeEnded) for fact in town.facts) > 2)

    assert status.state is SessionState.CONNECTING
    assert "status 3" in status.reason.detail
    assert not status.reason.needs_person


async def test_sessions_share_a_bridge_unless_they_are_dedicated(town: Town, life: Life):
    await town.pair(life, "one.1", "15550000001")
    await town.pair(life, "one_1", "15550000002")
    shared = dict(life.kind.bridges.pids)

    await town.pair(life, "alone", "15550000003", dedicated=True)

    assert len(shared) == 1
    assert len(life.kind.bridges.pids) == 2


# --- sends ----------------------------------------------------------------------------------------

FAULTS = {
    "no acknowledgement, and the connection breaks": {"kind": "drop_after"},
    "stale devices": {"kind": "error", "code": 479},
}


@pytest.mark.parametrize("addressing", ["pn", "lid"])
async def test_a_message_is_given_again_to_nobody_but_its_chat(town: Town, addressing: str):
    """Whoever knows the id of one may say that they cannot read it: by another socket than the one that sent it."""
    async with town.daemon() as first:
        await town.pair(first)
        sent = await first.send(text("para Ana"))
        entry = await town.heard(await first.message(sent.message_id, "accepted", "sent", "delivered"))
    async with town.daemon() as life:
        await life.in_state(SessionState.CONNECTED)
        ask = {"account": SHOP, "id": entry["id"], "addressing": addressing}
        await town.whatsapp.call("ask_again", {"by": LEO, **ask})
        await town.whatsapp.call("ask_again", {"by": ANA, **ask})

        async def again() -> dict[str, Any] | None:
            now = next(
                each for each in (await town.whatsapp.call("ledger"))["entries"] if each["id"] == entry["id"]
            )
            return now if now["recipients"][ANA]["decrypted"] > 1 else None

        assert LEO not in (await until(again))["recipients"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_what_may_have_gone_out_goes_out_once(town: Town, life: Life, fault):
    await town.pair(life)
    await town.whatsapp.call("fault", {"phone": SHOP, **fault})

    sent = await life.send(text("una vez"))
    accepted = await life.message(sent.message_id, "accepted", "sent", "delivered")
    entry = await town.heard(accepted)

    assert entry["recipient"]["shown"] == 1
    assert accepted.maybe_duplicate is False


async def test_what_was_said_while_it_was_away_comes_in(town: Town):
    async with town.daemon() as first:
        await town.pair(first)
    said = [await town.say({"text": f"{n}"}) for n in range(20)]
    async with town.daemon() as second:
        items = await second.received(20)

    assert [item.event.provider_message_id.rpartition("/")[2] for item in items] == said


async def test_a_bridge_killed_in_the_middle_loses_nothing_that_was_receipted(town: Town, life: Life):
    """What WhatsApp was told we have is in the store, or in the spool and soon in the store."""
    await town.pair(life)
    said: list[str] = []

    async def talk() -> None:
        said.extend([await town.say({"text": f"{n}"}) for n in range(60)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await life.received(10)
        [pid] = life.kind.bridges.pids.values()
        os.kill(pid, signal.SIGKILL)
    items = await life.received(60)

    assert {item.event.provider_message_id.rpartition("/")[2] for item in items} == set(said)
    assert len(items) == 60


async def test_a_killed_bridge_takes_nobody_else_down(tmp_path):
    async with open_town(tmp_path, sessions_per_bridge=1) as town, town.daemon() as life:
        await town.pair(life, "one", "15550000001")
        await town.pair(life, "two", "15550000002")
        pids = dict(life.kind.bridges.pids)
        since = life.status("two").since

        os.kill(pids["bridge-1"], signal.SIGKILL)
        await until(lambda: not life.status("one").is_connected)
        await life.in_state(SessionState.CONNECTED, "one")

        assert life.kind.bridges.pids["bridge-2"] == pids["bridge-2"]
        assert life.status("two").since == since
        assert len(pids) == 2


async def test_a_frozen_bridge_is_killed_and_comes_back(town: Town, life: Life):
    await town.pair(life)
    [pid] = life.kind.bridges.pids.values()

    os.kill(pid, signal.SIGSTOP)
    await until(lambda: life.kind.bridges.pids and pid not in life.kind.bridges.pids.values(), seconds=60)
    await life.in_state(SessionState.CONNECTED)

    sent = await life.send(text("de vuelta"))
    await town.heard(await life.message(sent.message_id, "accepted", "sent", "delivered"), ANA)
