"""What operators look at: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from typing import Final

import msgspec
import trio

from wad.errors import StoreUnavailable
from wad.http.api import Api
from wad.http.operations import Answer, Exchange

#: A store that takes longer than this to say hello is not one to send traffic to.
_PING: Final = 2.0
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Readiness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`status` is ready, starting, draining or no_store; `spooled` webhooks wait for the store."""

    status: str
    restored: int
    of: int
    need_pairing: int
    spooled: int


async def healthz(_api: Api, _: Exchange) -> Answer:
    """The process lives: its loop ran this."""
    return Answer({"status": "ok"})


async def readyz(api: Api, _: Exchange) -> Answer:
    progress = api.sessions.progress
    status = await _status(api)
    body = Readiness(
        status=status,
        restored=progress.restored,
        of=progress.of,
        need_pairing=progress.need_pairing,
        spooled=api.sessions.spooled[0],
    )
    ready = status == "ready"
    return Answer(body, 200 if ready else 503, {} if ready else {"Retry-After": "1"})


async def _status(api: Api) -> str:
    if api.draining():
        return "draining"
    with trio.move_on_after(_PING):
        try:
            await api.store.ping()
        except StoreUnavailable:
            return "no_store"
        return "ready" if api.restored() else "starting"
    return "no_store"


async def metrics(api: Api, _: Exchange) -> Answer:
    return Answer(api.metrics(), media_type=_METRICS)
