"""How events reach the callback: shaken hands, signed, in order, again until they are taken."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
import trio

from tests.sandbox.place import ANA, AT_ONCE, CALLBACK, NUMBER, Place, place
from wad.sandbox import READY, Batch, Settings

LUIS = "+5215587654321"


async def write(here: Place, text: str, phone: str = ANA, **more: Any) -> str:
    answer = await here.post("inbound", {"from": {"phone": phone}, "text": text, **more})
    return str(answer["wamid"])


def bodies(here: Place) -> list[str]:
    return [message["text"]["body"] for message in here.hook.messages()]


# --- the handshake --------------------------------------------------------------------------------


async def test_a_callback_is_taken_once_it_has_shaken_hands() -> None:
    """The challenge comes back as it stands, for the right verify token."""
    async with place(callback=False) as here:
        answer = await here.post("numbers", {"phoneNumberId": NUMBER, "callbackUrl": CALLBACK})
        assert answer["callbackUrl"] == CALLBACK
        assert here.hook.heard == []


#: label → (what the callback does with the challenge, its verify token)
SHAKES = {
    "another verify token": (lambda challenge: challenge, "not this one"),
    "the challenge in JSON": (lambda challenge: f'{{"hub.challenge":"{challenge}"}}', READY.verify_token),
    "the challenge in quotes": (lambda challenge: f'"{challenge}"', READY.verify_token),
}


@pytest.mark.parametrize("label", SHAKES)
async def test_a_callback_that_does_not_shake_hands_is_refused(label: str) -> None:
    """In Meta's words, and nothing changes."""
    async with place(callback=False) as here:
        here.hook.challenge, verify_token = SHAKES[label]
        here.hook.verify_token = verify_token or ""
        answer = await here.client.post(
            "/_sandbox/numbers", json={"phoneNumberId": NUMBER, "callbackUrl": CALLBACK}
        )
        assert answer.status_code == 400
        assert "Callback verification failed" in answer.json()["error"]
        number, *_ = (await here.control("GET", "state"))["numbers"]
        assert number["callbackUrl"] is None


async def test_events_do_not_leave_the_machine() -> None:
    """A callback beyond loopback is refused, unless the sandbox was started to allow it."""
    spec = {"phoneNumberId": NUMBER, "callbackUrl": "https://example.com/hook", "verify": False}
    async with place(callback=False) as here:
        answer = await here.client.post("/_sandbox/numbers", json=spec)
        assert "not a loopback address" in answer.json()["error"]
    async with place(callback=False, allow_remote=True) as here:
        assert (await here.client.post("/_sandbox/numbers", json=spec)).status_code == 200


async def test_overrides_shake_hands_too() -> None:
    """The number's and the account's, set and taken away as Meta's API does it."""
    async with place() as here:
        override = {"override_callback_uri": f"{CALLBACK}/2", "verify_token": READY.verify_token}
        answer = await here.graph("POST", NUMBER, json={"webhook_configuration": override})
        assert answer.json() == {"success": True}
        wrong = override | {"verify_token": "wrong"}
        answer = await here.graph("POST", f"{READY.waba_id}/subscribed_apps", json=wrong)
        assert answer.json()["error"]["code"] == 2200
        answer = await here.graph("GET", NUMBER, params={"fields": "webhook_configuration"})
        assert answer.json()["webhook_configuration"]["phone_number"] == f"{CALLBACK}/2"
        await here.graph("POST", NUMBER, json={"webhook_configuration": {"override_callback_uri": ""}})
        answer = await here.graph("GET", NUMBER, params={"fields": "webhook_configuration"})
        assert answer.json()["webhook_configuration"] == {"application": CALLBACK}


# --- bytes and signature --------------------------------------------------------------------------


async def test_the_signature_is_over_the_bytes_as_meta_writes_them(autojump_clock: object) -> None:
    """Beyond ASCII as a lower-case escape, slashes escaped; HMAC-SHA256 under the app's secret, by hand."""
    async with place() as here:
        await write(here, "ñandú 👋 </b>")
        await here.settled()
        [(headers, body)] = here.hook.heard
        assert b"\\u00f1and\\u00fa \\ud83d\\udc4b <\\/b>" in body
        assert body.isascii()
        secret = (READY.app_secret or "").encode()
        assert (
            headers["x-hub-signature-256"] == f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        )
        assert headers["x-hub-signature"] == f"sha1={hmac.new(secret, body, hashlib.sha1).hexdigest()}"
        assert headers["content-type"] == "application/json"
        written_anew = json.dumps(json.loads(body)).encode()
        assert (
            hmac.new(secret, written_anew, hashlib.sha256).hexdigest() not in headers["x-hub-signature-256"]
        )
        assert bodies(here) == ["ñandú 👋 </b>"]


