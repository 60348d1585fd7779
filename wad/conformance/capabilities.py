"""A declared capability is a tested one: each field of `Capabilities` has its row, and each row shows it at work.

What is not declared is refused, and the refusal says the capability's name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import pytest

from wad.conformance.harness import Harness
from wad.conformance.rows import labels
from wad.conformance.world import HOLA, NOW, USER, World, camel, fields_of
from wad.errors import NotSupported, ProviderError, Verdict
from wad.models import InboundMessage
from wad.providers.base import Capabilities, check_send

Work = Callable[[Harness, World], Awaitable[object]]


class Row(NamedTuple):
    """`shows` that it works. `asks` for it where it is not declared; None for what every provider has."""

    shows: Work
    asks: Work | None = None


async def _content_types(h: Harness, w: World) -> None:
    assert {content["type"] for content in h.contents.values()} == w.kind.capabilities.content_types


async def _interactive_types(h: Harness, w: World) -> None:
    contents = [each for each in h.contents.values() if each["type"] == "interactive"]
    assert {each["interactive"]["type"] for each in contents} == w.kind.capabilities.interactive_types


async def _ask_interactive(h: Harness, w: World) -> None:
    with pytest.raises(NotSupported) as caught:
        check_send(w.kind, w.person, {"type": "interactive", "interactive": {"type": "button"}})
    assert caught.value.capability == "interactive"
    raise NotSupported(h.name, "interactiveTypes")  # where the name of a type says what is missing


async def _groups(h: Harness, w: World) -> None:
    await w.plan(h.lists_groups())
    assert [group.group_id for group in await w.connection.groups()] == [w.group.group_id]
    assert check_send(w.kind, w.group, HOLA) == []


async def _reply_context(h: Harness, w: World) -> None:
    said = await _said(h, w)
    assert check_send(w.kind, w.person, HOLA, quotes=True) == []
    await w.deliver(w.message(quotes=said))
    assert h.quoted((await w.taken())[-1]) == said


async def _said(h: Harness, w: World) -> str:
    """A customer's message has come in; the provider's id of it."""
    event = await w.hear(h.inbound(w.new_id()))
    assert isinstance(event, InboundMessage)
    return event.provider_message_id


async def _ask_reply_context(_: Harness, w: World) -> None:
    check_send(w.kind, w.person, HOLA, quotes=True)


async def _read_receipts(h: Harness, w: World) -> None:
    said = await _said(h, w)
    await w.plan(h.marks_read())
    await w.connection.mark_read(said, typing=False)
    await w.noticed(said, "read")


async def _typing(h: Harness, w: World) -> None:
    said = await _said(h, w)
    await w.plan(h.marks_read())
    await w.connection.mark_read(said, typing=True)
    await w.noticed(said, "typing")


async def _ask_typing(h: Harness, _: World) -> None:
    # the supervisor's to refuse: it is an argument of `mark_read`
    raise NotSupported(h.name, "typing")


async def _media_upload(h: Harness, w: World) -> None:
    await w.plan(h.stores("m1"))
    media_id = await w.connection.upload(b"x", mime_type="image/png", filename="a.png")
    await w.deliver(w.message({"type": "image", "image": {"mediaId": media_id}}))


async def _user_ids(_: Harness, w: World) -> None:
    assert check_send(w.kind, USER, HOLA) == []
    await w.deliver(w.message(to=USER))


async def _pairing(h: Harness, _: World) -> None:
    async with h.unpaired() as unpaired:
        assert await unpaired.connection.connect() is None
        assert unpaired.heard.pairings
        assert await unpaired.connection.pairing_code("+5215512345678")


async def _reply_window(h: Harness, w: World) -> None:
    """What wad lets through all the same, for it does not know everything, is refused for good."""
    await w.plan(h.closes_window())
    with pytest.raises(ProviderError) as caught:
        await w.connection.send(w.message())
    assert (caught.value.verdict, caught.value.code) == (Verdict.REJECTED, "reply_window_closed")


async def _settlement(h: Harness, w: World) -> None:
    """Nothing else could tell, after a crash, that it arrived."""
    settlement, sent = w.kind.capabilities.settlement, w.message()
    if settlement == "resend":
        await _resent(h, w)
        return
    accepted = await w.deliver(sent)
    assert h.correlates((await w.taken())[-1]) == sent.message_id
    if settlement == "list":
        await w.plan(h.lists_sent(accepted.provider_message_id))
        found = await w.connection.find(sent, NOW)
        assert [each.provider_message_id for each in found] == [accepted.provider_message_id]


async def _resent(h: Harness, w: World) -> None:
    """After whatever left it in doubt, the same message once more is the same one."""
    for doubt in h.doubts().values():
        sent = w.message()
        await w.plan(doubt.script)
        with pytest.raises(ProviderError) as caught:
            await w.connection.send(sent)
        assert caught.value.verdict is Verdict.UNKNOWN
        await w.connection.disconnect()
        assert await w.connection.connect() is not None
        assert await w.shown(await w.deliver(sent)) == 1


async def _inbound_history(h: Harness, w: World) -> None:
    await w.plan(h.lists_received("id-1"))
    found = [event async for events in w.connection.missed(NOW) for event in events]
    assert [event.dedupe_key for event in found if isinstance(event, InboundMessage)] == ["m:id-1"]


async def _ask_inbound_history(_: Harness, w: World) -> None:
    async for _events in w.connection.missed(NOW):
        pass


async def _numbers(h: Harness, w: World) -> None:
    await w.plan(h.lists_numbers())
    assert [number.id for number in await w.connection.numbers.all()] == ["n1"]


async def _templates(h: Harness, w: World) -> None:
    await w.plan(h.lists_templates())
    page = await w.connection.templates.find({}, limit=50, after=None)
    assert [template.id for template in page.items] == ["t1"]


async def _profile(h: Harness, w: World) -> None:
    await w.plan(h.shows_profile())
    assert (await w.connection.profile.get()).about == "Hola"


async def _ask_profile(_: Harness, w: World) -> None:
    await w.connection.profile.get()


async def _ask_numbers(_: Harness, w: World) -> None:
    await w.connection.numbers.all()


async def _ask_templates(_: Harness, w: World) -> None:
    await w.connection.templates.find({}, limit=50, after=None)


async def _ask_user_ids(_: Harness, w: World) -> None:
    check_send(w.kind, USER, HOLA)


#: Field of `Capabilities` -> its row.
ROWS: Final[dict[str, Row]] = {
    "content_types": Row(_content_types),
    "interactive_types": Row(_interactive_types, _ask_interactive),
    "groups": Row(_groups, lambda _, w: w.connection.groups()),
    "reply_context": Row(_reply_context, _ask_reply_context),
    "read_receipts": Row(_read_receipts, lambda _, w: w.connection.mark_read("id-0", typing=False)),
    "typing": Row(_typing, _ask_typing),
    "media_upload": Row(
        _media_upload, lambda _, w: w.connection.upload(b"x", mime_type="image/png", filename=None)
    ),
    "user_ids": Row(_user_ids, _ask_user_ids),
    "pairing": Row(_pairing, lambda _, w: w.connection.pairing_code("+5215512345678")),
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
        async with harness.world() as w:
            if getattr(w.kind.capabilities, field):
                await row.shows(harness, w)
            elif row.asks is not None:
                with pytest.raises((NotSupported, AssertionError), match=camel(field)):
                    await row.asks(harness, w)
                assert not await w.taken()
