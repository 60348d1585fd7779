"""What a message may hold: every kind in its canonical form, and every bad field named at once."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wad.content import CONTENT_TYPES, parse_reply, parse_send, parse_send_group
from wad.errors import InvalidRequest
from wad.models import Address, Priority

TO = {"sessionId": "tienda-1", "to": "+5215512345678"}
BODY = {"text": "Elige"}


def errors(parse, body) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    return {error.pointer: error.detail for error in caught.value.errors}


# (label, what is written, the canonical content)
CONTENT = [
    ("text", {"text": {"body": "Hola", "previewUrl": True}}, None),
    ("text, short", {"text": "Hola"}, {"type": "text", "text": {"body": "Hola"}}),
    ("text, named", {"type": "text", "text": "Hola"}, {"type": "text", "text": {"body": "Hola"}}),
    (
        "nulls are left out",
        {"text": {"body": "x", "previewUrl": None}, "image": None},
        {"type": "text", "text": {"body": "x"}},
    ),
    ("image by link", {"image": {"link": "https://x.example/a.png", "caption": "A"}}, None),
    (
        "image by id",
        {"image": {"mediaId": "1234", "link": None}},
        {"type": "image", "image": {"mediaId": "1234"}},
    ),
    ("audio", {"audio": {"mediaId": "1", "voice": True}}, None),
    ("video", {"video": {"link": "http://x.example/a.mp4"}}, None),
    ("document", {"document": {"mediaId": "1", "filename": "a.pdf", "caption": "A"}}, None),
    ("sticker", {"sticker": {"mediaId": "1"}}, None),
    (
        "a whole number, written as a float",
        {"poll": {"name": "¿?", "options": ["a", "b"], "selectableCount": 1.0}},
        None,
    ),
    ("location", {"location": {"latitude": 19.4, "longitude": -99, "name": "Casa"}}, None),
    (
        "contacts",
        {
            "contacts": [
                {
                    "name": {"formattedName": "Ana", "firstName": "Ana"},
                    "phones": [{"phone": "+521", "type": "CELL", "waId": "521"}],
                    "emails": [{"email": "a@x.example"}],
                    "urls": [{"url": "https://x.example"}],
                    "addresses": [{"city": "CDMX", "countryCode": "mx"}],
                    "org": {"company": "A"},
                    "birthday": "2000-01-31",
                }
            ]
        },
        None,
    ),
    ("reaction", {"reaction": {"messageId": "msg_1", "emoji": "👍"}}, None),
    ("reaction taken back", {"reaction": {"messageId": "msg_1", "emoji": ""}}, None),
    ("poll", {"poll": {"name": "¿?", "options": ["a", "b"], "selectableCount": 1}}, None),
    (
        "template, short language",
        {"template": {"name": "hola", "language": "es_MX"}},
        {"type": "template", "template": {"name": "hola", "language": {"code": "es_MX"}}},
    ),
    (
        "template with every parameter",
        {
            "template": {
                "name": "hola",
                "language": {"code": "es", "policy": "deterministic"},
                "components": [
                    {
                        "type": "header",
                        "parameters": [{"type": "image", "image": {"link": "https://x.example/a"}}],
                    },
                    {
                        "type": "body",
                        "parameters": [
                            {"type": "text", "text": "Ana", "parameterName": "name"},
                            {
                                "type": "currency",
                                "currency": {"fallbackValue": "$1", "code": "MXN", "amount1000": 1000},
                            },
                            {"type": "date_time", "dateTime": {"fallbackValue": "hoy"}},
                            {"type": "video", "video": {"mediaId": "1"}},
                            {"type": "document", "document": {"mediaId": "1", "filename": "a"}},
                            {"type": "location", "location": {"latitude": 1, "longitude": 2.5}},
                            {"type": "product", "product": {"catalogId": "1", "productRetailerId": "2"}},
                        ],
                    },
                    {
                        "type": "button",
                        "subType": "quick_reply",
                        "index": "0",
                        "parameters": [{"type": "payload", "payload": "x"}],
                    },
                    {
                        "type": "button",
                        "subType": "copy_code",
                        "index": "1",
                        "parameters": [{"type": "coupon_code", "couponCode": "X"}],
                    },
                    {
                        "type": "button",
                        "subType": "flow",
                        "index": "2",
                        "parameters": [
                            {
                                "type": "action",
                                "action": {"flowToken": "t", "flowActionData": {"any_key": None}},
                            }
                        ],
                    },
                    {
                        "type": "limited_time_offer",
                        "parameters": [
                            {"type": "limited_time_offer", "limitedTimeOffer": {"expirationTimeMs": 5}}
                        ],
                    },
                    {
                        "type": "carousel",
                        "cards": [{"cardIndex": 0, "components": [{"type": "body", "parameters": []}]}],
                    },
                ],
            }
        },
        None,
    ),
]
INTERACTIVE = [
    {"type": "button", "header": {"type": "image", "image": {"mediaId": "1"}}, "body": BODY, "footer": BODY, "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}}]}},
    {"type": "list", "header": {"type": "text", "text": "M"}, "body": BODY, "action": {"button": "Ver", "sections": [{"title": "S", "rows": [{"id": "1", "title": "T", "description": "D"}]}]}},
    {"type": "cta_url", "body": BODY, "action": {"name": "cta_url", "parameters": {"displayText": "Ir", "url": "https://x.example"}}},
    {"type": "flow", "body": BODY, "action": {"name": "flow", "parameters": {"flowMessageVersion": "3", "flowId": "1", "flowCta": "Ir", "mode": "draft", "flowAction": "navigate", "flowActionPayload": {"screen": "A", "data": {"k": [None]}}}}},
    {"type": "location_request_message", "body": BODY, "action": {"name": "send_location"}},
    {"type": "product", "body": BODY, "action": {"catalogId": "1", "productRetailerId": "2"}},
    {"type": "product_list", "header": {"type": "text", "text": "M"}, "body": BODY, "action": {"catalogId": "1", "sections": [{"title": "S", "productItems": [{"productRetailerId": "2"}]}]}},
    {"type": "catalog_message", "body": BODY, "action": {"name": "catalog_message", "parameters": {"thumbnailProductRetailerId": "2"}}},
    {"type": "address_message", "body": BODY, "action": {"name": "address_message", "parameters": {"country": "IN", "values": {"in_pin_code": "1"}, "savedAddresses": [{"id": "1"}]}}},
    {"type": "carousel", "body": BODY, "action": {"cards": [{"cardIndex": 0, "type": "cta_url", "body": BODY, "action": {"name": "cta_url", "parameters": {"displayText": "Ir", "url": "https://x.example"}}}, {"cardIndex": 1, "type": "product", "action": {"catalogId": "1", "productRetailerId": "2"}}]}},
    {"type": "call_permission_request", "action": {"name": "call_permission_request"}},
    {"type": "voice_call", "body": BODY, "action": {"name": "voice_call", "parameters": {"displayText": "Llama", "ttlMinutes": 5}}},
]  # fmt: skip
CONTENT += [(f"interactive {each['type']}", {"interactive": each}, None) for each in INTERACTIVE]


@pytest.mark.parametrize(("written", "kept"), [row[1:] for row in CONTENT], ids=[row[0] for row in CONTENT])
def test_every_kind_of_content_is_kept_in_its_canonical_form(written, kept):
    """What is stored is camelCase, names its type, and holds nothing that was left out."""
    [name] = [key for key, value in written.items() if key != "type" and value is not None]
    expected = kept or {"type": name, name: written[name]}
    assert parse_reply(written).content == expected
    assert parse_send(TO | written).content == expected


def test_every_content_type_has_a_row_above():
    """A kind of content without an example here is not checked at all."""
    assert {parse_reply(written).content["type"] for _, written, _ in CONTENT} == set(CONTENT_TYPES)


def test_the_canonical_form_is_a_fixed_point():
    """Content that was stored may be given back, and comes out as it went in."""
    for _, written, _ in CONTENT:
        content = parse_reply(written).content
        assert parse_reply(content).content == content


def test_fields_with_one_possible_value_may_be_left_out():
    """Nobody has to repeat what the type already says."""
    content = parse_reply(
        {
            "interactive": {
                "type": "button",
                "body": BODY,
                "action": {"buttons": [{"reply": {"id": "a", "title": "A"}}]},
            }
        }
    ).content
    assert content["interactive"]["action"]["buttons"][0]["type"] == "reply"


def test_the_envelope_is_read_apart_from_the_content():
    """How to send is not part of what is sent."""
    sent = parse_send(
        TO
        | {
            "text": "x",
            "replyTo": "msg_1",
            "reference": "order-1",
            "priority": "bulk",
            "sendAt": "2026-12-01T15:00:00Z",
            "expiresAt": "2026-12-01T17:00:00+01:00",
            "queue": True,
        }
    )
    assert sent.content == {"type": "text", "text": {"body": "x"}}
    assert (sent.session_id, sent.shop_id, sent.reply_to, sent.reference) == (
        "tienda-1",
        None,
        "msg_1",
        "order-1",
    )
    assert (sent.priority, sent.queue) == (Priority.BULK, True)
    assert sent.send_at == datetime(2026, 12, 1, 15, tzinfo=UTC)
    assert sent.expires_at == datetime(2026, 12, 1, 16, tzinfo=UTC)


def test_replies_go_before_other_messages_unless_they_say_otherwise():
    """The default priority: reply for what answers a customer, normal for the rest."""
    assert parse_reply({"text": "x"}).priority is Priority.REPLY
    assert parse_reply({"text": "x", "priority": "bulk"}).priority is Priority.BULK
    assert parse_send(TO | {"text": "x"}).priority is Priority.NORMAL


RECIPIENTS = [
    ("a number", "+5215512345678", Address(phone="+5215512345678")),
    ("a phone", {"phone": "+5215512345678"}, Address(phone="+5215512345678")),
    ("a user id", {"userId": "US.1"}, Address(user_id="US.1")),
    ("both", {"phone": "+5215512345678", "userId": "US.1"}, Address(phone="+5215512345678", user_id="US.1")),
    ("a JID", "5215512345678@s.whatsapp.net", Address(jid="5215512345678@s.whatsapp.net")),
]


@pytest.mark.parametrize(
    ("to", "address"), [row[1:] for row in RECIPIENTS], ids=[row[0] for row in RECIPIENTS]
)
def test_a_person_is_addressed_by_phone_user_id_or_jid(to, address):
    """The forms that `to` may have."""
    assert parse_send({"sessionId": "a", "to": to, "text": "x"}).to == address


@pytest.mark.parametrize(
    "to",
    [
        "5215512345678",
        "+52 1 55",
        "+0123456789",
        "+1234567890123456",
        "",
        5,
        {},
        None,
        "a@b",
        "+5215512345678\n",
    ],
)
def test_a_recipient_that_is_none_is_refused(to):
    """A number without its plus, or with spaces, would reach somebody else."""
    assert "/to" in errors(parse_send, {"sessionId": "a", "to": to, "text": "x"})


def test_a_group_is_addressed_by_its_id():
    """`groupId` stands in place of `to`."""
    assert parse_send_group({"sessionId": "a", "groupId": "Y2F", "text": "x"}).to == Address(group_id="Y2F")
    assert set(errors(parse_send_group, TO | {"text": "x"})) == {"/to", "/groupId"}


# (label, parser, body, the pointers of every bad field)
BAD = [
    ("nothing", parse_send, {}, {"", "/sessionId", "/to"}),
    ("not an object", parse_send, [], {""}),
    ("a type without its content", parse_reply, {"type": "image"}, {"/image"}),
    ("a type that is none", parse_reply, {"type": "gif", "text": "x"}, {"/type"}),
    ("a type that names another", parse_reply, {"type": "image", "text": "x"}, {"/type"}),
    ("two contents", parse_reply, {"text": "x", "image": {"mediaId": "1"}}, {"/image"}),
    ("two contents, one named", parse_reply, {"type": "image", "text": "x", "image": {"mediaId": "1"}}, {"/text"}),
    ("session and shop", parse_send, TO | {"shopId": "s", "text": "x"}, {"/sessionId"}),
    ("a reply that is addressed", parse_reply, TO | {"text": "x"}, {"/sessionId", "/to"}),
    ("link and id", parse_reply, {"image": {"link": "https://x.example", "mediaId": "1"}}, {"/image"}),
    ("a file URL", parse_reply, {"image": {"link": "file:///etc/passwd"}}, {"/image/link"}),
    ("number for text", parse_reply, {"text": {"body": 5}}, {"/text/body"}),
    ("number for text, short", parse_reply, {"text": 5}, {"/text"}),
    ("text for bool", parse_reply, {"text": {"body": "x", "previewUrl": "yes"}}, {"/text/previewUrl"}),
    ("far away", parse_reply, {"location": {"latitude": 91, "longitude": -181}}, {"/location/latitude", "/location/longitude"}),
    ("bool for number", parse_reply, {"location": {"latitude": True, "longitude": 1}}, {"/location/latitude"}),
    ("a time without its zone", parse_reply, {"text": "x", "sendAt": "2026-12-01T15:00:00"}, {"/sendAt"}),
    ("a day that is none", parse_reply, {"text": "x", "sendAt": "2026-02-30T15:00:00Z"}, {"/sendAt"}),
    ("before all time", parse_reply, {"text": "x", "sendAt": "0001-01-01T00:00:00+23:59"}, {"/sendAt"}),
    ("an instruction for wad in a reply", parse_reply, {"text": "x", "queue": True}, {"/queue"}),
    ("an interactive that is none", parse_reply, {"interactive": {"type": "zz"}}, {"/interactive"}),
    ("an interactive without type", parse_reply, {"interactive": {}}, {"/interactive"}),
    (
        "deep inside",
        parse_reply,
        {"interactive": {"type": "button", "body": BODY, "action": {"buttons": [{"reply": {"id": 1, "titl": "x"}}]}}},
        {
            "/interactive/action/buttons/0/reply/id",
            "/interactive/action/buttons/0/reply/title",
            "/interactive/action/buttons/0/reply/titl",
        },
    ),
    (
        "a parameter whose type is also its field",
        parse_reply,
        {"template": {"name": "x", "language": "es", "components": [{"type": "body", "parameters": [{"type": "text", "text": 5}, {"type": "image", "image": {}}, {"type": "currency"}]}]}},
        {
            "/template/components/0/parameters/0/text",
            "/template/components/0/parameters/1/image",
            "/template/components/0/parameters/2/currency",
        },
    ),
    ("a key with a slash", parse_reply, {"text": "x", "a/b~c": 1}, {"/a~1b~0c"}),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "body", "pointers"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_every_bad_field_is_named_at_once(parse, body, pointers):
    """The pointers lead to the fields as the caller wrote them."""
    assert set(errors(parse, body)) == pointers


def test_an_unknown_field_is_answered_with_the_known_ones():
    """Whoever mistypes a name sees the right one."""
    assert errors(parse_reply, {"text": {"body": "x", "preview_url": True}}) == {
        "/text/preview_url": "is not a known field; allowed: body, mentions, previewUrl"
    }
    found = errors(parse_reply, {"interactive": {"type": "cta_url", "body": BODY, "action": {"parameters": {"displayText": "x", "url": "https://x.example", "uri": "x"}}}})  # fmt: skip
    assert found == {"/interactive/action/parameters/uri": "is not a known field; allowed: displayText, url"}


def test_somebody_elses_data_may_not_be_bottomless():
    """Free objects are passed on, and no reader on the way should have to recurse a thousand times."""
    deep: dict = {}
    for _ in range(40):
        deep = {"a": [deep]}
    template = {"name": "x", "language": "es", "components": [{"type": "button", "subType": "flow", "index": 0, "parameters": [{"type": "action", "action": {"flowActionData": deep}}]}]}  # fmt: skip
    [detail] = errors(parse_reply, {"template": template}).values()
    assert "deep" in detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text() | st.sampled_from([*CONTENT_TYPES, "type", "to", "body"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_body_makes_the_parser_raise_anything_else(body):
    """Hostile input is refused with reasons, or taken; and what is taken can be stored."""
    try:
        content = parse_send(body).content
    except InvalidRequest as error:
        refused = error.errors
    else:
        refused = None
        assert msgspec.json.decode(msgspec.json.encode(content)) == content
    assert refused is None or refused
