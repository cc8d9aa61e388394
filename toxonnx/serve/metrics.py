"""Prometheus metrics of the server, also under the names that text-embeddings-inference gives them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

#: seconds, those of text-embeddings-inference: 15 microseconds to 15 seconds
SECONDS = tuple(1.5e-5 * 1.5**n for n in range(35))
#: tokens and rows
COUNTS = tuple(2.0**n for n in range(16))


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter, gauge, seconds = self._counter, self._gauge, self._seconds
        self.requests = counter("requests", "Requests answered.", "protocol", "status")
        self.in_progress = gauge("requests_in_progress", "Requests in progress.")
        self.duration = seconds("request", "Time from a request's headers to its answer.", "protocol")
        self.tokenization = seconds("tokenization", "Time in which the texts of a request were tokenized.")
        self.queue_duration = seconds("queue", "Time that the texts of a request waited for a batch.")
        self.inference = seconds("inference", "Time that the texts of a request were in the model.")
        self.queue_size = gauge("queue_texts", "Texts that wait for a batch.")
        self.batch_rows = self._counts("batch_rows", "Texts in a batch.")
        self.batch_tokens = self._counts("batch_tokens", "Tokens in a batch.")
        self.text_tokens = self._counts("text_tokens", "Tokens of a text.", "bundle")
        self.texts = counter("texts", "Texts answered.", "bundle")
        self.failed = counter("failed_texts", "Texts that the model could not score.", "bundle")
        self.cached = counter("cached_texts", "Texts whose scores an identical text had already.", "bundle")
        self.truncated = counter("truncated_texts", "Texts that were truncated.", "bundle")
        self.review = counter("review_texts", "Texts that a person should look at.", "bundle")
        self.decisions = counter("decisions", "Texts to which a label applies.", "bundle", "label")
        self.validation_share = gauge(
            "validation_label_share", "Share of the texts to which a label applied when the bundle was verified.",
            "bundle", "label",
        )  # fmt: skip
        self.bundle = gauge("bundle_info", "1 for each bundle that is served.", "bundle", "sha256")
        self.reloads = counter("reloads", "Reloads of a bundle.", "result")
        self.calls = Counter("te_request_count", "Requests for scores.", ["method"], registry=None)
        self.successes = Counter("te_request_success", "Requests that got scores.", ["method"], registry=None)
        self.failures = Counter("te_request_failure", "Requests that got none.", ["err"], registry=None)
        self._registry.register(_TeiNames(self))

    def observe_batch(self, rows: int, tokens: int) -> None:
        """Counts a batch."""
        self.batch_rows.observe(rows)
        self.batch_tokens.observe(tokens)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"toxonnx_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"toxonnx_{name}", text, labels, registry=self._registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        name = f"toxonnx_{name}_duration_seconds"
        return Histogram(name, text, labels, registry=self._registry, buckets=SECONDS)

    def _counts(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"toxonnx_{name}", text, labels, registry=self._registry, buckets=COUNTS)


class _TeiNames(Collector):
    """The same metrics as text-embeddings-inference calls them, which does not end the names of counters in _total."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics: dict[str, MetricWrapperBase] = {
            "te_request_count": metrics.calls,
            "te_request_success": metrics.successes,
            "te_request_failure": metrics.failures,
            "te_request_duration": metrics.duration,
            "te_request_tokenization_duration": metrics.tokenization,
            "te_request_queue_duration": metrics.queue_duration,
            "te_request_inference_duration": metrics.inference,
            "te_request_input_length": metrics.text_tokens,
            "te_predict_count": metrics.texts,
            "te_predict_duration": metrics.duration,
            "te_predict_tokenization_duration": metrics.tokenization,
            "te_predict_queue_duration": metrics.queue_duration,
            "te_predict_inference_duration": metrics.inference,
            "te_queue_size": metrics.queue_size,
            "te_batch_next_size": metrics.batch_rows,
            "te_batch_next_tokens": metrics.batch_tokens,
        }

    def collect(self) -> Iterable[Metric]:
        for name, metric in self._metrics.items():
            for family in metric.collect():
                kind = "unknown" if family.type == "counter" else family.type
                renamed = Metric(name, family.documentation, kind)
                for sample in family.samples:
                    suffix = sample.name.removeprefix(family.name).removesuffix("_total")
                    if suffix != "_created":
                        renamed.samples.append(sample._replace(name=name + suffix))
                yield renamed
