"""The Cloud API provider against the sandbox, which is as strict as Meta: two readings of the same pages agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from tests.providers.meta import PHONE, Heard, message, session
from tests.providers.test_meta_send import CONTENTS
from wad.errors import ProviderError, Verdict
from wad.models import Address, InboundMessage, MessageState, StatusUpdate, WebhookRequest
from wad.providers.base import Connection, WebhookEvent
from wad.providers.cloud_api import CloudApi
from wad.providers.http import Pools
from wad.providers.meta.account import MetaConfig
from wad.sandbox import READY, Config, Settings, create_sandbox

CREDENTIALS = {
    "accessToken": READY.access_token,
    "phoneNumberId": READY.phone_number_id,
    "appSecret": READY.app_secret,
}
#: One of each kind: the first bytes, by which a file is known, and the type they stand for.
FILES = {
    "image": (b"\xff\xd8\xff\xe0", "image/jpeg"),
    "audio": (b"OggS", "audio/ogg"),
    "video": (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
    "document": (b"%PDF-1.7", "application/pdf"),
    "sticker": (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
}


class Town:
    """The sandbox's control, a session that is open on one of its numbers, and what its webhooks said."""

    def __init__(self, control: httpx.AsyncClient, kind: CloudApi, connection: Connection) -> None:
        self._control = control
        self._kind = kind
        self.connection = connection
        self.events: list[WebhookEvent] = []

    def hear(self, request: httpx.Request) -> httpx.Response:
        """The callback: verify, then parse."""
        if request.method == "GET":
            return httpx.Response(200, text=request.url.params["hub.challenge"])
        assert self._kind.webhooks is not None
        secret = self._kind.webhook_secret(session(**CREDENTIALS))
        told = WebhookRequest(url=str(request.url), headers=request.headers, body=request.content)
        if secret is None or not self._kind.webhooks.verify(told, secret=secret):
            return httpx.Response(401)
        self.events += self._kind.webhooks.parse(told)
        return httpx.Response(200)

    async def control(self, path: str, body: Any) -> Any:
        answer = await self._control.post(f"/_sandbox/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """All in memory. Ana has written, so that she can be answered."""
    towns: list[Town] = []

    def hear(request: httpx.Request) -> httpx.Response:
        return towns[0].hear(request)

    outward = httpx.AsyncClient(transport=httpx.MockTransport(hear))
    settings = Settings(statuses={"sent": 0.0, "delivered": 0.0, "read": 0.0})
    sandbox = create_sandbox(Config(settings=settings), client=outward)
    inward = httpx.ASGITransport(sandbox.app)
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(transport=inward, base_url="http://sandbox") as control,
        Pools(transport=lambda _: inward) as pools,
    ):
        await nursery.start(sandbox.run)
        kind = CloudApi(MetaConfig(base_url="http://sandbox"), pools)
        async with kind.open(session(**CREDENTIALS), Heard()) as connection:
            here = Town(control, kind, connection)
            towns.append(here)
            number = {"phoneNumberId": READY.phone_number_id, "callbackUrl": "http://127.0.0.1:9/hook"}
            await here.control("numbers", number)
            windows = {READY.phone_number_id: "open"}
            await here.control("customers", {"phone": PHONE.phone, "windows": windows})
            yield here
        nursery.cancel_scope.cancel()


def with_files(value: Any, ids: dict[str, str], kind: str = "") -> Any:
    """*value* with the id of a real file wherever it names one."""
    if isinstance(value, dict):
        return {
            name: ids[kind] if name == "mediaId" else with_files(part, ids, name)
            for name, part in value.items()
        }
    return [with_files(part, ids, kind) for part in value] if isinstance(value, list) else value


async def test_everything_that_can_be_sent_is_taken() -> None:
    """Every type of message, body by body, with real files."""
    async with town() as here:
        ids = {
            kind: await here.connection.upload(head + bytes(50), mime_type=mime_type, filename=None)
            for kind, (head, mime_type) in FILES.items()
        }
        for label, (content, _) in CONTENTS.items():
            sent = message(with_files(content, ids))
            if label == "template with every component":  # no such template was ever approved
                with pytest.raises(ProviderError) as caught:
                    await here.connection.send(sent)
                assert caught.value.code == "template_not_found"
            else:
                assert (await here.connection.send(sent)).provider_message_id.startswith("wamid."), label


async def test_a_connection_and_its_files() -> None:
    """The probe, the groups, a file there and back."""
    async with town() as here:
        proof = await here.connection.connect()
        assert (proof.phone_number, proof.data["wabaId"]) == ("+15550100100", READY.waba_id)
        assert await here.connection.groups() == []
        head, mime_type = FILES["image"]
        media_id = await here.connection.upload(head + bytes(50), mime_type=mime_type, filename='a "ñ".jpg')
        async with here.connection.download(media_id) as file:
            assert (file.mime_type, file.size) == (mime_type, len(head) + 50)
            assert b"".join([chunk async for chunk in file.chunks]) == head + bytes(50)


async def test_a_conversation() -> None:
    """She writes, it is read and answered, and the statuses bring our own id back."""
    async with town() as here:
        await here.control(
            "inbound",
            {
                "phoneNumberId": READY.phone_number_id,
                "from": {"phone": PHONE.phone},
                "type": "text",
                "text": {"body": "hola"},
            },
        )
        await here.control("settle", {"seconds": 10})
        (asked,) = [event.event for event in here.events if isinstance(event.event, InboundMessage)]
        assert asked.content == {"type": "text", "text": {"body": "hola"}}
        assert asked.sender.phone == PHONE.phone
        await here.connection.mark_read(asked.provider_message_id, typing=True)
        back = Address(phone=asked.sender.phone, user_id=asked.sender.user_id)
        reply = message(to=back, quotes=asked.provider_message_id)
        accepted = await here.connection.send(reply)
        await here.control("settle", {"seconds": 10})
        told = [event.event for event in here.events if isinstance(event.event, StatusUpdate)]
        assert {status.message_id for status in told} == {reply.message_id}
        assert {status.provider_message_id for status in told} == {accepted.provider_message_id}
        assert MessageState.DELIVERED in {status.state for status in told}


async def test_outside_her_window_only_templates_go() -> None:
    """The refusal that every shop meets first: Meta takes the message, and says later that it failed."""
    async with town() as here:
        await here.control("customers", {"phone": PHONE.phone, "windows": {READY.phone_number_id: "closed"}})
        accepted = await here.connection.send(message())
        await here.control("settle", {"seconds": 10})
        (told,) = [event.event for event in here.events if isinstance(event.event, StatusUpdate)]
        assert (told.provider_message_id, told.state) == (accepted.provider_message_id, MessageState.FAILED)
        assert told.error is not None
        assert (told.error.code, told.error.provider_code) == ("reply_window_closed", "131047")


async def test_a_refusal_in_the_answer() -> None:
    """The same codes mean the same when they come at once."""
    missing = {"type": "template", "template": {"name": "none", "language": {"code": "en"}}}
    async with town() as here:
        with pytest.raises(ProviderError) as caught:
            await here.connection.send(message(missing))
        assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "template_not_found")
