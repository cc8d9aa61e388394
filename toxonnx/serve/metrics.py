"""Prometheus metrics of the server, also under the names that text-embeddings-inference gives them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from toxonnx.serve.scored import Scored
from toxonnx.serve.workers import METRICS_FOLDER

__all__ = ["BundleMetrics", "Metrics"]

#: seconds, those of text-embeddings-inference: 15 microseconds to 15 seconds
SECONDS = tuple(1.5e-5 * 1.5**n for n in range(35))
#: tokens and rows
COUNTS = tuple(2.0**n for n in range(16))


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter, gauge, seconds = self._counter, self._gauge, self._seconds
        self.requests = counter(
            "requests", "Requests answered; the protocol of those that need no key is public.", "protocol", "status"
        )
        self.in_progress = gauge("requests_in_progress", "Requests in progress.")
        self.duration = seconds("request", "Time from a request's headers to its answer.", "protocol")
        self.tokenization = seconds("tokenization", "Time in which the texts of a request were tokenized.")
        self.queue_duration = seconds("queue", "Time that the texts of a request waited for a batch.")
        self.inference = seconds("inference", "Time that the texts of a request were in the model.")
        self.queue_size = gauge("queue_texts", "Texts, or windows of long texts, that wait for a batch.")
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
        self.validation_tokens = gauge(
            "validation_mean_tokens", "Tokens of a text, on average, when the bundle was verified.", "bundle"
        )
        self.bundle = gauge("bundle_info", "1 for each bundle that is served, 0 for one that was.", "bundle", "sha256")
        self.reloads = counter("reloads", "Reloads of a bundle.", "result")
        for result in ("loaded", "refused"):
            self.reloads.labels(result)  # at 0, or an alert would miss the first one
        self.calls = counter(
            "scoring_requests",
            "Requests for the scores of one text (single) or another number (batch); unknown if refused before that.",
            "method",
        )
        self.successes = counter("scoring_successes", "Requests for scores that were answered.", "method")
        self.failures = counter("scoring_failures", "Requests for scores that got an error.", "err")

        # Looking a series up costs as much as ten additions to it.
        self._request_series = functools.cache(
            lambda protocol, status: (self.requests.labels(protocol, status), self.duration.labels(protocol))
        )

    def observe_request(self, protocol: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        requests, duration = self._request_series(protocol, str(status))
        requests.inc()
        duration.observe(seconds)

    def observe_batch(self, rows: int, tokens: int) -> None:
        """Counts a batch."""
        self.batch_rows.observe(rows)
        self.batch_tokens.observe(tokens)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, of all workers if there are several."""
        registry = self._registry
        if METRICS_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(_WithTeiNames(registry))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"toxonnx_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        mode: Literal["livemax", "livesum"] = "livemax" if labels else "livesum"  # workers have the same bundles
        return Gauge(f"toxonnx_{name}", text, labels, registry=self._registry, multiprocess_mode=mode)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        name = f"toxonnx_{name}_duration_seconds"
        return Histogram(name, text, labels, registry=self._registry, buckets=SECONDS)

    def _counts(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"toxonnx_{name}", text, labels, registry=self._registry, buckets=COUNTS)


class BundleMetrics:
    """The series of one bundle.

    Args:
        metrics: of the server.
        name: of the bundle.
        labels: their names.
    """

    def __init__(self, metrics: Metrics, name: str, labels: Sequence[str]) -> None:
        self._metrics = metrics
        self._texts, self._failed, self._cached, self._truncated, self._review = (
            counter.labels(name)
            for counter in (metrics.texts, metrics.failed, metrics.cached, metrics.truncated, metrics.review)
        )
        self._tokens = metrics.text_tokens.labels(name)
        self._decisions = [metrics.decisions.labels(name, label) for label in labels]

    def observe(self, scored: Scored) -> None:
        """Counts the texts of a request."""
        scores = scored.without_errors().scores
        self._texts.inc(len(scored.scores))
        self._failed.inc(len(scored.errors))
        self._cached.inc(int(scores.cached.sum()))
        self._truncated.inc(int(scores.truncated.sum()))
        self._review.inc(int(scores.needs_review.sum()))
        for decisions, count in zip(self._decisions, scores.decisions.sum(axis=0).tolist(), strict=True):
            decisions.inc(count)
        for length in scored.lengths.tolist():
            self._tokens.observe(length)
        self._metrics.tokenization.observe(scored.timings.tokenization)
        self._metrics.queue_duration.observe(scored.timings.queue)
        self._metrics.inference.observe(scored.timings.inference)


#: what text-embeddings-inference calls a metric
_TEI_NAMES = {
    "te_request_count": "scoring_requests",
    "te_request_success": "scoring_successes",
    "te_request_failure": "scoring_failures",
    "te_request_duration": "request_duration_seconds",
    "te_request_tokenization_duration": "tokenization_duration_seconds",
    "te_request_queue_duration": "queue_duration_seconds",
    "te_request_inference_duration": "inference_duration_seconds",
    "te_request_input_length": "text_tokens",
    "te_predict_count": "texts",
    "te_predict_duration": "request_duration_seconds",
    "te_predict_tokenization_duration": "tokenization_duration_seconds",
    "te_predict_queue_duration": "queue_duration_seconds",
    "te_predict_inference_duration": "inference_duration_seconds",
    "te_queue_size": "queue_texts",
    "te_batch_next_size": "batch_rows",
    "te_batch_next_tokens": "batch_tokens",
}
#: protocols in our metrics of requests that text-embeddings-inference does not count: pages, probes, unknown paths
_NOT_IN_TEI = {"public", "none"}


class _WithTeiNames(Collector):
    """Metrics, and the same ones as text-embeddings-inference calls them: there, no counter ends in _total."""

    def __init__(self, metrics: Collector) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        families = {family.name: family for family in self._metrics.collect()}
        yield from families.values()
        for name, own in _TEI_NAMES.items():
            family = families.get(f"toxonnx_{own}")
            if family is None:  # several workers, and none has counted anything yet
                continue
            renamed = Metric(name, family.documentation, "unknown" if family.type == "counter" else family.type)
            for sample in family.samples:
                suffix = sample.name.removeprefix(family.name).removesuffix("_total")
                if suffix != "_created" and sample.labels.get("protocol") not in _NOT_IN_TEI:
                    renamed.samples.append(sample._replace(name=name + suffix))
            yield renamed
