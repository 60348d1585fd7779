"""The composition root: the one place that knows store, providers, supervisor and HTTP together.

If A needs B, A's block stands inside B's. So starting is reading downwards, and stopping is the way back:
nothing new is accepted, requests in hand are answered, sends in hand get their results, the store closes.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Final

import trio

from wad import __version__, settings
from wad.actors.services import Services
from wad.config import Config
from wad.content import parse_reply
from wad.errors import StoreUnavailable
from wad.events import Events
from wad.flow.client import open_flow_client
from wad.flow.delivery import Flows
from wad.guard import Guard
from wad.http.app import App, create_app
from wad.http.events import EventStream
from wad.http.server import serve_http
from wad.http.sockets import bind
from wad.log import subscribe as log_facts
from wad.metrics import Metrics
from wad.notify import Notifier, take_sockets, watchdog
from wad.providers.base import ProviderKind
from wad.providers.http import Pools
from wad.providers.place import Place
from wad.providers.registry import installed
from wad.reloading import Reloading, check_rules
from wad.secrets import Vault
from wad.store.files import Files, open_files
from wad.store.open import store_at
from wad.store.spool import Spool, open_spool
from wad.store.store import Store
from wad.supervisor.observe import Observer
from wad.supervisor.sessions import Sessions, open_sessions

log: Final = logging.getLogger("wad.daemon")
#: Seconds between words to systemd while starting or stopping takes its time, and what each one asks for.
_PROGRESS_EVERY: Final = 5.0
_PROGRESS_EXTENDS: Final = 30.0
#: Seconds between two tries to reach a store that is away at the start.
_REACH_AGAIN: Final = 1.0
#: New objects between two looks for garbage; Python's 700 are what one request makes. Measured with `bench`: a sixth
#: less CPU a message, and half the 99th percentile.
_COLLECT_AFTER: Final = (10_000, 10, 10)


async def serve(
    config: Config,
    *,
    reload: Callable[[], Config] | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM or SIGINT, then drain. `started` gives the addresses once the sessions are restored.

    *config* is complete: it has its master key and its tokens. *reload* reads it anew, for SIGHUP. Raises
    OSError (a taken port), `InvalidRequest` (a broken rules file), `WrongMasterKey`, `StoreUnusable` or
    `StoreUnavailable` where it cannot start.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    notifier = Notifier.take(os.environ)
    flows = Flows(settings.flow_defaults(config), rules=settings.rules(config))
    stop = trio.Event()
    sockets = _listen(config)
    reloading = Reloading(reload, flows, notifier)
    vault = settings.vault(config)
    async with (
        _process(stop, notifier, reloading),
        store_at(
            config.store.url.get_secret_value(),
            database=config.store.database,
            data_dir=config.store.data_dir,
            vault=vault,
        ) as (store, reach),
        _open_spool(config) as spool,
        _open_events(store) as (events, stream),
        _open_sessions(config, store, spool, flows, events, files=await _files(config, vault)) as sessions,
        _open_app(config, store, sessions, events, stream) as app,
        trio.open_nursery() as serving,
    ):
        addresses = await serving.start(
            partial(
                serve_http,
                app,
                config.http,
                sockets,
                shutdown_trigger=stop.wait,
                on_shutdown=stream.close,
            )
        )
        reloading.app, reloading.sessions = app, sessions
        if not await _restore(partial(_reach, reach, config.store.wait, notifier), sessions, notifier, stop):
            return
        check_rules(flows.rules, sessions)
        serving.start_soon(_look_after, sessions, config, stop)
        log.info("ready", extra={"addresses": addresses, "count": sessions.progress.restored})
        notifier.ready(f"{sessions.progress.restored} sessions")
        task_status.started(addresses)
    log.info("stopped")


async def _reach(reach: Callable[[], Awaitable[None]], seconds: float, notifier: Notifier) -> None:
    """Reach the store, waiting for one that is away. Meanwhile /readyz says so, and everybody else gets a 503.

    Raises StoreUnavailable once *seconds* are over.
    """
    give_up_at = trio.current_time() + seconds
    told = False
    while True:
        try:
            return await reach()
        except StoreUnavailable as error:
            if trio.current_time() + _REACH_AGAIN > give_up_at:
                raise
            if not told:
                log.warning("store_away", extra={"operation": "start", "detail": error.detail})
            told = True
        notifier.status("waiting for the store")
        await trio.sleep(_REACH_AGAIN)


async def _restore(
    reach: Callable[[], Awaitable[None]], sessions: Sessions, notifier: Notifier, stop: trio.Event
) -> bool:
    """Bring the sessions back, telling systemd how far it is; False where a signal ended it."""
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await stop.wait()
            nursery.cancel_scope.cancel()

        async def tell() -> None:
            while True:
                await trio.sleep(_PROGRESS_EVERY)
                notifier.extend(_PROGRESS_EXTENDS)
                if (progress := sessions.progress).of:
                    notifier.status(f"restored {progress.restored} of {progress.of} sessions")

        nursery.start_soon(give_up)
        nursery.start_soon(tell)
        await reach()
        with _here_to_stay():
            await sessions.restore()
        nursery.cancel_scope.cancel()
    return sessions.progress.done


@contextmanager
def _here_to_stay() -> Iterator[None]:
    """Have the garbage collector never look at what is made in here, nor at what was there before.

    A look at ten thousand sessions takes 0.7 s, in which nothing else runs, and finds nothing. What it would
    find of a session that is deleted later is left: less than what the session itself took.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


