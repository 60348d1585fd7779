"""What every provider over HTTP has to keep, whichever it is. A declared capability is a tested one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio

from tests.conformance.providers import HARNESSES, Harness
from tests.providers import peer as wire
from tests.providers.meta import GROUP, PHONE, USER, Heard, message
from tests.providers.peer import Exchange, Peer, Script, answering, serving, unused_port
from wad.content import CONTENT_TYPES
from wad.errors import InvalidRequest, NotSupported, ProviderError, Verdict
from wad.models import AccountEvent, Address, InboundMessage, MessageState, OutboundMessage, StatusUpdate
from wad.providers.base import Connection, ProviderKind, Webhooks
from wad.providers.http import Pools

pytestmark = pytest.mark.parametrize("harness", HARNESSES, ids=lambda harness: harness.name)


class World:
    def __init__(self, peer: Peer, kind: ProviderKind, connection: Connection, heard: Heard) -> None:
        self.peer = peer
        self.kind = kind
        self.connection = connection
        self.heard = heard


@asynccontextmanager
async def world(
    harness: Harness, *, base_url: str | None = None, seconds: float = 5.0
) -> AsyncIterator[World]:
    heard = Heard()
    async with serving() as peer, Pools() as pools:
        kind = harness.kind(base_url or peer.url, pools, seconds=seconds)
        async with kind.open(harness.session(), heard) as connection:
            yield World(peer, kind, connection, heard)


def outbound(harness: Harness, **more: Any) -> OutboundMessage:
    return msgspec.structs.replace(message(**more), provider=harness.name)


# --- capabilities ---------------------------------------------------------------------------------


async def test_everything_that_is_declared_can_be_sent(harness: Harness) -> None:
    """Checked without a complaint, and taken."""
    async with world(harness) as w:
        declared = w.kind.capabilities
        assert {content["type"] for content in harness.contents.values()} == declared.content_types
        assert {
            content["interactive"]["type"]
            for content in harness.contents.values()
            if content["type"] == "interactive"
        } == declared.interactive_types
        for label, content in harness.contents.items():
            assert w.kind.check_send(PHONE, content) == [], label
            w.peer.scripts = [harness.takes("id-1")]
            accepted = await w.connection.send(outbound(harness, content=content))
            assert accepted.provider_message_id == "id-1", label
        assert set(w.heard.calls) == {("send", "ok")}


async def test_what_is_not_declared_is_refused_by_name(harness: Harness) -> None:
    """Before anything is stored or sent."""
    async with world(harness) as w:
        for kind in set(CONTENT_TYPES) - w.kind.capabilities.content_types:
            with pytest.raises(NotSupported) as caught:
                w.kind.check_send(PHONE, {"type": kind, kind: {}})
            assert (caught.value.provider, caught.value.capability) == (harness.name, kind)


@pytest.mark.parametrize(
    ("to", "flag"),
    [pytest.param(GROUP, "groups", id="groups"), pytest.param(USER, "user_ids", id="user ids")],
)
async def test_whom_it_can_reach(harness: Harness, to: Address, flag: str) -> None:
    """As declared: either it is sent, or it is refused at the check."""
    async with world(harness) as w:
        content = {"type": "text", "text": {"body": "Hola"}}
        if getattr(w.kind.capabilities, flag):
            assert w.kind.check_send(to, content) == []
            w.peer.scripts = [harness.takes("id-1")]
            await w.connection.send(outbound(harness, to=to))
        else:
            with suppress(NotSupported):
                assert w.kind.check_send(to, content) != []


async def test_our_own_id_travels_with_a_send(harness: Harness) -> None:
    """What else could tell, after a crash, that it arrived?"""
    async with world(harness) as w:
        w.peer.scripts = [harness.takes("id-1")]
        sent = outbound(harness)
        await w.connection.send(sent)
        if w.kind.capabilities.settlement == "callback":
            assert harness.correlates(w.peer.last) == sent.message_id


async def test_a_reply_quotes(harness: Harness) -> None:
    """The provider's own id of what it answers, where the provider can."""
    async with world(harness) as w:
        w.peer.scripts = [harness.takes("id-1")]
        await w.connection.send(outbound(harness, quotes="id-0"))
        assert harness.quoted(w.peer.last) == ("id-0" if w.kind.capabilities.reply_context else None)


