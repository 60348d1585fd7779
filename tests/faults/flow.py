"""Faults of the flow service: whatever it does, a customer is answered once, and in order."""

from __future__ import annotations

from typing import Any, Final

import trio
from quart import Response

from tests.acceptance.shop import API
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


async def gone(world: World, load: Load) -> None:
    """410, until somebody gives another address and has the dead letters tried again; and then the old one is good."""
    await answering(("", 410), times=2 * len(world.shops))(world, load)
    host, port = world.proxies["flow"].address
    for url in (f"http://{host}:{port}/again", None):
        for shop in world.shops.values():
            changed = await shop.api.patch(shop.path, json={"settings": {"flowUrl": url}})
            assert changed.status_code == 200, changed.text
    api = next(iter(world.shops.values())).api
    dead = (await api.get(f"{API}/dead-letters", params={"limit": 500})).json()["items"]
    for letter in dead:
        if letter["direction"] == "inbound":
            retried = await api.post(f"{API}/dead-letters/{letter['messageId']}/retry")
            assert retried.status_code == 200, retried.text


ANSWERS: Final[dict[str, Strike]] = {
    "down": down,
    "slow": slow,
    "a 500": answering(("", 500)),
    "a 429": answering(("", 429), times=3),
    "hangs": answering(hang, times=3),
    "garbage": answering(("<html></html>", 200)),
    "a flood": answering(("x" * 300_000, 200)),
    "a redirect": answering(Response("", 302, {"Location": "/elsewhere"})),
    "gone": gone,
}

for _label, _strike in ANSWERS.items():
    fault(f"flow: {_label}", logs=["inbox_dead_letter", "flow_gone"] if _strike is gone else [])(_strike)
