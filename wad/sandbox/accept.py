"""Whether the network takes a valid send, and whether it will arrive. A decision: nothing changes here but limits.

What Meta refuses in its answer is raised. What it finds out later (not on WhatsApp, window closed, media
not to be had) is `failure`: the send is accepted, and a `failed` status follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from wad.sandbox.errors import GraphError, bad_value, invalid
from wad.sandbox.ids import digits_of, is_plausible, new_wamid
from wad.sandbox.limits import PairLimit, Throughput
from wad.sandbox.media import fits
from wad.sandbox.network import Account, Customer, Group, Network, Number
from wad.sandbox.settings import Settings
from wad.sandbox.templates import Template, check, find, rendered
from wad.sandbox.validate import MEDIA_TYPES, Send

_REACTABLE: Final = 30 * 86400.0


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    wamid: str
    chat: str
    customer: Customer | None
    group: Group | None
    content: Any  # as the customer sees it: a template is filled in
    category: str  # what it is charged as
    failure: GraphError | None
    answer: dict[str, Any]


class Gate:
    """The network's word on each send. Holds the limits; all else is read from the world."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pairs = PairLimit()
        self._throughput = Throughput()

    def accept(self, number: Number, send: Send, settings: Settings) -> Accepted:
        if not number.registered:
            raise GraphError(133010)
        customer: Customer | None = None
        group: Group | None = None
        if send.to_group:
            group = self._group(number, send)
            chat = group.group_id
        else:
            customer = self._customer(number, send, settings)
            chat = customer.user_id
        self._check_quoted(number, chat, send)
        content, category = self._content(number, send, settings)
        self._check_media_ids(number, send)
        self._check_limits(number, chat, settings)
        failure = self._failure(number, chat, send, customer, settings)
        if failure is not None and settings.failures == "answer":
            raise failure
        wamid = new_wamid(customer.wa_id if customer is not None else number.digits, inbound=False)
        return Accepted(
            wamid=wamid,
            chat=chat,
            customer=customer,
            group=group,
            content=content,
            category=category,
            failure=failure,
            answer=_answer(wamid, send, customer, group),
        )

    # --- the other side ---------------------------------------------------------------------------

    def _group(self, number: Number, send: Send) -> Group:
        if not number.official:
            raise GraphError(131215)
        group = self._network.groups.get(send.to or "")
        if group is None or group.phone_number_id != number.phone_number_id:
            raise GraphError(131041)
        if group.suspended:
            raise GraphError(131207)
        if not group.members:
            raise GraphError(131020)
        return group

    def _customer(self, number: Number, send: Send, settings: Settings) -> Customer:
        if send.recipient is not None:
            customer = self._network.customer_by_user_id(send.recipient)
            if customer is None:
                raise bad_value(f"recipient {send.recipient} is not known to this business portfolio")
            return customer
        digits = digits_with_country(send.to or "", number)
        if not 7 <= len(digits) <= 15:
            raise bad_value("to is not a valid phone number")
        if digits == number.digits:
            raise GraphError(131021)
        if number.allow_list is not None and digits not in number.allow_list:
            raise GraphError(131030)
        customer = self._network.customer_by_digits(digits)
        if customer is None:
            on_whatsapp = settings.strangers_on_whatsapp and is_plausible(digits)
            customer = self._network.new_customer(f"+{digits}", on_whatsapp=on_whatsapp)
        return customer

    # --- what is sent -----------------------------------------------------------------------------

    def _check_quoted(self, number: Number, chat: str, send: Send) -> None:
        if send.quotes is None:
            return
        quoted = self._network.messages.get(send.quotes)
        if quoted is None or (quoted.phone_number_id, quoted.chat) != (number.phone_number_id, chat):
            raise bad_value("context['message_id'] is not a message of this conversation")

    def _content(self, number: Number, send: Send, settings: Settings) -> tuple[Any, str]:
        """What the customer sees, and what it is charged as."""
        account = self._network.accounts[number.waba_id]
        if account.can_send == "BLOCKED":
            raise GraphError(131031)
        if send.type != "template":
            return send.content, "service"
        if account.can_send == "LIMITED":
            raise GraphError(368)
        wanted = send.content
        template = find(account.templates, wanted["name"], wanted["language"]["code"])
        components = wanted.get("components", [])
        if template.category == "AUTHENTICATION":
            if send.to_group:
                raise GraphError(131051)
            if send.recipient is not None:
                raise GraphError(131062)
        category = template.category.lower()
        if send.marketing is not None:
            category = self._marketed(account, template, send.marketing, settings)
        check(template, components)
        shown = {"name": template.name, "language": template.language, **rendered(template, components)}
        return shown, category

    def _marketed(self, account: Account, template: Template, policy: str, settings: Settings) -> str:
        """What the Marketing Messages API charges for the template, where it takes it."""
        if template.category != "MARKETING":
            raise GraphError(134100, "Only marketing template messages are supported")
        if account.marketing == "ELIGIBLE":
            raise GraphError(200, "You must accept the Marketing Messages API terms of service.")
        if self._network.now() < template.created + settings.template_sync:
            raise GraphError(134101)
        if account.marketing == "ONBOARDED":
            return "marketing_lite"
        if policy == "STRICT":
            raise GraphError(134102)
        return "marketing"  # by the Cloud API after all

    def _check_media_ids(self, number: Number, send: Send) -> None:
        for _, media, path in _media_of(send):
            if "id" in media:
                known = self._network.media.get(str(media["id"]))
                if (
                    known is None
                    or known.phone_number_id != number.phone_number_id
                    or known.expires <= self._network.now()
                ):
                    raise invalid(
                        f"Param {path}['id'] is not a valid whatsapp business account media attachment ID"
                    )

    def _check_limits(self, number: Number, chat: str, settings: Settings) -> None:
        now = self._network.now()
        if settings.throughput is not None and not self._throughput.take(
            number.phone_number_id, settings.throughput, now
        ):
            raise GraphError(130429)
        if settings.pair_limit and not self._pairs.take(number.phone_number_id, chat, now):
            raise GraphError(131056)

    def _failure(
        self, number: Number, chat: str, send: Send, customer: Customer | None, settings: Settings
    ) -> GraphError | None:
        if customer is not None:
            if not customer.on_whatsapp:
                return GraphError(131026)
            if send.identity is not None and send.identity != customer.identity:
                return GraphError(137000)
            if (
                settings.enforce_window
                and send.type != "template"
                and not self._network.window_is_open(number.phone_number_id, chat)
            ):
                return GraphError(131047)
        for kind, media, _ in _media_of(send):
            if "link" in media:
                # A name that cannot exist (RFC 2606) is the way to ask for a link that cannot be fetched.
                if (urlsplit(media["link"]).hostname or "").endswith(".invalid"):
                    return GraphError(131053, "Unable to fetch the media from the link.")
            elif not fits(self._network.media[str(media["id"])], kind):
                return GraphError(131053, f"The media is not a valid {kind}.")
        if send.type in ("reaction", "pin"):
            target = self._network.messages.get(send.content["message_id"])
            if target is None or target.chat != chat or self._network.now() - target.at > _REACTABLE:
                return GraphError(131009, "Message not found, deleted or older than 30 days.")
        return None


