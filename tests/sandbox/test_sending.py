"""Whom a send reaches, what it is answered, and what becomes of it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import httpx
import msgspec
import pytest

from tests.sandbox.place import ANA, AT_ONCE, NUMBER, SECOND, TOKEN, Place, place
from wad.sandbox import READY
from wad.sandbox.samples import document, picture

MEXICAN = "200000000000001"


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


async def last_status(here: Place) -> dict[str, Any]:
    await here.settled()
    return here.hook.statuses()[-1]


async def test_a_send_is_answered_as_meta_answers_it() -> None:
    """The input, WhatsApp's id for it, and a wamid; no user id for a send by phone."""
    async with place() as here:
        answer = await here.send(to="+52 (1) 55-1234 5678")
        assert answer.status_code == 200
        body = answer.json()
        assert body["messaging_product"] == "whatsapp"
        assert body["contacts"] == [{"input": "+52 (1) 55-1234 5678", "wa_id": "5215512345678"}]
        assert set(body["messages"][0]) == {"id"}
        assert answer.headers["facebook-api-version"] == "v26.0"


#: label → (the business number, `to`, the digits Meta makes of it)
TO = {
    "with its plus": ("+1 555 010 0100", "+5215512345678", "5215512345678"),
    "without: the business's code goes in front": ("+91 98765 43210", "1 (631) 555-1234", "9116315551234"),
    "without, though the code is there": ("+52 55 5010 0100", "5215512345678", "525215512345678"),
}


@pytest.mark.parametrize("label", TO)
async def test_without_a_plus_the_business_numbers_country_code_goes_in_front(label: str) -> None:
    """Meta prepends it whatever is there already; the gateway has to send the plus."""
    business, to, digits = TO[label]
    async with place() as here:
        await here.post("numbers", {"phoneNumberId": NUMBER, "displayPhoneNumber": business})
        answer = await here.send(to=to)
        assert answer.json()["contacts"] == [{"input": to, "wa_id": digits}]


async def test_meta_may_know_a_number_under_another_name() -> None:
    """A Mexican number's wa_id has a 1 that its owner may not write: it is the same customer."""
    async with place() as here:
        await here.post("customers", {"phone": "+5215587654321", "windows": {NUMBER: "open"}})
        answer = await here.send(to="+525587654321")
        assert answer.json()["contacts"] == [{"input": "+525587654321", "wa_id": "5215587654321"}]
        assert (await last_status(here))["status"] == "read"


# --- what becomes of it ---------------------------------------------------------------------------


async def test_statuses_follow_in_order_and_carry_the_callback_data(autojump_clock: object) -> None:
    """Sent, delivered, read: each with our own id, the recipient in both names, and pricing where Meta has it."""
    async with place() as here:
        wamid = (await here.send(biz_opaque_callback_data="msg_1")).json()["messages"][0]["id"]
        await here.settled()
        statuses = here.hook.statuses()
        assert [status["status"] for status in statuses] == ["sent", "delivered", "read"]
        assert {status["id"] for status in statuses} == {wamid}
        assert {status["biz_opaque_callback_data"] for status in statuses} == {"msg_1"}
        assert {status["recipient_id"] for status in statuses} == {"5215512345678"}
        assert all(status["recipient_user_id"].startswith("MX.") for status in statuses)
        assert ["pricing" in status for status in statuses] == [True, True, False]
        assert all(status["timestamp"].isdigit() for status in statuses)
        contacts = [value["contacts"][0]["wa_id"] for value in here.hook.values()]
        assert contacts == ["5215512345678"] * 3


