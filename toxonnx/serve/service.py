"""The bundles that a server serves: loading, reloading, looking up, scoring."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError, ToxonnxError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.self_test import run_self_test
from toxonnx.labels import Labels
from toxonnx.manifest import Manifest
from toxonnx.resources import find_bundle
from toxonnx.serve.descriptions import describe_in_detail
from toxonnx.serve.drift import DriftLog, Expectation
from toxonnx.serve.metrics import BundleMetrics, Metrics
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.queue import ScoringQueue
from toxonnx.serve.scored import Scored
from toxonnx.wire.errors import RequestError

__all__ = ["ServedBundle", "Service"]

log = logging.getLogger("toxonnx.serve")

#: seconds in which the model has to score the sentence of a health check
CHECK_TIMEOUT = 5.0


@dataclass(frozen=True, eq=False)
class ServedBundle:
    """A bundle with the queue of its model.

    Attributes:
        details: see :func:`toxonnx.serve.descriptions.describe_in_detail`; its card may be replaced on disk.
    """

    bundle: Bundle
    queue: ScoringQueue
    metrics: BundleMetrics
    classifier: Classifier
    drift: DriftLog
    details: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name by which requests choose it."""
        return self.manifest.name

    @property
    def manifest(self) -> Manifest:
        """Its description."""
        return self.bundle.manifest

    @property
    def labels(self) -> Labels:
        """Its labels."""
        return self.manifest.labels

    async def score(self, texts: Sequence[str]) -> Scored:
        """Scores of texts, and counts them; see :meth:`ScoringQueue.score`."""
        scored = await self.queue.score(texts)
        self.metrics.observe(scored)
        self.drift.add(scored.without_errors())
        return scored


