"""Numbers as somebody asks for them, and the apps behind them."""

from __future__ import annotations

import zlib
from typing import Any, Final, Literal

import msgspec

from wad.sandbox.ids import country_code, digits_of
from wad.sandbox.network import App, Network, Number


class NumberSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A business number as the control API takes it. What is left out stays as it is, or is made up."""

    phone_number_id: str
    access_token: str | None = None  # added to those it has
    access_tokens: list[str] | None = None  # in place of those it has
    app_secret: str | None = None
    verify_token: str | None = None
    app_id: str | None = None
    waba_id: str | None = None
    display_phone_number: str | None = None
    verified_name: str | None = None
    country_code: str | None = None
    api_key: str | None = None  # 360dialog has it
    webhook_headers: dict[str, str] | None = None  # and sends these with its webhooks
    callback_url: str | None = None  # the number's override; the app's too, where it has none
    verify: bool = True  # shake hands with a callback before it is taken
    registered: bool | None = None
    official: bool | None = None
    allow_list: list[str] | None = None
    throughput: Literal["STANDARD", "HIGH", "NOT_APPLICABLE"] | None = None
    on_business_app: bool | None = None
    quality: Literal["GREEN", "YELLOW", "RED", "UNKNOWN"] | None = None


_WABA: Final = "102290129340398"
_APP: Final = "670843887433847"
_SECRET: Final = "5a6db0c05a6db0c05a6db0c05a6db0c0"  # noqa: S105  these open nothing but a simulation
_VERIFY_TOKEN: Final = "sandbox-verify-token"  # noqa: S105

#: The numbers that a sandbox starts with: two of one account, and one that 360dialog has.
READY: Final = NumberSpec(
    phone_number_id="106540352242922",
    access_token="EAAsandbox",  # noqa: S106
    app_secret=_SECRET,
    verify_token=_VERIFY_TOKEN,
    app_id=_APP,
    waba_id=_WABA,
    display_phone_number="+1 555 010 0100",
    verified_name="Tienda Demo",
)

READY_SECOND: Final = NumberSpec(
    phone_number_id="106540352242923",
    access_token=READY.access_token,
    app_id=_APP,
    waba_id=_WABA,
    display_phone_number="+52 55 5010 0101",
    verified_name="Tienda Demo Norte",
)
READY_DIALOG360: Final = NumberSpec(
    phone_number_id="106540352242360",
    access_token="EAAdialog360",  # noqa: S106
    app_id="360360360360360",
    waba_id="102290129340360",
    display_phone_number="+52 55 5010 0360",
    verified_name="Tienda Demo en 360dialog",
    api_key="D360sandbox",
    webhook_headers={"X-Secret": "sandbox-webhook-secret"},
)

_TOLD: Final = (
    *("waba_id", "display_phone_number", "country_code", "verified_name", "api_key", "webhook_headers"),
    *("registered", "official", "throughput", "on_business_app", "quality"),
)


def put_number(network: Network, spec: NumberSpec) -> Number:
    """Create the number, or change what *spec* says of it. Its callback is another matter: it is asked first."""
    number = network.numbers.get(spec.phone_number_id)
    app = _app(network, spec, number)
    if number is None:
        number = network.numbers[spec.phone_number_id] = Number(
            phone_number_id=spec.phone_number_id,
            waba_id=_WABA,
            app_id=app.app_id,
            display_phone_number=f"+1 555 {zlib.crc32(spec.phone_number_id.encode()) % 10**7:07}",
            country_code="1",
            verified_name=f"Business {spec.phone_number_id}",
        )
    said: dict[str, Any] = {name: value for name in _TOLD if (value := getattr(spec, name)) is not None}
    if spec.display_phone_number is not None:
        said.setdefault("country_code", country_code(digits_of(spec.display_phone_number)))
    for name, value in said.items():
        setattr(number, name, value)
    number.app_id = app.app_id
    number.deleted = False
    if spec.allow_list is not None:
        number.allow_list = {digits_of(phone) for phone in spec.allow_list}
    tokens = set(number.access_tokens if spec.access_tokens is None else spec.access_tokens)
    if spec.access_token is not None:
        tokens.add(spec.access_token)
    network.account(number.waba_id)
    revoked = number.access_tokens - tokens
    network.grant(number, tokens or {f"EAAsandbox{spec.phone_number_id}"})
    for other in network.numbers_in(number.waba_id):  # a token is of the account's system user
        if other.access_tokens & revoked:
            network.grant(other, (other.access_tokens - revoked) | number.access_tokens)
    return number


def _app(network: Network, spec: NumberSpec, number: Number | None) -> App:
    """The app of a number: by its id, else the one with that secret, else the one it has, else the ready one."""
    app: App | None
    if spec.app_id is not None:
        app = network.apps.get(spec.app_id)
    elif spec.app_secret is not None:
        app = next((known for known in network.apps.values() if known.app_secret == spec.app_secret), None)
    elif number is not None:
        app = network.apps[number.app_id]
    else:
        app = network.apps.get(_APP)
    if app is None:
        secret = spec.app_secret or _SECRET
        app_id = spec.app_id or f"{10**14 + zlib.crc32(secret.encode())}"
        app = network.apps[app_id] = App(app_id, secret, spec.verify_token or _VERIFY_TOKEN)
    if spec.app_secret is not None:
        app.app_secret = spec.app_secret
    if spec.verify_token is not None:
        app.verify_token = spec.verify_token
    return app
