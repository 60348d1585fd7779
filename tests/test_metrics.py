"""The metrics: the public names, each set of labels from 0 on, and facts counted once."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from wad.errors import ActorDown, ProviderError, StoreUnavailable, Verdict
from wad.events import (
    ActorCrashed,
    Balanced,
    BridgeEnded,
    BridgeStarted,
    Events,
    Fact,
    FailedOver,
    FlowDelivered,
    InboundDuplicate,
    MediaFetched,
    MessageMoved,
    MessageQueued,
    MessageReceived,
    ProviderCalled,
    RequestServed,
    Throttled,
    WebhookAnswered,
)
from wad.metrics import Gauges, Metrics, cause
from wad.models import (
    AccountEvent,
    Address,
    ChatId,
    FlowEvent,
    InboundMessage,
    InboxItem,
    Media,
    MessageId,
    MessageState,
    OutboundMessage,
    Person,
    SessionId,
)

NOW = datetime(2026, 12, 1, 15, tzinfo=UTC)
PROVIDERS = ("cloud_api", "twilio")
NO_PROMTOOL = (
    "no promtool: `apt-get download prometheus && dpkg-deb -x prometheus_*.deb p`, then add p/usr/bin to PATH"
)

#: contract: what dashboards and alerts outside this project are written against.
PUBLIC = {
    "wad_build_info": {"version", "python"},
    "wad_sessions": {"provider", "state"},
    "wad_session_restarts_total": {"provider", "reason"},
    "wad_reconnect_loops_total": {"provider"},
    "wad_messages_accepted_total": {"provider", "type"},
    "wad_message_outcomes_total": {"provider", "outcome"},
    "wad_send_seconds": {"provider"},
    "wad_provider_request_seconds": {"provider", "operation", "result"},
    "wad_bulk_depth": {"provider"},
    "wad_outbox_depth": {"provider"},
    "wad_outbox_oldest_seconds": {"provider"},
    "wad_inbound_total": {"provider", "type"},
    "wad_inbound_duplicates_total": {"provider"},
    "wad_webhook_requests_total": {"provider", "result"},
    "wad_webhook_ack_seconds": {"provider"},
    "wad_flow_deliveries_total": {"outcome"},
    "wad_flow_seconds": set(),
    "wad_inbox_depth": set(),
    "wad_inbox_oldest_seconds": set(),
    "wad_breaker_state": {"provider", "state"},
    "wad_throttled_total": {"provider", "scope"},
    "wad_dead_letters": {"direction"},
    "wad_store_seconds": {"operation"},
    "wad_http_request_seconds": {"route", "method", "status"},
    "wad_bridge_processes": set(),
    "wad_bridge_restarts_total": set(),
    # wad's own beside them
    "wad_media_fetched_total": {"provider", "result"},
    "wad_media_waiting": set(),
    "wad_media_bytes": set(),
    "wad_balanced_total": {"policy", "why"},
    "wad_failed_over_total": {"provider", "why"},
    "wad_unknown_messages": set(),
    "wad_store_up": set(),
    "wad_spool_depth": set(),
    "wad_spool_oldest_seconds": set(),
    "wad_loop_lag_seconds": set(),
}


class Scrape:
    """What a Prometheus server reads."""

    def __init__(self, metrics: Metrics) -> None:
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.labels: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(metrics.render().decode()):
            for sample in family.samples:
                self.samples[sample.name, frozenset(sample.labels.items())] = sample.value
                name = sample.name
                if family.type == "histogram":
                    name = family.name
                self.labels.setdefault(name, set()).update(set(sample.labels) - {"le"})

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


def metrics(gauges: Gauges | None = None) -> Metrics:
    return Metrics(version="1.2.3", providers=PROVIDERS, snapshot=lambda: gauges or Gauges())


def after(*facts: Fact) -> Scrape:
    """A scrape after *facts*; a subscriber that raised would have been reported by `Events`, so ask it directly."""
    counted = metrics()
    for fact in facts:
        counted._count(fact)
    return Scrape(counted)


def message(state: MessageState, **changes: Any) -> OutboundMessage:
    fields: dict[str, Any] = {
        "message_id": MessageId("msg_1"),
        "session_id": SessionId("tienda-1"),
        "provider": "cloud_api",
        "to": Address(phone="+5215512345678"),
        "content": {"type": "text", "text": {"body": "Hola"}},
        "seq": 1,
        "created_at": NOW,
        "updated_at": NOW,
        "expires_at": NOW,
        "state": state,
    }
    return OutboundMessage(**fields | changes)


def item(event: InboundMessage | AccountEvent | FlowEvent) -> InboxItem:
    return InboxItem(
        message_id=MessageId("msg_2"), session_id=SessionId("tienda-1"), provider="cloud_api", event=event, seq=1,
        received_at=NOW, expires_at=NOW,
    )  # fmt: skip


def inbound(type_: str) -> InboxItem:
    return item(
        InboundMessage(
            provider_message_id="w", chat=ChatId("c"), sender=Person(), content={"type": type_, type_: {}}
        )
    )


def a_file() -> Media:
    return Media(
        media_id="med_1", session_id=SessionId("tienda-1"), provider="cloud_api", provider_media_id="1", mime_type="image/png",
        created_at=NOW, expires_at=NOW,
    )  # fmt: skip


# --- names ----------------------------------------------------------------------------------------


def test_the_public_names_and_labels_are_all_there_and_no_other():
    """A dashboard written against the documentation works, and nothing undocumented creeps in."""
    scrape = after(RequestServed("/healthz", "GET", 200, 0.1))
    assert {name: labels for name, labels in scrape.labels.items() if name.startswith("wad_")} == PUBLIC


def test_no_metric_has_a_session_a_number_or_a_shop_as_a_label():
    """Their number has no bound, and they are nobody's business at a metrics server."""
    labels = set().union(*PUBLIC.values())
    assert not labels & {
        "session",
        "session_id",
        "sessionId",
        "phone",
        "phone_number",
        "shop",
        "shop_id",
        "to",
    }


