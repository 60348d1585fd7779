"""What Meta would refuse, found before it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.meta import GROUP, PHONE, USER
from wad.errors import NotSupported
from wad.models import Address, Content
from wad.providers.meta.limits import CONTENT_TYPES, GROUP_TYPES, INTERACTIVE_TYPES, check_send


def interactive(kind: str, action: dict[str, Any], **parts: Any) -> Content:
    return {
        "type": "interactive",
        "interactive": {"type": kind, "body": {"text": "b"}, **parts, "action": action},
    }


def button(ident: str = "i", title: str = "t") -> dict[str, Any]:
    return {"type": "reply", "reply": {"id": ident, "title": title}}


def rows(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": str(start + index), "title": "t"} for index in range(count)]


TEXTS = {
    "text": ("text", 4096, lambda s: {"type": "text", "text": {"body": s}}, "/text/body"),
    "image caption": (
        "image",
        1024,
        lambda s: {"type": "image", "image": {"mediaId": "1", "caption": s}},
        "/image/caption",
    ),
    "video caption": (
        "video",
        1024,
        lambda s: {"type": "video", "video": {"mediaId": "1", "caption": s}},
        "/video/caption",
    ),
    "document caption": (
        "document",
        1024,
        lambda s: {"type": "document", "document": {"mediaId": "1", "caption": s}},
        "/document/caption",
    ),
    "button title": (
        "interactive",
        20,
        lambda s: interactive("button", {"buttons": [button(title=s)]}),
        "/interactive/action/buttons/0/reply/title",
    ),
    "button id": (
        "interactive",
        256,
        lambda s: interactive("button", {"buttons": [button(), button(ident=s)]}),
        "/interactive/action/buttons/1/reply/id",
    ),
    "button body": (
        "interactive",
        1024,
        lambda s: interactive("button", {"buttons": [button()]}, body={"text": s}),
        "/interactive/body/text",
    ),
    "footer": (
        "interactive",
        60,
        lambda s: interactive("button", {"buttons": [button()]}, footer={"text": s}),
        "/interactive/footer/text",
    ),
    "header": (
        "interactive",
        60,
        lambda s: interactive(
            "list", {"button": "b", "sections": [{"rows": rows(1)}]}, header={"type": "text", "text": s}
        ),
        "/interactive/header/text",
    ),
    "list body": (
        "interactive",
        4096,
        lambda s: interactive("list", {"button": "b", "sections": [{"rows": rows(1)}]}, body={"text": s}),
        "/interactive/body/text",
    ),
    "list button": (
        "interactive",
        20,
        lambda s: interactive("list", {"button": s, "sections": [{"rows": rows(1)}]}),
        "/interactive/action/button",
    ),
    "section title": (
        "interactive",
        24,
        lambda s: interactive("list", {"button": "b", "sections": [{"title": s, "rows": rows(1)}]}),
        "/interactive/action/sections/0/title",
    ),
    "row id": (
        "interactive",
        200,
        lambda s: interactive("list", {"button": "b", "sections": [{"rows": [{"id": s, "title": "t"}]}]}),
        "/interactive/action/sections/0/rows/0/id",
    ),
    "row title": (
        "interactive",
        24,
        lambda s: interactive("list", {"button": "b", "sections": [{"rows": [{"id": "i", "title": s}]}]}),
        "/interactive/action/sections/0/rows/0/title",
    ),
    "row description": (
        "interactive",
        72,
        lambda s: interactive(
            "list", {"button": "b", "sections": [{"rows": [{"id": "i", "title": "t", "description": s}]}]}
        ),
        "/interactive/action/sections/0/rows/0/description",
    ),
    "link button": (
        "interactive",
        20,
        lambda s: interactive("cta_url", {"parameters": {"displayText": s, "url": "https://a.example"}}),
        "/interactive/action/parameters/displayText",
    ),
    "flow button": (
        "interactive",
        30,
        lambda s: interactive("flow", {"parameters": {"flowCta": s}}),
        "/interactive/action/parameters/flowCta",
    ),
    "location request": (
        "interactive",
        1024,
        lambda s: interactive("location_request_message", {"name": "send_location"}, body={"text": s}),
        "/interactive/body/text",
    ),
    "card body": (
        "interactive",
        160,
        lambda s: interactive("carousel", {"cards": [{"body": {"text": "a"}}, {"body": {"text": s}}]}),
        "/interactive/action/cards/1/body/text",
    ),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_may_be_as_long_as_meta_says_and_no_longer(label: str) -> None:
    """The limit itself passes; one character more is named with its place."""
    _, most, make, pointer = TEXTS[label]
    assert check_send("cloud_api", PHONE, make("é" * most)) == []
    (error,) = check_send("cloud_api", PHONE, make("é" * (most + 1)))
    assert (error.pointer, error.detail) == (pointer, f"may have {most} characters, not {most + 1}")


COUNTS: dict[str, tuple[Content, str]] = {
    "four buttons": (
        interactive("button", {"buttons": [button(ident=str(index)) for index in range(4)]}),
        "/interactive/action/buttons",
    ),
    "no button": (interactive("button", {"buttons": []}), "/interactive/action/buttons"),
    "two buttons with one id": (
        interactive("button", {"buttons": [button(), button()]}),
        "/interactive/action/buttons/1/reply/id",
    ),
    "eleven rows in two sections": (
        interactive(
            "list",
            {
                "button": "b",
                "sections": [{"title": "a", "rows": rows(5)}, {"title": "b", "rows": rows(6, start=5)}],
            },
        ),
        "/interactive/action/sections",
    ),
    "two sections, one without a title": (
        interactive(
            "list", {"button": "b", "sections": [{"title": "a", "rows": rows(1)}, {"rows": rows(1, start=1)}]}
        ),
        "/interactive/action/sections/1/title",
    ),
    "one row id in two sections": (
        interactive(
            "list",
            {"button": "b", "sections": [{"title": "a", "rows": rows(1)}, {"title": "b", "rows": rows(1)}]},
        ),
        "/interactive/action/sections/1/rows/0/id",
    ),
    "one card": (interactive("carousel", {"cards": [{}]}), "/interactive/action/cards"),
    "258 contacts": ({"type": "contacts", "contacts": [{}] * 258}, "/contacts"),
}


@pytest.mark.parametrize("label", COUNTS)
def test_how_many_there_may_be(label: str) -> None:
    """Counts, totals, titles and ids, each at its place."""
    content, pointer = COUNTS[label]
    assert [error.pointer for error in check_send("cloud_api", PHONE, content)] == [pointer]


def test_every_mistake_is_told_at_once() -> None:
    """Not the first one and then, after another request, the next."""
    content = interactive(
        "button",
        {"buttons": [button(title="t" * 21), button(ident="j" * 257), button(ident="k"), button(ident="l")]},
        body={"text": "b" * 1025},
        footer={"text": "f" * 61},
        header={"type": "text", "text": "h" * 61},
    )
    assert {error.pointer for error in check_send("cloud_api", Address(user_id="nobody"), content)} == {
        "/to/userId",
        "/interactive/header/text",
        "/interactive/footer/text",
        "/interactive/body/text",
        "/interactive/action/buttons",
        "/interactive/action/buttons/0/reply/title",
        "/interactive/action/buttons/1/reply/id",
    }


@pytest.mark.parametrize(
    ("to", "pointers"),
    [
        pytest.param(PHONE, [], id="a phone"),
        pytest.param(USER, [], id="a user id"),
        pytest.param(Address(user_id="MX.ENT.11815799212886844830"), [], id="a parent user id"),
        pytest.param(GROUP, [], id="a group"),
        pytest.param(Address(jid="1@s.whatsapp.net"), ["/to"], id="an address of WhatsApp Web"),
        pytest.param(Address(user_id="mx.1"), ["/to/userId"], id="a user id in lower case"),
        pytest.param(Address(user_id="MX.1\n"), ["/to/userId"], id="a user id with a line break"),
        pytest.param(Address(user_id="MX." + "1" * 129), ["/to/userId"], id="a user id that is too long"),
    ],
)
def test_whom_it_can_reach(to: Address, pointers: list[str]) -> None:
    """Phones, business-scoped user ids and groups."""
    errors = check_send("cloud_api", to, {"type": "text", "text": {"body": "x"}})
    assert [error.pointer for error in errors] == pointers


def test_what_meta_has_no_message_for() -> None:
    """Named by the capability that lacks, for a caller to act on."""
    for content, capability in (
        ({"type": "poll", "poll": {}}, "poll"),
        (interactive("order_details", {}), "interactive.order_details"),
        ({"type": "interactive", "interactive": None}, "interactive.None"),
    ):
        with pytest.raises(NotSupported) as caught:
            check_send("cloud_api", PHONE, content)
        assert caught.value.capability == capability


@pytest.mark.parametrize("kind", sorted(CONTENT_TYPES | {"poll"}))
def test_what_groups_take(kind: str) -> None:
    """Texts, files and templates; nothing interactive, and nothing else that Meta does not name."""
    content: Content = {"type": kind, kind: {}}
    if kind in GROUP_TYPES:
        assert check_send("cloud_api", GROUP, content) == []
    else:
        with pytest.raises(NotSupported) as caught:
            check_send("cloud_api", GROUP, content)
        assert caught.value.capability == ("poll" if kind == "poll" else f"groups.{kind}")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
parts = st.sampled_from(
    [
        "header",
        "body",
        "footer",
        "action",
        "buttons",
        "reply",
        "title",
        "id",
        "sections",
        "rows",
        "cards",
        "parameters",
    ]
)
shapes = st.recursive(
    json, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(parts, inner, max_size=5), max_leaves=20
)


@given(kind=st.sampled_from(sorted(INTERACTIVE_TYPES)), shape=st.dictionaries(parts, shapes, max_size=5))
def test_a_wrong_shape_never_breaks_the_check(kind: str, shape: dict[str, Any]) -> None:
    """Shapes are checked elsewhere: a limit on what is not there says nothing."""
    for error in check_send(
        "cloud_api", PHONE, {"type": "interactive", "interactive": {**shape, "type": kind}}
    ):
        assert error.pointer.startswith("/interactive/")
