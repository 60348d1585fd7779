"""How the sessions of a shop share its work: what a send that names a shop, and no session, goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from wad.config.section import Section
from wad.config.values import Share
from wad.models import SessionId, ShopId

V = TypeVar("V")


def _named(value: Any) -> Any:
    """YAML reads the name in `{1: 0.5}` as a number."""
    return {str(name): each for name, each in value.items()} if isinstance(value, Mapping) else value


Named: TypeAlias = Annotated[dict[SessionId, V], BeforeValidator(_named)]


class ShopPolicy(Section):
    """Sessions are named by their ids. One that is not named has weight 1, comes last in `order`, and costs the most."""

    policy: Literal["sticky", "weighted", "priority", "cheapest"] = "sticky"
    weights: Named[Share] = Field(
        default_factory=dict
    )  # shares of the conversations; 0: only if no other can
    order: Annotated[tuple[SessionId, ...], Field(validate_default=True)] = ()
    costs: Annotated[Named[Share], Field(validate_default=True)] = Field(
        default_factory=dict
    )  # of one message

    @field_validator("order")
    @classmethod
    def _order_is_of_priority(
        cls, value: tuple[SessionId, ...], info: ValidationInfo
    ) -> tuple[SessionId, ...]:
        _goes_with("priority", given=bool(value), info=info, what="names the sessions, the first one first")
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f"names {name} twice")
        return value

    @field_validator("costs")
    @classmethod
    def _costs_are_of_cheapest(
        cls, value: dict[SessionId, float], info: ValidationInfo
    ) -> dict[SessionId, float]:
        _goes_with("cheapest", given=bool(value), info=info, what="says what a message of each session costs")
        return value


def _goes_with(policy: str, *, given: bool, info: ValidationInfo, what: str) -> None:
    match info.data.get("policy"):  # None: it is wrong itself, and was told so
        case str() as chosen if chosen == policy and not given:
            raise ValueError(f"is required with policy: {policy}, and {what}")
        case str() as chosen if chosen != policy and given:
            raise ValueError(f"goes with policy: {policy} alone, and here it is {chosen}")


class Balancing(Section):
    """`default` is for every shop that `shops` does not name."""

    default: ShopPolicy = ShopPolicy()
    shops: Annotated[dict[ShopId, ShopPolicy], BeforeValidator(_named)] = Field(default_factory=dict)