def test_every_closed_set_of_labels_stands_at_zero_from_the_start():
    """An alert on an increase sees the first failure of all only if there was a 0 before it."""
    scrape = after()
    for provider in PROVIDERS:
        assert scrape("wad_message_outcomes_total", provider=provider, outcome="failed") == 0
        assert scrape("wad_messages_accepted_total", provider=provider, type="template") == 0
        assert scrape("wad_inbound_total", provider=provider, type="text") == 0
        assert scrape("wad_webhook_requests_total", provider=provider, result="bad_signature") == 0
        assert scrape("wad_session_restarts_total", provider=provider, reason="bug") == 0
        assert scrape("wad_throttled_total", provider=provider, scope="pair") == 0
        assert scrape("wad_media_fetched_total", provider=provider, result="failed") == 0
        assert scrape("wad_sessions", provider=provider, state="bad_credentials") == 0
        assert scrape("wad_breaker_state", provider=provider, state="open") == 0
        assert scrape("wad_outbox_depth", provider=provider) == 0
        assert scrape("wad_send_seconds_count", provider=provider) == 0
        assert (
            scrape("wad_provider_request_seconds_count", provider=provider, operation="send", result="ok")
            == 0
        )
    assert scrape("wad_flow_deliveries_total", outcome="gone") == 0
    assert scrape("wad_store_seconds_count", operation="write") == 0
    assert scrape("wad_dead_letters", direction="inbound") == 0
    assert scrape("wad_bridge_restarts_total") == 0
    assert scrape("wad_build_info", version="1.2.3", python=platform.python_version()) == 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason=NO_PROMTOOL)
def test_promtool_finds_nothing_to_say_about_the_output():
    """Help texts, units, suffixes and the format itself."""
    counted = metrics()
    for fact in (RequestServed("/healthz", "GET", 200, 0.1), MessageQueued(message(MessageState.QUEUED))):
        counted._count(fact)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=counted.render(), capture_output=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- facts ----------------------------------------------------------------------------------------


def test_subscribing_counts_what_is_published():
    """The one wire between the core and the metrics."""
    counted, events = metrics(), Events()
    counted.subscribe(events)
    events.publish(MessageQueued(message(MessageState.QUEUED)))
    assert Scrape(counted)("wad_messages_accepted_total", provider="cloud_api", type="text") == 1


def test_a_message_is_accepted_once_and_then_has_its_outcomes():
    """On its way through queued and sending it has none; each state after that is one."""
    scrape = after(
        MessageQueued(message(MessageState.QUEUED)),
        MessageMoved(message(MessageState.SENDING)),
        MessageMoved(message(MessageState.ACCEPTED, updated_at=NOW + timedelta(seconds=3))),
        MessageMoved(message(MessageState.DELIVERED)),
        MessageMoved(message(MessageState.FAILED, dead=True)),
    )
    counts = {
        dict(labels)["outcome"]: value
        for (name, labels), value in scrape.samples.items()
        if name == "wad_message_outcomes_total" and value
    }
    assert counts == {"accepted": 1, "delivered": 1, "failed": 1}
    assert scrape("wad_messages_accepted_total", provider="cloud_api", type="text") == 1
    assert scrape("wad_send_seconds_sum", provider="cloud_api") == 3


def test_a_send_given_up_as_unknown_is_dead_and_not_unknown_twice():
    """The same state, told again with `dead`, is another outcome."""
    scrape = after(
        MessageMoved(message(MessageState.UNKNOWN)), MessageMoved(message(MessageState.UNKNOWN, dead=True))
    )
    assert scrape("wad_message_outcomes_total", provider="cloud_api", outcome="unknown") == 1
    assert scrape("wad_message_outcomes_total", provider="cloud_api", outcome="dead") == 1


