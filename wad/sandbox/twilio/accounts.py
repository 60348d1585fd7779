"""Twilio's accounts, their senders and messaging services, and the messages they keep."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from wad.sandbox.ids import digits_of, is_plausible
from wad.sandbox.network import Customer, Message
from wad.sandbox.twilio.templates import Template, catalogue

PREFIX: Final = "whatsapp:"
KEPT: Final = 200_000  # messages an account lists


@dataclass(slots=True)
class Sender:
    """A WhatsApp number that an account sends with. Its address is its id."""

    address: str  # whatsapp:+E164
    account_sid: str
    name: str
    webhook_url: str | None = None  # with connection overrides in its fragment
    webhook_method: Literal["GET", "POST"] = "POST"
    fallback_url: str | None = None
    status_callback: str | None = None  # for sends that name none

    @property
    def digits(self) -> str:
        return digits_of(self.address.removeprefix(PREFIX))

    @property
    def install_sid(self) -> str:
        return "XE" + hashlib.md5(self.address.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Media:
    """What a message carries, by its ME sid."""

    sid: str
    mime_type: str
    data: bytes


@dataclass(slots=True)
class Record:
    """A message as an account keeps it, in either direction."""

    sid: str
    account_sid: str
    sender: Sender
    customer: Customer
    inbound: bool
    address: str  # of the customer: `To` of a send as it was given, `From` of what they wrote
    body: str
    created: float
    updated: float
    shown: Message  # the same on the chat page
    status: str
    sent: float | None = None
    service_sid: str | None = None
    callback: str | None = None
    callback_data: str | None = None
    media: list[Media] = field(default_factory=list)
    media_count: int = 0
    error: tuple[int, str] | None = None


@dataclass(slots=True)
class Account:
    sid: str
    auth_token: str
    name: str
    status: Literal["active", "suspended", "closed"] = "active"
    api_keys: dict[str, str] = field(default_factory=dict)  # SK sid → secret
    shared_key: tuple[str, str] | None = None  # its id and secret: it signs webhooks in the token's place
    services: dict[str, list[str]] = field(default_factory=dict)  # MG sid → addresses
    templates: dict[str, Template] = field(default_factory=catalogue)  # by HX sid
    records: dict[str, Record] = field(default_factory=dict)  # by sid, oldest first
    created: float = 0.0


class SharedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    secret: str


class SenderSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A sender as the control API takes it. What is left out stays as it is, or is made up."""

    number: str  # E.164 with its +
    name: str | None = None
    account_sid: str | None = None
    auth_token: str | None = None
    api_key_sid: str | None = None
    api_key_secret: str | None = None
    shared_key: SharedKey | None = None
    messaging_service_sid: str | None = None  # one that sends with this number
    webhook_url: str | None = None
    webhook_method: Literal["GET", "POST"] | None = None
    fallback_url: str | None = None
    status_callback: str | None = None
    account_status: Literal["active", "suspended", "closed"] | None = None


#: The sender a sandbox starts with. These open nothing but a simulation.
READY_SENDER: Final = SenderSpec(
    number="+15550100300",
    name="Tienda Twilio",
    account_sid="AC" + "5a6db0c0" * 4,
    auth_token="5a6db0c15a6db0c15a6db0c15a6db0c1",  # noqa: S106
    api_key_sid="SK" + "5a6db0c2" * 4,
    api_key_secret="sandboxapikeysecretsandboxapikey",  # noqa: S106
    messaging_service_sid="MG" + "5a6db0c3" * 4,
)


