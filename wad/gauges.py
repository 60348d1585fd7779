"""What is at the moment of a scrape, as Prometheus gauges: sessions, queues, breakers, and the process itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final

import msgspec
import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wad.models import SessionState

BREAKER_STATES: Final = ("closed", "open", "half_open", "isolated")
DIRECTIONS: Final = ("outbound", "inbound")


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What is at the moment of a scrape. Whoever makes it answers from memory, and quickly."""

    sessions: Mapping[tuple[str, ...], int] = {}  # (provider, state) -> how many
    outbox_depth: Mapping[
        str, int
    ] = {}  # provider -> messages that are scheduled, queued, sending or unknown
    outbox_oldest: Mapping[
        str, float
    ] = {}  # provider -> seconds that the oldest due one has waited, but for bulk
    bulk_depth: Mapping[str, int] = {}  # provider -> those of them that wait and are bulk
    inbox_depth: int = 0
    inbox_oldest: float = 0.0
    breakers: Mapping[tuple[str, ...], int] = {}  # (provider, state) -> how many
    unknown_messages: int = 0  # sends that may or may not have gone out, and wait for proof
    dead_letters: Mapping[str, int] = {}  # direction -> how many
    store_up: bool = True  # the store's last answer was one
    spool_depth: int = 0  # webhooks that were answered and wait for the store
    spool_oldest: float = 0.0
    media_waiting: int = 0  # customers' files that are still to be fetched
    media_bytes: int = 0  # on the disk


class Snapshot(Collector):
    """The gauges, made anew at each scrape."""

    def __init__(self, snapshot: Callable[[], Gauges], providers: tuple[str, ...]) -> None:
        self._snapshot = snapshot
        self._providers = providers

    def describe(self) -> Iterator[Metric]:
        # Asked at registration, when nothing has been restored yet.
        return self._gauges(Gauges())

    def collect(self) -> Iterator[Metric]:
        return self._gauges(self._snapshot())

    def _gauges(self, now: Gauges) -> Iterator[Metric]:
        providers = [(provider,) for provider in self._providers]
        states = product(self._providers, [state.value for state in SessionState])
        breakers = product(self._providers, BREAKER_STATES)
        directions = [(direction,) for direction in DIRECTIONS]
        yield _family("wad_sessions", "Sessions.", ["provider", "state"], states, now.sessions)
        yield _family("wad_breaker_state", "Circuit breakers.", ["provider", "state"], breakers, now.breakers)
        yield _family(
            "wad_outbox_depth", "Messages not settled yet.", ["provider"], providers, _keyed(now.outbox_depth)
        )
        yield _family(
            "wad_outbox_oldest_seconds",
            "How long the oldest message that is due waits, but for bulk.",
            ["provider"],
            providers,
            _keyed(now.outbox_oldest),
        )
        yield _family(
            "wad_bulk_depth",
            "Messages of the priority bulk that wait.",
            ["provider"],
            providers,
            _keyed(now.bulk_depth),
        )
        yield _family(
            "wad_dead_letters", "Dead letters.", ["direction"], directions, _keyed(now.dead_letters)
        )
        for name, text, value in (
            ("wad_inbox_depth", "Inbound messages and events not handed over yet.", now.inbox_depth),
            ("wad_inbox_oldest_seconds", "How long the oldest of them waits.", now.inbox_oldest),
            ("wad_unknown_messages", "Sends that wait for proof of having gone out.", now.unknown_messages),
            ("wad_store_up", "Whether the store answers.", int(now.store_up)),
            ("wad_spool_depth", "Webhooks answered that wait for the store.", now.spool_depth),
            ("wad_spool_oldest_seconds", "How long the oldest of them waits.", now.spool_oldest),
            ("wad_media_waiting", "Customers' files still to be fetched.", now.media_waiting),
            ("wad_media_bytes", "What customers' files take of the disk.", now.media_bytes),
        ):
            yield GaugeMetricFamily(name, text, value)


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(key,): value for key, value in values.items()}


def _family(
    name: str,
    text: str,
    labels: list[str],
    known: Iterable[tuple[str, ...]],
    values: Mapping[tuple[str, ...], float],
) -> Metric:
    """A gauge for each label set that is *known*, at 0 where it has no value, and for those that have one."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key in dict.fromkeys([*known, *values]):
        family.add_metric(key, values.get(key, 0))
    return family


class Process(prometheus_client.ProcessCollector):
    """The usual `process_*` metrics, also where systemd's ProcSubset=pid hides /proc/stat: they vanish without."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
