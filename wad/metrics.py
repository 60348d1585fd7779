"""Every Prometheus metric of wad: facts become counters and histograms, a snapshot becomes gauges.

Labels come from closed sets: no session, number or shop is one. Each set stands at 0 from the start, so that
the first failure of all is an increase that an alert can see. A value outside its set counts as `other`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import product
from types import EllipsisType
from typing import Final

import prometheus_client
import trio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wad.errors import ProviderError, Scope, StoreUnavailable
from wad.events import (
    ActorCrashed,
    Balanced,
    BreakerChanged,
    BreakerSet,
    BridgeEnded,
    BridgeStarted,
    Events,
    Fact,
    FailedOver,
    FlowDelivered,
    InboundDuplicate,
    InboxDied,
    MarketingPaused,
    MediaFetched,
    MessageMoved,
    MessageQueued,
    MessageReceived,
    OutboxLoaded,
    ProviderCalled,
    ReconnectLoop,
    RequestServed,
    SessionCreated,
    SessionDeleted,
    SessionStateChanged,
    Throttled,
    WebhookAnswered,
)
from wad.gauges import Gauges, Process, Snapshot
from wad.models import (
    AccountEvent,
    FlowEvent,
    InboundMessage,
    InboxItem,
    MessageState,
    OutboundMessage,
)

__all__ = ["CONTENT_TYPE", "Gauges", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

MESSAGE_TYPES: Final = (
    "text", "image", "audio", "video", "document", "sticker", "location", "contacts", "reaction", "template",
    "interactive", "poll",
)  # fmt: skip
#: What arrives besides those: presses of a button, orders, system notices, and account events.
INBOUND_TYPES: Final = (
    *MESSAGE_TYPES, "button", "order", "system", "unsupported", "template.status", "account.update",
    "provider.event",
)  # fmt: skip
#: Where a message may come to. `dead` is one given up as unknown.
OUTCOMES: Final = (
    "accepted", "sent", "delivered", "read", "played", "failed", "cancelled", "expired", "unknown", "dead",
)  # fmt: skip
#: How wad chose a session, and why that one; and what keeps one from sending what it had (`wad.supervisor.balancer`).
POLICIES: Final = ("sticky", "weighted", "priority", "cheapest")
CHOSEN: Final = (
    "customer_wrote_to_it", "wrote_to_customer", "weight", "priority", "cost", "only_one", "heals_by_itself",
    "queued_as_asked",
)  # fmt: skip
STUCK: Final = (
    "breaker_open", "pairing", "waits_for_person", "disconnected", "not_connected_yet", "attempts_failed", "deleted",
)  # fmt: skip
WEBHOOK_RESULTS: Final = ("ok", "bad_signature", "malformed", "unavailable")
FLOW_OUTCOMES: Final = ("answered", "retry", "dead", "gone", "rules")
#: `retry` and `disk` are tried again: for the provider's sake, and for our own.
FETCH_RESULTS: Final = ("stored", "retry", "disk", "failed")
RESTART_REASONS: Final = ("bug", "provider", "store")
STORE_OPERATIONS: Final = ("write", "find", "count")
SCOPES: Final = tuple(scope.name.lower() for scope in Scope)

#: Seconds. A webhook has 250 ms at the median and 1 s at the 99th percentile; an attempt at most 35 s.
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 35)
_SEND: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_LAG: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Values that one open set may have (an error's code, a route): our own words, but too many to list here.
_MOST: Final = 100


class Metrics:
    """The registry of one process, and what fills it."""

    def __init__(self, *, version: str, providers: Collection[str], snapshot: Callable[[], Gauges]) -> None:
        """*snapshot* is called at each scrape, from the event loop."""
        # The client library's `_created` series double every counter and say nothing that Prometheus needs.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._providers = tuple(providers)
        self._results = _OpenSet()
        self._operations = _OpenSet()
        self._routes = _OpenSet()

        info = Gauge(
            "wad_build_info", "What runs here; always 1.", ["version", "python"], registry=self.registry
        )
        info.labels(version, platform.python_version()).set(1)

        self._restarts = self._counter(
            "wad_session_restarts_total",
            "Restarts of crashed sessions.",
            provider=...,
            reason=RESTART_REASONS,
        )
        self._loops = self._counter(
            "wad_reconnect_loops_total",
            "Sessions that lost their connection again and again: each time that one began to.",
            provider=...,
        )
        self._accepted = self._counter(
            "wad_messages_accepted_total",
            "Messages that wad promised to send.",
            provider=...,
            type=MESSAGE_TYPES,
        )
        self._outcomes = self._counter(
            "wad_message_outcomes_total", "What became of messages.", provider=..., outcome=OUTCOMES
        )
        self._send = self._histogram(
            "wad_send_seconds",
            "From wad's promise, or sendAt, until the provider took it.",
            _SEND,
            provider=...,
        )
        self._provider = self._histogram(
            "wad_provider_request_seconds",
            "Requests to providers; result is ok or the error's code.",
            _SLOW,
            provider=...,
            operation=("send",),
            result=("ok",),
        )
        self._inbound = self._counter(
            "wad_inbound_total",
            "Messages and account events that were new.",
            provider=...,
            type=INBOUND_TYPES,
        )
        self._duplicates = self._counter(
            "wad_inbound_duplicates_total", "Messages and events that were there already.", provider=...
        )
        self._webhooks = self._counter(
            "wad_webhook_requests_total", "Webhook requests answered.", provider=..., result=WEBHOOK_RESULTS
        )
        self._webhook_ack = self._histogram(
            "wad_webhook_ack_seconds",
            "From a webhook's arrival until it is stored and answered.",
            _QUICK,
            provider=...,
        )
        self._fetched = self._counter(
            "wad_media_fetched_total",
            "Tries to fetch a customer's file.",
            provider=...,
            result=FETCH_RESULTS,
        )
        self._flow = self._counter(
            "wad_flow_deliveries_total",
            "Attempts to hand something to a flow service.",
            outcome=FLOW_OUTCOMES,
        )
        self._flow_seconds = self._histogram(
            "wad_flow_seconds", "How long flow services took to answer.", _SLOW
        )
        self._throttled = self._counter(
            "wad_throttled_total", "Rate limits that providers answered with.", provider=..., scope=SCOPES
        )
        self._store = self._histogram(
            "wad_store_seconds",
            "Operations of the store, as their callers saw them.",
            _QUICK,
            operation=STORE_OPERATIONS,
        )
        self._http = self._histogram(
            "wad_http_request_seconds", "Requests answered.", _QUICK, route=(), method=(), status=()
        )
        self._bridge_restarts = self._counter(
            "wad_bridge_restarts_total", "Bridges of WhatsApp Web started in place of one that ended unasked."
        )
        self._balanced = self._counter(
            "wad_balanced_total",
            "Messages for which wad chose the session.",
            policy=POLICIES,
            why=CHOSEN,
        )
        self._failed_over = self._counter(
            "wad_failed_over_total",
            "Messages given to another session of their shop, by what kept the first from sending them.",
            provider=...,
            why=STUCK,
        )
        self._bridges = Gauge(
            "wad_bridge_processes", "Bridges of WhatsApp Web that run.", registry=self.registry
        )
        self._loop_lag = self._histogram(
            "wad_loop_lag_seconds", "How late the event loop woke a task that slept a second.", _LAG
        )
        self.registry.register(Snapshot(snapshot, self._providers))
        Process(registry=self.registry)

    def subscribe(self, events: Events) -> None:
        """Count every fact from now on."""
        events.subscribe(self._count)

    def render(self) -> bytes:
        """What `GET /metrics` answers, as CONTENT_TYPE."""
        return prometheus_client.generate_latest(self.registry)

    def store_called(self, operation: str, seconds: float) -> None:
        """One operation of the store is over (`Store.observe`). No fact: there are thousands a second."""
        self._store.labels(_known(operation, STORE_OPERATIONS)).observe(seconds)

    async def measure_loop(self) -> None:
        """Measure how late the event loop is, each second, until cancelled."""
        while True:
            due = trio.current_time() + 1.0
            await trio.sleep_until(due)
            self._loop_lag.observe(max(0.0, trio.current_time() - due))

    # --- facts --------------------------------------------------------------------------------------

    def _count(self, fact: Fact) -> None:
        match fact:
            case MessageQueued(message=message):
                self._accepted.labels(message.provider, _known(message.type, MESSAGE_TYPES)).inc()
            case Balanced(policy=policy, why=why):
                self._balanced.labels(_known(policy, POLICIES), _known(why, CHOSEN)).inc()
            case FailedOver(provider=provider, why=why, moved=moved):
                self._failed_over.labels(provider, _known(why, STUCK)).inc(moved)
            case MessageMoved(message=message):
                self._moved(message)
            case MessageReceived(item=InboxItem(event=FlowEvent())):
                pass  # one of ours, on its way to the flow
            case MessageReceived(item=item):
                self._inbound.labels(item.provider, _known(_type_of(item), INBOUND_TYPES)).inc()
            case InboundDuplicate(provider=provider):
                self._duplicates.labels(provider).inc()
            case WebhookAnswered(provider=provider, result=result, seconds=seconds):
                self._webhooks.labels(provider, _known(result, WEBHOOK_RESULTS)).inc()
                if result == "ok":
                    self._webhook_ack.labels(provider).observe(seconds)
            case ProviderCalled(provider=provider, seconds=seconds):
                operation, result = self._operations.known(fact.operation), self._results.known(fact.result)
                self._provider.labels(provider, operation, result).observe(seconds)
            case Throttled(provider=provider, scope=scope):
                self._throttled.labels(provider, _known(scope, SCOPES)).inc()
            case FlowDelivered(outcome=outcome, seconds=seconds):
                self._flow.labels(_known(outcome, FLOW_OUTCOMES)).inc()
                self._flow_seconds.observe(seconds)
            case ActorCrashed(provider=provider, error=error, restart_in=restart_in):
                if restart_in is not None:
                    self._restarts.labels(provider, cause(error)).inc()
            case MediaFetched(media=media, result=result):
                self._fetched.labels(media.provider, _known(result, FETCH_RESULTS)).inc()
            case BridgeStarted(restart=restart):
                self._bridges.inc()
                if restart:
                    self._bridge_restarts.inc()
            case BridgeEnded():
                self._bridges.dec()
            case RequestServed(route=route, method=method, status=status, seconds=seconds):
                self._http.labels(self._routes.known(route), method, str(status)).observe(seconds)
            case (
                SessionCreated()
                | SessionDeleted()
                | SessionStateChanged()
                | BreakerChanged()
                | BreakerSet()
                | InboxDied()
                | OutboxLoaded()
            ):
                pass  # gauges tell of these, from the snapshot
            case ReconnectLoop(status=status):
                self._loops.labels(status.provider).inc()
            case MarketingPaused():
                pass  # for the log and for listeners: it names a session
            case _:
                raise AssertionError(fact)

    def _moved(self, message: OutboundMessage) -> None:
        outcome = "dead" if message.dead and message.state is MessageState.UNKNOWN else message.state.value
        if outcome not in OUTCOMES:
            return  # queued or sending: on its way, no outcome
        self._outcomes.labels(message.provider, outcome).inc()
        if message.state is MessageState.ACCEPTED:
            since = max(message.created_at, message.send_at or message.created_at)
            self._send.labels(message.provider).observe(
                max(0.0, (message.updated_at - since).total_seconds())
            )

    # --- making them --------------------------------------------------------------------------------

    def _counter(self, name: str, text: str, **labels: Iterable[str] | EllipsisType) -> Counter:
        counter = Counter(name, text, list(labels), registry=self.registry)
        self._at_zero(counter, labels)
        return counter

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], **labels: Iterable[str] | EllipsisType
    ) -> Histogram:
        histogram = Histogram(name, text, list(labels), buckets=buckets, registry=self.registry)
        self._at_zero(histogram, labels)
        return histogram

    def _at_zero(
        self, metric: Counter | Histogram, labels: Mapping[str, Iterable[str] | EllipsisType]
    ) -> None:
        """Make every combination of label values known; `...` stands for the providers."""
        values = [self._providers if each is ... else tuple(each) for each in labels.values()]
        for combination in product(*values) if labels else ():
            metric.labels(*combination)


class _OpenSet:
    """Label values that are learnt as they come, up to a number of them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def known(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= _MOST:
            return "other"
        self._seen.add(value)
        return value


def _known(value: str, values: Collection[str]) -> str:
    return value if value in values else "other"


def _type_of(item: InboxItem) -> str:
    match item.event:
        case InboundMessage(content=content):
            return str(content.get("type"))
        case AccountEvent(type=type_) | FlowEvent(type=type_):
            return type_


def cause(error: BaseException) -> str:
    """Whose fault a crash is: `store`, `provider`, or `bug` where nobody but wad is left."""
    match error:
        case BaseExceptionGroup(exceptions=exceptions):
            causes = {cause(each) for each in exceptions}
            return "bug" if "bug" in causes else min(causes)
        case StoreUnavailable():
            return "store"
        case ProviderError() | OSError():
            return "provider"
        case _:
            return "bug"
