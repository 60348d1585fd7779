"""The control API's hand in the accounts: what Meta decides of templates, accounts and numbers, and tells by webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from quart import Blueprint, Response

from wad.sandbox.bodies import Body, body, control_blueprint
from wad.sandbox.graph import answered
from wad.sandbox.network import Account

if TYPE_CHECKING:
    from wad.sandbox.sandbox import Sandbox

Tier = Literal["TIER_250", "TIER_2K", "TIER_10K", "TIER_100K", "TIER_UNLIMITED"]
_TIERS: Final[tuple[str, ...]] = Tier.__args__  # type: ignore[attr-defined]
_RESTRICTED_FOR: Final = 3 * 86400.0


class TemplateSpec(Body, frozen=True):
    """A decision on a template, or several."""

    name: str
    language: str
    waba_id: str | None = None  # none: the first account
    status: (
        Literal["APPROVED", "REJECTED", "PENDING", "PAUSED", "DISABLED", "FLAGGED", "IN_APPEAL"] | None
    ) = None
    reason: Literal[
        "ABUSIVE_CONTENT", "INVALID_FORMAT", "NONE", "PROMOTIONAL", "SCAM", "TAG_CONTENT_MISMATCH"
    ] = "NONE"
    quality: Literal["GREEN", "YELLOW", "RED", "UNKNOWN"] | None = None
    category: Literal["AUTHENTICATION", "MARKETING", "UTILITY"] | None = None


class AccountSpec(Body, frozen=True):
    """What becomes of an account."""

    waba_id: str | None = None
    can_send: Literal["AVAILABLE", "LIMITED", "BLOCKED"] | None = None
    violation: str | None = None  # ACCOUNT_VIOLATION of this type
    marketing: Literal["ONBOARDED", "ELIGIBLE", "INELIGIBLE"] | None = None  # to the Marketing Messages API


class QualitySpec(Body, frozen=True):
    """What Meta thinks of a number."""

    phone_number_id: str | None = None
    quality: Literal["GREEN", "YELLOW", "RED", "UNKNOWN"] | None = None
    limit: Tier | None = None
    event: str | None = None  # none: the one that follows from the rest


def management_routes(sandbox: Sandbox) -> Blueprint:
    routes = control_blueprint("management")
    network = sandbox.network

    def account_of(waba_id: str | None) -> Account:
        if waba_id is None and network.accounts:
            return next(iter(network.accounts.values()))
        if waba_id not in network.accounts:
            raise ValueError(f"no such account: {waba_id}")
        return network.accounts[waba_id]

    @routes.post("/templates")
    async def template() -> Response:
        spec = await body(TemplateSpec)
        account = account_of(spec.waba_id)
        found = account.templates.get((spec.name, spec.language))
        if found is None:
            raise ValueError(f"account {account.waba_id} has no template {spec.name} in {spec.language}")
        if spec.category is not None:
            sandbox.review.move(account, found, spec.category)
        if spec.quality is not None:
            sandbox.review.rate(account, found, spec.quality)
        if spec.status is not None:
            sandbox.review.decide(account, found, spec.status, spec.reason)
        return answered(200, found.described())

    @routes.post("/accounts")
    async def change_account() -> Response:
        spec = await body(AccountSpec)
        account = account_of(spec.waba_id)
        values: list[dict[str, Any]] = []
        if spec.violation is not None:
            values.append(
                {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": spec.violation}}
            )
        if spec.can_send is not None and spec.can_send != account.can_send:
            account.can_send = spec.can_send
            values.append(_sending(spec.can_send, network.now()))
        if spec.marketing is not None:
            if spec.marketing == "ONBOARDED" != account.marketing:
                values.append({"event": "MM_LITE_TERMS_SIGNED"})
            account.marketing = spec.marketing
        for value in values:
            info = {"waba_id": account.waba_id, "owner_business_id": "506914307656634"}
            sandbox.account_event(account.waba_id, "account_update", {**value, "waba_info": info})
        told = {"wabaId": account.waba_id, "canSend": account.can_send, "marketing": account.marketing}
        return answered(200, told)

    @routes.post("/quality")
    async def quality() -> Response:
        spec = await body(QualitySpec)
        number = sandbox.number(spec.phone_number_id)
        account = network.accounts[number.waba_id]
        before = account.limit
        event = spec.event or _event(spec, number.quality, before)
        number.quality = spec.quality or number.quality
        account.limit = spec.limit or account.limit
        value = {
            "display_phone_number": number.digits,
            "event": event,
            "current_limit": account.limit,
            "max_daily_conversations_per_business": account.limit,
        }
        if account.limit != before:
            value["old_limit"] = before
        sandbox.traffic.account_event(number, "phone_number_quality_update", value)
        return answered(200, value)

    return routes


def _sending(can_send: str, now: float) -> dict[str, Any]:
    match can_send:
        case "LIMITED":
            restriction = {
                "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING",
                "expiration": int(now + _RESTRICTED_FOR),
            }
            return {"event": "ACCOUNT_RESTRICTION", "restriction_info": [restriction]}
        case "BLOCKED":
            state = "DISABLE"
        case _:
            state = "REINSTATE"
    return {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": state, "waba_ban_date": int(now)}}


def _event(spec: QualitySpec, quality: str, limit: str) -> str:
    if spec.limit is not None and spec.limit != limit:
        return "UPGRADE" if _TIERS.index(spec.limit) > _TIERS.index(limit) else "DOWNGRADE"
    if spec.quality is None:
        raise ValueError("say the quality, the limit or the event")
    return "FLAGGED" if spec.quality == "RED" and quality != "RED" else "UNFLAGGED"