def test_a_scheduled_message_is_timed_from_its_hour_on():
    """Waiting for `sendAt` is what was asked for, not slowness."""
    late = message(
        MessageState.ACCEPTED,
        send_at=NOW + timedelta(hours=1),
        updated_at=NOW + timedelta(hours=1, seconds=2),
    )
    assert after(MessageMoved(late))("wad_send_seconds_sum", provider="cloud_api") == 2


@pytest.mark.parametrize(
    ("fact", "name", "labels"),
    [
        (MessageReceived(inbound("image")), "wad_inbound_total", {"provider": "cloud_api", "type": "image"}),
        (
            MessageReceived(inbound("hologram")),
            "wad_inbound_total",
            {"provider": "cloud_api", "type": "other"},
        ),
        (
            MessageReceived(item(AccountEvent(type="template.status", dedupe_key="k", data={}))),
            "wad_inbound_total",
            {"provider": "cloud_api", "type": "template.status"},
        ),
        (InboundDuplicate("twilio"), "wad_inbound_duplicates_total", {"provider": "twilio"}),
        (WebhookAnswered("twilio", "ok", 0.1), "wad_webhook_ack_seconds_count", {"provider": "twilio"}),
        (
            WebhookAnswered("twilio", "bad_signature", 0.1),
            "wad_webhook_requests_total",
            {"provider": "twilio", "result": "bad_signature"},
        ),
        (
            ProviderCalled("twilio", "upload", "timeout", 0.1),
            "wad_provider_request_seconds_count",
            {"provider": "twilio", "operation": "upload", "result": "timeout"},
        ),
        (
            Throttled("cloud_api", "pair", SessionId("s")),
            "wad_throttled_total",
            {"provider": "cloud_api", "scope": "pair"},
        ),
        (
            Balanced(message(MessageState.QUEUED), "weighted", "weight"),
            "wad_balanced_total",
            {"policy": "weighted", "why": "weight"},
        ),
        (
            FailedOver(SessionId("s"), "twilio", "breaker_open", 1, 7),
            "wad_failed_over_total",
            {"provider": "twilio", "why": "breaker_open"},
        ),
        (FlowDelivered(inbound("text"), "gone", 0.1), "wad_flow_deliveries_total", {"outcome": "gone"}),
        (FlowDelivered(inbound("text"), "answered", 0.1), "wad_flow_seconds_count", {}),
        (
            MediaFetched(a_file(), "disk", 0.1),
            "wad_media_fetched_total",
            {"provider": "cloud_api", "result": "disk"},
        ),
        (
            ActorCrashed(SessionId("s"), "cloud_api", KeyError("x"), 1, 1.0),
            "wad_session_restarts_total",
            {"provider": "cloud_api", "reason": "bug"},
        ),
        (
            RequestServed("/api/whatsapp/send", "POST", 202, 0.1),
            "wad_http_request_seconds_count",
            {"route": "/api/whatsapp/send", "method": "POST", "status": "202"},
        ),
    ],
)
def test_a_fact_counts_in_its_metric(fact, name, labels):
    """A type that is not known counts as other, so that a provider cannot make series."""
    assert after(fact)(name, **labels) == 1


def test_what_is_no_restart_and_no_inbound_message_is_not_counted_as_one():
    """An actor that is given up is not restarted; wad's own events for the flow came from nobody."""
    before = after().samples
    given_up = ActorCrashed(SessionId("s"), "cloud_api", KeyError("x"), 6, None)
    told = MessageReceived(item(FlowEvent(type="message.status", dedupe_key="k", data={})))
    process = {key for key in before if key[0].startswith("process_")}
    assert {key: value for key, value in after(given_up, told).samples.items() if key not in process} == {
        key: value for key, value in before.items() if key not in process
    }


def test_a_webhook_that_was_refused_is_no_acknowledgement():
    """The alert on slow acknowledgements is about what was stored."""
    assert (
        after(WebhookAnswered("twilio", "malformed", 9))("wad_webhook_ack_seconds_count", provider="twilio")
        == 0
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(KeyError("x"), "bug", id="a bug"),
        pytest.param(ActorDown("x"), "bug", id="an error nobody caught"),
        pytest.param(StoreUnavailable("x"), "store", id="the store"),
        pytest.param(ConnectionResetError(), "provider", id="the network"),
        pytest.param(ProviderError(Verdict.UNKNOWN, "x", code="timeout"), "provider", id="the provider"),
        pytest.param(ExceptionGroup("g", [OSError(), KeyError()]), "bug", id="a group with a bug in it"),
        pytest.param(
            ExceptionGroup("g", [ExceptionGroup("h", [StoreUnavailable("x")])]), "store", id="a deep group"
        ),
    ],
)
def test_a_crash_is_put_down_to_whoever_caused_it(error, reason):
    """Only what nobody else can be blamed for is a bug."""
    assert cause(error) == reason