async def _look_after(sessions: Sessions, config: Config, stop: trio.Event) -> None:
    """Keep proofs fresh and the store small, from the restore to the stop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sessions.look_after, settings.retention(config))
        await stop.wait()
        nursery.cancel_scope.cancel()


# --- the blocks -----------------------------------------------------------------------------------


@asynccontextmanager
async def _process(stop: trio.Event, notifier: Notifier, reload: Callable[[], None]) -> AsyncIterator[None]:
    """What the process owes its system: an ear for signals, and signs of life to systemd, until the very end.

    SIGTERM and SIGINT set *stop*; a second one ends the process at once. SIGHUP calls *reload*.
    """

    async def listen() -> None:
        async for signum in signals:
            if signum == signal.SIGHUP:
                reload()
            elif stop.is_set():
                log.warning("ended_at_once", extra={"signal": signal.Signals(signum).name})
                os._exit(128 + signum)  # safe at any moment, as a kill -9 is: what counts is on disk
            else:
                log.info("stopping", extra={"signal": signal.Signals(signum).name})
                notifier.stopping("finishing what is in hand")
                stop.set()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(watchdog, notifier)
            yield
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_spool(config: Config) -> AsyncIterator[Spool | None]:
    """Where webhooks wait while MongoDB is away. The embedded store needs none."""
    if config.store.kind != "mongodb":
        yield None
        return
    async with open_spool(
        config.store.data_dir, settings.vault(config), max_size=config.store.spool_max_size
    ) as spool:
        yield spool


async def _files(config: Config, vault: Vault) -> Files | None:
    """Where customers' files are kept, by the data keys that the store's *vault* knows. The memory store keeps none."""
    if config.store.kind == "memory":
        return None
    files = open_files(config.store.data_dir, vault, max_disk=config.media.max_disk)
    await files.load()
    return files


@asynccontextmanager
async def _open_events(store: Store) -> AsyncIterator[tuple[Events, EventStream]]:
    """The facts, and who writes them down for listeners: until the last send in hand has its result."""
    events = Events()
    stream = EventStream(store, events)
    async with trio.open_nursery() as nursery:
        await nursery.start(stream.run)
        yield events, stream
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_sessions(
    config: Config, store: Store, spool: Spool | None, flows: Flows, events: Events, *, files: Files | None
) -> AsyncIterator[Sessions]:
    """The sessions, with all that their actors share."""
    found = installed()
    sections = {
        name: config.providers.of(name, provider.section) for name, provider in found.providers.items()
    }
    guard = Guard(config.guard.allow)
    async with (
        open_flow_client(
            guard, parse_reply, timeout=config.flow.timeout, max_response=config.flow.max_response
        ) as flows.client,
        Pools(guard=guard.network()) as pools,
    ):
        services = Services(
            store=store,
            patient=store.patient(),
            spool=spool,
            files=files,
            events=events,
            flows=flows,
            limits=settings.limits(config),
            paces={name: settings.pace(section) for name, section in sections.items()},
            node=config.node.id,
            connecting=trio.CapacityLimiter(config.supervisor.restore_concurrency),
            fetching=trio.CapacityLimiter(config.media.concurrency),
        )
        place = Place(
            pools=pools,
            public_url=config.http.public_url.rstrip("/") if config.http.public_url else None,
            data_dir=config.store.data_dir,
            publish=events.publish,
        )
        kinds = found.make(sections, place)
        async with (
            _running(kinds),
            open_sessions(
                services,
                kinds,
                settings.restart_policy(config),
                check_url=guard.check,
                policies=settings.policies(config),
                grace=config.supervisor.grace,
            ) as sessions,
        ):
            yield sessions


@asynccontextmanager
async def _running(kinds: Mapping[str, ProviderKind]) -> AsyncIterator[None]:
    """What the connections of each kind share, around all sessions."""
    async with AsyncExitStack() as stack:
        for kind in kinds.values():
            await stack.enter_async_context(kind.running())
        yield


@asynccontextmanager
async def _open_app(
    config: Config, store: Store, sessions: Sessions, events: Events, stream: EventStream
) -> AsyncIterator[App]:
    """The HTTP application, and what else listens to the facts: log and metrics."""
    observer = Observer(sessions, store)
    metrics = Metrics(version=__version__, providers=sessions.providers, snapshot=observer.gauges)
    metrics.subscribe(events)
    store.observe(metrics.store_called)
    log_facts(events)
    app = create_app(
        sessions=sessions, store=store, config=config, events=events, stream=stream, metrics=metrics.render
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.run)
        nursery.start_soon(metrics.measure_loop)
        yield app
        nursery.cancel_scope.cancel()


def _listen(config: Config) -> list[socket.socket]:
    """The sockets that systemd hands over, else our own. Raises OSError for a taken port."""
    handed = take_sockets(os.environ)
    if handed:
        return [each.socket for each in handed]
    return bind(config.http.bind, backlog=config.http.backlog)
