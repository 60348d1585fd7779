"""What an account does with its messages, through Twilio's own SDK: sent, fetched, listed, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException, TwilioServiceException

from tests.sandbox.place import ANA, AT_ONCE
from tests.sandbox.twilio.place import (
    AC,
    AUTH_TOKEN,
    CALLBACK,
    MG,
    SECRET,
    SENDER,
    SK,
    TO_ANA,
    TwilioPlace,
    twilio_place,
)
from wad.sandbox import Settings
from wad.sandbox.twilio.templates import catalogue

TEMPLATES = {template.name: template.sid for template in catalogue().values()}


async def send(here: TwilioPlace, **more: Any) -> Any:
    """A text to Ana, or what *more* makes of it; None leaves one out."""
    said = {"from_": SENDER, "to": TO_ANA, "body": "hola", "status_callback": CALLBACK, **more}
    return await here.sdk.messages.create_async(
        **{name: value for name, value in said.items() if value is not None}
    )


async def test_a_send_is_answered_with_the_whole_message() -> None:
    """201, every field of the resource, numbers as strings and dates as Twilio writes them."""
    async with twilio_place(Settings(statuses={})) as here:
        answer = await here.form(StatusCallback=CALLBACK)
        found = answer.json()
        assert answer.status_code == 201
        sid = found.pop("sid")
        created = found.pop("date_created")
        uri = f"/2010-04-01/Accounts/{AC}/Messages/{sid}"
        assert datetime.strptime(created, "%a, %d %b %Y %H:%M:%S %z").tzinfo is not None
        assert found == {
            "account_sid": AC,
            "api_version": "2010-04-01",
            "body": "hola",
            "date_sent": None,
            "date_updated": created,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": SENDER,
            "messaging_service_sid": None,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": None,
            "status": "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": TO_ANA,
            "uri": f"{uri}.json",
        }
        assert sid.startswith("SM")


async def test_a_send_is_in_the_ledger_once_under_our_id() -> None:
    """The one parameter of its StatusCallback's query, with the form as it came."""
    async with twilio_place() as here:
        message = await send(here)
        [entry] = here.sandbox.ledger.entries("send", callbackData="msg_1")
        assert (entry["wamid"], entry["phoneNumberId"], entry["to"]) == (message.sid, SENDER, TO_ANA)
        assert entry["body"] == {"From": SENDER, "To": TO_ANA, "Body": "hola", "StatusCallback": CALLBACK}


async def test_a_message_is_sent_delivered_and_read(autojump_clock: object) -> None:
    """Each told to the StatusCallback with Twilio's parameters, and there to be fetched."""
    async with twilio_place(AT_ONCE) as here:
        message = await send(here)
        await here.settled()
        assert here.webhook.statuses == ["sent", "delivered", "read"]
        assert here.webhook.heard[1].params == {
            "AccountSid": AC,
            "ApiVersion": "2010-04-01",
            "ChannelInstallSid": here.sandbox.twilio.accounts.senders[SENDER].install_sid,
            "ChannelPrefix": "whatsapp",
            "ChannelToAddress": "+521551234XXXX",
            "EventType": "DELIVERED",
            "From": SENDER,
            "MessageSid": message.sid,
            "MessageStatus": "delivered",
            "SmsSid": message.sid,
            "SmsStatus": "delivered",
            "StructuredMessage": "false",
            "To": TO_ANA,
        }
        fetched = await here.sdk.messages(message.sid).fetch_async()
        assert (fetched.status, fetched.date_sent is not None) == ("read", True)


async def test_a_messaging_service_chooses_the_sender() -> None:
    """`accepted`, with no `from` yet; its sid is in every status."""
    async with twilio_place() as here:
        message = await send(here, from_=None, messaging_service_sid=MG)
        assert (message.status, message.from_, message.messaging_service_sid) == ("accepted", None, MG)
        await here.settled()
        assert {heard.params["MessagingServiceSid"] for heard in here.webhook.heard} == {MG}
        assert {heard.params["From"] for heard in here.webhook.heard} == {SENDER}


async def test_a_scheduled_message_waits_for_its_time(autojump_clock: object) -> None:
    """`scheduled` now, and its statuses not before the time it was given."""
    async with twilio_place() as here:
        at = datetime.fromtimestamp(here.sandbox.network.now(), UTC) + timedelta(minutes=10)
        message = await send(here, from_=None, messaging_service_sid=MG, schedule_type="fixed", send_at=at)
        assert message.status == "scheduled"
        assert here.sandbox.counts["scheduled"] == 3
        await here.settled()
        assert here.webhook.statuses == ["sent", "delivered", "read"]


# --- what is found out later ------------------------------------------------------------------------