def test_an_open_set_of_labels_stops_growing():
    """Error codes are wad's own words; should they ever be a provider's, the server must not drown in them."""
    scrape = after(*[ProviderCalled("twilio", "send", f"code_{number}", 0.1) for number in range(150)])
    results = {
        dict(labels)["result"]
        for name, labels in scrape.samples
        if name == "wad_provider_request_seconds_count"
    }
    assert len(results) <= 102
    other = scrape("wad_provider_request_seconds_count", provider="twilio", operation="send", result="other")
    assert other == 50


def test_a_store_operation_is_timed():
    """Without a fact: there are too many."""
    counted = metrics()
    counted.store_called("write", 0.2)
    counted.store_called("dance", 0.2)
    scrape = Scrape(counted)
    assert scrape("wad_store_seconds_sum", operation="write") == 0.2
    assert scrape("wad_store_seconds_count", operation="other") == 1


# --- gauges ---------------------------------------------------------------------------------------


def test_gauges_are_what_the_snapshot_says_at_each_scrape():
    """Nothing is kept between scrapes: a session that is gone leaves a 0."""
    now = [
        Gauges(
            sessions={("cloud_api", "connected"): 7},
            outbox_depth={"cloud_api": 3},
            outbox_oldest={"cloud_api": 1.5},
            inbox_depth=2,
            inbox_oldest=4.5,
            breakers={("cloud_api", "open"): 1},
            unknown_messages=5,
            dead_letters={"outbound": 6},
            store_up=False,
        )
    ]
    counted = Metrics(version="1", providers=PROVIDERS, snapshot=lambda: now[0])
    scrape = Scrape(counted)
    assert scrape("wad_sessions", provider="cloud_api", state="connected") == 7
    assert scrape("wad_outbox_depth", provider="cloud_api") == 3
    assert scrape("wad_outbox_oldest_seconds", provider="cloud_api") == 1.5
    assert scrape("wad_inbox_depth") == 2
    assert scrape("wad_inbox_oldest_seconds") == 4.5
    assert scrape("wad_breaker_state", provider="cloud_api", state="open") == 1
    assert scrape("wad_unknown_messages") == 5
    assert scrape("wad_dead_letters", direction="outbound") == 6
    assert scrape("wad_store_up") == 0
    now[0] = Gauges()
    assert Scrape(counted)("wad_sessions", provider="cloud_api", state="connected") == 0


def test_bridges_are_counted_as_they_come_and_go():
    """One that takes the place of one that ended unasked is a restart; the others are not."""
    scrape = after(
        BridgeStarted("1", 11, restart=False),
        BridgeStarted("2", 12, restart=False),
        BridgeEnded("1", 11, "killed by signal 9", expected=False),
        BridgeStarted("1", 13, restart=True),
        BridgeEnded("2", 12, "nothing to carry", expected=True),
    )
    assert scrape("wad_bridge_processes") == 1
    assert scrape("wad_bridge_restarts_total") == 1


def test_the_snapshot_is_not_taken_before_the_first_scrape():
    """Metrics are made before there is anything to count."""

    def too_early() -> Gauges:
        raise AssertionError

    Metrics(version="1", providers=PROVIDERS, snapshot=too_early)


def test_the_process_is_seen_where_proc_shows_nothing_but_processes(monkeypatch):
    """systemd's ProcSubset=pid hides /proc/stat, without which the client library shows no process at all."""
    monkeypatch.setattr("prometheus_client.process_collector.open", _no_proc_stat, raising=False)
    scrape = after()
    assert scrape("process_resident_memory_bytes") > 1e6
    assert abs(scrape("process_start_time_seconds") - datetime.now(UTC).timestamp()) < 86400


def _no_proc_stat(path: str, *args: Any, **kwargs: Any) -> Any:
    if path == "/proc/stat":
        raise FileNotFoundError(path)
    return open(path, *args, **kwargs)  # noqa: PTH123


async def test_the_loops_lateness_is_measured_each_second(autojump_clock):
    """A loop with nothing to do is never late."""
    counted = metrics()
    with trio.move_on_after(10.5):
        await counted.measure_loop()
    scrape = Scrape(counted)
    assert scrape("wad_loop_lag_seconds_count") == 10
    assert scrape("wad_loop_lag_seconds_bucket", le="0.001") == 10


async def test_a_loop_that_was_blocked_is_seen_to_be_late(mock_clock):
    """A second of computing in one task is a second in which nothing else ran."""
    counted = metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counted.measure_loop)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1.0 + 2.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert Scrape(counted)("wad_loop_lag_seconds_sum") == 2