class Accounts:
    """All of them. Synchronous and free of I/O."""

    def __init__(self) -> None:
        self.by_sid: dict[str, Account] = {}
        self.senders: dict[str, Sender] = {}  # by address
        self.records: dict[str, Record] = {}  # by sid, of all accounts

    def put(self, spec: SenderSpec, now: float) -> Sender:
        """Create the sender and its account, or change what *spec* says of them."""
        digits = digits_of(spec.number)
        if not spec.number.startswith("+") or not digits.isdigit() or not is_plausible(digits):
            raise ValueError(f"number must be E.164 with its +, such as +15550100300: {spec.number!r}")
        address = f"{PREFIX}+{digits}"
        sender = self.senders.get(address)
        account = self._account(spec, sender, now)
        if sender is None:
            sender = self.senders[address] = Sender(address, account.sid, f"Business {digits[-4:]}")
        elif sender.account_sid != account.sid:
            for addresses in self.by_sid[sender.account_sid].services.values():
                if address in addresses:
                    addresses.remove(address)
        sender.account_sid = account.sid
        for name in ("name", "webhook_url", "webhook_method", "fallback_url", "status_callback"):
            if (value := getattr(spec, name)) is not None:
                setattr(sender, name, value or None)
        if spec.messaging_service_sid is not None:
            addresses = account.services.setdefault(_sid("MG", spec.messaging_service_sid), [])
            if address not in addresses:
                addresses.append(address)
        return sender

    def _account(self, spec: SenderSpec, sender: Sender | None, now: float) -> Account:
        """By its sid, else the one the sender has, else the ready one."""
        known = sender.account_sid if sender is not None else READY_SENDER.account_sid
        sid = _sid("AC", spec.account_sid or known or "")
        account = self.by_sid.get(sid)
        if account is None:
            made_up = hashlib.md5(sid.encode(), usedforsecurity=False).hexdigest()
            token = spec.auth_token or made_up
            account = self.by_sid[sid] = Account(sid, token, f"Account {zlib.crc32(sid.encode()) % 10**4:04}")
            account.created = now
        if spec.auth_token is not None:
            account.auth_token = spec.auth_token
        if spec.api_key_sid is not None:
            if not spec.api_key_secret:
                raise ValueError("apiKeySid needs its apiKeySecret")
            account.api_keys[_sid("SK", spec.api_key_sid)] = spec.api_key_secret
        if spec.shared_key is not None:
            account.shared_key = (spec.shared_key.id, spec.shared_key.secret)
        if spec.account_status is not None:
            account.status = spec.account_status
        return account

    def account_of(self, sender: Sender) -> Account:
        return self.by_sid[sender.account_sid]

    def of_credentials(self, user: str, password: str) -> Account | None:
        """The account that an AC sid with its token, or an SK sid with its secret, opens."""
        account = self.by_sid.get(user)
        if account is not None:
            return account if _same(account.auth_token, password) else None
        owner = next((each for each in self.by_sid.values() if user in each.api_keys), None)
        return owner if owner is not None and _same(owner.api_keys[user], password) else None

    def keep(self, record: Record) -> None:
        account = self.by_sid[record.account_sid]
        self.records[record.sid] = account.records[record.sid] = record
        if len(account.records) > KEPT:
            oldest = next(iter(account.records))
            del account.records[oldest], self.records[oldest]

    def forget(self, record: Record) -> None:
        del self.records[record.sid], self.by_sid[record.account_sid].records[record.sid]

    def described(self, sender: Sender) -> dict[str, Any]:
        """A sender with its credentials: it is a simulation, and whoever asks has to configure a gateway with them."""
        account = self.account_of(sender)
        key = next(iter(account.api_keys.items()), (None, None))
        return {
            "phoneNumberId": sender.address,
            "displayPhoneNumber": f"+{sender.digits}",
            "verifiedName": sender.name,
            "accountSid": account.sid,
            "authToken": account.auth_token,
            "apiKeySid": key[0],
            "apiKeySecret": key[1],
            "from": sender.address,
            "messagingServiceSids": [sid for sid, each in account.services.items() if sender.address in each],
            "accountStatus": account.status,
            "webhookUrl": sender.webhook_url,
            "webhookMethod": sender.webhook_method,
            "fallbackUrl": sender.fallback_url,
            "statusCallback": sender.status_callback,
        }


def new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


def _sid(prefix: str, given: str) -> str:
    digits = given.removeprefix(prefix)
    if not given.startswith(prefix) or len(digits) != 32 or set(digits) - set("0123456789abcdef"):
        raise ValueError(f"a sid of this kind is {prefix} and 32 digits of 0-9 a-f: {given!r}")
    return given


def _same(ours: str, given: str) -> bool:
    return secrets.compare_digest(ours.encode(), given.encode())