async def test_the_envelope_is_metas(autojump_clock: object) -> None:
    """Account, metadata, contacts with the user id, and the message with both of the sender's names."""
    async with place() as here:
        wamid = await write(here, "hola")
        await here.settled()
        [(_, body)] = here.hook.heard
        envelope = msgspec.json.decode(body)
        assert envelope["object"] == "whatsapp_business_account"
        [entry] = envelope["entry"]
        assert entry["id"] == READY.waba_id
        [change] = entry["changes"]
        assert change["field"] == "messages"
        user_id = here.sandbox.network.customer_by_digits("5215512345678").user_id  # type: ignore[union-attr]
        [message] = change["value"].pop("messages")
        assert change["value"] == {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550100100", "phone_number_id": NUMBER},
            "contacts": [{"profile": {"name": "Ana Torres"}, "wa_id": "5215512345678", "user_id": user_id}],
        }
        assert int(message.pop("timestamp")) > 1_700_000_000
        assert message == {
            "from": "5215512345678",
            "from_user_id": user_id,
            "id": wamid,
            "type": "text",
            "text": {"body": "hola"},
        }


# --- delivery -------------------------------------------------------------------------------------


async def test_a_post_that_is_not_answered_200_comes_again_with_growing_delays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The same bytes, at the scheduled times exactly, until the 200; 201 is not 200."""
    settings = Settings(statuses={}, retry_delays=[1, 2, 4])
    async with place(settings) as here:
        here.hook.answers = [503, 401, 201, 500, 500]
        start = trio.current_time()
        await write(here, "hola")
        await here.settled()
        assert [time - start for time in here.hook.times] == [0, 1, 3, 7, 11, 15]
        assert len({body for _, body in here.hook.heard}) == 1
        entries = here.sandbox.ledger.entries("delivery")
        assert [(entry["attempt"], entry["status"]) for entry in entries] == [
            (1, 503), (2, 401), (3, 201), (4, 500), (5, 500), (6, 200),
        ]  # fmt: skip


async def test_meta_gives_up_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """After `giveUpAfter` seconds an event is lost for good."""
    async with place(Settings(statuses={}, retry_delays=[10], give_up_after=35)) as here:
        here.hook.answers = [503] * 100
        start = trio.current_time()
        await write(here, "hola")
        await here.settled()
        assert [time - start for time in here.hook.times] == [0, 10, 20, 30]


async def test_a_callback_that_hangs_counts_as_one_that_fails(autojump_clock: object) -> None:
    """After the timeout the event comes again."""
    async with place(Settings(statuses={}, retry_delays=[1], webhook_timeout=5)) as here:
        here.hook.pause = 60
        await write(here, "hola")
        await trio.sleep(5.5)
        here.hook.pause = 0
        await here.settled()
        entries = here.sandbox.ledger.entries("delivery")
        assert [(entry["status"], entry["error"]) for entry in entries] == [
            (None, "TooSlowError"),
            (200, None),
        ]


async def test_a_chat_is_told_in_order_and_chats_side_by_side(autojump_clock: object) -> None:
    """One event of a chat is on the wire at a time; ten chats are on it together."""
    async with place(Settings(statuses={})) as here:
        here.hook.pause = 1.0
        for text in ("1", "2", "3"):
            for n in range(10):
                await write(here, text, phone=f"+52155000000{n:02}")
        await here.settled()
        assert here.hook.most_in_hand == 10
        by_sender: dict[str, list[str]] = {}
        for message in here.hook.messages():
            by_sender.setdefault(message["from"], []).append(message["text"]["body"])
        assert list(by_sender.values()) == [["1", "2", "3"]] * 10


async def test_no_more_posts_at_once_than_told(autojump_clock: object) -> None:
    """`concurrency` is the most that one callback has in hand."""
    async with place(Settings(statuses={}, concurrency=3)) as here:
        here.hook.pause = 1.0
        for n in range(9):
            await write(here, "x", phone=f"+52155000000{n:02}")
        await here.settled()
        assert here.hook.most_in_hand == 3
        assert len(here.hook.heard) == 9


async def test_a_failed_event_does_not_hold_up_its_chat(autojump_clock: object) -> None:
    """Meta does not wait: what failed comes later, behind what followed it."""
    async with place(Settings(statuses={}, retry_delays=[5])) as here:
        here.hook.answers = [503]
        await write(here, "1")
        await write(here, "2")
        await here.settled()
        assert bodies(here) == ["1", "2", "1"]


async def test_a_batch_mixes_numbers_and_accounts(autojump_clock: object) -> None:
    """One POST, an entry an account, a change a number and kind, in the order things happened."""
    other = {
        "phoneNumberId": "222",
        "wabaId": "333",
        "callbackUrl": CALLBACK,
        "displayPhoneNumber": "+52 55 0000 0001",
    }
    async with place(Settings(statuses={"sent": 0.0}, batch=Batch(max=100, linger=1))) as here:
        await here.post("numbers", other)
        await write(here, "1")
        await write(here, "2", phone=LUIS)
        await write(here, "3", phoneNumberId="222")
        await here.send()
        await here.settled()
        [(_, body)] = here.hook.heard
        entries = msgspec.json.decode(body)["entry"]
        assert [entry["id"] for entry in entries] == [READY.waba_id, "333"]
        kinds = [
            [
                (
                    change["value"]["metadata"]["phone_number_id"],
                    len(change["value"].get("messages", ())),
                    len(change["value"].get("statuses", ())),
                )
                for change in entry["changes"]
            ]
            for entry in entries
        ]
        assert kinds == [[(NUMBER, 2, 0), (NUMBER, 0, 1)], [("222", 1, 0)]]
        assert len(entries[0]["changes"][0]["value"]["contacts"]) == 2


async def test_apps_with_other_secrets_never_share_a_post(autojump_clock: object) -> None:
    """A signature is one app's: the batch of each is signed with its own secret."""
    async with place(Settings(statuses={}, batch=Batch(max=100, linger=1))) as here:
        await here.post(
            "numbers",
            {
                "phoneNumberId": "222",
                "appSecret": "another",
                "verifyToken": READY.verify_token,
                "callbackUrl": CALLBACK,
            },
        )
        await write(here, "1")
        await write(here, "2", phoneNumberId="222")
        await here.settled()
        signers = [
            secret
            for headers, body in here.hook.heard
            for secret in (READY.app_secret or "", "another")
            if headers["x-hub-signature-256"][7:] == hmac.new(secret.encode(), body, "sha256").hexdigest()
        ]
        assert sorted(signers) == sorted([READY.app_secret or "", "another"])