async def test_the_rest_of_what_is_declared(harness: Harness) -> None:
    """Marking read, typing, groups, uploads: each works, or says that there is no such thing."""
    async with world(harness) as w:
        can = w.kind.capabilities
        w.peer.scripts = [harness.marks_read()] * 2
        if can.read_receipts:
            await w.connection.mark_read("id-0", typing=False)
            if can.typing:
                await w.connection.mark_read("id-0", typing=True)
        w.peer.scripts = [harness.lists_groups()]
        if can.groups:
            assert [group.group_id for group in await w.connection.groups()] == ["g1"]
        w.peer.scripts = [harness.stores("m1")]
        if can.media_upload:
            uploaded = await w.connection.upload(b"x", mime_type="image/png", filename="a.png")
            assert uploaded == "m1"
        for missing, do in (
            (not can.read_receipts, lambda: w.connection.mark_read("id-0", typing=False)),
            (not can.groups, w.connection.groups),
            (not can.media_upload, lambda: w.connection.upload(b"x", mime_type="image/png", filename=None)),
        ):
            if missing:
                with pytest.raises(NotSupported):
                    await do()


# --- failures -------------------------------------------------------------------------------------

AMBIGUOUS: dict[str, Script] = {
    "hangs": wire.hang,
    "hangs up": wire.hang_up,
    "resets": wire.reset,
    "cuts its body": wire.cut,
    "cuts its head": wire.cut_in_the_head,
    "does not speak HTTP": wire.not_http,
    "breaks": answering(500),
    "is behind a broken gateway": answering(502, b"<html>Bad Gateway</html>"),
    "answers with a page": answering(200, b"<html>Sign in to the hotel's network</html>"),
    "answers with nothing": answering(200),
    "answers with something else": answering(200, {"ok": True}),
}


@pytest.mark.parametrize("label", AMBIGUOUS)
async def test_what_may_have_gone_out_is_unknown(harness: Harness, label: str) -> None:
    """Never retried blindly, never called a success."""
    script = AMBIGUOUS[label]
    async with world(harness, seconds=0.3 if script is wire.hang else 5.0) as w:
        w.peer.scripts = [script]
        with pytest.raises(ProviderError) as caught:
            await w.connection.send(outbound(harness))
        assert caught.value.verdict is Verdict.UNKNOWN
        assert w.heard.calls == [("send", caught.value.code)]


async def test_what_surely_did_not_go_out_can_be_tried_again(harness: Harness) -> None:
    """Nobody listened."""
    async with world(harness, base_url=f"http://127.0.0.1:{unused_port()}") as w:
        with pytest.raises(ProviderError) as caught:
            await w.connection.send(outbound(harness))
        assert (caught.value.verdict, caught.value.health) == (Verdict.NOT_SENT, True)
        assert caught.value.retryable


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("throttles", Verdict.THROTTLED),
        ("rejects", Verdict.REJECTED),
        ("refuses_credentials", Verdict.NEEDS_PERSON),
    ],
)
async def test_a_refusal_means_what_it_says(harness: Harness, word: str, verdict: Verdict) -> None:
    """And tells nothing of the provider's health: a breaker must not open on a customer's mistake."""
    async with world(harness) as w:
        w.peer.scripts = [getattr(harness, word)()]
        with pytest.raises(ProviderError) as caught:
            await w.connection.send(outbound(harness))
        assert (caught.value.verdict, caught.value.health) == (verdict, False)
        assert caught.value.code != ProviderError.code
        assert caught.value.provider_code


@pytest.mark.parametrize("label", AMBIGUOUS)
async def test_a_probe_is_never_unknown(harness: Harness, label: str) -> None:
    """It can be asked again; and what is not an answer is no proof."""
    script = AMBIGUOUS[label]
    async with world(harness, seconds=0.3 if script is wire.hang else 5.0) as w:
        w.peer.scripts = [script]
        with pytest.raises(ProviderError) as caught:
            await w.connection.connect()
        assert caught.value.verdict is Verdict.NOT_SENT


async def test_a_probe_tells_bad_credentials_from_a_bad_day(harness: Harness) -> None:
    """The first needs a person; after the second, and then a good answer, it is connected."""
    async with world(harness) as w:
        w.peer.scripts = [harness.refuses_credentials(), answering(503), harness.proves()]
        with pytest.raises(ProviderError) as caught:
            await w.connection.connect()
        assert caught.value.needs_person
        with pytest.raises(ProviderError) as caught:
            await w.connection.connect()
        assert not caught.value.needs_person
        await w.connection.connect()


async def test_a_cancelled_send_ends(harness: Harness) -> None:
    """And leaves the connection fit for the next."""
    arrived = trio.Event()

    async def stall(exchange: Exchange) -> None:
        arrived.set()
        await trio.sleep_forever()

    async with world(harness) as w:
        w.peer.scripts = [stall, harness.takes("id-2")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.connection.send, outbound(harness))
            await arrived.wait()
            nursery.cancel_scope.cancel()
        assert (await w.connection.send(outbound(harness))).provider_message_id == "id-2"
        assert w.heard.calls == [("send", "cancelled"), ("send", "ok")]


async def test_opening_touches_no_network(harness: Harness) -> None:
    """Loading is not connecting."""
    async with world(harness) as w:
        assert w.peer.connections == 0


