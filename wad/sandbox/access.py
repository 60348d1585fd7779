"""What a gateway has to know of the first number of each kind: its configuration's word, and a session's credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from wad.sandbox.dialog360 import PREFIX
from wad.sandbox.network import Number
from wad.sandbox.twilio.accounts import Sender

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

Access: TypeAlias = dict[str, dict[str, Any]]


def access(sandbox: Sandbox, url: str) -> dict[str, Access]:
    """Provider → `config` (under `providers.<it>`) and `credentials`; *url* is where the sandbox is reached."""
    network = sandbox.network
    numbers = [number for number in network.numbers.values() if not number.deleted]
    found: dict[str, Access] = {}
    for number in numbers:
        if number.api_key is not None:
            found.setdefault("dialog360", _dialog360(number, url))
            continue
        app = network.app_of(number)
        shared = {
            "accessToken": min(number.access_tokens),
            "appSecret": app.app_secret,
            "verifyToken": app.verify_token,
        }
        config = {"base_url": url}
        found.setdefault(
            "cloud_api",
            {"config": config, "credentials": {"phoneNumberId": number.phone_number_id, **shared}},
        )
        found.setdefault(
            "meta_business", {"config": config, "credentials": {"wabaId": number.waba_id, **shared}}
        )
    for sender in sandbox.twilio.accounts.senders.values():
        found.setdefault("twilio", _twilio(sandbox, sender, url))
    return found


def _dialog360(number: Number, url: str) -> Access:
    secret = next(iter(number.webhook_headers.values()), None)
    return {
        "config": {"base_url": f"{url}{PREFIX}"},
        "credentials": {"apiKey": number.api_key, **({"webhookSecret": secret} if secret else {})},
    }


def _twilio(sandbox: Sandbox, sender: Sender, url: str) -> Access:
    account = sandbox.twilio.accounts.account_of(sender)
    credentials = {"accountSid": account.sid, "authToken": account.auth_token, "from": sender.address}
    return {"config": {"base_url": url}, "credentials": credentials}
