"""What customers do, and the parameters that Twilio's webhook makes of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sandbox.place import ANA
from tests.sandbox.twilio.place import (
    AC,
    AUTH_TOKEN,
    HOOK,
    MG,
    SENDER,
    TO_ANA,
    TwilioPlace,
    twilio_place,
)
from wad.sandbox import Settings
from wad.sandbox.samples import picture

QUIET = Settings(statuses={})


async def heard(here: TwilioPlace, **message: Any) -> dict[str, str]:
    """The parameters of what Ana did."""
    await here.writes(**message)
    await here.settled()
    return here.webhook.heard[-1].params


async def test_a_text_has_every_parameter(autojump_clock: object) -> None:
    """Four names for its sid, the account, both addresses, who she is, and what the channel says of her."""
    async with twilio_place(QUIET) as here:
        written = await here.writes(text="hola & adiós")
        await here.settled()
        [one] = here.webhook.heard
        params = dict(one.params)
        sid, user_id = written["wamid"], written["userId"]
        assert f'"UserId":"{user_id}"' in params.pop("ChannelMetadata")
        assert params == {
            "SmsMessageSid": sid,
            "MessageSid": sid,
            "SmsSid": sid,
            "AccountSid": AC,
            "From": TO_ANA,
            "To": SENDER,
            "Body": "hola & adiós",
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsStatus": "received",
            "ApiVersion": "2010-04-01",
            "ProfileName": "Ana Torres",
            "MessageType": "text",
            "ExternalUserId": f"whatsapp:{user_id}",
            "MessagingServiceSid": MG,
            "WaId": "5215512345678",
        }
        assert (one.method, one.url, one.is_signed(AUTH_TOKEN)) == ("POST", HOOK, True)
        assert len(one.headers["i-twilio-idempotency-token"]) == 32


#: label → (what she does, parameters it is told by)
INBOUND: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a location": (
        {"location": {"latitude": 1.5, "longitude": -2, "name": "Zócalo", "address": "Centro"}},
        {
            "MessageType": "location",
            "Latitude": "1.5",
            "Longitude": "-2",
            "Label": "Zócalo",
            "Address": "Centro",
        },
    ),
    "a template's button": (
        {"button": {"payload": "p", "text": "t"}},
        {"MessageType": "button", "ButtonText": "t", "ButtonPayload": "p", "Body": "t"},
    ),
    "a quick reply": (
        {"interactive": {"type": "button_reply", "button_reply": {"id": "yes", "title": "Sí"}}},
        {"MessageType": "button", "ButtonText": "Sí", "ButtonPayload": "yes", "Body": "Sí"},
    ),
    "a row of a list": (
        {"interactive": {"type": "list_reply", "list_reply": {"id": "te", "title": "Té"}}},
        {"MessageType": "interactive", "ListId": "te", "ListTitle": "Té", "Body": "Té"},
    ),
    "forwarded": (
        {"text": "x", "context": {"forwarded": True, "frequently_forwarded": True}},
        {"Forwarded": "true", "FrequentlyForwarded": "true"},
    ),
    "from an advertisement": (
        {"text": "x", "referral": {"source_id": "1", "headline": "h", "ctwa_clid": "c"}},
        {"ReferralSourceId": "1", "ReferralHeadline": "h", "ReferralCtwaClid": "c"},
    ),
    "a photo with a caption": (
        {"image": {"caption": "mira"}},
        {"MessageType": "image", "Body": "mira", "NumMedia": "1", "MediaContentType0": "image/png"},
    ),
    "a voice note": (
        {"type": "audio"},
        {"MessageType": "audio", "Body": "", "NumMedia": "1", "MediaContentType0": "audio/ogg; codecs=opus"},
    ),
    "a contact": (
        {"type": "contacts"},
        {"MessageType": "contacts", "NumMedia": "1", "MediaContentType0": "text/vcard"},
    ),
}


@pytest.mark.parametrize("label", INBOUND)
async def test_what_a_customer_does_becomes_parameters(label: str, autojump_clock: object) -> None:
    """Under Twilio's names, beside those that every message has."""
    message, expected = INBOUND[label]
    async with twilio_place(QUIET) as here:
        params = await heard(here, **message)
        assert expected.items() <= params.items()
        assert params["MessageSid"].startswith("MM" if params["NumMedia"] == "1" else "SM")


async def test_a_reply_names_what_it_replies_to(autojump_clock: object) -> None:
    """The business's message, and its sender."""
    async with twilio_place(QUIET) as here:
        sent = (await here.form()).json()["sid"]
        params = await heard(here, text="sí", replyTo=sent)
        assert (params["OriginalRepliedMessageSid"], params["OriginalRepliedMessageSender"]) == (sent, SENDER)