# --- held, released, replayed ---------------------------------------------------------------------


async def test_what_is_held_can_be_released_in_any_order(autojump_clock: object) -> None:
    """Backwards, two at a time, each twice: whatever disorder a test wants."""
    async with place(Settings(statuses={})) as here:
        await here.post("webhooks/hold")
        for n in range(4):
            await write(here, str(n))
        await trio.sleep(10)
        assert here.hook.heard == []
        answer = await here.post("webhooks/release", {"order": "reversed", "batch": 2})
        assert [delivery["status"] for delivery in answer["deliveries"]] == [200, 200]
        assert bodies(here) == ["3", "2", "1", "0"]
        await write(here, "4")
        await here.settled()
        assert bodies(here)[-1] == "4"


async def test_what_was_delivered_can_come_again(autojump_clock: object) -> None:
    """The same event, days later: same wamid, same timestamp, and the ledger knows the deliveries apart."""
    async with place(Settings(statuses={})) as here:
        first = await here.post("inbound", {"from": {"phone": ANA}, "text": "hola"})
        await here.settled()
        await here.post("clock", {"advance": 7 * 86400})
        await here.post("webhooks/replay", {"eventIds": [first["eventId"]]})
        again = here.hook.messages()
        assert again[0] == again[1]
        assert len(here.sandbox.ledger.entries("event")) == 1
        assert len(here.sandbox.ledger.entries("delivery")) == 2


# --- faults of events -----------------------------------------------------------------------------


async def script(here: Place, fault: dict[str, Any], **match: Any) -> None:
    await here.post("faults", {"match": {"operation": "webhook", **match}, "fault": fault})


async def test_duplicates_come_as_often_as_told(autojump_clock: object) -> None:
    """The same message in several POSTs."""
    async with place(Settings(statuses={})) as here:
        await script(here, {"kind": "duplicate", "copies": 3}, event="message")
        await write(here, "1")
        await write(here, "2")
        await here.settled()
        assert bodies(here) == ["1", "1", "1", "2"]


async def test_a_status_can_overtake_the_one_before_it(autojump_clock: object) -> None:
    """Delivered before sent: Meta promises no order."""
    async with place(AT_ONCE) as here:
        await script(here, {"kind": "reorder"}, status="sent")
        await here.send()
        await here.settled()
        assert [status["status"] for status in here.hook.statuses()] == ["delivered", "sent", "read"]


