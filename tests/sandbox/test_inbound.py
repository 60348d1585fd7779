"""What a customer can do, and the message Meta makes of it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.sandbox.place import ANA, NUMBER, TOKEN, Place, place
from wad.sandbox import Settings
from wad.sandbox.samples import picture

QUIET = Settings(statuses={})


async def heard(here: Place, body: dict[str, Any]) -> dict[str, Any]:
    """The one message that *body* becomes, without what every message has."""
    await here.post("inbound", {"from": {"phone": ANA}, **body})
    await here.settled()
    message = dict(here.hook.messages()[-1])
    for name in ("from", "from_user_id", "id", "timestamp"):
        del message[name]
    return message


#: label → (what the customer does, the message without the common keys)
INBOUND: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text, in short": ({"text": "hola"}, {"type": "text", "text": {"body": "hola"}}),
    "text as Meta has it": (
        {"type": "text", "text": {"body": "hola"}},
        {"type": "text", "text": {"body": "hola"}},
    ),
    "location": (
        {"location": {"latitude": 1.5, "longitude": 2}},
        {"type": "location", "location": {"latitude": 1.5, "longitude": 2}},
    ),
    "contacts": (
        {"contacts": [{"name": {"formatted_name": "B"}}], "origin": "contact_request"},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": "B"}}], "origin": "contact_request"},
    ),
    "reaction": (
        {"reaction": {"message_id": "wamid.x", "emoji": "👍"}},
        {"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}},
    ),
    "reaction taken back": (
        {"reaction": {"message_id": "wamid.x"}},
        {"type": "reaction", "reaction": {"message_id": "wamid.x"}},
    ),
    "template button": (
        {"button": {"payload": "p", "text": "t"}, "replyTo": "wamid.b"},
        {
            "type": "button",
            "button": {"payload": "p", "text": "t"},
            "context": {"from": "15550100100", "id": "wamid.b"},
        },
    ),
    "list reply": (
        {"interactive": {"type": "list_reply", "list_reply": {"id": "1", "title": "One"}}},
        {
            "type": "interactive",
            "interactive": {"type": "list_reply", "list_reply": {"id": "1", "title": "One"}},
        },
    ),
    "flow reply": (
        {
            "interactive": {
                "type": "nfm_reply",
                "nfm_reply": {"name": "flow", "body": "Sent", "response_json": "{}"},
            }
        },
        {
            "type": "interactive",
            "interactive": {
                "type": "nfm_reply",
                "nfm_reply": {"name": "flow", "body": "Sent", "response_json": "{}"},
            },
        },
    ),
    "forwarded": (
        {"text": "x", "context": {"forwarded": True}},
        {"type": "text", "text": {"body": "x"}, "context": {"forwarded": True}},
    ),
    "from an advertisement": (
        {"text": "x", "referral": {"source_id": "1", "ctwa_clid": "c"}},
        {"type": "text", "text": {"body": "x"}, "referral": {"source_id": "1", "ctwa_clid": "c"}},
    ),
}


@pytest.mark.parametrize("label", INBOUND)
async def test_what_a_customer_does_becomes_metas_message(label: str, autojump_clock: object) -> None:
    """Given with Meta's field names, it goes out as given."""
    body, message = INBOUND[label]
    async with place(QUIET) as here:
        assert await heard(here, body) == message


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "image",
        "video",
        "audio",
        "document",
        "sticker",
        "location",
        "contacts",
        "order",
        "interactive",
        "button",
    ],
)
async def test_a_type_alone_is_a_message(kind: str, autojump_clock: object) -> None:
    """What is not said is made up, so that trying a type takes one word."""
    async with place(QUIET) as here:
        message = await heard(here, {"type": kind})
        assert message["type"] == kind
        assert message[kind]