async def test_who_hides_their_phone_is_known_by_user_id(autojump_clock: object) -> None:
    """`From` is the business-scoped id without a +, which a send takes as its `To`."""
    async with twilio_place(QUIET) as here:
        who = {"userId": "MX.13491208655302741918"}
        params = await heard(here, **{"from": who}, text="hola")
        assert params["From"] == params["ExternalUserId"] == "whatsapp:MX.13491208655302741918"
        assert "WaId" not in params
        assert params["ProfileUsername"] == "@sol.mx"
        assert (await here.form(To=params["From"])).status_code == 201


async def test_her_message_is_in_the_list_whether_or_not_it_was_heard(autojump_clock: object) -> None:
    """`received` and inbound; with its media to be listed."""
    async with twilio_place(QUIET) as here:
        await here.post(
            "faults", {"match": {"operation": "webhook"}, "fault": {"kind": "lose"}, "times": None}
        )
        written = await here.writes(image={"caption": "mira"})
        await here.settled()
        assert here.webhook.heard == []
        [found] = await here.sdk.messages.list_async(to=SENDER)
        assert (found.sid, found.status, found.direction) == (written["wamid"], "received", "inbound")
        assert (found.from_, found.body, found.num_media) == (TO_ANA, "mira", "1")
        [media] = await here.sdk.messages(found.sid).media.list_async()
        assert media.content_type == "image/png"


async def test_a_file_lies_behind_a_signed_url(autojump_clock: object) -> None:
    """With the account's credentials a redirect; without them 401; and the file's own host takes one proof only."""
    async with twilio_place(QUIET) as here:
        url = (await heard(here, type="image"))["MediaUrl0"]
        assert (await here.client.get(url)).status_code == 401
        answer = await here.client.get(url, auth=(AC, AUTH_TOKEN))
        assert answer.status_code == 307
        signed = answer.headers["location"]
        assert (await here.client.get(signed)).content == picture()
        assert (await here.client.get(signed, auth=(AC, AUTH_TOKEN))).status_code == 400
        assert (await here.client.get(signed.replace("Signature=", "Signature=0"))).status_code == 403
        await here.post("clock", {"advance": 301})
        assert (await here.client.get(signed)).status_code == 403
        assert (await here.client.delete(url, auth=(AC, AUTH_TOKEN))).status_code == 204
        gone: httpx.Response = await here.client.get(url, auth=(AC, AUTH_TOKEN))
        assert (gone.status_code, gone.json()["code"]) == (404, 20404)


#: label → (what cannot be said, a piece of the answer)
UNSAID: dict[str, tuple[dict[str, Any], str]] = {
    "a reaction": (
        {"reaction": {"message_id": "SM1", "emoji": "👍"}},
        "does not pass on a message of type reaction",
    ),
    "an order": ({"type": "order"}, "does not pass on a message of type order"),
    "in a group": ({"text": "x", "groupId": "1"}, "no groups"),
    "a reply to nothing": ({"text": "x", "replyTo": "SM1"}, "no message SM1"),
}


@pytest.mark.parametrize("label", UNSAID)
async def test_what_twilio_does_not_pass_on_cannot_be_said(label: str) -> None:
    """It is told to whoever is at the page, not lost."""
    message, words = UNSAID[label]
    async with twilio_place() as here:
        body = {"phoneNumberId": SENDER, "from": {"phone": ANA}, **message}
        answer = await here.client.post("/_sandbox/inbound", json=body)
        assert (answer.status_code, words in answer.json()["error"]) == (400, True)


async def test_her_conversation_is_shown_as_any_other(autojump_clock: object) -> None:
    """Among the chats of the sender, in the shapes that the page draws."""
    async with twilio_place(QUIET) as here:
        await here.writes(text="hola")
        await here.form(Body="Zócalo", PersistentAction="geo:19.4,-99.1|Centro")
        params = {"phoneNumberId": SENDER}
        chats = (await here.client.get("/_sandbox/chats", params=params)).json()["chats"]
        [chat] = chats
        found = (await here.client.get("/_sandbox/chat", params={**params, "chat": chat["chat"]})).json()
        assert [(each["direction"], each["type"]) for each in found["messages"]] == [
            ("in", "text"),
            ("out", "location"),
        ]
        assert found["messages"][1]["content"] == {
            "latitude": 19.4, "longitude": -99.1, "name": "Zócalo", "address": "Centro",
        }  # fmt: skip
        assert found["windowOpen"] is True
