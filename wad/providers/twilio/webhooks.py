"""Twilio's webhooks: whether Twilio signed one, and the message or status that it is.

A webhook is a form, and one event. What has no place among wad's words becomes an `AccountEvent` that holds it as it
came. Twilio signs the URL as it was told it, with every parameter of the form; or, for a body that is no form, a URL
that carries the body's hash.
"""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
from twilio.request_validator import (  # type: ignore[import-untyped]
    HMAC_SHA1,
    HMAC_SHA256,
    RequestValidator,
    add_port,
    get_signature_algorithm,
    remove_port,
)

from wad.errors import InvalidRequest
from wad.models import Inbound, MessageId, WebhookRequest, utc_now
from wad.providers.base import WebhookEvent, Webhooks
from wad.providers.twilio.account import CALLBACK_ID
from wad.providers.twilio.inbound import message_of, status_of
from wad.providers.webhooks import header, kept, same

_FORM: Final = "application/x-www-form-urlencoded"
_SIGNATURE: Final = "x-twilio-signature"
_SETTINGS: Final = "x-twilio-webhooks-signature-settings"
_BODY_HASH: Final = "bodySHA256"


class Form(dict[str, str]):
    """Names to values, the last of each; `getlist` has all. A name without a value is there, and is signed."""

    def __init__(self, body: bytes) -> None:
        self._all = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")
        super().__init__(self._all)

    def getlist(self, name: str) -> list[str]:
        """As the SDK's validator asks for them."""
        return [value for key, value in self._all if key == name]


def secret_of(auth_token: str, shared_key: str | None) -> str:
    """What verifies a session's webhooks: the shared key, if there is one, and the auth token. Neither has a space."""
    return f"{shared_key} {auth_token}" if shared_key else auth_token


class TwilioWebhooks(Webhooks):
    #: Anything else that is XML would be carried out, and what is none is complained about.
    receipt: tuple[str, bytes] | None = ("text/xml", b"<Response/>")

    def verify(self, request: WebhookRequest, *, secret: str) -> bool:
        shared_key, _, auth_token = secret.rpartition(" ")
        algorithm = get_signature_algorithm(header(request.headers, _SETTINGS)).upper()
        key = {HMAC_SHA1: auth_token, HMAC_SHA256: shared_key}.get(algorithm)
        if not key:
            return False
        try:
            url = urlsplit(request.url)
            signed = self._signed(request)
            if signed is None:
                return False
            # Twilio's servers do not agree on whether the port belongs to the URL.
            validator = RequestValidator(key)
            expected = [
                validator.compute_signature(form(url), signed, algorithm) for form in (remove_port, add_port)
            ]
        except ValueError:  # an URL that is none, or that cannot be written in UTF-8
            return False
        given = header(request.headers, _SIGNATURE)
        return any([same(given, each) for each in expected])  # noqa: C419  all of them, whichever fits

    @staticmethod
    def _signed(request: WebhookRequest) -> Form | None:
        """What is signed besides the URL: a form's parameters. None where the body is not what the URL says."""
        if _is_form(request):
            return Form(request.body)
        expected = parse_qs(urlsplit(request.url).query).get(_BODY_HASH, [""])[0]
        return Form(b"") if same(hashlib.sha256(request.body).hexdigest(), expected.lower()) else None

    def parse(self, request: WebhookRequest) -> list[WebhookEvent]:
        if not _is_form(request):
            try:
                return [WebhookEvent(None, kept("provider.event", {"event": _decoded(request.body)}))]
            except RecursionError:  # as deep as the decoder goes, and so deeper than what writes it again
                raise InvalidRequest("nested too deeply") from None
        params = Form(request.body)
        if not params:
            raise InvalidRequest("not a webhook of Twilio's: it has no parameters")
        known: Inbound | None = None
        if "MessageStatus" in params:
            known = status_of(params, utc_now(), _our_id(request.url))
        elif params.get("SmsStatus") == "received":
            known = message_of(params)
        every = {name: params.getlist(name) for name in params}
        plain = {name: values if len(values) > 1 else values[0] for name, values in every.items()}
        return [WebhookEvent(None, known or kept("provider.event", {"params": plain}))]


def _is_form(request: WebhookRequest) -> bool:
    """An empty body without a type is a form without parameters."""
    kind = (header(request.headers, "content-type") or "").partition(";")[0].strip().lower()
    return kind == _FORM or (not kind and not request.body)


def _our_id(url: str) -> MessageId | None:
    try:
        found = parse_qs(urlsplit(url).query).get(CALLBACK_ID)
    except ValueError:
        return None
    return MessageId(found[-1]) if found else None


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"neither a form nor JSON: {error}") from None