#: label → (customer, send, code): accepted with 200, and failed by webhook
FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "window closed": ({"windows": {NUMBER: "closed"}}, {}, 131047),
    "not on WhatsApp": ({"onWhatsapp": False, "windows": {NUMBER: "open"}}, {}, 131026),
    "identity changed": (
        {"identity": "new", "windows": {NUMBER: "open"}},
        {"recipient_identity_key_hash": "old"},
        137000,
    ),
    "link that cannot be fetched": (
        {"windows": {NUMBER: "open"}},
        {"type": "image", "image": {"link": "https://nowhere.invalid/a.png"}},
        131053,
    ),
    "reaction to nothing": (
        {"windows": {NUMBER: "open"}},
        {"type": "reaction", "reaction": {"message_id": "wamid.none", "emoji": "👍"}},
        131009,
    ),
}


@pytest.mark.parametrize("label", FAILURES)
async def test_what_meta_finds_out_later_is_told_by_webhook(label: str, autojump_clock: object) -> None:
    """Accepted is not delivered: the answer is 200, and a `failed` status follows, alone and without contacts."""
    customer, send, code = FAILURES[label]
    async with place(window=False) as here:
        await here.post("customers", {"phone": ANA, **customer})
        answer = await here.send(biz_opaque_callback_data="mine", **send)
        assert answer.status_code == 200, answer.text
        await here.settled()
        [value] = here.hook.values()
        [status] = value["statuses"]
        assert "contacts" not in value
        assert status["status"] == "failed"
        assert status["biz_opaque_callback_data"] == "mine"
        [error] = status["errors"]
        assert error["code"] == code
        assert error["title"] == error["message"]
        assert error["error_data"]["details"]


async def test_failures_can_be_told_in_the_answer() -> None:
    """`failures: answer` is for whoever wants to see the code at once."""
    async with place(window=False) as here:
        await here.control("PATCH", "settings", {"failures": "answer"})
        answer = await here.send()
        assert (answer.status_code, error_of(answer)["code"]) == (400, 131047)
        assert here.sandbox.ledger.entries("send") == []


async def test_a_template_needs_no_window(autojump_clock: object) -> None:
    """Outside the 24 hours a template is what may be sent."""
    async with place(window=False) as here:
        await here.send(type="template", template={"name": "hello_world", "language": {"code": "en_US"}})
        assert (await last_status(here))["status"] == "read"


async def test_the_window_is_24_hours_from_the_customers_last_message(autojump_clock: object) -> None:
    """It opens when they write, and closes a day later to the second."""
    async with place(window=False) as here:
        await here.post("inbound", {"from": {"phone": ANA}, "text": "hola"})
        await here.post("clock", {"advance": 24 * 3600 - 60})
        await here.send()
        assert (await last_status(here))["status"] == "read"
        await here.post("clock", {"advance": 61})
        await here.send()
        assert (await last_status(here))["status"] == "failed"


async def test_a_number_that_cannot_exist_is_not_on_whatsapp(autojump_clock: object) -> None:
    """Strangers are customers, but a `to` that lost its plus has too many digits to be one."""
    async with place(window=False) as here:
        await here.control("PATCH", "settings", {"enforceWindow": False})
        await here.send(to="+5215500000001")
        assert (await last_status(here))["status"] == "read"
        await here.send(to="5215500000001")
        assert (await last_status(here))["errors"][0]["code"] == 131026


async def test_a_reaction_is_only_ever_sent(autojump_clock: object) -> None:
    """Meta reports no delivery and no reading of a reaction."""
    async with place() as here:
        inbound = await here.post("inbound", {"from": {"phone": ANA}, "text": "hola"})
        reaction = {"message_id": inbound["wamid"], "emoji": "👍"}
        await here.send(type="reaction", reaction=reaction)
        await here.settled()
        assert [status["status"] for status in here.hook.statuses()] == ["sent"]


# --- addressed otherwise --------------------------------------------------------------------------


