"""The simulated world: apps, business accounts, numbers, customers, groups, and what they said to each other.

Synchronous and free of I/O. Time is the wall clock plus what a test has moved it by.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from wad.sandbox.catalogue import catalogue
from wad.sandbox.ids import as_wa_id, digits_of, user_id_of
from wad.sandbox.media import Media
from wad.sandbox.templates import Template

WINDOW: Final = 24 * 3600.0  # the customer service window
_KEPT: Final = 500  # messages a chat shows on the page


@dataclass(slots=True)
class App:
    """A Meta app: its secret signs, its callback receives."""

    app_id: str
    app_secret: str
    verify_token: str
    callback_url: str | None = None


@dataclass(slots=True, frozen=True)
class Callback:
    """Where events go: the app's own, or an override of it for one account or one number."""

    url: str
    verify_token: str = ""
    headers: tuple[tuple[str, str], ...] | None = (
        None  # what its POSTs carry in place of a signature: 360dialog
    )


@dataclass(slots=True)
class Account:
    """A WhatsApp Business Account."""

    waba_id: str
    templates: dict[tuple[str, str], Template]
    name: str = "Sandbox account"
    override: Callback | None = None
    subscribed: bool = True
    can_send: Literal["AVAILABLE", "LIMITED", "BLOCKED"] = "AVAILABLE"  # LIMITED: answers only, no templates
    marketing: Literal["ONBOARDED", "ELIGIBLE", "INELIGIBLE"] = "ONBOARDED"  # to the Marketing Messages API
    limit: str = "TIER_UNLIMITED"  # people a day outside of their windows; Meta has it of the portfolio
    deleted_names: dict[str, float] = field(default_factory=dict)  # of templates, with when


@dataclass(slots=True)
class Number:
    """A business phone number."""

    phone_number_id: str
    waba_id: str
    app_id: str
    display_phone_number: str
    verified_name: str
    country_code: str
    access_tokens: set[str] = field(default_factory=set)  # change them with `Network.grant`
    override: Callback | None = None
    registered: bool = True
    verified: bool = True  # its owner has shown the code
    code: str | None = None  # the one that was asked for
    pin: str | None = None  # of two-step verification, once set
    changes: dict[str, list[float]] = field(default_factory=dict)  # when it was registered, and deregistered
    settings: dict[str, Any] = field(default_factory=dict)
    api_key: str | None = None  # 360dialog has it, and knows it by this
    webhook_headers: dict[str, str] = field(default_factory=dict)  # 360dialog's, in place of a signature
    official: bool = True  # an Official Business Account: may use groups
    deleted: bool = False
    allow_list: set[str] | None = None  # a test number: 131030 for everybody else
    throughput: Literal["STANDARD", "HIGH", "NOT_APPLICABLE"] = "STANDARD"
    on_business_app: bool = False  # used with the WhatsApp Business app as well
    quality: Literal["GREEN", "YELLOW", "RED", "UNKNOWN"] = "GREEN"
    profile: dict[str, Any] = field(default_factory=dict)

    @property
    def digits(self) -> str:
        return digits_of(self.display_phone_number)


@dataclass(slots=True)
class Customer:
    """A person with WhatsApp. `user_id` is the key: the phone may be hidden from businesses."""

    user_id: str
    phone: str | None  # E.164 with its +
    wa_id: str  # digits; what Meta calls them, which for MX and BR may differ from the phone
    name: str
    username: str | None = None
    parent_user_id: str | None = None
    on_whatsapp: bool = True
    shows_phone: bool = True  # else `from`, `wa_id` and `recipient_id` are absent everywhere
    identity: str = ""


@dataclass(slots=True)
class Group:
    group_id: str
    phone_number_id: str
    subject: str
    description: str
    created: float
    members: list[str]  # user ids
    join_approval_mode: str = "auto_approve"
    suspended: bool = False
    invite: str = ""


@dataclass(slots=True)
class Message:
    """What was said, in either direction. `content` is Meta's object of its type."""

    wamid: str
    direction: Literal["in", "out"]  # in: customer → business
    phone_number_id: str
    chat: str  # the customer's user id, or the group's id
    type: str
    content: Any
    at: float
    sender: str | None = None  # the customer's user id
    status: str = "accepted"  # of what the business sent
    failed: dict[str, Any] | None = None
    read: bool = False  # the business marked it read
    context: dict[str, Any] | None = None
    callback_data: str | None = None
    by_user_id: bool = False  # addressed by BSUID
    category: str = "service"  # what it is charged as
    deleted: bool = False


