"""How far a watch is: a line for people, and metrics for Prometheus."""

import time

from logllm.counting import plural
from logllm.serve.source_rows import Rate
from logllm.serve.watch import Watch

_UPDATE = 0.25
"""Seconds between two looks for metrics."""


class Status:
    """How far a watch is, for people."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._rate = Rate()

    def line(self, watch: Watch) -> str:
        """Lines a second, what waits, open sessions and verdicts, on one line."""
        lines = sum(stream.lines for stream in watch.streams)
        rate = self._rate.of(lines, now=time.monotonic())
        sessions = sum(stream.sessions for stream in watch.streams)
        anomalous = sum(stream.anomalous for stream in watch.streams)
        # A source that does not know its lag adds nothing.
        lags = [stream.source.lag for stream in watch.streams]
        waiting = sum(lag for lag in lags if lag is not None)
        rejected = sum(stream.counts.get("rejected", 0) for stream in watch.streams)
        assemblies = [assembly for stream in watch.streams for assembly in stream.assemblies]
        open_sessions = sum(assembly.open_sessions for assembly in assemblies)
        read = f"{rate:,.0f} lines/s, {lines:,} read"
        is_open = plural(open_sessions, "open session")
        judged = f"{is_open}, {sessions:,} closed, {anomalous:,} anomalous"
        parts = [read, judged]
        # The rest only where there is something to say of it.
        learners = [stream.learner for stream in watch.streams if stream.learner is not None]
        if learners:
            learnt = sum(learner.counts["learnt_sessions"] for learner in learners)
            kinds = sum(learner.counts["learnt_kinds"] for learner in learners)
            new_kinds = plural(kinds, "new kind")
            parts.append(f"{learnt:,} learnt, {new_kinds} of message")
        if waiting:
            parts.append(f"{waiting:,} waiting")
        if rejected:
            parts.append(f"{plural(rejected, 'line')} not in the format")
        return "; ".join(parts)


class Metrics:
    """What Prometheus may ask of a watch."""

    def __init__(self, port: int) -> None:
        """Answer on a port of this machine.

        Raises:
            ServeError: the port is taken.
        """
        from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

        from logllm.errors import ServeError

        # A registry of its own: two watches in one process, as in tests, would meet in the common
        # one.
        registry = CollectorRegistry()
        by_stream = ["stream"]
        self._lines = Counter("logllm_lines", "Lines read.", by_stream, registry=registry)
        self._sessions = Counter(
            "logllm_sessions", "Sessions that have closed.", by_stream, registry=registry
        )
        self._anomalous = Counter(
            "logllm_anomalous_sessions", "Anomalous sessions.", by_stream, registry=registry
        )
        self._counts = Gauge(
            "logllm_count",
            "What was read and what was not, by name.",
            ["stream", "name"],
            registry=registry,
        )
        self._lag = Gauge(
            "logllm_lag", "What waits to be read, in bytes or lines.", by_stream, registry=registry
        )
        self._open = Gauge("logllm_open_sessions", "Open sessions.", by_stream, registry=registry)
        self._last: dict[tuple[str, str], int] = {}
        self._due = 0.0
        try:
            start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as exc:
            raise ServeError(f"port {port} cannot be had for metrics: {exc.strerror}") from exc

    def update(self, watch: Watch) -> None:
        """Take what is known now, a few times a second."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _UPDATE
        for stream in watch.streams:
            # Prometheus counts upwards by what is added: it is given what came since the last look.
            metrics = (self._lines, self._sessions, self._anomalous)
            totals = (stream.lines, stream.sessions, stream.anomalous)
            for number, (metric, total) in enumerate(zip(metrics, totals, strict=True)):
                key = (stream.name, str(number))
                came = total - self._last.get(key, 0)
                metric.labels(stream.name).inc(came)
                self._last[key] = total
            for name, count in stream.counts.items():
                self._counts.labels(stream.name, name).set(count)
            # 0 would say that nothing waits, where nobody knows.
            lag = stream.source.lag
            if lag is not None:
                self._lag.labels(stream.name).set(lag)
            open_sessions = sum(assembly.open_sessions for assembly in stream.assemblies)
            self._open.labels(stream.name).set(open_sessions)
