"""What is measured of the service, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from logllm.serve.source_rows import source_rows
from logllm.serve.store.verdict_store import Store
from logllm.serve.web import queries
from logllm.serve.web.feed import Feed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Instruments:
    """Counts requests; what the store says of itself is read when it is asked for."""

    def __init__(self, store: Store, feed: Feed) -> None:
        """Nothing counted yet."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "logllm_http_requests",
            "Requests, by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "logllm_http_seconds",
            "Seconds until the answer began.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Stored(store, feed))

    def count(self, method: str, route: str, *, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it.

        Raises:
            StoreAway: the store does not answer.
        """
        return generate_latest(self._registry)


class _Stored(Collector):
    """What the store says of itself."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is known before it is asked for."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Followers of the stream, the last change, incidents, deliveries, and every watch."""
        # All read before the first is given: a store that is away gives none, not a half.
        with self._store.transaction(reading=True) as connection:
            change = queries.newest_change(connection)
            incidents = queries.open_incidents(connection)
            deliveries = queries.deliveries_by_state(connection)
        watches = source_rows(self._store)
        followers = "Clients that follow the live stream."
        yield GaugeMetricFamily("logllm_stream_clients", followers, self._feed.followers)
        yield GaugeMetricFamily("logllm_last_change", "The number of the last change.", change)
        yield GaugeMetricFamily("logllm_open_incidents", "Incidents that go on.", incidents)
        yield _by_label(
            "logllm_deliveries",
            "Messages, by what became of them.",
            label="state",
            values=deliveries,
        )
        for name, about in _OF_WATCHES.items():
            # A lag that no source knows is left out: 0 would say that nothing waits.
            telling = [row for row in watches if row[name] is not None]
            values_by_stream = [(row["stream"], row[name]) for row in telling]
            yield _by_label(f"logllm_watch_{name}", about, label="stream", values=values_by_stream)


_OF_WATCHES = {
    "lines": "Lines that a watch has read since it began.",
    "sessions": "Sessions that have closed since then.",
    "anomalous": "How many of them are anomalous.",
    "open_sessions": "Open sessions.",
    "lag": "What waits to be read, in bytes or lines.",
}


def _by_label(
    name: str,
    about: str,
    *,
    label: str,
    values: list[tuple[str, float]],
) -> GaugeMetricFamily:
    """A number for each value of a label."""
    family = GaugeMetricFamily(name, about, labels=[label])
    for value, number in values:
        family.add_metric([value], number)
    return family