# --- credentials and secrets ----------------------------------------------------------------------


async def test_credentials_are_checked_by_name(harness: Harness) -> None:
    """Complete ones pass; each that is missing, and each that is unknown, is named."""
    async with world(harness) as w:
        complete = dict(harness.session().credentials)
        assert w.kind.check_credentials(complete) == []
        for name in complete:
            errors = w.kind.check_credentials({key: value for key, value in complete.items() if key != name})
            assert [error.pointer for error in errors] == (
                [f"/credentials/{name}"] if name in harness.required else []
            )
        (error,) = w.kind.check_credentials({**complete, "colour": "red"})
        assert error.pointer == "/credentials/colour"


async def test_no_secret_is_shown(harness: Harness) -> None:
    """Not by a repr, and not by an error that quotes us."""
    async with world(harness) as w:
        echo = " ".join(harness.secrets).encode()
        seen = [repr(w.kind), repr(w.connection)]
        for script in (
            answering(400, {"error": {"code": 1, "message": echo.decode()}}),
            answering(500, echo),
        ):
            w.peer.scripts = [script]
            with pytest.raises(ProviderError) as caught:
                await w.connection.send(outbound(harness))
            seen += [repr(caught.value), caught.value.detail]
        assert not [text for text in seen for secret in harness.secrets if secret in text]


# --- webhooks -------------------------------------------------------------------------------------


@asynccontextmanager
async def webhooks(harness: Harness) -> AsyncIterator[tuple[ProviderKind, Webhooks, str]]:
    async with Pools() as pools:
        kind = harness.kind("http://127.0.0.1:1", pools, seconds=1.0)
        secret = kind.webhook_secret(harness.session())
        if kind.webhooks is None or secret is None:
            pytest.skip("no webhooks")
        yield kind, kind.webhooks, secret


async def test_only_what_is_signed_is_genuine(harness: Harness) -> None:
    """One byte more, another secret, no signature, or a strange one: none of it passes, none of it raises."""
    async with webhooks(harness) as (_, hooks, secret):
        genuine = harness.inbound("id-1")
        assert hooks.verify(genuine, secret=secret)
        assert not hooks.verify(genuine, secret=secret + "x")
        for strange in ("", "é", "\ud800", "x" * 10_000):
            forged = dict.fromkeys(genuine.headers, strange)
            assert not hooks.verify(msgspec.structs.replace(genuine, headers=forged), secret=secret)
        assert not hooks.verify(msgspec.structs.replace(genuine, headers={}), secret=secret)


async def test_a_message_is_for_the_account_that_it_came_to(harness: Harness) -> None:
    """And is the same message when it comes again."""
    async with webhooks(harness) as (kind, hooks, _):
        found = [event for _ in range(2) for event in hooks.parse(harness.inbound("id-1"))]
        assert [event.account for event in found] == [kind.account_of(harness.session().credentials)] * 2
        inbound = [event.event for event in found]
        assert all(isinstance(event, InboundMessage) for event in inbound)
        assert inbound[0].dedupe_key == inbound[1].dedupe_key  # type: ignore[union-attr]


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_reply_goes_into_the_chat_of_what_it_answers(harness: Harness, hidden: bool) -> None:
    """Whoever writes can be answered, in the same lane."""
    async with webhooks(harness) as (kind, hooks, _):
        (event,) = hooks.parse(harness.inbound("id-1", hidden=hidden))
        assert isinstance(event.event, InboundMessage)
        sender = event.event.sender
        reply = Address(phone=sender.phone, user_id=sender.user_id, jid=sender.jid)
        assert reply.chat == event.event.chat
        assert kind.check_send(reply, {"type": "text", "text": {"body": "Hola"}}) == []


async def test_a_status_settles_the_send_whose_id_it_brings_back(harness: Harness) -> None:
    """By the provider's id, and by ours."""
    async with webhooks(harness) as (kind, hooks, _):
        (event,) = hooks.parse(harness.status("id-1", "msg_1"))
        assert isinstance(event.event, StatusUpdate)
        assert (event.event.provider_message_id, event.event.state) == ("id-1", MessageState.DELIVERED)
        if kind.capabilities.settlement == "callback":
            assert event.event.message_id == "msg_1"


async def test_bytes_that_are_no_webhook_are_refused_and_no_crash(harness: Harness) -> None:
    """InvalidRequest, or an event that keeps them; nothing else."""
    async with webhooks(harness) as (_, hooks, _secret):
        genuine = harness.inbound("id-1")
        for body in (
            b"",
            b"{",
            b"\xff",
            b"[" * 100_000,
            b"null",
            b"<html></html>",
            genuine.body[:-9],
        ):
            try:
                found = hooks.parse(msgspec.structs.replace(genuine, body=body))
            except InvalidRequest:
                continue
            assert all(isinstance(event.event, AccountEvent) for event in found)
