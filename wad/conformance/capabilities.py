"""A declared capability is a tested one: each field of `Capabilities` has its row, and each row shows it at work.

What is not declared is refused, and the refusal says the capability's name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import pytest

from wad.conformance.harness import Harness
from wad.conformance.rows import labels
from wad.conformance.world import GROUP, HOLA, NOW, PHONE, USER, World, camel, fields_of, world
from wad.errors import NotSupported, ProviderError, Verdict
from wad.models import InboundMessage
from wad.providers.base import Capabilities, check_send

Work = Callable[[World], Awaitable[object]]


class Row(NamedTuple):
    """`shows` that it works. `asks` for it where it is not declared; None for what every provider has."""

    shows: Work
    asks: Work | None = None


async def _content_types(w: World) -> None:
    assert {content["type"] for content in w.harness.contents.values()} == w.kind.capabilities.content_types


async def _interactive_types(w: World) -> None:
    contents = [each for each in w.harness.contents.values() if each["type"] == "interactive"]
    assert {each["interactive"]["type"] for each in contents} == w.kind.capabilities.interactive_types


async def _ask_interactive(w: World) -> None:
    with pytest.raises(NotSupported) as caught:
        check_send(w.kind, PHONE, {"type": "interactive", "interactive": {"type": "button"}})
    assert caught.value.capability == "interactive"
    raise NotSupported(w.harness.name, "interactiveTypes")  # where the name of a type says what is missing


async def _groups(w: World) -> None:
    w.peer.scripts = [w.harness.lists_groups()]
    assert [group.group_id for group in await w.connection.groups()] == ["g1"]
    assert check_send(w.kind, GROUP, HOLA) == []


async def _reply_context(w: World) -> None:
    w.peer.scripts = [w.harness.takes("id-1")]
    await w.connection.send(w.message(quotes="id-0"))
    assert w.harness.quoted(w.peer.last) == "id-0"


async def _ask_reply_context(w: World) -> None:
    check_send(w.kind, PHONE, HOLA, quotes=True)


async def _read_receipts(w: World) -> None:
    w.peer.scripts = [w.harness.marks_read()]
    await w.connection.mark_read("id-0", typing=False)


async def _typing(w: World) -> None:
    w.peer.scripts = [w.harness.marks_read()]
    await w.connection.mark_read("id-0", typing=True)


async def _ask_typing(w: World) -> None:
    raise NotSupported(
        w.harness.name, "typing"
    )  # the supervisor's to refuse: it is an argument of `mark_read`


async def _media_upload(w: World) -> None:
    w.peer.scripts = [w.harness.stores("m1")]
    assert await w.connection.upload(b"x", mime_type="image/png", filename="a.png") == "m1"


async def _user_ids(w: World) -> None:
    w.peer.scripts = [w.harness.takes("id-1")]
    assert check_send(w.kind, USER, HOLA) == []
    await w.connection.send(w.message(to=USER))


async def _pairing(_: World) -> None:
    raise AssertionError("a provider that a phone pairs keeps a socket; this suite is for those over HTTP")


async def _reply_window(w: World) -> None:
    """What wad lets through all the same, for it does not know everything, is refused for good."""
    w.peer.scripts = [w.harness.closes_window()]
    with pytest.raises(ProviderError) as caught:
        await w.connection.send(w.message())
    assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "reply_window_closed")


async def _settlement(w: World) -> None:
    """Nothing else could tell, after a crash, that it arrived."""
    w.peer.scripts = [w.harness.takes("id-1")]
    sent = w.message()
    await w.connection.send(sent)
    if w.kind.capabilities.settlement in ("callback", "list"):
        assert w.harness.correlates(w.peer.last) == sent.message_id
    if w.kind.capabilities.settlement == "list":
        w.peer.scripts = [w.harness.lists_sent("id-1")]
        assert [found.provider_message_id for found in await w.connection.find(sent, NOW)] == ["id-1"]


async def _inbound_history(w: World) -> None:
    w.peer.scripts = [w.harness.lists_received("id-1")]
    found = [event async for events in w.connection.missed(NOW) for event in events]
    assert [event.dedupe_key for event in found if isinstance(event, InboundMessage)] == ["m:id-1"]


async def _ask_inbound_history(w: World) -> None:
    async for _ in w.connection.missed(NOW):
        pass


async def _numbers(w: World) -> None:
    w.peer.scripts = [w.harness.lists_numbers()]
    assert [number.id for number in await w.connection.numbers.all()] == ["n1"]


async def _templates(w: World) -> None:
    w.peer.scripts = [w.harness.lists_templates()]
    page = await w.connection.templates.find({}, limit=50, after=None)
    assert [template.id for template in page.items] == ["t1"]


async def _profile(w: World) -> None:
    w.peer.scripts = [w.harness.shows_profile()]
    assert (await w.connection.profile.get()).about == "Hola"


async def _ask_profile(w: World) -> None:
    await w.connection.profile.get()


async def _ask_numbers(w: World) -> None:
    await w.connection.numbers.all()


async def _ask_templates(w: World) -> None:
    await w.connection.templates.find({}, limit=50, after=None)


async def _ask_user_ids(w: World) -> None:
    check_send(w.kind, USER, HOLA)


#: Field of `Capabilities` -> its row.
ROWS: Final[dict[str, Row]] = {
    "content_types": Row(_content_types),
    "interactive_types": Row(_interactive_types, _ask_interactive),
    "groups": Row(_groups, lambda w: w.connection.groups()),
    "reply_context": Row(_reply_context, _ask_reply_context),
    "read_receipts": Row(_read_receipts, lambda w: w.connection.mark_read("id-0", typing=False)),
    "typing": Row(_typing, _ask_typing),
    "media_upload": Row(
        _media_upload, lambda w: w.connection.upload(b"x", mime_type="image/png", filename=None)
    ),
    "user_ids": Row(_user_ids, _ask_user_ids),
    "pairing": Row(_pairing, lambda w: w.connection.pairing_code("+5215512345678")),
    "numbers": Row(_numbers, _ask_numbers),
    "templates": Row(_templates, _ask_templates),
    "profile": Row(_profile, _ask_profile),
    "reply_window": Row(_reply_window),
    "inbound_history": Row(_inbound_history, _ask_inbound_history),
    "settlement": Row(_settlement),
}


class DeclaredCapabilities:
    async def test_every_capability_has_a_row(self, harness: Harness) -> None:
        """Nobody declares what nobody tests."""
        assert set(fields_of(Capabilities)) == ROWS.keys()

    @labels("field", {field: field for field in ROWS})
    async def test_a_capability_is_there_as_declared_or_refused_by_its_name(
        self, harness: Harness, field: str
    ) -> None:
        """Declared, it works. If not, whoever asks for it all the same hears its name."""
        row = ROWS[field]
        async with world(harness) as w:
            if getattr(w.kind.capabilities, field):
                await row.shows(w)
            elif row.asks is not None:
                with pytest.raises((NotSupported, AssertionError), match=camel(field)):
                    await row.asks(w)
                assert not w.peer.received
