"""What of 360dialog is not Meta's; the rest is in the conformance suite."""

from __future__ import annotations

import hashlib

from tests.conformance.providers import Dialog360Harness
from tests.providers import meta
from tests.providers.meta import Heard, message
from wad.conformance.peer import answering, serving
from wad.models import AccountEvent
from wad.providers.dialog360 import Dialog360, Dialog360Config
from wad.providers.http import Pools

HARNESS = Dialog360Harness()
KEY, SECRET = HARNESS.secrets


async def test_the_key_says_which_number_it_is() -> None:
    """No path names one, no token and no proof go along."""
    async with serving() as peer, Pools() as pools:
        kind = Dialog360(Dialog360Config(base_url=peer.url), pools)
        async with kind.open(HARNESS.session(), Heard()) as connection:
            peer.scripts = [
                HARNESS.proves(),
                HARNESS.takes("id-1"),
                HARNESS.stores("m1"),
                HARNESS.lists_groups(),
            ]
            proof = await connection.connect()
            await connection.send(message())
            await connection.upload(b"x", mime_type="image/png", filename="a.png")
            await connection.groups()
            paths = [(request.method, request.path) for request in peer.received]
            assert paths == [
                ("GET", "/health_status"),
                ("POST", "/messages"),
                ("POST", "/media"),
                ("GET", "/groups"),
            ]
            for request in peer.received:
                assert request.headers["d360-api-key"] == KEY
                assert "authorization" not in request.headers
                assert "appsecret_proof" not in request.query
            assert proof.data == {"phoneNumberId": meta.NUMBER_ID, "canSendMessage": "AVAILABLE"}


async def test_a_file_comes_from_its_own_host() -> None:
    """Meta's answer names Meta's host, which would not take the key."""
    data = b"a picture"
    place = {
        "url": "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1&ext=2",
        "mime_type": "image/png",
        "sha256": hashlib.sha256(data).hexdigest(),
        "file_size": len(data),
    }
    async with serving() as peer, Pools() as pools:
        kind = Dialog360(Dialog360Config(base_url=f"{peer.url}/360dialog"), pools)
        async with kind.open(HARNESS.session(), Heard()) as connection:
            peer.scripts = [answering(200, place), answering(200, data)]
            async with connection.download("m1") as content:
                assert b"".join([chunk async for chunk in content.chunks]) == data
            where, file = peer.received
            assert (where.path, file.path) == ("/360dialog/m1", "/360dialog/whatsapp_business/attachments/")
            assert file.query == {"mid": "1", "ext": "2"}
            assert file.headers["d360-api-key"] == KEY


async def test_its_webhooks_are_for_the_session_that_their_path_names() -> None:
    """Whatever number, or none, they speak of: the session does not know its phone number id."""
    async with Pools() as pools:
        kind = Dialog360(Dialog360Config(), pools)
        assert kind.webhooks is not None
        found = kind.webhooks.parse(HARNESS.inbound("id-1")) + kind.webhooks.parse(
            meta.request(meta.webhook({"event": "DISABLED_UPDATE"}, "account_update"))
        )
        assert [event.account for event in found] == [None, None]
        assert isinstance(found[1].event, AccountEvent)
        assert kind.webhook_secret(HARNESS.session()) == SECRET
        assert kind.webhook_secret(None) is None
        assert kind.verify_token(HARNESS.session()) is None
