"""The first stage of a cascade: which rows it answers, that nothing else changes, and the audit."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers import each_alone, sentences, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx import Classifier, Prediction, RuntimeOptions
from toxonnx.bundle import CASCADE_WEIGHTS, open_bundle, seal
from toxonnx.cli import group
from toxonnx.errors import BundleError, InputError
from toxonnx.inference.ngrams import UNKNOWN, NgramWeights, ngram_buckets
from toxonnx.inference.tokenizer import Tokens, concatenate_ids

LIKE_THE_OTHERS = [text for text, _ in sentences(40, 12)]
UNLIKE = [
    "",
    "Привет, как дела сегодня?",
    "zxq vbn qqk wpf",
    "the soup was lovely today " * 40,
    "\N{SNOWMAN}" * 5,
    "soup",
]
POOL = LIKE_THE_OTHERS + UNLIKE


@pytest.fixture(scope="module")
def alone(cascade: Path) -> dict[str, Prediction]:
    """Each text scored by itself."""
    classifier = Classifier.load(cascade, threads=1)
    return each_alone(classifier, POOL)


def test_rows_like_those_it_was_fitted_on_leave_early(cascade: Path, alone: dict[str, Prediction]) -> None:
    assert np.mean([alone[text].early for text in LIKE_THE_OTHERS]) > 0.5
    assert not any(alone[text].early for text in UNLIKE)
    full = Classifier.load(cascade, cascade=False).score(POOL)
    assert not full.early.any()
    for text, prediction in zip(POOL, full, strict=True):
        if not alone[text].early:
            assert prediction == alone[text]
        assert prediction.labels == alone[text].labels


def test_a_row_to_be_reviewed_goes_on(cascade: Path) -> None:
    classifier = Classifier(open_bundle(cascade), review_below=0.9999)
    early = classifier.score(LIKE_THE_OTHERS)
    assert not (early.early & early.needs_review).any()


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from(POOL), min_size=1, max_size=40),
    threads=st.integers(1, 3),
    max_batch_tokens=st.sampled_from([1, 64, 4096]),
    chunk_size=st.sampled_from([1, 7, 2048]),
    audit=st.sampled_from([0.0, 0.5]),
)
def test_scores_and_stages_do_not_depend_on_neighbours(
    cascade: Path, alone: dict[str, Prediction], texts: list[str], threads: int, max_batch_tokens: int, chunk_size: int,
    audit: float,
) -> None:  # fmt: skip
    options = RuntimeOptions(threads=threads, max_batch_tokens=max_batch_tokens, chunk_size=chunk_size, audit=audit)
    classifier = Classifier(open_bundle(cascade), options)
    for text, prediction in classifier.stream(texts):
        assert prediction._replace(cached=False) == alone[text]
    (single,) = classifier.score(texts[0])
    assert single == alone[texts[0]]


IDS = st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=7), max_size=8)


@given(rows=IDS, seed=st.integers(0, 9))
def test_sums_are_those_of_each_text(rows: list[list[int]], seed: int) -> None:
    weights = np.random.default_rng(seed).integers(-127, 128, (256, 2)).astype(np.int8)
    weights[::3] = UNKNOWN
    ids, lengths = concatenate_ids(rows)
    sums, known = NgramWeights(weights).sums(Tokens(ids, lengths))
    for i, row in enumerate(rows):
        single = Tokens(np.array(row, np.int32), np.array([len(row)]))
        buckets = [bucket for bucket in ngram_buckets(single, 256).ravel().tolist() if bucket < 256]
        assert len(buckets) == sum(max(len(row) - shorter, 0) for shorter in range(3))
        inside = [weights[bucket].astype(int) for bucket in buckets if weights[bucket, 0] != UNKNOWN]
        assert sums[i].tolist() == sum(inside, np.zeros(2, int)).tolist()
        assert known[i] == len(inside) / len(buckets)


def test_memory_for_sums_does_not_grow_with_texts_and_labels() -> None:
    rng = np.random.default_rng(0)
    weights = NgramWeights(rng.integers(-128, 128, (256, 500)).astype(np.int8))
    tokens = Tokens(rng.integers(0, 30_000, 128 * 128).astype(np.int32), np.full(128, 128))
    tracemalloc.start()
    sums, known = weights.sums(tokens)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15e6
    each = [weights.sums(tokens.subset([i])) for i in range(128)]
    assert np.array_equal(sums, np.concatenate([one for one, _ in each]))
    assert np.array_equal(known, np.concatenate([one for _, one in each]))


@pytest.fixture
def wrong(cascade: Path, tmp_path: Path) -> Path:
    """A bundle whose first stage exchanges the labels."""
    folder = tmp_path / "wrong"
    shutil.copytree(cascade, folder)
    weights = np.load(folder / CASCADE_WEIGHTS)
    np.save(folder / CASCADE_WEIGHTS, weights[:, ::-1])
    manifest = open_bundle(cascade).manifest
    assert manifest.cascade is not None
    seal(folder, dataclasses.replace(
        manifest, cascade=dataclasses.replace(manifest.cascade, biases=manifest.cascade.biases[::-1])
    ))  # fmt: skip
    return folder


def test_an_audit_notices_a_first_stage_that_breaks_its_promise(cascade: Path, wrong: Path) -> None:
    texts = [text for text, _ in sentences(600, 13)]
    good = Classifier.load(cascade, audit=0.5, chunk_size=64)
    list(good.stream(texts))
    assert good.audit is not None and not good.audit.exceeded
    assert 0.4 * len(set(texts)) < good.audit.rows < 0.6 * len(set(texts))

    bad = Classifier.load(wrong, audit=0.5, chunk_size=64)
    early = [prediction.early for _, prediction in bad.stream(texts)]
    assert bad.audit is not None and bad.audit.exceeded
    assert bad.audit.rows == good.audit.rows  # the sample depends on the texts only
    assert bad.audit.interval[0] > bad.audit.promised
    assert any(early[300:])

    stops = Classifier.load(wrong, audit=0.5, audit_stop=True, chunk_size=8)
    rows = [prediction for _, prediction in stops.stream(texts)]
    assert any(row.early for row in rows[:16])
    assert not any(row.early for row in rows[400:] if not row.cached)
    full = Classifier.load(wrong, cascade=False).score(texts[400:])
    for row, expected in zip(rows[400:], full, strict=True):
        assert row.cached or row == expected


def _resealed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from toxonnx.bundle import _seal_of

    path = folder / "toxonnx.json"
    table = json.loads(path.read_text())
    change(table["cascade"])
    table["seal"] = _seal_of(table)
    path.write_text(json.dumps(table))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scales", [1.0], "cascade.scales must have 2 values"),
        ("scales", [1.0, 0.0], r"cascade.scales\[1\] must be above 0 and at most 1,000"),
        ("biases", [0.0, float("inf")], "must be a finite number"),
        ("buckets", 1 << 30, "a power of two up to 262,144"),
        ("min_known", 1.5, "between 0 and 1"),
        ("recall", {"other": {"wanted": 0.9, "rows": 1, "disagreements": 0}}, "'other' is not a label"),
        ("recall", {"praise": {"wanted": 0.9, "rows": 1, "disagreements": 2}}, "2 disagreements in 1 rows"),
    ],
)
def test_a_section_with_impossible_values(cascade: Path, tmp_path: Path, key: str, value: object, message: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(cascade, folder)
    _resealed(folder, lambda section: section.update({key: value}))
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize(
    "weights", [np.zeros((256, 2), np.int8), np.zeros((1 << 18, 2), np.float32), np.array([{}], dtype=object), None]
)
def test_weights_that_the_manifest_does_not_describe(cascade: Path, tmp_path: Path, weights: np.ndarray | None) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(cascade, folder)
    if weights is None:
        (folder / CASCADE_WEIGHTS).write_bytes(b"PK\x03\x04 an archive")
    else:
        np.save(folder / CASCADE_WEIGHTS, weights)
    seal(folder, open_bundle(cascade).manifest)
    with pytest.raises(BundleError, match=r"cascade\.npy does not contain weights"):
        Classifier.load(folder)
    (folder / CASCADE_WEIGHTS).unlink()
    with pytest.raises(BundleError, match=r"cascade\.npy is missing"):
        open_bundle(folder)


def test_audit_options() -> None:
    with pytest.raises(InputError, match="a share from 0 to 1"):
        RuntimeOptions(audit=1.5)
    with pytest.raises(InputError, match="audit_stop needs audit"):
        RuntimeOptions(audit_stop=True)


def test_predict_reports_stages_and_audit(cascade: Path, wrong: Path, tmp_path: Path) -> None:
    texts = [text for text, _ in sentences(400, 13)]
    data = write_csv(tmp_path / "rows.csv", ["text"], [[text] for text in texts])

    def predict(*options: object) -> tuple[Result, list[str]]:
        command = ["predict", data, "-o", tmp_path / "scored.csv", "--force", "--columns", "label,stage", *options]
        done = CliRunner().invoke(group, list(map(str, command)))
        return done, [row["stage"] for row in csv.DictReader(open(tmp_path / "scored.csv", encoding="utf-8"))]

    done, stages = predict("--bundle", cascade, "--audit", 0.5)
    assert done.exit_code == 0, done.output
    assert stages == [str(stage) for stage in Classifier.load(cascade).score(texts).stage]
    assert f"answered by the first stage of the cascade: {stages.count('1')}" in done.stderr
    assert "promised at most 3.00%" in done.stderr and "warning" not in done.stderr
    done, _ = predict("--bundle", wrong, "--audit", 0.5)
    assert "warning: these texts are unlike those that the cascade was tested on" in done.stderr
    done, stages = predict("--bundle", wrong, "--no-cascade")
    assert done.exit_code == 0 and set(stages) == {"2"}
    done, _ = predict("--bundle", wrong, "--no-cascade", "--audit", 0.5)
    assert done.exit_code != 0 and "--audit is for bundles with a first stage" in str(done.exception) + done.stderr
