"""A session goes over to another provider, with its number, its queue and its conversations.

Nothing is in hand when it happens, and it is on disk before anything else: `provider` and `credentials` are the new
ones, and `formers` says what is left to do of the old one. The next life does that, whichever one it is: the keys and
files of the old provider go, and what waits goes by the new one (`wad.actors.takeover`). For a while the old
provider's webhooks are still taken, for what it has to tell of its messages.

A session may move on before that was done, while it rests from crashes: then the next life has both to do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
import trio

from wad.actors.requests import ChangeProvider
from wad.actors.services import Services
from wad.actors.session import SessionActor
from wad.errors import ActorDown
from wad.failpoints import reach
from wad.models import DesiredState, Former, SessionState
from wad.providers.base import ProviderKind
from wad.supervisor.actors import CALL_TIMEOUT, Actors

#: How long a provider that a session left may still tell it something: Meta repeats for 7 days.
REMEMBERED: Final = timedelta(days=8)


async def move(
    services: Services, actors: Actors, actor: SessionActor, kind: ProviderKind, changes: dict[str, Any]
) -> None:
    """Give *actor*'s session *changes*, of which *kind* is one. The caller holds `actor.changing`.

    Raises StoreUnavailable or ActorDown: then it may be asked for again.
    """

    async def write() -> None:
        before = actor.session
        # Where the old provider is says nothing of where the new one is.
        its = {"settings": msgspec.structs.replace(before.settings, base_url=None), "connection_data": {}}
        formers = {former.provider: former for former in before.formers}
        earlier = formers.pop(before.provider, None)
        # What an account that was never proven claims to be is nothing to go by.
        known = dict(before.credentials) if actor.is_proven else earlier.credentials if earlier else {}
        former = Former(provider=before.provider, credentials=known, since=services.now())
        with actors.changing(actor):
            await actor.change(**{**its, **changes, "formers": (*formers.values(), former)})
            reach("session.moved")
            actor.kind = kind
        actor.retune()
        actor.connecting.unproven()
        if actor.session.desired_state is DesiredState.DISCONNECTED:
            actor.be(SessionState.DISCONNECTED)

    if actor.is_resting:
        await write()
        actor.revive()
        return
    with trio.move_on_after(CALL_TIMEOUT):
        await actor.mailbox.ask(ChangeProvider(write))
        return
    raise ActorDown("the session's actor did not answer in time")


async def forget_formers(services: Services, actors: Actors) -> None:
    """Remove the credentials of providers that sessions left long ago."""
    since = services.now() - REMEMBERED
    for actor in [actor for actor in actors if any(each.since < since for each in actor.session.formers)]:
        async with actor.changing:
            formers = actor.session.formers
            if all(each.settled for each in formers):  # else a life of its own is at it
                with actors.changing(actor):
                    kept = tuple(each for each in formers if each.since >= since)
                    await actor.change(store_patiently=True, formers=kept)
