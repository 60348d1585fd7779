"""Faults of the flow service: whatever it does, a customer is answered once, and in order."""

from __future__ import annotations

from typing import Any, Final

import trio
from quart import Response

from tests.acceptance.town import Answering
from tests.faults.load import Load
from tests.faults.matrix import Strike, fault
from tests.faults.network import STANDS
from tests.faults.world import World


async def hang(_: dict[str, Any]) -> Any:
    await trio.sleep_forever()


def answering(answer: Answering, *, times: int = 20) -> Strike:
    """The next *times* questions are answered so."""

    async def strike(world: World, load: Load) -> None:
        script = world.here.flow.script["/"]
        script.extend([answer] * times)
        await trio.sleep(STANDS)
        script.clear()

    return strike


async def down(world: World, load: Load) -> None:
    """Everything is 503."""
    world.here.flow.down = True
    await trio.sleep(STANDS)
    world.here.flow.down = False


async def slow(world: World, load: Load) -> None:
    """It takes its time, and answers well."""

    async def later(_: dict[str, Any]) -> Any:
        await trio.sleep(1)
        said = _["data"]["text"]["body"]
        return Response(f'{{"replies": [{{"text": "re: {said}"}}]}}', content_type="application/json")

    await answering(later, times=100)(world, load)


ANSWERS: Final[dict[str, Strike]] = {
    "down": down,
    "slow": slow,
    "a 500": answering(("", 500)),
    "a 429": answering(("", 429), times=3),
    "hangs": answering(hang, times=3),
    "garbage": answering(("<html></html>", 200)),
    "a flood": answering(("x" * 300_000, 200)),
    "a redirect": answering(Response("", 302, {"Location": "/elsewhere"})),
}

for _label, _strike in ANSWERS.items():
    fault(f"flow: {_label}")(_strike)
