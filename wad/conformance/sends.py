"""Sending: what is declared can be sent, what is not is refused by name, and a send that is cancelled ends."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest
import trio
import trio.testing

from wad.conformance.harness import Beyond, Harness
from wad.conformance.rows import labels, rows
from wad.conformance.world import HOLA, USER, Heard, Script, camel, until
from wad.content import CONTENT_TYPES
from wad.content.interactive import INTERACTIVE_TYPES
from wad.errors import NotSupported
from wad.models import Content, SessionId
from wad.providers.base import check_send

#: Whom a message can be for -> the capability that says so.
RECIPIENTS: Final = {"a group": "groups", "a user id": "user_ids"}


class Sends:
    @rows("content", lambda harness: harness.contents)
    async def test_what_is_declared_is_checked_without_a_complaint_and_taken(
        self, harness: Harness, content: Content
    ) -> None:
        """Every row of the harness's contents."""
        async with harness.world() as w:
            ready = await w.ready(content)
            assert check_send(w.kind, w.person, ready) == []
            await w.deliver(w.message(ready))
            assert w.heard.calls[-1] == ("send", "ok")

    @labels("kind", {each: each for each in sorted(CONTENT_TYPES)})
    async def test_a_type_is_declared_or_refused_by_name(self, harness: Harness, kind: str) -> None:
        """Declared, it has a row among the harness's contents; else it is refused before anything is stored."""
        async with harness.world() as w:
            if kind in w.kind.capabilities.content_types:
                assert kind in {content["type"] for content in harness.contents.values()}
                return
            with pytest.raises(NotSupported) as caught:
                check_send(w.kind, w.person, {"type": kind, kind: {}})
            assert (caught.value.provider, caught.value.capability) == (harness.name, kind)

    @labels("kind", {each: each for each in sorted(INTERACTIVE_TYPES)})
    async def test_an_interactive_type_is_declared_or_refused_by_name(
        self, harness: Harness, kind: str
    ) -> None:
        """As with every type; the name is `interactive.list`, and `interactive` where there is none at all."""
        async with harness.world() as w:
            can = w.kind.capabilities
            contents = harness.contents.values()
            if kind in can.interactive_types:
                assert kind in {c["interactive"]["type"] for c in contents if c["type"] == "interactive"}
                return
            with pytest.raises(NotSupported) as caught:
                check_send(w.kind, w.person, {"type": "interactive", "interactive": {"type": kind}})
            some = "interactive" in can.content_types
            assert caught.value.capability == (f"interactive.{kind}" if some else "interactive")

    @labels("capability", RECIPIENTS)
    async def test_whom_it_can_reach(self, harness: Harness, capability: str) -> None:
        """As declared: either it is sent, or it is refused by name."""
        async with harness.world() as w:
            to = w.group if capability == "groups" else USER
            if getattr(w.kind.capabilities, capability):
                assert check_send(w.kind, to, HOLA) == []
                await w.deliver(w.message(to=to))
            else:
                with pytest.raises(NotSupported) as caught:
                    check_send(w.kind, to, HOLA)
                assert caught.value.capability == camel(capability)

    @rows("beyond", lambda harness: harness.beyond())
    async def test_what_is_beyond_a_limit_is_refused_by_its_field(
        self, harness: Harness, beyond: Beyond
    ) -> None:
        """Before anything is stored, and so before anything is sent."""
        async with harness.world() as w:
            errors = check_send(w.kind, beyond.to or w.person, beyond.content)
            assert [error.pointer for error in errors] == [beyond.pointer]

    async def test_a_send_is_handed_over_once(self, harness: Harness) -> None:
        """What comes after a failure is not its affair."""
        async with harness.world() as w:
            await w.deliver(w.message())
            assert len(await w.taken()) == 1

    @rows("stall", lambda harness: harness.stalls())
    async def test_a_send_that_is_cancelled_ends(self, harness: Harness, stall: Script) -> None:
        """And leaves the connection fit for the next."""
        async with harness.world() as w:
            await w.plan(stall)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.connection.send, w.message())
                await until(w.taken)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await w.deliver(w.message())
            assert w.heard.calls == [("send", "cancelled"), ("send", "ok")]

    async def test_opening_touches_no_network(self, harness: Harness) -> None:
        """Loading is not connecting."""
        async with harness.world() as w:
            before = await w.contacts()
            another = msgspec.structs.replace(harness.session(), session_id=SessionId("another"))
            async with w.kind.open(another, Heard()):
                assert await w.contacts() == before