async def test_media_of_a_customer_can_be_fetched_by_its_id(autojump_clock: object) -> None:
    """The webhook has the id and the hash in base64; the Graph API has the file, for seven days."""
    async with place(QUIET) as here:
        data = picture() + b"more"
        encoded = base64.b64encode(data).decode()
        message = await heard(here, {"image": {"data": encoded, "mime_type": "image/png", "caption": "mira"}})
        image = message["image"]
        assert image["caption"] == "mira"
        assert image["sha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
        info = (await here.graph("GET", image["id"], params={"phone_number_id": NUMBER})).json()
        assert (await here.client.get(info["url"], headers=TOKEN)).content == data
        await here.post("clock", {"advance": 7 * 86400 + 1})
        assert (await here.graph("GET", image["id"])).status_code == 400


async def test_an_unsupported_message_comes_with_its_error(autojump_clock: object) -> None:
    """A poll, say: type `unsupported`, the kind, and 131051."""
    async with place(QUIET) as here:
        message = await heard(here, {"type": "unsupported", "unsupported": {"type": "poll"}})
        assert message["unsupported"] == {"type": "poll"}
        assert message["errors"][0]["code"] == 131051


async def test_a_system_message_has_no_contacts_and_opens_no_window(autojump_clock: object) -> None:
    """Somebody changed their number: nobody wrote."""
    async with place(QUIET, window=False) as here:
        system = {"body": "A changed", "type": "user_changed_number", "wa_id": "5215500000009"}
        assert (await heard(here, {"system": system}))["system"] == system
        [value] = here.hook.values()
        assert "contacts" not in value
        chat = await here.control("GET", f"chat?chat={await user_id(here)}")
        assert chat == {"messages": [], "windowOpen": False}


async def user_id(here: Place) -> str:
    people = (await here.control("GET", "state"))["customers"]
    return str(next(person["userId"] for person in people if person["phone"] == ANA))


async def test_edits_and_deletions_name_the_message_they_are_about(autojump_clock: object) -> None:
    """And change it where the page shows it."""
    async with place(QUIET) as here:
        first = (await here.post("inbound", {"from": {"phone": ANA}, "text": "hola"}))["wamid"]
        edit = {"original_message_id": first, "message": {"type": "text", "text": {"body": "adiós"}}}
        assert (await heard(here, {"edit": edit}))["edit"] == edit
        assert here.sandbox.network.messages[first].content == {"body": "adiós"}
        assert (await heard(here, {"revoke": {"original_message_id": first}}))["type"] == "revoke"
        assert here.sandbox.network.messages[first].deleted


async def test_a_sender_may_have_no_phone(autojump_clock: object) -> None:
    """Then `from` and `wa_id` are absent, and only the user id tells who it is."""
    async with place(QUIET) as here:
        sender = {"userId": "US.134", "name": "Pat", "parentUserId": "US.ENT.9"}
        await here.post("inbound", {"from": sender, "text": "hi"})
        await here.settled()
        [value] = here.hook.values()
        [message] = value["messages"]
        assert "from" not in message
        assert (message["from_user_id"], message["from_parent_user_id"]) == ("US.134", "US.ENT.9")
        assert value["contacts"] == [
            {"profile": {"name": "Pat"}, "user_id": "US.134", "parent_user_id": "US.ENT.9"}
        ]


async def test_a_group_message_names_the_group_and_its_writer(autojump_clock: object) -> None:
    """`group_id` on the message; `from` and the contact are the participant."""
    async with place(QUIET) as here:
        group = await here.post("groups", {"subject": "G", "members": [{"phone": ANA}]})
        message = await heard(here, {"text": "hola", "groupId": group["groupId"]})
        assert message["group_id"] == group["groupId"]
        assert here.hook.values()[0]["contacts"][0]["wa_id"] == "5215512345678"


async def test_a_customer_presses_what_the_business_sent(autojump_clock: object) -> None:
    """A button, a row, a template's quick reply: by its id, with the context of the message it is on."""
    async with place(QUIET) as here:
        replies = [{"type": "reply", "reply": {"id": "yes", "title": "Sí"}}]
        asked = {"type": "button", "body": {"text": "?"}, "action": {"buttons": replies}}
        rows = {
            "type": "list",
            "body": {"text": "?"},
            "action": {
                "button": "Ver",
                "sections": [{"rows": [{"id": "1", "title": "One", "description": "d"}]}],
            },
        }
        header = {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://a.b/c.png"}}]}
        body = {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}
        payload = {
            "type": "button",
            "sub_type": "quick_reply",
            "index": "0",
            "parameters": [{"type": "payload", "payload": "SHOW"}],
        }
        sale = {"name": "summer_sale", "language": {"code": "en"}, "components": [header, body, payload]}
        expected = {
            "yes": ("interactive", {"type": "button_reply", "button_reply": {"id": "yes", "title": "Sí"}}),
            "1": (
                "interactive",
                {"type": "list_reply", "list_reply": {"id": "1", "title": "One", "description": "d"}},
            ),
            "SHOW": ("button", {"payload": "SHOW", "text": "Show me"}),
        }
        sent = {
            "yes": await here.send(type="interactive", interactive=asked),
            "1": await here.send(type="interactive", interactive=rows),
            "SHOW": await here.send(type="template", template=sale),
        }
        for pressed, answer in sent.items():
            assert answer.status_code == 200, answer.text
            wamid = answer.json()["messages"][0]["id"]
            await here.post("press", {"wamid": wamid, "id": pressed})
            await here.settled()
            message = here.hook.messages()[-1]
            kind, value = expected[pressed]
            assert (message["type"], message[kind]) == (kind, value)
            assert message["context"] == {"from": "15550100100", "id": wamid}
        answer = await here.client.post("/_sandbox/press", json={"wamid": wamid, "id": "nope"})
        assert answer.json()["error"] == "the message has no button or row 'nope'"


#: label → (body, a piece of the answer)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({"text": "x"}, "missing required field `from`"),
    "a sender without a name to find": ({"from": {"name": "X"}, "text": "x"}, "needs a phone or a userId"),
    "a phone without its plus": ({"from": {"phone": "5215512345678"}, "text": "x"}, "E.164 with its +"),
    "nothing said": ({"from": {"phone": ANA}}, "say the type"),
    "two things said": ({"from": {"phone": ANA}, "text": "x", "location": {}}, "say the type"),
    "one type, another object": (
        {"from": {"phone": ANA}, "type": "image", "text": "x"},
        "there is also text",
    ),
    "unknown field": ({"from": {"phone": ANA}, "txt": "x"}, "unknown field `txt`"),
    "unknown number": ({"from": {"phone": ANA}, "text": "x", "phoneNumberId": "9"}, "no such number: 9"),
    "unknown group": ({"from": {"phone": ANA}, "text": "x", "groupId": "9"}, "no such group: 9"),
    "data that is no base64": ({"from": {"phone": ANA}, "image": {"data": "%"}}, "is not base64"),
    "a reaction to what": ({"from": {"phone": ANA}, "type": "reaction"}, "needs its object 'reaction'"),
}


@pytest.mark.parametrize("label", WRONG)
async def test_the_control_api_says_what_is_wrong(label: str) -> None:
    """400 and a sentence; nothing happens."""
    body, words = WRONG[label]
    async with place(QUIET) as here:
        answer = await here.client.post("/_sandbox/inbound", json=body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
        assert here.sandbox.ledger.entries("event") == []


async def test_a_web_page_of_elsewhere_cannot_post_here() -> None:
    """A form, or text that claims not to be JSON, is refused: a browser would send those unasked."""
    async with place(QUIET) as here:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await here.client.post(
                "/_sandbox/inbound",
                content='{"from": {"phone": "+5215512345678"}, "text": "x"}',
                headers={"Content-Type": kind},
            )
            assert answer.status_code == 400
        assert here.sandbox.ledger.entries("event") == []