async def test_a_reordered_event_that_nothing_follows_comes_by_itself(autojump_clock: object) -> None:
    """After `seconds`, so that nothing is lost."""
    async with place(Settings(statuses={})) as here:
        await script(here, {"kind": "reorder", "seconds": 3})
        start = trio.current_time()
        await write(here, "1")
        await here.settled()
        assert [time - start for time in here.hook.times] == [3]


async def test_a_status_can_lack_its_callback_data(autojump_clock: object) -> None:
    """Then only the wamid tells whose it is."""
    async with place(Settings(statuses={"sent": 0.0, "delivered": 0.0})) as here:
        await script(here, {"kind": "drop_callback_data"}, status="sent")
        await here.send(biz_opaque_callback_data="mine")
        await here.settled()
        assert [status.get("biz_opaque_callback_data") for status in here.hook.statuses()] == [None, "mine"]


async def test_an_event_can_be_lost_or_late(autojump_clock: object) -> None:
    """Lost for good, or so many seconds late."""
    async with place(Settings(statuses={})) as here:
        await script(here, {"kind": "lose"})
        await script(here, {"kind": "late", "seconds": 60})
        start = trio.current_time()
        for text in ("lost", "late", "3"):
            await write(here, text)
        await here.settled()
        assert bodies(here) == ["3", "late"]
        assert here.hook.times[-1] - start == 60


@pytest.mark.parametrize("signature", ["wrong", "missing"])
async def test_an_attacker_can_come_first(signature: str, autojump_clock: object) -> None:
    """The same bytes with a bad signature or none, and then the real ones."""
    async with place(Settings(statuses={})) as here:
        await script(here, {"kind": "forge", "signature": signature})
        await write(here, "hola")
        await here.settled()
        secret = (READY.app_secret or "").encode()
        right = [
            headers.get("x-hub-signature-256") == f"sha256={hmac.new(secret, body, 'sha256').hexdigest()}"
            for headers, body in here.hook.heard
        ]
        assert right == [False, True]


async def test_a_status_can_come_before_its_send_is_answered(autojump_clock: object) -> None:
    """The callback has heard of the wamid when the caller learns it."""
    async with place(AT_ONCE) as here:
        await here.post("faults", {"match": {"operation": "messages"}, "fault": {"kind": "early_status"}})
        answer = await here.send()
        [status] = here.hook.statuses()
        assert (status["id"], status["status"]) == (answer.json()["messages"][0]["id"], "sent")
        await here.settled()
        assert [status["status"] for status in here.hook.statuses()] == ["sent", "delivered", "read"]


async def test_statuses_and_other_events_can_be_made_up(autojump_clock: object) -> None:
    """A status of any name, of a message nobody sent; a field of any name; any bytes at all."""
    async with place(Settings(statuses={})) as here:
        wamid = (await here.send()).json()["messages"][0]["id"]
        await here.post("status", {"wamid": wamid, "status": "failed", "error": {"code": 131049}})
        await here.post(
            "status", {"wamid": "wamid.old", "status": "warning", "to": {"phone": ANA}, "callbackData": "m"}
        )
        value = {"event": "APPROVED", "message_template_name": "x"}
        await here.post("event", {"field": "message_template_status_update", "value": value})
        await here.settled()
        failed, warning = here.hook.statuses()
        assert failed["errors"][0]["code"] == 131049
        assert (warning["id"], warning["status"], warning["biz_opaque_callback_data"]) == (
            "wamid.old",
            "warning",
            "m",
        )
        entry = msgspec.json.decode(here.hook.heard[-1][1])["entry"][0]
        assert entry["changes"] == [{"value": value, "field": "message_template_status_update"}]
        assert isinstance(entry["time"], int)
        answer = await here.post("raw", {"text": "{not json", "signature": "right"})
        assert answer["status"] == 200
        headers, body = here.hook.heard[-1]
        secret = (READY.app_secret or "").encode()
        assert body == b"{not json"
        assert headers["x-hub-signature-256"] == f"sha256={hmac.new(secret, body, 'sha256').hexdigest()}"


async def test_everybody_who_waits_for_quiet_is_told(autojump_clock: object) -> None:
    """Two at once; and whoever waits too briefly is told that it is not over."""
    async with place(Settings(statuses={"sent": 10.0})) as here:
        await here.send()
        answers: list[bool] = []

        async def wait(seconds: float) -> None:
            answers.append((await here.post("settle", {"seconds": seconds}))["settled"])

        async with trio.open_nursery() as nursery:
            for seconds in (5, 60, 60):
                nursery.start_soon(wait, seconds)
        assert answers == [False, True, True]
