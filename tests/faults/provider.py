"""Faults of the providers: what they answer wrongly, and how their webhooks come. The sandbox does it, by script."""

from __future__ import annotations

from typing import Any, Final

import trio

from tests.faults.load import Load
from tests.faults.matrix import Strike, fault
from tests.faults.network import OUTLASTS, STANDS, close_breakers
from tests.faults.world import World

Script = dict[str, Any]

#: Bytes of an answer: more than wad reads of any.
FLOOD: Final = 5 * 2**20


def scripted(
    meta: Script | None,
    twilio: Script | None = None,
    web: Script | None = None,
    *,
    operation: str = "messages",
    times: int = 10,
    seconds: float = STANDS,
    **match: Any,
) -> Strike:
    """Every number's next *times* sends (or what is matched) go wrong so; *twilio* differs where its codes do."""

    async def strike(world: World, load: Load) -> None:
        for provider, shop in world.shops.items():
            fault = (twilio or meta) if provider == "twilio" else meta
            if provider == "baileys" or fault is None:
                continue
            matching = {"operation": operation, "phoneNumberId": shop.number, **match}
            await world.here.fault(times=times, match=matching, name=shop.session_id, **fault)
        if web is not None and world.web is not None:
            await world.web.asks("faults", phone=world.web.phone, times=times, **web)
        await trio.sleep(seconds)
        await world.here.control("DELETE", "/faults")
        if web is not None and world.web is not None:
            await world.web.asks("faults", phone=world.web.phone, kind="none")
        await close_breakers(world)

    return strike


def events(kind: str, event: str | None = None, **fault: Any) -> Strike:
    """Every webhook goes wrong so."""
    match = {} if event is None else {"event": event}
    return scripted({"kind": kind, **fault}, operation="webhook", times=10**6, **match)


async def held_and_shuffled(world: World, load: Load) -> None:
    """Nothing comes for a while, and then all of it at once: in any order, in batches, and twice."""
    await world.here.control("POST", "/webhooks/hold")
    await trio.sleep(1)  # what is held is posted one by one afterwards
    await world.here.control("POST", "/webhooks/release", order="shuffled", batch=50, copies=2)


async def replayed(world: World, load: Load) -> None:
    """What was told lately is told again, backwards."""
    await trio.sleep(STANDS)
    await world.here.control("POST", "/webhooks/replay", last=100, order="reversed", batch=7)


ANSWERS: Final[dict[str, Strike]] = {
    "503 of a proxy, the send not taken": scripted(
        {"kind": "http", "status": 503, "html": True}, web={"kind": "lost"}
    ),
    "503 of a proxy, the send taken": scripted(
        {"kind": "http", "status": 503, "html": True, "after": "accept"}, web={"kind": "no_ack"}
    ),
    "429 with Retry-After": scripted(
        {"kind": "error", "code": 130429, "http": 429, "retryAfter": 1},
        {"kind": "error", "code": 20429, "retryAfter": 1},
    ),
    "an internal error": scripted(
        {"kind": "error", "code": 131000}, {"kind": "error", "code": 20500}, {"kind": "drop_before"}
    ),
    "200 with an error": scripted(
        {"kind": "error", "code": 131000, "http": 200}, {"kind": "error", "code": 20500, "http": 200}
    ),
    "a redirect": scripted(
        {"kind": "http", "status": 302, "headers": {"Location": "/"}, "after": "accept"},
        web={"kind": "drop_after"},
    ),
    "garbage for JSON": scripted({"kind": "garbage"}),
    "a flood": scripted({"kind": "garbage", "body": "x" * FLOOD}, times=5),
    "half an answer": scripted({"kind": "truncate"}),
    "an answer that drips": scripted({"kind": "drip", "seconds": 30}, times=5, seconds=OUTLASTS),
    "no answer": scripted({"kind": "hang", "after": "accept"}, times=5, seconds=OUTLASTS),
    "a late answer": scripted(
        {"kind": "delay", "seconds": 2, "after": "accept"}, web={"kind": "delay", "ms": 2000}
    ),
    "an answer after all patience": scripted(
        {"kind": "delay", "seconds": 8, "after": "accept"},
        web={"kind": "late", "ms": 8000},
        times=5,
        seconds=OUTLASTS,
    ),
    "a reset": scripted({"kind": "cut", "reset": True}),
    "a status before the answer": scripted({"kind": "early_status"}),
    "refused later": scripted({"kind": "fail", "code": 131026}, {"kind": "fail", "code": 63024}),
    "a login that fails": scripted(None, web={"kind": "login", "code": 503}, times=2),
    "messages that cannot be deciphered": scripted(None, web={"kind": "garble"}),
}

WEBHOOKS: Final[dict[str, Strike]] = {
    "duplicated": events("duplicate", copies=5),
    "reordered": events("reorder", "status"),
    "late": events("late", seconds=3),
    "without our id": events("drop_callback_data", "status"),
    "forged": events("forge"),
    "lost statuses": events("lose", "status"),
    "held, then shuffled and twice": held_and_shuffled,
    "told again": replayed,
}

for _label, _strike in ANSWERS.items():
    _fails = _label == "refused later"
    fault(
        f"answer: {_label}",
        outbound=["failed"] if _fails else [],
        unproven=_fails,
        logs=["message_dead_letter"],
    )(_strike)
for _label, _strike in WEBHOOKS.items():
    fault(f"webhooks: {_label}")(_strike)