class Service:
    """Everything that the protocols share.

    Args:
        bundles: folders or names; the default bundle where there are none.
        runtime: how the models run.
        options: of the server.
        review_below: see :class:`Classifier`.

    Raises:
        ToxonnxError: a bundle does not load, fails its self-test, or has the name of another one.
    """

    def __init__(
        self,
        bundles: Sequence[str | Path | None] = (),
        runtime: RuntimeOptions | None = None,
        options: ServeOptions | None = None,
        *,
        review_below: float = 0.0,
    ) -> None:
        self.options = options or ServeOptions()
        self.metrics = Metrics()
        self.version = version("toxonnx")
        self._runtime, self._review_below = runtime, review_below
        self._paths = [find_bundle(name) for name in bundles or (None,)]
        self._bundles: list[ServedBundle] = []
        self._replaced: set[asyncio.Future[None]] = set()
        self._reloading = asyncio.Lock()
        self._bytes = self._requests = 0
        self._uses: set[asyncio.Future[None]] = set()
        try:
            for path in self._paths:
                self._bundles.append(self._load(path, self._bundles))
        except BaseException:
            self.close()
            raise
        self._describe()

    @property
    def bundles(self) -> Sequence[ServedBundle]:
        """The bundles, in the order of the command line."""
        return self._bundles

    def find(self, name: str = "") -> ServedBundle:
        """The bundle of this name; the first one if no name is given.

        Raises:
            RequestError: there is none.
        """
        for bundle in self._bundles:
            if not name or bundle.name == name:
                return bundle
        known = ", ".join(bundle.name for bundle in self._bundles)
        raise RequestError("not_found", f"no such bundle is served; the bundles are {known}", code="model_not_found")

    def with_mapping(self, vocabulary: str, name: str = "") -> ServedBundle:
        """The bundle of this name, else the first one that has names of a vocabulary.

        Raises:
            RequestError: it has none.
        """
        named = [bundle for bundle in self._bundles if bundle.name == name]
        for bundle in named or self._bundles:
            if bundle.manifest.mappings.get(vocabulary):
                return bundle
        names = ", ".join(bundle.name for bundle in named or self._bundles)
        raise RequestError("invalid", f"no label of {names} is mapped to a name of {vocabulary}", field="model")

    async def check(self) -> None:
        """Does nothing if all models score texts.

        Raises:
            RequestError: one does not.
        """
        with self._in_use():
            await asyncio.gather(*(bundle.queue.check(CHECK_TIMEOUT) for bundle in self._bundles))

    @contextlib.contextmanager
    def admit(self, size: int) -> Iterator[Callable[[int], None]]:
        """Counts a request while it is in progress.

        Args:
            size: bytes of its body, or as many as it may have if that is unknown.

        Yields:
            A function to call with the bytes that the body has, once it is read.

        Raises:
            RequestError: there are too many.
        """
        limits = self.options
        if self._requests >= limits.max_concurrent_requests or self._bytes + size > limits.max_bytes_in_progress:
            raise RequestError("overloaded", "too many requests are in progress; try again later")
        self._requests += 1
        self._bytes += size
        self.metrics.in_progress.set(self._requests)

        def set_size(actual: int) -> None:
            nonlocal size
            self._bytes += actual - size
            size = actual

        try:
            with self._in_use():
                yield set_size
        finally:
            self._requests -= 1
            self._bytes -= size
            self.metrics.in_progress.set(self._requests)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """No bundle that is served now is closed in the meantime."""
        end = asyncio.get_running_loop().create_future()
        self._uses.add(end)
        try:
            yield
        finally:
            self._uses.remove(end)
            end.set_result(None)

    async def reload(self) -> None:
        """Loads all bundles again. One that does not load, or fails its self-test, stays as it is.

        The old ones answer the requests that they have begun.
        """
        async with self._reloading:
            for i, (path, old) in enumerate(zip(self._paths, list(self._bundles), strict=True)):
                try:
                    new = await asyncio.to_thread(self._load, path, [b for b in self._bundles if b is not old])
                except (ToxonnxError, OSError, MemoryError) as error:
                    self.metrics.reloads.labels("refused").inc()
                    log.error("%s was not reloaded, the old one stays: %s", old.name, str(error).replace("\n", ". "))
                    continue
                self._bundles[i] = new
                self.metrics.bundle.labels(old.name, old.bundle.seal).set(0)
                self.metrics.reloads.labels("loaded").inc()
                log.info("%s (%s) was loaded in place of %s", new.name, new.bundle.seal[:16], old.bundle.seal[:16])
                ended = asyncio.ensure_future(_close(old, list(self._uses)))
                self._replaced.add(ended)
                ended.add_done_callback(self._replaced.discard)
            self._describe()

    async def drain(self) -> None:
        """Waits until everything that was accepted is answered, and ends the models."""
        await asyncio.gather(asyncio.to_thread(self.close), *self._replaced)

    def close(self) -> None:
        """Ends the models; blocks until everything that was accepted is answered."""
        for bundle in self._bundles:
            bundle.queue.close()

    def _load(self, path: Path, others: Sequence[ServedBundle]) -> ServedBundle:
        bundle = open_bundle(path)
        if bundle.manifest.name in {other.name for other in others}:
            raise InputError(f"two bundles have the name {bundle.manifest.name}", "Export one under another name.")
        classifier = Classifier(bundle, self._runtime, review_below=self._review_below)
        bundle = classifier.bundle
        tested = run_self_test(classifier)
        if tested is not None:
            tested.check()
        details = describe_in_detail(classifier)
        queue = ScoringQueue(classifier, self.options, self.metrics)
        drift = DriftLog(bundle.manifest.name, Expectation.of(bundle))
        metrics = BundleMetrics(self.metrics, bundle.manifest.name, classifier.labels.names)
        return ServedBundle(bundle, queue, metrics, classifier, drift, details)

    def _describe(self) -> None:
        for bundle in self._bundles:
            self.metrics.bundle.labels(bundle.name, bundle.bundle.seal).set(1)
            expected = Expectation.of(bundle.bundle)
            for label, share in expected.label_shares.items():
                self.metrics.validation_share.labels(bundle.name, label).set(share)
            if expected.mean_tokens is not None:
                self.metrics.validation_tokens.labels(bundle.name).set(expected.mean_tokens)


async def _close(bundle: ServedBundle, uses: Sequence[asyncio.Future[None]]) -> None:
    """Ends a replaced bundle after the requests that may have found it."""
    if uses:
        await asyncio.wait(uses)
    await asyncio.to_thread(bundle.queue.close)
