"""X-Twilio-Signature: HMAC over the exact URL, and over the parameters of a form.

https://www.twilio.com/docs/usage/webhooks/webhooks-security. The URL is as it was configured, with its query and
without its fragment; a parameter counts by its name and value, sorted by name, blank ones too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wad.sandbox.twilio.accounts import Account

Parameters = Iterable[tuple[str, str]]


def signature(secret: str, url: str, parameters: Parameters, algorithm: str = "sha1") -> str:
    said = url + "".join(name + value for name, value in sorted(set(parameters)))
    return base64.b64encode(hmac.new(secret.encode(), said.encode(), algorithm).digest()).decode()


def headers(account: Account, url: str, parameters: Parameters) -> dict[str, str]:
    """What a request to *url* carries: signed with the account's token, or with its shared key if it has one."""
    if account.shared_key is None:
        return {"X-Twilio-Signature": signature(account.auth_token, url, parameters)}
    key_id, secret = account.shared_key
    return {
        "X-Twilio-Signature": signature(secret, url, parameters, "sha256"),
        "X-Twilio-Webhooks-Signature-Settings": f"key={key_id},algorithm=HMAC_SHA256",
    }


def with_hash(url: str, body: bytes) -> str:
    """The URL of a JSON webhook: its body's hash stands in for parameters."""
    return f"{url}{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
