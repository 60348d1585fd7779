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
from datetime import timedelta
from functools import partial
from typing import Any, Final

import trio
from pydantic import SecretStr

from wad import __version__
from wad.actors.limiter import RATE
from wad.actors.services import Limits, Pace, Services
from wad.config import Config, ConfigError, HttpProvider, ProviderSection
from wad.config.balancing import ShopPolicy
from wad.content import parse_reply
from wad.errors import FieldError, InvalidRequest, NotSupported, StoreUnavailable
from wad.events import Events
from wad.flow.client import open_flow_client
from wad.flow.delivery import FlowDefaults, Flows
from wad.flow.rules import Rules
from wad.guard import Guard
from wad.http.app import App, create_app
from wad.http.events import EventStream
from wad.http.server import serve_http
from wad.http.sockets import bind
from wad.log import subscribe as log_facts
from wad.metrics import Metrics
from wad.models import Address
from wad.notify import Notifier, take_sockets, watchdog
from wad.providers.base import ProviderKind, check_send
from wad.providers.http import Pools
from wad.providers.place import Place
from wad.providers.registry import installed
from wad.secrets import Vault
from wad.store.files import Files, open_files
from wad.store.open import store_at
from wad.store.spool import Spool, open_spool
from wad.store.store import Retention, Store
from wad.supervisor.balancer import Policy
from wad.supervisor.observe import Observer
from wad.supervisor.placing import Policies
from wad.supervisor.policy import RestartPolicy
from wad.supervisor.sessions import Sessions, open_sessions

log: Final = logging.getLogger("wad.daemon")
#: Seconds between words to systemd while starting or stopping takes its time, and what each one asks for.
_PROGRESS_EVERY: Final = 5.0
_PROGRESS_EXTENDS: Final = 30.0
#: Seconds between two tries to reach a store that is away at the start.
_REACH_AGAIN: Final = 1.0
_DAY: Final = 86400.0
#: Whom rules answer: a person.
_SOMEBODY: Final = Address(phone="+5215512345678")
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
    flows = Flows(_flow_defaults(config), rules=_rules(config))
    stop = trio.Event()
    sockets = _listen(config)
    reloading = Reloading(reload, flows, notifier)
    vault = _vault(config)
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
        _check_rules(flows.rules, sessions)
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
        nursery.start_soon(sessions.look_after, _retention(config))
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
        config.store.data_dir, _vault(config), max_size=config.store.spool_max_size
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
            limits=_limits(config),
            paces={name: _pace(section) for name, section in sections.items()},
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
                _policy(config),
                check_url=guard.check,
                policies=_policies(config),
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


# --- the configuration, in each part's own words ----------------------------------------------------


def _listen(config: Config) -> list[socket.socket]:
    """The sockets that systemd hands over, else our own. Raises OSError for a taken port."""
    handed = take_sockets(os.environ)
    if handed:
        return [each.socket for each in handed]
    return bind(config.http.bind, backlog=config.http.backlog)


class Reloading:
    """SIGHUP: take up what can change while sessions live. That is all or nothing; the rest wants a restart."""

    def __init__(self, read: Callable[[], Config] | None, flows: Flows, notifier: Notifier) -> None:
        self._read = read
        self._flows = flows
        self._notifier = notifier
        self.app: App | None = None  # both while they are there
        self.sessions: Sessions | None = None

    def __call__(self) -> None:
        self._notifier.reloading()
        try:
            if self._read is not None:
                self._take_up(self._read())
                log.info("reloaded")
        except (ConfigError, InvalidRequest, OSError) as error:
            log.error("not_reloaded", extra={"error": error})  # noqa: TRY400  the text says it all
        self._notifier.ready("reloaded")

    def _take_up(self, config: Config) -> None:
        self._flows.replace(_flow_defaults(config), _rules(config))
        if self.app is not None:
            self.app.admit_only(config.auth.tokens)
        if self.sessions is not None:
            self.sessions.share(_policies(config))
            _check_rules(self._flows.rules, self.sessions)


def _check_rules(rules: Rules | None, sessions: Sessions) -> None:
    """Say which replies the sessions there are cannot send: the file alone does not tell whose they will be."""
    if rules is None:
        return
    for name, kind in sessions.kinds_in_use.items():
        for error in rules.unsendable(name, partial(_unsendable, kind)):
            log.warning(
                "reply_unsendable", extra={"provider": name, "detail": f"{error.pointer}: {error.detail}"}
            )


def _unsendable(kind: ProviderKind, reply: Mapping[str, Any]) -> list[FieldError]:
    asked = parse_reply(reply)
    try:
        return check_send(kind, _SOMEBODY, asked.content, quotes=asked.reply_to is not None)
    except NotSupported as error:
        return [FieldError("", error.detail)]


def _vault(config: Config) -> Vault:
    key = config.secrets.master_key
    assert key is not None, "`ensure_secrets`, or the check of the configuration, saw to it"
    return Vault(key.get_secret_value(), [old.get_secret_value() for old in config.secrets.old_master_keys])


def _rules(config: Config) -> Rules | None:
    return Rules.load(config.flow.rules, parse_reply) if config.flow.rules else None


def _flow_defaults(config: Config) -> FlowDefaults:
    flow = config.flow
    return FlowDefaults(url=flow.url, secret=_shown(flow.secret), events=frozenset(flow.events))


def _limits(config: Config) -> Limits:
    limits, backoff = config.limits, config.supervisor.backoff
    return Limits(
        queue_per_session=limits.queue_per_session,
        bulk_per_session=limits.bulk_per_session,
        send_concurrency=limits.send_concurrency,
        inbox_concurrency=limits.inbox_concurrency,
        message_ttl=timedelta(seconds=limits.retry.max_age),
        max_attempts=limits.retry.max_attempts,
        settle_window=timedelta(seconds=limits.settle_window),
        flow_window=timedelta(seconds=config.flow.max_age),
        fetch=config.media.fetch,
        file_size=config.media.max_size,
        file_ttl=timedelta(seconds=config.media.retention),
        proof_ttl=limits.proof_ttl,
        connect_backoff=(backoff.initial, backoff.max),
    )


def _pace(section: ProviderSection) -> Pace:
    """How fast a session sends by default. Only APIs over HTTP tell a limit of pairs."""
    rate, is_set = section.rate or RATE, section.rate is not None
    if isinstance(section, HttpProvider):
        return Pace(
            rate=rate,
            is_set=is_set,
            burst=section.burst,
            pair_interval=section.pair_interval,
            pair_burst=section.pair_burst,
        )
    return Pace(rate=rate, is_set=is_set, burst=section.burst, pair_interval=None)


def _policies(config: Config) -> Policies:
    """How each shop's sessions share its work."""

    def of(shop: ShopPolicy) -> Policy:
        return Policy(name=shop.policy, weights=shop.weights, order=shop.order, costs=shop.costs)

    shops = {shop_id: of(shop) for shop_id, shop in config.balancing.shops.items()}
    return Policies(default=of(config.balancing.default), shops=shops)


def _policy(config: Config) -> RestartPolicy:
    supervisor = config.supervisor
    return RestartPolicy(
        intensity=supervisor.intensity,
        period=supervisor.period,
        initial=supervisor.backoff.initial,
        most=supervisor.backoff.max,
        cooldown=supervisor.cooldown.initial,
        cooldown_most=supervisor.cooldown.max,
    )


def _retention(config: Config) -> Retention:
    kept = config.retention
    return Retention(
        messages=kept.messages / _DAY,
        inbox=kept.inbox / _DAY,
        dead_letters=kept.dead_letters / _DAY,
        events=kept.events / _DAY,
    )


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
