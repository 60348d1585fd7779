"""The one clock of all idle sessions: it keeps their proofs fresh, ends what is overdue, and the store small.

One task for all of them: no idle session has a timer of its own.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from datetime import timedelta
from typing import Final

import trio

from wad.actors.requests import Probe
from wad.actors.services import Services
from wad.models import SessionState
from wad.store.files import Files
from wad.store.store import Retention, Store
from wad.supervisor.actors import Actors
from wad.supervisor.moving import forget_formers

log: Final = logging.getLogger("wad.upkeep")
#: Seconds between looks for messages that outlived their `expiresAt` in sessions that may not send.
EXPIRE_EVERY: Final = 300.0
#: Seconds between removals of what is older than its retention.
PURGE_EVERY: Final = 3600.0


async def look_after(services: Services, actors: Actors, retention: Retention) -> None:
    """Run until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_proofs_fresh, services, actors)
        nursery.start_soon(_expire, actors)
        nursery.start_soon(_purge, services, actors, retention)


async def _keep_proofs_fresh(services: Services, actors: Actors) -> None:
    """Ask each silent session for a new proof twice within `proof_ttl`, evenly spread."""
    every = services.limits.proof_ttl / 2
    while True:
        connected = [actor for actor in actors if actor.session.state is SessionState.CONNECTED]
        pause = every / (len(connected) + 1)
        for actor in connected:
            await trio.sleep(pause)
            if actor.connecting.proof_age > every:
                await actors.ask_quietly(actor, Probe())
        await trio.sleep(pause)


async def _expire(actors: Actors) -> None:
    while True:
        await trio.sleep(EXPIRE_EVERY)
        for actor in [actor for actor in actors if actor.busy]:
            await actor.outbox.expire_overdue()


async def _purge(services: Services, actors: Actors, retention: Retention) -> None:
    while True:
        if services.files is not None:
            await _sweep(services.files, services.patient)
        await trio.sleep(PURGE_EVERY)
        await services.patient.purge(services.now(), retention)
        for actor in actors:
            actor.statuses.forget(timedelta(days=retention.parked).total_seconds())
        await services.patient.purge_bulks(services.now() - timedelta(seconds=PURGE_EVERY))
        await forget_formers(services, actors)


async def _sweep(files: Files, store: Store) -> None:
    """Remove the files that no row speaks of: their time is over, their session is gone, or a crash left them."""
    try:
        async with aclosing(files.listed()) as listed:
            async for some in listed:
                if gone := set(some) - await store.known_media(some):
                    await files.remove(gone)
                    log.info("files_removed", extra={"count": len(gone)})
    except OSError as error:  # a failing disk: the next look may find it well
        log.warning("files_not_swept", extra={"error": error.strerror})
