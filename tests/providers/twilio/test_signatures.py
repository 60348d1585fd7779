"""What makes a webhook of Twilio's genuine, checked against the SDK's own validator and its published vectors."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from tests.providers.twilio.wire import SHARED_KEY, TOKEN, URL, inbound, signature, webhook
from wad.models import WebhookRequest
from wad.providers.twilio.webhooks import TwilioWebhooks, secret_of

HOOKS = TwilioWebhooks()
FORM = "application/x-www-form-urlencoded"
BOTH = secret_of(TOKEN, SHARED_KEY)

# --- Twilio's own examples (twilio-python, tests/unit/test_request_validator.py)
THEIR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
THEIR_FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
THEIR_BODY = b'{"property": "value", "boolean": true}'
THEIR_HASH = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"


def request(body: bytes = b"", url: str = URL, kind: str | None = FORM, **headers: str) -> WebhookRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebhookRequest(url=url, headers=named | ({"Content-Type": kind} if kind else {}), body=body)


VECTORS = {
    "a form": request(
        urlencode(THEIR_FORM).encode(), THEIR_URL, X_Twilio_Signature="RSOYDt4T1cUTdK1PDd93/VVr8B8="
    ),
    "a form, the port in the URL": request(
        urlencode(THEIR_FORM).encode(),
        THEIR_URL.replace(".com", ".com:443"),
        X_Twilio_Signature="RSOYDt4T1cUTdK1PDd93/VVr8B8=",
    ),
    "a body by its hash": request(
        THEIR_BODY,
        f"{THEIR_URL}&bodySHA256={THEIR_HASH}",
        "application/json",
        X_Twilio_Signature="a9nBmqA0ju/hNViExpshrM61xv4=",
    ),
}


@pytest.mark.parametrize("label", VECTORS)
def test_the_published_vectors_pass(label: str) -> None:
    """With Twilio's token of the examples, and with no other."""
    assert HOOKS.verify(VECTORS[label], secret="12345")
    assert not HOOKS.verify(VECTORS[label], secret="12346")


_PARAMS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    max_size=6,
)


@given(params=_PARAMS, algorithm=st.sampled_from([None, "HMAC_SHA1", "HMAC_SHA256"]))
def test_what_the_sdk_signs_is_genuine(params: dict[str, str], algorithm: str | None) -> None:
    """Whatever the names and values, blank ones included: and what the SDK's validator says, we say."""
    key = SHARED_KEY if algorithm == "HMAC_SHA256" else TOKEN
    genuine = webhook(params, token=key, algorithm=algorithm)
    assert HOOKS.verify(genuine, secret=BOTH)
    signed = genuine.headers["X-Twilio-Signature"]
    assert RequestValidator(key).validate(URL, params, signed, algorithm)
    other = WebhookRequest(url=URL, headers=genuine.headers, body=genuine.body + b"&x=")
    assert not HOOKS.verify(other, secret=BOTH)


def test_a_parameter_that_comes_twice_is_signed_twice() -> None:
    """Each of its values, sorted, and equal ones once."""

    class Many(dict[str, str]):
        def getlist(self, name: str) -> list[str]:
            return ["b", "a", "b"] if name == "MediaUrl" else [self[name]]

    signed = RequestValidator(TOKEN).compute_signature(URL, Many(MediaUrl="b", From="x"))
    body = b"MediaUrl=b&From=x&MediaUrl=a&MediaUrl=b"
    assert HOOKS.verify(request(body, X_Twilio_Signature=signed), secret=TOKEN)


def test_blank_parameters_are_signed() -> None:
    """Twilio sends a Body of nothing with a picture; its name is part of what is signed."""
    genuine = webhook(inbound(Body="", ButtonText=""))
    assert b"Body=&" in genuine.body
    assert HOOKS.verify(genuine, secret=TOKEN)


def test_the_url_is_the_one_that_twilio_was_told() -> None:
    """Its scheme, host, path and query; what the request says of its host is not looked at."""
    genuine = webhook(inbound(), f"{URL}?messageId=msg_1")
    for url in (URL, f"{URL}?messageId=msg_2", genuine.url.replace("https", "http"), genuine.url.upper()):
        moved = WebhookRequest(
            url=url, headers={**genuine.headers, "Host": "wa.example.com"}, body=genuine.body
        )
        assert not HOOKS.verify(moved, secret=TOKEN)


def test_each_algorithm_has_its_own_secret() -> None:
    """Whoever knows the one cannot sign with the other, and none is taken where there is no such secret."""
    by_key = webhook(inbound(), token=SHARED_KEY, algorithm="HMAC_SHA256")
    assert HOOKS.verify(by_key, secret=BOTH)
    assert not HOOKS.verify(by_key, secret=TOKEN)
    assert not HOOKS.verify(webhook(inbound(), token=TOKEN, algorithm="HMAC_SHA256"), secret=BOTH)
    assert not HOOKS.verify(webhook(inbound(), token=SHARED_KEY), secret=BOTH)
    assert HOOKS.verify(webhook(inbound()), secret=BOTH)


@pytest.mark.parametrize("algorithm", ["HMAC_MD5", "none", "HMAC_SHA512", "\ud800"])
def test_an_algorithm_that_nobody_agreed_on_does_not_pass(algorithm: str) -> None:
    """Whatever the signature."""
    settings = {"X-Twilio-Webhooks-Signature-Settings": f"key=x,algorithm={algorithm}"}
    genuine = webhook(inbound())
    forged = WebhookRequest(url=URL, headers={**genuine.headers, **settings}, body=genuine.body)
    assert not HOOKS.verify(forged, secret=BOTH)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_a_body_that_the_signature_does_not_cover_does_not_pass(kind: str | None) -> None:
    """A URL that was signed once could otherwise carry anything."""
    url = f"{URL}?x=1"
    signed = signature({}, url)["X-Twilio-Signature"]
    assert not HOOKS.verify(request(b'{"a": 1}', url, kind, X_Twilio_Signature=signed), secret=TOKEN)
    assert HOOKS.verify(request(b"", url, None, X_Twilio_Signature=signed), secret=TOKEN)


def test_a_hash_of_another_body_does_not_pass() -> None:
    """Its signature is right, and says so of another body."""
    url = f"{URL}?bodySHA256={hashlib.sha256(b'{}').hexdigest()}"
    signed = signature({}, url)["X-Twilio-Signature"]
    kind = "application/json"
    assert HOOKS.verify(request(b"{}", url, kind, X_Twilio_Signature=signed), secret=TOKEN)
    assert not HOOKS.verify(request(b"{ }", url, kind, X_Twilio_Signature=signed), secret=TOKEN)


@pytest.mark.parametrize("url", ["", "/webhooks/twilio/x", "https://[", "https://x:99999999/", "\ud800"])
def test_a_url_that_is_none_does_not_raise(url: str) -> None:
    """A session without a public URL has only a path."""
    genuine = webhook(inbound())
    odd = WebhookRequest(url=url, headers=genuine.headers, body=genuine.body)
    assert not HOOKS.verify(odd, secret=TOKEN)
    assert HOOKS.parse(odd)
