"""The numbers of a WhatsApp Business Account: what Meta says of them, which is the best, and what is done to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from wad.errors import ProviderError, Verdict
from wad.models import Number
from wad.providers.http import Answer
from wad.providers.management import Numbers, NumberView, Trouble
from wad.providers.meta.callback import MetaCallback
from wad.providers.meta.graph import Graph
from wad.providers.meta.probe import DEAD, FIELDS, LEAST_FIELDS, phone, rate_of
from wad.providers.rules import garbled

#: All that there is to know, and what an older version of the API knows as well.
_FIELDS: Final = (f"{FIELDS},webhook_configuration", LEAST_FIELDS)
_PAGE: Final = 100
#: Numbers that are listed at most: Meta allows 20 to an account that asked for no more.
_PAGES: Final = 20
_WHERE: Final = {
    "phone_number": "number",
    "whatsapp_business_account": "account",
    "application": "app",
}
_QUALITY: Final = ("GREEN", "YELLOW", "UNKNOWN", "RED")
_THROUGHPUT: Final = ("HIGH", "STANDARD")


# --- reading ----------------------------------------------------------------------------------------


def number_of(record: Mapping[str, Any]) -> NumberView:
    """A number's record. It is usable unless Meta says that it cannot send."""

    def text(name: str) -> str | None:
        value = record.get(name)
        return value if isinstance(value, str) else None

    throughput, health = record.get("throughput"), record.get("health_status")
    level = throughput.get("level") if isinstance(throughput, dict) else None
    can_send = health.get("can_send_message") if isinstance(health, dict) else None
    official = record.get("is_official_business_account")
    beside = record.get("is_on_biz_app")
    places = record.get("webhook_configuration")
    return NumberView(
        id=str(record["id"]),
        phone_number=phone(record.get("display_phone_number")),
        verified_name=text("verified_name"),
        quality_rating=text("quality_rating"),
        status=text("status"),
        name_status=text("name_status"),
        code_verification_status=text("code_verification_status"),
        platform_type=text("platform_type"),
        account_mode=text("account_mode"),
        official_business_account=official if isinstance(official, bool) else None,
        on_business_app=beside if isinstance(beside, bool) else None,
        throughput=level if isinstance(level, str) else None,
        rate=rate_of(record),
        messaging_limit=text("whatsapp_business_manager_messaging_limit"),
        can_send_message=can_send if isinstance(can_send, str) else None,
        usable=record.get("status") not in DEAD and can_send != "BLOCKED",
        troubles=troubles_of(health),
        webhooks={
            ours: places[theirs] for theirs, ours in _WHERE.items() if isinstance(places.get(theirs), str)
        }
        if isinstance(places, dict)
        else {},
    )


def troubles_of(health: Any) -> tuple[Trouble, ...]:
    """What a `health_status` holds against whatever it is about."""
    return tuple(_troubles(health))


def _troubles(health: Any) -> Iterable[Trouble]:
    entities = health.get("entities") if isinstance(health, dict) else None
    for entity in entities if isinstance(entities, list) else []:
        errors = entity.get("errors") if isinstance(entity, dict) else None
        for error in errors if isinstance(errors, list) else []:
            if isinstance(error, dict):
                solution, code = error.get("possible_solution"), error.get("error_code")
                yield Trouble(
                    detail=str(error.get("error_description") or "Meta gives no reason"),
                    solution=solution if isinstance(solution, str) else None,
                    provider_code=None if code is None else str(code),
                    about=str(entity.get("entity_type")) if entity.get("entity_type") else None,
                )


def trouble_of(number: NumberView) -> ProviderError:
    """Why *number* cannot send, as what a session that has no other is in."""
    if number.status in DEAD:
        return ProviderError(
            Verdict.NEEDS_PERSON,
            f"Meta says that the number {number.phone_number or number.id} is {number.status}",
            code=DEAD[number.status],
            provider_code=number.status,
        )
    return blocked(number.troubles)


def blocked(troubles: tuple[Trouble, ...]) -> ProviderError:
    told = [text for each in troubles for text in (each.detail, each.solution) if text]
    return ProviderError(
        Verdict.NEEDS_PERSON,
        " ".join(dict.fromkeys(told))[:500] or "Meta blocks this account from sending, and does not say why",
        code="account_blocked",
        provider_code=next((each.provider_code for each in troubles if each.provider_code), None),
    )


# --- choosing ---------------------------------------------------------------------------------------


def named(numbers: Iterable[NumberView], asked: str) -> NumberView | None:
    """The one of that id, or of that number in E.164."""
    return next((each for each in numbers if asked in (each.id, each.phone_number)), None)


def choose(numbers: Iterable[NumberView], *preferred: str | None) -> NumberView | None:
    """The first of *preferred* (ids) that can send, else the best that can; None where none can.

    The best: what Meta has nothing to say against, then by quality and by throughput. Of equals the one whose id
    comes first, so that it is the same one each time.
    """
    able = {each.id: each for each in numbers if each.usable}
    for wanted in preferred:
        if wanted is not None and wanted in able:
            return able[wanted]
    return min(able.values(), key=_rank, default=None)