async def test_a_user_id_reaches_a_customer_whose_phone_is_hidden(autojump_clock: object) -> None:
    """No phone anywhere: not in the answer, not in the statuses, not in the contacts."""
    async with place() as here:
        hidden = "MX.13491208655302741918"
        await here.post("customers", {"userId": hidden, "windows": {NUMBER: "open"}})
        answer = await here.send(to=None, recipient=hidden)
        assert answer.json()["contacts"] == [{"input": hidden, "user_id": hidden}]
        await here.settled()
        for status in here.hook.statuses():
            assert status["recipient_user_id"] == hidden
            assert "recipient_id" not in status
        for value in here.hook.values():
            [contact] = value["contacts"]
            assert contact == {"profile": {"name": "Sol", "username": "@sol.mx"}, "user_id": hidden}


async def test_to_wins_over_recipient() -> None:
    """Where both are given, the phone decides."""
    async with place() as here:
        answer = await here.send(recipient="MX.13491208655302741918")
        assert answer.json()["contacts"][0]["wa_id"] == "5215512345678"


async def test_an_authentication_template_cannot_go_to_a_user_id() -> None:
    """131062: whoever gets a code is known by their phone."""
    async with place() as here:
        code = [
            {"type": "body", "parameters": [{"type": "text", "text": "123456"}]},
            {
                "type": "button",
                "sub_type": "url",
                "index": "0",
                "parameters": [{"type": "text", "text": "123456"}],
            },
        ]
        template = {"name": "login_code", "language": {"code": "en"}, "components": code}
        answer = await here.send(type="template", template=template)
        assert answer.status_code == 200, answer.text
        answer = await here.send(
            to=None, recipient="MX.13491208655302741918", type="template", template=template
        )
        assert error_of(answer)["code"] == 131062


async def test_a_group_gets_one_webhook_for_each_status_of_all_its_members(autojump_clock: object) -> None:
    """Meta aggregates: delivered and read of all members travel as several statuses in one POST."""
    async with place() as here:
        group = await here.post(
            "groups", {"subject": "Familia", "members": [{"phone": ANA}, {"phone": "+5215587654321"}]}
        )
        answer = await here.send(to=group["groupId"], recipient_type="group")
        assert answer.json()["messages"][0]["group_id"] == group["groupId"]
        await here.settled()
        values = here.hook.values()
        assert [len(value["statuses"]) for value in values] == [1, 2, 2]
        assert all(
            (status["recipient_id"], status["recipient_type"]) == (group["groupId"], "group")
            for value in values
            for status in value["statuses"]
        )
        people = {status["recipient_participant_id"] for status in values[1]["statuses"]}
        assert people == {"5215512345678", "5215587654321"}


