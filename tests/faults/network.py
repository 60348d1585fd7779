"""Faults of the network: what can become of a connection between wad and whoever it talks to.

Each befalls all providers at once, or the flow, or the webhooks, and stands for some seconds while both sides go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeAlias

import trio

from tests.faults.load import Load
from tests.faults.matrix import Strike, fault
from tests.faults.proxy import PERFECT, End, Line, Proxy
from tests.faults.world import SHOPS, World

#: Seconds.
STANDS: Final = 3.0
#: As long as the daemon waits for an answer, and a little more.
OUTLASTS: Final = 7.0
#: What a TLS server says to whoever does not speak it well: handshake failure.
TLS_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"
ALWAYS: Final = 10**9

Way: TypeAlias = Callable[[Proxy], Awaitable[None]]


async def gone(proxy: Proxy) -> None:
    """Nobody listens: connections are refused."""
    await proxy.go_away()
    await trio.sleep(STANDS)
    await proxy.come_back()


async def flapping(proxy: Proxy) -> None:
    """It is gone, and there, and gone: never for as long as anything takes."""
    for _ in range(6):
        await proxy.go_away()
        await trio.sleep(0.3)
        await proxy.come_back()
        await trio.sleep(0.3)


async def breaking(proxy: Proxy) -> None:
    """Whatever stands is reset, ten times a second."""
    for _ in range(int(STANDS / 0.1)):
        proxy.reset()
        await trio.sleep(0.1)


async def resetting(proxy: Proxy) -> None:
    """Connections are taken and reset at once."""
    proxy.refuses = True
    proxy.reset()
    await trio.sleep(STANDS)
    proxy.heal()


def wire(*, up: Line = PERFECT, down: Line = PERFECT, seconds: float = STANDS) -> Way:
    """Bytes travel so; what stands at the end is reset where some of them are missing or wrong."""

    async def strike(proxy: Proxy) -> None:
        proxy.up, proxy.down = up, down
        await trio.sleep(seconds)
        proxy.heal()
        if any(line.garble or line.swallow is not None for line in (up, down)):
            proxy.reset()

    return strike


def both(*, seconds: float = STANDS, **how: float) -> Way:
    """Bytes travel so in both directions."""
    return wire(up=Line(**how), down=Line(**how), seconds=seconds)  # type: ignore[arg-type]


def cut(
    *, times: int = ALWAYS, after: int = 0, with_: bytes = b"", by: End = "reset", seconds: float = STANDS
) -> Way:
    """Requests pass, and so many of their answers die so."""

    async def strike(proxy: Proxy) -> None:
        proxy.cut_after, proxy.cut_with, proxy.cut_by, proxy.cut = after, with_, by, times
        await trio.sleep(seconds)
        proxy.heal()
        if by == "silence":
            proxy.reset()

    return strike


WAYS: Final[dict[str, Way]] = {
    "nobody listens": gone,
    "it flaps": flapping,
    "connections are reset at once": resetting,
    "connections break all the time": breaking,
    "silence": both(swallow=0, seconds=OUTLASTS),
    "silence in the middle of requests": wire(up=Line(swallow=300), seconds=OUTLASTS),
    "requests break in the middle": wire(up=Line(limit=300)),
    "answers break in the middle": cut(after=40),
    "answers are lost": cut(),
    "some answers are lost": cut(times=10),
    "answers are lost to an orderly end": cut(by="close"),
    "half of an answer, and silence": cut(times=10, after=40, by="silence", seconds=OUTLASTS),
    "a TLS alert for an answer": cut(with_=TLS_ALERT, by="close"),
    "late": both(latency=0.3, jitter=0.3),
    "narrow": both(bandwidth=8000),
    "in single bytes": both(slices=1),
    "closing slowly": both(slow_close=2.0),
}

#: Which proxies a way stands for, and what of it a gate has time for.
BETWEEN: Final[dict[str, tuple[Collection[str], Collection[str]]]] = {
    "the way to the providers": (tuple(SHOPS), ["answers are lost"]),
    "the way to the flow": (["flow"], []),
    "the way of webhooks": (["webhooks"], ["some answers are lost"]),
}


def over(names: Collection[str], way: Way) -> Strike:
    """All of *names* at once."""

    async def strike(world: World, load: Load) -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                if name in world.proxies:
                    nursery.start_soon(way, world.proxies[name])
        await close_breakers(world)

    return strike


async def close_breakers(world: World) -> None:
    """As an operator does who knows that the provider is back: their time grows with each outage."""
    for shop in world.shops.values():
        closed = await shop.api.post(f"{shop.path}/breaker", json={"action": "close"})
        assert closed.status_code == 200, closed.text


for _peer, (_names, _gate) in BETWEEN.items():
    for _label, _way in WAYS.items():
        fault(
            f"{_peer}: {_label}",
            missed="webhooks" in _names,  # Twilio tries twice, and no more
            logs=["message_dead_letter"],  # on a busy machine the proof may come when the doubt was given up
            in_gate=_label in _gate,
        )(over(_names, _way))