def _rank(number: NumberView) -> tuple[bool, int, int, str]:
    return (
        number.can_send_message == "LIMITED",
        _place(number.quality_rating, _QUALITY),
        _place(number.throughput, _THROUGHPUT),
        number.id,
    )


def _place(value: str | None, order: tuple[str, ...]) -> int:
    return (
        order.index(value) if value in order else order.index("UNKNOWN") if "UNKNOWN" in order else len(order)
    )


def as_number(view: NumberView) -> Number:
    return Number(view.id, view.phone_number)


def shown(numbers: Iterable[NumberView]) -> list[dict[str, Any]]:
    """*numbers* as `connectionData` has them."""
    return [msgspec.to_builtins(each) for each in numbers]


def numbers_in(connection_data: Mapping[str, Any]) -> list[NumberView]:
    """What `shown` made: the numbers as they were when the account last answered."""
    try:
        return msgspec.convert(connection_data.get("numbers", []), list[NumberView])
    except msgspec.ValidationError:  # another version of wad wrote it: the next proof writes it anew
        return []


# --- managing ---------------------------------------------------------------------------------------


class MetaNumbers(Numbers):
    """The numbers of the account that *graph* stands for: its `number` is the path of the account."""

    def __init__(
        self, graph: Graph, callback: MetaCallback, listed: Callable[[list[NumberView]], None]
    ) -> None:
        """*listed* hears of every whole list."""
        self._graph = graph
        self._callback = callback
        self._listed = listed

    async def all(self) -> list[NumberView]:
        for fields in _FIELDS:
            try:
                found = await self._every(fields)
            except ProviderError as error:
                if error.verdict is not Verdict.REJECTED or fields is _FIELDS[-1]:
                    raise
            else:
                self._listed(found)
                return found
        raise AssertionError("the last try either returned or raised")

    async def get(self, number: str) -> NumberView:
        found = named(await self.all(), number)
        if found is None:
            raise no_such_number(number)
        return found

    async def add(self, *, country_code: str, phone_number: str, verified_name: str) -> str:
        account = self._graph.account
        body = {"cc": country_code, "phone_number": phone_number, "verified_name": verified_name}
        return await self._graph.post(
            "number_add", account.url(f"{account.number}/phone_numbers"), body, self._id
        )

    async def request_code(self, number: str, *, method: str, language: str) -> None:
        await self._do("number_request_code", number, "request_code", code_method=method, language=language)

    async def verify_code(self, number: str, code: str) -> None:
        await self._do("number_verify_code", number, "verify_code", code=code)

    async def register(self, number: str, pin: str, *, region: str | None) -> None:
        body = {"messaging_product": "whatsapp", "pin": pin}
        if region is not None:
            body["data_localization_region"] = region
        await self._do("number_register", number, "register", body)

    async def deregister(self, number: str) -> None:
        await self._do("number_deregister", number, "deregister")

    async def set_pin(self, number: str, pin: str) -> None:
        await self._do("number_pin", number, "", {"pin": pin})

    async def set_webhook(self, number: str, url: str | None, *, token: str | None) -> str:
        override = self._callback.override(url, token)
        await self._do("number_webhook", number, "", {"webhook_configuration": override})
        return override["override_callback_uri"]

    async def remove_webhook(self, number: str) -> None:
        gone = {"webhook_configuration": {"override_callback_uri": ""}}
        await self._do("number_webhook", number, "", gone)

    async def _every(self, fields: str) -> list[NumberView]:
        account = self._graph.account
        found: list[NumberView] = []
        query = {"fields": fields, "limit": str(_PAGE)}
        for _ in range(_PAGES):
            url = account.url(f"{account.number}/phone_numbers", **query)
            page, after = await self._graph.get("probe", url, self._graph.page)
            found += [number_of(record) for record in page if isinstance(record.get("id"), str)]
            if not page or after is None:
                break
            query["after"] = after
        return found

    async def _do(
        self, operation: str, number: str, action: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> None:
        """One request about a number that is the account's; Meta reads a code from the query."""
        account = self._graph.account
        path = f"{account.root}/{(await self.get(number)).id}"
        url = account.url(f"{path}/{action}" if action else path, **query)
        await self._graph.post(operation, url, body or {}, self._graph.object)

    def _id(self, answer: Answer) -> str:
        match self._graph.object(answer):
            case {"id": str(number_id)} if number_id:
                return number_id
            case _:
                raise garbled(answer)


_PRINTABLE = re.compile(r"[^!-~]")


def no_such_number(number: str) -> ProviderError:
    return ProviderError(
        Verdict.REJECTED,
        f"the account has no number {_PRINTABLE.sub('?', number[:40])}",
        code="no_such_number",
    )