def digits_with_country(to: str, number: Number) -> str:
    """Without a leading + Meta puts the business number's country code in front, whatever is there already."""
    digits = digits_of(to)
    return digits if to.lstrip().startswith("+") else number.country_code + digits


def _media_of(send: Send) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each media object of the send: its kind, itself, and its path as Graph writes it."""
    if send.type in MEDIA_TYPES:
        yield send.type, send.content, send.type
    elif send.type == "interactive":
        header = send.content.get("header", {})
        if header.get("type") in MEDIA_TYPES:
            yield header["type"], header[header["type"]], f"interactive['header']['{header['type']}']"
    elif send.type == "template":
        for number, part in enumerate(send.content.get("components", [])):
            for place, parameter in enumerate(part.get("parameters", [])):
                kind = parameter["type"]
                if kind in MEDIA_TYPES:
                    path = f"template['components'][{number}]['parameters'][{place}]['{kind}']"
                    yield kind, parameter[kind], path


def _answer(wamid: str, send: Send, customer: Customer | None, group: Group | None) -> dict[str, Any]:
    message: dict[str, Any] = {"id": wamid}
    if group is not None:
        contact = {"input": group.group_id, "wa_id": group.group_id}
        message["group_id"] = group.group_id
    else:
        assert customer is not None
        if send.recipient is not None:
            contact = {"input": send.recipient, "user_id": customer.user_id}
        else:
            contact = {"input": send.to or "", "wa_id": customer.wa_id}
    if send.type == "template":
        message["message_status"] = "accepted"
    return {"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}