#: label → (send, code)
GROUP_REFUSALS: dict[str, tuple[dict[str, Any], int]] = {
    "no such group": ({"to": "Y2FwaV9ub25l"}, 131041),
    "buttons": (
        {
            "type": "interactive",
            "interactive": {
                "type": "button",
                "body": {"text": "?"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "A"}}]},
            },
        },
        131051,
    ),
    "a reaction": ({"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}}, 131051),
}


@pytest.mark.parametrize("label", GROUP_REFUSALS)
async def test_groups_take_less_than_people(label: str) -> None:
    """Text, media, templates and pins; nothing to press."""
    send, code = GROUP_REFUSALS[label]
    async with place() as here:
        group = await here.post("groups", {"subject": "Familia", "members": [{"phone": ANA}]})
        answer = await here.send(**{"to": group["groupId"], "recipient_type": "group", **send})
        assert error_of(answer)["code"] == code


# --- who may --------------------------------------------------------------------------------------


async def test_an_unknown_token_is_code_190() -> None:
    """A token nobody gave out, or one that was revoked: HTTP 401 and 190."""
    async with place() as here:
        answer = await here.graph("GET", NUMBER, headers={"Authorization": "Bearer EAAother"})
        assert (answer.status_code, error_of(answer)["code"]) == (401, 190)
        await here.post("numbers", {"phoneNumberId": NUMBER, "accessTokens": ["EAAnew"]})
        answer = await here.send()
        assert (answer.status_code, error_of(answer)["code"]) == (401, 190)
        answer = await here.graph("GET", NUMBER, headers={"Authorization": "Bearer EAAnew"})
        assert answer.status_code == 200


async def test_no_token_is_code_104() -> None:
    """Graph asks for one before anything else."""
    async with place() as here:
        answer = await here.graph("GET", NUMBER, headers={})
        assert (answer.status_code, error_of(answer)["code"]) == (400, 104)


async def test_a_number_that_is_not_there_or_not_ours_looks_the_same() -> None:
    """Code 100 with subcode 33: Graph does not tell which of the two it is."""
    async with place() as here:
        await here.post("numbers", {"phoneNumberId": "111", "accessToken": "EAAother"})
        for number_id in ("111", "222"):
            answer = await here.graph("POST", f"{number_id}/messages", json={"messaging_product": "whatsapp"})
            error = error_of(answer)
            assert (answer.status_code, error["code"], error["error_subcode"]) == (400, 100, 33)
            assert error["type"] == "GraphMethodException"


async def test_a_deleted_number_is_code_33() -> None:
    """The business deleted it: the token is good, the number is gone."""
    async with place() as here:
        await here.control("DELETE", f"numbers/{NUMBER}")
        assert error_of(await here.send())["code"] == 33


async def test_a_number_that_is_not_registered_cannot_send() -> None:
    """133010, until it is registered with its PIN."""
    async with place() as here:
        await here.graph("POST", f"{NUMBER}/deregister", json={})
        assert error_of(await here.send())["code"] == 133010
        health = (await here.graph("GET", NUMBER, params={"fields": "health_status"})).json()["health_status"]
        assert health["can_send_message"] == "BLOCKED"
        answer = await here.graph(
            "POST", f"{NUMBER}/register", json={"messaging_product": "whatsapp", "pin": "123456"}
        )
        assert answer.json() == {"success": True}
        assert (await here.send()).status_code == 200


def proof(token: str, secret: str) -> str:
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


async def test_a_proof_is_checked_wherever_it_is_given() -> None:
    """In the query or in the body, of this token under this secret; any other is an error, not a warning."""
    right = proof(READY.access_token or "", READY.app_secret or "")
    async with place() as here:
        for status, given in ((200, right), (400, proof("EAAother", READY.app_secret or "")), (400, "é")):
            answer = await here.graph("GET", NUMBER, params={"appsecret_proof": given})
            assert answer.status_code == status
            answer = await here.send(appsecret_proof=given)
            assert answer.status_code == status
        assert error_of(answer)["message"] == "Invalid appsecret_proof provided in the API argument"


async def test_a_proof_can_be_required() -> None:
    """The app's "Require App Secret" switch."""
    async with place() as here:
        await here.control("PATCH", "settings", {"requireProof": True})
        answer = await here.send()
        assert error_of(answer)["message"] == "API calls from the server require an appsecret_proof argument"


async def test_test_numbers_write_to_their_list_alone() -> None:
    """131030 for everybody who is not on it."""
    async with place() as here:
        await here.post("numbers", {"phoneNumberId": NUMBER, "allowList": [ANA]})
        assert (await here.send()).status_code == 200
        assert error_of(await here.send(to="+5215587654321"))["code"] == 131030


async def test_a_number_cannot_write_to_itself() -> None:
    """131021."""
    async with place() as here:
        assert error_of(await here.send(to="+15550100100"))["code"] == 131021


# --- read marks, media, the number ----------------------------------------------------------------


async def test_marking_read_takes_an_inbound_message_of_a_person() -> None:
    """And marks those before it; typing is part of it."""
    async with place() as here:
        first = await here.post("inbound", {"from": {"phone": ANA}, "text": "1"})
        second = await here.post("inbound", {"from": {"phone": ANA}, "text": "2"})
        body = {"messaging_product": "whatsapp", "status": "read", "message_id": second["wamid"]}
        answer = await here.graph(
            "POST", f"{NUMBER}/messages", json=body | {"typing_indicator": {"type": "text"}}
        )
        assert answer.json() == {"success": True}
        assert here.sandbox.network.messages[first["wamid"]].read
        sent = (await here.send()).json()["messages"][0]["id"]
        for wrong in ({"message_id": sent}, {"message_id": "wamid.none"}):
            answer = await here.graph("POST", f"{NUMBER}/messages", json=body | wrong)
            assert error_of(answer)["code"] == 131009
        answer = await here.graph(
            "POST", f"{NUMBER}/messages", json=body | {"typing_indicator": {"type": "audio"}}
        )
        assert error_of(answer)["code"] == 100


async def upload(here: Place, data: bytes, mime_type: str, **form: str) -> httpx.Response:
    return await here.graph(
        "POST",
        f"{NUMBER}/media",
        data={"messaging_product": "whatsapp", "type": mime_type, **form},
        files={"file": ("a", data, mime_type)},
    )


async def test_media_goes_up_comes_down_and_ends() -> None:
    """The id describes the file; the URL wants the token, lives five minutes, and the id can be deleted."""
    async with place() as here:
        media_id = (await upload(here, picture(), "image/png")).json()["id"]
        info = (await here.graph("GET", media_id)).json()
        assert info["sha256"] == hashlib.sha256(picture()).hexdigest()
        assert (info["mime_type"], info["file_size"]) == ("image/png", len(picture()))
        answer = await here.client.get(info["url"], headers=TOKEN)
        assert (answer.content, answer.headers["content-type"]) == (picture(), "image/png")
        assert (await here.client.get(info["url"])).status_code == 400
        assert (
            await here.client.get(info["url"], headers={"Authorization": "Bearer EAAx"})
        ).status_code == 401
        assert (await here.client.get(info["url"] + "0", headers=TOKEN)).status_code == 403
        await here.post("clock", {"advance": 301})
        assert (await here.client.get(info["url"], headers=TOKEN)).status_code == 404
        assert (await here.graph("DELETE", media_id)).json() == {"success": True}
        assert error_of(await here.graph("GET", media_id))["error_subcode"] == 33


async def test_an_uploaded_id_lives_30_days(autojump_clock: object) -> None:
    """Then a send with it is refused like one with an id that never was."""
    async with place() as here:
        await here.control("PATCH", "settings", {"enforceWindow": False})
        media_id = (await upload(here, picture(), "image/png")).json()["id"]
        assert (await here.send(type="image", image={"id": media_id})).status_code == 200
        await here.post("clock", {"advance": 30 * 86400 + 1})
        assert error_of(await here.send(type="image", image={"id": media_id}))["code"] == 100


async def test_an_id_of_another_kind_fails_later(autojump_clock: object) -> None:
    """A PDF sent as an image is accepted, and 131053 by webhook."""
    async with place() as here:
        media_id = (await upload(here, document(), "application/pdf")).json()["id"]
        assert (await here.send(type="image", image={"id": media_id})).status_code == 200
        assert (await last_status(here))["errors"][0]["code"] == 131053


#: label → (data, mime type, form, code)
UPLOADS: dict[str, tuple[bytes, str, dict[str, str], int]] = {
    "a type WhatsApp does not carry": (b"x", "application/zip", {}, 100),
    "bytes that are something else": (b"GIF89a", "image/png", {}, 131053),
    "too big": (b"\x89PNG\r\n\x1a\n" + bytes(5 * 1024 * 1024), "image/png", {}, 131053),
    "no product": (picture(), "image/png", {"messaging_product": "sms"}, 100),
    "two types": (picture(), "image/png", {"type": "image/jpeg"}, 131053),
}


@pytest.mark.parametrize("label", UPLOADS)
async def test_uploads_are_checked(label: str) -> None:
    """Type, size and first bytes."""
    data, mime_type, form, code = UPLOADS[label]
    async with place() as here:
        answer = await upload(here, data, mime_type, **form)
        assert error_of(answer)["code"] == code


async def test_a_number_tells_the_fields_that_are_asked() -> None:
    """And refuses the ones that do not exist, by name."""
    async with place() as here:
        answer = await here.graph("GET", NUMBER, params={"fields": "throughput,display_phone_number"})
        assert answer.json() == {
            "throughput": {"level": "STANDARD"},
            "display_phone_number": "+1 555 010 0100",
            "id": NUMBER,
        }
        answer = await here.graph("GET", NUMBER, params={"fields": "nope"})
        assert "nonexisting field (nope)" in error_of(answer)["message"]


async def test_groups_are_listed_and_told() -> None:
    """`data.groups` with Graph's paging, and a group's own fields."""
    async with place() as here:
        ids = [
            (await here.post("groups", {"subject": f"G{n}", "members": [{"phone": ANA}]}))["groupId"]
            for n in range(3)
        ]
        answer = (await here.graph("GET", f"{NUMBER}/groups", params={"limit": 2})).json()
        assert [group["subject"] for group in answer["data"]["groups"]] == ["G0", "G1"]
        after = answer["paging"]["cursors"]["after"]
        answer = (await here.graph("GET", f"{NUMBER}/groups", params={"limit": 2, "after": after})).json()
        assert [group["id"] for group in answer["data"]["groups"]] == ids[2:]
        assert "next" not in answer["paging"]
        answer = (await here.graph("GET", ids[0], params={"fields": "subject,participants"})).json()
        assert answer["participants"] == [{"wa_id": "5215512345678"}]


async def test_an_account_lists_its_numbers_and_templates() -> None:
    """What a gateway for whole accounts reads."""
    async with place() as here:
        await here.post("numbers", {"phoneNumberId": MEXICAN, "accessToken": READY.access_token})
        numbers = (await here.graph("GET", f"{READY.waba_id}/phone_numbers")).json()["data"]
        assert [number["id"] for number in numbers] == [NUMBER, SECOND, MEXICAN]
        answer = await here.graph(
            "GET", f"{READY.waba_id}/message_templates", params={"name": "pedido_listo"}
        )
        [template] = answer.json()["data"]
        assert (template["status"], template["language"]) == ("APPROVED", "es_MX")
        answer = await here.graph("GET", "999/phone_numbers")
        assert error_of(answer)["error_subcode"] == 33


async def test_limits_are_enforced_where_they_are_switched_on() -> None:
    """131056 for one person too often, 130429 for one number too fast."""
    async with place() as here:
        await here.control("PATCH", "settings", {"pairLimit": True})
        codes = [(await here.send()).status_code for _ in range(46)]
        assert codes == [200] * 45 + [400]
        assert error_of(await here.send())["code"] == 131056
        await here.control("PATCH", "settings", {"pairLimit": False, "throughput": 1})
        assert [(await here.send()).status_code for _ in range(2)] == [200, 400]
        assert error_of(await here.send())["code"] == 130429


async def test_a_version_of_the_future_is_unknown() -> None:
    """And no version at all is the app's oldest."""
    async with place() as here:
        answer = await here.client.get(f"/v99.0/{NUMBER}", headers=TOKEN)
        assert error_of(answer)["code"] == 2500
        assert (await here.client.get(f"/{NUMBER}", headers=TOKEN)).status_code == 200


async def test_the_number_is_the_same_however_often_it_is_put() -> None:
    """Creating is idempotent, and what is not said stays."""
    async with place(AT_ONCE) as here:
        before = (await here.control("GET", "state"))["numbers"]
        await here.post("numbers", {"phoneNumberId": NUMBER})
        assert (await here.control("GET", "state"))["numbers"] == before


async def test_a_wamid_looks_like_one() -> None:
    """Whoever parses ids finds the other side's number in it."""
    async with place() as here:
        wamid = (await here.send()).json()["messages"][0]["id"]
        raw = msgspec.json.decode(f'"{wamid.removeprefix("wamid.")}"', type=bytes)
        assert b"5215512345678" in raw