class Network:
    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ahead = 0.0
        self.apps: dict[str, App] = {}
        self.accounts: dict[str, Account] = {}
        self.numbers: dict[str, Number] = {}
        self.customers: dict[str, Customer] = {}
        self.groups: dict[str, Group] = {}
        self.media: dict[str, Media] = {}
        self.messages: dict[str, Message] = {}
        self.handles: set[str] = set()  # of uploads that are no media: samples, pictures of profiles
        self._tokens: dict[str, set[str]] = {}
        self._by_digits: dict[str, Customer] = {}
        self._chats: dict[tuple[str, str], deque[Message]] = {}
        self._last_wrote: dict[tuple[str, str], float] = {}

    # --- time -------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._clock() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let the world grow older: windows close, media ids and URLs expire."""
        self._ahead += seconds

    # --- numbers ----------------------------------------------------------------------------------

    def app_of(self, number: Number) -> App:
        return self.apps[number.app_id]

    def callback_of(self, number: Number, *, messages: bool = True) -> Callback | None:
        """Where its events go: the number's override, the account's, the app's. Overrides take only `messages`."""
        account = self.accounts[number.waba_id]
        if not account.subscribed:
            return None
        if messages:
            for override in (number.override, account.override):
                if override is not None:
                    return override
        app = self.app_of(number)
        return Callback(app.callback_url, app.verify_token) if app.callback_url is not None else None

    def account(self, waba_id: str) -> Account:
        """The account of that id, made if it is new."""
        if waba_id not in self.accounts:
            self.accounts[waba_id] = Account(waba_id, catalogue(waba_id))
        return self.accounts[waba_id]

    def numbers_in(self, waba_id: str) -> list[Number]:
        return [n for n in self.numbers.values() if n.waba_id == waba_id and not n.deleted]

    def grant(self, number: Number, tokens: set[str]) -> None:
        """Let exactly these tokens act for *number*."""
        for token in number.access_tokens - tokens:
            self._tokens[token].discard(number.phone_number_id)
        for token in tokens:
            self._tokens.setdefault(token, set()).add(number.phone_number_id)
        number.access_tokens = tokens

    def numbers_of(self, token: str) -> list[Number]:
        """The numbers a token may act for: none, if nobody ever gave it out or it has been revoked."""
        return [self.numbers[number_id] for number_id in sorted(self._tokens.get(token, ()))]

    # --- customers --------------------------------------------------------------------------------

    def add_customer(self, customer: Customer) -> Customer:
        self.customers[customer.user_id] = customer
        self._by_digits[customer.wa_id] = customer
        if customer.phone is not None:
            self._by_digits[digits_of(customer.phone)] = customer
        return customer

    def new_customer(self, phone: str | None, **fields: Any) -> Customer:
        """A customer with everything not said made up, always the same for the same phone."""
        digits = digits_of(phone) if phone else ""
        wa_id = fields.pop("wa_id", None) or as_wa_id(digits) or f"hidden{secrets.randbelow(10**12):012}"
        user_id = fields.pop("user_id", None) or user_id_of(wa_id)
        name = fields.pop("name", None) or (f"Customer {digits[-4:]}" if digits else "Customer")
        identity = fields.pop("identity", None) or hashlib.sha256(user_id.encode()).hexdigest()[:22]
        return self.add_customer(
            Customer(user_id=user_id, phone=phone, wa_id=wa_id, name=name, identity=identity, **fields)
        )

    def customer_by_digits(self, digits: str) -> Customer | None:
        return self._by_digits.get(digits) or self._by_digits.get(as_wa_id(digits))

    def customer_by_user_id(self, user_id: str) -> Customer | None:
        found = self.customers.get(user_id)
        if found is None and ".ENT." in user_id:
            found = next((c for c in self.customers.values() if c.parent_user_id == user_id), None)
        return found

    # --- what was said ----------------------------------------------------------------------------

    def remember(self, message: Message) -> None:
        self.messages[message.wamid] = message
        key = (message.phone_number_id, message.chat)
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = deque(maxlen=_KEPT)
        chat.append(message)
        if message.direction == "in":
            self._last_wrote[key] = message.at

    def chat(self, phone_number_id: str, chat: str) -> list[Message]:
        return list(self._chats.get((phone_number_id, chat), ()))

    def chats(self) -> Iterator[tuple[str, str]]:
        yield from self._chats

    def open_window(self, phone_number_id: str, chat: str) -> None:
        self._last_wrote[phone_number_id, chat] = self.now()

    def close_window(self, phone_number_id: str, chat: str) -> None:
        self._last_wrote.pop((phone_number_id, chat), None)

    def window_is_open(self, phone_number_id: str, chat: str) -> bool:
        wrote = self._last_wrote.get((phone_number_id, chat))
        return wrote is not None and self.now() - wrote < WINDOW