#: label → (window open, what is changed before, the send, status, code)
LATER: dict[str, tuple[bool, dict[str, Any], dict[str, Any], str, int]] = {
    "outside the window": (False, {}, {}, "undelivered", 63016),
    "not on WhatsApp": (True, {"onWhatsapp": False}, {}, "failed", 63024),
    "media that cannot be fetched": (True, {}, {"media_url": ["https://a.invalid/x.png"]}, "undelivered", 63019),
    "a template that is paused": (
        True, {}, {"body": None, "content_sid": TEMPLATES["oferta_pausada"]}, "undelivered", 63041,
    ),
    "a template that was rejected": (
        True, {}, {"body": None, "content_sid": TEMPLATES["oferta_rechazada"]}, "undelivered", 63040,
    ),
    "a list outside the window": (
        False, {}, {"body": None, "content_sid": TEMPLATES["menu"]}, "undelivered", 63016,
    ),
    "a variable is missing": (
        True, {},
        {"body": None, "content_sid": TEMPLATES["pedido_listo"], "content_variables": '{"1": "Ana"}'},
        "undelivered", 63028,
    ),
    "a variable with a newline": (
        True, {},
        {"body": None, "content_sid": TEMPLATES["cita"], "content_variables": '{"1": "a\\nb"}'},
        "undelivered", 63013,
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", LATER)
async def test_what_twilio_finds_out_later_is_told_by_status(label: str, autojump_clock: object) -> None:
    """The send is taken; then one status with its code and words, which the resource has too."""
    window, customer, more, status, code = LATER[label]
    async with twilio_place(window=window) as here:
        await here.post("customers", {"phone": ANA, **customer})
        message = await send(here, **more)
        assert message.error_code is None
        await here.settled()
        [told] = [heard.params for heard in here.webhook.heard]
        assert (told["MessageStatus"], told["ErrorCode"]) == (status, str(code))
        fetched = await here.sdk.messages(message.sid).fetch_async()
        assert (fetched.status, fetched.error_code) == (status, code)
        assert fetched.error_message == told["ErrorMessage"]


async def test_a_template_fills_in_its_variables_outside_the_window(autojump_clock: object) -> None:
    """It opens the conversation, looks to the customer as it was written, and its button can be pressed."""
    async with twilio_place(window=False) as here:
        message = await send(
            here, body=None, content_sid=TEMPLATES["cita"], content_variables='{"1": "lunes"}'
        )
        await here.settled()
        assert here.webhook.statuses == ["sent", "delivered", "read"]
        [shown] = (await here.control("GET", f"chat?phoneNumberId={SENDER.replace('+', '%2B')}&chat="
                                      f"{here.sandbox.network.customer_by_digits(ANA[1:]).user_id}"))["messages"]  # fmt: skip
        assert shown["content"]["body"] == "¿Vienes el lunes?"
        await here.post("press", {"wamid": message.sid, "id": "yes"})
        await here.settled()
        pressed = here.webhook.heard[-1].params
        assert (pressed["ButtonText"], pressed["ButtonPayload"], pressed["MessageType"]) == (
            "Sí",
            "yes",
            "button",
        )
        assert (pressed["Body"], pressed["OriginalRepliedMessageSid"]) == ("Sí", message.sid)


async def test_throttling_is_an_answer_and_the_pair_limit_a_status(autojump_clock: object) -> None:
    """20429 before the message is taken; 63018 after."""
    async with twilio_place(Settings(statuses={}, throughput=1)) as here:
        assert (await here.form()).status_code == 201
        answer = await here.form()
        assert (answer.status_code, answer.json()["code"]) == (429, 20429)
        assert len(here.sandbox.ledger.entries("send")) == 1
    async with twilio_place(Settings(statuses={"sent": 0.0}, pair_limit=True)) as here:
        for _ in range(46):
            await send(here)
        await here.settled()
        assert here.webhook.statuses.count("failed") == 1


async def test_in_the_answer_where_the_settings_say_so() -> None:
    """`failures: "answer"`: what would be told by status is refused at once."""
    async with twilio_place(Settings(failures="answer"), window=False) as here:
        with pytest.raises(TwilioRestException) as refused:
            await send(here)
        assert refused.value.code == 63016


# --- who calls --------------------------------------------------------------------------------------

#: label → (user, password, the account in the path, HTTP status, code)
CALLERS: dict[str, tuple[str, str, str, int, int | None]] = {
    "the account's own token": (AC, AUTH_TOKEN, AC, 200, None),
    "an API key": (SK, SECRET, AC, 200, None),
    "a wrong token": (AC, "x" * 32, AC, 401, 20003),
    "an empty token": (AC, "", AC, 401, 20003),
    "a token that is not ASCII": (AC, "ñ", AC, 401, 20003),
    "an unknown key": ("SK" + "0" * 32, SECRET, AC, 401, 20003),
    "somebody else's account": (AC, AUTH_TOKEN, "AC" + "0" * 32, 404, 20404),
}


@pytest.mark.parametrize("label", CALLERS)
async def test_an_account_is_read_by_who_has_its_credentials(label: str) -> None:
    """Its token, or the secret of one of its keys; everything else is refused in Twilio's words."""
    user, password, path, status, code = CALLERS[label]
    async with twilio_place() as here:
        answer = await here.client.get(f"/2010-04-01/Accounts/{path}.json", auth=(user, password))
        assert (answer.status_code, answer.json().get("code")) == (status, code)
        if code is not None:
            assert answer.json()["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
            assert answer.json()["status"] == status


async def test_an_account_that_is_suspended_may_nothing() -> None:
    """20005 on everything, until it is active again."""
    async with twilio_place() as here:
        await here.post(
            "twilio/senders", {"number": SENDER.removeprefix("whatsapp:"), "accountStatus": "suspended"}
        )
        answer = await here.form()
        assert (answer.status_code, answer.json()["code"]) == (403, 20005)
        assert here.sandbox.ledger.entries("send") == []


# --- lists ------------------------------------------------------------------------------------------


async def test_a_list_is_paged_newest_first(autojump_clock: object) -> None:
    """Page by page through `next_page_uri`, which the SDK follows: none twice, none left out."""
    async with twilio_place() as here:
        sids = [(await send(here)).sid for _ in range(7)]
        found = await here.sdk.messages.list_async(page_size=3)
        assert [message.sid for message in found] == sids[::-1]
        page = (await here.api("GET", "/Messages.json", params={"PageSize": 3})).json()
        assert (len(page["messages"]), page["page_size"], page["previous_page_uri"]) == (3, 3, None)


async def test_a_list_is_filtered(autojump_clock: object) -> None:
    """By who, and by when it was sent: a day stands for the whole of it, a time for its second."""
    async with twilio_place() as here:
        first = await send(here)
        await here.settled()
        written = await here.writes(text="hola")
        await here.post("clock", {"advance": 2 * 86400})
        later = datetime.fromtimestamp(here.sandbox.network.now(), UTC)
        await here.post("customers", {"phone": ANA, "windows": {SENDER: "open"}})
        second = await send(here)
        await here.settled()

        async def sids(**filters: Any) -> set[str]:
            return {message.sid for message in await here.sdk.messages.list_async(**filters)}

        assert await sids(to=TO_ANA) == {first.sid, second.sid}
        assert await sids(to=SENDER) == {written["wamid"]}
        assert await sids(from_=SENDER, to=SENDER) == set()
        assert await sids(date_sent_after=later) == {second.sid}
        assert await sids(date_sent_before=later - timedelta(days=1)) == {first.sid, written["wamid"]}
        assert await sids(date_sent=later.date().isoformat()) == {second.sid}


async def test_what_is_not_sent_yet_has_no_date_to_be_found_by() -> None:
    """A queued message is in the list, and in none by date."""
    async with twilio_place(Settings(statuses={})) as here:
        message = await send(here)
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        assert await here.sdk.messages.list_async(date_sent_after=long_ago) == []
        assert [each.sid for each in await here.sdk.messages.list_async()] == [message.sid]


# --- the rest ---------------------------------------------------------------------------------------


async def test_a_message_is_deleted_for_good() -> None:
    """204, and it is in no list."""
    async with twilio_place() as here:
        message = await send(here)
        assert await here.sdk.messages(message.sid).delete_async()
        assert await here.sdk.messages.list_async() == []
        with pytest.raises(TwilioRestException) as gone:
            await here.sdk.messages(message.sid).fetch_async()
        assert (gone.value.status, gone.value.code) == (404, 20404)


async def test_typing_marks_what_was_written_read() -> None:
    """For a message of a customer's; for anything else an error in the form of Twilio's newer hosts."""
    async with twilio_place() as here:
        written = await here.writes(text="hola")
        indicator = here.sdk.messaging.v2.typing_indicator
        shown = await indicator.create_async(channel="whatsapp", message_id=written["wamid"])
        assert shown.success
        assert here.sandbox.network.messages[written["wamid"]].read
        with pytest.raises(TwilioServiceException):
            await indicator.create_async(channel="whatsapp", message_id="SM" + "0" * 32)


async def test_templates_can_be_looked_up() -> None:
    """By their sid, and all of them."""
    async with twilio_place() as here:
        found = await here.sdk.content.v1.contents(TEMPLATES["cita"]).fetch_async()
        assert (found.friendly_name, list(found.types)) == ("cita", ["twilio/quick-reply"])
        assert {each.sid for each in await here.sdk.content.v1.contents.list_async()} == set(
            TEMPLATES.values()
        )
