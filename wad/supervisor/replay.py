"""Gives the store what waits in the spool: in order, as soon as the store takes it.

A webhook is taken in a second time as it was the first time. One that no session takes any more, because its session
or its secret is gone, was verified when it came: what it brought is kept for nobody, among the dead letters.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import trio

from wad.errors import StoreUnavailable
from wad.failpoints import reach
from wad.store.spool import Spool, Spooled
from wad.supervisor.webhooks import WebhookDesks

log: Final = logging.getLogger("wad.webhooks")
#: Seconds between tries while the store is away: the first pause, doubling, and the longest.
_PAUSES: Final = (0.1, 2.0)


async def replay(spool: Spool, desks: WebhookDesks) -> None:
    """Empty *spool* whenever there is something in it, until cancelled."""
    first, longest = _PAUSES
    pause = first
    while True:
        await spool.until_some()
        try:
            webhooks = await spool.oldest()
            await _take_in(desks, webhooks)
            reach("spool.stored")
            await spool.remove(webhooks)
            pause = first
        except StoreUnavailable:  # told by the store's own log, and by wad_spool_oldest_seconds
            await trio.sleep(pause)
            pause = min(2 * pause, longest)


async def _take_in(desks: WebhookDesks, webhooks: Sequence[Spooled]) -> None:
    """Store *webhooks*. One that cannot be taken in is set aside, and holds up no other."""
    try:
        await desks.take_again(webhooks)
    except StoreUnavailable:
        raise
    except Exception as error:
        if len(webhooks) > 1:
            for webhook in webhooks:
                await _take_in(desks, [webhook])
            return
        log.exception("spooled_webhook_set_aside", extra={"provider": webhooks[0].provider})
        await desks.set_aside(webhooks[0], error)
