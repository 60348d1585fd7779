"""Sending: what is declared can be sent, our own id travels along, and a send that is cancelled ends."""

from __future__ import annotations

from typing import Final

import pytest
import trio
import trio.testing

from wad.conformance.harness import Harness
from wad.conformance.peer import Exchange, Script
from wad.conformance.rows import labels, rows
from wad.conformance.world import GROUP, HOLA, PHONE, USER, kind_of, world
from wad.content import CONTENT_TYPES
from wad.content.interactive import INTERACTIVE_TYPES
from wad.errors import NotSupported
from wad.models import Address, Content
from wad.providers.base import check_send

#: Whom a message can be for -> the flag that says so.
RECIPIENTS: Final[dict[str, tuple[Address, str, str]]] = {
    "a group": (GROUP, "groups", "groups"),
    "a user id": (USER, "user_ids", "userIds"),
}


async def _stalls(_: Exchange) -> None:
    await trio.sleep_forever()


async def _stalls_in_its_answer(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
    await trio.sleep_forever()


STALLS: Final[dict[str, Script]] = {
    "before the answer": _stalls,
    "in the middle of the answer": _stalls_in_its_answer,
}


class Sends:
    @rows("content", lambda harness: harness.contents)
    async def test_what_is_declared_is_checked_without_a_complaint_and_taken(
        self, harness: Harness, content: Content
    ) -> None:
        """Every row of the harness's contents."""
        async with world(harness) as w:
            assert check_send(w.kind, PHONE, content) == []
            w.peer.scripts = [harness.takes("id-1")]
            assert (await w.connection.send(w.message(content))).provider_message_id == "id-1"
            assert w.heard.calls == [("send", "ok")]

    @labels("kind", {each: each for each in sorted(CONTENT_TYPES)})
    async def test_a_type_is_declared_or_refused_by_name(self, harness: Harness, kind: str) -> None:
        """Declared, it has a row among the harness's contents; else it is refused before anything is stored."""
        async with kind_of(harness) as provider:
            if kind in provider.capabilities.content_types:
                assert kind in {content["type"] for content in harness.contents.values()}
                return
            with pytest.raises(NotSupported) as caught:
                check_send(provider, PHONE, {"type": kind, kind: {}})
            assert (caught.value.provider, caught.value.capability) == (harness.name, kind)

    @labels("kind", {each: each for each in sorted(INTERACTIVE_TYPES)})
    async def test_an_interactive_type_is_declared_or_refused_by_name(
        self, harness: Harness, kind: str
    ) -> None:
        """As with every type; the name is `interactive.list`, and `interactive` where there is none at all."""
        async with kind_of(harness) as provider:
            can = provider.capabilities
            contents = harness.contents.values()
            if kind in can.interactive_types:
                assert kind in {c["interactive"]["type"] for c in contents if c["type"] == "interactive"}
                return
            with pytest.raises(NotSupported) as caught:
                check_send(provider, PHONE, {"type": "interactive", "interactive": {"type": kind}})
            some = "interactive" in can.content_types
            assert caught.value.capability == (f"interactive.{kind}" if some else "interactive")

    @labels("whom", RECIPIENTS)
    async def test_whom_it_can_reach(self, harness: Harness, whom: tuple[Address, str, str]) -> None:
        """As declared: either it is sent, or it is refused by name."""
        to, flag, name = whom
        async with world(harness) as w:
            if getattr(w.kind.capabilities, flag):
                assert check_send(w.kind, to, HOLA) == []
                w.peer.scripts = [harness.takes("id-1")]
                await w.connection.send(w.message(to=to))
            else:
                with pytest.raises(NotSupported) as caught:
                    check_send(w.kind, to, HOLA)
                assert caught.value.capability == name

    async def test_a_send_is_one_request(self, harness: Harness) -> None:
        """It hands the message over once; what comes after a failure is not its affair."""
        async with world(harness) as w:
            w.peer.scripts = [harness.takes("id-1")]
            await w.connection.send(w.message())
            assert len(w.peer.received) == 1

    @labels("stall", STALLS)
    async def test_a_send_that_is_cancelled_ends(self, harness: Harness, stall: Script) -> None:
        """And leaves the connection fit for the next."""
        arrived = trio.Event()

        async def script(exchange: Exchange) -> None:
            arrived.set()
            await stall(exchange)

        async with world(harness) as w:
            w.peer.scripts = [script, harness.takes("id-2")]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.connection.send, w.message())
                await arrived.wait()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert (await w.connection.send(w.message())).provider_message_id == "id-2"
            assert w.heard.calls == [("send", "cancelled"), ("send", "ok")]

    async def test_opening_touches_no_network(self, harness: Harness) -> None:
        """Loading is not connecting."""
        async with world(harness) as w:
            assert w.peer.connections == 0
