"""Numbers of a server in Prometheus's form. No text, key or caller is a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from nlptasks import Engine, Result

_SCORES = tuple(i / 10 for i in range(1, 11))


class Metrics:
    """The counters of one server."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("nlptasks_requests", "Requests.", ["route", "method", "status"], **options)
        self.seconds = Histogram("nlptasks_request_seconds", "Time of a request.", ["route"], **options)
        self.running = Gauge("nlptasks_running", "Requests that are computed.", **options)
        self.waiting = Gauge("nlptasks_waiting", "Requests that wait for their turn.", **options)
        self.inputs = Counter("nlptasks_inputs", "Inputs that were answered.", ["task"], **options)
        self.tokens = Counter("nlptasks_tokens", "Tokens of inputs.", ["task"], **options)
        self.written = Counter("nlptasks_written_tokens", "Tokens that were written.", ["task"], **options)
        self.truncated = Counter("nlptasks_truncated_inputs", "Inputs of which part was not read.", ["task"], **options)
        self.scores = Histogram("nlptasks_scores", "Scores of answers.", ["task"], buckets=_SCORES, **options)
        self.registry.register(_Resident(engine))

    def observe(self, task: str, result: Result) -> None:
        """Count an answer."""
        self.inputs.labels(task).inc()
        self.tokens.labels(task).inc(result.num_tokens)
        self.written.labels(task).inc(getattr(result, "num_generated_tokens", 0))
        self.truncated.labels(task).inc(result.truncated)
        score = getattr(result, "score", None)
        if isinstance(score, float):
            self.scores.labels(task).observe(score)

    def page(self) -> bytes:
        """All numbers as text."""
        page: bytes = generate_latest(self.registry)
        return page


class _Resident:
    """The bases in memory, asked for when the page is read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Any]:
        """A value for each base: its memory, and what it computed; items by batches is the mean size of a batch."""
        size = GaugeMetricFamily("nlptasks_resident_bytes", "Memory of a base.", labels=["base"])
        batches = CounterMetricFamily("nlptasks_batches", "Batches that a base computed.", labels=["base"])
        items = CounterMetricFamily("nlptasks_batch_items", "Texts of these batches.", labels=["base"])
        for base in self._engine.resident():
            for family, value in ((size, base.num_bytes), (batches, base.batches), (items, base.items)):
                family.add_metric([base.name], value)
        yield from (size, batches, items)
