"""Templates as their owner makes them, and as Meta's reviewers and the people who get them see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.place import Place, place
from tests.sandbox.test_accounts import WABA, asked, error_of, refused
from wad.sandbox import Settings

PATH = f"{WABA}/message_templates"
BODY = {"type": "BODY", "text": "Hola {{1}}", "example": {"body_text": [["Ana"]]}}
NEW = {"name": "saludo", "language": "es_MX", "category": "UTILITY", "components": [BODY]}


def reviewing(verdict: str) -> Settings:
    return Settings(statuses={}, template_review=verdict, template_review_after=60.0)  # type: ignore[arg-type]


async def made(here: Place, **more: Any) -> str:
    return str((await asked(here, "POST", PATH, **{**NEW, **more}))["id"])


async def test_a_template_is_reviewed_and_then_sent(autojump_clock: object) -> None:
    """PENDING, and no message goes out with it; then the reviewers approve it, and tell so."""
    async with place(reviewing("approve")) as here:
        template_id = await made(here)
        sent = {
            "type": "template",
            "template": {
                "name": "saludo",
                "language": {"code": "es_MX"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}],
            },
        }
        assert error_of(await here.send(**sent))["code"] == 132001
        await here.settled()
        [told] = here.hook.values()
        assert (told["event"], told["message_template_id"], told["reason"]) == (
            "APPROVED",
            int(template_id),
            "NONE",
        )
        assert (await here.send(**sent)).status_code == 200
        record = await asked(here, "GET", template_id, fields="status,health_status,components")
        assert record["health_status"]["can_send_message"] == "AVAILABLE"
        assert record["components"] == [BODY]


async def test_a_rejected_template_says_why_and_may_be_changed(autojump_clock: object) -> None:
    """With the reason in the webhook and in the record; a change sends it in for another review."""
    async with place(reviewing("reject")) as here:
        template_id = await made(here)
        await here.settled()
        [told] = here.hook.values()
        assert (told["event"], told["rejection_info"]["reason"]) == ("REJECTED", "INVALID_FORMAT")
        assert (await asked(here, "GET", template_id, fields="rejected_reason"))[
            "rejected_reason"
        ] == "INVALID_FORMAT"
        await here.control("PATCH", "settings", {"templateReview": "approve"})
        await asked(
            here, "POST", template_id, components=[{"type": "BODY", "text": "Hola"}], category="MARKETING"
        )
        assert await refused(here, "POST", template_id, components=[BODY]) == 100  # in review
        await here.settled()
        assert [value["event"] for value in here.hook.values()] == ["REJECTED", "APPROVED"]
        assert (await asked(here, "GET", template_id, fields="category"))["category"] == "MARKETING"


async def test_an_approved_template_is_edited_once_a_day(autojump_clock: object) -> None:
    """And its category stays."""
    async with place(reviewing("approve")) as here:
        template_id = await made(here)
        await here.settled()
        assert await refused(here, "POST", template_id, category="MARKETING") == 100
        await asked(here, "POST", template_id, components=[BODY])
        await here.settled()
        assert await refused(here, "POST", template_id, components=[BODY]) == 100
        await here.post("clock", {"advance": 86400})
        await asked(here, "POST", template_id, components=[BODY])


async def test_what_meta_decides_of_a_template_is_told(autojump_clock: object) -> None:
    """Its quality, its category, its pause and the end of that: a webhook each, and the record says the same."""
    async with place() as here:
        named = {"name": "pedido_listo", "language": "es_MX"}
        for decision in (
            {"quality": "RED"},
            {"category": "MARKETING"},
            {"status": "PAUSED"},
            {"status": "APPROVED"},
        ):
            await here.post("templates", {**named, **decision})
        await here.settled()
        told = {value["message_template_name"] for value in here.hook.values()}
        assert told == {"pedido_listo"}
        events = (await here.control("GET", "ledger?kind=event"))["entries"]
        assert [event["field"] for event in events] == [
            "message_template_quality_update",
            "template_category_update",
            "message_template_status_update",
            "message_template_status_update",
        ]
        assert [value["event"] for value in here.hook.values()[2:]] == ["PAUSED", "UNPAUSED"]
        fields = "quality_score,category,status"
        [record] = (await asked(here, "GET", PATH, name="pedido_listo", fields=fields))["data"]
        assert (record["quality_score"], record["category"]) == ({"score": "RED"}, "MARKETING")


async def test_a_list_is_filtered_and_paged() -> None:
    """By name, status, category and language; with the fields that are asked for."""
    async with place() as here:
        every = (await asked(here, "GET", PATH, limit=100))["data"]
        marketing = (await asked(here, "GET", PATH, category="MARKETING", limit=100))["data"]
        assert {record["category"] for record in marketing} == {"MARKETING"}
        assert 0 < len(marketing) < len(every)
        page = await asked(here, "GET", PATH, limit=2, fields="name,status,quality_score,rejected_reason")
        assert [set(record) for record in page["data"]] == [
            {"id", "name", "status", "quality_score", "rejected_reason"}
        ] * 2
        assert page["paging"]["cursors"]["after"] == "2"
        assert (await asked(here, "GET", PATH, status="PAUSED", language="es_MX"))["data"] == []


async def test_a_deleted_name_rests_for_thirty_days() -> None:
    """Every language of a name goes, or the one that `hsm_id` names; then nothing new takes the name for a month."""
    async with place() as here:
        spanish = await made(here)
        await made(here, language="en")
        await asked(here, "DELETE", f"{PATH}?name=saludo&hsm_id={spanish}")
        assert [t["language"] for t in (await asked(here, "GET", PATH, name="saludo"))["data"]] == ["en"]
        assert await refused(here, "DELETE", f"{PATH}?name=saludo&hsm_id={spanish}") == 100
        await asked(here, "DELETE", f"{PATH}?name=saludo")
        answer = await here.graph("POST", PATH, json=NEW)
        assert error_of(answer)["error_subcode"] == 2388023
        await here.post("clock", {"advance": 30 * 86400})
        await made(here)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in NEW.items() if key != name}


def with_parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {**NEW, "components": list(parts)}


#: label → a template that Meta does not take
WRONG: dict[str, dict[str, Any]] = {
    "no name": without("name"),
    "no components": without("components"),
    "no body": with_parts({"type": "FOOTER", "text": "adiós"}),
    "capitals in the name": {**NEW, "name": "Saludo"},
    "no such language": {**NEW, "language": "español"},
    "no such category": {**NEW, "category": "TRANSACTIONAL"},
    "no such component": with_parts(BODY, {"type": "SIDEBAR", "text": "x"}),
    "a component twice": with_parts(BODY, BODY),
    "a component's key that there is not": with_parts({**BODY, "colour": "red"}),
    "a variable without its example": with_parts({"type": "BODY", "text": "Hola {{1}}"}),
    "variables out of order": with_parts({**BODY, "text": "Hola {{2}}"}),
    "variables by number and by name": with_parts({**BODY, "text": "{{1}} {{name}}"}),
    "a picture without its sample": with_parts(BODY, {"type": "HEADER", "format": "IMAGE"}),
    "a header too long": with_parts(BODY, {"type": "HEADER", "format": "TEXT", "text": "x" * 61}),
    "a variable in the footer": with_parts(BODY, {"type": "FOOTER", "text": "{{1}}"}),
    "no such button": with_parts(BODY, {"type": "BUTTONS", "buttons": [{"type": "BIG", "text": "x"}]}),
    "a button's text too long": with_parts(
        BODY, {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "x" * 26}]}
    ),
    "a link that is none": with_parts(
        BODY, {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "x", "url": "example"}]}
    ),
    "named variables by position": {
        **with_parts(
            {
                "type": "BODY",
                "text": "Hola {{name}}",
                "example": {"body_text_named_params": [{"param_name": "name", "example": "Ana"}]},
            }
        ),
        "parameter_format": "POSITIONAL",
    },
    "a time to live of a second": {**NEW, "message_send_ttl_seconds": 1},
}


@pytest.mark.parametrize("label", WRONG)
async def test_a_template_that_cannot_be_is_refused(label: str) -> None:
    """Code 100, and there is none."""
    async with place() as here:
        assert await refused(here, "POST", PATH, **WRONG[label]) == 100
        assert (await asked(here, "GET", PATH, name="saludo"))["data"] == []


#: label → one that it does take
RIGHT: dict[str, Callable[[], dict[str, Any]]] = {
    "every component": lambda: with_parts(
        {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::x"]}},
        BODY,
        {"type": "FOOTER", "text": "Responde ALTO"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "QUICK_REPLY", "text": "Sí"},
                {"type": "URL", "text": "Ver", "url": "https://example.com/{{1}}", "example": ["1"]},
                {"type": "PHONE_NUMBER", "text": "Llamar", "phone_number": "+525550100100"},
            ],
        },
    ),
    "authentication": lambda: {
        **with_parts(
            {"type": "BODY", "add_security_recommendation": True},
            {"type": "FOOTER", "code_expiration_minutes": 10},
            {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copiar"}]},
        ),
        "category": "AUTHENTICATION",
    },
    "named variables": lambda: {
        **with_parts(
            {
                "type": "BODY",
                "text": "Hola {{name}}",
                "example": {"body_text_named_params": [{"param_name": "name", "example": "Ana"}]},
            }
        ),
        "parameter_format": "NAMED",
        "allow_category_change": True,
        "message_send_ttl_seconds": 3600,
    },
}


@pytest.mark.parametrize("label", RIGHT)
async def test_a_template_with_all_that_it_may_have_is_taken(label: str) -> None:
    """And it reads as it was written; a second one of the same name and language is refused."""
    async with place() as here:
        new = RIGHT[label]()
        template_id = (await asked(here, "POST", PATH, **new))["id"]
        assert (await asked(here, "GET", template_id))["components"] == new["components"]
        answer = await here.graph("POST", PATH, json=new)
        assert error_of(answer)["error_subcode"] == 2388024
