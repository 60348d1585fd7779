"""Webhooks: only what is signed is genuine, and a message is the same message when it comes again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from wad.conformance.http import HttpHarness, hooks_of
from wad.conformance.rows import labels
from wad.errors import InvalidRequest
from wad.models import AccountEvent, InboundMessage, WebhookRequest

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
    async def test_what_the_provider_signed_is_genuine(self, harness: HttpHarness) -> None:
        """A message and a status; and the same once more, for whatever is not answered is told again."""
        async with hooks_of(harness) as hooks:
            for request in (harness.inbound("id-1"), harness.status("id-1", "msg_1")):
                assert hooks.webhooks.verify(request, secret=hooks.secret)
                assert hooks.webhooks.verify(request, secret=hooks.secret)

    @labels("forge", FORGERIES)
    async def test_a_signature_that_is_wrong_does_not_pass(
        self, harness: HttpHarness, forge: Forgery
    ) -> None:
        """And does not raise either."""
        async with hooks_of(harness) as hooks:
            assert not hooks.webhooks.verify(forge(harness.inbound("id-1")), secret=hooks.secret)

    async def test_a_signature_by_another_secret_does_not_pass(self, harness: HttpHarness) -> None:
        """Nor does one where there is no secret at all."""
        async with hooks_of(harness) as hooks:
            for secret in (hooks.secret + "x", hooks.secret[:-1], "é", ""):
                assert not hooks.webhooks.verify(harness.inbound("id-1"), secret=secret)

    async def test_a_signature_of_something_else_does_not_pass(self, harness: HttpHarness) -> None:
        """Replayed under another body or at another URL, where it is made over those."""
        async with hooks_of(harness) as hooks:
            genuine, other = harness.inbound("id-1"), harness.inbound("id-2")
            replace = msgspec.structs.replace
            if "body" in harness.signs:
                for body in (other.body, genuine.body + b" ", genuine.body[:-1], b""):
                    assert not hooks.webhooks.verify(replace(genuine, body=body), secret=hooks.secret)
            if "url" in harness.signs:
                for url in (f"{genuine.url}x", genuine.url.replace("//", "//evil.")):
                    assert not hooks.webhooks.verify(replace(genuine, url=url), secret=hooks.secret)

    async def test_an_event_is_for_the_account_that_it_came_to(self, harness: HttpHarness) -> None:
        """And a message is known by the provider's own id: a replayed webhook changes nothing."""
        async with hooks_of(harness) as hooks:
            (found,) = hooks.webhooks.parse(harness.inbound("id-1"))
            assert found.account == hooks.kind.account_of(harness.session().credentials)
            assert isinstance(found.event, InboundMessage)
            assert found.event.dedupe_key == "m:id-1"

    @labels("body", NO_WEBHOOKS)
    async def test_bytes_that_are_no_webhook_are_refused_and_no_crash(
        self, harness: HttpHarness, body: bytes
    ) -> None:
        """InvalidRequest, or an event that keeps them; nothing else."""
        async with hooks_of(harness) as hooks:
            request = msgspec.structs.replace(harness.inbound("id-1"), body=body)
            try:
                found = hooks.webhooks.parse(request)
            except InvalidRequest:
                return
            assert all(isinstance(event.event, AccountEvent) for event in found)

    async def test_half_a_webhook_is_refused_and_no_crash(self, harness: HttpHarness) -> None:
        """Wherever it is cut."""
        async with hooks_of(harness) as hooks:
            genuine = harness.inbound("id-1")
            for at in range(0, len(genuine.body), 7):
                with suppress(InvalidRequest):
                    hooks.webhooks.parse(msgspec.structs.replace(genuine, body=genuine.body[:at]))
