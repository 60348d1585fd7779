"""Webhooks: only what is signed is genuine, and a message is the same message when it comes again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from wad.conformance.harness import Harness, Said, Told
from wad.conformance.rows import labels, rows
from wad.conformance.world import HOLA, hooks_of
from wad.errors import InvalidRequest
from wad.models import AccountEvent, Address, InboundMessage, MessageState, StatusUpdate, WebhookRequest
from wad.providers.base import check_send

Forgery = Callable[[WebhookRequest], WebhookRequest]


def _headers(change: Callable[[str], str]) -> Forgery:
    """Every header changed so, for the suite does not know which of them is the signature."""

    def forge(genuine: WebhookRequest) -> WebhookRequest:
        headers = {name: change(value) for name, value in genuine.headers.items()}
        return msgspec.structs.replace(genuine, headers=headers)

    return forge


def _swapped(text: str) -> str:
    return text[:-1] + ("0" if text[-1:] != "0" else "1")


#: What is never genuine, whatever a signature is made over.
FORGERIES: Final[dict[str, Forgery]] = {
    "missing": lambda genuine: msgspec.structs.replace(genuine, headers={}),
    "empty": _headers(lambda _: ""),
    "wrong": _headers(_swapped),
    "short": _headers(lambda value: value[:-1]),
    "long": _headers(lambda value: value + "0"),
    "very long": _headers(lambda _: "x" * 10_000),
    "not ASCII": _headers(lambda _: "é"),
    "not ASCII at its end": _headers(lambda value: value[:-1] + "é"),
    "half a character": _headers(lambda _: "\ud800"),
    "with a line break": _headers(lambda value: f"{value}\r\n"),
}

NO_WEBHOOKS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a brace": b"{",
    "no UTF-8": b"\xff",
    "too deep": b"[" * 100_000,
    "null": b"null",
    "a number": b"1e999",
    "a page": b"<html></html>",
    "an empty object": b"{}",
    "half an escape": b'{"a": "\\ud800"}',
    "a form of nothing": b"&&=&",
}


class Webhooks:
    async def test_what_the_provider_signed_is_genuine(self, harness: Harness) -> None:
        """A message and a status; and the same once more, for whatever is not answered is told again."""
        async with hooks_of(harness) as hooks:
            if hooks is not None:
                for request in (harness.inbound("id-1"), harness.status("id-1", "msg_1")):
                    assert hooks.webhooks.verify(request, secret=hooks.secret)
                    assert hooks.webhooks.verify(request, secret=hooks.secret)

    @labels("forge", FORGERIES)
    async def test_a_signature_that_is_wrong_does_not_pass(self, harness: Harness, forge: Forgery) -> None:
        """And does not raise either."""
        async with hooks_of(harness) as hooks:
            if hooks is not None:
                assert not hooks.webhooks.verify(forge(harness.inbound("id-1")), secret=hooks.secret)

    async def test_a_signature_by_another_secret_does_not_pass(self, harness: Harness) -> None:
        """Nor does one where there is no secret at all."""
        async with hooks_of(harness) as hooks:
            if hooks is not None:
                for secret in (hooks.secret + "x", hooks.secret[:-1], "é", ""):
                    assert not hooks.webhooks.verify(harness.inbound("id-1"), secret=secret)

    async def test_a_signature_of_something_else_does_not_pass(self, harness: Harness) -> None:
        """Replayed under another body or at another URL, where it is made over those."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            genuine, other = harness.inbound("id-1"), harness.inbound("id-2")
            replace = msgspec.structs.replace
            if "body" in harness.signs:
                for body in (other.body, genuine.body + b" ", genuine.body[:-1], b""):
                    assert not hooks.webhooks.verify(replace(genuine, body=body), secret=hooks.secret)
            if "url" in harness.signs:
                for url in (f"{genuine.url}x", genuine.url.replace("//", "//evil.")):
                    assert not hooks.webhooks.verify(replace(genuine, url=url), secret=hooks.secret)

    async def test_a_message_is_for_the_account_that_it_came_to(self, harness: Harness) -> None:
        """And is the same message when it comes again: a replayed webhook changes nothing."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            found = [event for _ in range(2) for event in hooks.webhooks.parse(harness.inbound("id-1"))]
            account = hooks.kind.account_of(harness.session().credentials)
            assert [event.account for event in found] == [account] * 2
            first, second = (event.event for event in found)
            assert isinstance(first, InboundMessage)
            assert isinstance(second, InboundMessage)
            assert first.dedupe_key == second.dedupe_key == "m:id-1"

    @labels("hidden", {"known by phone": False, "without a phone": True})
    async def test_a_reply_goes_into_the_chat_of_what_it_answers(
        self, harness: Harness, hidden: bool
    ) -> None:
        """Whoever writes can be answered, in the same lane."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            (event,) = hooks.webhooks.parse(harness.inbound("id-1", hidden=hidden))
            assert isinstance(event.event, InboundMessage)
            sender = event.event.sender
            reply = Address(phone=sender.phone, user_id=sender.user_id, jid=sender.jid)
            assert reply.chat == event.event.chat
            assert check_send(hooks.kind, reply, HOLA) == []

    @rows("said", lambda harness: harness.said())
    async def test_what_a_customer_says_is_understood(self, harness: Harness, said: Said) -> None:
        """In the words in which wad says the same."""
        async with hooks_of(harness) as hooks:
            assert hooks is not None
            assert hooks.webhooks.verify(said.request, secret=hooks.secret)
            (event,) = hooks.webhooks.parse(said.request)
            assert isinstance(event.event, InboundMessage)
            assert event.event.content == said.content

    async def test_a_status_settles_the_send_whose_id_it_brings_back(self, harness: Harness) -> None:
        """By the provider's id, and by ours."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            (event,) = hooks.webhooks.parse(harness.status("id-1", "msg_1"))
            assert isinstance(event.event, StatusUpdate)
            assert (event.event.provider_message_id, event.event.state) == ("id-1", MessageState.DELIVERED)
            if hooks.kind.capabilities.settlement in ("callback", "list"):
                assert event.event.message_id == "msg_1"

    @rows("told", lambda harness: harness.told())
    async def test_a_status_is_understood(self, harness: Harness, told: Told) -> None:
        """A failure says why."""
        async with hooks_of(harness) as hooks:
            assert hooks is not None
            assert hooks.webhooks.verify(told.request, secret=hooks.secret)
            (event,) = hooks.webhooks.parse(told.request)
            assert isinstance(event.event, StatusUpdate)
            assert event.event.state == told.state
            assert (event.event.error is not None) == (told.state is MessageState.FAILED)

    @labels("body", NO_WEBHOOKS)
    async def test_bytes_that_are_no_webhook_are_refused_and_no_crash(
        self, harness: Harness, body: bytes
    ) -> None:
        """InvalidRequest, or an event that keeps them; nothing else."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            request = msgspec.structs.replace(harness.inbound("id-1"), body=body)
            try:
                found = hooks.webhooks.parse(request)
            except InvalidRequest:
                return
            assert all(isinstance(event.event, AccountEvent) for event in found)

    async def test_half_a_webhook_is_refused_and_no_crash(self, harness: Harness) -> None:
        """Wherever it is cut."""
        async with hooks_of(harness) as hooks:
            if hooks is None:
                return
            genuine = harness.inbound("id-1")
            for at in range(0, len(genuine.body), 7):
                with suppress(InvalidRequest):
                    hooks.webhooks.parse(msgspec.structs.replace(genuine, body=genuine.body[:at]))
